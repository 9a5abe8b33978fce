"""Learning-rate schedules: functions of the number of updates done so far."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from ..engine.errors import UsageError, unknown_name


@dataclass(frozen=True)
class Schedule:
    """Base class: a schedule is called with the number of updates done (0 before the first); returns the rate."""

    def __call__(self, step: int) -> float:
        raise NotImplementedError

    def config(self) -> dict[str, Any]:
        """The schedule as plain values; `make_schedule` reads it back."""
        return {"schedule": type(self).__name__, **asdict(self)}


@dataclass(frozen=True)
class Constant(Schedule):
    """α(step) = learning_rate."""

    learning_rate: float

    def __call__(self, step: int) -> float:
        return self.learning_rate


@dataclass(frozen=True)
class StepDecay(Schedule):
    """α(step) = learning_rate · factor^⌊step / every⌋."""

    learning_rate: float
    every: int
    factor: float = 0.1

    def __post_init__(self) -> None:
        _positive("StepDecay", every=self.every)

    def __call__(self, step: int) -> float:
        return float(self.learning_rate * self.factor ** (step // self.every))


@dataclass(frozen=True)
class CosineDecay(Schedule):
    """α(step) = final + (learning_rate - final) (1 + cos(π step / steps)) / 2, then final (Loshchilov, Hutter 2017)."""

    learning_rate: float
    steps: int
    final: float = 0.0

    def __post_init__(self) -> None:
        _positive("CosineDecay", steps=self.steps)

    def __call__(self, step: int) -> float:
        fraction = min(step, self.steps) / self.steps
        return self.final + (self.learning_rate - self.final) * (1 + math.cos(math.pi * fraction)) / 2


@dataclass(frozen=True)
class WarmUp(Schedule):
    """α(step) = after(0) · (step + 1) / steps for the first `steps` updates, then after(step - steps)."""

    after: Schedule
    steps: int

    def __post_init__(self) -> None:
        _positive("WarmUp", steps=self.steps)

    def __call__(self, step: int) -> float:
        return self.after(0) * (step + 1) / self.steps if step < self.steps else self.after(step - self.steps)

    def config(self) -> dict[str, Any]:
        return {"schedule": "WarmUp", "after": self.after.config(), "steps": self.steps}


SCHEDULES = {kind.__name__: kind for kind in (Constant, StepDecay, CosineDecay, WarmUp)}


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
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not (math.isfinite(value) and value >= 0):
        raise UsageError(f"a learning rate is a number of 0 or more, or a schedule, not {value!r}.")
    return Constant(float(value))


def _positive(what: str, **values: int) -> None:
    for name, value in values.items():
        if value < 1:
            raise UsageError(f"{what} needs {name} of 1 or more, not {value}.")
