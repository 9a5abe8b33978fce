"""What a batch comes to: the outputs, the loss, the metrics, and their means over the batches."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy

from ..engine import backend
from ..engine.tensor import Tensor
from ..errors import ShapeError, UsageError
from ..ops.reduction import mean
from .criterion import Loss
from .graph import listed
from .heads import HeadLoss, Heads
from .penalties import penalty
from .samples import Joined, Samples, Shape
from .tally import MeanMetric, Metric
from .weighing import unweighed

if TYPE_CHECKING:
    from ..distributed import Group, Shard
    from .layers.base import Weights
    from .network import Network
    from .trained import Trained


class RunningMeans(Mapping[str, Any]):
    """The loss and the metrics over the batches so far. They stay on the device until one is read.

    sums: one buffer: the sum of the loss over the samples, what the metrics add up, and at last how often something was
    not finite. count: the samples. finite: whether the sum of the losses is, and what was looked at, as of the last
    reading.
    """

    def __init__(self, model: Trained) -> None:
        metrics, device = model.metrics, model.device
        self.metrics, self.shapes, self.last_layers = tuple(metrics), model.metric_shapes, model.metric_heads
        self._own = [copy.deepcopy(metric) if metric.keeps_variables else None for metric in metrics]
        self.masked = is_masked(model)
        shapes = [*map(tuple, places(metrics, self.shapes, self.masked))]
        ends = [0, *itertools.accumulate(map(math.prod, shapes))]
        self.sums = backend.to_device(numpy.zeros(ends[-1] + 1), device)
        self._faults = self.sums[-1:].reshape(())
        self._shapes = [*zip(ends, ends[1:], shapes, strict=False)]
        self._summed, self._places = self.sums[:-1], self.places(self.sums)
        for own, parts in zip(self._own, self._places[1:], strict=True):
            for variable, view in zip(own.variables if own else (), parts, strict=False):
                variable.move_to(view)
        self.count, self.finite = 0, True
        self.reset()

    @property
    def names(self) -> list[str]:
        """What it has a number of."""
        return ["loss", *(metric.name for metric in self.metrics)]

    def fits(self, model: Trained) -> bool:
        """Whether it is of the model's metrics."""
        return self.metrics == tuple(model.metrics) and self.shapes == model.metric_shapes

    def places(self, buffer: backend.Array) -> list[list[backend.Array]]:
        """The parts of a buffer like `sums` that belong to the loss, and to each metric."""
        views = iter([buffer[begin:end].reshape(shape) for begin, end, shape in self._shapes])
        counts = [len(places_of(m, shape, self.masked)) for m, shape in zip(self.metrics, self.shapes, strict=True)]
        return [[*itertools.islice(views, count)] for count in (1, *counts)]

    def reset(self) -> None:
        """Begin anew."""
        self.count, self.finite = 0, True
        self.sums[...] = 0
        for own in self._own:
            if own:
                own.reset_state()

    def add(self, values: Sequence[Any], count: int, y: Any = None) -> None:
        """Take in what `measure` gives of a batch of `count` samples; counting them is left to who goes on to the next.

        y: its targets, with the weights of its samples where it has some.
        """
        for total, value in self._added(values, self._places, float(count), float(count), listed(y)):
            xp = backend.namespace_of(total)
            xp.add(total, value, out=total)

    def lay(self, values: Sequence[Any], shard: Shard, places: list[list[backend.Array]]) -> None:
        """Lay what a rank's share of a batch adds into the `places` of a buffer, which the ranks then add up."""
        for place, value in self._added(values, places, *shard.numbers()):
            backend.set_items(place, ..., value)

    def take_in(self, summed: backend.Array) -> None:
        """Take in what the shares of all ranks have added."""
        xp = backend.namespace_of(self._summed)
        xp.add(self._summed, summed, out=self._summed)

    def _added(
        self, values: Sequence[Any], places: list[list[backend.Array]], count: Any, whole: Any, targets: Any = ()
    ) -> Iterator[tuple[backend.Array, Any]]:
        """The places in a buffer, each with what a batch adds there. count: of its samples; whole: also of the others
        in the batch of which it is a share, whose loss is divided by that. Metrics that keep variables take in their
        own.
        """
        ((loss,), *parts), found = places, iter(values)
        yield loss, _times(next(found), whole)
        for metric, own, each, head in zip(self.metrics, self._own, parts, self.last_layers, strict=True):
            if own:
                y, factors = unweighed(targets[head])
                own.update_state(y, Tensor(next(found)), **({"sample_weight": factors} if own.weighted else {}))
            elif is_mean(metric, self.masked):
                yield each[0], _times(next(found), whole if isinstance(metric, HeadLoss) else count)
            else:
                yield from ((part, next(found)) for part in each)

    def unite(self, group: Group) -> None:
        """Add up what each rank has seen."""
        count = numpy.array(float(self.count))
        group.allreduce(self.sums)
        group.allreduce(count)
        self.count = int(count)

    def look_at(self, arrays: Iterable[backend.Array]) -> None:
        """Note, without waiting for the device, whether all elements are finite."""
        for array in arrays:
            xp = backend.namespace_of(array)
            xp.add(self._faults, ~xp.isfinite(array).all(), out=self._faults)

    def loss_is_finite(self) -> bool:
        """Whether the sum of the losses is; waits for the device."""
        return math.isfinite(self.sums[0])

    def read(self) -> dict[str, Any]:
        """All of them, with one wait for the device: a number each, or a list of them, as the metric's `value` is."""
        fetched = backend.fetch(self.sums)
        self.finite = bool(math.isfinite(fetched[0]) and not fetched[-1])
        found, place = {"loss": float(fetched[0]) / self.count}, 1
        for metric, own, parts, shape in zip(self.metrics, self._own, self._places[1:], self.shapes, strict=True):
            arrays = []
            for part in parts:
                arrays.append(fetched[place : place + part.size].reshape(part.shape))
                place += part.size
            if own:
                value = own.result()
            elif is_mean(metric, self.masked):
                value = metric.of_mean(float(arrays[0]) / self.count)  # type: ignore[attr-defined]
            else:
                value = metric.value(**dict(zip(metric.state(shape), arrays, strict=True)))
            value = value.numpy() if isinstance(value, Tensor) else numpy.asarray(value)
            found[metric.name] = value.tolist()
        return found

    def __getitem__(self, name: str) -> Any:
        return self.read()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)


