"""How the weights and state of a recorded step lie in its parts, and how many parts there are.

The number of parts is the model's, so that the sums have the same order on every machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..engine import backend
from .listing import Instruction, Variable, variables
from .parts import Parts, Place, Segment, Unfit, size

LEAST, FEWEST = 64, 16
"""Units that a part has at least: of more than two parts, and of two."""
LARGE = 1 << 26
"""Multiplications of a product, from which on a BLAS with threads of its own gains by them."""
PACE, ADDING = 12, 0.15
"""Multiplications in the time of reading one number that another core has; the part of the products' time that may be
spent on reading such."""


class Layout:
    """Where everything lies that a step takes from outside; raises Unfit where that is not known.

    parts: with the weights, and the flat buffers. whole: in one part, however large.
    """

    def __init__(self, instructions: Sequence[Instruction], rows: int, whole: bool = False) -> None:
        self._written = {i.out.number for i in instructions if i.kind == "write" and i.out is not None}
        hosts: list[Any] = [i.function for i in instructions if i.row.on_host and hasattr(i.function, "values")]
        if len(hosts) != 1 or hosts[0].flat is None:
            raise Unfit(f"{len(hosts)} optimisers step in it" if len(hosts) != 1 else "no flat buffer is updated")
        (host,) = hosts
        arrays = [host.flat.data, host.flat.gradient, *host.states]
        if any((a.dtype, a.shape, a.strides) != (arrays[0].dtype, arrays[0].shape, (a.itemsize,)) for a in arrays):
            raise Unfit("flat buffers differ in dtype")
        self.flats = [Variable(-1 - n, array, "outside", -1 - n) for n, array in enumerate(arrays)]
        matrices = self._matrices(instructions)
        axes = {begin: (len(matrices) - 1 - n) % 2 for n, begin in enumerate(matrices)}
        count = 1 if whole else _count([(shape, axes[begin]) for begin, shape in matrices.items()], rows)
        shapes = [x.shape for x in host.flat.tensors]
        self.parts = Parts(count, host, _segments(shapes, axes if count > 1 else {}, count), self.flats)

    def _found(self, v: Variable) -> tuple[Variable, int] | None:
        """The flat buffer that an array from outside is a part of, and where it begins there."""
        if v.kind == "outside" and v.array is not None:
            for flat in self.flats:
                begin = (backend.address_of(v.array) - backend.address_of(flat.array)) // v.dtype.itemsize
                if v.dtype == flat.dtype and 0 <= begin < flat.shape[0]:
                    return flat, int(begin)
        return None

    def _matrices(self, instructions: Sequence[Instruction]) -> dict[int, tuple[int, ...]]:
        """The shapes of the matrices of weights by their begin, in the order in which the batch goes through them."""
        matrices: dict[int, tuple[int, ...]] = {}
        for i in instructions:
            for w in variables(i.arguments[1:]) if i.name == "matmul" else ():
                found = self._found(w)
                if found and found[0] is self.flats[0]:
                    matrices.setdefault(found[1], w.shape)
        if not matrices:
            raise Unfit("it has no layer of weights")
        return matrices

    def place(self, v: Variable) -> Place:
        """How a variable from outside lies."""
        parts, dims = self.parts, tuple(map(str, v.shape))
        if v.kind != "outside" or v.array is None:
            raise Unfit("what is given is looked at as a whole" if v.kind == "input" else f"{v} is not known")
        if v in parts.numbers:
            return Place(v, ())
        if found := self._found(v):
            segment = self.segment(v)
            if segment is None:
                raise Unfit("weights, or what goes with them, are looked at in another way")
            runs = [text for text, run in parts.runs.items() if run is segment]
            return Place(found[0], tuple(runs) or dims, segment.axis, segment=segment)
        if v.number in self._written:
            if v.shape:
                raise Unfit("it changes an array that is no state of the update")
            parts.kept.append(v)
        elif len(v.shape) > 2:
            raise Unfit("a constant has more than two axes")
        else:
            parts.given.append(v)
        return Place(v, dims)

    def segment(self, v: Variable) -> Segment | None:
        """The weight, or the run of weights, that an array from outside is, or is the gradient or state of."""
        found = self._found(v)
        if not found or v.array is None or not v.array.flags.c_contiguous:
            return None
        begin, parts = found[1], self.parts
        inside = [s for s in parts.segments if begin <= s.offset and s.end <= begin + size(v.shape)]
        if len(inside) == 1 and (inside[0].offset, inside[0].shape) == (begin, v.shape):
            return inside[0]
        if len(v.shape) != 1 or not inside or (inside[0].offset, inside[-1].end) != (begin, begin + v.shape[0]):
            return None
        run = Segment(begin, v.shape, None, inside[0].local, sum(s.length for s in inside))
        return parts.runs.setdefault(f"run{begin}_{run.end}", run)


def _segments(shapes: Sequence[tuple[int, ...]], axes: dict[int, int], count: int) -> list[Segment]:
    """The weights in their order. A vector, such as a bias, is split as the columns of the matrix before it."""
    segments: list[Segment] = []
    at = offset = columns = 0
    for shape in shapes:
        axis = axes.get(offset)
        if len(shape) > 1:
            columns = shape[1] if axis == 1 else 0
        elif shape == (columns,):
            axis = 0
        length = size(shape) // (count if axis is not None else 1)
        segments.append(Segment(offset, shape, axis, at, length))
        offset, at = offset + size(shape), at + length
    return segments


def _count(weights: Sequence[tuple[tuple[int, ...], int]], rows: int) -> int:
    """As many parts as divide the units evenly, and spend little on adding up what each has.

    weights: their shapes, and which axis is split.
    """
    lengths = [shape[axis] for shape, axis in weights]
    hidden = [shape[1] for shape, _ in weights[:-1]] or lengths
    if max(rows * size(shape) for shape, _ in weights) > LARGE:
        raise Unfit("its products are so large that BLAS's own threads do better")
    products = 3 * sum(size(shape) for shape, _ in weights) / PACE
    added = sum(shape[1 - axis] if axis == 0 or n else 0 for n, (shape, axis) in enumerate(weights))
    for count in (8, 4, 2):
        even = all(n % count == 0 for n in lengths) and min(hidden) >= count * (LEAST if count > 2 else FEWEST)
        if even and count * added <= ADDING * products / count:
            return count
    return 1
