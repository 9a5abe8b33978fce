"""Constants shaped like a tensor, and what depends on labels only: no gradient passes through these."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy

from ..checks import whole
from ..engine.backend import library_for, namespace_of, working
from ..engine.namespace import makers, namespace
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


one_hot.onnx(one_hot.kernel)


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


identity_like.onnx(lambda graph, x, size: graph.constant(numpy.eye(size, dtype=x.dtype)))


# Constants


def zeros_like(x: Tensor) -> Tensor:
    """Zeros of the shape, dtype and device of x."""
    return full_like(x, 0)


def ones_like(x: Tensor) -> Tensor:
    """Ones of the shape, dtype and device of x."""
    return full_like(x, 1)


def full_like(x: Tensor, fill_value: float) -> Tensor:
    """The same number throughout, in the shape, dtype and device of x."""
    array = x._data if isinstance(x, Tensor) else x
    return Tensor(namespace_of(array).full_like(array, fill_value))


namespace.zeros_like, namespace.ones_like, namespace.full_like = zeros_like, ones_like, full_like


def _made(name: str, device: str, *arguments: Any, **options: Any) -> Tensor:
    """What the array library's function of that name makes, on the device."""
    with working(device, f"xp.{name}"):
        return Tensor(getattr(namespace_of(library_for(device).empty(0)), name)(*arguments, **options))


for _name in ("arange", "empty", "eye", "full", "identity", "linspace", "ones", "tri", "zeros"):
    makers[_name] = partial(_made, _name)
for _name in ("pi", "e", "inf", "nan", "newaxis", "bool_", "float16", "float32", "float64", "int8", "int16", "int32",
              "int64", "uint8", "finfo", "iinfo", "result_type"):  # fmt: skip
    setattr(namespace, _name, getattr(numpy, _name))
