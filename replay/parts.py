"""A recorded training step in parts that cores, or a GPU's blocks, carry out side by side: what there is to say of it.

What is split are the units of layers: of one matrix of weights the columns, of the next the rows, in turn, and the last
by rows (Shoeybi et al. 2019, "Megatron-LM"). A product over split units is a sum of the parts' own: there they meet.
`layout` tells how weights and state lie in the parts, `splitting` makes operations of the list's calls.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy

from .listing import Instruction, Variable

ROWS = "rows"
"""The length of the batch, in the text, which holds for batches of any length."""


class Unfit(Exception):
    """A step that is not split, and why."""


@dataclass(eq=False)
class Segment:
    """A weight in the flat buffers, or a run of several: where it begins, its shape, which axis is split, if any; and
    where it begins in a part's own, and how many elements it has there.
    """

    offset: int
    shape: tuple[int, ...]
    axis: int | None
    local: int
    length: int

    @property
    def end(self) -> int:
        """Where the next one begins."""
        return self.offset + size(self.shape)

    def overlaps(self, other: Segment) -> bool:
        """Whether they share elements."""
        return self.offset < other.end and other.offset < self.end


@dataclass(frozen=True)
class Place:
    """How a variable lies in a part.

    buffer: the variable whose memory it is. dims: its lengths, as text. axis: the one that is split. swapped: it is
    the transposed of what lies there. segment: which part of a flat buffer it is, for weights, gradients and state.
    """

    buffer: Variable
    dims: tuple[str, ...]
    axis: int | None = None
    swapped: bool = False
    segment: Segment | None = None


@dataclass
class Operation:
    """What a part does. kind: "element", "call", "reduce", "argmax", "product" or "meet".

    text: an expression with a field for each operand, element by element; of a reduction, for what there is so far and
    the next. c: the same in CUDA C. reads: places, and plain numbers. rows: samples are gathered at the step's indices,
    from the array that is read. picks: the first operand is taken at the places that the second names. start, divisor:
    what a reduction begins with, and what its end is divided by. loop: the number of NumPy's own loop that is called.
    """

    kind: str
    out: Place
    reads: tuple[Any, ...] = ()
    text: str = ""
    computes: Any = None
    c: str = ""
    rows: bool = False
    picks: bool = False
    start: str = ""
    divisor: str = ""
    axes: tuple[int, ...] = ()
    loop: int = 0

    @property
    def places(self) -> list[Place]:
        """What it reads, without the numbers."""
        return [p for p in self.reads if isinstance(p, Place)]


@dataclass
class Parts:
    """A step in so many parts: operations in their order, and what they read and write.

    host: the update's numbers of each step. segments: the weights. flats: the flat buffers, of weights, gradient and
    state, which are taken in and given back. samples: of which each step takes some: inputs, targets, weights of these.
    runs: the parts of flat buffers that are computed with as a whole, by the text of their length. numbers: the arrays
    of the host's. drawn: random numbers, by the calls that draw them. kept: other arrays that are written, of which
    each part has its own. given: constant arrays. partial: what each part has a term of. loops: NumPy's own, by
    addresses.
    """

    count: int
    host: Any
    segments: list[Segment]
    flats: list[Variable]
    samples: list[Variable] = field(default_factory=list)
    operations: list[Operation] = field(default_factory=list)
    runs: dict[str, Segment] = field(default_factory=dict)
    numbers: list[Variable] = field(default_factory=list)
    drawn: dict[Variable, Instruction] = field(default_factory=dict)
    kept: list[Variable] = field(default_factory=list)
    given: list[Variable] = field(default_factory=list)
    partial: list[Place] = field(default_factory=list)
    loops: list[tuple[int, int]] = field(default_factory=list)

    @property
    def whole(self) -> Segment:
        """All of a flat buffer."""
        elements = self.segments[-1].end
        return Segment(0, (elements,), None, 0, sum(s.length for s in self.segments))


def size(shape: Sequence[int]) -> int:
    """Elements."""
    return int(numpy.prod(shape, dtype="int64"))
