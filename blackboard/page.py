"""The page: explanations as one HTML file that asks nothing of the network, to step through and to change values in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .board import board_of
from .document import document, said_in_both
from .documented import DOCUMENTED
from .explanation import Explanation
from .texts import LANGUAGES, both, check_language
from .worked import AdamStep, adam_steps, convolution_example, worked_example

TITLES = {"worked example": "title.worked", "convolution": "title.convolution", "adam": "title.adam"}
"""Titles of lessons that have one in each language."""
SCRIPTS = ("evaluate", "tools", "lesson", "graph", "matrices", "board")


def page(explanations: Sequence[Explanation], lang: str = "en", heading: str = "", lesson: bool = False) -> str:
    """One HTML file with these explanations, in both languages; lang: which it opens with.

    lesson: with the documented equations that no step shows (D1, D7), and the two Adams (D4-D6).
    Raises UsageError for an unknown language.
    """
    check_language(lang)
    boards = [_board(explanation) for explanation in explanations]
    title = heading or explanations[0].title
    headings = both("title.page") if lesson else dict.fromkeys(LANGUAGES, title)
    data = {
        **said_in_both(headings, lang),
        "titles": {title: both(key) for title, key in TITLES.items()},
        "documented": {d.number: _documented(d) for d in DOCUMENTED},
        "overview": ["D1", "D7"] if lesson else [],
        "adam": _adam(adam_steps(False), adam_steps(True)) if lesson else None,
        "boards": boards,
    }
    sections = ['<p class="quiet controls" id="keys"></p>']
    if lesson:
        sections.append('<section id="overview"></section>')
    for i in range(len(boards)):
        sections.append(f'<section id="lesson-{i}" class="lesson"></section>')
        if lesson and not i:
            sections.append('<section id="adam"></section>')
    return document(data, "\n".join(sections), SCRIPTS)


def lesson_page(step: int = 0, lang: str = "en") -> str:
    """The default lesson: the worked example after `step` updates, the two Adams, and a small convolution."""
    return page([worked_example(step), convolution_example()], lang, lesson=True)


def _board(explanation: Explanation) -> dict[str, Any]:
    board = board_of(explanation)
    first: dict[str, int] = {}
    steps = [(q, "forward") for q in (s["result"] for s in board["forward"])]
    steps += [(b["operand"], "backward") for b in board["backward"]]
    known = {q["id"]: q for q in board["quantities"]}
    for n, (name, way) in enumerate(steps):
        for number in known[name][way].split(", "):
            first.setdefault(number, n)
    for number in ("D4", "D5", "D6") if board["optimizer"].startswith("Adam") else ("D3", "D17"):
        first.setdefault(number, len(steps))
    board["documents"] = first if explanation.kind == "model" or "D2" in first else {}
    return board


def _documented(entry: Any) -> dict[str, Any]:
    return {
        "title": {lang: entry.title(lang) for lang in LANGUAGES},
        "documented": entry.documented("mathml"),
        "exact": entry.exact("mathml"),
        "missing": {lang: entry.missing(lang) for lang in LANGUAGES},
    }


def _adam(written: Sequence[AdamStep], corrected: Sequence[AdamStep]) -> list[list[float]]:
    return [
        [a.t, a.m, a.v, a.change, b.change, a.change / b.change, a.loss, b.loss]
        for a, b in zip(written, corrected, strict=True)
    ]
