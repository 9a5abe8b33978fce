"""The check of one gradient at one point, step by step; `gradcheck` is the way in.

First a few evaluations whatever the size: the gradient pulled back from a random cotangent u, against the numerical
derivative of ⟨u, f⟩ along random directions. Only where they disagree is the element looked for, by halving.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy

from . import laws
from .numerics import COMPLEX_STEP, Derivative, Differences, complex_step, extrapolated, measured_noise
from .point import ROUNDING, Found, Point
from .report import Difference, Report, Verdict
from .subject import OfTensors, OutOfTime, Subject, Values

RESOLUTION = 1e-4
"""An agreement that rounding makes looser than this, relatively, is not called proven but precision-limited."""

VISIBLE = 1e7
"""A directional derivative below this many units of f's own rounding (1e-8 of f, say) is beyond what differences of
values can show in more than a few digits: it is compared, but does not make the verdict precision-limited."""

MOST_KINKS = 64
Path = tuple[tuple[float, float], ...]
"""(h, estimate) pairs."""


@dataclass(frozen=True)
class _Along:
    """A comparison along a direction, how much the slope jumps there, and the plain differences on the way."""

    difference: Difference
    kink: float
    path: Path

    @property
    def excess(self) -> float:
        """The difference in units of what rounding explains."""
        return self.difference.absolute / self.difference.bound


class Check(Point):
    """The checks of a gradient at one point, in turn."""

    def __init__(self, subject: Subject, xs: tuple[Values, ...], seed: int, samples: int) -> None:
        super().__init__(subject, xs, seed)
        self.seed, self.samples = seed, samples
        self.worst: Difference | None = None
        self.loosest = 0.0
        self.noise: list[Values] | None = None
        self.floor = 0.0
        self.trusted: dict[int, bool] = {}

    def run(self, max_seconds: float) -> Report:
        """Run in a thread of its own, so that a function that does not return cannot hold up the caller."""
        outcome: list[Report | BaseException] = []
        started = time.perf_counter()

        def work() -> None:
            try:
                outcome.append(self.verdict())
            except BaseException as error:
                outcome.append(error)

        thread = threading.Thread(target=work, daemon=True, name=f"gradcheck {self.subject.name}")
        thread.start()
        thread.join(max_seconds)
        seconds = time.perf_counter() - started
        self.subject.stop.set()
        if not outcome or isinstance(outcome[0], OutOfTime):
            detail = f"not finished after {max_seconds:.3g} s, so nothing is proven"
            return self.report(Verdict.UNDECIDED, detail, seconds=seconds)
        if isinstance(outcome[0], BaseException):
            raise outcome[0]
        return replace(outcome[0], seconds=seconds)

    def report(self, verdict: Verdict, detail: str, **more: Any) -> Report:
        """The report of this check so far."""
        return Report(
            self.subject.name, verdict, detail, worst=more.pop("worst", self.worst), kinks=tuple(self.kinks),
            checks=tuple(self.checks), dtype="float32" if self.single else "float64", seed=self.seed,
            evaluations=self.subject.evaluations, **more,
        )  # fmt: skip

    def verdict(self) -> Report:
        """Do every check in turn; the first that fails decides."""
        try:
            with numpy.errstate(all="ignore"):
                self.contract()
                self.directions()
                laws.linearity(self)
                if isinstance(self.subject, OfTensors):
                    laws.adjoint(self)
                if self.single:
                    laws.single_precision(self)
        except Found as found:
            return self.report(found.verdict, found.detail, worst=found.worst or self.worst, **found.more)
        if self.kinks:
            return self.report(
                Verdict.KINK,
                f"right, and between the one-sided slopes at each kink ({len(self.kinks)} of its elements)",
            )
        if self.loosest > RESOLUTION:
            return self.report(
                Verdict.PRECISION, f"agrees, but rounding hides errors up to {self.loosest:.1g} relative"
            )
        return self.report(Verdict.PROVEN, "")

    # Random directions

    def directions(self) -> None:
        """⟨gradient, v⟩ against the derivative of ⟨gy, f⟩ along v, for directions that leave no term to cancel."""
        self.checks.append("random directions")
        for sample in range(self.samples):
            if sample:
                self.gy = self.cotangent()
                self.gradients = self.pulled(self.pull, self.gy.copy())
            gradients = self.reference_gradients()
            self.noise = None
            for i, g in enumerate(gradients):
                if not g.size:
                    continue
                if not sample:  # once with all elements: is the function analytic?
                    everything = numpy.ones(g.shape, dtype=bool)
                    self.compare(i, g, self.rng.uniform(0.5, 1.0, g.shape) * _scale(self.exact[i]), everything)
                for mask in _magnitudes(g):
                    for kink in self.kinks:
                        if kink.argument == i:
                            mask[kink.index] = False
                    self.search(i, g, mask)

    def search(self, i: int, g: Values, mask: Values) -> None:
        """Compare along a direction; where it disagrees, find the elements, and tell kinks from errors."""
        signs = numpy.where(g == 0, self.rng.choice([-1.0, 1.0], g.shape), numpy.sign(g))
        v = signs * self.rng.uniform(0.5, 1.0, g.shape) * _scale(self.exact[i])
        while mask.any() and len(self.kinks) < MOST_KINKS:
            along = self.compare(i, g, v, mask)
            if (along.excess > 1 or along.kink) and self.noise is None:
                self.noise = self.moved(float(numpy.finfo("float64").eps), 8)
                along = self.compare(i, g, v, mask)
            if along.excess <= 1 and not along.kink:
                self.note(along.difference)
                return
            found = self.bisect(i, g, v, mask, along)
            if found is None:  # each half agrees within its bound, and so does the whole within their sum
                self.note(along.difference)
                return
            judged = self.judge(i, g, found.difference)
            if judged is None and found.excess <= 1:
                self.note(along.difference)
                return
            if judged is None:
                curve = _curve(found.difference, found.path)
                raise Found(Verdict.WRONG, "the gradient and the derivative differ", found.difference, curve=curve)
            self.kinks.append(judged)
            mask[found.difference.index] = False
        if mask.any():
            detail = f"more than {MOST_KINKS} elements stand on kinks; choose inputs away from them"
            raise Found(Verdict.UNDECIDED, detail)

    def bisect(self, i: int, g: Values, v: Values, mask: Values, along: _Along) -> _Along | None:
        """The element with the largest disagreement (or, where all agree, on a kink), by halving the set of elements.

        None where neither half disagrees.
        """
        places = numpy.flatnonzero(mask)
        wrong = along.excess > 1
        while len(places) > 1:
            halves = []
            for part in (places[: len(places) // 2], places[len(places) // 2 :]):
                some = numpy.zeros(g.shape, dtype=bool)
                some.reshape(-1)[part] = True
                halves.append((part, self.compare(i, g, v, some)))
            places, along = max(halves, key=lambda half: half[1].excess if wrong else half[1].kink)
            if not (along.excess > 1 if wrong else along.kink):
                return None
        index = tuple(int(n) for n in numpy.unravel_index(places[0], g.shape)) if g.ndim else ()
        unit = float(v[index]) or 1.0
        of_element = replace(
            along.difference,
            index=index,
            analytic=along.difference.analytic / unit,
            numeric=along.difference.numeric / unit,
            bound=along.difference.bound / abs(unit),
        )
        return _Along(of_element, along.kink, tuple((h, estimate / unit) for h, estimate in along.path))

    def compare(self, i: int, g: Values, v: Values, mask: Values) -> _Along:
        """Gradient and derivative along v within `mask`."""
        v = numpy.where(mask, v, 0.0)
        terms = g * v
        rounding = 2 * float(numpy.finfo("float64").eps * numpy.abs(g * numpy.where(mask, self.exact[i], 0)).sum())
        numeric, kink = self.derivative(i, v, rounding)
        bound = numeric.error + ROUNDING * numpy.finfo(self.y64.dtype).eps * float(numpy.abs(terms).sum())
        if self.noise is not None:
            bound += float((self.noise[i] * numpy.abs(v)).sum())
        difference = Difference(i, (), float(terms.sum()), numeric.value, bound + self.floor + 1e-320, numeric.step)
        return _Along(difference, kink, numeric.path)

    def derivative(self, i: int, v: Values, rounding: float = 0.0) -> tuple[Derivative, float]:
        """d/dt ⟨gy, f(… x + t v …)⟩ at t = 0, by the complex step where f allows it, else by differences; the kink.

        rounding: what the rounding of x + t v makes of f. Where there is doubt, f's own noise is measured, too.
        """
        u = self.gy.astype("float64")
        noise = measured_noise(self.along(i, v), u) if self.noise is not None else 0.0
        differences = Differences(self.along(i, v), u, floor=max(noise, rounding))
        real = extrapolated(differences)
        # moving x by its own size moves f by about its own size: what rounding makes of that is no derivative
        self.floor = 4 * float(numpy.finfo("float64").eps) * differences.size
        exact = self.complex_derivative(i, v, u, real)
        if exact is not None:
            size = float(numpy.finfo("float64").eps * max(abs(exact), abs(real.value)))
            return Derivative(exact, ROUNDING * size, COMPLEX_STEP, real.path), differences.kink
        return Derivative(real.value, 4 * real.error, real.step, real.path), differences.kink

    def complex_derivative(self, i: int, v: Values, u: Values, real: Derivative) -> float | None:
        """The derivative by the complex step, where f is seen to be analytic: it then agrees with the differences.

        Once that is seen sharply for an argument it is trusted, so that differences too coarse to tell do not matter.
        """
        if self.subject.analytic is None or self.y64.dtype != numpy.float64 or self.trusted.get(i) is False:
            return None
        exact = complex_step(self.along(i, v, self.subject.analytic), u)
        if exact is None or abs(exact - real.value) > 4 * real.error + self.floor:
            self.trusted[i] = False
            return None
        if i not in self.trusted and real.error < 1e-5 * abs(exact):
            self.trusted[i] = True
        if i not in self.trusted:
            return None
        if "complex step" not in self.checks:
            self.checks.append("complex step")
        return exact

    def judge(self, i: int, g: Values, found: Difference) -> Difference | None:
        """The difference as a kink, where left and right derivatives differ and the gradient lies between them."""
        v = numpy.zeros(g.shape)
        scale = float(_scale(self.exact[i])[found.index])
        v[found.index] = scale
        u = self.gy.astype("float64")
        left, right = (extrapolated(Differences(self.along(i, v), u, side)) for side in (-1, 1))
        trust = 4 * (left.error + right.error)
        if not abs(left.value - right.value) > 2 * trust:
            return None
        low, high = sorted((left.value / scale, right.value / scale))
        between = low - trust / scale <= found.analytic <= high + trust / scale
        return replace(found, one_sided=(left.value / scale, right.value / scale)) if between else None

    def note(self, difference: Difference) -> None:
        """Keep the comparison that came nearest to its bound, and how loose the bounds are."""
        size = max(abs(difference.analytic), abs(difference.numeric))
        if size > VISIBLE * self.floor:
            self.loosest = max(self.loosest, min((difference.bound - self.floor) / size, 1.0))
        if self.worst is None or difference.absolute / difference.bound > self.worst.absolute / self.worst.bound:
            self.worst = difference


def _magnitudes(g: Values) -> list[Values]:
    """The elements in groups of like size, so that a large gradient does not hide a small one; zeros apart."""
    with numpy.errstate(divide="ignore"):
        decades = numpy.where(g == 0, -1000, numpy.floor(numpy.log10(numpy.abs(g)) / 6))
    return [numpy.asarray(decades == decade) for decade in numpy.unique(decades)]


def _scale(x: Values) -> Values:
    """How far each element is moved at h = 1: by its own size, or where it is 0 by that of the others."""
    sizes = numpy.abs(x)
    typical = min(float(numpy.sqrt((sizes**2).mean())) or 1.0, 1.0)
    return numpy.where(sizes > 0, sizes, typical)


def _curve(found: Difference, path: Iterable[tuple[float, float]]) -> tuple[tuple[float, float], ...]:
    """The error against the step: what each plain difference gives, against the given gradient."""
    return tuple((h, abs(estimate - found.analytic)) for h, estimate in path)
