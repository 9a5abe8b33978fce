"""Steps that do not count."""

from __future__ import annotations

import numpy

from ...checks import number
from ...engine.tensor import Tensor
from ...ops.reduction import any as any_of
from .base import Layer, Shape, Weights


class Masking(Layer):
    """Steps of which all features are `mask_value` do not count: layers behind it that know of masks leave them out."""

    makes_mask, supports_masking = True, True

    def __init__(self, mask_value: float = 0.0, input_shape: Shape | None = None, name: str | None = None) -> None:
        super().__init__(input_shape, name)
        self.mask_value = number("Masking", "mask_value", mask_value)

    def compute_mask(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Whether any feature is another."""
        return any_of(x != self.mask_value, axis=-1)

    def apply(self, weights: Weights, x: Tensor, *, training: bool, generator: numpy.random.Generator | None) -> Tensor:
        return x * any_of(x != self.mask_value, axis=-1, keepdims=True).astype(x.dtype)