def _times(value: backend.Array, count: Any) -> backend.Array:
    return backend.namespace_of(value).multiply(value, count, dtype=numpy.float64)


def is_mean(metric: Metric, masked: bool) -> bool:
    """Whether it is the mean over all samples alike, which the model counts. masked: whether some do not count."""
    alike = not masked or isinstance(metric, HeadLoss)
    return isinstance(metric, MeanMetric) and not metric.weighted and alike


def is_masked(model: Network) -> bool:
    """Whether a layer says which steps count."""
    return any(part.makes_mask for part in model.parts)


def places_of(metric: Metric, output_shape: Shape, masked: bool) -> list[Shape]:
    """The shapes of what a metric keeps."""
    if metric.keeps_variables:
        metric.begin(output_shape)
        return [v.shape for v in metric.variables]
    return [()] if is_mean(metric, masked) else [*metric.state(output_shape).values()]


def places(metrics: Sequence[Metric], shapes: Sequence[Shape], masked: bool) -> list[Shape]:
    """The shapes of what the loss and metrics keep. shapes: of the output that each metric is of."""
    pairs = zip(metrics, shapes, strict=True)
    return [(), *(place for metric, shape in pairs for place in places_of(metric, shape, masked))]


def outputs_and_loss(
    model: Trained,
    x: Any,
    y: Any,
    *,
    taped: bool = True,
    training: bool = False,
    generator: Any = None,
    weights: Sequence[Weights] | None = None,
) -> tuple[Any, Tensor]:
    """What the model makes of a batch (logits, where the loss computes from them), and the loss; as `forward` takes it.

    Raises UsageError where the loss is no tensor, or
    where it is to be on the tape and does not follow from the weights.
    """
    activities: list[Tensor] = []
    masks: list[Any] = []
    outputs = model.forward(
        x, taped=taped, training=training, generator=generator, logits=model.fused, weights=weights,
        activities=activities, masks=masks,
    )  # fmt: skip
    return outputs, with_penalties(model, losses_of(model, outputs, y, taped, masks)[0], activities, taped, weights)


