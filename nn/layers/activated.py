"""Activation functions by name, and layers that end in one."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy

from ...engine.primitive import Primitive, registry
from ...engine.tensor import Tensor
from ...errors import ShapeError, UsageError
from ...names import Names
from ..criterion import check_arguments
from .base import Layer, Shape, Weights

Function = Callable[[Tensor], Tensor]
ACTIVATIONS: Names[Primitive | None] = Names(
    "activation",
    [
        *((name, p) for name, p in registry.items() if p.__module__.endswith(".activation")),
        ("tanh", registry["tanh"]), ("swish", registry["silu"]), ("linear", None),
    ],
)  # fmt: skip
"""The registry's activation functions by name: the family of that name, and tanh; "linear" is the identity."""


class Activated(Layer, abstract=True):
    """A layer σ(z): `linear` gives z. activation: σ by name, or a function; None is the identity."""

    _besides = ("_function", "_activation")

    def __init__(
        self, activation: str | Function | None = None, input_shape: Shape | None = None, name: str | None = None
    ) -> None:
        super().__init__(input_shape, name)
        self.activation = activation

    @property
    def activation(self) -> str | None:
        """σ by name; None for the identity, or a function of the user's. May be set, at any time, to what σ may be."""
        return self._activation

    @activation.setter
    def activation(self, value: str | Function | None) -> None:
        self._function = make_activation(value)
        self._activation = activation_name(self._function)

    @property
    def function(self) -> Function | None:
        """σ; None for the identity."""
        return self._function

    @function.setter
    def function(self, value: str | Function | None) -> None:
        self.activation = value

    def config(self) -> dict[str, Any]:
        found = super().config()
        return {**found, "activation": self.activation or self.function} if "activation" in found else found

    def linear(self, weights: Weights, x: Tensor) -> Tensor:
        """z, without σ: the logits, where σ is softmax or sigmoid."""
        raise NotImplementedError

    def apply(self, weights: Weights, x: Tensor, *, training: bool, generator: numpy.random.Generator | None) -> Tensor:
        z = self.linear(weights, x)
        if self.function is None:
            return z
        a = self.function(z)
        if a.shape != z.shape:
            raise ShapeError(f"{self.name}: an activation keeps the shape, and this made {a.shape} of {z.shape}.")
        return a


def make_activation(value: str | Function | None) -> Function | None:
    """An activation function of its name ("relu", "softmax", …), itself, or None for the identity ("linear")."""
    if value is not None and not callable(value):
        value = ACTIVATIONS.named(value)
    if isinstance(value, Primitive) and [*inspect.signature(value).parameters][:1] != [*value.operands]:
        raise UsageError(f"the primitive {value.name!r} takes {value.operands}: an activation takes one tensor.")
    if value is not None:
        check_arguments("activation", value, "x")
    return value


def activation_name(function: Function | None) -> str | None:
    """The name by which `make_activation` gives this function; None for the identity, or a function of the user's."""
    return None if function is None else ACTIVATIONS.name_of(function)
