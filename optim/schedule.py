"""Learning-rate schedules: functions of the number of updates done so far."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy

from ..errors import UsageError, unknown_name


@dataclass(frozen=True)
class Schedule:
    """Base class: a schedule is called with the number of updates done (0 before the first); returns the rate."""

    def __call__(self, step: int) -> float:
        raise NotImplementedError

    def _set(self, **values: Any) -> None:
        for name, value in values.items():
            object.__setattr__(self, name, value)  # checked and made plain, in a frozen dataclass

    def config(self) -> dict[str, Any]:
        """The schedule as plain values; `make_schedule` reads it back."""
        return {"schedule": type(self).__name__, **asdict(self)}


@dataclass(frozen=True)
class Constant(Schedule):
    """α(step) = learning_rate."""

    learning_rate: float

    def __post_init__(self) -> None:
        self._set(learning_rate=_rate(self.learning_rate))

    def __call__(self, step: int) -> float:
        return self.learning_rate


@dataclass(frozen=True)
class StepDecay(Schedule):
    """α(step) = learning_rate · factor^⌊step / every⌋."""

    learning_rate: float
    every: int
    factor: float = 0.1

    def __post_init__(self) -> None:
        self._set(learning_rate=_rate(self.learning_rate), every=_count("StepDecay", "every", self.every))

    def __call__(self, step: int) -> float:
        return float(self.learning_rate * self.factor ** (step // self.every))


@dataclass(frozen=True)
class CosineDecay(Schedule):
    """α(step) = final + (learning_rate - final) (1 + cos(π step / steps)) / 2, then final (Loshchilov, Hutter 2017)."""

    learning_rate: float
    steps: int
    final: float = 0.0

    def __post_init__(self) -> None:
        self._set(learning_rate=_rate(self.learning_rate), final=_rate(self.final))
        self._set(steps=_count("CosineDecay", "steps", self.steps))

    def __call__(self, step: int) -> float:
        fraction = min(step, self.steps) / self.steps
        return self.final + (self.learning_rate - self.final) * (1 + math.cos(math.pi * fraction)) / 2


@dataclass(frozen=True)
class WarmUp(Schedule):
    """α(step) = after(0) · (step + 1) / steps for the first `steps` updates, then after(step - steps)."""

    after: Schedule
    steps: int

    def __post_init__(self) -> None:
        self._set(after=make_schedule(self.after), steps=_count("WarmUp", "steps", self.steps))

    def __call__(self, step: int) -> float:
        return self.after(0) * (step + 1) / self.steps if step < self.steps else self.after(step - self.steps)

    def config(self) -> dict[str, Any]:
        return {"schedule": "WarmUp", "after": self.after.config(), "steps": self.steps}


SCHEDULES = {kind.__name__: kind for kind in (Constant, StepDecay, CosineDecay, WarmUp)}


LARGEST = float(numpy.finfo("float32").max)


def make_schedule(value: float | Schedule | dict[str, Any]) -> Schedule:
    """A schedule of a number (constant), of a schedule (itself) or of a schedule's `config()`."""
    if isinstance(value, Schedule):
        return value
    if isinstance(value, dict):
        options = dict(value)
        kind = options.pop("schedule", None)
        if kind not in SCHEDULES:
            raise unknown_name("schedule", kind, SCHEDULES)
        if "after" in options:
            options["after"] = make_schedule(options["after"])
        made: Schedule = SCHEDULES[kind](**options)
        return made
    return Constant(value)


def _rate(value: Any) -> float:
    number = isinstance(value, (int, float, numpy.integer, numpy.floating)) and not isinstance(value, bool)
    if not number or not 0 <= value <= LARGEST:
        raise UsageError(f"a learning rate is a number of 0 or more that float32 holds, or a schedule, not {value!r}.")
    return float(value)


def _count(what: str, name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, numpy.integer)) or value < 1:
        raise UsageError(f"{what} needs {name}, an integer of 1 or more, not {value!r}.")
    return int(value)
