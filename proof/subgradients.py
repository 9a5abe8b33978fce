"""Kinks: whether what stands there for a gradient is one of f's own slopes, in every direction tried.

At a kink a function has no gradient, but many slopes. Rules of the field give one of them: a subgradient g of a convex
function, ⟨g, d⟩ ≤ the slope along d, for every d; of a concave one, ≥ (Rockafellar 1970). Elements of the input are
asked one by one where they are found; here all that stand on a kink are moved together: max(a, b) at a = b grows by 1
when both do, so that (1, 1) and (0, 0), which pass one by one, are no gradients of it.

Each element of f's value is held to this by itself: where it has kinks, they are its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy

from .numerics import NOISE_STEP, Line
from .point import Found, Point
from .report import Difference, Verdict
from .subject import Values

WIDEST, ROWS = 2.0**-6, 10
"""Slopes to a side are taken at steps of 2^-6 … 2^-24, each a quarter of the one before."""

MOST_VALUES = 16
"""So many elements of f's value are asked, drawn by chance where there are more."""

NEARBY = 2.0**-12
DIRECTIONS = 12


@dataclass(frozen=True)
class Sides:
    """The slopes along a direction to its left and right, one for each element of f's value, and their errors.

    spikes: where f jumps at the point alone, and is the same to both sides of it.
    """

    left: Values
    right: Values
    error: Values
    jumps: Values
    spikes: Values

    @property
    def differ(self) -> Values:
        """Which elements of f's value have a kink, or jump, along the direction."""
        found: Values = (numpy.abs(self.left - self.right) > 4 * self.error) | self.jumps
        return found

    def between(self, u: Values) -> tuple[float, float]:
        """The least and the greatest slope of ⟨u, f⟩ that those of its elements allow."""
        ends = u * self.left, u * self.right
        allowed = 4 * float((numpy.abs(u) * self.error).sum())
        return float(numpy.minimum(*ends).sum()) - allowed, float(numpy.maximum(*ends).sum()) + allowed


