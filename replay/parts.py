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

from .listing import Variable

ROWS, FLAT = "rows", "flat"
"""Lengths that are no numbers in the text: of the batch, and of a part of the flat buffers."""


class Unfit(Exception):
    """A step that is not split, and why."""


@dataclass(eq=False)
class Segment:
    """A weight in the flat buffers: where it begins, its shape, which axis is split, if any, and where it begins in a
    part's own.
    """

    offset: int
    shape: tuple[int, ...]
    axis: int | None
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

    @property
    def places(self) -> list[Place]:
        """What it reads, without the numbers."""
        return [p for p in self.reads if isinstance(p, Place)]


@dataclass
class Parts:
    """A step in so many parts: operations in their order, and what they read and write.

    flats: the flat buffers from outside, which are taken in and given back. numbers: those of the host, with their
    arrays. kept: other arrays that are written, of which each part has its own. given: constant arrays. partial:
    products of which each part has a term.
    """

    count: int
    segments: list[Segment]
    flats: list[Variable]
    operations: list[Operation] = field(default_factory=list)
    kept: list[Variable] = field(default_factory=list)
    given: list[Variable] = field(default_factory=list)
    numbers: list[Variable] = field(default_factory=list)
    host: Any = None
    partial: list[Place] = field(default_factory=list)

    @property
    def local(self) -> int:
        """Elements of a part of a flat buffer."""
        return sum(self.share(s) for s in self.segments)

    def share(self, segment: Segment) -> int:
        """Elements of a weight that a part has."""
        return size(segment.shape) // (self.count if segment.axis is not None else 1)


def size(shape: Sequence[int]) -> int:
    """Elements."""
    return int(numpy.prod(shape, dtype="int64"))
