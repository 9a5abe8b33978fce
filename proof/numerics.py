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

    An element that does not depend on the step cancels exactly, and so adds no noise, however large it is.
    side: 0 for (f(h) - f(-h)) / 2, 1 for f(h) - f(0), -1 for f(0) - f(-h).
    """

    def __init__(self, value: Callable[[float], Values], u: Values, side: int = 0, floor: float = 0.0) -> None:
        self.value, self.u, self.side, self.floor = value, u, side, floor
        self.powers = 1 if side else 2
        self.moves: Any = False
        self.eps = 0.0

    def __call__(self, h: float) -> float:
        ahead = self.value(0.0 if self.side < 0 else h)
        behind = self.value(0.0 if self.side > 0 else -h)
        self.eps = float(numpy.finfo(ahead.dtype).eps)
        difference = ahead.astype("float64") - behind
        self.moves = self.moves | (difference != 0)
        self.size = float((numpy.abs(self.u * ahead) * self.moves).sum())
        return float((self.u * difference).sum()) / (1 if self.side else 2)

    @property
    def noise(self) -> float:
        """The rounding error of what was returned last: four units in each element, or `floor` where that is more."""
        return max(4 * self.eps * self.size, self.floor)


def measured_noise(value: Callable[[float], Values], u: Values) -> float:
    """The rounding error of ⟨u, f⟩ near 0, measured: its fourth differences at a step too small for f to bend.

    A smooth function's fourth difference is of order h⁴; what is left is noise, magnified by √70 (Hamming 1971;
    Moré & Wild 2011, "Estimating computational noise").
    """
    values = numpy.array([(u * value(k * NOISE_STEP)).sum() for k in range(-6, 7)], dtype="float64")
    differences = numpy.abs(numpy.diff(values, 4))
    return float(3 * differences.max() / math.sqrt(70))


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
