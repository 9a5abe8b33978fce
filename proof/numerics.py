"""Derivatives by numbers, each with an estimate of its own error.

Central differences extrapolated to h = 0 (Richardson 1911), with the step chosen where the estimates agree best
(Ridders 1982, "Accurate computation of F'(x) and F'(x)F''(x)"); and the complex step, f'(x) = Im f(x + ih) / h,
which subtracts nothing and so needs no choice of h (Squire & Trapp 1998).
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy
from numpy.typing import NDArray

LARGEST_STEP = 2.0**-4
FACTOR = 4.0
STEPS = 12
COMPLEX_STEP = 1e-20
NOISE_STEP = 3e-6


@dataclass(frozen=True)
class Derivative:
    """A derivative, how far it can be trusted, the step it comes from, and the (h, estimate) pairs on the way."""

    value: float
    error: float
    step: float
    path: tuple[tuple[float, float], ...] = ()


Values = NDArray[Any]


class Differences:
    """h ↦ ⟨u, difference of f at step h⟩, taken element by element, with the rounding error it may have.

    An element of f that does not depend on the step cancels exactly, and so adds no noise, however large it is; which
    ones depend is seen far out, at h = ±1 and ±64. side: 0 for (f(h) - f(-h)) / 2, 1 for f(h) - f(0), -1 for
    f(0) - f(-h).
    """

    def __init__(self, value: Callable[[float], Values], u: Values, side: int = 0, floor: float = 0.0) -> None:
        self.value, self.u, self.side, self.floor = value, u, side, floor
        self.powers = 1 if side else 2
        self.here = value(0.0)
        depends = numpy.zeros(self.here.shape, dtype=bool)
        for far in (1.0, -1.0, 64.0, -64.0):
            depends |= value(far) != self.here
        self.eps = float(numpy.finfo(self.here.dtype).eps)
        self.size = float((numpy.abs(u * self.here) * depends).sum())
        self.bends: list[float] = []

    def __call__(self, h: float) -> float:
        ahead = self.here if self.side < 0 else self.value(h)
        behind = self.here if self.side > 0 else self.value(-h)
        if not self.side:
            bend = (ahead.astype("float64") - self.here) - (self.here.astype("float64") - behind)
            self.bends.append(float(numpy.abs(self.u * bend).sum()) / h)
        return float((self.u * (ahead.astype("float64") - behind)).sum()) / (1 if self.side else 2)

    @property
    def noise(self) -> float:
        """The rounding error of one value: four units in each element that depends on h, or `floor`."""
        return max(4 * self.eps * self.size, self.floor)

    @property
    def kink(self) -> float:
        """How much the slope jumps at 0: the part of the bend per h that does not shrink with h; 0 where it does.

        A smooth bend, of order h², falls to a quarter from one step to the next; at a kink it stays.
        """
        for row in range(len(self.bends) - 1, 5, -1):
            h = LARGEST_STEP / FACTOR**row
            near, far = self.bends[row], self.bends[row - 2]
            if near > 64 * self.noise / h:
                return near if near > 0.5 * far else 0.0
        return 0.0


def measured_noise(value: Callable[[float], Values], u: Values) -> float:
    """The rounding error of ⟨u, f⟩ near 0, measured: its fourth differences at a step too small for f to bend.

    A smooth function's fourth difference is of order h⁴; what is left is noise, magnified by √70 (Hamming 1971;
    Moré & Wild 2011, "Estimating computational noise").
    """
    worst = 0.0
    for side in (1, -1):  # each side by itself: a kink at 0 is no noise
        values = [float((u * value(side * k * NOISE_STEP)).sum()) for k in range(1, 10)]
        worst = max(worst, float(numpy.abs(numpy.diff(values, 4)).max()))
    return 3 * worst / math.sqrt(70)


def extrapolated(phi: Differences) -> Derivative:
    """The derivative at 0, from differences at geometrically shrinking steps.

    Each row of the extrapolation table offers its best estimate and error. They are taken from the smallest step
    up, and a larger step is believed only where it agrees with what the smaller ones allow: far out, a function that
    oscillates can agree with itself by chance.
    """
    table: list[float] = []
    offers = []
    path = []
    h = LARGEST_STEP
    for row in range(STEPS):
        estimates = [phi(h) / h]
        path.append((h, estimates[0]))
        best = Derivative(math.nan, math.inf, h)
        for column in range(1, min(row, 6) + 1):
            weight = FACTOR ** (phi.powers * column)
            estimates.append((weight * estimates[-1] - table[column - 1]) / (weight - 1))
            spread = max(abs(estimates[-1] - estimates[-2]), abs(estimates[-1] - table[column - 1]))
            error = spread + 2 * phi.noise / h
            if math.isfinite(error) and error < best.error:
                best = Derivative(estimates[-1], error, h)
        offers.append(best)
        table = estimates
        h /= FACTOR
    chosen = offers.pop()
    for offer in reversed(offers[2:]):
        if (
            offer.error < chosen.error and abs(offer.value - chosen.value) <= offer.error + chosen.error
        ) or not math.isfinite(chosen.error):
            chosen = offer
    return Derivative(chosen.value, chosen.error, chosen.step, tuple(path))


def complex_step(value: Callable[[complex], Values], u: Values) -> float | None:
    """The derivative of ⟨u, f⟩ at 0 by the complex step; None where f does not compute with complex numbers."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            result = complex((u * value(COMPLEX_STEP * 1j)).sum())
    except (TypeError, ValueError, ArithmeticError, RuntimeWarning, numpy.exceptions.ComplexWarning):
        return None
    return result.imag / COMPLEX_STEP if math.isfinite(result.imag) and math.isfinite(result.real) else None
