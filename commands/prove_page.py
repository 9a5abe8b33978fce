"""The page of `chalkgrad prove --html`: one file that asks nothing of the network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from ..engine.primitive import Primitive
from ..proof.report import Report
from .prove_curve import curve_of, draw, error_curve, explain, representative
from .prove_results import EQUATION_CHECK, Proof, error_to_bound, headline


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
        f'<td class="number">{escape(proof.row[4])}</td><td class="number">{escape(proof.row[5])}</td>'
        f"<td>{_chip(proof.verdict, not proof.failures)}</td></tr>"
        for number, proof in enumerate(proofs)
    )
    head = _head("name", "equation", "proven", "worst error / its bound", "worst ulp / bound", "verdict")
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
        curve = curve_of(proof.reports[0])
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
        exact = "".join(f"<div>{escape(str(one))}</div>" for one in report.exactness)
        return f'<tr><th scope="row" colspan="5">equation, code and rules at 50 digits{exact}</th><td>{chip}</td></tr>'
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
