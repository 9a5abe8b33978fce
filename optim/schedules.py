"""Schedules by Keras's names and with its arguments: functions of the number s of updates done so far."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import ClassVar

from ..errors import UsageError
from .schedule import CosineDecay as _Cosine
from .schedule import Schedule, WarmUp, _rate

LearningRateSchedule = Schedule


class _Decay(Schedule, abstract=True):
    """From initial_learning_rate on; `decay_steps` is the unit of steps."""

    limits: ClassVar[Mapping[str, str]] = {"initial_learning_rate": "[0, ∞)", "decay_steps": "(0, ∞)"}

    def _units(self, step: int) -> float:
        units: float = step / self.decay_steps  # type: ignore[attr-defined]
        return math.floor(units) if getattr(self, "staircase", False) else units


class ExponentialDecay(_Decay):
    """α₀ · decay_rate^(s / decay_steps); staircase: with ⌊s / decay_steps⌋."""

    initial_learning_rate: float
    decay_steps: float
    decay_rate: float
    staircase: bool = False

    def __call__(self, step: int) -> float:
        return float(self.initial_learning_rate * self.decay_rate ** self._units(step))


class InverseTimeDecay(_Decay):
    """α₀ / (1 + decay_rate · s / decay_steps); staircase: with ⌊s / decay_steps⌋."""

    initial_learning_rate: float
    decay_steps: float
    decay_rate: float
    staircase: bool = False

    def __call__(self, step: int) -> float:
        return self.initial_learning_rate / (1 + self.decay_rate * self._units(step))


class PolynomialDecay(_Decay):
    """(α₀ - α₁) (1 - s / decay_steps)^power + α₁ with α₁ = end_learning_rate, then α₁.

    cycle: beyond decay_steps it decays anew, in the least multiple of decay_steps that is s or more.
    """

    initial_learning_rate: float
    decay_steps: float
    end_learning_rate: float = 0.0001
    power: float = 1.0
    cycle: bool = False

    def __call__(self, step: int) -> float:
        steps = self.decay_steps * (max(1, math.ceil(step / self.decay_steps)) if self.cycle else 1)
        left = 1 - min(step, steps) / steps
        return float((self.initial_learning_rate - self.end_learning_rate) * left**self.power + self.end_learning_rate)


class CosineDecayRestarts(Schedule):
    """α₀ ((1 - α) (1 + cos(π f)) / 2 + α), f being how much of a period has gone by (Loshchilov & Hutter 2017).

    The first period takes first_decay_steps; each takes t_mul times the one before, and begins at m_mul times its rate.
    """

    limits: ClassVar[Mapping[str, str]] = {
        "initial_learning_rate": "[0, ∞)",
        "first_decay_steps": "(0, ∞)",
        "t_mul": "[1, ∞)",
    }

    initial_learning_rate: float
    first_decay_steps: float
    t_mul: float = 2.0
    m_mul: float = 1.0
    alpha: float = 0.0

    def __call__(self, step: int) -> float:
        done = step / self.first_decay_steps
        if self.t_mul == 1:
            period, gone = math.floor(done), done - math.floor(done)
        else:
            period = math.floor(math.log(1 - done * (1 - self.t_mul)) / math.log(self.t_mul))
            gone = (done - (1 - self.t_mul**period) / (1 - self.t_mul)) / self.t_mul**period
        share = self.m_mul**period * (1 + math.cos(math.pi * gone)) / 2
        return float(self.initial_learning_rate * ((1 - self.alpha) * share + self.alpha))


class PiecewiseConstantDecay(Schedule):
    """The first of `values` up to the first of `boundaries`, that included, then the next; the last after them all."""

    boundaries: Sequence[float]
    values: Sequence[float]

    def __post_init__(self) -> None:
        boundaries, values = [*self.boundaries], [*map(_rate, self.values)]
        if len(values) != len(boundaries) + 1 or sorted(boundaries) != boundaries:
            raise UsageError(
                f"PiecewiseConstantDecay({boundaries}, {values}): it takes boundaries that rise, and one value more."
            )
        self._set(boundaries=boundaries, values=values)

    def __call__(self, step: int) -> float:
        return float(self.values[sum(step > boundary for boundary in self.boundaries)])


def CosineDecay(
    initial_learning_rate: float,
    decay_steps: int,
    alpha: float = 0.0,
    name: str | None = None,
    warmup_target: float | None = None,
    warmup_steps: int = 0,
) -> Schedule:
    """`optim.CosineDecay` down to the fraction alpha; with warmup_target after a rise to that in warmup_steps."""
    begin = initial_learning_rate if warmup_target is None else warmup_target
    decay = _Cosine(begin, decay_steps, begin * alpha)
    return decay if warmup_target is None or not warmup_steps else WarmUp(decay, warmup_steps, initial_learning_rate)


def get(value: object) -> Schedule:
    """A schedule of itself, or of its configuration."""
    made: Schedule = Schedule.of(value)
    return made