class Corners:
    """The kinks that were found at a point: places of the inputs, and the elements of f's value that bend there."""

    def __init__(self, point: Point) -> None:
        self.point = point
        self.places = point.kinked
        self.values: set[int] = set()  # flat positions in f's value

    def add(self, argument: int, shape: tuple[int, ...], places: Values, sides: Sides) -> None:
        """Note a kink."""
        self.places.extend((argument, int(place)) for place in places)
        self.values |= {int(k) for k in numpy.flatnonzero(sides.differ)}

    def sides(self, vs: Sequence[Values | None]) -> Sides:
        """f's slopes along vs, from differences that leave out f at the point itself, where it may jump."""
        line = self.point.along(vs)
        here = self.point.y64.astype("float64")
        noise = numpy.maximum(4 * numpy.finfo(self.point.y64.dtype).eps * numpy.abs(here), _noise(line))
        (left, off_left, start_left), (right, off_right, start_right) = (_side(line, side, noise) for side in (-1, 1))
        gaps = numpy.maximum(numpy.abs(start_left - here), numpy.abs(start_right - here))
        smallest = WIDEST / 4 ** (ROWS - 1)
        slope = numpy.maximum(numpy.abs(left), numpy.abs(right))
        error = off_left + off_right
        allowed = 64 * noise + 64 * smallest * slope + 1e3 * WIDEST * error
        apart = (numpy.abs(start_left - start_right) > allowed) | (numpy.abs(left - right) > 4 * error)
        return Sides(left, right, error, gaps > allowed, (gaps > allowed) & ~apart)

    def check(self) -> None:
        """Raise Found where the gradient is none of f's slopes in a direction that moves the kinks together."""
        if len(self.places) < 2:
            return
        point = self.point
        values = sorted(self.values)
        if len(values) > MOST_VALUES:
            values = sorted(int(k) for k in point.rng.choice(values, MOST_VALUES, replace=False))
        rows = self.rows(point.pull, values)
        bends: dict[int, list[tuple[float, float]]] = {k: [] for k in values}
        outside = []
        for d in self.directions(rows, values):
            sides = self.sides(self.spread(d))
            for k, row in zip(values, rows, strict=True):
                left, right = float(sides.left.flat[k]), float(sides.right.flat[k])
                terms = row * d
                allowed = 4 * float(sides.error.flat[k]) + 64 * float(
                    numpy.finfo(point.y.dtype).eps * (numpy.abs(terms).sum() + abs(left) + abs(right))
                )
                bends[k].append((right - left, allowed))
                given = float(terms.sum())
                if not min(left, right) - allowed <= given <= max(left, right) + allowed:
                    outside.append((k, d, given, left, right, allowed))
        for k, d, given, left, right, allowed in outside:
            low, high = self.nearby(k, d, min(left, right), max(left, right))
            if low - allowed <= given <= high + allowed:
                continue
            self.tell(k, given, left, right, allowed, bends[k])

    def tell(
        self, k: int, given: float, left: float, right: float, allowed: float, bends: list[tuple[float, float]]
    ) -> None:
        """Raise Found: wrong where f is convex or concave in all directions tried, else undecided."""
        index = [int(n) for n in numpy.unravel_index(k, self.point.y.shape)]
        what = f"value {index}" if index else "the value"
        nearest = min((left, right), key=lambda slope: abs(slope - given))
        difference = Difference(self.places[0][0], (), given, nearest, allowed, WIDEST, (left, right))
        detail = (
            f"at the kink of {what} the gradient gives {given:.6g} in a direction that moves its {len(self.places)} "
            f"elements together, where the slope is {left:.6g} from the left and {right:.6g} from the right"
        )
        convex = all(bend >= -off for bend, off in bends)
        concave = all(bend <= off for bend, off in bends)
        if convex or concave:
            self.point.repeatable(3)
            raise Found(Verdict.WRONG, detail, difference)
        raise Found(Verdict.UNDECIDED, detail + "; f is neither convex nor concave there", difference)

    # Where to look

    def spread(self, d: Values) -> list[Values | None]:
        """The direction d of the elements on kinks as one of the inputs, in powers of 2, so that steps are exact."""
        point = self.point
        size = max(abs(float(point.exact[i].flat[place])) for i, place in self.places)
        unit = 2.0 ** int(numpy.floor(numpy.log2(min(size, 1e300)))) if size > 0 else 1.0
        found: list[Values | None] = [None] * len(point.xs)
        for (i, place), step in zip(self.places, d, strict=True):
            v = found[i]
            if v is None:
                v = found[i] = numpy.zeros(point.exact[i].shape)
            v.reshape(-1)[place] = step * unit
        self.unit = unit
        return found

    def rows(self, pull: object, values: Sequence[int]) -> list[Values]:
        """The gradient of each of the values, in the elements on kinks, and per unit of `spread`."""
        point = self.point
        self.spread(numpy.zeros(len(self.places)))
        found = []
        for k in values:
            gy = numpy.zeros(point.y.shape, point.y.dtype)
            gy.reshape(-1)[k] = 1
            gradients = point.pulled(pull, gy)
            found.append(numpy.array([float(gradients[i].flat[place]) for i, place in self.places]) * self.unit)
        return found

    def directions(self, rows: list[Values], values: Sequence[int]) -> Iterator[Values]:
        """All alike, random ones, and for each value the one that parts its gradient from those of points nearby."""
        rng, count = self.point.rng, len(self.places)
        yield numpy.ones(count)
        for _ in range(DIRECTIONS):
            yield rng.choice([-1.0, 1.0], count)
            yield _rounded(rng.standard_normal(count))
        around = []
        for _ in range(min(8 + 2 * count, 32)):
            vs = self.spread(_rounded(rng.standard_normal(count)))
            moved = (x if v is None else x + NEARBY * v for x, v in zip(self.point.exact, vs, strict=True))
            xs = tuple(m.astype(x.dtype) for m, x in zip(moved, self.point.xs, strict=True))
            with suppress(Found):  # a rule need not stand everything nearby: this only tells where to look
                around.append(self.rows(self.point.linearized(xs)[1], values))
        for row, *nearby in zip(rows, *around, strict=True) if around else ():
            apart = row - _nearest(row, numpy.array(nearby))
            size = float(numpy.abs(apart).max())
            if size > 1e-6 * float(numpy.abs(row).max() + 1e-300):
                yield _rounded(apart / size)

    def nearby(self, k: int, d: Values, low: float, high: float) -> tuple[float, float]:
        """The least and the greatest slope of value k along d at points close by (Clarke 1983), sought one by one."""
        rng, count = self.point.rng, len(self.places)
        line = self.point.along(self.spread(d))

        def slope(w: Values) -> float:
            vs = self.spread(w)
            xs = [x if v is None else x + NEARBY * v for x, v in zip(self.point.exact, vs, strict=True)]
            here = Line(line.value, xs, line.vs)
            h = NEARBY / 64
            ahead, behind = (float(here(t).flat[k]) for t in (h, -h))
            return (ahead - behind) / (2 * h)

        for sign in (1, -1):
            w = numpy.asarray(rng.uniform(0.5, 1.0, count) * rng.choice([-1.0, 1.0], count))
            best = slope(w)
            low, high = min(low, best), max(high, best)
            for _ in range(2):
                for n in range(count):
                    turned = w.copy()
                    turned[n] = -turned[n]
                    found = slope(turned)
                    low, high = min(low, found), max(high, found)
                    if sign * found > sign * best:
                        w, best = turned, found
        slack = 1e-3 * (abs(low) + abs(high))
        return low - slack, high + slack


