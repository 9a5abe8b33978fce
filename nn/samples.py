"""Samples and targets: checked once before training, then handed out in batches."""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeAlias

import numpy
import numpy.typing

from ..engine import backend
from ..engine.incoming import as_array
from ..engine.tensor import Tensor
from ..errors import DataError, ShapeError, UsageError
from ..names import is_ours
from ..ops.shapes import rows_at
from ..replay.arguments import leaves, rebuilt
from .criterion import Loss
from .layers.base import Layer
from .weighing import Weighed, class_weights, sample_weights

Shape = tuple[int, ...]
Augment: TypeAlias = Callable[[Any, numpy.random.Generator], Any]
"""(samples, generator) -> samples of the same shape: what each batch goes through before it is learnt from."""
PIECE = 1 << 22
"""Bytes that are looked at in one go."""
ROOM = 0.5
"""Of a GPU's free memory, what samples may take; beyond that they are streamed."""


def as_samples(values: Any, what: str) -> backend.Array:
    """The values as an array of numbers with a first axis of samples; raises an error that names `what`."""
    array = values._data if isinstance(values, Tensor) else as_array(values, what)
    if not array.ndim or not array.size:
        raise DataError(f"{what} is empty (shape {array.shape}): at least one sample is needed.")
    return array


def check_finite(values: backend.Array, what: str) -> None:
    """Raise DataError that names the first row with NaN or infinity, if there is one."""
    if values.dtype.kind != "f":
        return
    if values.__class__ is numpy.ndarray and values.nbytes <= PIECE and math.isfinite(numpy.vdot(values, values)):
        return  # as below, and quick for one sample
    xp = backend.namespace_of(values)
    if not all(  # Σ x² takes half the time of Σ x
        backend.fetch(xp.isfinite(xp.vdot(part, part))) or backend.fetch(xp.isfinite(part).all())
        for part in _parts(values)
    ):
        finite = [xp.isfinite(part.reshape(len(part), -1)).all(axis=1) for part in _parts(values)]
        bad = int(backend.fetch(xp.argmax(~xp.concatenate(finite))))
        raise DataError(f"{what} is not finite in row {bad} (NaN or infinity), the first such: clean the data first.")


def check_held(values: backend.Array, dtype: Any, what: str, layer: Layer | None = None) -> None:
    """Raise DataError that names the first row with a finite value that the dtype does not hold.

    Whole numbers may be rounded, as other numbers are, but not on their way to a layer of the user's own, which may
    take them for places.
    """
    exact = values.dtype.kind in "iu" and layer is not None and not is_ours(type(layer))
    if numpy.can_cast(values.dtype, dtype) or (values.dtype.kind != "f" and not exact and dtype != "float16"):
        return
    xp, start = backend.namespace_of(values), 0
    for part in _parts(values):
        with numpy.errstate(over="ignore", invalid="ignore"):
            made = part.astype(dtype)
            wrong = (made.astype(part.dtype) != part) if exact else xp.isinf(made)
        if backend.fetch(wrong.any()):
            bad = int(backend.fetch(xp.argmax(wrong.reshape(-1))))
            row, value = start + bad // (part.size // len(part)), backend.fetch(part.reshape(-1)[bad])
            way = "scale it, or make the model with dtype='float64'."
            if exact and layer is not None:
                way = f"if {type(layer).__name__} takes whole numbers, its class says takes_integers = True."
            raise DataError(
                f"{what} holds {value} in row {row}, the first such, and {numpy.dtype(dtype)} does not: {way}"
            )
        start += len(part)


