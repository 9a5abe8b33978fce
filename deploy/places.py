"""Arrays as places in typed arrays of JavaScript, and loops over them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy


@dataclass(frozen=True)
class Place:
    """An array: where its elements lie in a typed array. strides: in elements."""

    memory: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: numpy.dtype[Any]

    def at(self, indices: Sequence[str]) -> str:
        """The text that reads, or is written to, at these indices, one an axis; axes of length 1 need none."""
        terms = [i if s == 1 else f"{i} * {s}" for i, s in zip(indices, self.strides, strict=True) if s and i != "0"]
        return f"{self.memory}[{' + '.join([*terms, *([str(self.offset)] if self.offset or not terms else [])])}]"

    def broadcast(self, shape: tuple[int, ...]) -> Place:
        """The same, repeated to a shape."""
        strides = [0 if n == 1 else s for n, s in zip(self.shape, self.strides, strict=True)]
        return self.viewed(shape, (*[0] * (len(shape) - len(strides)), *strides))

    def viewed(self, shape: Sequence[int], strides: Sequence[int], offset: int = 0) -> Place:
        """Another array over the same memory."""
        return Place(self.memory, self.offset + offset, tuple(shape), tuple(strides), self.dtype)

    def without(self, axes: Sequence[int]) -> Place:
        """At index 0 of these axes."""
        kept = [k for k in range(len(self.shape)) if k not in axes]
        return self.viewed([self.shape[k] for k in kept], [self.strides[k] for k in kept])


Operand: TypeAlias = "Place | str"
"""An array, or a number as JavaScript writes it."""


def each(out: Place, text: str, given: Sequence[Operand]) -> str:
    """out ← text of the operands, element by element."""
    operands = [x.broadcast(out.shape) if isinstance(x, Place) else x for x in given]
    places = [out, *(x for x in operands if isinstance(x, Place))]
    shape, places = merged(out.shape, places)
    indices = [f"i{k}" for k in range(len(shape))]
    rest = iter(places[1:])
    written = [next(rest).at(indices) if isinstance(x, Place) else x for x in operands]
    return loops(indices, shape, f"{places[0].at(indices)} = {text.format(*written)};")


def loops(indices: Sequence[str], shape: Sequence[int], inner: str) -> str:
    """`inner` for all indices."""
    for i, n in reversed(list(zip(indices, shape, strict=True))):
        inner = f"for (let {i} = 0; {i} < {n}; {i}++) {{ {inner} }}"
    return inner


def merged(shape: Sequence[int], places: Sequence[Place]) -> tuple[list[int], list[Place]]:
    """The fewest axes by which all the arrays are run through in the same order."""
    lengths: list[int] = []
    strides: list[list[int]] = []
    for k, n in enumerate(shape):
        now = [p.strides[k] for p in places]
        if n == 1:
            continue
        if lengths and all(before == s * n for before, s in zip(strides[-1], now, strict=True)):
            lengths[-1] *= n
            strides[-1] = now
        else:
            lengths.append(n)
            strides.append(now)
    return lengths, [p.viewed(lengths, [s[j] for s in strides]) for j, p in enumerate(places)]


def number(value: Any, dtype: Any = None) -> str:
    """A number as JavaScript writes it, rounded to the dtype where that is one of floats."""
    if isinstance(value, numpy.ndarray | numpy.generic):
        value = value.item()
    if dtype is not None and numpy.dtype(dtype).kind == "f" and isinstance(value, int | float):
        value = float(numpy.dtype(dtype).type(value))
    if isinstance(value, bool):
        return str(int(value))
    if not isinstance(value, int | float):
        raise NotImplementedError(f"an argument is {value!r}")
    text = "NaN" if math.isnan(value) else repr(value).replace("inf", "Infinity")
    return f"({text})" if text.startswith("-") else text
