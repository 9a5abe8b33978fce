"""What a part does between two meetings, as Python text for Numba: loops for what is computed element by element, BLAS
for products.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy

from .listing import Variable
from .part_memory import ALIGNED, Memory
from .parts import ROWS, Operation, Place

LANES = 16
"""Of a sum over very many numbers so many are added up side by side."""
SWAPPED, PLAIN, BY_ROWS = 112, 111, 101
"""How a matrix lies, by the numbers of cblas."""


class Section:
    """The lines of a section, and the arrays that these name.

    constants: numbers that are handed over too, since some depend on the length of a batch.
    """

    def __init__(self, memory: Memory, constants: list[float]) -> None:
        self.memory, self.constants = memory, constants
        self._names: dict[tuple[str, tuple[str, ...]], str] = {}  # of arrays, by where they begin and their lengths
        self._lengths: dict[str, Sequence[str]] = {}
        self.body: list[str] = []

    @property
    def lines(self) -> list[str]:
        """The lines, those that name arrays first."""
        return [*(f"{name} = {value}" for (value, _), name in self._names.items()), *self.body]

    def array(self, place: Place, shift: str = "") -> str:
        """The name of a part's array. shift: elements by which it begins later."""
        dtype = place.buffer.dtype
        address = self.memory.address(place) + (f" + {dtype.itemsize} * ({shift})" if shift else "")
        return self.declared(address, self.memory.lengths(place), dtype)

    def declared(self, address: str, lengths: Sequence[str], dtype: Any) -> str:
        """The name of an array at an address."""
        name = self._names.setdefault((f"{_type(dtype)}_at({address})", tuple(lengths)), f"a{len(self._names)}")
        self._lengths[name] = lengths
        return name

    def element(self, array: str, index: Sequence[str]) -> str:
        """An element of a named array, which lies row after row; of a truth it is the byte."""
        place = index[0] if index else "0"
        for i, length in zip(index[1:], self._lengths[array][1:], strict=True):
            place = f"{i}" if place == "0" else f"({place}) * ({length}) + {i}"
        return f"{array}[{place}]"

    def loop(self, group: Sequence[Operation], is_needed: Callable[[Variable], bool]) -> None:
        """Elementwise operations over one shape as one loop. is_needed: whether what is written is read elsewhere."""
        Loop(self, group[0].out, f"{len(self.body)}").write(group, is_needed)

    def product(self, operation: Operation) -> None:
        """A product of matrices by BLAS."""
        (a, b), out, memory = operation.reads, operation.out, self.memory
        item, lengths, given = out.buffer.dtype.itemsize, memory.lengths(out), []
        depth = memory.lengths(a)[1] if a.axis == 1 else memory.lengths(b)[0]
        for place, axis in ((a, 1), (b, 0)):
            local, begin = memory.lengths(place), memory.address(place)
            step = local[0] if place.swapped else local[1]
            if operation.axes and place.axis is None and memory.parts.count > 1:
                begin += f" + {item} * part * {depth}" + (f" * {step}" if (axis == 0) != place.swapped else "")
            given.append(f"{begin}, {step}")
        target = memory.term(out.buffer, "part") if memory.is_partial(out.buffer) else memory.address(out)
        swapped = [SWAPPED if place.swapped else PLAIN for place in (a, b)]
        self.body.append(
            f"gemm({BY_ROWS}, {swapped[0]}, {swapped[1]}, {lengths[0]}, {lengths[1]}, {depth}, {memory.dtype}(1), "
            f"{given[0]}, {given[1]}, {memory.dtype}(0), {target}, {lengths[1]})"
        )

    def call(self, operation: Operation) -> None:
        """One of NumPy's own loops."""
        places, lengths = (*operation.reads, operation.out), self.memory.lengths(operation.out)
        given = [f"{self.memory.address(p)}, {p.buffer.dtype.itemsize if p.dims else 0}" for p in places]
        function = f"call{len(operation.reads)}(u{operation.loop}, d{operation.loop}"
        self.body.append(f"{function}, {' * '.join(lengths) or '1'}, {', '.join(given)})")

    def meet(self, operation: Operation) -> None:
        """What the parts have each, put together in their order."""
        target, v, n = self.array(operation.out), operation.out.buffer, len(self.body)
        lengths = self.memory.lengths(operation.out)
        terms = [self.declared(self.memory.term(v, part), lengths, v.dtype) for part in range(self.memory.parts.count)]
        axes = tuple(range(len(lengths)))
        first, *others = (self.element(array, [f"i{axis}" for axis in axes]) for array in (*terms, target))
        lines = [f"t{n} = {first}", *(f"t{n} = {operation.text.format(f't{n}', term)}" for term in others[:-1])]
        divided = f"t{n} / ({operation.divisor})" if operation.divisor else f"t{n}"
        self.body += _nested(axes, lengths, [*lines, f"{others[-1]} = {divided}"])

    def _target(self, place: Place) -> str:
        """The array that a part's result goes into: its term, where the parts put theirs together."""
        if not self.memory.is_partial(place.buffer):
            return self.array(place)
        term = self.memory.term(place.buffer, "part")
        return self.declared(term, self.memory.lengths(place), place.buffer.dtype)

    def argmax(self, operation: Operation) -> None:
        """Where the greatest of a row is; the first of them, or the first NaN."""
        (x,), lengths, n = operation.reads, self.memory.lengths(operation.reads[0]), len(self.body)
        source, target = self.array(x), self.array(operation.out)
        best, at, now = (f"{name}{n}" for name in ("best", "at", "now"))
        look = [f"{now} = {self.element(source, ['i0', 'i1'])}"]
        look += [f"if {now} > {best} or ({now} != {now} and {best} == {best}):", f"    {best}, {at} = {now}, i1"]
        first = [f"{best}, {at} = {self.element(source, ['i0', '0'])}, 0"]
        self.body += _nested((0,), lengths, [*first, *_nested((1,), lengths, look, "1, "), f"{target}[i0] = {at}"])

    def reduction(self, operation: Operation) -> None:
        """Over all, the last, or the first axis."""
        (x,), out, axes = operation.reads, operation.out, operation.axes
        lengths, every = self.memory.lengths(x), range(len(x.dims))
        target, dtype, text = self._target(out), _type(out.buffer.dtype), operation.text
        left = [axis for axis in every if axis not in axes]
        keeps = bool(out.dims) and len(out.dims) == len(every)
        into = self.element(target, ["0" if axis in axes else f"i{axis}" for axis in every if keeps or axis in left])
        element = _value(self.element(self.array(x), [f"i{axis}" for axis in every]), x.buffer.dtype)
        divided = f" / ({operation.divisor})" if operation.divisor else ""
        total = f"total{len(self.body)}"
        if len(x.dims) == 1 and x.dims[0] in self.memory.parts.runs:
            self._over_run(operation, target)
        elif axes == (0,) and left:  # row after row
            self.body += _nested(left, lengths, [f"{into} = {dtype}({operation.start})"])
            self.body += _nested(every, lengths, [f"{into} = {text.format(into, element)}"])
            self.body += _nested(left, lengths, [f"{into} = {into}{divided}"]) if divided else []
        else:
            wide = "float64" if operation.start == "0" and (divided or not left) else _type(operation.computes)
            wide = dtype if wide == "bool_" and operation.start == "0" else wide
            inside = [f"{total} = {wide}({operation.start})"]
            inside += _nested(axes, lengths, [f"{total} = {text.format(total, element)}"])
            self.body += _nested(left, lengths, [*inside, f"{into} = {dtype}({total}{divided})"])

    def _over_run(self, operation: Operation, target: str) -> None:
        """A reduction over a run of weights, in lanes; of weights that all parts have the first part takes them in."""
        (x,), parts, text = operation.reads, self.memory.parts, operation.text
        run, source, dtype = parts.runs[x.dims[0]], self.array(x), _type(x.buffer.dtype)
        lanes = self.declared(f"l + {x.buffer.dtype.itemsize * ALIGNED} * part", [str(LANES)], x.buffer.dtype)
        self.body += _nested((0,), [str(LANES)], [f"{lanes}[i0] = {dtype}({operation.start})"])
        for s in parts.segments:
            if run.overlaps(s):
                begin, end = s.local - run.local, s.local - run.local + s.length
                even = begin + s.length // LANES * LANES
                lines = [f"for i0 in range({begin}, {even}, {LANES}):", f"    for k in range({LANES}):"]
                lines += [f"        {lanes}[k] = {text.format(f'{lanes}[k]', f'{source}[i0 + k]')}"]
                lines += [f"for i0 in range({even}, {end}):"]
                lines += [f"    {lanes}[0] = {text.format(f'{lanes}[0]', f'{source}[i0]')}"]
                once = s.axis is None and parts.count > 1
                self.body += ["if part == 0:", *(f"    {line}" for line in lines)] if once else lines
        lines = [f"{target}[0] = {text.format(f'{target}[0]', f'{lanes}[i0]')}"]
        self.body += [f"{target}[0] = {dtype}({operation.start})", *_nested((0,), [str(LANES)], lines)]
        self.body += [f"{target}[0] = {target}[0] / ({operation.divisor})"] if operation.divisor else []

    def clear(self, place: Place) -> None:
        """Make 0 of the subnormal numbers of a flat buffer."""
        name, dtype = self.array(place), place.buffer.dtype
        least = f"{dtype.name}({float(numpy.finfo(dtype).smallest_normal)!r})"
        self.body += _nested(
            (0,), self.memory.lengths(place), [f"{name}[i0] *= {dtype.name}(abs({name}[i0]) >= {least})"]
        )


