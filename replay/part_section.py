"""What a part does between two meetings, as Python text for Numba: loops for what is computed element by element, BLAS
for products.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy

from .listing import Variable
from .part_memory import Memory
from .parts import ROWS, Operation, Place

SWAPPED, PLAIN, BY_ROWS = 112, 111, 101
"""How a matrix lies, by the numbers of cblas."""


class Section:
    """The lines of a section, and the arrays that these name.

    constants: numbers that are handed over too, since some depend on the length of a batch.
    """

    def __init__(self, memory: Memory, inputs: Sequence[Variable], constants: list[float]) -> None:
        self.memory, self.inputs, self.constants = memory, inputs, constants
        self.names: dict[str, str] = {}
        self.body: list[str] = []

    @property
    def lines(self) -> list[str]:
        """The lines, those that name arrays first."""
        return [*(f"{name} = {value}" for value, name in self.names.items()), *self.body]

    def array(self, place: Place, shift: str = "") -> str:
        """The name of a part's array. shift: elements by which it begins later."""
        v, parts = place.buffer, self.memory.parts
        single = v in parts.numbers or v in parts.kept
        lengths = [] if single else self.memory.lengths(place)
        address = self.memory.address(place) + (f" + {v.dtype.itemsize} * ({shift})" if shift else "")
        return self._declared(address, (lengths[::-1] if place.swapped else lengths) or ["1"], v.dtype)

    def _declared(self, address: str, shape: Sequence[str], dtype: Any) -> str:
        """The name of an array at an address."""
        text = f"carray(pointer({address}), ({', '.join(shape)},), {_type(dtype)})"
        return self.names.setdefault(text, f"a{len(self.names)}")

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

    def sum(self, operation: Operation) -> None:
        """What the parts have each, added up in their order."""
        target, v, lengths = self.array(operation.out), operation.out.buffer, self.memory.lengths(operation.out)
        parts = [self._declared(self.memory.term(v, n), lengths, v.dtype) for n in range(self.memory.parts.count)]
        line = f"{target}[i0, i1] = {' + '.join(f'{part}[i0, i1]' for part in parts)}"
        self.body += _nested((0, 1), lengths, [line])

    def reduction(self, operation: Operation) -> None:
        """A sum, a mean, or an extreme over all, the last, or the first axis; or where the greatest is."""
        (x,), out, axes = operation.reads, operation.out, operation.axes
        lengths, every = self.memory.lengths(x), range(len(x.dims))
        source, target, n = self.array(x), self.array(out), len(self.body)
        left = [axis for axis in every if axis not in axes]
        keeps = bool(out.dims) and len(out.dims) == len(every)
        place = ", ".join("0" if axis in axes else f"i{axis}" for axis in every if keeps or axis in left) or "0"
        element = f"{source}[{', '.join(f'i{axis}' for axis in every)}]"
        mean = f" / ({' * '.join(lengths[a] for a in axes)})" if operation.reduces == "mean" else ""
        dtype = _type(out.buffer.dtype)
        total, best, at, now = (f"{name}{n}" for name in ("total", "best", "at", "now"))
        if operation.kind == "argmax" or operation.reduces in ("maximum", "minimum"):
            (axis,), sign = axes, "<" if operation.reduces == "minimum" else ">"
            look = [f"{now} = {element}", f"if {now} {sign} {best} or ({now} != {now} and {best} == {best}):",
                    f"    {best}, {at} = {now}, i{axis}"]  # fmt: skip
            found = at if operation.kind == "argmax" else best
            inside = [f"{best}, {at} = {element.replace(f'i{axis}]', '0]')}, 0", *_nested(axes, lengths, look, "1, ")]
            self.body += _nested(left, lengths, [*inside, f"{target}[{place}] = {dtype}({found})"])
        elif axes == (0,) and left:  # row after row
            self.body += _nested(left, lengths, [f"{target}[{place}] = 0"])
            self.body += _nested(every, lengths, [f"{target}[{place}] += {element}"])
            self.body += _nested(left, lengths, [f"{target}[{place}] /= {mean[3:]}"]) if mean else []
        else:
            wide = "float64" if mean or not left else dtype
            inside = [f"{total} = {wide}(0)", *_nested(axes, lengths, [f"{total} += {element}"])]
            self.body += _nested(left, lengths, [*inside, f"{target}[{place}] = {dtype}({total}{mean})"])

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
                inmost.append(f"{self.section.array(place)}[{self._index(place)[0]}] = {self.values[v]}")
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
            constant = section._declared(f"c + {8 * (len(section.constants) - 1)}", ["1"], "float64")
            return self._load(f"{_type(dtype)}({constant}[0])", 0)
        if not isinstance(item, Place):
            return repr(item)
        if item.buffer in section.memory.parts.given and item.dims:  # so that the text holds for batches of any length
            dims = self.place.dims[depth - len(item.dims) :]
            item = replace(item, dims=tuple("1" if d == "1" else n for d, n in zip(item.dims, dims, strict=True)))
        if item.buffer in self.values and item.dims == self.place.dims:
            return self.values[item.buffer]
        index, deepest, shift = self._index(item)
        return self._load(f"{section.array(item, shift)}[{index}]", deepest)

    def _sample(self, given: Variable) -> str:
        section, depth = self.section, len(self.lengths)
        batch = section._declared("order + 8 * step * rows", [ROWS], "int64")
        address = f"x{section.inputs.index(given)}"
        if self.place.axis == 1:
            address += f" + {given.dtype.itemsize} * part * {self.lengths[1]}"
        array = section._declared(address, ["1", *map(str, given.shape[1:])], given.dtype)
        index = ", ".join([self._load(f"{batch}[i0]", 1), *(f"i{k}" for k in range(1, depth))])
        return self._load(f"{array}[{index}]", depth)

    def _index(self, item: Place) -> tuple[str, int, str]:
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
        return ", ".join(index) or "0", deepest, shift


def _nested(axes: Sequence[int], lengths: Sequence[str], lines: Sequence[str], begin: str = "") -> list[str]:
    """The lines within a loop over each of these axes."""
    heads = [f"{'    ' * n}for i{axis} in range({begin}{lengths[axis]}):" for n, axis in enumerate(axes)]
    return [*heads, *(f"{'    ' * len(axes)}{line}" for line in lines)]


def _type(dtype: Any) -> str:
    name = numpy.dtype(dtype).name
    return "bool_" if name == "bool" else name