def _side(line: Line, side: int, noise: Values) -> tuple[Values, Values, Values]:
    """The slopes to one side, their errors, and f at the smallest step."""
    table: list[Values] = []
    slopes, errors = numpy.full(noise.shape, numpy.nan), numpy.full(noise.shape, numpy.inf)
    start = numpy.full(noise.shape, numpy.nan)
    for row in range(ROWS):
        h = WIDEST / 4**row
        start = line(side * h).astype("float64")
        estimates = [(line(side * 2 * h) - start) / (side * h)]
        for column in range(1, min(row, 5) + 1):
            weight = 4.0**column
            estimates.append((weight * estimates[-1] - table[column - 1]) / (weight - 1))
            error = numpy.maximum(numpy.abs(estimates[-1] - estimates[-2]), abs(estimates[-1] - table[column - 1]))
            error = error + 4 * noise / h
            better = error < errors
            slopes, errors = numpy.where(better, estimates[-1], slopes), numpy.where(better, error, errors)
        table = estimates
    return slopes, errors, start


def _noise(line: Line) -> Values:
    """The rounding error of each element of f, measured by fourth differences; see `measured_noise`."""
    worst: Values = numpy.zeros(())
    for side in (1, -1):
        values = numpy.array([line(side * k * NOISE_STEP) for k in range(1, 10)], "float64")
        worst = numpy.maximum(worst, numpy.abs(numpy.diff(values, 4, axis=0)).max(axis=0))
    noise: Values = 3 * numpy.nan_to_num(worst) / numpy.sqrt(70.0)
    return noise


def _rounded(d: Values) -> Values:
    """In eighths of a percent or so, exact in binary."""
    found: Values = numpy.round(d * 128) / 128
    return found


def _nearest(row: Values, nearby: Values) -> Values:
    """The point of the convex hull of the rows `nearby` that is nearest to `row` (Frank & Wolfe 1956)."""
    at: Values = nearby[0]
    for _ in range(100):
        towards = nearby[int(numpy.argmin(nearby @ (at - row)))] - at
        length = float(towards @ towards)
        if not length:
            break
        at = at + min(max(float(towards @ (row - at)) / length, 0.0), 1.0) * towards
    return at
