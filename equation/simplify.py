"""Equations as they read where parameters are at rest: a stride of 1, no border, one group.

The convolution's equation has all of these; on the blackboard a factor of 1 and a border of nothing are left out.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import Any

import numpy

from .language import Equation, read_equation
from .syntax import parsed


def simplified(equation: Equation, parameters: Mapping[str, Any], values: set[str]) -> Equation:
    """The equation without what these parameters make nothing of. values: the names that it may use.

    A parameter that is 1 (on every axis) is left out as a factor and as a divisor, a padding of 0 with its border,
    and with one group so is the number of a channel's group.
    """
    ones = {name for name, value in parameters.items() if _all(value, 1)}
    none = {name for name, value in parameters.items() if _all(value, 0)}
    if not (ones | none) & equation.values:
        return equation
    work = _AtRest(ones, none)
    kept = []
    for statement in parsed(equation.text):
        border = _border(statement)
        if border and border[2] in none:
            work.renamed[border[0]] = border[1]
        else:
            kept.append(ast.unparse(ast.fix_missing_locations(work.visit(statement))))
    return read_equation("; ".join(kept), values)


def _all(value: Any, number: int) -> bool:
    if value is None or isinstance(value, (bool, str)):
        return False
    try:
        array = numpy.asarray(value)
    except ValueError:
        return False
    return bool(array.size and array.dtype.kind in "iuf" and (array == number).all())


def _border(statement: ast.stmt) -> tuple[str, str, str] | None:
    """The parts of `p = border(x, padding, v)`: p, x and padding."""
    call = statement.value if isinstance(statement, ast.Assign) else None
    if not isinstance(statement, ast.Assign) or not isinstance(call, ast.Call) or ast.unparse(call.func) != "border":
        return None
    return ast.unparse(statement.targets[0]), ast.unparse(call.args[0]), ast.unparse(call.args[1])


class _AtRest(ast.NodeTransformer):
    def __init__(self, ones: set[str], none: set[str]) -> None:
        self.ones, self.none = ones, none
        self.renamed: dict[str, str] = {}

    def visit_Name(self, node: ast.Name) -> ast.AST:
        return ast.Name(self.renamed.get(node.id, node.id), node.ctx)

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        product = isinstance(node.left, ast.BinOp) and isinstance(node.left.op, ast.Mult) and node.left
        grouped = isinstance(node.op, ast.FloorDiv) and product and self.is_one(product.right)  # k * groups // channels
        left: ast.expr = self.visit(node.left)
        right: ast.expr = self.visit(node.right)
        if grouped:
            return ast.Constant(0)  # k counts channels, so its group is the only one
        if isinstance(node.op, ast.Mult):
            if _is(left, 0) or _is(right, 0):
                return ast.Constant(0)
            if self.is_one(left) or self.is_one(right):
                return right if self.is_one(left) else left
        if isinstance(node.op, ast.FloorDiv | ast.Div) and self.is_one(right):
            return left
        if isinstance(node.op, ast.Add) and (_is(left, 0) or _is(right, 0)):
            return right if _is(left, 0) else left
        if isinstance(node.op, ast.Sub) and ast.unparse(right) in {f"before({name})" for name in self.none}:
            return left
        return ast.BinOp(left, node.op, right)

    def is_one(self, node: ast.AST) -> bool:
        return isinstance(node, ast.Name) and node.id in self.ones


def _is(node: ast.AST, number: int) -> bool:
    return isinstance(node, ast.Constant) and node.value == number
