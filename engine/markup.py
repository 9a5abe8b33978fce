"""HTML for notebooks: text, numbers and tables that need nothing from outside and stand on light and dark pages alike.

Colours are laid over the page half transparent and text keeps the page's own colour; styles stand in the elements, so
that nothing of one output reaches another. There are no scripts and no ids.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from typing import Any

import numpy

BLUE, ORANGE, RED, GREEN = "0,102,214", "245,124,0", "220,0,0", "46,160,67"
FAINT = "opacity:.75"
CELL = "padding:2px 8px;vertical-align:top;background:transparent;color:inherit;border:0"
LINE = "1px solid rgba(128,128,128,.35)"


def number(value: Any) -> str:
    """A number to four significant digits; integers and truth values in full."""
    return f"{float(value):.4g}" if numpy.asarray(value).dtype.kind == "f" else str(value)


def text(value: object) -> str:
    """Any text as HTML shows it."""
    return html.escape(str(value))


def code(value: object) -> str:
    """Text in the typewriter's letters."""
    return f'<code style="background:none;color:inherit;padding:0">{text(value)}</code>'


def pre(value: object) -> str:
    """Lines as they are."""
    style = f"margin:4px 0;padding:6px 8px;overflow-x:auto;white-space:pre;border:{LINE};background:none;color:inherit"
    return f'<pre style="{style}">{text(value)}</pre>'


def mark(inner: str, colour: str) -> str:
    """HTML on a patch of a colour, bold, so that the colour is not all that tells it."""
    return f'<strong style="background:rgba({colour},.35);padding:0 4px;border-radius:3px">{inner}</strong>'


def faint(inner: str) -> str:
    """HTML that is beside the point."""
    return f'<span style="{FAINT}">{inner}</span>'


def line(*parts: str) -> str:
    """A line of HTML parts with dots between; empty parts are left out."""
    return f'<div style="margin:2px 0">{" · ".join(part for part in parts if part)}</div>'


def details(summary: str, inner: str, opened: bool = False) -> str:
    """What is shown on demand."""
    state = ' open="open"' if opened else ""
    return f'<details{state} style="margin:2px 0"><summary style="cursor:pointer">{summary}</summary>{inner}</details>'


def block(*parts: str) -> str:
    """A whole representation."""
    return f'<div style="line-height:1.45;font-variant-numeric:tabular-nums">{"".join(parts)}</div>'


def side_by_side(parts: Sequence[str]) -> str:
    """HTML parts beside each other where the page is wide enough, else below each other."""
    boxes = "".join(f'<div style="max-width:100%;overflow-x:auto">{part}</div>' for part in parts)
    return f'<div style="display:flex;flex-wrap:wrap;gap:6px 28px;align-items:flex-start">{boxes}</div>'


def table(caption: str, head: Sequence[str], rows: Iterable[Sequence[str]], right: int = 1) -> str:
    """A table of HTML cells; the first of each row names it. right: from which column on they are flush right."""
    titles = "".join(
        f'<th scope="col" style="{CELL};border-bottom:{LINE};text-align:{_side(i, right)}">{title}</th>'
        for i, title in enumerate(head)
    )
    body = "".join(f"<tr>{_row(row, right)}</tr>" for row in rows)
    return framed(caption, f"<thead><tr>{titles}</tr></thead><tbody>{body}</tbody>")


def framed(caption: str, inner: str) -> str:
    """A table's rows with its caption, which scroll where the page is narrow."""
    start = '<table style="border-collapse:collapse;table-layout:auto;margin:4px 0;border:0;font-size:inherit">'
    over = (
        f'<caption style="caption-side:top;text-align:left;color:inherit;padding:0 0 2px;{FAINT}">{caption}</caption>'
    )
    return f'<div style="overflow-x:auto">{start}{over}{inner}</table></div>'


def _row(row: Sequence[str], right: int) -> str:
    first, *others = row
    cells = "".join(f'<td style="{CELL};text-align:{_side(i, right)}">{cell}</td>' for i, cell in enumerate(others, 1))
    return f'<th scope="row" style="{CELL};font-weight:600;text-align:{_side(0, right)}">{first}</th>{cells}'


def _side(column: int, right: int) -> str:
    return "right" if column >= right else "left"