def _parts(values: backend.Array) -> Iterator[backend.Array]:
    """The rows in pieces of a few megabytes: what lies on a disk is not read into memory whole."""
    rows = max(1, PIECE // max(1, values.nbytes // len(values)))
    return (values[start : start + rows] for start in range(0, len(values), rows))


def check_targets(y: backend.Array, loss: Loss, output_shape: Shape, what: str = "y") -> None:
    """Raise where the targets do not suit the loss or the model's output; the first bad row is named."""
    check_finite(y, what)
    outputs = output_shape[-1] if output_shape else 1
    if loss.targets == "labels":
        _check_labels(y, outputs, output_shape, what, getattr(loss, "ignore_class", None))
    elif loss.targets != "any" and y.shape[1:] != output_shape:
        hint = ""
        if loss.targets == "classes" and y.shape[1:] == output_shape[:-1] and y.dtype.kind in "iu":
            hint = " Integer labels go to 'sparse_categorical_crossentropy', or through utils.to_categorical first."
        raise ShapeError(
            f"{what} has shape {y.shape}, but the model's output has shape (batch, {_inner(output_shape)}).{hint}"
        )
    if loss.targets in ("classes", "probabilities"):
        xp = backend.namespace_of(y)
        rows = y.reshape(len(y), -1)
        outside = (rows.min(axis=1) < 0) | (rows.max(axis=1) > 1)
        if backend.fetch(outside.any()):
            bad = int(backend.fetch(xp.argmax(outside)))
            raise DataError(
                f"{what} is not in [0, 1] in row {bad}, the first such: {backend.fetch(y[bad])}; {loss.name} takes "
                "probabilities."
            )


def _check_labels(y: backend.Array, classes: int, output_shape: Shape, what: str, ignored: int | None = None) -> None:
    xp = backend.namespace_of(y)
    if y.shape[1:] != output_shape[:-1]:
        raise ShapeError(
            f"{what} has shape {y.shape}, but labels for outputs of shape (batch, {_inner(output_shape)}) have shape "
            f"(batch{''.join(f', {n}' for n in output_shape[:-1])},). One-hot rows go to 'categorical_crossentropy'."
        )
    rows = y.reshape(len(y), -1)
    wrong = (rows < 0) | (rows >= classes) | (rows != xp.floor(rows))
    wrong = (wrong if ignored is None else wrong & (rows != ignored)).any(axis=1)
    if backend.fetch(wrong.any()):
        bad = int(backend.fetch(xp.argmax(wrong)))
        raise DataError(
            f"{what} has a label outside of 0 … {classes - 1} in row {bad}, the first such: {backend.fetch(y[bad])}. "
            f"The model has {classes} outputs, so {classes} classes."
        )


def _inner(shape: Shape) -> str:
    return ", ".join(map(str, shape))


class Samples:
    """x, and y if there is one, on the model's device, from which batches are gathered.

    x and float targets take the model's dtype, batch by batch where that means converting. streamed: they are on the
    host, and batches go there one after another: since they take more than ROOM of what the GPU has free, or since the
    host changes each batch by an augmentation.
    """

    def __init__(
        self,
        x: Any,
        y: Any,
        dtype: Any,
        device: str,
        what: str = "",
        augmentation: Augment | None = None,
        deciding: Layer | None = None,
    ) -> None:
        x, y = as_samples(x, f"{what}x"), None if y is None else as_samples(y, f"{what}y")
        self.augmentation = augmentation
        self.device = device
        self.streamed = augmentation is not None or (device != "cpu" and _too_large(x, y, device))
        place = "cpu" if self.streamed else device
        self.x = backend.to_device(x, place)
        self.y: backend.Array = None if y is None else backend.to_device(y, place)
        self.weights: backend.Array = None
        if self.y is not None and len(self.x) != len(self.y):
            raise ShapeError(
                f"{what}x has {len(self.x)} samples, {what}y has {len(self.y)}: one target for each sample."
            )
        check_finite(self.x, f"{what}x")
        self.dtype, self.what = numpy.dtype(dtype), what
        self.x_dtype = self.x.dtype if deciding and deciding.takes_integers else self.dtype
        check_held(self.x, self.x_dtype, f"{what}x", deciding)
        if deciding is not None:
            deciding.check_samples(self.x, f"{what}x")

    def __len__(self) -> int:
        return len(self.x)

    def prepare_targets(self, loss: Loss, output_shape: Shape) -> None:
        """Check the targets for this loss, and give them the shape and the dtype that it computes with.

        (n,) beside (n, 1) gets the outputs' shape, as in Keras, and the other way round. For a loss of the user's own
        whole numbers of the outputs' shape get the model's dtype; those of another shape are labels, and become int64.
        """
        shape = self.y.shape[1:]
        if loss.targets == "labels" and shape == (*output_shape[:-1], 1):
            self.y = self.y[..., 0]
        elif loss.targets != "labels" and ((*shape, 1) == output_shape or shape == (*output_shape, 1)):
            self.y = self.y.reshape(len(self.y), *output_shape)  # row beside row, never all beside all
        check_targets(self.y, loss, output_shape, f"{self.what}y")
        beside = loss.targets == "any" and self.y.shape[1:] != output_shape
        labels = loss.targets == "labels" or (beside and self.y.dtype.kind in "biu")
        if not labels:
            check_held(self.y, self.dtype, f"{self.what}y")
        self.y = self.y.astype("int64" if labels else self.dtype, copy=False)

    @property
    def shape(self) -> Any:
        """The shape of all samples; a list of them where there are several inputs."""
        return self.x.shape

    @property
    def batch(self) -> list[Any]:
        """All of them as a step takes a batch: samples and targets, arrays or nests of them."""
        return [self.x, self.y if self.weights is None else Weighed(self.y, self.weights)]

    def weigh(self, sample_weight: Any, class_weight: Any, loss: Loss, output_shape: Shape) -> None:
        """Take weights of the samples, or of the classes that the prepared targets are; raises for both."""
        if sample_weight is not None and class_weight is not None:
            raise UsageError("sample_weight and class_weight are both given: multiply them into sample_weight.")
        what = f"{self.what}sample_weight"
        if sample_weight is not None:
            weights = sample_weights(sample_weight, len(self), output_shape, what)
        elif class_weight is not None:
            weights = class_weights(class_weight, self.y, loss, output_shape, self.what)
        else:
            return
        check_held(weights, self.dtype, what)
        self.weights = backend.to_device(weights, backend.device_of(self.x)).astype(self.dtype, copy=False)

    def some(self, count: int) -> list[Any]:
        """The first `count` samples and targets; where there are fewer, they come again."""
        order = Tensor(backend.to_device(numpy.arange(count) % len(self), backend.device_of(self.x)))
        made: list[Any] = rebuilt(self.batch, lambda values: self._there(rows(Tensor(values), order)._data))
        return made

    def slices(self, size: int) -> Iterator[list[Any]]:
        """Samples and targets in their order, `size` at a time; views, where they need no other dtype."""
        for start in range(0, len(self), size):
            part = slice(start, start + size)
            yield rebuilt(self.batch, functools.partial(self._part, part))

    def _part(self, part: slice, values: backend.Array) -> Tensor | None:
        return None if values is None else self._there(values[part])

    def joined(self, tensors: Iterable[Tensor]) -> list[Any]:
        """The batch whose leaves are these."""
        given = iter(tensors)
        made: list[Any] = rebuilt(self.batch, lambda _: next(given))
        return made

    def taken(self, order: numpy.typing.NDArray[Any], drawing: Callable[[int], Any], size: int) -> list[Taken]:
        """What a step takes for samples in that order: the indices, or where they are streamed the samples.

        drawing: the generator that an augmentation draws from, by a batch's first place in the order. size: of a batch.
        """
        if not self.streamed:
            return [Taken(order, None, self.device)]
        if not self.augmentation:
            return [Taken(order, values, self.device) for values in leaves(self.batch)]
        x, *others = leaves(self.batch)
        return [
            Taken(order, x, self.device, lambda x, start: self._changed(x, drawing(start)), size),
            *[Taken(order, values, self.device) for values in others],
        ]

    def _changed(self, x: numpy.typing.NDArray[Any], generator: numpy.random.Generator) -> numpy.typing.NDArray[Any]:
        """The batch after augmentation, in the model's dtype."""
        assert self.augmentation is not None
        x = x.astype(self.x_dtype, copy=False)
        changed = self.augmentation(x, generator)
        changed = backend.fetch(
            changed._data if isinstance(changed, Tensor) else as_array(changed, "what the augmentation returned")
        )
        if changed.shape != x.shape:
            raise ShapeError(
                f"the augmentation made {changed.shape} of a batch of shape {x.shape}: it returns an array of the same "
                "shape."
            )
        found: numpy.typing.NDArray[Any] = changed.astype(self.x_dtype, copy=False)
        return found

    def _there(self, values: backend.Array) -> Tensor:
        return Tensor(backend.send(values, self.device) if self.streamed else values)


class Joined(Samples):
    """Samples of several inputs, and targets of several outputs, each checked by itself.

    inputs: of each x. outputs: of each the first x with its targets and weights; none for samples alone.
    """

    def __init__(self, inputs: Sequence[Samples], outputs: Sequence[Samples]) -> None:
        self.inputs, self.outputs = inputs, outputs
        first = inputs[0]
        self.device, self.dtype, self.what = first.device, first.dtype, first.what
        self.augmentation, self.weights = None, None
        self.streamed = any(each.streamed for each in (*inputs, *outputs))
        self.x, self.y = first.x, None
        for each, other in enumerate(inputs):
            if len(other.x) != len(first.x):
                raise ShapeError(
                    f"{self.what}x has {len(first.x)} samples of the first input, and {len(other.x)} of input "
                    f"{each + 1}: one of each for each sample."
                )

    @property
    def shape(self) -> Any:
        return self.inputs[0].x.shape if len(self.inputs) == 1 else [each.x.shape for each in self.inputs]

    @property
    def batch(self) -> list[Any]:
        xs, ys = [each.x for each in self.inputs], [each.batch[1] for each in self.outputs]
        y = ys if len(ys) > 1 else ys[0] if ys else None
        return [xs if len(xs) > 1 else xs[0], y]


def rows(values: Tensor, indices: Tensor) -> Tensor:
    """The samples or targets at places that are known to be in range."""
    return Tensor(rows_at(backend.namespace_of(values._data), values._data, indices._data))


class Taken:
    """Samples in an order, to be cut into batches: `values` at the places, or where that is None the places.

    change: what is done to a batch, given with its first place; then one thread prepares the batch after the one that
    was asked for, while that is learnt from.
    """

    def __init__(
        self,
        order: numpy.typing.NDArray[Any],
        values: backend.Array,
        device: str,
        change: Callable[[Any, int], Any] | None = None,
        size: int = 0,
    ) -> None:
        self.order, self.values, self.device, self.change, self.size = order, values, device, change, size
        self._there = backend.to_device(order, device) if values is None else None
        self._thread = ThreadPoolExecutor(1, "chalkgrad-augmentation") if change else None
        self._next: tuple[int, Future[Any]] | None = None

    def tensor(self, start: int, stop: int, part: slice | None = None) -> Tensor:
        """One batch on the device; of a global batch these rows."""
        if self._there is not None:
            there = self._there[start:stop]
            return Tensor(there if part is None else there[part])
        ready, self._next = self._next, None
        batch = ready[1].result() if ready and ready[0] == start else self.gathered(start, stop)
        if self._thread and stop < len(self.order):
            self._next = stop, self._thread.submit(self.gathered, stop, stop + self.size)
        return Tensor(backend.send(batch if part is None else batch[part], self.device))

    def gathered(self, start: int, stop: int) -> numpy.typing.NDArray[Any]:
        """One batch on the host."""
        batch = self.values[self.order[start:stop]]
        changed: numpy.typing.NDArray[Any] = self.change(batch, start) if self.change else batch
        return changed

    def batches(self, start: int, count: int, size: int) -> Batches:
        """Many batches on the host, gathered when they are asked for."""
        return Batches(self, start, count, size)

    def close(self) -> None:
        """End the thread, if there is one."""
        if self._thread:
            self._thread.shutdown(wait=True, cancel_futures=True)


class Batches:
    """Batches on the host, made when a slice of them is taken. shape: of all of them as one array."""

    def __init__(self, taken: Taken, start: int, count: int, size: int) -> None:
        self.taken, self.start, self.count, self.size = taken, start, count, size
        self.shape = (count, size) if taken.values is None else (count, size, *taken.values.shape[1:])

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, rows: slice) -> numpy.typing.NDArray[Any]:
        taken, numbers = self.taken, range(self.count)[rows]
        starts = [self.start + number * self.size for number in numbers]
        if taken.change:
            return numpy.stack([taken.gathered(start, start + self.size) for start in starts])
        stop = starts[-1] + self.size if starts else self.start
        order = taken.order[starts[0] if starts else self.start : stop].reshape(len(starts), self.size)
        found: numpy.typing.NDArray[Any] = order if taken.values is None else taken.values[order]
        return found


