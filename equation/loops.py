"""The equation as a witness: its text, evaluated by plain loops at 50 digits, with its derivatives.

This reads what the equation says and nothing of the kernel: no array library takes part in the arithmetic. Since the
text is Python's own syntax, it is compiled as it stands, its indices as the loops of comprehensions.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Mapping
from typing import Any

import numpy

from ..errors import EquationError
from .arrays import STRUCTURE, Exact, einsum, part, scatter
from .compiled import expression, loop, rows
from .dual import Dual, lift, load_mpmath
from .functions import CONSTANTS
from .indices import LONGEST, Indices
from .language import Equation, Statement, indices_in
from .syntax import UNUSABLE, unusable


def exact(values: Any, variable: Any = None) -> Exact:
    """Floats or integers as dual numbers, exactly; with `variable` each element is a variable (variable, index)."""
    values = numpy.asarray(values)
    mpf, one = load_mpmath().mpf, load_mpmath().one
    result = numpy.empty(values.shape, dtype=object)
    for index, number in zip(numpy.ndindex(values.shape), values.reshape(-1).tolist(), strict=True):
        result[index] = Dual(mpf(number), {(variable, index): one} if variable is not None else None)
    return result


def evaluate(equation: Equation, values: Mapping[str, Any], shape: tuple[int, ...], axis: Any = ()) -> Exact:
    """The value of the equation's target, an array of dual numbers of `shape`.

    values: operands and gradients as arrays of dual numbers, parameters as they are. axis: what the index after
    `...` runs over, where the primitive has such a parameter; () where it has none.
    Raises EquationError where an index has no extent, or different ones, where the loops would take more than
    `LONGEST` turns, and where the text says nothing that can be computed, as with a division by 0.
    """
    try:
        loops = Loops(equation, values, shape, axis)
        for statement in equation.statements:
            loops.run(statement)
        result = loops.scope[equation.target]
        if axis != () and isinstance(result, numpy.ndarray) and result.shape != shape:
            arranged, result = result, numpy.empty(shape, dtype=object)
            result.reshape(-1)[loops.places.reshape(-1)] = arranged.reshape(-1)
    except EquationError:
        raise
    except UNUSABLE as error:
        raise unusable(equation.text, "cannot be evaluated on these operands", error) from error
    return result


class Loops(Indices):
    """An equation's statements, run one after the other."""

    def constants(self) -> dict[str, Any]:
        """What the constants of the language are, at 50 digits, and its functions of whole arrays."""
        exactly = {name: getattr(load_mpmath(), name) for name in CONSTANTS}
        return {**exactly, **{f"{name}()": function for name, function in STRUCTURE.items()}, "einsum()": self._einsum}

    def run(self, statement: Statement) -> None:
        """Compute a statement's target."""
        if self.equation.recurrent and statement.indices and statement is not self.equation.statements[-1]:
            self.names[f"{statement.target}[]"] = Recurrence(self, statement)
            return
        turns = self._turns(statement)
        if turns > LONGEST:
            raise EquationError(f"{self.equation.text!r} takes {turns:,} turns of its loops, more than {LONGEST:,}.")
        if statement.adds:
            result = scatter(
                self.value(statement.expression, {}), self.value(statement.indices[0], {}), self.places.shape
            )
        elif statement.indices:
            result = self._looped(statement)
        elif self.equation.elementwise:
            result = self._broadcast(statement)
        else:
            result = self._whole(statement.expression)
        self._name(statement.target, result)

    def _turns(self, statement: Statement) -> int:
        """How often its loops turn: all indices together."""
        named = {index for part in (*statement.indices, statement.expression)
                 for index in indices_in(part, self.equation.indices)}  # fmt: skip
        extents = (self.extents.get(index, ()) for index in named)
        return math.prod(math.prod(n) if isinstance(n, tuple) else n for n in extents)

    def _whole(self, node: ast.expr) -> Exact:
        """A number, or an expression about whole arrays."""
        if isinstance(node, ast.Subscript) and ast.unparse(node.slice) == "position":
            return part(self.value(node.value, {}), self.scope["xs"], self.scope["position"], self.scope["axis"])
        value = self.value(node, {})
        if isinstance(value, numpy.ndarray):
            return value
        result = numpy.empty((), dtype=object)
        result[()] = lift(value)
        return result

    def _einsum(self, subscripts: str, *arrays: Any) -> Exact:
        """`einsum(subscripts, xs)`, and `einsum(subscripts, gy, xs)` for the gradient of the operand at `position`."""
        *gy, xs = arrays
        return einsum(subscripts, xs, self.places.shape, self.scope.get("position", 0), *gy)

    def _looped(self, statement: Statement) -> Exact:
        """An equation for each value of its indices."""
        found = dict(eval(loop(statement, self.equation.indices), self.names))
        flat = statement is self.equation.statements[-1] and self.equation.flat
        shape = self.places.shape
        if found and not flat:  # where `...` was broadcast it is larger than the operand's: the engine sums
            shape = tuple(max(axis) + 1 for axis in zip(*found, strict=True))
        array = numpy.empty((self.places.size,) if flat else shape, dtype=object)
        for place, value in found.items():
            array[place] = lift(value)
        if len(found) < array.size:
            raise EquationError(f"{self.equation.text!r} leaves elements of {statement.target} without a value.")
        return array.reshape(shape)

    def _broadcast(self, statement: Statement) -> Exact:
        """An equation without indices: element by element."""
        known = self.equation.values | {s.target for s in self.equation.statements}
        arrays = {n: v for n, v in self.scope.items() if isinstance(v, numpy.ndarray) and n in known}
        shape = numpy.broadcast_shapes(*(v.shape for v in arrays.values())) if arrays else self.places.shape
        result = numpy.empty(shape, dtype=object)
        columns = [numpy.broadcast_to(array, shape).reshape(-1) for array in arrays.values()]
        lines = zip(*columns, strict=True) if arrays else [()] * result.size
        found = eval(rows(statement, tuple(arrays), self.equation.indices), {**self.names, "rows in": lines})
        for index, value in zip(numpy.ndindex(shape), found, strict=True):
            result[index] = lift(value)
        wider = statement is self.equation.statements[-1] and result.ndim < self.places.ndim
        return numpy.broadcast_to(result, self.places.shape).copy() if wider else result


class Recurrence:
    """A statement's elements, each computed when it is first read: so it may come from others of its own."""

    def __init__(self, loops: Loops, statement: Statement) -> None:
        self.loops, self.indices = loops, [ast.unparse(part) for part in statement.indices]
        self.text = expression(statement.expression, loops.equation.indices)
        self.known: dict[tuple[int, ...], Any] = {}

    def __getitem__(self, place: tuple[int, ...]) -> Any:
        if place not in self.known:
            at = dict(zip(self.indices, place, strict=True))
            self.known[place] = lift(eval(self.text, {**self.loops.names, **at}))
        return self.known[place]
