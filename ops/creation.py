"""Constants shaped like a tensor, and what depends on labels only: no gradient passes through these."""

from __future__ import annotations

import numpy

from ..arguments import whole
from ..engine.backend import namespace_of
from ..engine.namespace import namespace
from ..engine.primitive import example, primitive
from ..engine.tensor import Tensor
from ..errors import DataError


@primitive("y[i, k] = 1 if k == labels[i] else 0", domain={"labels": range(4)}, examples=(example((3,), classes=4),))
def one_hot(xp, labels, *, classes):
    """Labels as bools: y[…, k] says whether the label is k. labels: integers of any shape; adds a last axis.

    Raises UsageError where classes is no integer of 1 or more, and on the CPU, where values are looked at without
    waiting, DataError for a label that is none of 0 … classes - 1.
    """
    return labels[..., None] == xp.arange(classes)


@one_hot.check
def _(labels, classes):
    whole("one_hot", "classes", classes)


@one_hot.check_values
def _(labels, classes):
    right = (labels >= 0) & (labels < classes)
    wrong = ~(right & (labels == numpy.floor(labels)) if labels.dtype.kind == "f" else right)
    if wrong.any():
        first = labels.flat[int(wrong.argmax())]
        raise DataError(f"one_hot: the label {first}, the first such, is none of 0 … {classes - 1}.")


@primitive("y[i, k] = 1 if i == k else 0", examples=(example((3,), size=3),))
def identity_like(xp, x, *, size):
    """The identity matrix of shape (size, size), of the dtype and on the device of x."""
    return xp.eye(size, dtype=x.dtype)


def zeros_like(x: Tensor) -> Tensor:
    """Zeros of the shape, dtype and device of x."""
    return _filled(x, 0)


def ones_like(x: Tensor) -> Tensor:
    """Ones of the shape, dtype and device of x."""
    return _filled(x, 1)


def _filled(x: Tensor, value: int) -> Tensor:
    array = x._data if isinstance(x, Tensor) else x
    return Tensor(namespace_of(array).full_like(array, value))


namespace.zeros_like, namespace.ones_like = zeros_like, ones_like
