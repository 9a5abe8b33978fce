"""Layers without space: dense, activation, shapes, dropout, scale."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy

from ...checks import number, whole, wholes
from ...engine import random
from ...engine.tensor import Tensor
from ...errors import ShapeError, UsageError, unknown_name
from ...ops.factors import PRECISIONS
from ...ops.linalg import affine, affine_relu, matmul
from ..graph import Symbol, whole_numbers
from ..initializers import Initializer, make_initializer
from .activated import Activated, Function
from .base import Beginnings, Layer, Shape, Weights, checked_sample


def Input(
    shape: Sequence[int | None] | None = None,
    batch_size: int | None = None,
    dtype: Any = None,
    name: str | None = None,
    *,
    batch_shape: Sequence[int | None] | None = None,
) -> Symbol:
    """The symbol for an input of a model, of samples of that shape; None in it is a length that may vary.

    dtype: "int32", say, for whole numbers that come as they are; else x is made the model's floating point. batch_size
    is Keras's, and changes nothing: a batch may have any.
    """
    lengths = tuple(batch_shape)[1:] if shape is None and batch_shape is not None else shape
    if lengths is None:
        raise UsageError("Input(shape=…) takes the shape of one sample, such as (784,).")
    return Symbol(checked_sample("shape", lengths), whole_numbers(dtype), name or "input")


class InputLayer(Layer, abstract=True):
    """What stands for an input among a model's layers; as the first item of a Sequential the same as `Input`."""

    def __init__(
        self, shape: Sequence[int | None] | None = None, dtype: Any = None, name: str | None = None,
        input_shape: Sequence[int | None] | None = None, symbol: Symbol | None = None,
    ) -> None:  # fmt: skip
        self.symbol = Input(input_shape if shape is None else shape, None, dtype, name) if symbol is None else symbol
        super().__init__(name=self.symbol.name)
        vars(self)["built_for"] = self.symbol.sample


class Activation(Activated):
    """σ, elementwise or along the last axis: the name of an activation function, or a function of a tensor."""

    supports_masking = True

    def __init__(
        self, activation: str | Function | None, input_shape: Shape | None = None, name: str | None = None
    ) -> None:
        super().__init__(activation, input_shape, name)

    def linear(self, weights: Weights, x: Tensor) -> Tensor:
        """x itself: the logits, where σ is softmax or sigmoid."""
        return x


class Dense(Activated):
    """σ(A W + b) on rows (D1).

    units: how many outputs. activation: σ by name, or a function; None is the identity. use_bias: whether
    there is b. kernel_initializer, bias_initializer: how W (inputs, units) and b (units,) begin. precision: what
    float32 factors are rounded to before they are multiplied, see `cg.affine`; "float32" leaves them. "float16" makes
    those beyond 65519 infinite, and those below 3e-8 zero; the loss is not scaled.
    """

    supports_masking = True
    free_names = ("precision",)

    def __init__(
        self,
        units: int,
        activation: str | Function | None = None,
        use_bias: bool = True,
        input_shape: Shape | None = None,
        kernel_initializer: str | Initializer = "glorot_uniform",
        bias_initializer: str | Initializer = "zeros",
        name: str | None = None,
        precision: str = "float32",
    ) -> None:
        super().__init__(activation, input_shape, name)
        if precision not in PRECISIONS:
            raise unknown_name("precision", precision, PRECISIONS)
        if precision != "float32" and not use_bias:
            raise UsageError(f"Dense(precision={precision!r}) has a bias: leave use_bias=False out.")
        self.precision = precision
        self.units, self.use_bias = whole("Dense", "units", units), use_bias
        self.kernel_initializer, self.bias_initializer = kernel_initializer, bias_initializer
        self._initializers = make_initializer(kernel_initializer), make_initializer(bias_initializer)

    def output_shape(self, input_shape: Shape) -> Shape:
        if not input_shape:
            raise ShapeError(
                f"{self.name}: Dense takes batches of shape (batch, …, inputs); these samples are single numbers. "
                "Reshape them to (batch, 1)."
            )
        return (*input_shape[:-1], self.units)

    def weights_for(self, input_shape: Shape) -> Beginnings:
        kernel, bias = self._initializers
        own = {"kernel": ((input_shape[-1], self.units), kernel), "bias": ((self.units,), bias)}
        return own if self.use_bias else {"kernel": own["kernel"]}

    def apply(self, weights: Weights, x: Tensor, *, training: bool, generator: numpy.random.Generator | None) -> Tensor:
        if self.activation == "relu" and self.use_bias and x.device != "cpu":
            return affine_relu(
                x, weights["kernel"], weights["bias"], precision=self.precision
            )  # one launch; on a CPU the parts are faster
        return super().apply(weights, x, training=training, generator=generator)

    def linear(self, weights: Weights, x: Tensor) -> Tensor:
        """A W + b, without σ: the logits, where σ is softmax or sigmoid."""
        if not self.use_bias:
            return matmul(x, weights["kernel"])
        return affine(x, weights["kernel"], weights["bias"], precision=self.precision)


