"""A stand-in for CuPy that needs no GPU: NumPy computes, several devices are emulated, and what would be wrong or slow
on a real card is refused. It goes on sys.path only where a test asks for it.

What it takes is what CuPy 14.2 takes, by signatures.json. Of its own it has `strict`, `transfers`, `cards` and
`standin_cublas`.
"""

from __future__ import annotations

import sys

import numpy

from . import _execute, _functions, _operators, _ufuncs, cuda
from ._array import ndarray
from ._blas import standin_cublas
from ._raw import RawKernel, RawModule
from ._state import SIGNATURES, cards, transfers
from ._ufuncs import ufunc
from .cuda.memory import get_default_memory_pool, get_default_pinned_memory_pool

__version__ = SIGNATURES["cupy"]
strict = True

globals().update({name: getattr(numpy, name) for name in SIGNATURES["same"] if hasattr(numpy, name)})
globals().update({name: _functions.function(name) for name in SIGNATURES["functions"]})
globals().update(_ufuncs.made())
asnumpy, get_array_module = _functions.function("asnumpy"), _functions.function("get_array_module")


def size(a, axis=None):
    """The number of elements."""
    return a.size if axis is None else a.shape[axis]


def is_available() -> bool:
    """Whether a device is there."""
    return cuda.is_available()


def show_config(*, _full: bool = False) -> None:
    """Print what this is."""
    sys.stdout.write(f"CuPy Version : {__version__} (the stand-in of chalkgrad's tests)\n")


class _Linalg:
    """cupy.linalg, as far as a test asks for it."""

    def __getattr__(self, name):
        """By cuSOLVER, which is not captured either."""
        if name not in ("cholesky", "det", "eigh", "inv", "pinv", "slogdet", "solve", "svd"):
            raise AttributeError(f"module 'cupy.linalg' has no attribute {name!r}")
        function = getattr(numpy.linalg, name)

        def solved(*arrays, **options):
            made = lambda *xs, **ys: (lambda y: tuple(y) if isinstance(y, tuple) else y)(function(*xs, **ys))  # noqa: E731
            return _execute.execute(made, arrays, options, cublas=True)

        return solved

    @staticmethod
    def norm(x, ord=None, axis=None, keepdims=False):
        """The norm."""
        return _execute.execute(numpy.linalg.norm, (x, ord, axis, keepdims))


linalg = _Linalg()


class _StrideTricks:
    """cupy.lib.stride_tricks."""

    @staticmethod
    def as_strided(x, shape=None, strides=None):
        """A view of other shape and strides, from the array's first element on; its base is None, as with CuPy."""
        shape, strides = (x.shape if shape is None else shape), (x.strides if strides is None else strides)
        return ndarray(shape=tuple(shape), dtype=x.dtype, memptr=x.data, strides=tuple(strides))


class _Lib:
    """cupy.lib."""

    stride_tricks = _StrideTricks()


lib = _Lib()
