"""The page of `chalkgrad prove --html`: one file that asks nothing of the network."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise

import numpy

from ..engine.primitive import Primitive
from ..proof.cases import Case, cases
from ..proof.numerics import complex_step
from ..proof.report import Report
from ..proof.subject import OfTensors, Pull, Values
from .prove import EQUATION_CHECK, Proof, error_to_bound, headline

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


# The page


def page(proofs: Sequence[Proof], versions: Mapping[str, str], seed: int, seconds: float) -> str:
    """The whole page."""
    sections = "\n".join(_section(proof, number, seed) for number, proof in enumerate(proofs))
    made = ", ".join(f"{escape(name)} {escape(version)}" for name, version in versions.items())
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>chalkgrad: {escape(headline(proofs))}</title>
<link rel="icon" href="data:,">
<style>{STYLE}</style>
</head>
<body>
<header>
<p class="over">chalkgrad prove</p>
<h1>{escape(headline(proofs))}</h1>
<p class="made">Seed {seed}, {seconds:.1f} s. {made}.</p>
</header>
<main>
{HOW}
{_failures(proofs)}
{_overview(proofs)}
{sections}
</main>
</body>
</html>
"""


def _overview(proofs: Sequence[Proof]) -> str:
    rows = "\n".join(
        f'<tr><th scope="row"><a href="#s{number}">{escape(proof.name)}</a></th>'
        f'<td><code>{escape(_equation(proof))}</code></td><td class="number">{escape(proof.row[1])}</td>'
        f'<td class="number">{escape(proof.row[4])}</td><td>{_chip(proof.verdict, not proof.failures)}</td></tr>'
        for number, proof in enumerate(proofs)
    )
    head = _head("name", "equation", "proven", "worst error / its bound", "verdict")
    table = _scrolling("overview", f"{head}<tbody>{rows}</tbody>")
    return f'<section class="overview"><h2>Overview</h2>{table}</section>'


def _failures(proofs: Sequence[Proof]) -> str:
    found = [report for proof in proofs for report in proof.failures]
    if not found:
        return ""
    texts = "\n".join(_failure(report, opened=number < 3) for number, report in enumerate(found))
    return f'<section class="failures"><h2>Not proven</h2>{texts}</section>'


def _failure(report: Report, opened: bool) -> str:
    title, _, text = str(report).partition("\n")
    return f"<details{' open' if opened else ''}><summary>{escape(title)}</summary><pre>{escape(text)}</pre></details>"


def _section(proof: Proof, number: int, seed: int) -> str:
    target = proof.target
    parts = [f'<section><h2 id="s{number}">{escape(proof.name)} {_chip(proof.verdict, not proof.failures)}</h2>']
    curve = None
    if isinstance(target, Primitive):
        parts.append(f"<p>{escape(_summary_line(target))}</p>{_equations(target)}")
        curve = error_curve(representative(target, seed), seed) if target.rules else None
    else:
        parts.append(f"<pre>{escape(str(proof.reports[0]))}</pre>")
        curve = _curve_of(proof.reports[0])
    if curve is not None:
        words = escape(explain(curve))
        of = f"<code>{escape(curve.of)}</code>"
        parts.append(f"<figure>{draw(curve, number)}<figcaption>{of}: {words}</figcaption></figure>")
    if isinstance(target, Primitive):
        parts.append(_cases(proof))
    return "\n".join([*parts, "</section>"])


def _summary_line(primitive: Primitive) -> str:
    return (primitive.__doc__ or "").strip().partition("\n")[0]


def _equation(proof: Proof) -> str:
    return proof.target.text if isinstance(proof.target, Primitive) else "a function of yours"


def _equations(primitive: Primitive) -> str:
    lines = [f"<dt>equation</dt><dd><code>{escape(primitive.text)}</code></dd>"]
    lines += [
        f"<dt>gradient in {escape(name)}</dt><dd><code>{escape(rule.text)}</code></dd>"
        for name, rule in primitive.rules.items()
    ]
    if not primitive.rules:
        lines.append("<dt>gradient</dt><dd>none: it is proven by its equation alone</dd>")
    if primitive.kink:
        lines.append(f"<dt>kink where</dt><dd><code>{escape(primitive.kink)} = 0</code></dd>")
    return f"<dl>{''.join(lines)}</dl>"


def _curve_of(report: Report) -> Curve | None:
    """The curve that a report of a wrong gradient brings along: differences against the given gradient."""
    if not report.curve or report.worst is None or not report.worst.numeric:
        return None
    size = abs(report.worst.numeric)
    points = tuple((h, error / size) for h, error in report.curve if h >= 1e-14 and math.isfinite(error))
    return Curve(report.name, points, wrong=True) if points else None


def _cases(proof: Proof) -> str:
    rows = "\n".join(_case(report) for report in proof.reports)
    head = _head("case", "dtype", "order", "error / its bound", "evaluations", "verdict")
    opened = " open" if proof.failures else ""
    count = f"{len(proof.reports)} proof{'' if len(proof.reports) == 1 else 's'}"
    table = _scrolling(f"proofs of {proof.name}", f"{head}<tbody>{rows}</tbody>")
    return f"<details{opened}><summary>{count}, one by one</summary>{table}</details>"


