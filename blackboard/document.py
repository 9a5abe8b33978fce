"""A page as one HTML file in both languages, which asks nothing of the network."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

from ..engine.markup import rendered
from ..equation.javascript import functions
from .texts import TEXTS, both


def document(data: Mapping[str, Any], sections: Mapping[str, str], scripts: Sequence[str]) -> str:
    """One HTML file. data: what the scripts show, with what `said_in_both` gives; sections: the classes of each, by id.

    scripts: by name, in their order.
    """
    written = [_file("blackboard", f"{name}.js").replace("{{functions}}", functions()) for name in scripts]
    return _assembled(data, sections, written, _file("blackboard", "base.css") + _file("blackboard", "page.css"))


def assembled(data: Mapping[str, Any], sections: Mapping[str, str], scripts: Sequence[str], style: str) -> str:
    """The same of scripts and a style as texts; the pages' common style stands before that."""
    return _assembled(data, sections, scripts, web_file("blackboard", "base.css") + style)


def _assembled(data: Mapping[str, Any], sections: Mapping[str, str], scripts: Sequence[str], style: str) -> str:
    return rendered(
        "blackboard/web/page.html", title=data["heading"][data["lang"]], style=style, sections=sections,
        scripts=scripts, data=embedded(data),
    )  # fmt: skip


def said_in_both(heading: Mapping[str, str], lang: str) -> dict[str, Any]:
    """The part of a page's data that says what it is called, and all texts. lang: which language it opens with."""
    return {"lang": lang, "heading": dict(heading), "texts": {key: both(key) for key in TEXTS}}


def embedded(data: Any) -> str:
    """JSON that no markup inside of it can end."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def web_file(room: str, name: str) -> str:
    """A file of the room's `web/` without what is for its readers alone."""
    lines = map(str.strip, _file(room, name).splitlines())
    return "\n".join(line for line in lines if line and not line.startswith("//"))


def _file(room: str, name: str) -> str:
    return (resources.files(__package__.rpartition(".")[0]) / room / "web" / name).read_text("utf-8")