def losses_of(
    model: Trained, outputs: Any, y: Any, taped: bool, masks: Sequence[Any] = (), shard: Any = None
) -> tuple[Tensor, list[Tensor]]:
    """The loss of a batch; and where there are several outputs that of each. masks: of the outputs, see Network.run.

    shard: the batch is this share of one over several ranks, and the loss its part of that one's.
    """
    loss = model.loss
    assert loss is not None
    if isinstance(loss, Heads):
        pairs = [unweighed(each) for each in y]
        given = zip(pairs, loss.losses, strict=True)
        ys = [Tensor(copied(t._data)) if each.targets == "any" else t for (t, _), each in given]
        values = loss.each(ys, outputs, [factors for _, factors in pairs], model.fused, masks, shard)
        checked = [
            _checked(one, each, output, taped) for one, each, output in zip(loss.losses, values, outputs, strict=True)
        ]
        return loss.total(checked), checked
    y, factors = unweighed(y)
    if loss.targets == "any":
        y = Tensor(copied(y._data))  # what a function of the user's own writes into it stays there
    return _checked(
        loss,
        loss(y, outputs, factors, masks[0] if masks else None, logits=model.fuses_loss, shard=shard),
        outputs,
        taped,
    ), []


def _counted(model: Trained, outputs: Any, y: Any, masks: Sequence[Any], shard: Any) -> Any:
    assert model.loss is not None
    if isinstance(outputs, list):
        return float(len(outputs[0])) * (1.0 if shard is None else shard.present)
    targets, factors = unweighed(y)
    found = model.loss.counted(targets, outputs, factors, masks[0] if masks else None)
    if shard is None:
        return found
    return found * (shard.share if model.loss.reduction == "sum" else shard.present)


def _checked(loss: Loss, value: Any, outputs: Tensor, taped: bool) -> Tensor:
    if not isinstance(value, Tensor):
        raise UsageError(
            f"the loss {loss.name!r} returned {type(value).__name__}: it is a tensor, computed from y_pred by tensor "
            "operations, for what is no tensor has no gradient."
        )
    if value.shape:
        value = mean(value)  # of a loss with reduction=None
    if taped and outputs.requires_grad and not value.requires_grad:
        raise UsageError(
            f"the loss {loss.name!r} does not depend on y_pred, so that nothing can be learnt from it: compute it with "
            "tensor operations, without numpy(), item() or detach()."
        )
    found: Tensor = value
    return found


def with_penalties(
    model: Trained, value: Tensor, activities: Sequence[Tensor], taped: bool,
    weights: Sequence[Weights] | None = None, shard: Any = None,
) -> Tensor:  # fmt: skip
    """The loss, and what the model's regularisers say of its weights and activities; that of weights on one rank."""
    if shard is not None:
        activities = [each * shard.share.astype(each.dtype) for each in activities]
    of_weights = penalty(model, weights, taped) if shard is None or shard.group.leads else 0
    for added in (of_weights, *activities):
        if isinstance(added, Tensor):
            value = value + added
    return value


def in_dtype(model: Network, x: Any) -> Any:
    """The batch as the first layer takes it: whole numbers stay what they are until it is made."""
    if isinstance(x, list):
        pairs = zip(x, model.keeps_integers, strict=True)
        return [each if kept or each.dtype == model.dtype else each.astype(model.dtype) for each, kept in pairs]
    return x if x.dtype == model.dtype or model.takes_integers else x.astype(model.dtype)


