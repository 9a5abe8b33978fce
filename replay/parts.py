"""A recorded training step, split into parts that cores, or a GPU's blocks, can carry out side by side.

What is split are the units of layers: of one matrix of weights the columns, of the next the rows, in turn, and the last
by rows (Shoeybi et al. 2019, "Megatron-LM"). A product over split units is a sum of the parts' own: there they meet.
Everything else follows from the list: what is computed from units of one part stays in that part, with the gradients,
the update and its state; what is whole is computed by each part for itself. A call without a rule leaves the step to
the list. The number of parts is the model's, so that the sums have the same order on every machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy

from ..engine import backend
from .calls import CALLS
from .listing import Instruction, Variable, root
from .lowering import reduction_options

ROWS, FLAT = "rows", "flat"
"""Lengths that are no numbers in the text: of the batch, and of a part of the flat buffers."""
LEAST, FEWEST = 64, 16
"""Units that a part has at least: of more than two parts, and of two."""
LARGE = 1 << 26
"""Multiplications of a product, from which on a BLAS with threads of its own gains by them."""
PACE, ADDING = 12, 0.15
"""Multiplications in the time of reading one number that another core has; the part of the products' time that may be
spent on reading such."""
RESHAPES = ("reshape", "getitem", "ravel", "expand_dims", "squeeze")
"""Views that may hold the same elements in the same order."""


class Unfit(Exception):
    """A step that is not split, and why."""


@dataclass(eq=False)
class Segment:
    """A weight in the flat buffers: where it begins, its shape, which axis is split, if any ("open": not known yet),
    and where it begins in a part's own.
    """

    offset: int
    shape: tuple[int, ...]
    axis: Any
    local: int = 0


@dataclass(frozen=True)
class Place:
    """How a variable lies in a part.

    buffer: the variable whose memory it is. dims: its lengths, as text. axis: the one that is split. swapped: it is
    the transposed of what lies there. segment: which part of a flat buffer it is, for weights and their gradients.
    """

    buffer: Variable
    dims: tuple[str, ...]
    axis: int | None = None
    swapped: bool = False
    segment: Segment | None = None


@dataclass
class Operation:
    """What a part does. kind: "element", "reduce", "argmax", "product" or "meet".

    text: an expression with a field for each operand, element by element. reads: places, and plain numbers.
    rows: samples are gathered at the step's indices, from the array that is read. picks: the first operand is taken at
    the places that the second names.
    """

    kind: str
    out: Place
    reads: tuple[Any, ...] = ()
    text: str = ""
    computes: Any = None
    rows: bool = False
    picks: bool = False
    reduces: str = ""
    axes: tuple[int, ...] = ()


@dataclass
class Parts:
    """A step in so many parts: operations in their order, and what they read and write.

    flats: the flat buffers from outside, which are taken in and given back. numbers: those of the host, with their
    arrays. kept: other arrays that are written, of which each part has its own. given: constant arrays.
    """

    count: int
    operations: list[Operation] = field(default_factory=list)
    places: dict[int, Place] = field(default_factory=dict)
    segments: list[Segment] = field(default_factory=list)
    flats: list[Variable] = field(default_factory=list)
    kept: list[Variable] = field(default_factory=list)
    given: list[Variable] = field(default_factory=list)
    numbers: list[Variable] = field(default_factory=list)
    host: Any = None
    partial: list[Variable] = field(default_factory=list)

    @property
    def local(self) -> int:
        """Elements of a part of a flat buffer."""
        return sum(size(s.shape) // (self.count if s.axis is not None else 1) for s in self.segments)


def size(shape: Sequence[int]) -> int:
    """Elements."""
    return int(numpy.prod(shape, dtype="int64"))


class Splitting:
    """The step of a list in parts; raises Unfit where that cannot be."""

    def __init__(self, instructions: Sequence[Instruction], inputs: Sequence[Variable]) -> None:
        self.instructions, self.inputs = instructions, list(inputs)
        if len(inputs) != 3 or inputs[2].dtype != "int64" or len(inputs[2].shape) != 1:
            raise Unfit("it is not given samples, targets and the places of a batch")
        self.written = {i.out.number for i in instructions if i.kind == "write" and i.out is not None}
        self.theta = self._flat_of_weights()
        weights = self._weights()
        self.parts = Parts(self._count(weights))
        self._lay_out(weights)
        self.pending: dict[int, Place] = {}
        for instruction in instructions:
            self._take(instruction)
        if any(s.axis == "open" for s in self.parts.segments):
            raise Unfit("a weight takes no part")
        self._give_places()

    # What is there

    def _flat_of_weights(self) -> Variable:
        factors = {v.storage for i in self.instructions if i.name == "matmul" for v in i.reads()}
        for i in self.instructions:
            v = i.out
            written = i.kind == "write" and v is not None and v.kind == "outside" and len(v.shape) == 1
            if written and v is not None and v.storage in factors:
                return v
        raise Unfit("no flat buffer of weights is updated")

    def _weights(self) -> list[Variable]:
        """The matrices of weights, in the order in which the batch goes through them."""
        found: list[Variable] = []
        for i in self.instructions:
            if i.name == "matmul" and len(i.arguments) == 2:
                w = i.arguments[1]
                if w.__class__ is Variable and self._is_weight(w) and w not in found:
                    found.append(w)
        if not found:
            raise Unfit("it has no layer of weights")
        return found

    def _is_weight(self, v: Variable) -> bool:
        return v.kind == "outside" and v.storage == self.theta.storage

    def _count(self, weights: Sequence[Variable]) -> int:
        """As many parts as divide the units evenly, and spend little on adding up what each has."""
        axes, rows = self._axes(weights), self.inputs[2].shape[0]
        lengths = [w.shape[axis] for w, axis in axes]
        hidden = [w.shape[1] for w in weights[:-1]] or lengths
        if max(rows * size(w.shape) for w in weights) > LARGE:
            raise Unfit("its products are so large that BLAS's own threads do better")
        products = 3 * sum(size(w.shape) for w in weights) / PACE
        added = sum(w.shape[1 - axis] if axis == 0 or n else 0 for n, (w, axis) in enumerate(axes))
        for count in (8, 4, 2):
            even = all(n % count == 0 for n in lengths) and min(hidden) >= count * (LEAST if count > 2 else FEWEST)
            if even and count * added <= ADDING * products / count:
                return count
        return 1

    def _axes(self, weights: Sequence[Variable]) -> list[tuple[Variable, int]]:
        return [(w, (len(weights) - 1 - n) % 2) for n, w in enumerate(weights)]

    def _lay_out(self, weights: Sequence[Variable]) -> None:
        """The segments of the flat buffers, and how each is split, as far as that is known."""
        axes = {w.number: axis for w, axis in self._axes(weights)}
        reads = [v for i in self.instructions for v in i.reads()]
        found: dict[int, tuple[tuple[int, ...], Any]] = {}
        for v in reads:
            if self._is_weight(v) and v is not self.theta:
                begin = _begin(v, self.theta)
                axis = axes.get(v.number, "open" if len(v.shape) == 1 else None)
                if found.setdefault(begin, (v.shape, axis))[0] != v.shape or not _lies_plainly(v):
                    raise Unfit("a weight is looked at in two ways")
        end, whole = 0, self.parts.count == 1
        for begin in sorted(found):
            shape, axis = found[begin]
            if begin != end:
                raise Unfit("there are weights that take no part")
            self.parts.segments.append(Segment(begin, shape, None if whole else axis))
            end += size(shape)
        if end != self.theta.shape[0]:
            raise Unfit("there are weights that take no part")

    def _segment(self, v: Variable) -> Segment | None:
        """The segment that an array from outside is, in one of the flat buffers."""
        for flat in self.parts.flats:
            if v.storage == flat.storage and v.dtype == flat.dtype:
                begin = _begin(v, flat)
                for segment in self.parts.segments:
                    if segment.offset == begin and segment.shape == v.shape and _lies_plainly(v):
                        return segment
        return None

    def _is_flat(self, v: Variable) -> bool:
        return bool(v.shape == self.theta.shape)

    # How variables lie

    def _place(self, v: Variable, axis: int | None = None) -> Place:
        """How a variable lies that is read, or that a call from outside writes to. axis: of a bias that is open yet."""
        known = self.parts.places.get(v.number)
        if known is None:
            known = self._met(v, axis)
            if not isinstance(self._open(v), Segment):
                self.parts.places[v.number] = known
        return known

    def _open(self, v: Variable) -> Segment | None:
        segment = self._segment(v) if v.kind == "outside" and v.array is not None and not self._is_flat(v) else None
        return segment if segment is not None and segment.axis == "open" else None

    def _met(self, v: Variable, axis: int | None) -> Place:
        if v.kind == "input":
            raise Unfit("what is given is looked at as a whole")
        if v.kind != "outside" or v.array is None:
            raise Unfit(f"{v} is not known")
        if self._is_flat(v):
            if v.dtype != self.theta.dtype or not _lies_plainly(v):
                raise Unfit("flat buffers differ in dtype")
            self.parts.flats.append(v)
            return Place(v, (FLAT,))
        self._know_flats(v)
        segment = self._segment(v)
        if segment is not None:
            if segment.axis == "open":
                segment.axis = axis
            flat = next(f for f in self.parts.flats if f.storage == v.storage)
            return Place(flat, tuple(map(str, v.shape)), segment.axis, segment=segment)
        if v.storage == self.theta.storage:
            raise Unfit("weights are looked at in another way")
        if v in self.parts.numbers:
            return Place(v, ())
        if v.number in self.written:
            if v.shape != ():
                raise Unfit("it changes an array that is no state of the update")
            self.parts.kept.append(v)
            return Place(v, ())
        if not _lies_plainly(v) or len(v.shape) > 2:
            raise Unfit("a constant lies in steps")
        if any(v.storage == f.storage for f in self.parts.flats):
            raise Unfit("a part of the weights' state is looked at")
        self.parts.given.append(v)
        return Place(v, tuple(map(str, v.shape)))

    def _know_flats(self, v: Variable) -> None:
        """Take in the flat buffer that an array is a part of."""
        for i in self.instructions:
            for flat in (*i.reads(), *([i.out] if i.out else [])):
                if flat.kind == "outside" and self._is_flat(flat) and flat.storage == v.storage:
                    self._place(flat)

    def _whole(self, v: Variable) -> Place:
        """The place of what must be whole, after the parts have met where it is a sum of theirs."""
        place = self._place(v)
        if place.buffer.number in self.pending:
            self.parts.operations.append(Operation("meet", self.pending.pop(place.buffer.number)))
        return place

    # The rules

    def _take(self, i: Instruction) -> None:
        out, row = i.out, i.row
        if i.kind == "host" or out is None:
            raise Unfit(f"{i.name} is done by the host")
        if row.on_host:
            self._number(i)
        elif row.reserves and _is_made(out):
            self.parts.places[out.number] = Place(out, (FLAT,) if self._is_flat(out) else tuple(map(str, out.shape)))
        elif i.kind == "view":
            self._view(i)
        elif i.name == "take":
            self._gather(i)
        elif i.name == "matmul":
            self._product(i)
        elif i.name == "argmax":
            self._argmax(i)
        elif row.reduces and not isinstance(i.function, numpy.ufunc):
            self._reduction(i)
        else:
            self._elementwise(i)

    def _number(self, i: Instruction) -> None:
        assert i.out is not None
        if hasattr(i.function, "values"):
            if self.parts.host is not None:
                raise Unfit("two optimisers step in it")
            self.parts.host = i.function
        self.parts.numbers.append(i.out)

    def _view(self, i: Instruction) -> None:
        out, source = i.out, i.arguments[0]
        assert out is not None
        if source.__class__ is not Variable:
            raise Unfit(f"{i.name} of no array")
        place = self._whole(source)
        if out.shape == source.shape and i.name in ("reshape", "getitem", "ravel"):
            self.parts.places[out.number] = place
        elif i.name == "transpose" and len(source.shape) == 2 and i.arguments[1:] in ((), ((1, 0),)) and not i.options:
            axis = None if place.axis is None else 1 - place.axis
            self.parts.places[out.number] = Place(
                place.buffer, place.dims[::-1], axis, not place.swapped, place.segment
            )
        elif i.name in RESHAPES and self._is_reshaped(source, out, place):
            self.parts.places[out.number] = Place(place.buffer, _dims(source.shape, place.dims, out.shape), None, False)
        else:
            raise Unfit(f"{i.name} has no rule: {i!r}")

    def _is_reshaped(self, source: Variable, out: Variable, place: Place) -> bool:
        whole = place.axis is None and not place.swapped
        return whole and size(source.shape) == size(out.shape) > 0

    def _gather(self, i: Instruction) -> None:
        out, (x, at) = i.out, i.arguments[:2]
        assert out is not None
        options = dict(i.options)
        if x.kind == "input":
            if at is not self.inputs[2] or options.get("axis") != 0 or x not in self.inputs[:2]:
                raise Unfit("samples are taken in another way")
            place = Place(out, (ROWS, *map(str, out.shape[1:])), self._split_inputs(out))
            self._emit(out, "element", place, (x,), "{}", rows=True, computes=out.dtype)
            return
        if options.get("mode") != "clip" or len(x.shape) != 1 or options.get("axis") not in (None, 0):
            raise Unfit("take has no rule for that")
        source, places = self._whole(x), self._whole(at)
        if source.axis is not None or places.axis is not None:
            raise Unfit("split units are taken by places")
        self._emit(out, "element", Place(out, places.dims), (source, places), "{}", picks=True, computes=out.dtype)

    def _split_inputs(self, out: Variable) -> int | None:
        """Whether each part takes only those columns of the samples that its rows of the first weights meet."""
        if self.parts.count == 1 or len(out.shape) != 2:
            return None
        seen, products = {out.number}, []
        for i in self.instructions:
            if i.out is not None and any(v.number in seen for v in i.reads()):
                if i.name == "matmul":
                    products.append(i)
                elif i.kind == "view" or i.row.copies:
                    seen.add(i.out.number)
                else:
                    return None
        for i in products:
            w = i.arguments[1]
            segment = self._weight_segment(w)
            if segment is not None and segment.axis != 0:
                return None
        return 1 if products and out.shape[1] % self.parts.count == 0 else None

    def _weight_segment(self, w: Any) -> Segment | None:
        if w.__class__ is Variable and self._is_weight(w):
            self._know_flats(w)
            return self._segment(w)
        return None

    def _product(self, i: Instruction) -> None:
        out = i.out
        assert out is not None
        if i.kind != "make" or len(i.arguments) != 2 or i.options or len(out.shape) != 2:
            raise Unfit("a product of other than two matrices")
        a, b = (self._whole(v) for v in i.arguments)
        if any(v.dtype != self.theta.dtype or len(v.shape) != 2 for v in i.arguments):
            raise Unfit("a product of other dtypes than the weights'")
        inner = a.axis == 1 or b.axis == 0
        axes = ([0] if a.axis == 0 else []) + ([1] if b.axis == 1 else [])
        if (inner and axes) or len(axes) > 1 or (inner and i.arguments[0].shape[1] % self.parts.count):
            raise Unfit("a product over units that are split in two ways")
        place = Place(out, (a.dims[0], b.dims[1]), axes[0] if axes else None)
        self.parts.operations.append(Operation("product", place, (a, b), axes=(1,) if inner else ()))
        self.parts.places[out.number] = place
        if inner and self.parts.count > 1:
            self.pending[out.number] = place
            self.parts.partial.append(out)

    def _argmax(self, i: Instruction) -> None:
        out, x = i.out, i.arguments[0]
        assert out is not None
        place = self._whole(x)
        axis = i.options.get("axis", i.arguments[1] if len(i.arguments) > 1 else None)
        fits = len(i.arguments) <= 2 and len(x.shape) == 2 and axis in (-1, 1) and not place.swapped
        if i.options.keys() - {"axis"} or not fits:
            raise Unfit("argmax over other axes than the last of two")
        if place.axis == 1:
            raise Unfit("argmax over split units")
        self._emit(out, "argmax", Place(out, place.dims[:1], place.axis), (place,), computes=x.dtype, axes=(1,))

    def _reduction(self, i: Instruction) -> None:
        out, options = i.out, reduction_options(i)
        assert out is not None
        x, axis = options.pop("x"), options.pop("axis", None)
        keep, ufunc = bool(options.pop("keepdims", False)), str(i.row.reduces)
        if options or x.__class__ is not Variable or ufunc not in ("add", "maximum", "minimum") or i.kind != "make":
            raise Unfit(f"{i.name} with options")
        place, count = self._whole(x), len(x.shape)
        axes = tuple(range(count)) if axis is None else tuple(axis) if isinstance(axis, (tuple, list)) else (axis,)
        axes = tuple(sorted(a % count for a in axes)) if count else ()
        if place.swapped or place.axis in axes:
            raise Unfit(f"{i.name} over split units")
        if axes not in (tuple(range(count)), (count - 1,), (0,)) or (ufunc != "add" and axes != (count - 1,)):
            raise Unfit(f"{i.name} over axes between others")
        left = [(d, n) for n, d in enumerate(place.dims) if n not in axes]
        dims = tuple("1" if n in axes else d for n, d in enumerate(place.dims)) if keep else tuple(d for d, _ in left)
        split = place.axis
        if split is not None and not keep:
            split -= sum(a < split for a in axes)
        self._emit(
            out, "reduce", Place(out, dims, split), (place,), reduces="mean" if i.name == "mean" else ufunc, axes=axes,
            computes=x.dtype,
        )  # fmt: skip

    def _elementwise(self, i: Instruction) -> None:
        out, copied = i.out, i.copied()
        assert out is not None
        if copied is not None:
            text, reads, computes = "{}", (copied,), out.dtype
        else:
            text, reads, computes = _spelled(i)
        if i.options.keys() - {"dtype", "casting"} - ({"copy"} if copied is not None else set()):
            raise Unfit(f"{i.name} with options")
        places = [self._whole(v) if v.__class__ is Variable and self._open(v) is None else v for v in reads]
        known = [(v, p) for v, p in zip(reads, places, strict=True) if isinstance(p, Place)]
        target = None
        if i.kind == "write" and self._open(out) is None:
            target = self._place(out)
        count = len(out.shape)
        axis = self._common_axis(known, count, out)
        if target is not None and out.kind != "made" and target.dims:
            axis = target.axis if axis is None else axis
        resolved = []
        for v, p in zip(reads, places, strict=True):
            if v.__class__ is Variable and not isinstance(p, Place):
                own = None if axis is None else axis - (count - len(v.shape))
                p = self._place(v, own if own is not None and own >= 0 and v.shape[own] > 1 else None)
            if isinstance(p, Place) and (p.swapped or len(p.dims) > count):
                raise Unfit("a transposed matrix is computed with")
            resolved.append(p)
        if i.kind == "write":
            target = self._place(out, axis)
            if target.axis != axis and target.dims and target.dims != (FLAT,):
                raise Unfit("an array is written in another split than it lies")
            self.parts.operations.append(Operation("element", target, tuple(resolved), text, computes))
            return
        pairs = [(v, p) for v, p in zip(reads, resolved, strict=True) if isinstance(p, Place)]
        dims = tuple(self._dim(n, out, pairs) for n in range(count))
        self._emit(out, "element", Place(out, dims, axis), tuple(resolved), text, computes=computes)

    def _common_axis(self, known: Sequence[tuple[Variable, Place]], count: int, out: Variable) -> int | None:
        axes = set()
        for v, p in known:
            if p.axis is not None:
                axis = p.axis + count - len(v.shape)
                if v.shape[p.axis] != out.shape[axis]:
                    raise Unfit("split units are broadcast")
                axes.add(axis)
        if len(axes) > 1:
            raise Unfit("units that are split in two ways meet")
        return axes.pop() if axes else None

    def _dim(self, axis: int, out: Variable, pairs: Sequence[tuple[Variable, Place]]) -> str:
        """The length of an axis as text: the batch's, where an operand's is."""
        found = {
            p.dims[axis - (len(out.shape) - len(v.shape))]
            for v, p in pairs
            if axis >= len(out.shape) - len(v.shape)
            and v.shape[axis - (len(out.shape) - len(v.shape))] == out.shape[axis]
        }
        return next((d for d in sorted(found) if not d.isdigit()), str(out.shape[axis]))

    def _emit(
        self, out: Variable, kind: str, place: Place, reads: tuple[Any, ...], text: str = "", **more: Any
    ) -> None:
        self.parts.operations.append(Operation(kind, place, reads, text, **more))
        self.parts.places[out.number] = place

    def _give_places(self) -> None:
        """Where the weights lie in a part's flat buffer."""
        at, parts = 0, self.parts
        for segment in parts.segments:
            segment.local = at
            at += size(segment.shape) // (parts.count if segment.axis is not None else 1)


