"""What the quantities of a computation are called: z₁, h, W₂, … for a model, the names of its arguments for a function.

The letters are those of the documented equations.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ..engine.primitive import Primitive
from ..engine.tensor import Tensor
from ..engine.watching import Application
from ..nn.sequential import Sequential

WEIGHTS = {"kernel": "W", "bias": "b", "gamma": "γ", "beta": "β", "depthwise_kernel": "W"}
CONVOLUTIONS = ("convolution", "correlation")
LINEAR = ("affine", "affine_relu", "matmul", *CONVOLUTIONS, "transposed_convolution", "transposed_correlation")
"""Primitives that multiply a layer's input with its weights."""


@dataclass
class Named:
    """The name of a tensor: id, role, and its layer."""

    id: str
    role: str
    layer: str = ""


class Names:
    """Names by tensor; each id is given once."""

    def __init__(self) -> None:
        self.known: dict[int, Named] = {}
        self._taken: set[str] = set()
        self._kept: list[Tensor] = []  # so that no id() is used twice

    def give(self, tensor: Tensor, name: str, role: str, layer: str = "") -> Named:
        """Name a tensor; where the name is taken, with a number behind it."""
        base, number = name, 2
        while name in self._taken:
            name, number = f"{base}{'_' * base[-1:].isdigit()}{number}", number + 1
        self._taken.add(name)
        self._kept.append(tensor)
        self.known[id(tensor)] = Named(name, role, layer)
        return self.known[id(tensor)]

    def of(self, tensor: Tensor) -> Named | None:
        """The name of a tensor, if it has one."""
        return self.known.get(id(tensor))


def name_model(
    model: Sequential, x: Tensor, y: Tensor, applications: Sequence[Application], prediction: Tensor | None
) -> Names:
    """Names for a model's step: a, then z, h of each layer, ŷ (the prediction), t and J."""
    names = Names()
    learned = [layer for layer in model.layers if layer.weights]
    owner: dict[int, tuple[int, Any]] = {}
    for number, layer in enumerate(learned, 1):
        for name, weight in layer.weights.items():
            sub = str(number) if len(learned) > 1 else ""
            names.give(weight, WEIGHTS.get(name, name) + sub, "weight", layer.name)
            owner[id(weight)] = (number, layer)
    images = any(a.primitive.name in CONVOLUTIONS for a in applications)  # a counts places of the kernel there
    names.give(x, "x" if images else "a", "input")
    names.give(y, "t", "target")
    number, layer = 1, model.layers[0]
    for application in applications:
        for operand in application.operands:
            if id(operand) in owner:
                number, layer = owner[id(operand)]
        primitive, result = application.primitive, application.result
        sub = str(number) if len(learned) > 1 else ""
        if application is applications[-1]:
            names.give(result, "J", "loss")
        elif result is prediction:
            names.give(result, "ŷ", "hidden", layer.name)
        elif primitive.name in LINEAR:
            names.give(result, f"z{sub}", "hidden", layer.name)
        elif activates(primitive):
            names.give(result, f"h{sub if len(learned) > 2 else ''}", "hidden", layer.name)
        else:
            names.give(result, f"v{application.number + 1}", "hidden", layer.name)
    return names


def activates(primitive: Primitive) -> bool:
    """Whether it is a layer's σ: a function of one element, or softmax and its like."""
    does = not isinstance(primitive.equation.statements[-1].expression, ast.Name)
    of_one = primitive.equation.elementwise and len(primitive.operands) == 1
    return (of_one and does) or primitive.kernel.__module__.endswith(".activation")


def name_function(function: Callable[..., Any], arguments: Sequence[Any], applications: Sequence[Application]) -> Names:
    """Names for a function's computation: its arguments', then v1, v2, …, and J for the result."""
    names = Names()
    for name, argument in zip(argument_names(function, len(arguments)), arguments, strict=True):
        if isinstance(argument, Tensor) and names.of(argument) is None:
            names.give(argument, name, "input")
    for application in applications:
        loss = application is applications[-1]
        names.give(application.result, "J" if loss else f"v{application.number + 1}", "loss" if loss else "hidden")
    return names


def argument_names(function: Callable[..., Any], count: int) -> list[str]:
    """The names of the first `count` arguments; x1, x2, … where the function does not tell."""
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        parameters = []
    named = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return [*named, *(f"x{i + 1}" for i in range(len(named), count))][:count]


def plain_name(tensor: Tensor) -> str:
    """The name that a tensor was given, where it reads as one: `dense/kernel` is kernel."""
    last = (tensor.name or "").rpartition("/")[2]
    return last if last.isidentifier() else "c"
