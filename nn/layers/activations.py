"""Activation functions that are layers, as Keras has them: with numbers of their own, or weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy

from ...checks import is_whole, number, wholes
from ...engine.tensor import Tensor
from ...errors import ShapeError, UsageError
from ...ops.activation import elu, leaky_relu, relu, softmax
from ...ops.arithmetic import maximum, minimum, where
from ..initializers import Initializer, make_initializer
from .base import Beginnings, Layer, Shape, Weights
from .core import Activation


class ReLU(Layer):
    """max(x, 0), elementwise (D8); at most `max_value`, and below `threshold` negative_slope · (x - threshold)."""

    supports_masking = True
    free_names = ("max_value", "negative_slope", "threshold")

    def __init__(
        self,
        max_value: float | None = None,
        negative_slope: float = 0.0,
        threshold: float = 0.0,
        input_shape: Shape | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(input_shape, name)
        self.max_value = None if max_value is None else number("ReLU", "max_value", max_value, "[0, ∞)")
        self.negative_slope = number("ReLU", "negative_slope", negative_slope, "[0, ∞)")
        self.threshold = number("ReLU", "threshold", threshold, "[0, ∞)")

    def apply(self, weights: Weights, x: Tensor, *, training: bool, generator: numpy.random.Generator | None) -> Tensor:
        if self.threshold:
            y = where(x >= self.threshold, x, (x - self.threshold) * self.negative_slope)
        else:
            y = leaky_relu(x, self.negative_slope) if self.negative_slope else relu(x)
        return y if self.max_value is None else minimum(y, self.max_value)


class LeakyReLU(Layer):
    """x where it is above 0, else negative_slope · x, elementwise (Maas et al. 2013)."""

    supports_masking = True
    free_names = ("negative_slope",)

    def __init__(self, negative_slope: float = 0.3, input_shape: Shape | None = None, name: str | None = None) -> None:
        super().__init__(input_shape, name)
        self.negative_slope = number("LeakyReLU", "negative_slope", negative_slope, "[0, ∞)")

    def apply(self, weights: Weights, x: Tensor, *, training: bool, generator: numpy.random.Generator | None) -> Tensor:
        return leaky_relu(x, self.negative_slope)


class PReLU(Layer):
    """x where it is above 0, else α · x with an α that is learned (He et al. 2015).

    α has the shape of a sample, but for length 1 along shared_axes (the first axis of a sample is 1).
    """

    supports_masking = True

    def __init__(
        self,
        alpha_initializer: str | Initializer = "zeros",
        shared_axes: int | Sequence[int] | None = None,
        input_shape: Shape | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(input_shape, name)
        axes = wholes([shared_axes] if is_whole(shared_axes) else shared_axes or ())
        if axes is None or any(a < 1 for a in axes):
            raise UsageError(f"PReLU(shared_axes={shared_axes!r}): they are axes of the batch by number, from 1 on.")
        self.alpha_initializer, self.shared_axes = alpha_initializer, axes or None
        self._initializer = make_initializer(alpha_initializer)

    def weights_for(self, input_shape: Shape) -> Beginnings:
        shared = self.shared_axes or ()
        if any(a > len(input_shape) for a in shared):
            raise ShapeError(f"{self.name}: PReLU(shared_axes={shared}) has other axes than samples {input_shape}.")
        shape = tuple(1 if a in shared else n for a, n in enumerate(input_shape, 1))
        return {"alpha": (shape, self._initializer)}

    def apply(self, weights: Weights, x: Tensor, *, training: bool, generator: numpy.random.Generator | None) -> Tensor:
        return maximum(x, 0) + weights["alpha"] * minimum(x, 0)


class ELU(Layer):
    """x where it is above 0, else alpha · (exp(x) - 1), elementwise (Clevert et al. 2016)."""

    supports_masking = True
    free_names = ("alpha",)

    def __init__(self, alpha: float = 1.0, input_shape: Shape | None = None, name: str | None = None) -> None:
        super().__init__(input_shape, name)
        self.alpha = number("ELU", "alpha", alpha, "[0, ∞)")

    def apply(self, weights: Weights, x: Tensor, *, training: bool, generator: numpy.random.Generator | None) -> Tensor:
        return elu(x, self.alpha)


class Softmax(Activation):
    """Softmax along `axis` of the batch, by default the last (D10)."""

    config_names = ("axis",)

    def __init__(self, axis: int = -1, input_shape: Shape | None = None, name: str | None = None) -> None:
        if not is_whole(axis) or axis == 0:
            raise UsageError(f"Softmax(axis={axis!r}): it is an axis of the batch by number; -1 is the last.")
        self.axis = int(axis)
        super().__init__("softmax" if axis == -1 else self.along, input_shape, name)

    def along(self, x: Tensor) -> Any:
        """softmax along `axis`."""
        return softmax(x, axis=self.axis)

    def output_shape(self, input_shape: Shape) -> Shape:
        if not -len(input_shape) <= self.axis <= len(input_shape):
            raise ShapeError(f"{self.name}: Softmax(axis={self.axis}) of batches (batch, {str(input_shape)[1:]}.")
        return input_shape
