"""Layers that only move elements about: axes in another order, samples repeated, borders put on and cut off."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy

from ...checks import whole, wholes
from ...engine.tensor import Tensor, tensor
from ...errors import ShapeError, UsageError, unknown_name
from ...ops.linalg import einsum
from ...ops.shapes import broadcast_to, pad
from ...ops.windows import per_axis
from .base import Layer, Shape, Weights
from .space import data_format_of, put_together, taken_apart

Widths = int | Sequence[int] | Sequence[Sequence[int]]


class Permute(Layer):
    """The axes of a sample in another order. dims: for each axis of the result which one of the sample, from 1 on."""

    takes_integers = None

    def __init__(self, dims: Sequence[int], input_shape: Shape | None = None, name: str | None = None) -> None:
        super().__init__(input_shape, name)
        order = wholes(dims)
        if order is None or sorted(order) != list(range(1, len(order) + 1)):
            raise UsageError(f"Permute({dims!r}): it takes the axes of a sample in an order, such as (2, 1).")
        self.dims = order

    def output_shape(self, input_shape: Shape) -> Shape:
        if len(input_shape) != len(self.dims):
            raise ShapeError(f"{self.name}: Permute({self.dims}) cannot take samples of shape {input_shape}.")
        return tuple(input_shape[d - 1] for d in self.dims)

    def apply(self, weights: Weights, x: Tensor, *, training: bool, generator: numpy.random.Generator | None) -> Tensor:
        return x.transpose((0, *self.dims))


class RepeatVector(Layer):
    """Each sample n times: (batch, features) becomes (batch, n, features)."""

    takes_integers = None

    def __init__(self, n: int, input_shape: Shape | None = None, name: str | None = None) -> None:
        super().__init__(input_shape, name)
        self.n = whole("RepeatVector", "n", n)

    def output_shape(self, input_shape: Shape) -> Shape:
        if len(input_shape) != 1:
            raise ShapeError(f"{self.name}: RepeatVector takes batches (batch, features), not samples {input_shape}.")
        return (self.n, *input_shape)

    def apply(self, weights: Weights, x: Tensor, *, training: bool, generator: numpy.random.Generator | None) -> Tensor:
        return broadcast_to(x[:, None], (x.shape[0], self.n, x.shape[1]))


class Spatial(Layer, abstract=True):
    """What changes the lengths of the axes of space alone."""

    rank: ClassVar[int] = 2
    takes_integers: ClassVar[bool | None] = None
    data_format = "channels_last"

    def lengths(self, given: Shape) -> Shape:
        """The lengths in space that become of these."""
        raise NotImplementedError

    def output_shape(self, input_shape: Shape) -> Shape:
        given, channels = taken_apart(self, input_shape, self.rank, self.data_format)
        return put_together(self.lengths(given), channels, self.data_format)

    def everywhere(self, of_space: Sequence[Any], other: Any) -> tuple[Any, ...]:
        """One value for each axis of the batch: those of space in their places."""
        first = self.data_format == "channels_first"
        return (other, other, *of_space) if first else (other, *of_space, other)


class UpSampling2D(Spatial):
    """Height and width times `size`. interpolation: "nearest" repeats elements, "bilinear" goes straight between."""

    def __init__(
        self,
        size: int | tuple[int, ...] = 2,
        data_format: str | None = None,
        interpolation: str = "nearest",
        input_shape: Shape | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(input_shape, name)
        if interpolation not in ("nearest", "bilinear"):
            raise unknown_name("interpolation", interpolation, ("nearest", "bilinear"))
        self.size, self.data_format = per_axis("UpSampling2D", "size", size, 2), data_format_of(data_format)
        self.interpolation = interpolation

    def lengths(self, given: Shape) -> Shape:
        return tuple(n * s for n, s in zip(given, self.size, strict=True))

    def apply(self, weights: Weights, x: Tensor, *, training: bool, generator: numpy.random.Generator | None) -> Tensor:
        places = self.everywhere([1, 2], 0) if self.data_format == "channels_last" else (0, 0, 1, 2)
        if self.interpolation == "bilinear":
            for axis, place in enumerate(places):
                if place:
                    between = tensor(_between(x.shape[axis], self.size[place - 1]), dtype=x.dtype, device=x.device)
                    letters = "abcd".replace("abcd"[axis], "i")
                    x = einsum(f"oi,{letters}->{letters.replace('i', 'o')}", between, x)
            return x
        wide, whole_shape = list[int](), list[int]()
        for n, place in zip(x.shape, places, strict=True):
            wide += [n, self.size[place - 1]] if place else [n]
            whole_shape.append(n * self.size[place - 1] if place else n)
        ones = [m for n, place in zip(x.shape, places, strict=True) for m in ((n, 1) if place else (n,))]
        return broadcast_to(x.reshape(ones), tuple(wide)).reshape(whole_shape)


def _between(length: int, size: int) -> Any:
    """What each of length · size places, half a pixel apart from the end, has of the `length` elements (rows)."""
    places = (numpy.arange(length * size) + 0.5) / size - 0.5
    places = numpy.clip(places, 0, length - 1)
    return numpy.maximum(0, 1 - numpy.abs(places[:, None] - numpy.arange(length)))


class ZeroPadding2D(Spatial):
    """Zeros around height and width. padding: a width, one for each axis, or a pair (before, after) for each."""

    takes_integers = False

    def __init__(
        self,
        padding: Widths = 1,
        data_format: str | None = None,
        input_shape: Shape | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(input_shape, name)
        self.padding, self.data_format = _pairs(self, "padding", padding), data_format_of(data_format)

    def lengths(self, given: Shape) -> Shape:
        return tuple(n + sum(pair) for n, pair in zip(given, self.padding, strict=True))

    def apply(self, weights: Weights, x: Tensor, *, training: bool, generator: numpy.random.Generator | None) -> Tensor:
        return pad(x, self.everywhere(self.padding, (0, 0)))


class Cropping2D(Spatial):
    """Height and width without their ends. cropping: a width, one for each axis, or a pair (before, after) for each."""

    def __init__(
        self,
        cropping: Widths = 0,
        data_format: str | None = None,
        input_shape: Shape | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(input_shape, name)
        self.cropping, self.data_format = _pairs(self, "cropping", cropping), data_format_of(data_format)

    def lengths(self, given: Shape) -> Shape:
        left = tuple(n - sum(pair) for n, pair in zip(given, self.cropping, strict=True))
        if min(left) < 1:
            raise ShapeError(f"{self.name}: cropping={self.cropping} leaves nothing of {given}.")
        return left

    def apply(self, weights: Weights, x: Tensor, *, training: bool, generator: numpy.random.Generator | None) -> Tensor:
        axes = self.everywhere(self.cropping, (0, 0))
        return x[tuple(slice(before, n - after) for n, (before, after) in zip(x.shape, axes, strict=True))]


class ZeroPadding1D(ZeroPadding2D):
    """Zeros before and after one axis. padding: a width, or a pair (before, after)."""

    rank = 1


class Cropping1D(Cropping2D):
    """One axis without its ends. cropping: a width, or a pair (before, after)."""

    rank = 1


def _pairs(layer: Spatial, name: str, value: Any) -> tuple[tuple[int, ...], ...]:
    """(before, after) for each axis of space."""
    kind, rank = type(layer).__name__, layer.rank
    if rank == 1 and isinstance(value, (tuple, list)) and len(value) == 2:
        value = (value,)
    each = tuple(value) if isinstance(value, (tuple, list)) else (value,) * rank
    if len(each) != rank:
        raise UsageError(f"{kind}({name}={value!r}): it is a width, or for each axis one or (before, after).")
    return tuple(per_axis(kind, name, part, 2, 0) for part in each)
