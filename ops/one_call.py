"""Functions whose many array calls a recorded step on the CPU lists as one, and arrays in one array for them.

Where the rules are differentiated in turn, and on a GPU, the same code runs through `xp`, call by call.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy

from ..engine import backend
from ..engine.capturing import capturing
from ..replay.calls import CALLS, ArrayCall

Array = Any


def as_one_call(
    function: Callable[..., Array], fast: Callable[..., Array] | None = None, **fixed: Any
) -> Callable[..., Array]:
    """A function of xp and arrays, or None, to one array, that a recorded step on the CPU lists as one call.

    fast: the same of NumPy's arrays and `out`, None or an array for the result, by compiled loops, on the tape and in a
    recorded step alike; it gives None where these do not serve. fixed: what else it is given, each time the same.
    """
    name = "_".join([function.__name__.strip("_"), *(f"{key}_{value}" for key, value in fixed.items())])
    name = f"{function.__module__.rpartition('.')[2]}_{name}"
    CALLS[name] = ArrayCall(takes_out=True)

    def call(*arrays: Array, out: Array | None = None) -> Array:
        result = fast(*arrays, **fixed, out=out) if fast else None
        if result is None:
            result = function(numpy, *arrays, **fixed)
        if out is None or result is out:
            return result
        out[...] = result
        return out

    call.__name__ = name

    def compute(xp: Any, *arrays: Array) -> Array:
        if xp is numpy:
            return call(*arrays)
        trace = capturing()
        if trace is None or not trace.kernels or backend.device_of(trace.plain(arrays[0])) != "cpu":
            return function(xp, *arrays, **fixed)
        return trace.call(name, call, arrays)

    return compute


def packed(xp: Any, arrays: Any) -> Array:
    """Arrays of any shape in one, behind one another."""
    return xp.concatenate([xp.reshape(a, (-1,)) for a in arrays])


def unpacked(xp: Any, together: Array, *shapes: tuple[int, ...]) -> list[Array]:
    """The arrays of these shapes that lie behind one another."""
    found, start = [], 0
    for shape in shapes:
        size = math.prod(shape)
        found.append(xp.reshape(together[start : start + size], shape))
        start += size
    return found
