"""Indices as CuPy takes them: a list goes to the device, and an integer beyond the end wraps around."""

from __future__ import annotations

import sys
from typing import Any

import numpy


def prepared(index: Any) -> tuple[Any, ...]:
    """The index as a tuple, with lists as arrays on the device.

    A NumPy array is refused while `cupy.strict`: CuPy copies it to the device each time that it is used.
    """
    cupy = sys.modules[__package__]
    parts = []
    for part in index if isinstance(index, tuple) else (index,):
        if isinstance(part, numpy.ndarray) and cupy.strict:
            raise TypeError(f"Unsupported type {type(part)}: an index that CuPy copies to the device at each use")
        if isinstance(part, (numpy.ndarray, list, tuple, bool, numpy.bool_)):
            empty = isinstance(part, (list, tuple)) and not len(part)
            part = cupy.array(part, dtype=numpy.int32 if empty else None)
        elif isinstance(part, numpy.integer):
            part = int(part)
        kind = getattr(getattr(part, "dtype", None), "kind", None)
        if kind is not None and kind not in "biu":
            raise IndexError(f"arrays used as indices must be of integer or boolean type. (actual: {part.dtype.type})")
        parts.append(part)
    return tuple(parts)


def is_mask(part: Any) -> bool:
    """Whether it is an array of bools."""
    return getattr(getattr(part, "dtype", None), "kind", None) == "b"


def is_basic(parts: tuple[Any, ...]) -> bool:
    """Whether they are only numbers, slices, None and Ellipsis: then the result is a view."""
    return not any(hasattr(part, "dtype") for part in parts)


def wrapped(shape: tuple[int, ...], parts: tuple[Any, ...]) -> tuple[Any, ...]:
    """Integer arrays modulo the length of their axis, as CuPy does instead of raising IndexError."""

    def axes_of(part: Any) -> int:
        return 0 if part is None or part is ... else part.ndim if is_mask(part) else 1

    result, axis = [], 0
    for n, part in enumerate(parts):
        if part is ...:
            axis = len(shape) - sum(axes_of(rest) for rest in parts[n + 1 :])
        elif getattr(part, "dtype", None) is not None and part.dtype != bool and axis < len(shape) and shape[axis]:
            part = part % shape[axis]
        axis += axes_of(part)
        result.append(part)
    return tuple(result)


def taken(host: Any, parts: tuple[Any, ...]) -> Any:
    """host[parts], always a copy."""
    return numpy.array(host[wrapped(host.shape, parts)])


def put(host: Any, parts: tuple[Any, ...], value: Any) -> None:
    """host[parts] = value; leading axes of length 1 of the value do not matter."""
    host[wrapped(host.shape, parts)] = value


def at(ufunc: Any, host: Any, parts: tuple[Any, ...], value: Any) -> None:
    """ufunc.at(host, parts, value)."""
    ufunc.at(host, wrapped(host.shape, parts), value)
