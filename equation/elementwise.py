"""Who writes the code of equations without indices, and what all writers of code have in common."""

from __future__ import annotations

import ast
import math
from collections.abc import Callable
from typing import Any

import numpy

from ..errors import EquationError
from .functions import CONSTANTS, FUNCTIONS, REDUCTIONS, STRUCTURAL
from .language import Equation, Statement

ARRAYS = ("argmax", "argmin", "argsort", "concatenate", "stack")
"""Functions of whole arrays that NumPy has, with the same arguments."""
NUMBERS = {"abs": abs, "max": max, "min": min, "round": round}
"""Functions of numbers that `math` does not have."""


class Elementwise:
    """Equations without indices; and what the code of all equations has in common."""

    def __init__(
        self, equation: Equation, arrays: set[str], others: set[str], axis: str | None, keepdims: bool,
        shape: str | None, functions: Callable[[str], Callable[..., Any]],
    ) -> None:  # fmt: skip
        self.equation, self.arrays, self.others = equation, arrays, others
        self.axis, self.keepdims, self.shape = axis, keepdims, shape
        self.functions = functions
        self.needed: dict[str, Any] = {}
        self.first = next((n for n in _names(equation) if n in arrays), min(arrays))  # gives numbers its dtype

    @staticmethod
    def suits(equation: Equation) -> bool:
        """Whether it is for this writer."""
        return all(not s.indices and not s.adds for s in equation.statements) and not equation.indices

    def lines(self) -> list[str]:
        """The body of the function."""
        *before, last = self.equation.statements
        written = []
        for statement in before:
            written.append(f"{statement.target} = {self.written(statement)}")
            if self.is_array(statement.expression):
                self.arrays.add(statement.target)
            else:
                self.others.add(statement.target)
        return [*written, f"return {self.result(last)}"]

    def written(self, statement: Statement) -> str:
        """The code of its right side."""
        return ast.unparse(ast.fix_missing_locations(self.code(statement.expression)))

    def result(self, statement: Statement) -> str:
        """The code of what the function returns."""
        if not self.is_array(statement.expression):
            return f"xp.full_like({self.first}, {self.written(statement)})"
        return self.written(statement)

    def refuse(self, node: ast.AST) -> EquationError:
        """The error for a part of which no code can be made."""
        return EquationError(
            f"{self.equation.text!r}: no array code can be made of {ast.unparse(node)!r}, so it needs a body."
        )

    def is_array(self, node: ast.AST) -> bool:
        """Whether a part of the equation is an array, and not a number."""
        if isinstance(node, ast.Attribute) and node.attr in ("shape", "size"):
            return False
        if isinstance(node, ast.Name):
            return node.id in self.arrays
        return any(map(self.is_array, ast.iter_child_nodes(node)))

    def code(self, node: ast.expr) -> ast.expr:
        """The code of a part of the equation."""
        kind = type(node)
        if not self.is_array(node):
            return self.number(node)
        write = getattr(self, f"write_{kind.__name__}", None)
        if write is None:
            raise self.refuse(node)
        made: ast.expr = write(node)
        return made

    def number(self, node: ast.expr) -> ast.expr:
        """The code of a part that is a number; its value, where it is the same in each call."""
        node = _Numbers(self).visit(ast.parse(ast.unparse(node), mode="eval").body)
        if not any(isinstance(n, ast.Name) and n.id != "math" for n in ast.walk(node)):
            value = eval(compile(ast.fix_missing_locations(ast.Expression(node)), "<number>", "eval"), {"math": math})
            return ast.Constant(value)
        return node

    def write_Name(self, node: ast.Name) -> ast.expr:
        """An array."""
        return node

    def write_BinOp(self, node: ast.BinOp) -> ast.expr:
        """An operator; x**2 as its square."""
        left, right = self.code(node.left), self.code(node.right)
        if isinstance(node.op, ast.Pow) and isinstance(right, ast.Constant) and right.value == 2:
            return call("square", left)
        if isinstance(node.op, ast.Pow) and self.is_array(node.right):
            return call("power", left, right)  # before NumPy 2.3 `**` forgets the dtype of a lone exponent
        return ast.BinOp(left, node.op, right)

    def write_UnaryOp(self, node: ast.UnaryOp) -> ast.expr:
        """A sign, or not."""
        operand = self.code(node.operand)
        return call("logical_not", operand) if isinstance(node.op, ast.Not) else ast.UnaryOp(node.op, operand)

    def write_Compare(self, node: ast.Compare) -> ast.expr:
        """A comparison of two."""
        if len(node.ops) > 1:
            raise self.refuse(node)
        return ast.Compare(self.code(node.left), node.ops, [self.code(node.comparators[0])])

    def write_BoolOp(self, node: ast.BoolOp) -> ast.expr:
        """`and` and `or` of conditions."""
        name = "logical_and" if isinstance(node.op, ast.And) else "logical_or"
        first, *others = map(self.code, node.values)
        for other in others:
            first = call(name, first, other)
        return first

    def write_IfExp(self, node: ast.IfExp) -> ast.expr:
        """A choice, element by element; of two numbers, in the dtype of what is computed with."""
        parts = [self.code(part) for part in (node.test, node.body, node.orelse)]
        if not self.is_array(node.test):
            return ast.IfExp(*parts)
        chosen = call("where", *parts)
        if self.is_array(node.body) or self.is_array(node.orelse):
            return chosen
        return parsed(f"({ast.unparse(chosen)}).astype({self.first}.dtype)")

    def write_Call(self, node: ast.Call) -> ast.expr:
        """A function."""
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        if name in ARRAYS or (name not in STRUCTURAL and hasattr(numpy, called(name))):
            return call(called(name), *map(self.code, node.args))
        if name in STRUCTURAL or name in REDUCTIONS or len(node.args) != 1:
            raise self.refuse(node)
        self.needed[f"{name}_of"] = self.functions(name)
        return ast.Call(ast.Name(f"{name}_of"), [ast.Name("xp"), *map(self.code, node.args)], [])

    def count(self, node: ast.Call) -> str:
        """The code of a reduction of a number, which only counts."""
        raise self.refuse(node)

    def write_Subscript(self, node: ast.Subscript) -> ast.expr:
        """A part of an array, by an index that is a parameter."""
        if not (isinstance(node.slice, ast.Name) and node.slice.id in self.others):
            raise self.refuse(node)
        return node


