"""The check of one gradient at one point, step by step; `gradcheck` is the way in.

First a few evaluations whatever the size: the gradient pulled back from a random cotangent u, against the numerical
derivative of ⟨u, f⟩ along random directions. Only where they disagree is the element looked for, by halving.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy

from . import laws
from .comparison import RESOLUTION, Along, Comparison
from .point import Found
from .report import Difference, Report, Verdict
from .subgradients import Corners
from .subject import OfTensors, OutOfTime, Subject, Values

MOST_KINKS = 1024
MOST_SPLITS = 64
"""How often the elements of a direction are parted, and elements that are no kinks set aside, before the rest is taken
as it is."""


class Check(Comparison):
    """The checks of a gradient at one point, in turn."""

    def __init__(self, subject: Subject, xs: tuple[Values, ...], seed: int, samples: int) -> None:
        super().__init__(subject, xs, seed)
        self.seed, self.samples = seed, samples
        self.worst: Difference | None = None
        self.loosest = 0.0
        self.unsettled: set[tuple[int, int]] = set()  # (argument, flat position) at which nothing is shown
        self.corners = Corners(self)

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
                self.corners.check()
                if self.single:
                    laws.single_precision(self)
                self.repeatable(1)
        except Found as found:
            return self.report(found.verdict, found.detail, worst=found.worst or self.worst, **found.more)
        if self.kinks:
            return self.report(
                Verdict.KINK,
                f"right, and between the one-sided slopes at each kink, alone and together "
                f"({len(self.kinks)} of its elements)",
            )
        if self.unsettled:
            return self.report(
                Verdict.PRECISION,
                f"no disagreement, but at {len(self.unsettled)} elements the differences of its values settle at no "
                "step, or show its rounding alone",
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
                if not sample and self.subject.analytic is not None:  # once with all elements: is it so?
                    everything = numpy.ones(g.shape, dtype=bool)
                    v = self.rng.uniform(0.5, 1.0, g.shape) * scale_of(self.exact[i])
                    self.compare(i, g, v, everything)
                    if i not in self.trusted:  # seen only further out, perhaps
                        self.compare(i, g, v * numpy.maximum(1.0, 1 / scale_of(self.exact[i])), everything)
                for mask in _magnitudes(g * scale_of(self.exact[i])):
                    mask.reshape(-1)[self.kinked_of(i)] = False
                    self.search(i, g, mask)

    def search(self, i: int, g: Values, mask: Values) -> None:
        """Compare along a direction; where it disagrees, find the elements, and tell kinks from errors."""
        signs = numpy.where(g == 0, self.rng.choice([-1.0, 1.0], g.shape), numpy.sign(g))
        v = signs * self.rng.uniform(0.5, 1.0, g.shape) * scale_of(self.exact[i])
        todo, splits = [mask], 0
        while todo:
            mask = todo.pop()
            if not mask.any():
                continue
            if len(self.kinks) >= MOST_KINKS:
                detail = f"more than {MOST_KINKS} elements stand on kinks; choose inputs away from them"
                raise Found(Verdict.UNDECIDED, detail)
            along = self.compare(i, g, v, mask, in_doubt=True)
            if along.agrees and along.flat and self.rounded(i, v, mask, along.flat) > along.difference.bound:
                self.unsettled |= {(i, int(place)) for place in numpy.flatnonzero(mask)}
            elif along.agrees:
                self.note(along.difference)
            elif not along.settled:  # in part, perhaps: elements whose estimates settle are not to be hidden
                places = numpy.flatnonzero(mask)
                if len(places) == 1 and (jump := self.judge(i, v, places, self.of_element(g, v, places, along))):
                    self.kinks.append(jump)
                elif len(places) == 1 or splits >= MOST_SPLITS:
                    self.unsettled |= {(i, int(place)) for place in places}
                else:
                    splits += 1
                    todo += [_only(g, places[: len(places) // 2]), _only(g, places[len(places) // 2 :])]
            else:
                kinks = len(self.kinks)
                places = self.resolve(i, g, v, mask, along, splits + 1)
                splits += len(self.kinks) == kinks
                todo.append(mask & ~_only(g, places))
                if len(places) > 1:
                    todo += [_only(g, places[: len(places) // 2]), _only(g, places[len(places) // 2 :])]

    def resolve(self, i: int, g: Values, v: Values, mask: Values, along: Along, splits: int) -> Values:
        """Find what disagrees, or stands on a kink; raises Found where it is wrong. The places that are done with."""
        found, places = self.bisect(i, g, v, mask, along)
        if found.agrees or not found.settled or splits > MOST_SPLITS:
            # each half agrees within its bound, and so does the whole within their sum; or an element alone does
            self.note(found.difference if len(places) == 1 else along.difference)
            if not found.settled:
                self.unsettled |= {(i, int(place)) for place in places}
        else:
            judged = self.judge(i, v, places, found) if found.kink else None
            unit = abs(float(v.reshape(-1)[places[0]])) if len(places) == 1 else 1.0
            disagrees = judged is None and found.excess > 1
            off, step = found.difference.absolute * unit, found.difference.step
            if disagrees and off <= self.rounded(i, v, _only(g, places), step):
                self.unsettled |= {(i, int(place)) for place in places}
            elif disagrees:
                self.repeatable(3)
                curve = _curve(found.difference, found.path)
                detail = "the gradient and the derivative differ"
                if i in self.absent:
                    detail += f": None was given for argument {i}, which counts as zero"
                raise Found(Verdict.WRONG, detail, found.difference, curve=curve)
            elif judged is None:
                self.note(found.difference)
            else:
                self.kinks.append(judged)
        return places

    def bisect(self, i: int, g: Values, v: Values, mask: Values, along: Along) -> tuple[Along, Values]:
        """The element with the largest disagreement (or, where all agree, on a kink), by halving the set of elements.

        With the places that it is about: of several where neither half of them disagrees.
        """
        places = numpy.flatnonzero(mask)
        wrong = along.excess > 1
        while len(places) > 1:
            halves = []
            for part in (places[: len(places) // 2], places[len(places) // 2 :]):
                halves.append((part, self.compare(i, g, v, _only(g, part), in_doubt=along.fine)))
            part, half = max(halves, key=lambda half: half[1].excess if wrong else half[1].kink)
            if not (half.excess > 1 if wrong else half.kink):
                return (replace(along, excess=0.0) if wrong else along), places
            places, along = part, half
        if not along.fine:
            along = self.compare(i, g, v, _only(g, places), in_doubt=True)
        return self.of_element(g, v, places, along), places

    def of_element(self, g: Values, v: Values, places: Values, along: Along) -> Along:
        """The comparison along one element, per unit of it."""
        index = tuple(int(n) for n in numpy.unravel_index(places[0], g.shape)) if g.ndim else ()
        unit = float(v[index]) or 1.0
        found = along.difference
        analytic, numeric, bound = found.analytic / unit, found.numeric / unit, found.bound / abs(unit)
        found = replace(found, index=index, analytic=analytic, numeric=numeric, bound=bound)
        return replace(along, difference=found, path=tuple((h, estimate / unit) for h, estimate in along.path))

    def judge(self, i: int, v: Values, places: Values, found: Along) -> Difference | None:
        """The difference as a kink, where the slopes to both sides differ, or f jumps, and the gradient lies between.

        f's own slopes to both sides, for each element of its value: so a kink of one element hides none of another.
        """
        alone = len(places) == 1
        direction = numpy.zeros(v.shape)
        direction.reshape(-1)[places] = scale_of(self.exact[i]).reshape(-1)[places] if alone else v.reshape(-1)[places]
        sides = self.corners.sides([direction if n == i else None for n in range(len(self.xs))])
        if not sides.differ.any():
            return None
        if not (sides.differ & ~sides.spikes).any():  # the slopes to both sides are one: only rounding is like this
            self.unsettled |= {(i, int(place)) for place in places}
            return None
        unit = float(direction.reshape(-1)[places[0]]) if alone else 1.0
        u = self.gy.astype("float64")
        left, right = float((u * sides.left).sum()) / unit, float((u * sides.right).sum()) / unit
        low, high = sides.between(u)
        given = found.difference.analytic * unit
        if not low <= given <= high:
            return None
        self.corners.add(i, v.shape, places, sides)
        return replace(found.difference, one_sided=(left, right))

    def note(self, difference: Difference) -> None:
        """Keep the comparison that came nearest to its bound, and how loose the bounds are."""
        self.loosest = max(self.loosest, self.looseness(difference))
        if self.worst is None or difference.absolute / difference.bound > self.worst.absolute / self.worst.bound:
            self.worst = difference


def _magnitudes(g: Values) -> list[Values]:
    """The elements in groups of like size, so that a large gradient does not hide a small one; zeros apart.

    A group spans six decades; the middle one is 1e-3 … 1e3, so that most gradients are one group.
    """
    with numpy.errstate(divide="ignore"):
        groups = numpy.where(g == 0, -1000, numpy.floor(numpy.log10(numpy.abs(g)) / 6 + 0.5))
    return [numpy.asarray(groups == group) for group in numpy.unique(groups)]


def scale_of(x: Values) -> Values:
    """How far each element is moved at h = 1: by its own size, or where it is 0 by that of the others."""
    sizes = numpy.abs(x)
    typical = min(float(numpy.sqrt((sizes**2).mean())) or 1.0, 1.0)
    return numpy.where(sizes > 0, sizes, typical)


def _only(g: Values, places: Values) -> Values:
    """A mask of g's shape for these places."""
    mask: Values = numpy.zeros(g.shape, dtype=bool)
    mask.reshape(-1)[places] = True
    return mask


def _curve(found: Difference, path: Iterable[tuple[float, float]]) -> tuple[tuple[float, float], ...]:
    """The error against the step: what each plain difference gives, against the given gradient."""
    return tuple((h, abs(estimate - found.analytic)) for h, estimate in path)
