"""Samples and targets: checked once before training, then handed out in batches."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy
import numpy.typing

from ..engine import backend
from ..engine.errors import DataError, DtypeError, ShapeError, UsageError
from ..engine.tensor import Tensor
from .losses import Loss

Shape = tuple[int, ...]
PIECE = 1 << 22
"""Bytes that are looked at in one go."""


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
    if isinstance(values, numpy.memmap):
        values = values.view(numpy.ndarray)  # the same memory, without the subclass
    if not values.ndim or not values.size:
        raise DataError(f"{what} is empty (shape {values.shape}): at least one sample is needed.")
    return values


def check_finite(values: backend.Array, what: str) -> None:
    """Raise DataError that names the first row with NaN or infinity, if there is one."""
    xp = backend.namespace_of(values)
    if values.dtype.kind == "f" and not all(
        xp.isfinite(part.sum()) or xp.isfinite(part).all() for part in _parts(values)
    ):
        rows = [part.reshape(len(part), -1) for part in _parts(values)]
        bad = int(xp.argmax(~xp.concatenate([xp.isfinite(part).all(axis=1) for part in rows])))
        raise DataError(f"{what} is not finite in row {bad} (NaN or infinity), the first such: clean the data first.")


def _parts(values: backend.Array) -> Iterator[backend.Array]:
    """The rows in pieces of a few megabytes: what lies on a disk is not read into memory whole."""
    rows = max(1, PIECE // max(1, values.nbytes // len(values)))
    return (values[start : start + rows] for start in range(0, len(values), rows))


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

    def batch(self, indices: Tensor) -> tuple[Tensor, Tensor | None]:
        """The samples and targets at `indices`."""
        return self._gathered(self.x, indices), None if self.y is None else self._gathered(self.y, indices)

    def slices(self, size: int) -> Iterator[tuple[Tensor, Tensor | None]]:
        """Samples and targets in their order, `size` at a time; views, where they need no other dtype."""
        for start in range(0, len(self), size):
            x, y = self.x[start : start + size], None if self.y is None else self.y[start : start + size]
            yield Tensor(x), None if y is None else Tensor(y)

    def in_dtype(self, x: Tensor) -> Tensor:
        """The batch in the model's dtype: whole numbers stay what they are until it is made."""
        return x if x.dtype == self.dtype else x.astype(self.dtype)

    def _gathered(self, values: backend.Array, indices: Tensor) -> Tensor:
        xp = backend.namespace_of(values)
        return Tensor(xp.take(values, indices._data, axis=0, mode="clip"))  # in range: they are ours


def split_off(x: Any, y: Any, fraction: float) -> tuple[tuple[Any, Any], tuple[Any, Any]]:
    """The last `fraction` of the samples apart, for validation, as Keras does: before any shuffling."""
    if not 0 < fraction < 1:
        raise UsageError(f"validation_split={fraction!r}: it lies between 0 and 1.")
    x, y = as_array(x, "x"), as_array(y, "y")
    cut = int(len(x) * (1 - fraction))
    if not 0 < cut < len(x):
        raise DataError(f"validation_split={fraction} leaves nothing on one side of {len(x)} samples.")
    return (x[:cut], y[:cut]), (x[cut:], y[cut:])
