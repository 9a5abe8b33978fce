"""Learning-rate schedules: functions of the number of updates done so far."""

from __future__ import annotations

import math
from typing import Any

import numpy

from ..checks import is_number, number, whole
from ..engine.piece import Piece
from ..errors import UsageError

LARGEST = float(numpy.finfo("float32").max)


class Schedule(Piece, key="schedule"):
    """Base class: a schedule is called with the number of updates done (0 before the first); returns the rate.

    One of your own is a class with `__call__`; like those here it may name its numbers as a frozen dataclass does, and
    needs no decorator for it. Files know it by its class.
    """

    called_as_functions = False

    def __call__(self, step: int) -> float:
        raise NotImplementedError


SCHEDULES = Schedule.kinds
"""By name; each registers itself."""


class Constant(Schedule):
    """α(step) = learning_rate."""

    learning_rate: float

    def __post_init__(self) -> None:
        self._set(learning_rate=_rate(self.learning_rate))

    def __call__(self, step: int) -> float:
        return self.learning_rate


class StepDecay(Schedule):
    """α(step) = learning_rate · factor^⌊step / every⌋."""

    learning_rate: float
    every: int
    factor: float = 0.1

    def __post_init__(self) -> None:
        self._set(learning_rate=_rate(self.learning_rate), every=whole("StepDecay", "every", self.every))
        self._set(factor=number("StepDecay", "factor", self.factor, "[0, ∞)"))

    def __call__(self, step: int) -> float:
        try:
            return self.learning_rate * self.factor ** (step // self.every)
        except OverflowError:
            return math.inf


class CosineDecay(Schedule):
    """α(step) = final + (learning_rate - final) (1 + cos(π step / steps)) / 2, then final (Loshchilov, Hutter 2017)."""

    learning_rate: float
    steps: int
    final: float = 0.0

    def __post_init__(self) -> None:
        self._set(learning_rate=_rate(self.learning_rate), final=_rate(self.final))
        self._set(steps=whole("CosineDecay", "steps", self.steps))

    def __call__(self, step: int) -> float:
        fraction = min(step, self.steps) / self.steps
        return self.final + (self.learning_rate - self.final) * (1 + math.cos(math.pi * fraction)) / 2


class WarmUp(Schedule):
    """α(step) = after(0) · (step + 1) / steps for the first `steps` updates, then after(step - steps).

    start: from which it rises instead, α(step) = start + (after(0) - start) step / steps.
    """

    after: Schedule
    steps: int
    start: float | None = None

    def __post_init__(self) -> None:
        self._set(after=make_schedule(self.after), steps=whole("WarmUp", "steps", self.steps))
        self._set(start=None if self.start is None else _rate(self.start))

    def __call__(self, step: int) -> float:
        if step >= self.steps:
            return self.after(step - self.steps)
        if self.start is None:
            return self.after(0) * (step + 1) / self.steps
        return self.start + (self.after(0) - self.start) * step / self.steps


def make_schedule(value: float | Schedule | dict[str, Any]) -> Schedule:
    """A schedule of a number (constant), of a schedule (itself) or of a schedule's `config()`."""
    if isinstance(value, Schedule):
        return value
    if isinstance(value, dict):
        return Schedule.of(value)  # type: ignore[no-any-return]
    return Constant(value)


def _rate(value: Any) -> float:
    if not is_number(value) or not 0 <= value <= LARGEST:
        raise UsageError(f"a learning rate is a number of 0 or more that float32 holds, or a schedule, not {value!r}.")
    return float(value)