def split(instructions: Sequence[Instruction], inputs: Sequence[Variable]) -> Parts:
    """The step of a list in parts; raises Unfit where that cannot be."""
    return Splitting(instructions, inputs).parts


def _begin(v: Variable, flat: Variable) -> int:
    """Where an array begins in a flat buffer."""
    return int((backend.address_of(v.array) - backend.address_of(flat.array)) // v.dtype.itemsize)


def _lies_plainly(v: Variable) -> bool:
    return v.array is not None and bool(v.array.flags.c_contiguous)


def _is_made(v: Variable) -> bool:
    return root(v).kind == "made"


def _dims(before: Sequence[int], dims: Sequence[str], after: Sequence[int]) -> tuple[str, ...]:
    """The lengths of a reshaped array, as text."""
    if len(after) == 1:
        return (" * ".join(d for d, n in zip(dims, before, strict=True) if n != 1) or "1",)
    if [n for n in before if n != 1] == [n for n in after if n != 1]:
        left = iter([d for d, n in zip(dims, before, strict=True) if n != 1])
        return tuple("1" if n == 1 else next(left) for n in after)
    if before and after and before[0] == after[0] and all(d.isdigit() for d in dims[1:]):
        return (dims[0], *map(str, after[1:]))
    raise Unfit("a reshape that mixes the batch with the rest")


def _spelled(i: Instruction) -> tuple[str, tuple[Any, ...], Any]:
    """An elementwise call as an expression of Python, its operands, and the dtype that it computes in."""
    name, row, reads, out = i.name, CALLS.get(i.name), tuple(i.arguments), i.out
    assert out is not None
    if name == "where" and len(reads) == 3:
        return "({1} if {0} else {2})", reads, out.dtype
    if row is None or not isinstance(i.function, numpy.ufunc) or not (row.loop or row.c):
        raise Unfit(f"{name} has no rule")
    text = row.loop or _in_python(row.c)
    weak = [x if x.__class__ in (bool, int, float) else x.dtype for x in reads]
    computes = out.dtype if row.computes_in == "result" else numpy.dtype(bool)
    if row.computes_in == "operands":
        computes = numpy.result_type(*weak)
    return text, reads, computes


def _in_python(c: str) -> str:
    """An expression in C as one in Python; the functions have the same names in both."""
    text = c.replace("{f}", "").replace("&&", "and").replace("||", "or")
    if "?" in text or text.startswith("!"):
        raise Unfit(f"{c} has no form in Python")
    return text
