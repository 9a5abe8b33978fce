"""A stand-in for cupyx, as far as the engine needs it: pinned memory and scatter_add."""

from __future__ import annotations

import math
from typing import Any

import cupy
import numpy


def empty_pinned(shape: Any, dtype: Any = float, order: str = "C") -> numpy.ndarray:
    """A NumPy array in pinned memory, with rubbish in it."""
    shape = tuple(shape) if isinstance(shape, (tuple, list)) else (shape,)
    memory = cupy.cuda.alloc_pinned_memory(math.prod(shape) * numpy.dtype(dtype).itemsize)
    made = numpy.ndarray(shape, dtype, memory, order=order)
    made.reshape(-1).view(numpy.uint8)[...] = 0xCC
    return made


def zeros_pinned(shape: Any, dtype: Any = float, order: str = "C") -> numpy.ndarray:
    """A NumPy array of zeros in pinned memory."""
    made = empty_pinned(shape, dtype, order)
    made[...] = 0
    return made


def empty_like_pinned(a: Any, dtype: Any = None, order: str = "K", subok: Any = None, shape: Any = None) -> Any:
    """A NumPy array in pinned memory, of the shape and dtype of another."""
    return empty_pinned(a.shape if shape is None else shape, a.dtype if dtype is None else dtype)


def zeros_like_pinned(a: Any, dtype: Any = None, order: str = "K", subok: Any = None, shape: Any = None) -> Any:
    """A NumPy array of zeros in pinned memory, of the shape and dtype of another."""
    return zeros_pinned(a.shape if shape is None else shape, a.dtype if dtype is None else dtype)


def scatter_add(a: cupy.ndarray, slices: Any, value: Any) -> None:
    """a[slices] += value, with what is there twice added twice."""
    cupy.add.at(a, slices, value)
