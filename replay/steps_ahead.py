"""What the host has a part in, for many steps ahead: the update's numbers, and random ones."""

from __future__ import annotations

import numpy

from .parts import Parts

DRAWN = 1 << 24
"""Bytes of random numbers that are drawn at once."""


class Ahead:
    """The update's numbers of so many steps, a row each, and what is drawn in them. The optimiser counts these steps.

    clear: whether the state is made free of subnormal numbers before a step.
    """

    def __init__(self, parts: Parts, steps: int) -> None:
        self._host, self._drawn = parts.host, parts.drawn
        self.numbers = numpy.zeros((steps, max(1, len(parts.numbers))), parts.flats[0].dtype)
        self.clear = numpy.zeros(steps, bool)
        self.drawn = [numpy.empty((steps, *v.shape), v.dtype) for v in parts.drawn]
        self._generators = [i.arguments[0].bit_generator for i in parts.drawn.values()]
        self._before = self._host.optimizer.iterations, [generator.state for generator in self._generators]
        for step in range(steps):
            self.clear[step], self.numbers[step] = self._host.clears, self._host.values()
            for array, i in zip(self.drawn, parts.drawn.values(), strict=True):
                generator, method, _, dtype, _ = i.arguments
                getattr(generator, method)(dtype=dtype, out=array[step])

    def undo(self) -> None:
        """As if none had been asked for."""
        self._host.optimizer.iterations, states = self._before
        for generator, state in zip(self._generators, states, strict=True):
            generator.state = state


def most_drawn(parts: Parts) -> int:
    """For how many steps random numbers are drawn at once, at most."""
    drawn = sum(v.nbytes for v in parts.drawn)
    return max(1, DRAWN // drawn) if drawn else 1 << 30
