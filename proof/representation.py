"""A gradient report in a notebook."""

from __future__ import annotations

from ..engine.markup import GREEN, ORANGE, RED, block, code, details, faint, line, mark, number, pre, table, text
from .report import Difference, Report, Verdict

OPEN = (Verdict.KINK, Verdict.PRECISION, Verdict.UNDECIDED)
"""Verdicts that find no error, and yet prove nothing everywhere."""

MOST_KINKS = 5


def report_html(report: Report) -> str:
    """The verdict, what was checked, the worst difference, and code that gives it again."""
    colour, sign = (GREEN, "✓") if report.proven else (ORANGE, "?") if report.verdict in OPEN else (RED, "✗")
    verdict = mark(f"{sign} {text(report.verdict.upper())}", colour)
    head = line(f"{verdict} gradient of {code(report.name)}", text(report.detail))
    done = ", ".join(report.checks) or "nothing"
    checked = line(
        f"checked: {text(done)}", text(report.dtype), f"order {report.order}", f"seed {report.seed}",
        f"{report.evaluations:,} evaluations", f"{report.seconds:.2f} s",
    )  # fmt: skip
    again = ""
    if report.reproduce:
        again = details("code to reproduce", pre(report.reproduce), opened=not report.proven)
    return block(head, checked, _differences(report), again)


def _differences(report: Report) -> str:
    rows = [_row("worst", report.worst)] if report.worst is not None else []
    rows += [_row("kink", kink) for kink in report.kinks[:MOST_KINKS]]
    titles = ["", "where", "given", "numeric", "off by", "relative", "rounding explains", "h", "from left, right"]
    if not any(row[-1] for row in rows):
        titles, rows = titles[:-1], [row[:-1] for row in rows]
    more = len(report.kinks) - MOST_KINKS
    rest = line(faint(f"and {more:,} more kinks")) if more > 0 else ""
    return table("differences from the numerical derivative", titles, rows, right=2) + rest if rows else ""


def _row(what: str, found: Difference) -> list[str]:
    where = f"argument {found.argument} " + (str(list(found.index)) if found.index else "(a direction)")
    sides = ", ".join(map(number, found.one_sided)) if found.one_sided else ""
    numbers = (f"{found.absolute:.2g}", f"{found.relative:.2g}", f"{found.bound:.1g}", f"{found.step:.1g}")
    return [what, where, f"{found.analytic:.10g}", f"{found.numeric:.10g}", *numbers, sides]