class Flatten(Layer):
    """Each sample as one row: (batch, …) becomes (batch, elements)."""

    takes_integers = None

    def output_shape(self, input_shape: Shape) -> Shape:
        return (math.prod(input_shape),)

    def apply(self, weights: Weights, x: Tensor, *, training: bool, generator: numpy.random.Generator | None) -> Tensor:
        return x.reshape(x.shape[0], math.prod(x.shape[1:]))


class Reshape(Layer):
    """Each sample under another shape, in row-major order. target_shape: of one sample; one length may be -1."""

    takes_integers = None

    def __init__(self, target_shape: Sequence[int], input_shape: Shape | None = None, name: str | None = None) -> None:
        super().__init__(input_shape, name)
        lengths = wholes(target_shape)
        if lengths is None:
            raise UsageError(f"Reshape({target_shape!r}): it takes the shape of one sample, such as (28, 28, 1).")
        self.target_shape = lengths
        if any(n < 1 and n != -1 for n in self.target_shape) or self.target_shape.count(-1) > 1:
            raise UsageError(f"Reshape({target_shape!r}): every length is 1 or more, but for one -1 for what is left.")

    def output_shape(self, input_shape: Shape) -> Shape:
        size, known = math.prod(input_shape), math.prod(n for n in self.target_shape if n != -1)
        if size % known or (-1 not in self.target_shape and size != known):
            raise ShapeError(
                f"{self.name}: samples of shape {input_shape} have {size} elements, which do not make "
                f"{self.target_shape}."
            )
        return tuple(size // known if n == -1 else n for n in self.target_shape)

    def apply(self, weights: Weights, x: Tensor, *, training: bool, generator: numpy.random.Generator | None) -> Tensor:
        return x.reshape(x.shape[0], *self.output_shape(x.shape[1:]))


class Rescaling(Layer):
    """scale · x + offset: `Rescaling(1 / 255)` takes bytes to [0, 1]."""

    supports_masking = True
    free_names = ("scale", "offset")

    def __init__(
        self, scale: float, offset: float = 0.0, input_shape: Shape | None = None, name: str | None = None
    ) -> None:
        super().__init__(input_shape, name)
        self.scale, self.offset = number("Rescaling", "scale", scale), number("Rescaling", "offset", offset)

    def apply(self, weights: Weights, x: Tensor, *, training: bool, generator: numpy.random.Generator | None) -> Tensor:
        y = x * self.scale
        return y + self.offset if self.offset else y


def dropped(
    whose: str, x: Tensor, rate: float, generator: numpy.random.Generator | None, like: Tensor | None = None
) -> Tensor:
    """x without the share `rate` of its elements, of a part of it with an element for each that is drawn; the rest
    scaled up by what is left.
    """
    if generator is None:
        raise UsageError(f"{whose}: dropout in training draws random numbers: give generator=.")
    kept = random.uniform(generator, like=x if like is None else like) >= rate
    return x * (kept.astype(x.dtype) * (1 / (1 - rate)))


class Dropout(Layer):
    """In training each element is 0 with probability `rate`, else divided by 1 - rate (Srivastava et al. 2014)."""

    supports_masking = True
    free_names = ("rate",)

    def __init__(self, rate: float, input_shape: Shape | None = None, name: str | None = None) -> None:
        super().__init__(input_shape, name)
        self.rate = number("Dropout", "rate", rate, "[0, 1)")

    def apply(self, weights: Weights, x: Tensor, *, training: bool, generator: numpy.random.Generator | None) -> Tensor:
        if not training or not self.rate:
            return x
        return dropped(self.name, x, self.rate, generator, self.alike(x))

    def alike(self, x: Tensor) -> Tensor:
        """A part of x with an element for each that is drawn."""
        return x


class Lambda(Layer):
    """A function of x, of the user's own. Its gradient is the tape's; files know it by its name (`cg.nn.register`).

    function: takes the tensor, or the list of tensors, and `arguments` by name; returns tensors. The output's shape is
    found by trying it: output_shape and mask have no effect.
    """

    config_names = ("function", "arguments")

    def __init__(
        self,
        function: Callable[..., Any],
        output_shape: Any = None,
        mask: Any = None,
        arguments: dict[str, Any] | None = None,
        input_shape: Shape | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(input_shape, name)
        if not callable(function):
            raise UsageError(f"Lambda({function!r}): it takes a function of a tensor.")
        self.function, self.arguments = function, dict(arguments or {})

    def call(self, x: Any, training: bool = False, **others: Any) -> Any:
        """The function of x."""
        return self.function(x, **self.arguments)
