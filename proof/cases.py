"""The cases that a primitive is proven on: shapes, parameters and inputs, from what it declares itself."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy
from numpy.typing import NDArray

from ..engine.primitive import Example, Primitive, registry
from ..engine.tensor import Tensor
from ..errors import unknown_name
from .subject import placed

Values = NDArray[Any]

LAYOUTS: dict[str, Callable[[Values], Values]] = {
    "rows": lambda x: x,
    "columns": lambda x: numpy.asfortranarray(x),
    "strided": lambda x: numpy.repeat(x, 2, axis=-1)[..., ::2] if x.ndim else x,
    "reversed": lambda x: x[..., ::-1].copy()[..., ::-1] if x.ndim else x,
}
"""The same values in another memory layout, by name."""


@dataclass(frozen=True)
class Case:
    """A primitive with operands to differentiate (`variables`), the others held fixed, and parameters."""

    primitive: Primitive
    example: Example
    operands: tuple[Values, ...]
    variables: tuple[int, ...]
    label: str
    layout: str = "rows"

    @property
    def inputs(self) -> tuple[Values, ...]:
        """The operands that are differentiated."""
        return tuple(self.operands[i] for i in self.variables)

    def call(self, *xs: Tensor) -> Tensor:
        """The primitive on its operands, with xs for the variables; the others lie beside these."""
        operands = self._filled(xs)
        device = xs[0].device if xs else "cpu"
        if device != "cpu":
            operands = tuple(placed(x, device) if isinstance(x, numpy.ndarray) else x for x in operands)
        return self.primitive.compute(operands, self.example.parameters)

    def kernel(self, *xs: Values) -> Values:
        """The bare kernel on NumPy arrays, which may be complex."""
        return numpy.asarray(self.primitive.kernel(numpy, *self._filled(xs), **self.example.parameters))

    def _filled(self, xs: tuple[Any, ...]) -> tuple[Any, ...]:
        operands: list[Any] = list(self.operands)
        for i, x in zip(self.variables, xs, strict=True):
            operands[i] = x
        return tuple(operands)


def chosen(names: list[str] | None) -> list[Primitive]:
    """The primitives of these names, or all; raises UsageError for a name that is none."""
    for name in names or ():
        if name not in registry:
            raise unknown_name("primitive", name, registry)
    return [registry[name] for name in names] if names else list(registry.values())


def examples(primitive: Primitive) -> list[Example]:
    """The declared examples; an elementwise primitive without any gets shapes that match and that broadcast."""
    if primitive.examples:
        return list(primitive.examples)
    count = len(primitive.operands)
    found = [Example((shape,) * count) for shape in [(), (3,), (2, 3), (0,)]]
    if count > 1:
        found += [Example((*shapes, (2, 3))[:count]) for shapes in (((2, 3), (3,)), ((1, 3), (2, 1)))]
    return found


def draw(primitive: Primitive, example: Example, seed: int = 0, dtype: str = "float64") -> tuple[Values, ...]:
    """Operands of the example's shapes, within the primitive's domain and away from its ends."""
    rng = numpy.random.default_rng([seed, len(example.shapes)])
    operands = []
    for position, shape in enumerate(example.shapes):
        domain = primitive.domain[primitive.operand(position)]
        if callable(domain):
            operands.append(numpy.asarray(domain(rng, shape)).astype(dtype))
        elif isinstance(domain, range):
            count = math.prod(shape)  # each value as often as the others, so that none is left out by chance
            each = numpy.resize(numpy.arange(domain.start, domain.stop), count)
            operands.append(rng.permutation(each).reshape(shape))
        else:
            low, high = max(domain[0], -3.0), min(domain[1], 3.0)
            operands.append(numpy.asarray(rng.uniform(low, high, shape)).astype(dtype))
    return tuple(operands)


def cases(primitive: Primitive, seed: int = 0, dtype: str = "float64") -> Iterator[Case]:
    """Every case of a primitive: each example with all its arguments at once, then layouts, then a value used twice."""
    for number, example in enumerate(examples(primitive)):
        operands = draw(primitive, example, seed, dtype)
        variables = tuple(i for i in range(len(operands)) if primitive.operand(i) in primitive.rules)
        label = _label(primitive, example)
        yield Case(primitive, example, operands, variables, label)
        largest = number == max(range(len(examples(primitive))), key=lambda n: _size(examples(primitive)[n]))
        if largest:
            for layout, arrange in list(LAYOUTS.items())[1:]:
                yield Case(primitive, example, tuple(map(arrange, operands)), variables, f"{label} {layout}", layout)


def _size(example: Example) -> int:
    return sum(map(math.prod, example.shapes))


def _label(primitive: Primitive, example: Example) -> str:
    shapes = ", ".join("x".join(map(str, shape)) or "1" for shape in example.shapes)
    parameters = "".join(f", {key}={_short(value)}" for key, value in example.parameters.items())
    return f"{primitive.name}({shapes}{parameters})"


def _short(value: Any) -> str:
    return str(value).replace("Ellipsis", "...").replace("slice", "") if not isinstance(value, str) else value
