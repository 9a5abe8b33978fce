"""Layers: an equation of the registry with its weights."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy

from ..engine import random
from ..engine.errors import ShapeError, UsageError, unknown_name
from ..engine.primitive import Primitive, registry
from ..engine.tensor import Tensor, tensor
from ..ops.linalg import affine, affine_relu, matmul
from ..ops.products import PRECISIONS
from .initializers import Initializer, make_initializer

Shape = tuple[int, ...]
Weights = Mapping[str, Tensor]

LAYERS: dict[str, type[Layer]] = {}
"""Layers by class name, as a model file names them; each registers itself."""


class Layer:
    """A step of a model. A layer of one's own has `output_shape`, `apply`, and, with weights, `make_weights`.

    input_shape: the shape of one sample, for the first layer of a model. name: what files and summaries call it.
    The mathematics is in `apply`, a function of the weights: a model hands in weights that record or do not.
    """

    config_names: ClassVar[tuple[str, ...]] = ()

    def __init__(self, input_shape: Shape | None = None, name: str | None = None) -> None:
        self.input_shape = None if input_shape is None else _checked_shape(input_shape)
        self.name = name or type(self).__name__.lower()
        self.weights: dict[str, Tensor] = {}
        self.built_for: Shape | None = None

    def __init_subclass__(cls) -> None:
        if cls.__name__ in LAYERS and LAYERS[cls.__name__].__module__ == __name__ != cls.__module__:
            raise UsageError(f"model files mean our own layer by the name {cls.__name__}: call yours otherwise.")
        LAYERS[cls.__name__] = cls

    def __call__(self, x: Any, *, training: bool = False, generator: numpy.random.Generator | None = None) -> Tensor:
        """The layer applied to a batch, with its own weights (drawn with seed 0 if it was not built yet)."""
        x = x if isinstance(x, Tensor) else tensor(x)
        if self.built_for is None:
            self.build(x.shape[1:], random.generator(0, self.name), x.dtype)
        return self.apply(self.weights, x, training=training, generator=generator)

    def build(self, input_shape: Shape, generator: numpy.random.Generator, dtype: Any = "float32") -> Shape:
        """Make the weights for samples of `input_shape`; returns the shape of one output."""
        shape = self.output_shape(input_shape)
        for name, values in self.make_weights(input_shape, generator).items():
            self.weights[name] = Tensor(values.astype(dtype), requires_grad=True, name=f"{self.name}/{name}")
        self.built_for = tuple(input_shape)
        return shape

    def output_shape(self, input_shape: Shape) -> Shape:
        """The shape of one output for samples of `input_shape`; raises ShapeError where they do not fit."""
        return input_shape

    def make_weights(self, input_shape: Shape, generator: numpy.random.Generator) -> dict[str, Any]:
        """The first values of the weights, as NumPy arrays by name."""
        return {}

    def apply(self, weights: Weights, x: Tensor, *, training: bool, generator: numpy.random.Generator | None) -> Tensor:
        """The layer's equation on a batch x of shape (batch, …)."""
        raise NotImplementedError

    def config(self) -> dict[str, Any]:
        """What it takes to make this layer again, as plain values."""
        shape = {} if self.input_shape is None else {"input_shape": list(self.input_shape)}
        return {"layer": type(self).__name__, "name": self.name, **shape} | {
            key: getattr(self, key) for key in self.config_names
        }

    @property
    def parameters(self) -> int:
        """How many numbers it learns."""
        return sum(w.size for w in self.weights.values())


class Activation(Layer):
    """σ, elementwise or along the last axis: the name of an activation function, or a function of a tensor."""

    config_names = ("activation",)

    def __init__(
        self, activation: str | Callable[[Tensor], Tensor], input_shape: Shape | None = None, name: str | None = None
    ) -> None:
        super().__init__(input_shape, name)
        self.function = make_activation(activation)
        self.activation = activation_name(self.function)

    def apply(self, weights: Weights, x: Tensor, *, training: bool, generator: numpy.random.Generator | None) -> Tensor:
        return self.function(x) if self.function else x

    def linear(self, weights: Weights, x: Tensor) -> Tensor:
        """x itself: the logits, where σ is softmax or sigmoid."""
        return x


