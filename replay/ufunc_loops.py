"""NumPy's own loops over elements, which its ufuncs hold, by their addresses.

Compiled code calls them as NumPy does, so that what no standard defines to the last bit (exp, tanh, …) has NumPy's
bits, and its speed.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy


class _Ufunc(ctypes.Structure):
    """The beginning of a ufunc, as numpy/ufuncobject.h has it, behind what all objects have."""

    _fields_ = [
        ("nin", ctypes.c_int), ("nout", ctypes.c_int), ("nargs", ctypes.c_int), ("identity", ctypes.c_int),
        ("functions", ctypes.POINTER(ctypes.c_void_p)), ("data", ctypes.POINTER(ctypes.c_void_p)),
        ("ntypes", ctypes.c_int), ("reserved", ctypes.c_int), ("name", ctypes.c_char_p),
    ]  # fmt: skip


def loop_of(function: numpy.ufunc, types: Sequence[Any], result: Any) -> tuple[int, int] | None:
    """The address of the loop that gives this dtype of those, and of its data; None where it is not to be found."""
    if function.signature or function.nout != 1 or len(types) != function.nin:
        return None
    signature = f"{''.join(numpy.dtype(t).char for t in types)}->{numpy.dtype(result).char}"
    made = _Ufunc.from_address(id(function) + object.__basicsize__)
    known = (made.nin, made.nout, made.nargs, made.ntypes)
    if known != (function.nin, 1, function.nargs, function.ntypes) or made.name != function.__name__.encode():
        return None
    if signature not in function.types or "O" in signature:
        return None
    place = function.types.index(signature)
    return made.functions[place] or 0, made.data[place] or 0
