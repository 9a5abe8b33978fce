"""Calls over large arrays on all cores, so many rows a part: to the same bits, since each row is computed by itself."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy

from ..engine import backend
from . import team
from .calls import is_elementwise
from .lowering import Call

LARGE = 1 << 20
"""Elements from which on it pays."""
PART = 1 << 19
"""Elements of a part, about."""


def parts_of(shape: tuple[int, ...], calls: int = 1) -> list[slice]:
    """The parts of arrays of that shape, over which there are so many calls; one where that is little work."""
    rows = shape[0] if shape else 1
    count = min(rows, shares(math.prod(shape) * calls))
    return [slice(n * rows // count, (n + 1) * rows // count) for n in range(count)]


def shares(work: int) -> int:
    """Parts of so many elements, each as often counted as there are calls over it: an even number, or one."""
    return work // PART // 2 * 2 if work >= LARGE else 1


def by_parts(function: Callable[..., Any], cut: Sequence[bool], parts: Sequence[slice]) -> Callable[..., Any]:
    """The function, which writes into arrays that it is given, part by part. cut: which of them have the rows."""

    def part(arrays: Sequence[Any], n: int) -> None:
        function(*[x[parts[n]] if has else x for x, has in zip(arrays, cut, strict=True)])

    return lambda *arrays: team.each(lambda n: part(arrays, n), len(parts))


def spread(call: Call) -> Call:
    """A call of NumPy's by parts, where its arrays are large: element by element, along the last axis, or a copy."""
    function, arguments, options = call
    known: Any = function
    shape: tuple[int, ...] = ()
    whole: Any = lambda *given: known(*given[:-1], out=given[-1])  # noqa: E731
    if function is numpy.copyto and options.keys() <= {"casting"}:
        out, *operands = arguments
        shape, whole = out.shape, lambda x, out: numpy.copyto(out, x, **options)
    elif isinstance(known, numpy.ufunc) and is_elementwise(known) and options.keys() <= {"out"}:
        *operands, out = (*arguments, *options.values())
        shape = out.shape if len(operands) == known.nin else ()
    elif getattr(known, "__name__", "") == "reduce" and len(arguments) == 5 and not options:
        x, axis, dtype, out, keep = arguments
        operands, last = [x], len(x.shape) - 1
        shape = x.shape if last > 0 and axis in (-1, last, (-1,), (last,)) else ()
        whole = lambda x, out: known(x, axis, dtype, out, keep)  # noqa: E731
    parts = parts_of(shape)
    if len(parts) == 1:
        return call
    every, along = (*operands, out), len(shape) != len(out.shape) or shape[-1] != out.shape[-1]
    cut = [along or (len(getattr(x, "shape", ())) == len(shape) and x.shape[0] == shape[0]) for x in every]
    in_parts = by_parts(whole, cut, parts)

    def checked(*given: Any) -> None:
        *others, out = given
        fits = all(_apart(x, out) and (x.flags.c_contiguous or not along) for x in others if hasattr(x, "flags"))
        (in_parts if fits else whole)(*given)

    return checked, every, {}


def _apart(x: Any, out: Any) -> bool:
    """Whether no part of `out` is written before x is read there."""
    same = (backend.address_of(x), x.strides, x.shape) == (backend.address_of(out), out.strides, out.shape)
    return same or not backend.overlap(x, out)
