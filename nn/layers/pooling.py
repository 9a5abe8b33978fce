"""Pooling layers, with Keras's arguments and output shapes."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy

from ...engine.tensor import Tensor
from ...ops.arithmetic import maximum
from ...ops.pooling import average_pool, global_average_pool, global_max_pool, max_pool
from ...ops.shapes import expand_dims
from ...ops.windows import output_lengths, padding_of, per_axis
from .base import Layer, Shape, Weights
from .space import data_format_of, padding_named, put_together, taken_apart

Sizes = int | tuple[int, ...]


class Pooling(Layer, abstract=True):
    """One number for each window of each channel.

    pool_size: of the window; an integer, or one for each axis. strides: from one window to the next, by default
    pool_size. padding: "valid", or "same", where windows reach over the end; what lies outside does not count.
    data_format: "channels_last", (batch, *space, channels), or "channels_first".
    """

    rank: ClassVar[int] = 2
    primitive: ClassVar[Any]
    _strides_follow = False

    def __init__(
        self,
        pool_size: Sizes = 2,
        strides: Sizes | None = None,
        padding: str = "valid",
        data_format: str | None = None,
        input_shape: Shape | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(input_shape, name)
        kind = type(self).__name__
        self.pool_size = per_axis(kind, "pool_size", pool_size, self.rank)
        self.strides = self.pool_size if strides is None else per_axis(kind, "strides", strides, self.rank)
        self._strides_follow = strides is None
        self.padding, self.data_format = padding_named(padding), data_format_of(data_format)

    def given(self, own: type[Layer]) -> dict[str, Any]:
        return super().given(own) | ({"strides": None} if self._strides_follow else {})

    def output_shape(self, input_shape: Shape) -> Shape:
        lengths, channels = taken_apart(self, input_shape, self.rank, self.data_format)
        window = self.pool_size, self.strides
        apart = (1,) * self.rank
        border = padding_of(self.name, self.padding, lengths, *window, apart)
        return put_together(output_lengths(lengths, *window, border, apart, self.name), channels, self.data_format)

    def apply(self, weights: Weights, x: Tensor, *, training: bool, generator: numpy.random.Generator | None) -> Tensor:
        first = self.data_format == "channels_first"
        pooled: Tensor = self.primitive(
            x, size=self.pool_size, stride=self.strides, padding=self.padding, channels_first=first
        )
        return pooled


class MaxPooling2D(Pooling):
    """The greatest of each window, over height and width."""

    primitive = max_pool


class AveragePooling2D(Pooling):
    """The mean of each window, over height and width."""

    primitive = average_pool


class MaxPooling1D(Pooling):
    """The greatest of each window, along one axis."""

    rank, primitive = 1, max_pool


class AveragePooling1D(Pooling):
    """The mean of each window, along one axis."""

    rank, primitive = 1, average_pool


class GlobalPooling(Layer, abstract=True):
    """One number for each channel. keepdims: keep the axes of space, with length 1. data_format: as for pooling."""

    rank: ClassVar[int] = 2
    primitive: ClassVar[Any]

    def __init__(
        self,
        data_format: str | None = None,
        keepdims: bool = False,
        input_shape: Shape | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(input_shape, name)
        self.data_format, self.keepdims = data_format_of(data_format), bool(keepdims)

    def output_shape(self, input_shape: Shape) -> Shape:
        _, channels = taken_apart(self, input_shape, self.rank, self.data_format)
        return put_together((1,) * self.rank, channels, self.data_format) if self.keepdims else (channels,)

    def apply(self, weights: Weights, x: Tensor, *, training: bool, generator: numpy.random.Generator | None) -> Tensor:
        y: Tensor = self.primitive(x, channels_first=self.data_format == "channels_first")
        return y.reshape(x.shape[0], *self.output_shape(x.shape[1:])) if self.keepdims else y


class GlobalAveragePooling2D(GlobalPooling):
    """The mean of each channel over height and width: (batch, height, width, channels) becomes (batch, channels)."""

    primitive = global_average_pool


class GlobalMaxPooling2D(GlobalPooling):
    """The greatest of each channel over height and width."""

    primitive = global_max_pool


class GlobalAveragePooling1D(GlobalPooling):
    """The mean of each channel along one axis; where a mask of it comes, of the steps that count."""

    rank, primitive = 1, global_average_pool

    def apply(
        self, weights: Weights, x: Tensor, *, training: bool, generator: numpy.random.Generator | None,
        mask: Tensor | None = None,
    ) -> Tensor:  # fmt: skip
        if mask is not None:
            steps = 2 if self.data_format == "channels_first" else 1
            counts = mask.astype(x.dtype)
            share = maximum(counts.mean(axis=1, keepdims=True), 1 / (2 * x.shape[steps]))
            x = x * expand_dims(counts / share, 3 - steps)
        return super().apply(weights, x, training=training, generator=generator)


class GlobalMaxPooling1D(GlobalPooling):
    """The greatest of each channel along one axis."""

    rank, primitive = 1, global_max_pool
