"""The calls of a recorded step as operations of its parts, each by a rule.

What is computed from units of one part stays in that part, with the gradients, the update and its state; what is whole
is computed by each part for itself. A call without a rule leaves the step to the list.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy

from .calls import CALLS, ArrayCall
from .layout import Layout
from .listing import Instruction, Variable, root, variables
from .lowering import reduction_options
from .parts import ROWS, Operation, Parts, Place, Unfit, size
from .ufunc_loops import loop_of

STARTS = {"add": "0", "maximum": "-inf", "minimum": "inf", "logical_and": "True", "logical_or": "False"}
"""What reductions begin with."""
TEXTS = {
    "where": ("({1} if {0} else {2})", "({0} ? {1} : {2})"),
    "clip": ("({1} if {0} < {1} else {2} if {0} > {2} else {0})", "({0} < {1} ? {1} : {0} > {2} ? {2} : {0})"),
}
"""Calls of three operands that are no ufuncs, as text of Python and of CUDA C."""
RESHAPES = ("reshape", "getitem", "ravel", "expand_dims", "squeeze")
"""Views that may hold the same elements in the same order."""


def split(instructions: Sequence[Instruction], inputs: Sequence[Variable], whole: bool = False) -> Parts:
    """The step of a list in parts; raises Unfit where that cannot be. whole: in one part, however large."""
    return Splitting(instructions, inputs, whole).parts


class Splitting:
    """The step of a list in parts; raises Unfit where that cannot be. inputs: samples, and the places of a batch; on a
    GPU the samples are from outside.
    """

    def __init__(self, instructions: Sequence[Instruction], inputs: Sequence[Variable], whole: bool = False) -> None:
        self.instructions = instructions
        *self.samples, self.order = inputs
        self.samples = self.samples or _taken_from_outside(instructions, self.order)
        if not self.samples or self.order.dtype != "int64" or len(self.order.shape) != 1:
            raise Unfit("it is not given samples, targets and the places of a batch")
        self.layout = Layout(instructions, self.order.shape[0], whole)
        self.parts, self.dtype = self.layout.parts, self.layout.flats[0].dtype
        self.parts.samples = self.samples
        self.places: dict[int, Place] = {}
        self.repeated: dict[int, Variable] = {}  # what broadcast_to gives, by number: what it was given
        self.pending: dict[int, Operation] = {}  # meetings that are to come: of what each part has a term yet
        for instruction in instructions:
            self._take(instruction)

    def _place(self, v: Variable) -> Place:
        """How a variable lies, after the parts have met where it is a sum of theirs."""
        if v.number not in self.places:
            self.places[v.number] = self.layout.place(v)
        place = self.places[v.number]
        if place.buffer.number in self.pending:
            self.parts.operations.append(self.pending.pop(place.buffer.number))
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
            self.parts.numbers.append(out)
        elif row.reserves and root(out).kind == "made":
            pass  # it lies as what is first written into it
        elif row.draws:
            self._draw(i, out)
        elif i.name == "broadcast_to":
            self.repeated[out.number] = i.arguments[0]
        elif i.kind == "view":
            self._view(i, out)
        elif i.name == "take":
            self._gather(i, out)
        elif i.name == "matmul":
            self._product(i, out)
        elif i.name == "dot":
            self._dot(i, out)
        elif i.name == "argmax":
            self._argmax(i, out)
        elif row.reduces in STARTS and ufunc_of(i) is None:
            self._reduction(i, out)
        else:
            self._elementwise(i, out)

    def _meet(self, place: Place, text: str, divisor: str = "") -> None:
        """Let a variable be what the parts' terms give together; they meet where it is first read."""
        if place.buffer.dtype != self.dtype:
            raise Unfit("a sum over split units has another dtype than the weights")
        self.pending[place.buffer.number] = Operation("meet", place, text=text, divisor=divisor)
        self.parts.partial.append(place)

    def _draw(self, i: Instruction, out: Variable) -> None:
        rows = self.order.shape[0]
        self.parts.drawn[out] = i
        dims = [ROWS if n == 0 and d == rows else str(d) for n, d in enumerate(out.shape)]
        self.places[out.number] = Place(out, tuple(dims))

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
        if x in self.samples:
            if at is not self.order or options.get("axis") != 0:
                raise Unfit("samples are taken in another way")
            if any(step % x.dtype.itemsize for step in x.strides):
                raise Unfit("samples lie among other numbers")
            place = Place(out, (ROWS, *map(str, out.shape[1:])), self._split_inputs(out))
            self._emit("element", place, (x,), "{}", rows=True, computes=out.dtype, c="{}")
            return
        if options.get("mode") != "clip" or len(x.shape) != 1 or options.get("axis") not in (None, 0):
            raise Unfit("take has no rule for that")
        source, places = self._place(x), self._place(at)
        if source.axis is not None or places.axis is not None:
            raise Unfit("split units are taken by places")
        self._emit("element", Place(out, places.dims), (source, places), "{}", picks=True, computes=out.dtype, c="{}")

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
        if any(v.dtype != self.dtype or len(v.shape) != 2 for v in i.arguments):
            raise Unfit("a product of other dtypes than the weights'")
        inner = a.axis == 1 or b.axis == 0
        axes = ([0] if a.axis == 0 else []) + ([1] if b.axis == 1 else [])
        if (inner and axes) or len(axes) > 1 or (inner and i.arguments[0].shape[1] % self.parts.count):
            raise Unfit("a product over units that are split in two ways")
        place = Place(out, (a.dims[0], b.dims[1]), axes[0] if axes else None)
        self._emit("product", place, (a, b), axes=(1,) if inner else ())
        if inner and self.parts.count > 1:
            self._meet(place, "{0} + {1}")

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
        if options or x.__class__ is not Variable or i.kind != "make":
            raise Unfit(f"{i.name} with options")
        count = len(x.shape)
        axes = tuple(range(count)) if axis is None else tuple(axis) if isinstance(axis, (tuple, list)) else (axis,)
        axes = tuple(sorted(a % count for a in axes)) if count else ()
        self._reduce(out, x, axes, ufunc, keep, mean=i.name == "mean")

    def _reduce(
        self, out: Variable, x: Variable, axes: tuple[int, ...], ufunc: str, keep: bool = False, mean: bool = False
    ) -> None:
        """A reduction: over split units it is one over those of each part, and then over the parts."""
        place, every = self._place(x), tuple(range(len(x.shape)))
        if (
            place.swapped
            or axes not in (every, every[-1:], (0,))
            or (x.dtype.kind != "f" and ufunc[:3] in ("max", "min"))
        ):
            raise Unfit(f"{ufunc} over axes between others, or of other numbers")
        dims = ["1" if n in axes else d for n, d in enumerate(place.dims) if keep or n not in axes]
        split = place.axis if place.axis not in axes else None
        if split is not None and not keep:
            split -= sum(a < split for a in axes)
        divisor = " * ".join(str(size(x.shape)) if d in self.parts.runs else d for d in _at(place.dims, axes))
        row, made = CALLS[ufunc], Place(out, tuple(dims), split)
        text = _text_of(row)
        inner = place.axis in axes or any(d in self.parts.runs for d in place.dims)
        terms, divisor = inner and self.parts.count > 1, divisor if mean else ""
        self._emit(
            "reduce", made, (place,), text, start=STARTS[ufunc], axes=axes, computes=x.dtype,
            divisor="" if terms else divisor, c=row.c,
        )  # fmt: skip
        if terms:
            self._meet(made, text, divisor)

    def _dot(self, i: Instruction, out: Variable) -> None:
        """Of two vectors: the sum of their products."""
        a, b = i.arguments
        if len(a.shape) != 1 or len(b.shape) != 1 or i.options or i.kind != "make":
            raise Unfit("dot of other than two vectors")
        products = Variable(-1 - len(self.places), numpy.broadcast_to(numpy.zeros((), out.dtype), a.shape), "made", 0)
        self._compute(products, (a, b), CALLS["multiply"], out.dtype)
        self._reduce(out, products, (0,), "add")

    def _elementwise(self, i: Instruction, out: Variable) -> None:
        copied, name = i.copied(), i.name
        if i.options.keys() - {"dtype", "casting"} - ({"copy"} if copied is not None else set()):
            raise Unfit(f"{name} with options")
        if copied is not None:
            self._compute(out, (copied,), CALLS["positive"], out.dtype, i.kind)
        elif name in TEXTS and len(i.arguments) == 3 and None not in i.arguments:
            text, c = TEXTS[name]
            self._compute(out, tuple(i.arguments), ArrayCall(loop=text, c=c), out.dtype, i.kind)
        elif ufunc_of(i) is None:
            raise Unfit(f"{name} has no rule")
        elif _text_of(row := CALLS.get(ufunc_of(i).__name__, i.row)):
            self._compute(out, tuple(i.arguments), row, _computed_in(row, i.arguments, out), i.kind)
        else:
            self._call(i, out)

    def _call(self, i: Instruction, out: Variable) -> None:
        """NumPy's own loop, called by its address, over arrays that all lie alike."""
        common = numpy.result_type(*[x.dtype if x.__class__ is Variable else x for x in i.arguments])
        function: Any = ufunc_of(i)
        types = [x.dtype if x.__class__ is Variable else common for x in i.arguments]
        addresses = loop_of(function, types, out.dtype)
        arrays = [p for x in i.arguments if x.__class__ is Variable and (p := self._place(x)).dims]
        alike = len({(p.dims, p.axis, p.swapped) for p in arrays}) == 1 and not arrays[0].swapped
        inside = not any(p.buffer in (*self.parts.given, *self.parts.drawn) for p in arrays)
        if addresses is None or i.kind != "make" or not alike or not inside:
            raise Unfit(f"{i.name} has no rule for that")
        places = [self._place(x) if x.__class__ is Variable else self._constant(x, common) for x in i.arguments]
        if addresses not in self.parts.loops:
            self.parts.loops.append(addresses)
        place = Place(out, arrays[0].dims, arrays[0].axis)
        row = CALLS.get(function.__name__, i.row)
        computes = _computed_in(row, i.arguments, out)
        self._emit("call", place, tuple(places), loop=self.parts.loops.index(addresses), computes=computes, c=row.c)

    def _constant(self, number: Any, dtype: Any) -> Place:
        """A number as an array that is given."""
        made = Variable(-1 - len(self.parts.given), numpy.asarray(number, dtype), "outside", 0)
        self.parts.given.append(made)
        return Place(made, ())

    def _compute(
        self, out: Variable, reads: tuple[Any, ...], row: ArrayCall, computes: Any, kind: str = "make"
    ) -> None:
        """Element by element, as that row says."""
        count, text = len(out.shape), _text_of(row)
        reads = tuple(self.repeated.get(v.number, v) if v.__class__ is Variable else v for v in reads)
        operands = tuple(self._place(v) if v.__class__ is Variable else v for v in reads)
        pairs = [(v, p) for v, p in zip(reads, operands, strict=True) if isinstance(p, Place)]
        if any(p.swapped or len(p.dims) > count for _, p in pairs):
            raise Unfit("a transposed matrix is computed with")
        axis = _common_axis(pairs, out)
        if kind != "write" or (out.kind == "made" and out.number not in self.places):
            place = Place(out, tuple(_length(n, out, pairs) for n in range(count)), axis)
            self._emit("element", place, operands, text, computes=computes, c=row.c)
            return
        target = self._place(out)
        if axis not in (None, target.axis) and target.dims:
            raise Unfit("an array is written in another split than it lies")
        self.parts.operations.append(Operation("element", target, operands, text, computes, row.c))


