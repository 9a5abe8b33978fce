"""A primitive's equation at work on given operands: its value and derivative at 50 digits, and what its rules state."""

from __future__ import annotations

import math
from typing import Any

import numpy

from ..engine.primitive import Example, Primitive
from ..equation.arrays import Exact
from ..equation.dual import lift, load_mpmath
from ..equation.language import read_equation
from ..equation.loops import evaluate, exact
from ..errors import EquationError
from .bounds import Bound
from .cases import Values
from .subject import placed


class Witness:
    """A primitive's equation on given operands, with a random incoming gradient.

    y: what the code gives on the device. exact_y: the equation's value as dual numbers, whose variables are
    (operand, index).
    """

    def __init__(
        self, primitive: Primitive, example: Example, operands: tuple[Values, ...], seed: int = 0,
        device: str = "cpu",
    ) -> None:  # fmt: skip
        self.primitive, self.example, self.operands, self.device = primitive, example, operands, device
        self.parameters = {**primitive.defaults, **example.parameters}
        self.ruled = [i for i in range(len(operands)) if primitive.operand(i) in primitive.rules]
        if device == "cpu":
            self.y = numpy.asarray(primitive.kernel(numpy, *operands, **self.parameters))
        else:  # by the road that a tensor takes there: a launch of our own, where there is one
            self.y = primitive.compute(tuple(placed(x, device) for x in operands), example.parameters).numpy()
        self.axis = self.parameters.get("axis", ()) if "..." in primitive.text and "axis" in self.parameters else ()
        # matmul takes a vector as a matrix of one row (left) or one column (right), and leaves that axis out again
        left, right = (x.ndim == 1 for x in operands) if primitive.name == "matmul" else (False, False)
        self.shapes = [x.shape for x in operands]  # of the operands as the equation reads them, and of its value
        self.shape = self.y.shape
        if right:
            self.shapes[1], self.shape = (*self.shapes[1], 1), (*self.shape, 1)
        if left:
            self.shapes[0], self.shape = (1, *self.shapes[0]), (*self.shape[:-1], 1, *self.shape[-1:])
        found = evaluate(primitive.equation, self._values(variables=True), self.shape, self.axis)
        self.exact_y = _reshaped(_array(found), self.y.shape, primitive.text)
        dtype = self.y.dtype if self.y.dtype.kind == "f" else numpy.float64
        self.gy = numpy.asarray(numpy.random.default_rng(seed).uniform(0.5, 2, self.y.shape)).astype(dtype)

    def named(self, i: int | None) -> str:
        """The operand's name; of None "value"."""
        return "value" if i is None else self.primitive.operand(i)

    def value(self) -> Exact:
        """The equation's value."""
        return _numbers(self.exact_y)

    def gradient(self, i: int) -> Exact:
        """The derivative of ⟨gy, equation⟩ in operand i."""
        result = numpy.full(self.operands[i].shape, load_mpmath().zero, dtype=object)
        for index in numpy.ndindex(self.y.shape):
            weight = load_mpmath().mpf(self.gy[index].item())
            for (variable, place), slope in lift(self.exact_y[index]).slopes.items():
                if variable == i:
                    result[place] += weight * slope
        return result

    def stated_gradient(self, i: int) -> Exact:
        """What the rule's own equation gives, summed where the operand was broadcast."""
        rule, shape = self.primitive.rules[self.primitive.operand(i)], self.shapes[i]
        result = _numbers(evaluate(rule.equation, {**self._results(), "position": i}, shape, self.axis))
        while result.ndim > len(shape):
            result = numpy.asarray(result.sum(axis=0), dtype=object)
        for axis, (n, m) in enumerate(zip(result.shape, shape, strict=True)):
            if n != m:
                result = result.sum(axis=axis, keepdims=True)
        return _reshaped(numpy.asarray(result, dtype=object), self.operands[i].shape, rule.text)

    def terms(self, bound: Bound, shape: tuple[int, ...]) -> Exact | None:
        """The size of the terms that a bound counts its ulp at; None where it counts them at the result."""
        if not bound.terms:
            return None
        values = self._results()
        return _numbers(evaluate(read_equation(bound.terms, values), values, shape))

    def rounding(self, i: int | None, shape: tuple[int, ...], whole: bool) -> Exact:
        """The size of what may cancel in the gradient in operand i, or in the value (None).

        It is the largest value, such as where a gradient crosses zero; and of what is summed Σ |term|: a value is
        Σ |∂y/∂x x| over all operands, a gradient Σ |gy ∂y/∂x| over all values.
        """
        size = numpy.full(shape, 2 * numpy.abs(self.y).max(initial=0), dtype=object)
        if not whole:
            return size
        terms = numpy.full(shape, load_mpmath().zero, dtype=object)
        for index in numpy.ndindex(self.y.shape):
            for (variable, place), slope in lift(self.exact_y[index]).slopes.items():
                if i is None:
                    terms[index] += abs(slope * self.operands[variable][place].item())
                elif i == variable:
                    terms[place] += abs(slope * self.gy[index].item())
        return numpy.asarray(numpy.maximum(size, terms), dtype=object)

    def _values(self, variables: bool = False) -> dict[str, Any]:
        arrays = [exact(x, i if variables else None).reshape(self.shapes[i]) for i, x in enumerate(self.operands)]
        if self.primitive.variadic:
            return {**self.parameters, self.primitive.operands[0]: arrays}
        return {**self.parameters, **dict(zip(self.primitive.operands, arrays, strict=True))}

    def _results(self) -> dict[str, Any]:
        """What a rule may read: the operands, the value, and the incoming gradient."""
        target = self.primitive.equation.target
        y, gy = _constants(self.exact_y), exact(self.gy)
        return {**self._values(), target: y.reshape(self.shape), f"g{target}": gy.reshape(self.shape)}


def _reshaped(values: Exact, shape: tuple[int, ...], text: str) -> Exact:
    """The values in the shape that the code gives; raises EquationError where the text gives another number of them."""
    if values.size != math.prod(shape):
        raise EquationError(f"{text!r} gives an array of shape {values.shape}, and the code one of {shape}.")
    return values.reshape(shape)


def _array(values: Any) -> Exact:
    return numpy.asarray(values, dtype=object)  # NumPy hands a single object out of its array


def _numbers(values: Exact) -> Exact:
    values = _array(values)
    result = numpy.empty(values.shape, dtype=object)
    for index in numpy.ndindex(result.shape):
        result[index] = lift(values[index]).value
    return result


def _constants(values: Exact) -> Exact:
    """The same values as dual numbers that depend on nothing."""
    result = _numbers(values)
    for index in numpy.ndindex(result.shape):
        result[index] = lift(result[index])
    return result
