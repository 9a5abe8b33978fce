"""The elements that the kernel computes with: where they lie, and what they are as text of CUDA C."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy

from ...engine.cuda.sources import TYPES
from ..cuda_expression import number_text
from ..cuda_text import IN_C
from ..listing import Variable
from ..parts import ROWS, Operation, Place, Segment, Unfit, size
from .division import Shape
from .phases import Step, is_by_row


class Elements:
    """The memory of the kernel, and what lies there.

    given: constant arrays that it is handed. owned: the flat buffers of which a block keeps a part: all but the
    gradient. tile: where a block's arrays lie in its shared memory; own: those of the row that is computed; left: where
    rows lie that other blocks read, in `room`. shared, room: bytes of both.
    """

    def __init__(self, step: Step, shape: Shape) -> None:
        self.step, self.parts, self.shape, self.real = step, step.parts, shape, step.real
        self.item = self.parts.flats[0].dtype.itemsize
        self.given = [v for v in self.parts.given if v.shape or not isinstance(v.array, numpy.ndarray)]
        self.owned = [n for n in range(len(self.parts.flats)) if n != 1]
        self.shared = self.room = 0
        part, columns = shape.depth * shape.columns, (shape.rows + 1) * shape.depth
        sizes = {"x_0": columns, "x_1": columns, "dz": shape.rows * shape.columns}
        sizes |= {f"own{n}": part for n in self.owned} | {"sums": part * shape.split}
        self.tile = {name: self._share(self.item * count) for name, count in sizes.items()}
        rows = dict.fromkeys([step.first.out.buffer, *(o.out.buffer for o in step.rows)])
        self.own = {v: self._share(self.width(v) * v.dtype.itemsize) for v in rows}
        self.left = {v: self._reserve(shape.rows * self.width(v) * v.dtype.itemsize) for v in step.left}
        self.partial = self._reserve(shape.down * shape.rows * shape.apart * self.item)

    def _share(self, count: int) -> int:
        at = self.shared
        self.shared += -(-count // 16) * 16
        return at

    def _reserve(self, count: int) -> int:
        at = self.room
        self.room += -(-count // 256) * 256
        return at

    def width(self, v: Variable) -> int:
        """Elements of a row."""
        return size(v.shape) // self.shape.rows

    # An operation's element, from those of its operands

    def computed(self, o: Operation, value: Callable[[Place], str]) -> str:
        """What it gives. value: an operand's element."""
        out = o.out.buffer.dtype
        if o.rows:
            return self.sample(o, "row", "c")
        if o.picks:
            return value(o.reads[0])
        if not o.c:
            raise Unfit("a call has no form in CUDA C")
        kind = TYPES[numpy.dtype(o.computes).name]
        operands = [value(item) if isinstance(item, Place) else number_text(item) for item in o.reads]
        text = o.c.format(*[f"({kind})({operand})" for operand in operands], f="" if kind == "double" else "f")
        return f"({text}) != 0" if out.kind == "b" and o.c == "{}" else f"({TYPES[out.name]})({text})"

    def sample(self, o: Operation, row: str, column: str) -> str:
        """An element of a sample, as it lies in the data."""
        x = o.reads[0]
        steps = [s // x.dtype.itemsize for s in x.strides]
        at = f"order[(long long)step * {self.shape.rows} + {row}] * {steps[0]}"
        at += f" + {column} * {steps[1]}" if len(steps) > 1 else ""
        return f"({TYPES[o.out.buffer.dtype.name]})x{self.parts.samples.index(x)}[{at}]"

    def prepared(self, raw: str, column: str) -> str:
        """What the first product takes of a sample's element."""
        texts = {self.step.source.out.buffer: f"({TYPES[self.step.source.out.buffer.dtype.name]})({raw})"}

        def value_in(out: Place) -> Callable[[Place], str]:
            return lambda p: texts.get(p.buffer) or self.fixed(p, out, "0", column)

        for o in self.parts.operations:
            known = all(p.buffer in texts for p in o.places if is_by_row(p))
            if o.out.buffer in self.step.samples and not o.rows and known:
                texts[o.out.buffer] = self.computed(o, value_in(o.out))
        return texts[self.step.first.reads[0].buffer]

    def in_row(self, o: Operation, local: dict[Variable, str]) -> str:
        """What an operation gives in column c of a row. local: what the same loop has computed."""
        return self.computed(o, lambda p: self._in_row(p, o, local))

    def _in_row(self, p: Place, o: Operation, local: dict[Variable, str]) -> str:
        v = p.buffer
        if v in local:
            return local[v]
        if o.picks and p is o.reads[0]:
            at, width = self._in_row(o.reads[1], o, local), self.width(v)
            return f"s{v.number}[min(max((int)({at} - (long long)row * {width}), 0), {width - 1})]"
        column = "0" if is_by_row(p) and self.width(v) == 1 else "c"
        if v in self.own:
            return f"s{v.number}[{column}]"
        if v in self.parts.drawn:
            row = f"((long long)step * {self.shape.rows} + row) * {self.width(v)}"
            return f"r{[*self.parts.drawn].index(v)}[{row} + {column}]"
        return self.fixed(p, o.out, "row", "c")

    def fixed(self, p: Place, out: Place, row: str, column: str) -> str:
        """An element of what is the same for all rows: weights, numbers of the update, constants."""
        v, parts = p.buffer, self.parts
        if v in parts.numbers:
            return f"numbers[step * {len(parts.numbers)} + {parts.numbers.index(v)}]"
        if v in parts.given and v not in self.given:
            return number_text(v.array.item())  # type: ignore[union-attr]
        extra = len(out.dims) - len(p.dims)
        at = [row if n + extra == 0 and out.dims[0] == ROWS else column for n in range(len(p.dims))]
        if v is parts.flats[0] and p.segment:
            place = next((name for name, d in zip(at, p.dims, strict=True) if d != "1"), "0")
            return f"look(f0 + {p.segment.offset} + {place})"
        if v not in self.given or any(" * " in d for d in out.dims):
            raise Unfit("something is read before it is known, or along the rows and their columns at once")
        steps = [s // v.dtype.itemsize for s in v.strides]
        terms = [f"{name} * {s}" for name, s, n in zip(at, steps, v.shape, strict=True) if n != 1]
        return f"k{self.given.index(v)}[{' + '.join(terms) or '0'}]"

    def of_weights(self, p: Place, s: Segment, known: dict[Variable, str]) -> str:
        """An operand in the update of an element of these weights. known: what has been computed for it."""
        if p.buffer in known:
            return known[p.buffer]
        if p.buffer in self.parts.flats and p.segment and p.segment.overlaps(s):
            return f"w{self.parts.flats.index(p.buffer)}"
        if p.dims:
            raise Unfit("an update takes other weights, or a constant array")
        return self.fixed(p, Place(p.buffer, ()), "0", "0")

    def divided(self, o: Operation) -> str:
        """The division at the end of a mean."""
        factors = [self.shape.rows if part == ROWS else int(part) for part in o.divisor.split(" * ") if part]
        return f" / {math.prod(factors)}.0" if o.divisor else ""


def start(o: Operation) -> str:
    """What a reduction begins with."""
    return IN_C.get(o.start, o.start)


def combined(o: Operation, total: str, other: str) -> str:
    """A reduction's next total."""
    return o.c.format(total, other)


def left_type(v: Variable) -> str:
    """How rows of a variable lie for other blocks; of bool there is no load past the caches."""
    return "unsigned char" if v.dtype == bool else TYPES[v.dtype.name]