def ufunc_of(i: Instruction) -> Any:
    """NumPy's ufunc that a call is, on any device; None where it is none."""
    return getattr(numpy, i.name, None) if hasattr(i.function, "nin") else None


def _taken_from_outside(instructions: Sequence[Instruction], order: Variable) -> list[Variable]:
    """The arrays from outside of which a step takes the places of a batch."""
    taken = [i.arguments[0] for i in instructions if i.name == "take" and i.arguments[1] is order]
    return list(dict.fromkeys(x for x in taken if x.kind == "outside"))


def _at(dims: Sequence[str], axes: Sequence[int]) -> list[str]:
    return [dims[a] for a in axes]


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


def _computed_in(row: ArrayCall, given: Sequence[Any], out: Variable) -> Any:
    """The dtype that an elementwise call computes in."""
    if row.computes_in == "operands":
        return numpy.result_type(*[x.dtype if x.__class__ is Variable else x for x in given])
    return numpy.dtype(bool) if row.computes_in == "bool" else out.dtype


def _text_of(row: ArrayCall) -> str:
    """What IEEE 754 defines to the last bit, as an expression of Python; empty where there is none."""
    text = (
        "" if "{f}" in row.c or "?" in row.c else row.c.replace("&&", "and").replace("||", "or").replace("!{", "not {")
    )
    return row.loop or text
