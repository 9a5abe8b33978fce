"""Large arrays on the CPU block by block: a chain of calls then finds in the cache what the call before has written.

Element by element, and row by row, the arithmetic is that of the whole, so the bits are the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy

from .backend import Array, Namespace

BLOCK = 1 << 16
"""Elements of a block: few enough for the cache, and enough that NumPy's calls cost little beside their work."""


def blocks(xp: Namespace, rows: int, width: int = 1) -> tuple[slice, ...]:
    """The blocks of so many rows of that width; none where they are few, on a GPU, and in a recording."""
    if rows * width <= 2 * BLOCK or xp is not numpy:
        return ()
    step = max(1, BLOCK // width)
    return tuple(slice(start, min(start + step, rows)) for start in range(0, rows, step))


def in_blocks(xp: Namespace, *arrays: Array) -> Iterator[Sequence[Array]]:
    """The same block of each of these flat arrays, one after the other; the arrays themselves where there are none."""
    parts = blocks(xp, arrays[0].size)
    yield from ([array[part] for array in arrays] for part in parts) if parts else [arrays]


def by_rows(xp: Namespace, function: Callable[..., Array], x: Array, *others: Array) -> Array:
    """function(xp, x, *others), which computes each row by itself, of arrays with as many rows: one result a row.

    Rows that do not lie one after another are not taken apart: NumPy sums these in an order that depends on their
    number.
    """
    parts = blocks(xp, len(x), x.size // len(x)) if x.size > 2 * BLOCK and x.ndim > 1 else ()
    if not parts or not all(array.flags.c_contiguous for array in (x, *others)):
        return function(xp, x, *others)
    first = function(xp, x[parts[0]], *(array[parts[0]] for array in others))
    result = numpy.empty((len(x), *first.shape[1:]), first.dtype)
    result[parts[0]] = first
    for part in parts[1:]:
        result[part] = function(xp, x[part], *(array[part] for array in others))
    return result
