"""How the weights and state of a recorded step lie in its parts, and how many parts there are.

The number of parts is the model's, so that the sums have the same order on every machine.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..engine import backend
from .listing import Instruction, Variable
from .parts import FLAT, Parts, Place, Segment, Unfit, size

LEAST, FEWEST = 64, 16
"""Units that a part has at least: of more than two parts, and of two."""
LARGE = 1 << 26
"""Multiplications of a product, from which on a BLAS with threads of its own gains by them."""
PACE, ADDING = 12, 0.15
"""Multiplications in the time of reading one number that another core has; the part of the products' time that may be
spent on reading such."""


class Layout:
    """Where everything lies that a step takes from outside; raises Unfit where that is not known.

    theta: the flat buffer of weights. parts: with the weights, and the flat buffers.
    """

    def __init__(self, instructions: Sequence[Instruction], rows: int) -> None:
        self._written = {i.out.number for i in instructions if i.kind == "write" and i.out is not None}
        outside = [v for i in instructions for v in (*i.reads(), i.out) if v is not None and v.kind == "outside"]
        self.theta = self._flat_of_weights(instructions)
        matrices = self._matrices(instructions)
        axes = {begin: (len(matrices) - 1 - n) % 2 for n, begin in enumerate(matrices)}
        count = _count([(w.shape, axes[begin]) for begin, w in matrices.items()], rows)
        flats = {v.storage: v for v in reversed(outside) if v.shape == self.theta.shape}
        if any(v.dtype != self.theta.dtype or not _lies_plainly(v) for v in flats.values()):
            raise Unfit("flat buffers differ in dtype")
        self.parts = Parts(count, self._segments(outside, axes if count > 1 else {}), [*flats.values()])
        at = 0
        for segment in self.parts.segments:
            segment.local = at
            at += self.parts.share(segment)

    def _flat_of_weights(self, instructions: Sequence[Instruction]) -> Variable:
        factors = {v.storage for i in instructions if i.name == "matmul" for v in i.reads()}
        for i in instructions:
            v = i.out
            if i.kind == "write" and v and v.kind == "outside" and len(v.shape) == 1 and v.storage in factors:
                return v
        raise Unfit("no flat buffer of weights is updated")

    def _is_weight(self, v: Variable) -> bool:
        return v.storage == self.theta.storage and v is not self.theta and v.kind == "outside"

    def _begin(self, v: Variable, flat: Variable) -> int:
        """Where an array begins in a flat buffer."""
        return int((backend.address_of(v.array) - backend.address_of(flat.array)) // v.dtype.itemsize)

    def _matrices(self, instructions: Sequence[Instruction]) -> dict[int, Variable]:
        """The matrices of weights by their begin, in the order in which the batch goes through them."""
        second = [i.arguments[1] for i in instructions if i.name == "matmul" and len(i.arguments) == 2]
        found: dict[int, Variable] = {}
        for w in second:
            if w.__class__ is Variable and self._is_weight(w):
                found.setdefault(self._begin(w, self.theta), w)
        if not found:
            raise Unfit("it has no layer of weights")
        return found

    def _segments(self, outside: Sequence[Variable], axes: dict[int, int]) -> list[Segment]:
        """The weights in their order. A vector, such as a bias, is split as the columns of the matrix before it."""
        found: dict[int, Variable] = {}
        for v in outside:
            known = self._is_weight(v) and found.setdefault(self._begin(v, self.theta), v)
            if known and (known.shape != v.shape or not _lies_plainly(v)):
                raise Unfit("a weight is looked at in two ways")
        segments: list[Segment] = []
        end, columns = 0, 0
        for begin, v in sorted(found.items()):
            if begin != end:
                break
            axis = axes.get(begin)
            if len(v.shape) > 1:
                columns = v.shape[1] if axis == 1 else 0
            elif v.shape == (columns,):
                axis = 0
            segments.append(Segment(begin, v.shape, axis))
            end += size(v.shape)
        if end != self.theta.shape[0]:
            raise Unfit("there are weights that take no part")
        return segments

    def place(self, v: Variable) -> Place:
        """How a variable from outside lies."""
        parts, dims = self.parts, tuple(map(str, v.shape))
        if v.kind != "outside" or v.array is None:
            raise Unfit("what is given is looked at as a whole" if v.kind == "input" else f"{v} is not known")
        if v in parts.numbers:
            return Place(v, ())
        flat = next((flat for flat in parts.flats if flat.storage == v.storage), None)
        if flat is not None:
            segment = self.segment(v)
            if v.shape != flat.shape and segment is None:
                raise Unfit("weights, or what goes with them, are looked at in another way")
            return Place(flat, dims if segment else (FLAT,), segment.axis if segment else None, segment=segment)
        if v.number in self._written:
            if v.shape:
                raise Unfit("it changes an array that is no state of the update")
            parts.kept.append(v)
        elif not _lies_plainly(v) or len(v.shape) > 2:
            raise Unfit("a constant lies in steps")
        else:
            parts.given.append(v)
        return Place(v, dims)

    def segment(self, v: Variable) -> Segment | None:
        """The weight that an array from outside is, or is the gradient or state of."""
        for flat in self.parts.flats if v.kind == "outside" and _lies_plainly(v) else ():
            for segment in self.parts.segments:
                if v.storage == flat.storage and (self._begin(v, flat), v.shape) == (segment.offset, segment.shape):
                    return segment
        return None


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


def _lies_plainly(v: Variable) -> bool:
    return v.array is not None and bool(v.array.flags.c_contiguous)
