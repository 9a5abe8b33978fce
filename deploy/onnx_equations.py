"""Equations of elements as nodes of an ONNX file."""

from __future__ import annotations

import ast
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy

from ..equation.functions import FUNCTIONS
from ..equation.language import Equation, read_equation
from ..equation.operators import OPERATORS
from .onnx_nodes import Nodes, Value

COMPARISONS = ("Less", "LessOrEqual", "Greater", "GreaterOrEqual", "Equal", "And", "Or", "Not")
BITWISE_SINCE = 18
"""The version of ONNX's operators that brought those on the bits of integers."""


class Equations(Nodes):
    """What was written so far, with what writes equations."""

    def equation(self, equation: Equation, values: Mapping[str, Any]) -> Value:
        """An equation of elements, statement by statement."""
        if not equation.elementwise or equation.recurrent:
            raise NotImplementedError(f"its equation, {equation.text}, is not one of elements")
        known = dict(values)
        for statement in equation.statements:
            known[statement.target] = self.expression(statement.expression, known)
        return self.valued(known[equation.target], numpy.dtype("float32"))

    def valued(self, x: Any, dtype: Any) -> Value:
        """A value for a number."""
        return x if isinstance(x, Value) else self.number(x, dtype)

    def expression(self, node: ast.expr, known: Mapping[str, Any]) -> Any:
        """A value, or a number where no value takes part."""

        def of(*nodes: ast.expr) -> list[Any]:
            return [self.expression(each, known) for each in nodes]

        match node:
            case ast.Constant():
                return node.value
            case ast.Name():
                return known[node.id] if node.id in known else getattr(math, node.id)
            case ast.UnaryOp() if type(node.op) in OPERATORS:
                return self.combined(type(node.op), *of(node.operand))
            case ast.BinOp() if type(node.op) in OPERATORS:
                return self.combined(type(node.op), *of(node.left, node.right))
            case ast.BoolOp(values=[left, right]):
                return self.combined(type(node.op), *of(left, right))
            case ast.Compare(ops=[op]) if type(op) in OPERATORS:
                return self.combined(type(op), *of(node.left, node.comparators[0]))
            case ast.IfExp():
                (test,) = of(node.test)
                if not isinstance(test, Value):
                    return self.expression(node.body if test else node.orelse, known)
                x, y = self.alike(of(node.body, node.orelse))
                return self.add("Where", [self.cast(test, numpy.dtype(bool)), x, y], x.dtype)
            case ast.Call(func=ast.Name(id=name)):
                return self.called(name, of(*node.args))
        raise NotImplementedError(f"its equation has {ast.unparse(node)}")

    def alike(self, xs: Sequence[Any]) -> list[Value]:
        """Values of one dtype: numbers take that of the others."""
        kinds = [x.dtype for x in xs if isinstance(x, Value)]
        dtype = numpy.result_type(*kinds) if kinds else numpy.dtype("float32")
        return [self.cast(self.valued(x, dtype), dtype) for x in xs]

    def combined(self, sign: type, *given: Any) -> Any:
        """One or two values by an operator."""
        if not any(isinstance(x, Value) for x in given):
            return OPERATORS[sign].number(*given)
        xs, name = self.alike(given), OPERATORS[sign].onnx
        if sign is ast.FloorDiv:
            return self.quotient(*xs)
        if sign is ast.NotEq:
            return self.add("Not", [self.combined(ast.Eq, *xs)])
        if name == "Div" and xs[0].dtype.kind != "f":  # of integers it would drop the rest
            xs = [self.cast(v, numpy.dtype("float32")) for v in xs]
        if name in ("And", "Or", "Not"):
            xs = [self.cast(v, numpy.dtype(bool)) for v in xs]
        elif name.startswith("Bitwise"):
            if xs[0].dtype == bool:
                name = name.removeprefix("Bitwise")
            elif self.opset < BITWISE_SINCE:
                raise NotImplementedError(f"of integers it is one from opset={BITWISE_SINCE} on")
        return self.add(name, xs, bool if name in COMPARISONS else None)

    def quotient(self, a: Value, b: Value) -> Value:
        """a // b, rounded down, as NumPy has it: (a - what is left) / b."""
        if a.dtype.kind != "f":
            return self.add("Div", [self.add("Sub", [a, self.add("Mod", [a, b])]), b])
        left = self.add("Mod", [a, b], fmod=1)  # with the sign of a
        zero = self.number(0, a.dtype)
        signs = [self.add("Mul", [left, b]), zero]
        left = self.add("Where", [self.add("Less", signs, bool), self.add("Add", [left, b]), left], a.dtype)
        return self.add("Round", [self.add("Div", [self.add("Sub", [a, left]), b])])

    def called(self, name: str, xs: Sequence[Any]) -> Any:
        """A function of the language: by its row."""
        row = FUNCTIONS[name]
        if not any(isinstance(x, Value) for x in xs) and hasattr(numpy, row.array or name):
            return float(getattr(numpy, row.array or name)(*xs))
        if not row.onnx:
            raise NotImplementedError(f"its equation has {name}, which ONNX lacks")
        if "=" in row.onnx:
            return self.equation(read_equation(row.onnx, {"x"}), {"x": xs[0]})
        return self.add(row.onnx, self.alike(xs))