class Dense(Layer):
    """σ(A W + b) on rows (D1).

    units: how many outputs. activation: σ by name, or a function; None is the identity. use_bias: whether
    there is b. kernel_initializer, bias_initializer: how W (inputs, units) and b (units,) begin. precision: what
    float32 factors are rounded to before they are multiplied, see `cg.affine`; "float32" leaves them.
    """

    config_names = ("units", "activation", "use_bias", "kernel_initializer", "bias_initializer", "precision")

    def __init__(
        self,
        units: int,
        activation: str | Callable[[Tensor], Tensor] | None = None,
        use_bias: bool = True,
        input_shape: Shape | None = None,
        kernel_initializer: str | Initializer = "glorot_uniform",
        bias_initializer: str | Initializer = "zeros",
        name: str | None = None,
        precision: str = "float32",
    ) -> None:
        super().__init__(input_shape, name)
        if precision not in PRECISIONS:
            raise unknown_name("precision", precision, PRECISIONS)
        if precision != "float32" and not use_bias:
            raise UsageError(f"Dense(precision={precision!r}) has a bias: leave use_bias=False out.")
        self.precision = precision
        if isinstance(units, bool) or not isinstance(units, (int, numpy.integer)) or units < 1:
            raise UsageError(f"Dense(units={units!r}): units is an integer of 1 or more.")
        self.units, self.use_bias = int(units), use_bias
        self.function = make_activation(activation)
        self.activation = activation_name(self.function)
        self.kernel_initializer, self.bias_initializer = kernel_initializer, bias_initializer
        self._initializers = make_initializer(kernel_initializer), make_initializer(bias_initializer)

    def output_shape(self, input_shape: Shape) -> Shape:
        if not input_shape:
            raise ShapeError(
                f"{self.name}: Dense takes batches of shape (batch, …, inputs); these samples are single numbers. "
                "Reshape them to (batch, 1)."
            )
        return (*input_shape[:-1], self.units)

    def make_weights(self, input_shape: Shape, generator: numpy.random.Generator) -> dict[str, Any]:
        kernel, bias = self._initializers
        weights = {"kernel": kernel(generator, (input_shape[-1], self.units))}
        return weights | ({"bias": bias(generator, (self.units,))} if self.use_bias else {})

    def apply(self, weights: Weights, x: Tensor, *, training: bool, generator: numpy.random.Generator | None) -> Tensor:
        if self.activation == "relu" and self.use_bias and x.device != "cpu":
            return affine_relu(
                x, weights["kernel"], weights["bias"], precision=self.precision
            )  # one launch; on a CPU the parts are faster
        z = self.linear(weights, x)
        return self.function(z) if self.function else z

    def linear(self, weights: Weights, x: Tensor) -> Tensor:
        """A W + b, without σ: the logits, where σ is softmax or sigmoid."""
        if not self.use_bias:
            return matmul(x, weights["kernel"])
        return affine(x, weights["kernel"], weights["bias"], precision=self.precision)


class Flatten(Layer):
    """Each sample as one row: (batch, …) becomes (batch, elements)."""

    def output_shape(self, input_shape: Shape) -> Shape:
        return (math.prod(input_shape),)

    def apply(self, weights: Weights, x: Tensor, *, training: bool, generator: numpy.random.Generator | None) -> Tensor:
        return x.reshape(x.shape[0], math.prod(x.shape[1:]))


class Dropout(Layer):
    """In training each element is 0 with probability `rate`, else divided by 1 - rate (Srivastava et al. 2014)."""

    config_names = ("rate",)

    def __init__(self, rate: float, input_shape: Shape | None = None, name: str | None = None) -> None:
        super().__init__(input_shape, name)
        if not 0 <= rate < 1:
            raise UsageError(f"Dropout(rate={rate!r}): the rate lies in [0, 1).")
        self.rate = float(rate)

    def apply(self, weights: Weights, x: Tensor, *, training: bool, generator: numpy.random.Generator | None) -> Tensor:
        if not training or not self.rate:
            return x
        if generator is None:
            raise UsageError(f"{self.name}: dropout in training draws random numbers: give generator=.")
        kept = random.uniform(generator, like=x) >= self.rate
        return x * (kept / (1 - self.rate)).astype(x.dtype)


def make_activation(value: str | Callable[[Tensor], Tensor] | None) -> Callable[[Tensor], Tensor] | None:
    """An activation function of its name ("relu", "softmax", …), itself, or None for the identity ("linear")."""
    if value is None or value == "linear":
        return None
    if callable(value):
        return value
    known = activations()
    if value not in known:
        raise unknown_name("activation", value, [*known, "linear"])
    return known[value]


def activations() -> dict[str, Primitive]:
    """The registry's activation functions: the family of that name, and tanh."""
    family = {name: p for name, p in registry.items() if p.kernel.__module__.endswith(".activation")}
    return family | {"tanh": registry["tanh"], "swish": registry["silu"]}


def activation_name(function: Callable[[Tensor], Tensor] | None) -> str | None:
    """The name by which `make_activation` gives this function; None for the identity, or a function of the user's."""
    return next((name for name, known in activations().items() if known is function), None)


def make_layer(config: Mapping[str, Any]) -> Layer:
    """The layer that a `config()` describes; raises UsageError for a kind that is not known."""
    options = dict(config)
    kind = options.pop("layer", None)
    if kind not in LAYERS:
        raise unknown_name("layer", kind, LAYERS)
    return LAYERS[kind](**options)


def _checked_shape(shape: Any) -> Shape:
    try:
        checked = tuple(operator.index(n) for n in shape)
    except TypeError:
        raise UsageError(f"input_shape={shape!r}: it is the shape of one sample, such as (784,).") from None
    if any(n < 1 for n in checked):
        raise UsageError(f"input_shape={shape!r}: every length is 1 or more (the batch is not part of it).")
    return checked
