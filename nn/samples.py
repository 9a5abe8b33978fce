"""Samples and targets: checked once before training, then handed out in batches."""

from __future__ import annotations

from typing import Any

import numpy
import numpy.typing

from ..engine import backend
from ..engine.errors import DataError, DtypeError, ShapeError, UsageError
from ..engine.tensor import Tensor
from .losses import Loss

Shape = tuple[int, ...]


def as_array(values: Any, what: str) -> backend.Array:
    """The values as an array of numbers with a first axis of samples; raises an error that names `what`."""
    if isinstance(values, Tensor):
        values = values._data
    if not hasattr(values, "dtype"):
        try:
            values = numpy.asarray(values)
        except ValueError as error:
            raise DataError(f"{what} is no array: {error}") from None
    if values.dtype.kind not in "biuf":
        raise DtypeError(
            f"{what} holds {values.dtype} (first: {next(iter(values.flat), None)!r}), not numbers: convert it first, "
            "for instance with numpy.asarray(values, dtype='float32')."
        )
    if not values.ndim or not values.size:
        raise DataError(f"{what} is empty (shape {values.shape}): at least one sample is needed.")
    return values


def check_finite(values: backend.Array, what: str) -> None:
    """Raise DataError that names the first row with NaN or infinity, if there is one."""
    xp = backend.namespace_of(values)
    if values.dtype.kind == "f" and not xp.isfinite(xp.abs(values).max()):
        bad = int(xp.argmax(~xp.isfinite(values.reshape(len(values), -1)).all(axis=1)))
        raise DataError(f"{what} is not finite in row {bad} (NaN or infinity), the first such: clean the data first.")


def check_targets(y: backend.Array, loss: Loss, output_shape: Shape, what: str = "y") -> None:
    """Raise where the targets do not suit the loss or the model's output; the first bad row is named."""
    check_finite(y, what)
    outputs = output_shape[-1] if output_shape else 1
    if loss.targets == "labels":
        _check_labels(y, outputs, output_shape, what)
    elif loss.targets != "any" and y.shape[1:] != output_shape:
        hint = ""
        if loss.targets == "classes" and y.shape[1:] == output_shape[:-1] and y.dtype.kind in "iu":
            hint = " Integer labels go to 'sparse_categorical_crossentropy', or through utils.to_categorical first."
        elif y.ndim == 1 and output_shape == (1,):
            hint = " Reshape y with y.reshape(-1, 1)."
        raise ShapeError(
            f"{what} has shape {y.shape}, but the model's output has shape (batch, {_inner(output_shape)}).{hint}"
        )
    if loss.targets in ("classes", "probabilities"):
        xp = backend.namespace_of(y)
        rows = y.reshape(len(y), -1)
        outside = (rows.min(axis=1) < 0) | (rows.max(axis=1) > 1)
        if outside.any():
            bad = int(xp.argmax(outside))
            raise DataError(
                f"{what} is not in [0, 1] in row {bad}, the first such: {y[bad]}; {loss.name} takes probabilities."
            )


def _check_labels(y: backend.Array, classes: int, output_shape: Shape, what: str) -> None:
    xp = backend.namespace_of(y)
    if y.shape[1:] != output_shape[:-1]:
        raise ShapeError(
            f"{what} has shape {y.shape}, but labels for outputs of shape (batch, {_inner(output_shape)}) have shape "
            f"(batch{''.join(f', {n}' for n in output_shape[:-1])},). One-hot rows go to 'categorical_crossentropy'."
        )
    rows = y.reshape(len(y), -1)
    wrong = ((rows < 0) | (rows >= classes) | (rows != xp.floor(rows))).any(axis=1)
    if wrong.any():
        bad = int(xp.argmax(wrong))
        raise DataError(
            f"{what} has a label outside of 0 … {classes - 1} in row {bad}, the first such: {y[bad]}. "
            f"The model has {classes} outputs, so {classes} classes."
        )


def _inner(shape: Shape) -> str:
    return ", ".join(map(str, shape))


class Samples:
    """x, and y if there is one, on the model's device, from which batches are gathered.

    x and float targets take the model's dtype, batch by batch where that means converting.
    """

    def __init__(self, x: Any, y: Any, dtype: Any, device: str, what: str = "") -> None:
        self.x = backend.to_device(as_array(x, f"{what}x"), device)
        self.y: backend.Array = None if y is None else backend.to_device(as_array(y, f"{what}y"), device)
        if self.y is not None and len(self.x) != len(self.y):
            raise ShapeError(
                f"{what}x has {len(self.x)} samples, {what}y has {len(self.y)}: one target for each sample."
            )
        check_finite(self.x, f"{what}x")
        self.dtype, self.what = numpy.dtype(dtype), what
        self._buffers: dict[str, backend.Array] = {}

    def __len__(self) -> int:
        return len(self.x)

    def prepare_targets(self, loss: Loss, output_shape: Shape) -> None:
        """Check the targets for this loss, and give them the dtype it computes with."""
        if loss.targets == "labels" and self.y.shape[1:] == (*output_shape[:-1], 1):
            self.y = self.y[..., 0]
        check_targets(self.y, loss, output_shape, f"{self.what}y")
        if loss.targets == "labels":
            self.y = self.y.astype("int64", copy=False)
        elif self.y.dtype.kind == "f" or loss.targets != "any":
            self.y = self.y.astype(self.dtype, copy=False)

    def batch(self, indices: backend.Array | slice) -> tuple[Tensor, Tensor | None]:
        """The samples and targets at `indices`. Valid until the next batch is taken: the memory is used again."""
        y = None if self.y is None else Tensor(self._gather("y", self.y, indices, self.y.dtype))
        return Tensor(self._gather("x", self.x, indices, self.dtype)), y

    def _gather(self, name: str, values: backend.Array, indices: Any, dtype: numpy.dtype[Any]) -> backend.Array:
        if isinstance(indices, slice):
            return values[indices].astype(dtype, copy=False)
        xp = backend.namespace_of(values)
        if values.dtype != dtype:
            return xp.take(values, indices, axis=0).astype(dtype)
        buffer = self._buffers.get(name)
        if buffer is None or len(buffer) < len(indices):
            buffer = self._buffers[name] = xp.empty((len(indices), *values.shape[1:]), dtype)
        # mode="clip" lets NumPy write into `out` directly; the indices are ours and in range
        return xp.take(values, indices, axis=0, out=buffer[: len(indices)], mode="clip")


def split_off(x: Any, y: Any, fraction: float) -> tuple[tuple[Any, Any], tuple[Any, Any]]:
    """The last `fraction` of the samples apart, for validation, as Keras does: before any shuffling."""
    if not 0 < fraction < 1:
        raise UsageError(f"validation_split={fraction!r}: it lies between 0 and 1.")
    x, y = as_array(x, "x"), as_array(y, "y")
    cut = int(len(x) * (1 - fraction))
    if not 0 < cut < len(x):
        raise DataError(f"validation_split={fraction} leaves nothing on one side of {len(x)} samples.")
    return (x[:cut], y[:cut]), (x[cut:], y[cut:])
