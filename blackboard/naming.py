"""What the quantities of a computation are called.

For a model z⁽¹⁾, h, W⁽²⁾, …, the letters of the documented equations; for a function, and for what a user's own layers
compute, as the code calls them.
"""

from __future__ import annotations

import ast
import bisect
import inspect
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from types import CodeType, FrameType
from typing import Any

import numpy

from ..engine.primitive import Primitive
from ..engine.tensor import Tensor
from ..engine.watching import Application
from ..nn.graph import listed
from ..nn.layers.base import Layer
from ..nn.model import Model
from ..nn.nested import everything_in

WEIGHTS = {"kernel": "W", "bias": "b", "gamma": "γ", "beta": "β", "depthwise_kernel": "W"}
LINEAR = (
    "affine", "affine_relu", "matmul", "convolution", "correlation", "transposed_convolution", "transposed_correlation",
)  # fmt: skip
"""Primitives that multiply a layer's input with its weights."""


@dataclass
class Named:
    """The name of a tensor: id, role, its layer, and whether the number at its end counts layers."""

    id: str
    role: str
    layer: str = ""
    layered: bool = False


class Variables:
    """While it is entered, the variables of the code at hand are noted, by what each of them is bound to.

    So are the layers that are applied, with how many applications of primitives come before.
    """

    def __init__(self, code: Iterable[Any], applications: Sequence[Application]) -> None:
        """code: the functions whose files are the code at hand. applications: those that are noted meanwhile."""
        self._files = {found.co_filename for found in map(_code_of, code) if found}
        self._applications = applications
        self._layers: list[tuple[int, Layer]] = []
        self._names: dict[int, str] = {}
        self._handed_in: dict[int, str] = {}
        self._kept: list[Any] = []

    def __enter__(self) -> Variables:
        self._before = sys.gettrace()
        sys.settrace(self._called)
        return self

    def __exit__(self, *error: object) -> None:
        sys.settrace(self._before)

    def _called(self, frame: FrameType, event: str, argument: Any) -> Any:
        layer = frame.f_locals.get("self")
        if frame.f_code.co_name in ("apply", "_applied", "linear") and isinstance(layer, Layer):
            self._layers.append((len(self._applications), layer._bound_to or layer))
        if frame.f_code.co_filename not in self._files:
            return None
        code = frame.f_code
        for name in code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]:
            value = frame.f_locals.get(name)
            self._handed_in.setdefault(id(value), name)
            self._note(value, "")  # what is handed in has its name from where it was made, if it was made here
        return self._noted

    def _noted(self, frame: FrameType, event: str, argument: Any) -> Any:
        for name, value in frame.f_locals.items():
            self._note(value, name)
        return self._noted

    def _note(self, value: Any, name: str) -> None:
        if isinstance(value, (Tensor, numpy.ndarray)) and id(value) not in self._names:
            self._names[id(value)] = name
            self._kept.append(value)

    def of(self, value: Any) -> str:
        """What a tensor or an array is called: its own name, else its first variable's; "" where it has neither."""
        own = (getattr(value, "name", None) or "").rpartition("/")[2]  # `dense/kernel` is kernel
        return own if own.isidentifier() else self._names.get(id(value), "")

    def of_constant(self, value: Any) -> str:
        """The same of what was not computed: it may have the name of a parameter that it was handed to; else c."""
        return self.of(value) or self._handed_in.get(id(value), "c")

    def layer_of(self, application: Application) -> Layer | None:
        """The layer that applied a primitive: the last that began before; None where none was seen."""
        at = bisect.bisect_right(self._layers, application.number, key=lambda began: began[0])
        return self._layers[at - 1][1] if at else None


def _code_of(thing: Any) -> CodeType | None:
    thing = inspect.unwrap(getattr(thing, "func", thing))
    called = thing if hasattr(thing, "__code__") else type(thing).__dict__.get("__call__")
    code = getattr(called, "__code__", None)
    return code if isinstance(code, CodeType) else None


