"""Many replays of a recorded training step in one launch, on a GPU: the blocks keep the first weights, and meet.

The kernel is written from the list of array calls without kernels of our own (`text`), so that what is
recognised on a CPU (`splitting`) is recognised here. The recorded step, a CUDA graph, is the reference: sums have
another order, so the numbers differ from its in the last digits; among themselves they are the same in each run.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy

from ...engine import backend
from ...engine.cuda.launch import gpu_named
from ..listing import Instruction, Variable
from ..parts import Unfit
from ..splitting import split
from ..steps_ahead import Ahead, most_drawn
from .division import Shape, shape_of
from .elements import Elements
from .phases import Step
from .text import NAME, Text

MOST = 4096
"""Steps of a launch."""


class OneLaunch:
    """A step as a kernel, compiled; raises Unfit where it cannot be one.

    order: the variable of the places of a batch.
    """

    def __init__(self, instructions: Sequence[Instruction], order: Variable, device: str) -> None:
        self.device, self._gpu = device, gpu_named(device)
        self.parts = parts = split(instructions, [order], whole=True)
        step = Step(parts)
        limit = self._gpu.most_shared

        def fits(shape: Shape) -> bool:
            return Elements(step, shape).shared <= limit

        self.text = Text(step, shape_of(step, self._gpu.multiprocessors, fits))
        if any(v.array is None for v in (*parts.samples, *self.text.memory.given, *parts.kept)):
            raise Unfit("what it takes from outside is given anew in each call")
        self._room = self._gpu.xp.zeros(self.text.memory.room, "uint8"), self._gpu.xp.zeros(1, "uint32")
        with backend.working(device, "many steps in one launch"):
            nothing = [numpy.zeros((1, *v.shape), v.dtype) for v in parts.drawn]
            self._launch(0, [numpy.zeros((1, *order.shape), "int64"), numpy.zeros(1, parts.flats[0].dtype), *nothing])

    @property
    def most(self) -> int:
        """Steps of one launch."""
        return min(MOST, most_drawn(self.parts))

    def run(self, order: Any) -> None:
        """A step for each row of `order`, places of samples."""
        with backend.working(self.device, "many steps in one launch"):
            ahead = Ahead(self.parts, len(order))
            self._launch(len(order), [numpy.ascontiguousarray(order), ahead.numbers, *ahead.drawn])

    def _launch(self, steps: int, handed: Sequence[Any]) -> None:
        parts, text = self.parts, self.text
        room, count = self._room
        count.fill(0)
        given = [v.array for v in parts.samples] + [backend.send(array, self.device) for array in handed]
        given += [v.array for v in (*text.memory.given, *parts.flats, *parts.kept)]
        self._gpu.launch(
            text.source, NAME, (text.shape.blocks,), (text.shape.threads,), *given, room, count, numpy.int32(steps),
            shared=text.memory.shared, together=True, REAL=parts.flats[0].dtype,
        )  # fmt: skip
