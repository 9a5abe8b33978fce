"""Layers that make one value of several: sums, products, extremes, side by side; and what operators make of symbols."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy

from ...checks import is_number, is_whole
from ...engine.primitive import registry
from ...engine.tensor import Tensor
from ...errors import ShapeError, UsageError
from ...ops import arithmetic, elementary, logic, reduction, shapes
from ...ops.linalg import einsum
from ..graph import Symbol, listed
from .base import Layer, Shape, Weights


class Merge(Layer, abstract=True):
    """One value of a list of two or more, with shapes that broadcast."""

    takes_several = True
    supports_masking = True
    pair: ClassVar[Callable[..., Tensor]]
    """What is made of two; of more, one after another."""

    count: ClassVar[int | None] = None
    """How many values it takes; None is two or more."""

    def _several(self, values: Any) -> list[Any]:
        if not isinstance(values, list) or len(values) < 2 or self.count not in (None, len(values)):
            told = "two values" if self.count else "two or more values"
            raise ShapeError(f"{self.name}: {type(self).__name__} takes a list of {told}.")
        return values

    def output_shape(self, input_shape: Any) -> Any:
        try:
            return numpy.broadcast_shapes(*self._several(input_shape))
        except ValueError:
            told = " and ".join(map(str, input_shape))
            raise ShapeError(f"{self.name}: samples of shapes {told} do not go together, one by one.") from None

    def apply(self, weights: Weights, x: Any, *, training: bool, generator: numpy.random.Generator | None) -> Tensor:
        y: Tensor = functools.reduce(type(self).pair, self._several(x))
        return y

    def compute_mask(self, x: Any, mask: Any = None) -> Tensor | None:
        """What every value that has a mask leaves."""
        there = [each for each in mask or () if each is not None]
        return functools.reduce(logic.logical_and, there) if there else None


class Add(Merge):
    """x₁ + x₂ + …"""

    pair = arithmetic.add


class Subtract(Merge):
    """x₁ - x₂"""

    pair = arithmetic.subtract
    count = 2


class Multiply(Merge):
    """x₁ · x₂ · …, elementwise."""

    pair = arithmetic.multiply


class Average(Merge):
    """(x₁ + x₂ + …) / n"""

    pair = arithmetic.add

    def apply(self, weights: Weights, x: Any, *, training: bool, generator: numpy.random.Generator | None) -> Tensor:
        return super().apply(weights, x, training=training, generator=generator) * (1 / len(x))


class Maximum(Merge):
    """The greatest, elementwise."""

    pair = arithmetic.maximum


class Minimum(Merge):
    """The least, elementwise."""

    pair = arithmetic.minimum


class Concatenate(Merge):
    """The values side by side along `axis` of the batch; the other lengths are the same. axis: -1 is the last."""

    def __init__(self, axis: int = -1, input_shape: Shape | None = None, name: str | None = None) -> None:
        super().__init__(input_shape, name)
        if not is_whole(axis) or axis == 0:
            raise UsageError(
                f"Concatenate(axis={axis!r}): it is an axis of the batch by number, but 0; -1 is the last."
            )
        self.axis = int(axis)

    def output_shape(self, input_shape: Any) -> Any:
        sizes = self._several(input_shape)
        place = self.axis - 1 if self.axis > 0 else self.axis + len(sizes[0])
        rests = {(*s[:place], *s[place + 1 :]) for s in sizes if 0 <= place < len(s)} | {len(s) for s in sizes}
        if len(rests) != 2:
            told = " and ".join(map(str, sizes))
            raise ShapeError(f"{self.name}: samples of shapes {told} do not lie side by side along axis {self.axis}.")
        return (*sizes[0][:place], sum(s[place] for s in sizes), *sizes[0][place + 1 :])

    def apply(self, weights: Weights, x: Any, *, training: bool, generator: numpy.random.Generator | None) -> Tensor:
        return shapes.concatenate(self._several(x), axis=self.axis)

    def compute_mask(self, x: Any, mask: Any = None) -> Tensor | None:
        """That of the values side by side along the steps; along another axis, what every mask leaves."""
        if self.axis % x[0].ndim != 1:
            return super().compute_mask(x, mask)
        there = [each for each in mask or () if each is not None]
        return shapes.concatenate(there, axis=1) if there and len(there) == len(x) else None


class Dot(Merge):
    """Products of two values along axes of each, summed: Σₖ x₁[n, …, k, …] x₂[n, …, k, …] for each sample n.

    axes: an axis of both, or one of each, of the batch by number. normalize: of length 1 along them first.
    """

    count = 2

    def __init__(
        self,
        axes: int | Sequence[int],
        normalize: bool = False,
        input_shape: Shape | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(input_shape, name)
        both = (axes, axes) if is_whole(axes) else axes
        if not isinstance(both, (tuple, list)) or len(both) != 2 or not all(map(is_whole, both)) or 0 in both:
            raise UsageError(f"Dot(axes={axes!r}): it is an axis of the batch, but 0, or two, one of each value.")
        self.axes, self.normalize = axes, normalize

    def _places(self, ranks: Sequence[int]) -> list[int]:
        """The axes of a sample, from 0."""
        both: Any = (self.axes, self.axes) if is_whole(self.axes) else self.axes
        return [a - 1 if a > 0 else a + rank for a, rank in zip(both, ranks, strict=True)]

    def output_shape(self, input_shape: Any) -> Any:
        a, b = sizes = self._several(input_shape)
        i, j = self._places([len(s) for s in sizes])
        if not (0 <= i < len(a) and 0 <= j < len(b)) or a[i] != b[j]:
            raise ShapeError(f"{self.name}: samples of shapes {a} and {b} have no product along the axes {self.axes}.")
        return (*a[:i], *a[i + 1 :], *b[:j], *b[j + 1 :]) or (1,)

    def apply(self, weights: Weights, x: Any, *, training: bool, generator: numpy.random.Generator | None) -> Tensor:
        a, b = self._several(x)
        i, j = self._places([a.ndim - 1, b.ndim - 1])
        if self.normalize:
            a, b = (
                v / elementary.sqrt(arithmetic.maximum(reduction.sum(v * v, axis=k + 1, keepdims=True), 1e-12))
                for v, k in ((a, i), (b, j))
            )
        letters = iter("abcdefghijklmop")
        left, right = ([*(next(letters) for _ in range(v.ndim - 1))] for v in (a, b))
        right[j] = left[i]
        kept = [c for k, c in enumerate(left) if k != i] + [c for k, c in enumerate(right) if k != j]
        y = einsum(f"z{''.join(left)},z{''.join(right)}->z{''.join(kept)}", a, b)
        return y if kept else y.reshape(-1, 1)


class Operation(Layer):
    """An operation between values and numbers, as `2 * a - b` of symbols makes it.

    operation: a primitive by name. operands: what it takes, None standing for the next value that goes in.
    """

    supports_masking = True

    def __init__(
        self,
        operation: str,
        operands: Sequence[float | None],
        input_shape: Shape | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(input_shape, name or str(operation))
        if operation not in OPERATORS.values() or len(operands) != len(registry[operation].operands):
            raise UsageError(
                f"Operation({operation!r}, {operands!r}): it is one of {[*dict.fromkeys(OPERATORS.values())]}."
            )
        self.operation, self.operands = operation, list(operands)
        vars(self)["takes_several"] = self.operands.count(None) > 1

    def output_shape(self, input_shape: Any) -> Any:
        shapes_of = listed(input_shape)
        try:
            y = self._computed([Tensor(numpy.ones((2, *shape))) for shape in shapes_of])
        except ShapeError as error:
            told = " and ".join(map(str, shapes_of))
            raise ShapeError(f"{self.name}: samples of shapes {told} do not go together ({error})") from None
        return y.shape[1:]

    def _computed(self, values: Sequence[Tensor]) -> Tensor:
        given = iter(values)
        y: Tensor = registry[self.operation](*(next(given) if each is None else each for each in self.operands))
        return y

    def apply(self, weights: Weights, x: Any, *, training: bool, generator: numpy.random.Generator | None) -> Tensor:
        return self._computed(listed(x))


OPERATORS = {
    "add": "add", "radd": "add", "sub": "subtract", "rsub": "subtract", "mul": "multiply", "rmul": "multiply",
    "truediv": "divide", "rtruediv": "divide", "pow": "power", "rpow": "power", "neg": "negative",
    "matmul": "matmul",
}  # fmt: skip
"""The operators of symbols, by the name of Python's method, and the primitives that they are."""


def _operator(method: str, operation: str) -> Callable[..., Any]:
    def operate(self: Symbol, *others: Any) -> Any:
        for other in others:
            if not isinstance(other, Symbol) and not is_number(other):
                raise UsageError(
                    f"{operation} of the symbol {self.name!r} and a {type(other).__name__}: it takes symbols, numbers"
                )
        both = (*others, self) if method[0] == "r" and others else (self, *others)
        values = [each for each in both if isinstance(each, Symbol)]
        numbers = [None if isinstance(each, Symbol) else float(each) for each in both]
        return Operation(operation, numbers)(values if len(values) > 1 else values[0])

    return operate


for _method, _operation in OPERATORS.items():
    setattr(Symbol, f"__{_method}__", _operator(_method, _operation))
