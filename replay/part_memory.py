"""Where the arrays of a step's parts lie, as text: addresses, and lengths."""

from __future__ import annotations

from typing import Any

import numpy

from .listing import Variable
from .parts import ROWS, Parts, Place, size

ALIGNED = 64
"""Elements that a part's arrays are apart, so that no two cores write to one line of the cache."""


class Memory:
    """The arrays of the parts: flat buffers, totals, what lies between, and sums to be added up.

    given: the addresses that a function is handed, and how far the parts' arrays are apart.
    """

    def __init__(self, parts: Parts) -> None:
        self.parts, self.dtype = parts, parts.flats[0].dtype.name
        self._placed: dict[int, tuple[str, tuple[int, int]]] = {}  # dtype, where: a + b · rows
        self._sizes: dict[str, tuple[int, int]] = {}
        self._terms: dict[int, tuple[int, int]] = {}
        self._terms_size = (0, 0)
        for place in parts.partial:
            self._terms[place.buffer.number] = self._terms_size
            self._terms_size = _after(self._terms_size, self._room_of(place))

    def room(self, rows: int) -> list[Any]:
        """The arrays, for batches of so many rows."""
        count, parts = self.parts.count, self.parts
        flats = [_zeros((count, _padded(parts.whole.length)), v.dtype) for v in parts.flats]
        kept = [_zeros((count, ALIGNED), v.dtype) for v in parts.kept]
        between = [_zeros((count, _padded(a + b * rows)), dtype) for dtype, (a, b) in self._sizes.items()]
        a, b = self._terms_size
        terms = _zeros((2, count, _padded(a + b * rows)), self.dtype)
        return [*flats, *kept, *between, terms, _zeros((count, ALIGNED), self.dtype)]

    @property
    def given(self) -> str:
        """The parameters, when all has its place."""
        parts = self.parts
        samples, drawn = (f"x{n}" for n in range(len(parts.samples))), (f"r{n}" for n in range(len(parts.drawn)))
        names = ["rows", *samples, "order", "numbers", "clear", *drawn, "c"]
        for kind, there in (("k", parts.given), ("f", parts.flats), ("t", parts.kept)):
            names += [f"{kind}{i}" for i in range(len(there))]
        names += [*(f"w_{dtype}" for dtype in self._sizes), "p", "l"]
        names += [*(f"s_{dtype}" for dtype in self._sizes), "s_p"]
        return ", ".join([*names, *(f"u{n}, d{n}" for n in range(len(parts.loops)))])

    def lengths(self, place: Place) -> list[str]:
        """The lengths of a part's array."""
        runs = self.parts.runs
        if place.dims and place.dims[0] in runs:
            return [str(runs[place.dims[0]].length)]
        return [str(int(d) // self.parts.count) if n == place.axis else d for n, d in enumerate(place.dims)]

    def is_partial(self, v: Variable) -> bool:
        """Whether each part has a term of it."""
        return v.number in self._terms

    def address(self, place: Place) -> str:
        """Where a part's array begins."""
        v, parts, item = place.buffer, self.parts, place.buffer.dtype.itemsize
        if v in parts.given:
            return f"k{parts.given.index(v)}"
        if v in parts.flats:
            begin = place.segment.local if place.segment else 0
            return f"f{parts.flats.index(v)} + {item} * (part * {_padded(parts.whole.length)} + {begin})"
        if v in parts.drawn:
            return f"r{[*parts.drawn].index(v)} + {item} * (step * {' * '.join(place.dims) or '1'})"
        if v in parts.numbers:
            return f"numbers + {item} * (step * {len(parts.numbers)} + {parts.numbers.index(v)})"
        if v in parts.kept:
            return f"t{parts.kept.index(v)} + {item * ALIGNED} * part"
        if v.number not in self._placed:
            dtype = v.dtype.name
            at = self._sizes.get(dtype, (0, 0))
            self._placed[v.number] = dtype, at
            self._sizes[dtype] = _after(at, self._room_of(place))
        dtype, (a, b) = self._placed[v.number]
        return f"w_{dtype} + {item} * (part * s_{dtype} + {a} + {b} * rows)"

    def term(self, v: Variable, part: Any) -> str:
        """Where a part's term of a sum begins: in turn in one half or the other, so that who is late still finds it."""
        a, b = self._terms[v.number]
        return f"p + {v.dtype.itemsize} * (((step & 1) * {self.parts.count} + {part}) * s_p + {a} + {b} * rows)"

    def _room_of(self, place: Place) -> tuple[int, int]:
        """The elements of a part's array, as a + b · rows."""
        factors = " * ".join(self.lengths(place)).split(" * ")
        number = size([int(n) for n in factors if n not in ("", ROWS)])
        return (0, number) if ROWS in factors else (number, 0)


def _after(at: tuple[int, int], room: tuple[int, int]) -> tuple[int, int]:
    """The place behind an array of so many elements, as a + b · rows."""
    return at[0] + _padded(room[0]), at[1] + room[1]


def _padded(count: int) -> int:
    return -(-count // ALIGNED) * ALIGNED


def _zeros(shape: tuple[int, ...], dtype: Any) -> Any:
    """Zeros that begin on a line of the cache."""
    dtype = numpy.dtype(dtype)
    buffer = numpy.zeros(size(shape) * dtype.itemsize + 64, "uint8")
    begin = -buffer.ctypes.data % 64
    return buffer[begin : begin + size(shape) * dtype.itemsize].view(dtype).reshape(shape)
