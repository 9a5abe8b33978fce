"""The operators of the language of equations: one row an operator, with what it is elsewhere."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Operator:
    """What an operator of the language is on numbers and on arrays, in JavaScript and in ONNX.

    sign: its name, from which the printer has what is written. array: its name in NumPy and in `xp`. number: it, of
    Python's numbers. onnx: ONNX's operator, where one does the same. javascript: where that has another sign.
    arithmetic: whether it makes a number of two, elsewhere than bit by bit.
    """

    sign: str
    array: str
    number: Callable[..., Any]
    onnx: str = ""
    javascript: str = ""
    arithmetic: bool = False


OPERATORS: dict[type, Operator] = {
    ast.Add: Operator("+", "add", operator.add, "Add", arithmetic=True),
    ast.Sub: Operator("-", "subtract", operator.sub, "Sub", arithmetic=True),
    ast.Mult: Operator("*", "multiply", operator.mul, "Mul", arithmetic=True),
    ast.Div: Operator("/", "divide", operator.truediv, "Div", arithmetic=True),
    ast.FloorDiv: Operator("//", "floor_divide", operator.floordiv, arithmetic=True),
    ast.Pow: Operator("**", "power", operator.pow, "Pow", arithmetic=True),
    ast.Lt: Operator("<", "less", operator.lt, "Less"),
    ast.LtE: Operator("<=", "less_equal", operator.le, "LessOrEqual"),
    ast.Gt: Operator(">", "greater", operator.gt, "Greater"),
    ast.GtE: Operator(">=", "greater_equal", operator.ge, "GreaterOrEqual"),
    ast.Eq: Operator("==", "equal", operator.eq, "Equal", "==="),
    ast.NotEq: Operator("!=", "not_equal", operator.ne, "", "!=="),
    ast.BitAnd: Operator("&", "bitwise_and", operator.and_, "BitwiseAnd"),
    ast.BitOr: Operator("|", "bitwise_or", operator.or_, "BitwiseOr"),
    ast.BitXor: Operator("^", "bitwise_xor", operator.xor, "BitwiseXor"),
    ast.USub: Operator("neg", "negative", operator.neg, "Neg", "-"),
    ast.Invert: Operator("~", "invert", operator.invert, "BitwiseNot"),
    ast.Not: Operator("not", "logical_not", operator.not_, "Not", "!"),
    ast.And: Operator("and", "logical_and", lambda a, b: a and b, "And", " && "),
    ast.Or: Operator("or", "logical_or", lambda a, b: a or b, "Or", " || "),
}
"""The operators, by what Python's reader calls them."""
