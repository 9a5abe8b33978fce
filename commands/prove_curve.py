"""The error of a numerical derivative against its step, and the drawing of it: for the page of `chalkgrad prove`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
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

WIDTH, HEIGHT = 440, 260
LEFT, RIGHT, TOP, BOTTOM = 54, 428, 12, 212
LOG_H = (-14.5, -0.5)
LOG_ERROR = (-17.5, 1.5)


# The error against the step


@dataclass(frozen=True)
class Curve:
    """(h, relative error) of plain central differences; rounding: ε/h times this is what rounding can do.

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
    return errors, float(numpy.abs(u * y).sum()) / slope, None if exact is None else abs(exact - slope) / slope


def _mean(values: Sequence[float]) -> float:
    return math.sqrt(sum(value**2 for value in values) / len(values))


def curve_of(report: Report) -> Curve | None:
    """The curve that a report of a wrong gradient brings along: differences against the given gradient."""
    if not report.curve or report.worst is None or not report.worst.numeric:
        return None
    size = abs(report.worst.numeric)
    points = tuple((h, error / size) for h, error in report.curve if h >= 1e-14 and math.isfinite(error))
    return Curve(report.name, points, wrong=True) if points else None


# The drawing


def draw(curve: Curve, number: int) -> str:
    """The curve as inline SVG, on logarithmic axes; `number` keeps its ids apart from those of others."""
    marks = " ".join(f"{_x(h):.1f},{_y(error):.1f}" for h, error in curve.points)
    h, error = curve.best
    best = f'<circle class="best" cx="{_x(h):.1f}" cy="{_y(error):.1f}" r="5"/>' if curve.truncates else ""
    ends = f"from {_power(curve.points[0][1])} at h = {_power(curve.points[0][0])}"
    return f"""<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-labelledby="t{number} d{number}">
<title id="t{number}">Error of the numerical derivative of {escape(curve.of)} against the step h</title>
<desc id="d{number}">Relative error {ends} down to {_power(error)} at h = {_power(h)}, up to \
{_power(curve.points[-1][1])} at h = {_power(curve.points[-1][0])}.</desc>
<clipPath id="c{number}"><rect x="{LEFT}" y="{TOP}" width="{RIGHT - LEFT}" height="{BOTTOM - TOP}"/></clipPath>
{_axes()}
<g clip-path="url(#c{number})">{_guides(curve)}{_complex_line(curve)}
<polyline class="curve" points="{marks}"/>{_dots(curve)}
{best}</g>
</svg>"""


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


def _axes() -> str:
    lines = [f'<rect class="frame" x="{LEFT}" y="{TOP}" width="{RIGHT - LEFT}" height="{BOTTOM - TOP}"/>']
    for k in range(-14, 0, 2):
        x = _x(10.0**k)
        lines.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{BOTTOM}"/>')
        lines.append(f'<text x="{x:.1f}" y="{BOTTOM + 17}" text-anchor="middle">{_ten_to(k)}</text>')
    for k in range(-16, 1, 4):
        y = _y(10.0**k)
        lines.append(f'<line class="grid" x1="{LEFT}" x2="{RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        lines.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{_ten_to(k)}</text>')
    middle = (TOP + BOTTOM) / 2
    lines.append(f'<text x="{(LEFT + RIGHT) / 2}" y="{HEIGHT - 8}" text-anchor="middle">step size h</text>')
    lines.append(f'<text transform="translate(13 {middle}) rotate(-90)" text-anchor="middle">relative error</text>')
    return "\n".join(lines)


def _guides(curve: Curve) -> str:
    """Dashed lines of slope 2 and -1: what truncation and rounding alone would give."""
    eps = float(numpy.finfo("float64").eps)
    lines = ""
    if curve.truncates:
        h, error = curve.points[0]
        lines += _line(h, error, 1e-9, error * (1e-9 / h) ** 2) + _label(3e-4, error * (3e-4 / h) ** 2, "∝ h²", 10, 4)
    if curve.rounding:
        scale = eps * curve.rounding
        lines += _line(0.1, scale / 0.1, 1e-14, scale / 1e-14) + _label(1e-11, scale / 1e-11, "∝ 1/h", 8, -8)
    return lines


def _line(h: float, error: float, other_h: float, other_error: float) -> str:
    return (
        f'<line class="guide" x1="{_x(h):.1f}" y1="{_y(error):.1f}" x2="{_x(other_h):.1f}" y2="{_y(other_error):.1f}"/>'
    )


def _label(h: float, error: float, text: str, right: int, down: int) -> str:
    return f'<text class="note" x="{_x(h) + right:.1f}" y="{_y(error) + down:.1f}">{text}</text>'


def _complex_line(curve: Curve) -> str:
    if curve.complex_error is None:
        return ""
    y = _y(curve.complex_error)
    line = f'<line class="complex" x1="{LEFT}" x2="{RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
    return f'{line}<text class="complex-note" x="{LEFT + 6}" y="{y - 5:.1f}">complex step</text>'


def _dots(curve: Curve) -> str:
    return "".join(f'<circle class="dot" cx="{_x(h):.1f}" cy="{_y(error):.1f}" r="2"/>' for h, error in curve.points)


def _x(h: float) -> float:
    low, high = LOG_H
    return LEFT + (math.log10(h) - low) / (high - low) * (RIGHT - LEFT)


def _y(error: float) -> float:
    low, high = LOG_ERROR
    return BOTTOM - (math.log10(max(error, FLOOR)) - low) / (high - low) * (BOTTOM - TOP)


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
