"""The parts of a step as Python text, which Numba compiles: loops for what is computed element by element, BLAS for
products. Everything is handed over by its address.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy

from .listing import Variable
from .parts import FLAT, ROWS, Operation, Parts, Place, size

ALIGNED = 64
"""Elements that a part's arrays are apart, so that no two cores write to one line of the cache."""


class Text:
    """The parts as Python text for Numba; everything is handed over by its address.

    constants: numbers that are handed over too, since some depend on the length of a batch.
    """

    def __init__(self, parts: Parts, inputs: Sequence[Variable]) -> None:
        self.parts, self.inputs = parts, inputs
        self.dtype = parts.flats[0].dtype.name
        self.constants: list[float] = []
        self._names: dict[str, str] = {}  # of the section that is being written
        self._placed: dict[int, tuple[str, tuple[int, int]]] = {}  # dtype, where: a + b · rows
        self._sizes: dict[str, tuple[int, int]] = {}
        self._partial: dict[int, tuple[int, int]] = {}
        self._partial_size = (0, 0)
        self._groups = _grouped(_placed(parts))
        self._readers: dict[int, set[int]] = {}
        for n, group in enumerate(self._groups):
            for operation in group:
                for place in operation.reads:
                    if isinstance(place, Place):
                        self._readers.setdefault(place.buffer.number, set()).add(n)
        for v in parts.partial:
            self._partial[v.number] = self._partial_size
            self._partial_size = _after(self._partial_size, self._room_of(parts.places[v.number]))
        sections = self._sections()
        self.given = self._given()
        self.source = "\n".join(self._whole(sections))

    # Where everything lies

    def room(self, rows: int) -> list[Any]:
        """The arrays that the parts keep: flat buffers, totals, what lies between, and sums to be added up."""
        count, parts = self.parts.count, self.parts
        flats = [_zeros((count, _padded(parts.local)), v.dtype) for v in parts.flats]
        kept = [_zeros((count, ALIGNED), v.dtype) for v in parts.kept]
        between = [_zeros((count, _padded(a + b * rows)), dtype) for dtype, (a, b) in self._sizes.items()]
        a, b = self._partial_size
        return [*flats, *kept, *between, _zeros((2, count, _padded(a + b * rows)), self.dtype)]

    def _given(self) -> str:
        """The parameters: addresses, and how far the parts' arrays are apart."""
        parts = self.parts
        names = ["rows", "x0", "x1", "order", "numbers", "clear", "c"]
        for kind, there in (("k", parts.given), ("f", parts.flats), ("t", parts.kept)):
            names += [f"{kind}{i}" for i in range(len(there))]
        names += [*(f"w_{dtype}" for dtype in self._sizes), "p"]
        return ", ".join([*names, *(f"s_{dtype}" for dtype in self._sizes), "s_p"])

    def _room_of(self, place: Place) -> tuple[int, int]:
        """The elements of a part's array, as a + b · rows."""
        number, rows = 1, 0
        for length in self._local(place):
            for factor in length.split(" * "):
                number, rows = (number, rows + 1) if factor == ROWS else (number * int(factor), rows)
        return (0, number) if rows else (number, 0)

    def _local(self, place: Place) -> list[str]:
        """The lengths of a part's array, as text."""
        if place.dims == (FLAT,):
            return [str(self.parts.local)]
        return [str(int(d) // self.parts.count) if n == place.axis else d for n, d in enumerate(place.dims)]

    def _array(self, place: Place, shift: str = "") -> str:
        """The name of a part's array. shift: elements by which it begins later."""
        v, local = place.buffer, self._local(place)
        if v in self.parts.numbers or v in self.parts.kept or not local:
            local = ["1"]
        address = self._address(place) + (f" + {v.dtype.itemsize} * ({shift})" if shift else "")
        return self._declared(address, local[::-1] if place.swapped else local, v.dtype)

    def _address(self, place: Place) -> str:
        """Where a part's array begins."""
        v, parts, item = place.buffer, self.parts, place.buffer.dtype.itemsize
        if v in parts.given:
            return f"k{parts.given.index(v)}"
        if v in parts.flats:
            begin = place.segment.local if place.segment else 0
            return f"f{parts.flats.index(v)} + {item} * (part * {_padded(parts.local)} + {begin})"
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

    def _partial_address(self, v: Variable, part: str) -> str:
        a, b = self._partial[v.number]
        return f"p + {v.dtype.itemsize} * (((step & 1) * {self.parts.count} + {part}) * s_p + {a} + {b} * rows)"

    def _declared(self, address: str, shape: Sequence[str], dtype: Any) -> str:
        """The name of an array at an address."""
        text = f"carray(pointer({address}), ({', '.join(shape)},), {_type(dtype)})"
        return self._names.setdefault(text, f"a{len(self._names)}")

    # What is computed

    def _sections(self) -> list[list[str]]:
        """The lines between the meetings."""
        sections: list[list[str]] = []
        lines: list[str] = []
        waiting: set[int] = set()

        def close() -> None:
            sections.append([*(f"{name} = {value}" for value, name in self._names.items()), *lines])
            lines.clear()
            self._names = {}

        for n, group in enumerate(self._groups):
            kind, number = group[0].kind, group[0].out.buffer.number
            if kind == "meet":
                if number in waiting:
                    waiting.clear()
                    close()
                lines += self._sum(group[0])
            elif kind == "product":
                waiting |= {number} & self._partial.keys()
                lines += self._product(group[0])
            elif kind in ("reduce", "argmax"):
                lines += self._reduction(group[0], n)
            else:
                lines += self._loop(group, n)
        close()
        return sections

    def _whole(self, sections: Sequence[Sequence[str]]) -> list[str]:
        """The functions: one for each section, what goes in and out, and the steps."""
        given, count = self.given, self.parts.count
        text: list[str] = []

        def function(name: str, before: str, lines: Sequence[str]) -> None:
            text.extend([f"def {name}({before}, {given}):", *(f"    {line}" for line in lines), "    return", ""])

        for n, lines in enumerate(sections):
            function(f"section{n}", "part, step", lines)
        lines = self._cleared()
        function("make_clear", "part", [*(f"{name} = {value}" for value, name in self._names.items()), *lines])
        each = f"for part in range(thread, {count}, threads):"
        run = ["met = 0", "clears = carray(pointer(clear), (steps,), bool_)"]
        run += ["for step in range(steps):"]
        run += ["    if clears[step]:", f"        {each}", f"            make_clear(part, {given})"]
        for n in range(len(sections)):
            run += ["    met += threads", "    if threads > 1:", "        meet(counter, met)"] if n else []
            run += [f"    {each}", f"        section{n}(part, step, {given})"]
        run += ["if thread == 0:", "    carray(pointer(counter), (16,), int64)[8] = 1"]
        function("run", "thread, threads, counter, steps", run)
        return text

    def _loop(self, group: Sequence[Operation], n: int) -> list[str]:
        """Elementwise operations over one shape as one loop."""
        place = group[0].out
        lengths = self._local(place)
        count = len(lengths)
        before: list[list[str]] = [[] for _ in range(count + 1)]
        values: dict[int, str] = {}
        loaded: dict[str, str] = {}
        stores: dict[int, tuple[Place, str]] = {}

        def load(text: str, depth: int) -> str:
            if text not in loaded:
                loaded[text] = f"l{n}_{len(loaded)}"
                before[depth].append(f"{loaded[text]} = {text}")
            return loaded[text]

        def read(item: Any, dtype: Any) -> str:
            if isinstance(item, Variable):  # samples or targets
                batch = self._declared("order + 8 * step * rows", [ROWS], "int64")
                shape = ["1", *map(str, item.shape[1:])]
                address = f"x{self.inputs.index(item)}"
                if place.axis == 1:
                    address += f" + {item.dtype.itemsize} * part * {lengths[1]}"
                index = ", ".join([load(f"{batch}[i0]", 1), *(f"i{k}" for k in range(1, count))])
                return load(f"{self._declared(address, shape, item.dtype)}[{index}]", count)
            if item.__class__ is float:
                self.constants.append(item)
                constant = self._declared(f"c + {8 * (len(self.constants) - 1)}", ["1"], "float64")
                return load(f"{_type(dtype)}({constant}[0])", 0)
            if not isinstance(item, Place):
                return repr(item)
            if item.buffer in self.parts.given and item.dims:  # so that the text holds for batches of any length
                dims = place.dims[count - len(item.dims) :]
                item = replace(item, dims=tuple("1" if d == "1" else n for d, n in zip(item.dims, dims, strict=True)))
            number = item.buffer.number
            if number in values and item.dims == place.dims:
                return values[number]
            index, depth, shift = self._index(item, place)
            return load(f"{self._array(item, shift)}[{index}]", depth)

        for m, operation in enumerate(group):
            out = operation.out.buffer
            if operation.picks:
                source, places = operation.reads
                limit = " * ".join(self._local(source))
                text = f"{self._array(source)}[min(max({read(places, None)}, 0), {limit} - 1)]"
            else:
                operands = [self._cast(read(r, operation.computes), r, operation) for r in operation.reads]
                text = operation.text.format(*operands)
            before[count].append(f"e{n}_{m} = {_type(out.dtype)}({text})")
            values[out.number], stores[out.number] = f"e{n}_{m}", (operation.out, f"e{n}_{m}")
        for target, name in stores.values():
            if self._is_needed(target.buffer, n):
                before[count].append(f"{self._array(target)}[{self._index(target, place)[0]}] = {name}")
        lines, indent = [], ""
        for depth, length in enumerate(lengths):
            lines += [indent + line for line in before[depth]]
            lines.append(f"{indent}for i{depth} in range({length}):")
            indent += "    "
        return [*lines, *(indent + line for line in before[count])]

    def _is_needed(self, v: Variable, n: int) -> bool:
        """Whether what group n writes into a variable is read elsewhere."""
        if v in self.parts.flats or v in self.parts.kept:
            return True
        return bool(self._readers.get(v.number, set()) - {n})

    def _cast(self, text: str, item: Any, operation: Operation) -> str:
        dtype = getattr(item.buffer if isinstance(item, Place) else item, "dtype", None)
        if item.__class__ is float or (dtype is not None and dtype == operation.computes):
            return text
        return f"{_type(operation.computes)}({text})"

    def _index(self, item: Place, loop: Place) -> tuple[str, int, str]:
        """The index of an operand within a loop, how deep it must be in that to be known, and where it begins."""
        if not item.dims:
            return "0", 0, ""
        index, deepest, extra, shift = list[str](), 0, len(loop.dims) - len(item.dims), ""
        for n, length in enumerate(item.dims):
            depth = n + extra
            if length == "1" and loop.dims[depth] != "1":
                index.append("0")
                continue
            index.append(f"i{depth}")
            deepest = depth + 1
            if loop.axis == depth and item.axis is None:
                shift = " * ".join([f"part * {self._local(loop)[depth]}", *item.dims[n + 1 :]])
        return ", ".join(index), deepest, shift

    def _product(self, operation: Operation) -> list[str]:
        """A product of matrices by BLAS."""
        a, b = operation.reads
        out, inner, item = operation.out, bool(operation.axes), operation.out.buffer.dtype.itemsize
        lengths, given = self._local(out), []
        depth = self._local(a)[1] if a.axis == 1 else self._local(b)[0]
        for place, axis in ((a, 1), (b, 0)):
            local, begin = self._local(place), self._address(place)
            step = local[0] if place.swapped else local[1]
            if inner and place.axis is None and self.parts.count > 1:
                begin += f" + {item} * part * {depth}" + (f" * {step}" if (axis == 0) != place.swapped else "")
            given.append(f"{begin}, {step}")
        number = out.buffer.number
        target = self._partial_address(out.buffer, "part") if number in self._partial else self._address(out)
        swapped = [112 if place.swapped else 111 for place in (a, b)]
        return [
            f"gemm(101, {swapped[0]}, {swapped[1]}, {lengths[0]}, {lengths[1]}, {depth}, {self.dtype}(1), "
            f"{given[0]}, {given[1]}, {self.dtype}(0), {target}, {lengths[1]})"
        ]

    def _sum(self, operation: Operation) -> list[str]:
        """What the parts have each, added up in their order."""
        target, v = self._array(operation.out), operation.out.buffer
        lengths = self._local(operation.out)
        terms = [
            f"{self._declared(self._partial_address(v, str(n)), lengths, v.dtype)}[i, j]"
            for n in range(self.parts.count)
        ]
        return [
            f"for i in range({lengths[0]}):",
            f"    for j in range({lengths[1]}):",
            f"        {target}[i, j] = {' + '.join(terms)}",
        ]

    def _reduction(self, operation: Operation, group: int) -> list[str]:
        """A sum, a mean, or an extreme over all, the last, or the first axis."""
        (x,), out = operation.reads, operation.out
        lengths, count = self._local(x), len(x.dims)
        source, target = self._array(x), self._array(out)
        left = [n for n in range(count) if n not in operation.axes]
        keeps = bool(out.dims) and len(out.dims) == count
        place = ", ".join("0" if n in operation.axes else f"i{n}" for n in range(count) if keeps or n in left) or "0"
        element = f"{source}[{', '.join(f'i{n}' for n in range(count))}]"
        mean = f" / ({' * '.join(lengths[a] for a in operation.axes)})" if operation.reduces == "mean" else ""
        dtype = _type(out.buffer.dtype)

        def loops(axes: Sequence[int], lines: Sequence[str], begin: int = 0) -> list[str]:
            first = "1, " if begin else ""
            heads = [f"{'    ' * n}for i{a} in range({first}{lengths[a]}):" for n, a in enumerate(axes)]
            return [*heads, *(f"{'    ' * len(axes)}{line}" for line in lines)]

        total, best, at, now = (f"{name}{group}" for name in ("total", "best", "at", "now"))
        if operation.kind == "argmax" or operation.reduces in ("maximum", "minimum"):
            (axis,), sign = operation.axes, "<" if operation.reduces == "minimum" else ">"
            first = element.replace(f"i{axis}]", "0]")
            look = [f"{now} = {element}", f"if {now} {sign} {best} or ({now} != {now} and {best} == {best}):",
                    f"    {best}, {at} = {now}, i{axis}"]  # fmt: skip
            found = at if operation.kind == "argmax" else best
            inside = [f"{best}, {at} = {first}, 0", *loops([axis], look, begin=1)]
            return loops(left, [*inside, f"{target}[{place}] = {dtype}({found})"])
        if operation.axes == (0,) and count > 1:  # row after row
            lines = loops(left, [f"{target}[{place}] = 0"])
            lines += loops(range(count), [f"{target}[{place}] += {element}"])
            return [*lines, *loops(left, [f"{target}[{place}] /= {mean[3:]}"])] if mean else lines
        wide = "float64" if mean or not left else dtype
        inside = [f"{total} = {wide}(0)", *loops(operation.axes, [f"{total} += {element}"])]
        return loops(left, [*inside, f"{target}[{place}] = {dtype}({total}{mean})"])

    def _cleared(self) -> list[str]:
        lines = []
        states = [id(array) for array in (self.parts.host.states if self.parts.host else ())]
        for v in self.parts.flats:
            if id(v.array) in states:
                name, dtype = self._array(Place(v, (FLAT,))), v.dtype.name
                least = float(numpy.finfo(v.dtype).smallest_normal)
                lines.append(f"for i in range({self.parts.local}):")
                lines.append(f"    {name}[i] *= {dtype}(abs({name}[i]) >= {dtype}({least!r}))")
        return lines


def _placed(parts: Parts) -> list[Operation]:
    """The operations without copies into the flat buffers of what can be computed there at once."""
    operations = list(parts.operations)
    reads: dict[int, int] = {}
    for operation in operations:
        for p in operation.reads:
            if isinstance(p, Place):
                reads[p.buffer.number] = reads.get(p.buffer.number, 0) + 1
    made = {o.out.buffer.number: o for o in operations if o.kind in ("product", "reduce", "argmax")}
    left = []
    for copy in operations:
        source = copy.reads[0] if copy.kind == "element" and copy.text == "{}" and len(copy.reads) == 1 else None
        origin = made.get(source.buffer.number) if isinstance(source, Place) and not source.swapped else None
        if (
            origin is not None
            and copy.out.segment is not None
            and isinstance(source, Place)
            and reads[source.buffer.number] == 1
            and source.buffer not in parts.partial
            and (source.dims, source.axis) == (origin.out.dims, origin.out.axis) == (copy.out.dims, copy.out.axis)
            and source.buffer.dtype == copy.out.buffer.dtype
            and not _touches(operations[operations.index(origin) + 1 : operations.index(copy)], copy.out)
        ):
            origin.out = copy.out
        else:
            left.append(copy)
    return left


def _touches(operations: Sequence[Operation], place: Place) -> bool:
    """Whether one of them reads or writes there."""
    places = [p for o in operations for p in (*o.reads, o.out) if isinstance(p, Place) and p.buffer is place.buffer]
    return any(p.segment in (None, place.segment) for p in places)


def _grouped(operations: Sequence[Operation]) -> list[list[Operation]]:
    """The operations, those that are one loop together."""
    groups: list[list[Operation]] = []
    for operation in operations:
        if groups and _joins(groups[-1], operation):
            groups[-1].append(operation)
        else:
            groups.append([operation])
    return groups


def _joins(group: Sequence[Operation], operation: Operation) -> bool:
    """Whether an operation may stand in the loop of these: one shape, and what it shares with them lies alike."""
    out = operation.out
    if group[0].kind != "element" or operation.kind != "element" or _lay(group[0].out)[:2] != _lay(out)[:2]:
        return False
    written = {o.out.buffer.number: o.out for o in group}
    for p in (*operation.reads, out):
        if isinstance(p, Place) and p.buffer.number in written and _lay(p) != _lay(written[p.buffer.number]):
            return False
    if operation.picks and operation.reads[0].buffer.number in written:
        return False
    read = [p for o in group for p in o.reads if isinstance(p, Place) and p.buffer is out.buffer]
    return all(_lay(p) == _lay(out) for p in read)


def _lay(place: Place) -> tuple[Any, ...]:
    return place.dims, place.axis, place.segment


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


def _type(dtype: Any) -> str:
    name = numpy.dtype(dtype).name
    return "bool_" if name == "bool" else name
