"""Derivatives by numbers, each with an estimate of its own error.

Central differences extrapolated to h = 0 (Richardson 1911), with the step chosen where the estimates agree best
(Ridders 1982, "Accurate computation of F'(x) and F'(x)F''(x)"); and the complex step, f'(x) = Im f(x + ih) / h,
which subtracts nothing and so needs no choice of h (Squire & Trapp 1998).
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy
from numpy.typing import NDArray

LARGEST_STEP = 2.0**-4
FACTOR = 4.0
STEPS = 12
"""The steps of differences, from the largest on: 2^-4 … 2^-26."""

FINE_STEPS = 12
"""As many finer ones, 2^-28 … 2^-50, for functions that are smooth only there, such as sin at 1e10."""

CONFIRMING = 4
"""An estimate counts when so many finer steps contradict it in nothing that rounding does not explain."""

FLAT_FROM, FLAT_FOR_ZERO = 1, 8
"""Where f changes at the steps of the first rows, and from a later one than this on not at all, it goes by stairs: as
like as not they are the rounding inside it, and their treads say nothing. A gradient of 0 may stand on narrower."""

COMPLEX_STEP = 1e-20
NOISE_STEP = 3e-6
MOST_NOISE = 1e-2
"""What is more than this part of the changes of f is no noise, but f itself, which oscillates."""

FINE_NOISE_STEPS = (2.0**-34, 2.0**-40, 2.0**-46)
Values = NDArray[Any]


@dataclass(frozen=True)
class Derivative:
    """A derivative, how far it can be trusted, the step it comes from, and the (h, estimate) pairs on the way.

    Where the estimates settle at no step, the error is infinite.
    """

    value: float
    error: float
    step: float
    path: tuple[tuple[float, float], ...] = ()


class Line:
    """t ↦ f(… xs + t vs …), by steps that floating point holds exactly and that are the same to both sides.

    x + h v is rounded, and f sees that: at x = 1e8 by 1e-8. So the step is taken as x can make it, in the direction
    away from 0, where numbers lie no closer; `missed` says what that step adds to the derivative along v.
    """

    def __init__(self, value: Callable[..., Values], xs: Sequence[Values], vs: Sequence[Values | None]) -> None:
        self.value, self.xs, self.vs = value, xs, vs
        self.moved = [i for i, v in enumerate(vs) if v is not None]
        self.last: tuple[float, list[Values]] = (0.0, [])

    def shifts(self, h: float) -> list[Values]:
        """What is added at h > 0 to each argument that is moved; at -h it is subtracted."""
        if self.last[0] != h:
            found = []
            for i in self.moved:
                x, step = self.xs[i], h * self.vs[i]  # type: ignore[operator]
                found.append(numpy.copysign((x + numpy.copysign(step, x)) - x, step))
            self.last = (h, found)
        return self.last[1]

    def __call__(self, t: complex) -> Values:
        xs = list(self.xs)
        if isinstance(t, complex):
            for i in self.moved:
                xs[i] = xs[i] + t * self.vs[i]  # type: ignore[operator]
        elif t:
            for i, shift in zip(self.moved, self.shifts(abs(t)), strict=True):
                xs[i] = xs[i] + shift if t > 0 else xs[i] - shift
        return self.value(*xs)

    def missed(self, gradients: Sequence[Values], h: float) -> float:
        """⟨gradients, (step taken - h v) / h⟩: what of the difference at step h is the rounding of the step."""
        total = 0.0
        for i, shift in zip(self.moved, self.shifts(h), strict=True):
            total += float((gradients[i] * ((shift - h * self.vs[i]) / h)).sum())  # type: ignore[operator]
        return total


class Differences:
    """h ↦ ⟨u, (f(h) - f(-h)) / 2⟩, taken element by element, with the rounding error it may have.

    An element of f that does not depend on the step cancels exactly, and so adds no noise, however large it is; which
    ones depend is seen far out, at h = ±1 and ±64. missed: of a step h, what its rounding adds to the derivative.
    """

    def __init__(
        self, value: Callable[[float], Values], u: Values, missed: Callable[[float], float] = lambda h: 0.0
    ) -> None:
        self.value, self.u, self.missed = value, u, missed
        self.here = value(0.0)
        depends = numpy.zeros(self.here.shape, dtype=bool)
        for far in (1.0, -1.0, 64.0, -64.0):
            if not depends.all():
                depends |= value(far) != self.here
        self.eps = float(numpy.finfo(self.here.dtype).eps)
        self.size = float((numpy.abs(u * self.here) * depends).sum())
        self.noise = 4 * self.eps * self.size  # of one value: four units in each element that depends on h
        self.estimates: list[float] = []
        self.bends: list[float] = []
        self.flat: set[int] = set()  # rows at which f does not change at all
        self.change = 0.0  # of f at the largest step, if it is defined there

    def step(self, row: int) -> float:
        """The step of a row."""
        return LARGEST_STEP / FACTOR**row

    def estimate(self, row: int) -> float:
        """The derivative by the plain difference of a row."""
        while len(self.estimates) <= row:
            self.estimates.append(self._estimated(self.step(len(self.estimates))))
        return self.estimates[row]

    def _estimated(self, h: float) -> float:
        ahead, behind = self.value(h), self.value(-h)
        bend = (ahead.astype("float64") - self.here) - (self.here.astype("float64") - behind)
        self.bends.append(float(numpy.abs(self.u * bend).sum()) / h)
        if not self.change:
            moves = numpy.abs(ahead - self.here) + numpy.abs(self.here - behind)
            change = float(numpy.abs(self.u * moves).sum()) * (LARGEST_STEP / h)
            self.change = change if math.isfinite(change) else 0.0
        if bool((ahead == behind).all()):
            self.flat.add(len(self.estimates))
        difference = float((self.u * (ahead.astype("float64") - behind)).sum()) / 2
        return difference / h - self.missed(h)

    @property
    def path(self) -> tuple[tuple[float, float], ...]:
        """(h, estimate) pairs."""
        return tuple((self.step(row), estimate) for row, estimate in enumerate(self.estimates))

    @property
    def kink(self) -> float:
        """How much the slope jumps at 0: the part of the bend per h that does not shrink with h; 0 where it does.

        A smooth bend, of order h², falls to a quarter from one step to the next; at a kink it stays.
        """
        for row in range(len(self.bends) - 1, 5, -1):
            near, far = self.bends[row], self.bends[row - 2]
            if near > 64 * self.noise / self.step(row):
                finer = range(row + 1, len(self.bends))
                passes = any(64 * self.noise / self.step(s) < 0.5 * near for s in finer)  # it would be seen there, too
                return near if near > 0.5 * far and not passes else 0.0
        return 0.0


def measured_noise(differences: Differences) -> float:
    """The rounding error of ⟨u, f⟩ near 0, measured: its fourth differences at a step too small for f to bend.

    A smooth function's fourth difference is of order h⁴; what is left is noise, magnified by √70 (Hamming 1971;
    Moré & Wild 2011, "Estimating computational noise"). 0 where what is left is no rounding, but as large as f's own
    changes: f oscillates.
    """
    return _fourth_differences(differences, NOISE_STEP)


def measured_fine_noise(differences: Differences) -> float:
    """The same for the finer steps: the least of those at which f changes."""
    found = (_fourth_differences(differences, step) for step in FINE_NOISE_STEPS)
    return min((noise for noise in found if noise > 0), default=0.0)


def _fourth_differences(differences: Differences, step: float) -> float:
    worst = 0.0
    for side in (1, -1):  # each side by itself: a kink at 0 is no noise
        values = [float((differences.u * differences.value(side * k * step)).sum()) for k in range(1, 10)]
        fourth = float(numpy.abs(numpy.diff(values, 4)).max())
        worst = max(worst, fourth if math.isfinite(fourth) else 0.0)
    noise = 3 * worst / math.sqrt(70)
    differences.estimate(0)
    return noise if noise < MOST_NOISE * differences.change else 0.0


def extrapolated(phi: Differences, first: int = 0, last: int = STEPS, flat_from: int = FLAT_FROM) -> Derivative:
    """The derivative at 0, from differences at geometrically shrinking steps, the rows `first` … `last` - 1.

    Each row of the extrapolation table offers its best estimate and error. An offer counts where all finer steps
    agree with it, as far as rounding and the truncation of the row allow: far out, a function that oscillates or
    saturates can agree with itself by chance. Of those that count, the one with the least error is taken.
    """
    table: list[float] = []
    offers = []
    for row in range(first, last):
        h = phi.step(row)
        estimates = [phi.estimate(row)]
        best = Derivative(math.nan, math.inf, h)
        for column in range(1, min(row - first, 6) + 1):
            weight = FACTOR ** (2 * column)
            estimates.append((weight * estimates[-1] - table[column - 1]) / (weight - 1))
            spread = max(abs(estimates[-1] - estimates[-2]), abs(estimates[-1] - table[column - 1]))
            error = spread + 2 * phi.noise / h
            if math.isfinite(error) and error < best.error:
                best = Derivative(estimates[-1], error, h)
        offers.append(best)
        table = estimates
    chosen = Derivative(phi.estimate(last - 1), math.inf, phi.step(last - 1))
    level = next(row for row in range(last, -1, -1) if row - 1 not in phi.flat)  # from here on f does not change
    for row, offer in list(zip(range(first, last - CONFIRMING), offers, strict=False))[2:]:
        stairs = flat_from < level <= row
        if offer.error < chosen.error and not stairs and _confirmed(phi, offer, row, last):
            chosen = offer
    return replace(chosen, path=phi.path)


def _confirmed(phi: Differences, offer: Derivative, row: int, last: int) -> bool:
    allowed = offer.error + abs(phi.estimate(row) - offer.value)
    return all(
        abs(phi.estimate(finer) - offer.value) <= allowed + 4 * phi.noise / phi.step(finer)
        for finer in range(row + 1, last)
    )


def complex_step(value: Callable[[complex], Values], u: Values) -> float | None:
    """The derivative of ⟨u, f⟩ at 0 by the complex step; None where f does not compute with complex numbers."""
    try:
        with warnings.catch_warnings():
            # other threads have the same filters: nothing but what is asked here becomes an error
            warnings.simplefilter("error", numpy.exceptions.ComplexWarning)
            result = complex((u * value(COMPLEX_STEP * 1j)).sum())
    except (TypeError, ValueError, ArithmeticError, numpy.exceptions.ComplexWarning):
        return None
    return result.imag / COMPLEX_STEP if math.isfinite(result.imag) and math.isfinite(result.real) else None
