"""Gradient and numerical derivative compared along a direction, with what rounding explains of their difference."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy

from .numerics import (
    COMPLEX_STEP,
    FINE_STEPS,
    FLAT_FOR_ZERO,
    FLAT_FROM,
    LARGEST_STEP,
    STEPS,
    Derivative,
    Differences,
    complex_step,
    extrapolated,
    measured_fine_noise,
    measured_noise,
)
from .point import ROUNDING, Found, Point, same
from .report import Difference, Verdict
from .subject import OutOfTime, Subject, Values

RESOLUTION = 1e-4
"""An agreement that rounding makes looser than this, relatively, is not called proven but precision-limited."""

VISIBLE = 1e8
"""A directional derivative below this many units of f's own rounding (1e-7 of f, say) is beyond what differences of
values can show to `RESOLUTION`: at steps of 1/256 the rounding of f is some 2e-12 of f in a difference. It is compared,
but does not make the verdict precision-limited."""

Path = tuple[tuple[float, float], ...]
"""(h, estimate) pairs."""


@dataclass(frozen=True)
class Along:
    """A comparison along a direction, how much the slope jumps there, and the plain differences on the way.

    settled: whether the estimates do so at some step. excess: the difference in units of what rounding explains.
    fine: whether finer steps were tried. flat: the largest step at which f does not change, though it depends on x,
    where the gradient is 0, too; else 0.
    """

    difference: Difference
    kink: float
    path: Path
    settled: bool
    excess: float
    fine: bool
    flat: float

    @property
    def agrees(self) -> bool:
        """Whether nothing is left to explain."""
        return self.settled and self.excess <= 1 and not self.kink


class Comparison(Point):
    """Comparisons of the gradient at a point with numerical derivatives.

    noise: how far the gradient moves by rounding, where that was asked. floor: what rounding makes of a derivative of
    f along the last direction. steepness: how much f changes along it, for a step of 1. trusted: by argument, whether f
    was seen to be analytic.
    """

    def __init__(self, subject: Subject, xs: tuple[Values, ...], seed: int) -> None:
        super().__init__(subject, xs, seed)
        self.noise: list[Values] | None = None
        self.floor = 0.0
        self.steepness = 0.0
        self.trusted: dict[int, bool] = {}

    def compare(self, i: int, g: Values, v: Values, mask: Values, in_doubt: bool = False) -> Along:
        """Gradient and derivative along v within `mask`.

        Where they disagree the noise of f and the condition of the gradient are measured; and where they still do and
        it is `in_doubt`, at finer steps, for f may be smooth only there.
        """
        v = numpy.where(mask, v, 0.0)
        terms = g * v
        u = self.gy.astype("float64")
        vs = [v if n == i else None for n in range(len(self.xs))]
        line = self.along(vs)
        phi = Differences(line, u, lambda h: line.missed([g] * len(vs), h))
        if not same(phi.here, self.y64):
            raise Found(Verdict.RANDOM, "calls with the same inputs gave different values")
        # moving x by its own size moves f by about its own size: what rounding makes of that is no derivative
        self.floor = 4 * float(numpy.finfo("float64").eps) * phi.size
        rounding = ROUNDING * numpy.finfo(self.y64.dtype).eps * float(numpy.abs(terms).sum()) + self.floor
        # a gradient may be too small for its dtype
        rounding += 1e-320 + 2 * float(numpy.finfo("float64").smallest_subnormal * numpy.abs(v).sum())

        def weighed(real: Derivative, fine: bool = False) -> Along:
            numeric, error = real.value, 4 * real.error
            exact = self.complex_derivative(i, vs, u, real)
            if exact is not None:
                numeric = exact
                error = ROUNDING * float(numpy.finfo("float64").eps * max(abs(exact), abs(real.value)))
                real = replace(real, step=COMPLEX_STEP)
            moved = 0.0 if self.noise is None else float((self.noise[i] * numpy.abs(v)).sum())
            given = float(terms.sum())
            difference = Difference(i, (), given, numeric, error + rounding + moved, real.step)
            settled = bool(numpy.isfinite(difference.bound) and numpy.isfinite(difference.absolute))
            excess = difference.absolute / difference.bound if settled else 0.0
            flat = phi.step(min(phi.flat)) if phi.flat and phi.size and not terms.any() else 0.0
            return Along(difference, phi.kink, phi.path, settled, excess, fine, flat)

        flat_from = FLAT_FROM if terms.any() else FLAT_FOR_ZERO
        along = weighed(extrapolated(phi, flat_from=flat_from))
        self.steepness = phi.change / LARGEST_STEP
        if along.agrees and not self.looseness(along.difference) > RESOLUTION:
            return along
        if self.noise is None:
            self.noise = self.moved(float(numpy.finfo("float64").eps), 8)
        own = phi.noise
        measured = phi.noise = max(own, measured_noise(phi))
        along = weighed(extrapolated(phi, flat_from=flat_from))
        if not in_doubt or (along.agrees and not self.looseness(along.difference) > RESOLUTION):
            return along
        last = STEPS + FINE_STEPS
        phi.noise = max(own, measured_fine_noise(phi))
        near = weighed(extrapolated(phi, STEPS, last, flat_from), fine=True)
        if along.agrees:
            return min(along, near, key=lambda one: one.difference.bound) if near.agrees else along
        if not near.settled:
            phi.noise = measured  # what the coarser steps say has to hold at the finer ones, too
            near = weighed(extrapolated(phi, 0, last, flat_from), fine=True)
        told = along.settled and near.settled and bool(along.kink) == bool(near.kink)
        apart = abs(along.difference.numeric - near.difference.numeric)
        if told and apart <= along.difference.bound + near.difference.bound:
            return along if near.excess > 1 else near  # the finer steps say nothing else
        return near

    def complex_derivative(self, i: int, vs: list[Values | None], u: Values, real: Derivative) -> float | None:
        """The derivative by the complex step, where f is seen to be analytic: it then agrees with the differences.

        Once that is seen sharply for an argument it is trusted, so that differences too coarse to tell do not matter.
        """
        if self.subject.analytic is None or self.y64.dtype != numpy.float64 or self.trusted.get(i) is False:
            return None
        if not numpy.isfinite(real.error) and i not in self.trusted:
            return None
        exact = complex_step(self.along(vs, self.subject.analytic), u)
        if exact is None or (numpy.isfinite(real.error) and abs(exact - real.value) > 4 * real.error + self.floor):
            self.trusted[i] = False
            return None
        if i not in self.trusted and real.error < 1e-5 * abs(exact):
            self.trusted[i] = True
        if i not in self.trusted:
            return None
        if "complex step" not in self.checks:
            self.checks.append("complex step")
        return exact

    def rounded(self, i: int, v: Values, mask: Values, step: float) -> float:
        """What rounding inside f, as in (x + 1e15) - 1e15, may make of the derivative along v by a difference.

        It is seen in extended precision; 0 where NumPy has none, or f does not compute with it.
        """

        def off(*xs: Values) -> Values:
            return self.subject.value(*(x.astype(numpy.longdouble) for x in xs)) - self.at_exact(*xs)

        line = self.along([numpy.where(mask, v, 0.0) if n == i else None for n in range(len(self.xs))], off)
        try:
            noise = float((numpy.abs(self.gy) * numpy.abs(line(step) - line(-step))).sum())
        except OutOfTime:
            raise
        except Exception:  # there are functions of float64 alone
            return 0.0
        return 4 * noise / step if math.isfinite(noise) and step > COMPLEX_STEP else 0.0

    def looseness(self, difference: Difference) -> float:
        """The bound relative to what is compared; 0 where either is too small beside f, or its changes, to be seen."""
        size = max(abs(difference.analytic), abs(difference.numeric))
        hidden = difference.bound - self.floor
        visible = size > VISIBLE * self.floor and hidden > 1e-15 * self.steepness
        return min(hidden / size, 1.0) if visible else 0.0
