"""Models of several outputs: a loss for each, which is weighed into one, and metrics of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..checks import number
from ..engine.backend import Array, Namespace
from ..engine.tensor import Tensor
from ..errors import UsageError, unknown_name
from ..ops.reduction import mean
from .criterion import Loss
from .fitting import make_metric
from .losses import make_loss
from .tally import MeanMetric, Metric


class Heads(Loss, abstract=True):
    """The sum of the losses of the outputs, each times its weight. losses: in the order of the outputs."""

    losses: Sequence[Loss]
    loss_weights: Sequence[float]

    def __init__(
        self, losses: Sequence[Any], loss_weights: Sequence[float], reduction: str | None = "sum_over_batch_size",
        name: str = "",
    ) -> None:  # fmt: skip
        made = [make_loss(loss) for loss in losses]
        weights = [number("compile", "loss_weights", weight, "[0, ∞)") for weight in loss_weights]
        self._set(losses=made, loss_weights=weights, reduction=reduction, name=name)
        self.__post_init__()

    @property
    def targets(self) -> str:  # type: ignore[override]
        """ "any" where one of them is the user's own."""
        return "any" if any(loss.targets == "any" for loss in self.losses) else "heads"

    def each(
        self, ys: Sequence[Any], outputs: Sequence[Tensor], factors: Sequence[Any], fused: Sequence[bool],
        masks: Sequence[Any] = (), shard: Any = None,
    ) -> Any:  # fmt: skip
        """The loss of each output."""
        given = zip(self.losses, ys, outputs, factors, masks or [None] * len(ys), fused, strict=True)
        made = [
            loss(y, output, weights, mask, logits=logits, shard=shard)
            for loss, y, output, weights, mask, logits in given
        ]
        return [mean(value) if getattr(value, "shape", ()) else value for value in made]

    def total(self, values: Sequence[Tensor]) -> Tensor:
        """What they come to."""
        total: Any = None
        for value, weight in zip(values, self.loss_weights, strict=True):
            term = value if weight == 1 else value * weight
            total = term if total is None else total + term
        return total  # type: ignore[no-any-return]


class HeadLoss(MeanMetric, abstract=True):
    """The loss of one output, as it is told in an epoch's logs."""

    mode = "min"

    def values(self, xp: Namespace, y_true: Array, y_pred: Array) -> Array:
        raise NotImplementedError


def heads_of(loss: Any, loss_weights: Any, names: Sequence[str]) -> Heads:
    """The losses of these outputs: one for all, a list, or a dict by name; of the weights likewise, 1 by default."""
    if isinstance(loss, Heads):
        return loss
    several = isinstance(loss, (list, tuple, dict)) and "loss" not in loss
    losses = in_order(loss, names, "loss") if several else [loss] * len(names)
    weights = [1.0] * len(names) if loss_weights is None else in_order(loss_weights, names, "loss_weights", 1.0)
    if lost := [name for name, each in zip(names, losses, strict=True) if each is None]:
        raise UsageError(f"the output {lost[0]!r} has no loss: each output has one; a weight of 0 leaves it out.")
    return Heads(losses, weights)


def in_order(given: Any, names: Sequence[str], what: str, default: Any = None) -> list[Any]:
    """What is given as a list or by name, one for each output; raises UsageError for others."""
    if isinstance(given, Mapping):
        for name in given:
            if name not in names:
                raise unknown_name(f"output in {what}", name, names)
        return [given.get(name, default) for name in names]
    if not isinstance(given, (list, tuple)) or len(given) != len(names):
        count = len(given) if isinstance(given, (list, tuple)) else type(given).__name__
        raise UsageError(
            f"{what} is a list of {len(names)}, one for each of the outputs {[*names]}, or a dict by name; got {count}."
        )
    return list(given)


def metrics_of(metrics: Any, weighted: Any, loss: Heads, names: Sequence[str]) -> tuple[list[Metric], list[int]]:
    """The metrics of these outputs, the loss of each first, named by output and metric; and of which output each is."""
    made: list[Metric] = [HeadLoss(name=f"{name}_loss") for name in names]
    places = [*range(len(names))]
    given = [
        in_order(each, names, what) if each else [None] * len(names)
        for what, each in (("metrics", metrics), ("weighted_metrics", weighted))
    ]
    for place, (plain, counting) in enumerate(zip(*given, strict=True)):
        for metric in of_output(_listed(plain), _listed(counting), loss.losses[place]):
            made.append(renamed(metric, f"{names[place]}_{metric.name}"))
            places.append(place)
    return made, places


def of_output(metrics: Sequence[Any], weighted: Sequence[Any], loss: Loss) -> list[Metric]:
    """The metrics of one output; of the weighted ones, those whose name is taken are called weighted_…, as in Keras."""
    made = [make_metric(metric, loss) for metric in metrics]
    for given in weighted:
        metric = make_metric(given, loss).with_weights()
        taken = metric.name in [one.name for one in made]
        made.append(renamed(metric, f"weighted_{metric.name}") if taken else metric)
    return made


def reported(model: Any, weighted: bool) -> Any:
    """The metrics of a model as `compile` takes them: those in which weights count, or the others."""
    found: list[list[Metric]] = [[] for _ in model.outputs_at]
    for metric, place in zip(model.metrics, model.metric_heads, strict=True):
        if metric.weighted is weighted and not isinstance(metric, HeadLoss):
            found[place].append(metric if len(found) == 1 else plain_of(metric, model.output_names[place]))
    return found[0] if len(found) == 1 else found


def plain_of(metric: Metric, output: str) -> Metric:
    """The metric of an output by its own name."""
    return renamed(metric, metric.name.removeprefix(f"{output}_"))


def renamed(metric: Metric, name: str) -> Metric:
    """The same metric under another name."""
    found = metric.from_config(metric.get_config())
    found._set(name=name, weighted=metric.weighted)
    return found


def _listed(given: Any) -> Sequence[Any]:
    return given if isinstance(given, (list, tuple)) else () if given is None else [given]
