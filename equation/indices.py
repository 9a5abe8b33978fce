"""What the indices of an equation run over, told from the shapes of arrays, and which elements they lead to."""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy

from ..errors import EquationError
from .compiled import Multi, bounds, expression, functions, place, references
from .functions import CONSTANTS
from .language import REST, Equation, is_ellipsis
from .syntax import UNUSABLE, unusable

LONGEST = 1_000_000
"""Values that an index runs over by a bound in the text, and turns of the loops of one statement."""
Array = Any
"""An array of NumPy: of numbers, or of dual numbers as objects."""


class Indices:
    """An equation on arrays: what each index runs over, and where it leads to.

    scope: the values by their names, with the axis of the primitive at the end. places: of the result's elements in
    row-major order, likewise. extents: by index what it runs over, of a multi-index several lengths. names: what
    the names of compiled text mean.
    """

    def __init__(self, equation: Equation, values: Mapping[str, Any], shape: tuple[int, ...], axis: Any) -> None:
        self.equation, self.axis = equation, axis
        arrays = [v for v in values.values() if isinstance(v, numpy.ndarray)]
        self.ndim = max(len(shape), *(v.ndim for v in arrays)) if arrays else len(shape)
        self.scope: dict[str, Any] = {name: self.arranged(name, value) for name, value in values.items()}
        self.names = {**functions(), **self.constants(), **self.scope}
        self.names |= {f"{name}[]": value for name, value in self.scope.items()}
        self.places = numpy.arange(numpy.prod(shape, dtype=int)).reshape(shape)
        target = equation.statements[-1]
        if axis != () and target.indices:
            self.places = self._without_axis(self.places) if len(target.indices) == 1 else self._axis_last(self.places)
        self.extents: dict[str, Any] = {}
        self._find_extents()
        for name, value in list(self.scope.items()):
            self._name(name, value)
        self.names |= {f"{name} in": self.span(name) for name in {REST, *equation.indices}}

    def constants(self) -> dict[str, Any]:
        """What the constants of the language are."""
        return {name: getattr(math, name) for name in CONSTANTS}

    def arranged(self, name: str, value: Any) -> Any:
        """An array as the equation's indices name its elements: the axis of the primitive at the end, or left out."""
        uses = [parts for other, parts in references(self.equation) if other == name]
        if isinstance(value, tuple):
            return Multi(value)
        if self.axis == () or not uses or not isinstance(value, numpy.ndarray):
            return value
        return self._without_axis(value) if all(len(parts) == 1 for parts in uses) else self._axis_last(value)

    def _axes(self) -> tuple[int, ...]:
        if self.axis is None:
            return tuple(range(self.ndim))
        axes = self.axis if isinstance(self.axis, tuple) else (self.axis,)
        return tuple(sorted(a % self.ndim for a in axes)) if self.ndim else ()

    def _axis_last(self, x: Array) -> Array:
        """x with the axes of the primitive as one at the end; where it was reduced over them already, without them."""
        if x.ndim < self.ndim:
            return x
        axes = self._axes()
        rest = [i for i in range(x.ndim) if i not in axes]
        return x.transpose([*rest, *axes]).reshape([x.shape[i] for i in rest] + [-1])

    def _without_axis(self, x: Array) -> Array:
        """x of a reduction with keepdims, without the axes of length 1 that it kept."""
        if x.ndim < self.ndim or any(x.shape[a] != 1 for a in self._axes()):
            return x
        return x.squeeze(self._axes())

    # What indices run over

    def _find_extents(self) -> None:
        """Tell from the shapes what each index runs over."""
        last = self.equation.statements[-1]
        for name, bound in bounds(self.equation):
            extent = self.value(bound, {})
            if max(extent if isinstance(extent, tuple) else (extent,), default=0) > LONGEST:
                raise EquationError(f"{self.equation.text!r}: the index {name} runs over more than {LONGEST:,} values.")
            self._extend(name, extent)
        for name, parts in references(self.equation):
            array = self.scope.get(name.removesuffix(".flat"))
            if isinstance(array, numpy.ndarray):
                self._bind((array.size,) if name.endswith(".flat") else array.shape, parts)
        if last.indices:
            self._bind((self.places.size,) if self.equation.flat else self.places.shape, last.indices)

    def _bind(self, shape: tuple[int, ...], parts: Sequence[ast.expr]) -> None:
        """Take from an array's shape what its indices run over."""
        if len(parts) == 1 and isinstance(parts[0], ast.Name) and len(shape) != 1:
            self._extend(parts[0].id, shape)  # a lone index is a multi-index over all axes
            return
        if len(parts) == 1 and isinstance(parts[0], ast.Subscript):
            return  # that multi-index in another order
        rest = [i for i, part in enumerate(parts) if is_ellipsis(part)]
        if rest:
            after = len(parts) - rest[0] - 1
            cut = len(shape) - after
            self._extend(REST, shape[rest[0] : cut])
            parts, shape = parts[rest[0] + 1 :], shape[cut:]
        several = len(shape) - len(parts) + 1  # the axes that a multi-index takes
        at = 0
        for part in parts:
            starred = isinstance(part, ast.Starred)
            name = part.value if isinstance(part, ast.Starred) else part
            extent = shape[at : at + several] if starred else shape[at]
            at += several if starred else 1
            if isinstance(name, ast.Name) and name.id in self.equation.indices:
                self._extend(name.id, extent)

    def _extend(self, name: str, extent: Any) -> None:
        """Note what an index runs over; `...` broadcasts."""
        known = self.extents.get(name)
        if name == REST and known is not None:
            extent = numpy.broadcast_shapes(known, extent)
        elif known is not None and known != extent:
            raise EquationError(f"{self.equation.text!r}: the index {name} runs over {known} and over {extent}.")
        self.extents[name] = extent

    def span(self, name: str) -> Any:
        """All values of an index; of a multi-index tuples. Where nothing tells them, their use raises EquationError."""
        if name not in self.extents:
            return _nowhere(self.equation.text, name)
        extent = self.extents[name]
        return list(map(Multi, numpy.ndindex(extent))) if isinstance(extent, tuple) else range(extent)

    def value(self, node: ast.expr, at: Mapping[str, Any]) -> Any:
        """The value of an expression, where the indices in it have the values `at`."""
        return self._told(lambda: eval(expression(node, self.equation.indices), {**self.names, **at}))

    def place(self, parts: tuple[ast.expr, ...], at: Mapping[str, Any]) -> tuple[int, ...]:
        """Where indices lead to, with the values `at` of the names in them."""
        found: tuple[int, ...] = self._told(
            lambda: tuple(map(int, eval(place(parts, self.equation.indices), {**self.names, **at})))
        )
        return found

    def _told(self, work: Callable[[], Any]) -> Any:
        """What work gives; raises EquationError for what is wrong with the text."""
        try:
            return work()
        except EquationError:
            raise
        except UNUSABLE as error:
            raise unusable(self.equation.text, "leads nowhere", error) from error

    def _name(self, name: str, value: Any) -> None:
        """Say what a name means in the compiled text: by itself, as an array, and with axes for `...`."""
        self.scope[name] = value
        array = isinstance(value, numpy.ndarray)
        self.names[name] = value[()] if array and not value.ndim else value
        self.names[f"{name}[]"] = value
        for other, parts in references(self.equation):
            if other == name and array and any(map(is_ellipsis, parts)):  # aligned at the right
                after = value.shape[max(0, value.ndim - len(parts) + 1) :]
                self.names[f"{name}[...]"] = numpy.broadcast_to(value, (*self.extents[REST], *after))


def _nowhere(text: str, name: str) -> Iterator[Any]:
    raise EquationError(f"{text!r}: nothing tells what the index {name} runs over.")
    yield
