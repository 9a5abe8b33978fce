"""Layers that draw in training, and do nothing otherwise."""

from __future__ import annotations

from typing import ClassVar

import numpy

from ...checks import number
from ...engine import random
from ...engine.tensor import Tensor
from ...errors import ShapeError, UsageError
from .base import Layer, Shape, Weights
from .core import Dropout
from .space import data_format_of


class GaussianNoise(Layer):
    """In training x plus normal noise of deviation `stddev`."""

    supports_masking = True
    free_names = ("stddev",)

    def __init__(self, stddev: float, input_shape: Shape | None = None, name: str | None = None) -> None:
        super().__init__(input_shape, name)
        self.stddev = number("GaussianNoise", "stddev", stddev, "[0, ∞)")

    def apply(self, weights: Weights, x: Tensor, *, training: bool, generator: numpy.random.Generator | None) -> Tensor:
        if not training or not self.stddev:
            return x
        if generator is None:
            raise UsageError(f"{self.name}: noise in training draws random numbers: give generator=.")
        return x + random.normal(generator, like=x).astype(x.dtype) * self.stddev


class SpatialDropout1D(Dropout):
    """In training whole channels are 0 with probability `rate`, the rest divided by 1 - rate (Tompson et al. 2015)."""

    rank: ClassVar[int] = 1
    data_format = "channels_last"

    def output_shape(self, input_shape: Shape) -> Shape:
        if len(input_shape) != self.rank + 1:
            raise ShapeError(
                f"{self.name}: {type(self).__name__} takes samples with {self.rank + 1} axes, not {input_shape}."
            )
        return input_shape

    def alike(self, x: Tensor) -> Tensor:
        return x[:, :, :1] if self.data_format == "channels_first" else x[:, :1]


class SpatialDropout2D(SpatialDropout1D):
    """The same of samples (height, width, channels), or as data_format says."""

    rank = 2

    def __init__(
        self,
        rate: float,
        data_format: str | None = None,
        input_shape: Shape | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(rate, input_shape, name)
        self.data_format = data_format_of(data_format)

    def alike(self, x: Tensor) -> Tensor:
        return x[:, :, :1, :1] if self.data_format == "channels_first" else x[:, :1, :1]
