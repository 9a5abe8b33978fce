"""The error of a numerical derivative against its step, and the drawing of it: for the page of `chalkgrad prove`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy

from ..engine.primitive import Primitive
from ..proof.cases import Case, cases
from ..proof.numerics import complex_step
from ..proof.report import Report
from ..proof.subject import OfTensors, Pull, Values

STEPS = tuple(10.0 ** (-k / 2) for k in range(2, 29))
"""The steps h that the error is drawn at: 10^-1 … 10^-14."""

DRAWS = 8
"""The random incoming gradients that the error is averaged over."""

FLOOR = 1e-17
"""An error of zero is drawn as this."""

LEFT, RIGHT, TOP, BOTTOM = 54, 428, 12, 212
LOG_H = (-14.5, -0.5)
LOG_ERROR = (-17.5, 1.5)
"""Where the drawing lies, and the powers of ten at its edges."""


# The error against the step


@dataclass(frozen=True)
class Curve:
    """(h, relative error) of plain central differences; rounding / h is what rounding can do.

    of: what was differenced. complex_error: that of the complex step, where it was taken. wrong: against a gradient
    that is not the derivative, so that the error stays at every step.
    """

    of: str
    points: tuple[tuple[float, float], ...]
    rounding: float = 0.0
    complex_error: float | None = None
    wrong: bool = False

    @property
    def best(self) -> tuple[float, float]:
        """The point with the smallest error; among equals the one with the largest step."""
        return min(self.points, key=lambda point: (point[1], -point[0]))

    @property
    def truncates(self) -> bool:
        """Whether the largest step errs by more than rounding, and by what falls with h²."""
        return self.points[0][1] > 1e-12 and not self.jumps and not self.wrong

    @property
    def jumps(self) -> bool:
        """Whether the error drops all at once, as where steps no longer reach over a kink."""
        errors = [error for h, error in self.points if h > 1e-5]
        return any(wide > 1e-9 and wide > 1e3 * near for wide, near in pairwise(errors))


def representative(primitive: Primitive, seed: int = 0) -> Case:
    """The float64 case with the most elements to differentiate."""
    return max(cases(primitive, seed), key=lambda case: sum(x.size for x in case.inputs))


def error_curve(case: Case, seed: int = 0) -> Curve | None:
    """How far the central difference of ⟨u, f⟩ at each step is from the gradient; None where the gradient is zero.

    The root mean square over some random u, so that no lucky draw looks like a good step. All inputs move at once,
    each element by about h and to where ⟨u, f⟩ grows, so that no terms cancel.
    """
    rng = numpy.random.default_rng(seed)
    with numpy.errstate(all="ignore"):
        y, pull = OfTensors(case.call, case.label).linearize(*case.inputs)
        draws = [draw for _ in range(DRAWS) if (draw := _errors(case, y, pull, rng)) is not None]
    if not draws:
        return None
    errors, roundings, exact = zip(*draws, strict=True)
    means = [(h, _mean(column)) for h, column in zip(STEPS, zip(*errors, strict=True), strict=True)]
    points = tuple((h, error) for h, error in means if math.isfinite(error))
    return Curve(case.label, points, _mean(roundings), _mean(exact) if None not in exact else None) if points else None


def _errors(
    case: Case, y: Values, pull: Pull, rng: numpy.random.Generator
) -> tuple[list[float], float, float | None] | None:
    """For one u: the relative error at each step, what rounding contributes, and that of the complex step."""
    u = numpy.asarray(rng.standard_normal(y.shape))
    gradients = [numpy.zeros(x.shape) if g is None else g for g, x in zip(pull(u), case.inputs, strict=True)]
    directions = [numpy.where(g < 0, -1.0, 1.0) * rng.uniform(0.5, 1.0, g.shape) for g in gradients]
    slope = sum(float((g * v).sum()) for g, v in zip(gradients, directions, strict=True))
    if not slope:
        return None

    def moved(t: complex) -> Values:
        return case.kernel(*(x + t * v for x, v in zip(case.inputs, directions, strict=True)))

    errors = [abs(float((u * (moved(h) - moved(-h))).sum()) / (2 * h) - slope) / slope for h in STEPS]
    exact = complex_step(moved, u) if case.primitive.analytic else None
    rounding = float(numpy.finfo("float64").eps * numpy.abs(u * y).sum()) / slope
    return errors, rounding, None if exact is None else abs(exact - slope) / slope


def _mean(values: Sequence[float]) -> float:
    return math.sqrt(sum(value**2 for value in values) / len(values))


def curve_of(report: Report) -> Curve | None:
    """The curve that a report of a wrong gradient brings along: differences against the given gradient."""
    if not report.curve or report.worst is None or not report.worst.numeric:
        return None
    size = abs(report.worst.numeric)
    points = tuple((h, error / size) for h, error in report.curve if h >= 1e-14 and math.isfinite(error))
    return Curve(report.name, points, wrong=True) if points else None


def explain(curve: Curve) -> str:
    """What the drawing shows, in one or two sentences."""
    h, error = curve.best
    if curve.wrong:
        text = (
            f"At no step does the difference come nearer to the given gradient than {_power(error)}: "
            "it is the gradient that is off, not the step."
        )
    elif curve.jumps:
        text = (
            "The widest steps reach over a kink and err whatever their size; below, there is only rounding, "
            "which grows with 1/h."
        )
    elif not curve.truncates:
        text = (
            "Near these inputs it is of degree two at most, so a central difference truncates nothing: "
            "there is only rounding, which grows with 1/h."
        )
    else:
        text = (
            f"Truncation falls with h², rounding grows with 1/h: the best step, here {_power(h)}, "
            f"still errs by {_power(error)}, and every other by more."
        )
    if curve.complex_error is not None:
        least = "nothing at all" if not curve.complex_error else _power(curve.complex_error)
        text += f" The complex step subtracts nothing, so its h can be 10⁻²⁰: it errs by {least}."
    return text


def _x(h: float) -> float:
    low, high = LOG_H
    return round(LEFT + (math.log10(h) - low) / (high - low) * (RIGHT - LEFT), 1)


def _y(error: float) -> float:
    low, high = LOG_ERROR
    return round(BOTTOM - (math.log10(max(error, FLOOR)) - low) / (high - low) * (BOTTOM - TOP), 1)


def _ten_to(power: int) -> str:
    return "1" if not power else "10" + str(power).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))


def _power(number: float) -> str:
    """A number to one digit: 3·10⁻⁶."""
    if not number or not math.isfinite(number):
        return "0" if not number else str(number)
    digit, _, power = f"{number:.0e}".partition("e")
    if -2 <= int(power) <= 1:
        return f"{number:.1g}"
    return (f"{digit}·" if digit != "1" else "") + _ten_to(int(power))


DRAWING = {
    "x": _x, "y": _y, "power": _power, "ten_to": _ten_to, "explain": explain,
    "left": LOG_H[0], "right": LOG_H[1], "bottom": LOG_ERROR[0], "top": LOG_ERROR[1],
}  # fmt: skip
"""What the page's template draws a curve with."""
