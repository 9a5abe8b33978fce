"""The text of an equation as Python reads it, within bounds: no text keeps a reader busy or fills the memory.

The longest text of the registry has 291 characters, and its deepest 16 levels.
"""

from __future__ import annotations

import ast
import math
from typing import Any

from ..errors import EquationError, first_line
from .operators import OPERATORS

LONGEST = 5_000
"""Characters of a text."""
DEEPEST = 64
"""Levels of a text: of parentheses, brackets, calls and signs, and of terms in a row."""
QUOTED = 300
"""Characters of a text that an error quotes."""
UNUSABLE = (ArithmeticError, AttributeError, LookupError, NameError, SyntaxError, TypeError, ValueError)
"""What Python raises where a text that can be read says nothing that can be computed or written."""
LARGEST = 300
"""Digits of a number, written or computed from numbers alone: any such is a float, too."""


def parsed(text: str) -> list[ast.stmt]:
    """The statements of a text.

    Raises EquationError that quotes the text and says where it goes wrong: bad syntax, a text that is too long or too
    deep, a number that is too large, numbers that give none, as in 1 / 0.
    """
    if len(text) > LONGEST:
        raise unreadable(text, f"it has {len(text):,} characters, and an equation has {LONGEST:,} at most")
    try:
        body = ast.parse(text).body
    except SyntaxError as error:
        raise unreadable(text, error.msg + (f" at column {error.offset}" if error.offset else "")) from None
    except UnicodeEncodeError as error:
        raise unreadable(text, f"{error.object[error.start]!a} at column {error.start + 1} is no character") from None
    except (ValueError, RecursionError, MemoryError) as error:
        raise unreadable(text, str(error) if isinstance(error, ValueError) else "it is nested too deep") from None
    if not body:
        raise unreadable(text, "it is empty")
    _check(text, body)
    return body


def unreadable(text: str, why: str) -> EquationError:
    """The error for a text that cannot be read."""
    return EquationError(f"cannot read the equation {_short(text, QUOTED)!r}: {why}.")


def unusable(text: str, why: str, error: Exception) -> EquationError:
    """The error for a text that can be read, but says nothing that can be computed. error: what Python said."""
    return EquationError(f"{text!r} {why}: {type(error).__name__}, {first_line(error)}")


def _short(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[:length]} …"


def _check(text: str, body: list[ast.stmt]) -> None:
    """Refuse what is too deep, and numbers that are none."""
    levels: list[list[ast.AST]] = [[*body]]
    while inner := [child for node in levels[-1] for child in ast.iter_child_nodes(node)]:
        levels.append(inner)
        if len(levels) > DEEPEST:
            at = next((n.col_offset + 1 for n in inner if hasattr(n, "col_offset")), 1)
            raise unreadable(text, f"at column {at} it is nested deeper than {DEEPEST} levels")
    values: dict[ast.AST, float] = {}
    for node in (node for level in reversed(levels) for node in level):
        try:
            value = _constant(node, values)
            if value is not None:
                values[node] = _number(value)
        except (ArithmeticError, ValueError) as error:
            written, column = ast.get_source_segment(text, node) or "", getattr(node, "col_offset", 0) + 1
            why = "is too large a number" if isinstance(error, ArithmeticError) else str(error)
            raise unreadable(text, f"{_short(written, 40)} at column {column} {why}") from None


def _constant(node: ast.AST, values: dict[ast.AST, float]) -> Any:
    """The value of a part that is a number, or computes one from numbers alone; None of others."""
    if isinstance(node, ast.Constant):
        return node.value if type(node.value) in (int, float) else None
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub) and node.operand in values:
        return -values[node.operand]
    sign = OPERATORS.get(type(node.op)) if isinstance(node, ast.BinOp) else None
    if isinstance(node, ast.BinOp) and sign and sign.arithmetic and node.left in values and node.right in values:
        combined = power if isinstance(node.op, ast.Pow) else sign.number
        try:
            return combined(values[node.left], values[node.right])
        except ZeroDivisionError:
            raise ValueError("divides by 0") from None
    return None


def _number(value: Any) -> float:
    if isinstance(value, complex):
        raise ValueError("is no number")
    if not abs(value) < 10**LARGEST:
        raise OverflowError
    return value  # type: ignore[no-any-return]


def power(a: Any, b: Any) -> Any:
    """a**b; raises OverflowError where whole numbers would give one of more digits than `LARGEST`."""
    if type(a) is int and type(b) is int and abs(a) > 1 and b * math.log10(abs(a)) > LARGEST:
        raise OverflowError(f"{a}**{b} is too large a number")
    return a**b
