"""The page: explanations as one HTML file that asks nothing of the network, to step through and to change values in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .board import board_of
from .document import document, said_in_both
from .documented import DOCUMENTED
from .explanation import Explanation
from .texts import LANGUAGES, both, check_language

TITLES = {"worked example": "title.worked", "convolution": "title.convolution", "adam": "title.adam"}
"""Titles of lessons that have one in each language."""
SCRIPTS = ("evaluate", "tools", "lesson", "graph", "matrices", "board")


def page(
    explanations: Sequence[Explanation],
    lang: str = "en",
    overview: Sequence[str] = (),
    adam: Sequence[Sequence[float]] = (),
) -> str:
    """One HTML file with these explanations, in both languages; lang: which it opens with.

    overview: documented equations to begin with (D1, D7). adam: the table of the two Adams, which stands behind the
    first explanation. With either the page is the lesson's. Raises UsageError for an unknown language.
    """
    check_language(lang)
    boards = [board_of(explanation) for explanation in explanations]
    headings = both("title.page") if overview or adam else dict.fromkeys(LANGUAGES, explanations[0].title)
    data = {
        **said_in_both(headings, lang),
        "titles": {title: both(key) for title, key in TITLES.items()},
        "documented": {d.number: _documented(d) for d in DOCUMENTED},
        "overview": list(overview),
        "adam": [list(row) for row in adam] or None,
        "boards": boards,
    }
    sections = ['<p class="quiet controls" id="keys"></p>']
    if overview:
        sections.append('<section id="overview"></section>')
    for i in range(len(boards)):
        sections.append(f'<section id="lesson-{i}" class="lesson"></section>')
        if adam and not i:
            sections.append('<section id="adam"></section>')
    return document(data, "\n".join(sections), SCRIPTS)


def _documented(entry: Any) -> dict[str, Any]:
    return {
        "title": {lang: entry.title(lang) for lang in LANGUAGES},
        "documented": entry.documented("mathml"),
        "exact": entry.exact("mathml"),
        "missing": {lang: entry.missing(lang) for lang in LANGUAGES},
    }