def _case(report: Report) -> str:
    chip = _chip(str(report.verdict), report.proven)
    if report.checks == (EQUATION_CHECK,):
        return f'<tr><th scope="row" colspan="5">equation, code and rules at 50 digits</th><td>{chip}</td></tr>'
    ratio = error_to_bound(report)
    worst = "–" if ratio is None else f"{ratio:.2g}"
    return (
        f'<tr><th scope="row"><code>{escape(report.name)}</code></th><td>{report.dtype}</td>'
        f'<td class="number">{report.order}</td><td class="number">{worst}</td>'
        f'<td class="number">{report.evaluations}</td><td>{chip}</td></tr>'
    )


def _head(*titles: str) -> str:
    return "<thead><tr>" + "".join(f'<th scope="col">{title}</th>' for title in titles) + "</tr></thead>"


def _scrolling(label: str, table: str) -> str:
    """A table that scrolls by itself where the page is narrow, also by the keyboard."""
    return f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(label)}"><table>{table}</table></div>'


def _chip(text: str, good: bool) -> str:
    return f'<span class="chip {"good" if good else "bad"}">{"✓" if good else "✗"} {escape(text)}</span>'


HOW = """<details class="how"><summary>What a proof is</summary>
<p>A primitive states its equation, and each gradient rule its own. The equation is evaluated at 50 digits with dual
numbers: code, rule and the rule’s equation must all give its value and its derivative.</p>
<p>Then every case, in every memory layout, dtype and order: the gradient pulled back from a random incoming gradient u
against the numerical derivative of ⟨u, f⟩ along random directions, by central differences extrapolated to h = 0 or by
the complex step. “Error / its bound” is their difference in units of what rounding explains: above 1 it is not proven.
Order 2 proves the gradient’s own gradient.</p>
<p>The drawings show why one difference at one step would not do.</p></details>"""

STYLE = """
:root { --paper: #fbfaf6; --ink: #22262b; --soft: #5d646c; --line: #d9d6cc; --panel: #f1efe7; --link: #1c5d99;
  --curve: #1c5d99; --complex: #a04a00; --good: #1d6b36; --bad: #b3201b; }
@media (prefers-color-scheme: dark) {
  :root { --paper: #1b2320; --ink: #e9ebe4; --soft: #a9b3ac; --line: #3a4641; --panel: #232d29; --link: #9ccbf5;
    --curve: #9ccbf5; --complex: #f2b56b; --good: #8fd6a0; --bad: #ff9c92; } }
* { box-sizing: border-box; }
html { color-scheme: light dark; }
body { margin: 0 auto; max-width: 58rem; padding: 1.5rem 1rem 4rem; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; }
h1 { font-size: clamp(1.4rem, 4vw, 2rem); line-height: 1.2; margin: .2rem 0 .5rem; }
h2 { font-size: 1.2rem; margin: 0 0 .5rem; overflow-wrap: anywhere; scroll-margin-top: 1rem; }
.over, .made { color: var(--soft); margin: 0; }
section { border-top: 1px solid var(--line); padding: 1.5rem 0 0; margin-top: 1.5rem; }
a { color: var(--link); }
code, pre { font-family: ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; font-size: .9em; }
td code, dd code, th code, figcaption code { overflow-wrap: anywhere; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; background: var(--panel); padding: .75rem; border-radius: 6px; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .25rem 1rem; margin: .75rem 0; }
dt { color: var(--soft); }
dd { margin: 0; min-width: 0; }
.scroll { overflow-x: auto; margin: .75rem 0; }
table { border-collapse: collapse; width: 100%; font-size: .92rem; }
th, td { text-align: left; padding: .3rem .75rem .3rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
thead th { color: var(--soft); font-weight: 600; vertical-align: bottom; }
tbody th { font-weight: 500; }
td.number { font-variant-numeric: tabular-nums; white-space: nowrap; }
.chip { font-size: .85rem; font-weight: 600; white-space: nowrap; }
.good { color: var(--good); }
.bad { color: var(--bad); }
.failures pre { border-left: 4px solid var(--bad); }
summary { cursor: pointer; color: var(--link); padding: .25rem 0; }
:focus-visible { outline: 2px solid var(--link); outline-offset: 2px; }
figure { margin: 1rem 0; display: flex; flex-wrap: wrap; gap: .5rem 1.5rem; align-items: center; }
figure svg { flex: 1 1 300px; max-width: 440px; min-width: 0; height: auto; }
figcaption { flex: 1 1 14rem; color: var(--soft); font-size: .92rem; }
figcaption code { color: var(--ink); }
svg text { font: 12px system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; fill: var(--soft); }
.frame { fill: var(--panel); stroke: var(--line); }
.grid { stroke: var(--line); }
.guide { stroke: var(--soft); stroke-dasharray: 4 4; }
.complex { stroke: var(--complex); stroke-width: 2; }
svg text.complex-note { fill: var(--complex); }
.curve { fill: none; stroke: var(--curve); stroke-width: 2; stroke-linejoin: round; }
.dot { fill: var(--curve); }
.best { fill: var(--paper); stroke: var(--curve); stroke-width: 2; }
@media (max-width: 32rem) {
  .overview td:nth-child(2), .overview th:nth-child(2) { display: none; }
  dl { grid-template-columns: 1fr; }
  dt { margin-top: .4rem; }
  th, td { padding-right: .5rem; } }
"""