class Loop:
    """Elementwise operations over one shape. before: by depth, what is read before the loops that lie deeper."""

    def __init__(self, section: Section, place: Place, label: str) -> None:
        self.section, self.place, self.label = section, place, label
        self.lengths = section.memory.lengths(place)
        self.before: list[list[str]] = [[] for _ in range(len(self.lengths) + 1)]
        self.values: dict[Variable, str] = {}
        self.loaded: dict[str, str] = {}

    def write(self, group: Sequence[Operation], is_needed: Callable[[Variable], bool]) -> None:
        """Write it into the section."""
        inmost = self.before[-1]
        stores: dict[Variable, Place] = {}
        for n, operation in enumerate(group):
            value, out = f"e{self.label}_{n}", operation.out.buffer
            inmost.append(f"{value} = {_type(out.dtype)}({self._expression(operation)})")
            self.values[out], stores[out] = value, operation.out
        for v, place in stores.items():
            if is_needed(v):
                element = self.section.element(self.section.array(place), self._index(place)[0])
                inmost.append(f"{element} = {self.values[v]}")
        indent, body = "", self.section.body
        for depth, lines in enumerate(self.before):
            body += [indent + line for line in lines]
            if depth < len(self.lengths):
                body.append(f"{indent}for i{depth} in range({self.lengths[depth]}):")
                indent += "    "

    def _expression(self, operation: Operation) -> str:
        if operation.picks:
            source, places = operation.reads
            limit = " * ".join(self.section.memory.lengths(source))
            return f"{self.section.array(source)}[min(max({self._read(places, None)}, 0), {limit} - 1)]"
        operands = []
        for item in operation.reads:
            text, dtype = self._read(item, operation.computes), getattr(getattr(item, "buffer", item), "dtype", None)
            fits = item.__class__ is float or (dtype is not None and dtype == operation.computes)
            operands.append(text if fits else f"{_type(operation.computes)}({text})")
        return operation.text.format(*operands)

    def _load(self, text: str, depth: int) -> str:
        """The name of what is read so deep in the loops."""
        if text not in self.loaded:
            self.loaded[text] = f"l{self.label}_{len(self.loaded)}"
            self.before[depth].append(f"{self.loaded[text]} = {text}")
        return self.loaded[text]

    def _read(self, item: Any, dtype: Any) -> str:
        """An operand: an array, a number, or samples at the places of the batch."""
        section, depth = self.section, len(self.lengths)
        if isinstance(item, Variable):
            return self._sample(item)
        if item.__class__ is float:
            section.constants.append(item)
            constant = section.declared(f"c + {8 * (len(section.constants) - 1)}", [], "float64")
            return self._load(f"{_type(dtype)}({constant}[0])", 0)
        if not isinstance(item, Place):
            return repr(item)
        if item.buffer in section.memory.parts.given and item.dims:  # so that the text holds for batches of any length
            dims = self.place.dims[depth - len(item.dims) :]
            item = replace(item, dims=tuple("1" if d == "1" else n for d, n in zip(item.dims, dims, strict=True)))
        if item.buffer in self.values and item.dims == self.place.dims:
            return self.values[item.buffer]
        index, deepest, shift = self._index(item)
        return self._load(_value(section.element(section.array(item, shift), index), item.buffer.dtype), deepest)

    def _sample(self, given: Variable) -> str:
        section, depth = self.section, len(self.lengths)
        batch = section.declared("order + 8 * step * rows", [ROWS], "int64")
        address = f"x{section.memory.parts.samples.index(given)}"
        if self.place.axis == 1:
            address += f" + {given.strides[1]} * part * {self.lengths[1]}"
        index = [self._load(f"{batch}[i0]", 1), *(f"i{k}" for k in range(1, depth))]
        steps = [f"{i} * {step // given.dtype.itemsize}" for i, step in zip(index, given.strides, strict=True)]
        array = section.declared(address, [], given.dtype)
        return self._load(_value(f"{array}[{' + '.join(steps)}]", given.dtype), depth)

    def _index(self, item: Place) -> tuple[list[str], int, str]:
        """The index of an operand, how deep in the loops it is known, and where its array begins."""
        index, deepest, extra, shift = list[str](), 0, len(self.place.dims) - len(item.dims), ""
        for n, length in enumerate(item.dims):
            depth = n + extra
            if length == "1" and self.place.dims[depth] != "1":
                index.append("0")
                continue
            index.append(f"i{depth}")
            deepest = depth + 1
            if self.place.axis == depth and item.axis is None:
                shift = " * ".join([f"part * {self.lengths[depth]}", *item.dims[n + 1 :]])
        return index, deepest, shift


def _nested(axes: Sequence[int], lengths: Sequence[str], lines: Sequence[str], begin: str = "") -> list[str]:
    """The lines within a loop over each of these axes."""
    heads = [f"{'    ' * n}for i{axis} in range({begin}{lengths[axis]}):" for n, axis in enumerate(axes)]
    return [*heads, *(f"{'    ' * len(axes)}{line}" for line in lines)]


def _value(element: str, dtype: Any) -> str:
    return f"({element} != 0)" if numpy.dtype(dtype).kind == "b" else element


def _type(dtype: Any) -> str:
    name = numpy.dtype(dtype).name
    return "bool_" if name == "bool" else name