class Flat(Elementwise):
    """The same elements under another shape: `y.flat[i] = x.flat[i]`."""

    @staticmethod
    def suits(equation: Equation) -> bool:
        """Whether both sides are an array's elements in order, and nothing else."""
        node = equation.statements[0].expression
        return (
            len(equation.statements) == 1
            and isinstance(node, ast.Subscript)
            and isinstance(node.value, ast.Attribute)
            and ast.unparse(node.slice) == ast.unparse(ast.Tuple([*equation.statements[0].indices])).strip("(,)")
        )

    def lines(self) -> list[str]:
        """One call of reshape."""
        if self.shape is None:
            raise EquationError(f"{self.equation.text!r} does not say what shape the result has: it needs a body.")
        return [f"return xp.reshape({self.equation.statements[0].expression.value.value.id}, {self.shape})"]  # type: ignore[attr-defined]


class _Numbers(ast.NodeTransformer):
    """Functions and constants of numbers, as `math` has them."""

    def __init__(self, writer: Elementwise) -> None:
        self.writer = writer

    def visit_Call(self, node: ast.Call) -> ast.AST:
        """A function of numbers."""
        name = ast.unparse(node.func)
        if name in REDUCTIONS and node.args[1:]:
            return parsed(self.writer.count(node))
        self.generic_visit(node)
        if hasattr(math, name):
            return ast.Call(parsed(f"math.{name}"), node.args, [])
        if name not in NUMBERS:
            raise self.writer.refuse(node)
        return node

    def visit_Name(self, node: ast.Name) -> ast.AST:
        """π and ∞."""
        return ast.Constant(getattr(math, node.id)) if node.id in CONSTANTS else node

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        """The number of elements of an array of which only the shape may be there."""
        name = ast.unparse(node.value)
        if name in self.writer.others and f"{name}_shape" not in self.writer.others:
            return node
        known = f"{name}_shape" if f"{name}_shape" in self.writer.others else f"{name}.shape"
        return parsed(f"math.prod({known})" if node.attr == "size" else known)


def call(name: str, *arguments: ast.expr) -> ast.expr:
    """The code of a call of a function of `xp`."""
    return ast.Call(parsed(f"xp.{name}"), list(arguments), [])


def called(name: str) -> str:
    """What a function of the language is called on arrays."""
    return FUNCTIONS[name].array or name


def parsed(text: str) -> ast.expr:
    """Code, read."""
    return ast.parse(text, mode="eval").body


def _names(equation: Equation) -> list[str]:
    """The names in an equation, in their order."""
    nodes = [n for s in equation.statements for n in ast.walk(s.expression) if isinstance(n, ast.Name)]
    return [n.id for n in sorted(nodes, key=lambda n: (n.lineno, n.col_offset))]
