"""Moves drawn operands away from a primitive's kinks, where it has no derivative to prove."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Any

import numpy
from hypothesis import assume
from numpy.typing import NDArray

from ..engine.primitive import Primitive
from ..equation.functions import on_arrays
from ..equation.language import Equation, read_equation

Values = NDArray[Any]
Shape = tuple[int, ...]

CLEARANCE = 0.05
"""How far `away_from_kinks` keeps from a kink, relative to operands that are larger than 1."""

ATTEMPTS = 100


def clear_of_kinks(primitive: Primitive, values: list[Values], parameters: dict[str, Any]) -> list[Values]:
    """The operands, moved where that is needed to be `CLEARANCE` from the primitive's declared kink.

    Rejects the example where moving does not help. A kink is an expression that is zero where the primitive has no
    derivative; a product is zero where one of its factors is.
    """
    known = {**primitive.parameters, **parameters}
    for factor in _factors(ast.parse(primitive.kink or "1", mode="eval").body):
        names = [node.id for node in ast.walk(factor) if isinstance(node, ast.Name)]
        if any(name in known and known[name] is None for name in names):
            continue  # no limit, so no kink there
        if any(isinstance(node, ast.Subscript) for node in ast.walk(factor)):
            place = primitive.operands.index(names[0])
            values = [*values[:place], _distinct(values[place]), *values[place + 1 :]]
        elif any(name in primitive.operands for name in names):
            values = _moved(primitive, ast.unparse(factor), values, known)
        elif names:
            values = _shaken(primitive, names[0], values, parameters)
    return values


def _factors(node: ast.expr) -> Iterator[ast.expr]:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
        yield from _factors(node.left)
        yield from _factors(node.right)
    else:
        yield node


def _gap(x: Values) -> Values:
    gap: Values = CLEARANCE * numpy.maximum(numpy.abs(x), 1.0)
    return gap


def _distinct(x: Values) -> Values:
    """x with equal or close elements pushed apart, upwards and in their order."""
    order = numpy.argsort(x, axis=None, kind="stable")
    ordered = x.reshape(-1)[order]
    for i in range(1, len(ordered)):
        ordered[i] = max(ordered[i], ordered[i - 1] + 2 * _gap(ordered[i - 1]))
    result = numpy.empty_like(ordered)
    result[order] = ordered
    return result.reshape(x.shape)


def _moved(primitive: Primitive, kink: str, values: list[Values], parameters: dict[str, Any]) -> list[Values]:
    """The first operand that an elementwise kink names, moved upwards where the kink is near zero."""
    equation = read_equation(f"kink = {kink}", {*primitive.operands, *parameters})
    place = min(i for i, name in enumerate(primitive.operands) if name in equation.values)
    x, others = values[place], dict(zip(primitive.operands, values, strict=True))
    for _ in range(ATTEMPTS):
        scope = {**parameters, **others, primitive.operands[place]: x}
        distance = equation.evaluate(on_arrays(numpy), scope)["kink"]
        near = _collapsed(numpy.abs(distance) < _gap(x), x.shape)
        if not near.any():
            return [*values[:place], x, *values[place + 1 :]]
        x = numpy.where(near, x + 2 * _gap(x), x)
    assume(False)
    return values


def _collapsed(flags: Values, shape: Shape) -> Values:
    """Which elements of an operand of `shape` take part in any flagged element of the broadcast result."""
    extra = flags.ndim - len(shape)
    axes = tuple(i for i, n in enumerate(flags.shape) if i < extra or shape[i - extra] != n)
    return numpy.asarray(flags.any(axis=axes, keepdims=True)).reshape(shape)


def _shaken(primitive: Primitive, target: str, values: list[Values], parameters: dict[str, Any]) -> list[Values]:
    """All operands, shaken until the intermediate value `target` of the equation is nowhere near zero."""
    for attempt in range(ATTEMPTS):
        rng = numpy.random.default_rng(attempt)
        by = [rng.uniform(-1, 1, x.shape) if attempt and x.dtype.kind == "f" else 0 for x in values]
        shaken = [
            numpy.asarray(x + d * numpy.maximum(numpy.abs(x), 1)).astype(x.dtype)
            for x, d in zip(values, by, strict=True)
        ]
        if (numpy.abs(_intermediate(primitive, target, shaken, parameters)) >= CLEARANCE).all():
            return shaken
    assume(False)
    return values


def _intermediate(primitive: Primitive, target: str, values: list[Values], parameters: dict[str, Any]) -> Values:
    """A value on the equation's way, of the shape of its result, by the witness's loops."""
    from ..equation.loops import evaluate, exact

    whole = primitive.equation
    end = [statement.target for statement in whole.statements].index(target) + 1
    part = Equation(whole.text, whole.statements[:end], whole.values, whole.indices)
    named = dict(zip(primitive.operands, map(exact, values), strict=True))
    shape = numpy.shape(primitive.kernel(numpy, *values, **parameters))
    duals = numpy.asarray(evaluate(part, {**parameters, **named}, shape))
    return numpy.array([float(dual.value) for dual in duals.flat])
