"""Equations about whole arrays, on arrays of dual numbers: they move elements, and only einsum does arithmetic."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy

from .dual import lift
from .matrices import MATRICES

Exact = Any
"""An array of dual numbers (NumPy, dtype object)."""


def scatter(source: Exact, index: Any, shape: tuple[int, ...]) -> Exact:
    """`y[index] += x`: zeros of `shape`, to which x is added."""
    positions = numpy.arange(int(numpy.prod(shape))).reshape(shape)[index]
    flat = _zeros(shape).reshape(-1)
    for position, value in zip(positions.flat, numpy.broadcast_to(source, positions.shape).flat, strict=True):
        flat[position] = flat[position] + value
    return flat.reshape(shape)


def _zeros(shape: tuple[int, ...]) -> Exact:
    result = numpy.empty(shape, dtype=object)
    result.fill(lift(0))  # one number for all: dual numbers are never changed in place
    return result


def part(gy: Exact, xs: Sequence[Exact], position: int, axis: int) -> Exact:
    """What of a joined array belongs to the operand at `position`: a slice (concatenate) or one layer (stack)."""
    gy = numpy.moveaxis(gy, axis, 0)
    if gy.ndim > xs[position].ndim:
        return gy[position]
    start = sum(x.shape[axis] for x in xs[:position])
    return numpy.moveaxis(gy[start : start + xs[position].shape[axis]], 0, axis)


def _pad(x: Exact, width: Any, value: Any) -> Exact:
    result = numpy.empty([n + sum(w) for n, w in zip(x.shape, width, strict=True)], dtype=object)
    result.fill(lift(value))
    result[tuple(slice(w[0], w[0] + n) for n, w in zip(x.shape, width, strict=True))] = x
    return result


def _border(x: Exact, padding: Any, value: Any) -> Exact:
    return _pad(x, ((0, 0), *padding, (0, 0)), value)


def _floats(x: Exact) -> numpy.ndarray[Any, Any]:
    """The values, rounded: enough to find the greatest of them, or their order."""
    return numpy.asarray(numpy.vectorize(lambda d: float(d.value), otypes=[float])(x))


STRUCTURE: dict[str, Callable[..., Any]] = {
    "border": _border,
    "inside": lambda x, padding: _border(numpy.vectorize(lambda d: lift(1), otypes=[object])(x), padding, 0),
    "argmax": lambda x, axis: numpy.argmax(_floats(x), axis=axis),
    "argmin": lambda x, axis: numpy.argmin(_floats(x), axis=axis),
    "argsort": lambda x, axis: numpy.argsort(_floats(x), axis=axis),
    "concatenate": lambda xs, axis: numpy.concatenate(xs, axis=axis),
    "stack": lambda xs, axis: numpy.stack(xs, axis=axis),
    "pad": _pad,
    "crop": lambda gy, width: gy[tuple(slice(w[0], n - w[1]) for n, w in zip(gy.shape, width, strict=True))],
    **MATRICES,
}
"""Functions of whole arrays, but `einsum`, which asks for the result's shape, too."""


def einsum(
    subscripts: str, xs: Sequence[Exact], shape: tuple[int, ...], position: int = 0, gy: Exact | None = None
) -> Exact:
    """Einstein summation by loops over all letters; with gy, the gradient of the operand at `position`."""
    terms, output = _einsum_terms(subscripts, [x.ndim for x in xs])
    extents: dict[str, int] = {}
    for term, x in zip(terms, xs, strict=True):
        for letter, n in zip(term, x.shape, strict=True):
            extents[letter] = max(n, extents.get(letter, 1))
    result = _zeros(shape)
    for run in itertools.product(*(range(n) for n in extents.values())):
        at = dict(zip(extents, run, strict=True))
        places = [
            tuple(at[c] if n > 1 else 0 for c, n in zip(t, x.shape, strict=True))
            for t, x in zip(terms, xs, strict=True)
        ]
        factors = [x[place] for x, place in zip(xs, places, strict=True)]
        place = tuple(at[c] for c in output)
        if gy is not None:
            place, factors[position] = places[position], gy[place]
        result[place] = result[place] + math.prod(factors)
    return result


def _einsum_terms(subscripts: str, ndims: list[int]) -> tuple[list[str], str]:
    left, arrow, output = subscripts.replace(" ", "").partition("->")
    terms = left.split(",")
    if not arrow:
        output = "..." * ("..." in left) + "".join(sorted(c for c in set(left) if c.isalpha() and left.count(c) == 1))
    widest = max([n - len(t) + 3 for t, n in zip(terms, ndims, strict=True) if "..." in t], default=0)
    names = [chr(ord("A") + i) for i in range(widest)]
    expand = [t.replace("...", "".join(names[widest - (n - len(t) + 3) :])) if "..." in t else t
              for t, n in zip(terms, ndims, strict=True)]  # fmt: skip
    return expand, output.replace("...", "".join(names))
