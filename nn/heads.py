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

    def each(self, ys: Sequence[Any], outputs: Sequence[Tensor], factors: Sequence[Any], fused: Sequence[bool]) -> Any:
        """The loss of each output."""
        given = zip(self.losses, ys, outputs, factors, fused, strict=True)
        made = [loss(y, output, weights, logits=logits) for loss, y, output, weights, logits in given]
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


def metrics_of(metrics: Any, loss: Heads, names: Sequence[str]) -> tuple[list[Metric], list[int]]:
    """The metrics of these outputs, the loss of each first, named by output and metric; and of which output each is."""
    made: list[Metric] = [HeadLoss(name=f"{name}_loss") for name in names]
    places = [*range(len(names))]
    for place, each in enumerate(in_order(metrics, names, "metrics") if metrics else ()):
        for metric in each if isinstance(each, (list, tuple)) else [each] if each is not None else ():
            found = make_metric(metric, loss.losses[place])
            found = found.from_config(found.get_config())
            found._set(name=f"{names[place]}_{found.name}")
            made.append(found)
            places.append(place)
    return made, places


def plain_of(metric: Metric, output: str) -> Metric:
    """The metric of an output by its own name."""
    found = metric.from_config(metric.get_config())
    found._set(name=metric.name.removeprefix(f"{output}_"))
    return found
