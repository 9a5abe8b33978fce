"""The equations of the registry in the notation of a blackboard: in symbols, and with the values put in.

One reader serves Unicode, LaTeX and MathML: it walks the equation as `language` has read it, and hands the parts
to a style. With values put in, every sum is written out for one element of the result; the numbers are those of the
arrays it is handed, and nothing is computed.
"""

from __future__ import annotations

from collections.abc import Mapping

from .element import TERMS, Values, element
from .language import Equation
from .printer import Printer
from .styles import Style, Symbol


def in_symbols(
    equation: Equation,
    style: Style | str,
    names: Mapping[str, Symbol] | None = None,
    axes: Mapping[str, int] | None = None,
    sign: str = "=",
    layers: str = "",
) -> str:
    """The equation in symbols. sign: what stands between its sides; "<-" where an update overwrites.

    names: what its names are called here; others by `symbol_of`. axes: how many its arrays have, by name, and how
    many `...` stands for: as many indices are then written. layers: the index that counts
    layers: it stands above, in parentheses.
    """
    return Printer(equation, style, names or {}, axes, layers=layers).whole(sign)


def with_values(
    equation: Equation,
    style: Style | str,
    values: Values,
    names: Mapping[str, Symbol] | None = None,
    digits: int = 4,
    terms: int = TERMS,
) -> str:
    """The right-hand side for one element of the result, with the values put in.

    digits: significant digits of each number. terms: how many of a sum are written out; of a longer one the first and
    the last are. Raises Elided where the equation is about whole arrays, without naming elements.
    """
    return Printer(equation, style, names or {}, digits=digits).written(element(equation, values, terms))[0]
