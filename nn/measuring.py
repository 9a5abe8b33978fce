"""What a batch comes to: the outputs, the loss, the metrics, and their means over the batches."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy

from ..engine import backend
from ..engine.tensor import Tensor
from ..errors import ShapeError, UsageError
from ..ops.reduction import mean
from .criterion import check_one_a_sample
from .samples import Samples
from .weighing import unweighed

if TYPE_CHECKING:
    from .layers.base import Weights
    from .metrics import Metric
    from .network import Network
    from .trained import Trained


class RunningMeans(Mapping[str, float]):
    """Means over the batches so far, weighted by their size. They stay on the device until one is read.

    sums: over the samples, and at last how often something was not finite. finite: whether the sum of the losses is,
    and what was looked at, as of the last reading.
    """

    def __init__(self, names: Sequence[str], device: str) -> None:
        self.sums = backend.to_device(numpy.zeros(len(names) + 1), device)
        self._faults = self.sums[-1:].reshape(())
        self.totals = {name: self.sums[i : i + 1].reshape(()) for i, name in enumerate(names)}
        self.count, self.finite = 0, True

    def reset(self) -> None:
        """Begin anew."""
        self.count, self.finite = 0, True
        self.sums[...] = 0

    def add(self, values: Sequence[backend.Array], count: int) -> None:
        """Take in the means of a batch of `count` samples; counting them is left to who goes on to the next."""
        for total, value in zip(self.totals.values(), values, strict=True):
            xp = backend.namespace_of(total)
            xp.add(total, xp.multiply(value, float(count), dtype=numpy.float64), out=total)

    def look_at(self, arrays: Iterable[backend.Array]) -> None:
        """Note, without waiting for the device, whether all elements are finite."""
        for array in arrays:
            xp = backend.namespace_of(array)
            xp.add(self._faults, ~xp.isfinite(array).all(), out=self._faults)

    def loss_is_finite(self) -> bool:
        """Whether the sum of the losses is; waits for the device."""
        return math.isfinite(self.sums[0])

    def read(self) -> dict[str, float]:
        """All of them, with one wait for the device."""
        *values, faults = backend.fetch(self.sums).tolist()
        self.finite = math.isfinite(values[0]) and not faults
        return {name: value / self.count for name, value in zip(self.totals, values, strict=True)}

    def __getitem__(self, name: str) -> float:
        return self.read()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.totals)

    def __len__(self) -> int:
        return len(self.totals)


def outputs_and_loss(
    model: Trained,
    x: Tensor,
    y: Any,
    *,
    taped: bool = True,
    training: bool = False,
    generator: Any = None,
    weights: Sequence[Weights] | None = None,
) -> tuple[Tensor, Tensor]:
    """What the model makes of a batch (logits, where the loss computes from them), and the loss; as `forward` takes it.

    Raises UsageError where the loss is no tensor, or
    where it is to be on the tape and does not follow from the weights.
    """
    loss, fused = model.loss, model.fuses_loss
    assert loss is not None
    y, factors = unweighed(y)
    outputs = model.forward(
        x, taped=taped, training=training, generator=generator, logits=fused, weights=weights
    )  # fmt: skip
    if loss.targets == "any":
        y = Tensor(copied(y._data))  # what a function of the user's own writes into it stays there
    value = loss(y, outputs, factors, logits=fused)
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
    return outputs, value


def in_dtype(model: Network, x: Tensor) -> Tensor:
    """The batch as the first layer takes it: whole numbers stay what they are until it is made."""
    return x if x.dtype == model.dtype or model.takes_integers else x.astype(model.dtype)


def measure(model: Trained, x: Tensor, y: Any, *, training: bool, generator: Any = None) -> tuple[Tensor, list[Any]]:
    """The loss of a batch as a tensor (on the tape in training), and the values of loss and metrics as arrays."""
    fused = model.fuses_loss
    outputs, value = outputs_and_loss(model, x, y, taped=training, training=training, generator=generator)
    xp = backend.namespace_of(outputs._data)
    predicted, (y, _) = None, unweighed(y)
    values = [value._data]
    for metric in model.metrics:
        if fused and not metric.on_logits and predicted is None:
            predicted = model.heads[-1].function(outputs.detach())._data
        chosen = outputs._data if metric.on_logits or not fused else predicted
        values.append(_metric_value(metric, xp, y._data, chosen))
    return value, values


def copied(array: backend.Array) -> backend.Array:
    """A copy, which a function of the user's own may write into."""
    return backend.namespace_of(array).array(array)


def _metric_value(metric: Metric, xp: Any, y: backend.Array, outputs: backend.Array) -> backend.Array:
    """The batch's mean of a metric."""
    if metric.targets == "any":
        y, outputs = copied(y), copied(outputs)
    value = metric.function(xp, y, outputs)
    value = value._data if isinstance(value, Tensor) else value
    if not isinstance(value, (bool, int, float)) and getattr(value, "dtype", numpy.dtype("O")).kind not in "biuf":
        raise UsageError(f"the metric {metric.name!r} returned {value!r}: it is a number, the batch's mean.")
    number = xp.asarray(value)
    if number.shape:
        check_one_a_sample("metric", metric.name, number.shape, len(outputs))
        number = xp.mean(number)
    return number


def check_rows(model: Trained, samples: Samples, *batch_sizes: int) -> None:
    """Try functions of the user's own where a batch has as many samples as an axis of the outputs is long.

    There (n,) beside (n, k) becomes n × n by broadcasting, which is an error with any other number of samples: so a
    multiple of them is tried. Raises the error that the function gives.
    """
    loss, shape = model.loss, model.infer_shapes(samples.x.shape[1:])[-1]
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
            f"y of shape {samples.y.shape} beside outputs of shape {model.shapes[-1]} each: {error}"
        ) from error