class Names:
    """Names by tensor; each id is given once. variables: what the code calls what it computes."""

    def __init__(self, variables: Variables) -> None:
        self.variables = variables
        self.known: dict[int, Named] = {}
        self._taken: set[str] = set()
        self._numbers: dict[str, int] = {}
        self._kept: list[Any] = []  # so that no id() is used twice

    def give(self, tensor: Any, name: str, role: str, layer: str = "", layered: bool = False) -> Named:
        """Name a tensor; where the name is taken, with a number behind it."""
        base = name
        while name in self._taken:
            number = self._numbers[base] = self._numbers.get(base, 1) + 1
            name = f"{base}{'_' * base[-1:].isdigit()}{number}"
        self._taken.add(name)
        self._kept.append(tensor)
        self.known[id(tensor)] = Named(name, role, layer, layered)
        return self.known[id(tensor)]

    def of(self, tensor: Tensor) -> Named | None:
        """The name of a tensor, if it has one."""
        return self.known.get(id(tensor))


def name_model(
    model: Model,
    x: Any,
    y: Any,
    applications: Sequence[Application],
    prediction: Tensor | None,
    variables: Variables,
) -> Names:
    """Names for a model's step: a, then z, h of each layer, ŷ (the prediction), t and J."""
    names = Names(variables)
    learned = [each for each in everything_in(model) if isinstance(each, Layer) and _own(each)]
    sub = [str(number) if len(learned) > 1 else "" for number in range(1, len(learned) + 1)]
    for number, one in zip(sub, learned, strict=True):
        for name, weight in _own(one).items():
            names.give(weight, WEIGHTS.get(name, name) + number, "weight", one.name, layered=True)
    for each, called in zip(listed(x), model.input_names, strict=True):
        images = each.ndim > 2  # where there are some a counts places of the kernel
        names.give(each, called if isinstance(x, list) else "x" if images else "a", "input")
    for each in listed(y):
        names.give(each, "t", "target")
    number = sub[0] if sub else ""
    for application in applications[:-1]:
        primitive, result, layer = application.primitive, application.result, variables.layer_of(application)
        number, owner = sub[learned.index(layer)] if layer in learned else number, layer.name if layer else ""
        if result is prediction:
            names.give(result, "ŷ", "hidden", owner)
        elif variables.of(result):
            names.give(result, variables.of(result), "hidden", owner)
        elif primitive.name in LINEAR:
            names.give(result, f"z{number}", "hidden", owner, layered=True)
        elif activates(primitive):
            names.give(result, f"h{number if len(learned) > 2 else ''}", "hidden", owner, layered=True)
        else:
            names.give(result, f"v{application.number + 1}", "hidden", owner)
    names.give(applications[-1].result, "J", "loss")
    return names


def _own(layer: Layer) -> dict[str, Tensor]:
    """The weights that a layer has itself, not those of layers in it."""
    inner = {id(w) for each in layer._inner.values() for w in each.weights.values()}
    return {name: w for name, w in layer.weights.items() if id(w) not in inner}


def activates(primitive: Primitive) -> bool:
    """Whether it is a layer's σ: a function of one element, or softmax and its like."""
    does = not isinstance(primitive.equation.statements[-1].expression, ast.Name)
    of_one = primitive.equation.elementwise and len(primitive.operands) == 1
    return (of_one and does) or primitive.__module__.endswith(".activation")


def name_function(
    function: Callable[..., Any], arguments: Sequence[Any], applications: Sequence[Application], variables: Variables
) -> Names:
    """Names for a function's computation: its arguments' and variables', else v1, v2, …, and J for the result."""
    names = Names(variables)
    for name, argument in zip(argument_names(function, len(arguments)), arguments, strict=True):
        if isinstance(argument, Tensor) and names.of(argument) is None:
            names.give(argument, name, "input")
    for application in applications[:-1]:
        result = application.result
        names.give(result, variables.of(result) or f"v{application.number + 1}", "hidden")
    if applications:
        names.give(applications[-1].result, "J", "loss")
    return names


def argument_names(function: Callable[..., Any], count: int) -> list[str]:
    """The names of the first `count` arguments; x1, x2, … where the function does not tell."""
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        parameters = []
    named = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return [*named, *(f"x{i + 1}" for i in range(len(named), count))][:count]
