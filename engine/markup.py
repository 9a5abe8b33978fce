"""HTML by templates, which escape what is put into them; those of notebooks are made of the pieces of `pieces.html`.

A notebook's output needs nothing from outside and stands on light and dark pages alike: colours are laid over the page
half transparent, text keeps the page's own colour, and styles stand in the elements, so that nothing of one output
reaches another. There are no scripts and no ids.
"""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

import numpy

if TYPE_CHECKING:
    from jinja2 import Environment

COLOURS = {"BLUE": "0,102,214", "ORANGE": "245,124,0", "RED": "220,0,0", "GREEN": "46,160,67"}
"""By the names that templates use."""


def rendered(template: str, **values: Any) -> str:
    """A template of the package, `engine/tensor.html`, filled in; what is no HTML is not escaped."""
    return _environment().get_template(template).render(values).strip()


def number(value: Any) -> str:
    """A number to four significant digits; integers and truth values in full."""
    return f"{float(value):.4g}" if numpy.asarray(value).dtype.kind == "f" else str(value)


@cache
def _environment() -> Environment:
    from jinja2 import (  # not before there is something to show
        Environment,
        FunctionLoader,
        StrictUndefined,
        select_autoescape,
    )

    environment = Environment(
        loader=FunctionLoader(_source), autoescape=select_autoescape(), undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    environment.globals.update(COLOURS)
    environment.filters["number"] = number
    return environment


def _source(template: str) -> str:
    return (resources.files(__package__.partition(".")[0]) / template).read_text("utf-8")
