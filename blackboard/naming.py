"""What the quantities of a computation are called: z₁, h, W₂, … for a model, the names of its arguments for a function.

The letters are those of the documented equations; D numbers go with them.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ..engine.tensor import Tensor
from ..engine.watching import Application
from ..nn.sequential import Sequential

WEIGHTS = {"kernel": "W", "bias": "b", "gamma": "γ", "beta": "β", "depthwise_kernel": "W"}
LINEAR = ("affine", "affine_relu", "matmul", "convolution", "transposed_convolution")
"""Primitives that multiply a layer's input with its weights."""


@dataclass
class Named:
    """The name of a tensor: id, role, D numbers of its value and of its gradient, and its layer."""

    id: str
    role: str
    forward: str = ""
    backward: str = ""
    layer: str = ""


class Names:
    """Names by tensor; each id is given once."""

    def __init__(self) -> None:
        self.known: dict[int, Named] = {}
        self._taken: set[str] = set()
        self._kept: list[Tensor] = []  # so that no id() is used twice

    def give(self, tensor: Tensor, name: str, role: str, **more: str) -> Named:
        """Name a tensor; where the name is taken, with a number behind it."""
        base, number = name, 2
        while name in self._taken:
            name, number = f"{base}{'_' * base[-1:].isdigit()}{number}", number + 1
        self._taken.add(name)
        self._kept.append(tensor)
        self.known[id(tensor)] = Named(name, role, **more)
        return self.known[id(tensor)]

    def of(self, tensor: Tensor) -> Named | None:
        """The name of a tensor, if it has one."""
        return self.known.get(id(tensor))


def name_model(model: Sequential, x: Tensor, y: Tensor, applications: Sequence[Application]) -> Names:
    """Names for a model's step: a, then z, h of each layer, ŷ, t and J."""
    names = Names()
    learned = [layer for layer in model.layers if layer.weights]
    dense = [layer for layer in learned if "kernel" in layer.weights]
    owner: dict[int, tuple[int, Any]] = {}
    for number, layer in enumerate(learned, 1):
        last = bool(dense) and layer is dense[-1]
        for name, weight in layer.weights.items():
            letter = WEIGHTS.get(name, name)
            linear = letter in "Wb"
            backward = ("D11" if last else "D14") if letter == "W" else ("D12" if last else "D15") if linear else ""
            sub = str(number) if len(learned) > 1 else ""
            names.give(weight, letter + sub, "weight", backward=backward, layer=layer.name)
            owner[id(weight)] = (number, layer)
    first_learned = bool(model.layers) and bool(learned)
    images = any(a.primitive.name == "convolution" for a in applications)  # a counts places of the kernel there
    names.give(x, "x" if images else "a", "input", backward="D16" if first_learned else "")
    names.give(y, "t", "target")
    number, layer = 1, model.layers[0]
    hidden = max(1, len(learned) - 1)
    for application in applications:
        for operand in application.operands:
            if id(operand) in owner:
                number, layer = owner[id(operand)]
        primitive, result = application.primitive, application.result
        is_last = application is applications[-1]
        output = bool(learned) and layer is learned[-1]
        sub = str(number) if len(learned) > 1 else ""
        citing = _documented(primitive.__doc__)
        if is_last:
            names.give(result, "J", "loss", forward="D10" if "D10" in citing else "")
            continue
        if primitive.name == "convolution":
            names.give(result, f"z{sub}", "hidden", forward="D2", layer=layer.name)
        elif primitive.name in LINEAR:
            names.give(result, f"z{sub}", "hidden", forward="D9" if output else "D8", layer=layer.name)
        elif "D1" in citing or primitive.kernel.__module__.endswith(".activation"):
            forward = "D9" if output else "D8"
            plain = "h" if hidden == 1 else f"h{sub}"
            backward = "D13" if output is False and number == len(learned) - 1 else ""
            names.give(result, "ŷ" if output else plain, "hidden", forward=forward, backward=backward, layer=layer.name)
        else:
            names.give(result, f"v{application.number + 1}", "hidden", layer=layer.name)
    return names


def name_function(function: Callable[..., Any], arguments: Sequence[Any], applications: Sequence[Application]) -> Names:
    """Names for a function's computation: its arguments', then v1, v2, …, and J for the result."""
    names = Names()
    for name, argument in zip(argument_names(function, len(arguments)), arguments, strict=True):
        if isinstance(argument, Tensor) and names.of(argument) is None:
            names.give(argument, name, "input")
    for application in applications:
        loss = application is applications[-1]
        names.give(application.result, "J" if loss else f"v{application.number + 1}", "loss" if loss else "hidden")
        named = names.known[id(application.result)]
        named.forward = ", ".join(_documented(application.primitive.__doc__))
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


def _documented(docstring: str | None) -> list[str]:
    return list(dict.fromkeys(re.findall(r"\bD\d+\b", docstring or "")))
