"""The calls of a recorded step as operations of its parts, each by a rule.

What is computed from units of one part stays in that part, with the gradients, the update and its state; what is whole
is computed by each part for itself. A call without a rule leaves the step to the list.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy

from .calls import CALLS
from .layout import Layout
from .listing import Instruction, Variable, root, variables
from .lowering import reduction_options
from .parts import FLAT, ROWS, Operation, Parts, Place, Unfit, size

RESHAPES = ("reshape", "getitem", "ravel", "expand_dims", "squeeze")
"""Views that may hold the same elements in the same order."""


def split(instructions: Sequence[Instruction], inputs: Sequence[Variable]) -> Parts:
    """The step of a list in parts; raises Unfit where that cannot be."""
    return Splitting(instructions, inputs).parts


class Splitting:
    """The step of a list in parts; raises Unfit where that cannot be."""

    def __init__(self, instructions: Sequence[Instruction], inputs: Sequence[Variable]) -> None:
        self.instructions, self.inputs = instructions, list(inputs)
        if len(inputs) != 3 or inputs[2].dtype != "int64" or len(inputs[2].shape) != 1:
            raise Unfit("it is not given samples, targets and the places of a batch")
        self.layout = Layout(instructions, inputs[2].shape[0])
        self.parts = self.layout.parts
        self.places: dict[int, Place] = {}
        self.pending: dict[int, Place] = {}  # of which each part has a term yet
        for instruction in instructions:
            self._take(instruction)

    def _place(self, v: Variable) -> Place:
        """How a variable lies, after the parts have met where it is a sum of theirs."""
        if v.number not in self.places:
            self.places[v.number] = self.layout.place(v)
        place = self.places[v.number]
        if place.buffer.number in self.pending:
            self.parts.operations.append(Operation("meet", self.pending.pop(place.buffer.number)))
        return place

    def _emit(self, kind: str, place: Place, reads: tuple[Any, ...], text: str = "", **more: Any) -> None:
        """An operation that makes the variable whose place that is."""
        self.parts.operations.append(Operation(kind, place, reads, text, **more))
        self.places[place.buffer.number] = place

    def _take(self, i: Instruction) -> None:
        out, row = i.out, i.row
        if i.kind == "host" or out is None:
            raise Unfit(f"{i.name} is done by the host")
        if row.on_host:
            self._number(i)
        elif row.reserves and root(out).kind == "made":
            whole = out.shape == self.layout.theta.shape
            self.places[out.number] = Place(out, (FLAT,) if whole else tuple(map(str, out.shape)))
        elif i.kind == "view":
            self._view(i, out)
        elif i.name == "take":
            self._gather(i, out)
        elif i.name == "matmul":
            self._product(i, out)
        elif i.name == "argmax":
            self._argmax(i, out)
        elif row.reduces and not isinstance(i.function, numpy.ufunc):
            self._reduction(i, out)
        else:
            self._elementwise(i, out)

    def _number(self, i: Instruction) -> None:
        assert i.out is not None
        if hasattr(i.function, "values"):
            if self.parts.host is not None:
                raise Unfit("two optimisers step in it")
            self.parts.host = i.function
        self.parts.numbers.append(i.out)

    def _view(self, i: Instruction, out: Variable) -> None:
        source = i.arguments[0]
        if source.__class__ is not Variable:
            raise Unfit(f"{i.name} of no array")
        place = self._place(source)
        if out.shape == source.shape and i.name in ("reshape", "getitem", "ravel"):
            pass
        elif i.name == "transpose" and len(source.shape) == 2 and i.arguments[1:] in ((), ((1, 0),)) and not i.options:
            axis = None if place.axis is None else 1 - place.axis
            place = Place(place.buffer, place.dims[::-1], axis, not place.swapped, place.segment)
        elif i.name in RESHAPES and _is_whole(place) and size(source.shape) == size(out.shape) > 0:
            place = Place(place.buffer, _dims(source.shape, place.dims, out.shape))
        else:
            raise Unfit(f"{i.name} has no rule: {i!r}")
        self.places[out.number] = place

    def _gather(self, i: Instruction, out: Variable) -> None:
        (x, at), options = i.arguments[:2], dict(i.options)
        if x.kind == "input":
            if at is not self.inputs[2] or options.get("axis") != 0 or x not in self.inputs[:2]:
                raise Unfit("samples are taken in another way")
            place = Place(out, (ROWS, *map(str, out.shape[1:])), self._split_inputs(out))
            self._emit("element", place, (x,), "{}", rows=True, computes=out.dtype)
            return
        if options.get("mode") != "clip" or len(x.shape) != 1 or options.get("axis") not in (None, 0):
            raise Unfit("take has no rule for that")
        source, places = self._place(x), self._place(at)
        if source.axis is not None or places.axis is not None:
            raise Unfit("split units are taken by places")
        self._emit("element", Place(out, places.dims), (source, places), "{}", picks=True, computes=out.dtype)

    def _split_inputs(self, out: Variable) -> int | None:
        """Whether each part takes only those columns of the samples that its rows of the first weights meet."""
        if len(out.shape) != 2 or out.shape[1] % self.parts.count:
            return None
        seen, factors = {out.number}, list[Variable]()
        for i in self.instructions:
            if i.out is not None and any(v.number in seen for v in i.reads()):
                if i.name == "matmul":
                    factors += variables(i.arguments[1:])
                elif i.kind == "view" or i.row.copies:
                    seen.add(i.out.number)
                else:
                    return None
        weights = [s for s in map(self.layout.segment, factors) if s]
        return 1 if self.parts.count > 1 and factors and all(s.axis == 0 for s in weights) else None

    def _product(self, i: Instruction, out: Variable) -> None:
        if i.kind != "make" or len(i.arguments) != 2 or i.options or len(out.shape) != 2:
            raise Unfit("a product of other than two matrices")
        a, b = (self._place(v) for v in i.arguments)
        if any(v.dtype != self.layout.theta.dtype or len(v.shape) != 2 for v in i.arguments):
            raise Unfit("a product of other dtypes than the weights'")
        inner = a.axis == 1 or b.axis == 0
        axes = ([0] if a.axis == 0 else []) + ([1] if b.axis == 1 else [])
        if (inner and axes) or len(axes) > 1 or (inner and i.arguments[0].shape[1] % self.parts.count):
            raise Unfit("a product over units that are split in two ways")
        place = Place(out, (a.dims[0], b.dims[1]), axes[0] if axes else None)
        self._emit("product", place, (a, b), axes=(1,) if inner else ())
        if inner and self.parts.count > 1:
            self.pending[out.number] = place
            self.parts.partial.append(place)

    def _argmax(self, i: Instruction, out: Variable) -> None:
        x = i.arguments[0]
        place = self._place(x)
        axis = i.options.get("axis", i.arguments[1] if len(i.arguments) > 1 else None)
        fits = len(i.arguments) <= 2 and len(x.shape) == 2 and axis in (-1, 1) and not place.swapped
        if i.options.keys() - {"axis"} or not fits:
            raise Unfit("argmax over other axes than the last of two")
        if place.axis == 1:
            raise Unfit("argmax over split units")
        self._emit("argmax", Place(out, place.dims[:1], place.axis), (place,), computes=x.dtype, axes=(1,))

    def _reduction(self, i: Instruction, out: Variable) -> None:
        options = reduction_options(i)
        x, axis = options.pop("x"), options.pop("axis", None)
        keep, ufunc = bool(options.pop("keepdims", False)), str(i.row.reduces)
        if options or x.__class__ is not Variable or ufunc not in ("add", "maximum", "minimum") or i.kind != "make":
            raise Unfit(f"{i.name} with options")
        place, count = self._place(x), len(x.shape)
        axes = tuple(range(count)) if axis is None else tuple(axis) if isinstance(axis, (tuple, list)) else (axis,)
        axes = tuple(sorted(a % count for a in axes)) if count else ()
        if place.swapped or place.axis in axes:
            raise Unfit(f"{i.name} over split units")
        if axes not in (tuple(range(count)), (count - 1,), (0,)) or (ufunc != "add" and axes != (count - 1,)):
            raise Unfit(f"{i.name} over axes between others")
        dims = ["1" if n in axes else d for n, d in enumerate(place.dims) if keep or n not in axes]
        split = place.axis
        if split is not None and not keep:
            split -= sum(a < split for a in axes)
        reduces = "mean" if i.name == "mean" else ufunc
        self._emit("reduce", Place(out, tuple(dims), split), (place,), reduces=reduces, axes=axes, computes=x.dtype)

    def _elementwise(self, i: Instruction, out: Variable) -> None:
        copied, count = i.copied(), len(out.shape)
        text, reads, computes = _spelled(i, out) if copied is None else ("{}", (copied,), out.dtype)
        if i.options.keys() - {"dtype", "casting"} - ({"copy"} if copied is not None else set()):
            raise Unfit(f"{i.name} with options")
        operands = tuple(self._place(v) if v.__class__ is Variable else v for v in reads)
        pairs = [(v, p) for v, p in zip(reads, operands, strict=True) if isinstance(p, Place)]
        if any(p.swapped or len(p.dims) > count for _, p in pairs):
            raise Unfit("a transposed matrix is computed with")
        axis = _common_axis(pairs, out)
        if i.kind != "write":
            place = Place(out, tuple(_length(n, out, pairs) for n in range(count)), axis)
            self._emit("element", place, operands, text, computes=computes)
            return
        target = self._place(out)
        if axis not in (None, target.axis) and target.dims not in ((), (FLAT,)):
            raise Unfit("an array is written in another split than it lies")
        self.parts.operations.append(Operation("element", target, operands, text, computes))


def _is_whole(place: Place) -> bool:
    return place.axis is None and not place.swapped


def _common_axis(pairs: Sequence[tuple[Variable, Place]], out: Variable) -> int | None:
    """The axis of a result that is split, as it is in the operands."""
    axes = set()
    for v, p in pairs:
        if p.axis is not None:
            axis = p.axis + len(out.shape) - len(v.shape)
            if v.shape[p.axis] != out.shape[axis]:
                raise Unfit("split units are broadcast")
            axes.add(axis)
    if len(axes) > 1:
        raise Unfit("units that are split in two ways meet")
    return axes.pop() if axes else None


def _length(axis: int, out: Variable, pairs: Sequence[tuple[Variable, Place]]) -> str:
    """The length of an axis as text: the batch's, where an operand's is."""
    own = [(v.shape[n], p.dims[n]) for v, p in pairs if (n := axis - len(out.shape) + len(v.shape)) >= 0]
    texts = sorted(text for length, text in own if length == out.shape[axis] and not text.isdigit())
    return texts[0] if texts else str(out.shape[axis])


def _dims(before: Sequence[int], dims: Sequence[str], after: Sequence[int]) -> tuple[str, ...]:
    """The lengths of a reshaped array, as text."""
    longer = [d for d, n in zip(dims, before, strict=True) if n != 1]
    if len(after) == 1:
        return (" * ".join(longer) or "1",)
    if [n for n in before if n != 1] == [n for n in after if n != 1]:
        left = iter(longer)
        return tuple("1" if n == 1 else next(left) for n in after)
    if before and after and before[0] == after[0] and all(d.isdigit() for d in dims[1:]):
        return (dims[0], *map(str, after[1:]))
    raise Unfit("a reshape that mixes the batch with the rest")


def _spelled(i: Instruction, out: Variable) -> tuple[str, tuple[Any, ...], Any]:
    """An elementwise call as an expression of Python, its operands, and the dtype that it computes in."""
    name, row, reads = i.name, CALLS.get(i.name), tuple(i.arguments)
    if name == "where" and len(reads) == 3:
        return "({1} if {0} else {2})", reads, out.dtype
    if row is None or not isinstance(i.function, numpy.ufunc) or not (row.loop or row.c):
        raise Unfit(f"{name} has no rule")
    text = row.loop or _in_python(row.c)
    computes = out.dtype if row.computes_in == "result" else numpy.dtype(bool)
    if row.computes_in == "operands":
        computes = numpy.result_type(*[x if x.__class__ in (bool, int, float) else x.dtype for x in reads])
    return text, reads, computes


def _in_python(c: str) -> str:
    """An expression in C as one in Python; the functions have the same names in both."""
    text = c.replace("{f}", "").replace("&&", "and").replace("||", "or")
    if "?" in text or text.startswith("!"):
        raise Unfit(f"{c} has no form in Python")
    return text
