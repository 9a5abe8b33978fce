"""The page: explanations as one HTML file that asks nothing of the network, to step through and to change values in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .board import board_of
from .document import document, said_in_both
from .documented import DOCUMENTED
from .explanation import Explanation
from .texts import LANGUAGES, both, check_language

TITLES = {"worked example": "title.worked", "convolution": "title.convolution", "adam": "title.adam"}
"""Titles of lessons that have one in each language."""
SCRIPTS = ("tools", "evaluate", "plots", "lesson", "graph", "matrices", "board")


def page(
    explanations: Sequence[Explanation],
    lang: str = "en",
    overview: Sequence[str] = (),
    adam: Mapping[str, Any] | None = None,
) -> str:
    """One HTML file with these explanations, in both languages; lang: which it opens with.

    overview: documented equations that no step shows (D1, D7). adam: the table of the two Adams. They stand behind the
    first explanation. With either the page is the lesson's. Raises UsageError for an unknown language.
    """
    check_language(lang)
    headings = both("title.page") if overview or adam else dict.fromkeys(LANGUAGES, explanations[0].title)
    data = {
        **said_in_both(headings, lang),
        "titles": {title: both(key) for title, key in TITLES.items()},
        "documented": {d.number: documented_forms(d) for d in DOCUMENTED},
        "overview": list(overview),
        "adam": adam,
        "boards": [board_of(explanation) for explanation in explanations],
    }
    lessons = [f"lesson-{i}" for i in range(len(explanations))]
    lessons[1:1] = [name for name, wanted in {"overview": overview, "adam": adam}.items() if wanted]
    sections = {"keys": "quiet controls", **{name: "lesson" if "lesson" in name else "" for name in lessons}}
    return document(data, sections, SCRIPTS)


def documented_forms(entry: Any) -> dict[str, Any]:
    """One of DOCUMENTED as a page has it: title, forms in MathML, and what the document leaves out, by language."""
    return {
        "title": {lang: entry.title(lang) for lang in LANGUAGES},
        "documented": entry.documented("mathml"),
        "exact": entry.exact("mathml"),
        "missing": {lang: entry.missing(lang) for lang in LANGUAGES},
    }