def _too_large(x: backend.Array, y: backend.Array, device: str) -> bool:
    nbytes = x.nbytes + (0 if y is None else y.nbytes)
    return backend.device_of(x) == "cpu" and nbytes > ROOM * backend.memory(device).free


def split_off(fraction: float, x: Any, y: Any, weights: Any = None) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """The last `fraction` of the samples apart, for validation, as Keras does: before any shuffling."""
    if not 0 < fraction < 1:
        raise UsageError(f"validation_split={fraction!r}: it lies between 0 and 1.")
    given = {"x": x, "y": y, "sample_weight": weights}
    whole = {what: _each(functools.partial(as_samples, what=what), part) for what, part in given.items()}
    count = len(next(iter(leaves([whole["x"]]))))
    cut = int(count * (1 - fraction))
    if not 0 < cut < count:
        raise DataError(f"validation_split={fraction} leaves nothing on one side of {count} samples.")
    for what, part in whole.items():
        for values in leaves([part]):
            if values is not None and len(values) != count:
                raise ShapeError(f"x has {count} samples, {what} has {len(values)}: one for each sample.")
    first, last = slice(None, cut), slice(cut, None)
    parts = [tuple(_each(operator.itemgetter(some), part) for part in whole.values()) for some in (first, last)]
    return parts[0], parts[1]


def _each(change: Callable[[Any], Any], part: Any) -> Any:
    """What is made of one part, or of each of several of several inputs or outputs."""
    if isinstance(part, dict):
        return {name: _each(change, value) for name, value in part.items()}
    if isinstance(part, (list, tuple)) and part and all(hasattr(value, "shape") for value in part):
        return [change(value) for value in part]
    return None if part is None else change(part)