def measure(
    model: Trained, x: Any, y: Any, *, training: bool, generator: Any = None, shard: Any = None,
    counted: list[Any] | None = None,
) -> tuple[Tensor, list[Any]]:  # fmt: skip
    """The loss of a batch as a tensor (on the tape in training), and as arrays its value and what metrics add up.

    shard: as in `losses_of`. counted: takes how much the batch counts beside others, see `Loss.counted`; with several
    outputs, its rows.
    """
    fused = model.fused
    activities: list[Tensor] = []
    masks: list[Any] = []
    outputs = model.forward(
        x, taped=training, training=training, generator=generator, logits=fused, activities=activities, masks=masks
    )  # fmt: skip
    value, heads = losses_of(model, outputs, y, training, masks, shard)
    if counted is not None:
        counted.append(_counted(model, outputs, y, masks, shard))
    value = with_penalties(model, value, activities, training, shard=shard)
    outputs, targets, probabilities = listed(outputs), listed(y), dict[int, Any]()
    xp, masked = backend.namespace_of(outputs[0]._data), is_masked(model)
    values = [value._data]
    for metric, head in zip(model.metrics, model.metric_heads, strict=True):
        if isinstance(metric, HeadLoss):
            values.append(heads[head]._data)
            continue
        y, factors = unweighed(targets[head])
        chosen = outputs[head]._data
        if fused[head] and not metric.on_logits:
            if head not in probabilities:
                probabilities[head] = model.last_layers[head].function(outputs[head].detach())._data
            chosen = probabilities[head]
        if metric.keeps_variables:
            values.append(chosen)
        elif is_mean(metric, masked):
            values.append(metric.mean(xp, y._data, chosen))  # type: ignore[attr-defined]
        else:
            counting = factors._data if metric.weighted and factors is not None else None
            if masks and masks[head] is not None:
                counting = _counting(xp, masks[head]._data, counting, chosen.dtype)
            found = metric.sums(xp, y._data, chosen, counting)
            values += found if shard is None else [part * shard.counts() for part in found]
    return value, values


def _counting(xp: Any, mask: Any, weights: Any, dtype: Any) -> Any:
    """The weights of what counts, 0 where the mask says that it does not."""
    mask = mask.astype(dtype)
    return mask if weights is None else mask * xp.reshape(weights, (*weights.shape, *[1] * (mask.ndim - weights.ndim)))


def copied(array: backend.Array) -> backend.Array:
    """A copy, which a function of the user's own may write into."""
    return backend.namespace_of(array).array(array)


def check_rows(model: Trained, samples: Samples, *batch_sizes: int) -> None:
    """Try functions of the user's own where a batch has as many samples as an axis of the outputs is long.

    There (n,) beside (n, k) becomes n × n by broadcasting, which is an error with any other number of samples: so a
    multiple of them is tried. Raises the error that the function gives.
    """
    if isinstance(samples, Joined):
        return
    loss, shape = model.loss, model.output_shapes(samples.x.shape[1:])[0]
    own = [metric for metric in model.metrics if metric.targets == "any"]
    assert loss is not None
    if samples.y.ndim == len(shape) + 1 or not (own or loss.targets == "any"):
        return
    lengths = {*shape, *samples.y.shape[1:]} - {1}
    for count in {n for size in batch_sizes for n in (min(size, len(samples)), len(samples) % size)} & lengths:
        _try(model, samples, next(n for n in itertools.count(2 * count, count) if n not in lengths))


def _try(model: Trained, samples: Samples, count: int) -> None:
    x, y = samples.some(count)
    try:
        measure(model, in_dtype(model, x), y, training=False)
    except UsageError:
        raise
    except ValueError as error:
        raise ShapeError(
            f"y of shape {samples.y.shape} beside outputs of shape {model.output_shapes()[0]} each: {error}"
        ) from error
