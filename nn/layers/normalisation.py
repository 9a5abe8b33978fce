"""Layers that normalise: over the batch (Ioffe & Szegedy 2015), within each sample (Ba et al. 2016) or groups of its
channels (Wu & He 2018), or as the data were that they have seen.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar, cast

import numpy

from ...checks import is_whole, number, whole
from ...engine import backend
from ...engine.incoming import as_array
from ...engine.tensor import Tensor
from ...errors import ShapeError, UsageError
from ...ops.arithmetic import maximum
from ...ops.arrangement import moveaxis
from ...ops.elementary import sqrt
from ...ops.normalisation import batch_normalization, fixed_normalization, layer_normalization, moments
from ...ops.reduction import sum
from ...ops.shapes import broadcast_to
from ..initializers import Begin, Initializer, make_initializer
from .base import Beginnings, Layer, Shape, Weights


class Scaling(Layer, abstract=True):
    """γ (x - mean) / √(variance + ε) + β along `axis`, one or more axes of the batch. center: with β; scale: with γ."""

    supports_masking = True
    free_names: ClassVar[tuple[str, ...]] = ("epsilon",)

    def __init__(
        self,
        axis: int | Sequence[int],
        epsilon: float,
        center: bool,
        scale: bool,
        beta_initializer: str | Initializer,
        gamma_initializer: str | Initializer,
        input_shape: Shape | None,
        name: str | None,
    ) -> None:
        super().__init__(input_shape, name)
        kind = type(self).__name__
        axes = tuple(axis) if isinstance(axis, (tuple, list)) else (axis,)
        if not axes or not all(map(is_whole, axes)):
            raise UsageError(f"{kind}(axis={axis!r}): it is an axis of the batch by number; -1 is the last.")
        self.axis = tuple(map(int, axes)) if isinstance(axis, (tuple, list)) else int(axes[0])
        self.epsilon, self.center, self.scale = number(kind, "epsilon", epsilon, "(0, ∞)"), bool(center), bool(scale)
        self.beta_initializer, self.gamma_initializer = beta_initializer, gamma_initializer
        self._initializers = make_initializer(gamma_initializer), make_initializer(beta_initializer)

    def axes(self, input_shape: Shape) -> tuple[int, ...]:
        """`axis` as axes of a batch of such samples, in rising order; raises ShapeError where there is none such."""
        count = len(input_shape) + 1
        axes = self.axis if isinstance(self.axis, tuple) else (self.axis,)
        found = sorted({a % count for a in axes if -count <= a < count})
        if len(found) != len(axes) or found[0] == 0:
            raise ShapeError(
                f"{self.name}: {type(self).__name__}(axis={self.axis}) cannot take batches of shape "
                f"(batch, {', '.join(map(str, input_shape))}): axis is one of 1 … {count - 1}, or counted from the end."
            )
        return tuple(found)

    def output_shape(self, input_shape: Shape) -> Shape:
        self.axes(input_shape)
        return input_shape

    def weights_for(self, input_shape: Shape) -> Beginnings:
        shape, (gamma, beta) = self.along(input_shape), self._initializers
        weights = {"gamma": (shape, gamma)} if self.scale else {}
        return weights | ({"beta": (shape, beta)} if self.center else {})

    def along(self, input_shape: Shape) -> Shape:
        """The lengths of the axes `axis`: the shape of γ and β."""
        return tuple(input_shape[a - 1] for a in self.axes(input_shape))

    def apply(self, weights: Weights, x: Tensor, *, training: bool, generator: numpy.random.Generator | None) -> Tensor:
        axes = self.axes(x.shape[1:])
        rest = tuple(i for i in range(x.ndim) if i not in axes)
        order = (*rest, *axes)
        last = order == tuple(range(x.ndim))
        moved = x if last else x.transpose(order)
        flat = moved if len(axes) == 1 else moved.reshape(*moved.shape[: len(rest)], -1)
        y = self.normalize(weights, flat, training, generator)
        y = y if y.shape == moved.shape else y.reshape(moved.shape)
        return y if last else y.transpose(tuple(order.index(i) for i in range(x.ndim)))

    def normalize(self, weights: Weights, x: Tensor, training: bool, generator: Any) -> Tensor:
        """The same where `axis` is the last, and only, axis."""
        raise NotImplementedError

    def factors(self, weights: Weights, like: Tensor) -> list[Tensor]:
        """γ and β, as one axis; constants 1 and 0 where they are not learned. like: has the last axis and the dtype."""
        found = []
        with backend.working(like.device, self.name):
            for name, constant in (("gamma", "ones"), ("beta", "zeros")):
                weight = weights.get(name)
                if weight is None:
                    xp = backend.namespace_of(like.detach()._data)
                    weight = Tensor(getattr(xp, constant)(like.shape[-1], dtype=like.dtype))
                found.append(weight if weight.ndim == 1 else weight.reshape(-1))
        return found


class BatchNormalization(Scaling):
    """Each channel less its mean over the batch, over its standard deviation, times γ, plus β.

    In training mean and variance are the batch's own, and `moving_mean` and `moving_variance` follow them:
    moving ← momentum · moving + (1 - momentum) · batch. Otherwise those are used. axis: the axis of the channels;
    the batch is axis 0. A frozen layer (trainable = False) uses the moving ones in training, too. A batch with
    one value a channel has the variance 0, and gives β. Steps that a mask leaves out count in neither.
    """

    free_names = ("epsilon", "momentum")

    def __init__(
        self,
        axis: int = -1,
        momentum: float = 0.99,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: str | Initializer = "zeros",
        gamma_initializer: str | Initializer = "ones",
        moving_mean_initializer: str | Initializer = "zeros",
        moving_variance_initializer: str | Initializer = "ones",
        input_shape: Shape | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(axis, epsilon, center, scale, beta_initializer, gamma_initializer, input_shape, name)
        if not isinstance(self.axis, int):
            raise UsageError(f"BatchNormalization(axis={axis!r}): it is one axis, that of the channels.")
        self.momentum = number("BatchNormalization", "momentum", momentum, "[0, 1]")
        self.moving_mean_initializer = moving_mean_initializer
        self.moving_variance_initializer = moving_variance_initializer
        self._moving = make_initializer(moving_mean_initializer), make_initializer(moving_variance_initializer)

    def state_for(self, input_shape: Shape) -> Beginnings:
        shape, (mean, variance) = self.along(input_shape), self._moving
        return {"moving_mean": (shape, mean), "moving_variance": (shape, variance)}

    def apply(
        self, weights: Weights, x: Tensor, *, training: bool, generator: numpy.random.Generator | None,
        mask: Tensor | None = None,
    ) -> Tensor:  # fmt: skip
        if mask is None or mask.ndim != x.ndim - 1 or not (training and self.trainable):
            return super().apply(weights, x, training=training, generator=generator)
        (axis,) = self.axes(x.shape[1:])
        wide = x.astype("float32") if x.dtype.itemsize < 4 else x  # sums would go beyond float16
        counts = broadcast_to(mask.reshape(*mask.shape, 1), shape=x.shape).astype(wide.dtype)
        gamma, beta = self.factors(weights, self.state["moving_mean"])
        y = self._by_rows(moveaxis(wide, axis, -1), gamma, beta, moveaxis(counts, axis, -1), generator)
        return cast(Tensor, moveaxis(y, -1, axis).astype(x.dtype))

    def normalize(self, weights: Weights, x: Tensor, training: bool, generator: Any) -> Tensor:
        mean, variance = self.state["moving_mean"], self.state["moving_variance"]
        if training and self.trainable:
            gamma, beta = self.factors(weights, mean)
            if hasattr(generator, "share"):  # the batch is a share of one over several ranks
                return self._by_rows(x, gamma, beta, None, generator)
            if x.size:  # before the normalisation, so that what is a number a channel is one loop
                self.follow(x)
            return batch_normalization(x, gamma, beta, epsilon=self.epsilon)
        return fixed_normalization(x, *self.factors(weights, mean), mean, variance, epsilon=self.epsilon)

    def _by_rows(self, x: Tensor, gamma: Tensor, beta: Tensor, counts: Tensor | None, shard: Any) -> Tensor:
        """The same of the elements that count, all or where `counts` is 1. Where x is a rank's share of a batch, mean
        and variance are those of the whole batch.
        """
        channels = x.shape[-1]
        rows = x.reshape(-1, channels)
        summed = shard.summed if hasattr(shard, "share") else lambda each: each
        counts = None if counts is None else counts.reshape(-1, channels)

        def total(each: Tensor) -> Tensor:
            return cast(Tensor, summed(sum(each if counts is None else each * counts, axis=0)))

        if counts is None:
            count = shard.batch.astype(x.dtype) * (rows.shape[0] / x.shape[0])
        else:
            count = maximum(summed(sum(counts, axis=0)), 1.0)
        mean = total(rows) / count
        deviation = rows - mean
        variance = total(deviation * deviation) / count
        self._take_in(x, (mean.detach()._data, variance.detach()._data))
        y: Tensor = deviation / sqrt(variance + self.epsilon) * gamma + beta
        return y.reshape(x.shape)

    def follow(self, x: Tensor) -> None:
        """Take the statistics of a batch (…, channels) into the moving ones, in place; nothing of it goes on the tape.

        A replayed step computes them once, for this and for the normalisation: the calls are the same.
        """
        values = x.detach()._data
        narrow = values.dtype.kind != "f" or values.dtype.itemsize < 4  # its sums would go beyond it
        values = values.astype("float32") if narrow else values
        with backend.working(x.device, f"{self.name}: moving statistics"):
            self._take_in(x, moments(backend.namespace_of(values), values))

    def _take_in(self, x: Tensor, found: Sequence[Any]) -> None:
        """Let the moving statistics follow those of a batch."""
        with backend.working(x.device, f"{self.name}: moving statistics"):
            for moving, now in zip(self.state.values(), found, strict=True):
                kept = moving.detach()._data * self.momentum
                moving.assign(Tensor(kept + now * (1 - self.momentum)))


class LayerNormalization(Scaling):
    """Each sample less its mean along `axis`, over its standard deviation, times γ, plus β.

    axis: an axis of the batch, or several; γ and β have their lengths.
    """

    def __init__(
        self,
        axis: int | Sequence[int] = -1,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: str | Initializer = "zeros",
        gamma_initializer: str | Initializer = "ones",
        input_shape: Shape | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(axis, epsilon, center, scale, beta_initializer, gamma_initializer, input_shape, name)

    def normalize(self, weights: Weights, x: Tensor, training: bool, generator: Any) -> Tensor:
        return layer_normalization(x, *self.factors(weights, x), epsilon=self.epsilon)


class GroupNormalization(Scaling):
    """Each group of a sample's channels less its mean, over its standard deviation, times γ, plus β (Wu & He 2018).

    groups: how many, of neighbouring channels; -1 for as many as there are channels. axis: that of the channels.
    """

    def __init__(
        self,
        groups: int = 32,
        axis: int = -1,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: str | Initializer = "zeros",
        gamma_initializer: str | Initializer = "ones",
        input_shape: Shape | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(axis, epsilon, center, scale, beta_initializer, gamma_initializer, input_shape, name)
        self.groups = groups if groups == -1 else whole("GroupNormalization", "groups", groups)
        if not isinstance(self.axis, int):
            raise UsageError(f"GroupNormalization(axis={axis!r}): it is one axis, that of the channels.")

    def output_shape(self, input_shape: Shape) -> Shape:
        (channels,) = self.along(input_shape)
        if channels % self.groups:
            raise ShapeError(
                f"{self.name}: GroupNormalization(groups={self.groups}) takes samples whose number of channels "
                f"{self.groups} divides, not {channels}."
            )
        return input_shape

    def normalize(self, weights: Weights, x: Tensor, training: bool, generator: Any) -> Tensor:
        batch, places, channels = x.shape[0], math.prod(x.shape[1:-1]), x.shape[-1]
        groups = channels if self.groups == -1 else self.groups
        apart = x.reshape(batch, places, groups, channels // groups).transpose(0, 2, 1, 3)
        rows = apart.reshape(batch, groups, places * (channels // groups))
        y = layer_normalization(rows, *self.factors({}, rows), epsilon=self.epsilon)
        y = y.reshape(apart.shape).transpose(0, 2, 1, 3).reshape(x.shape)
        gamma, beta = self.factors(weights, x)
        return y * gamma + beta


class Normalization(Layer):
    """(x - mean) / √variance, of data as they are before the first layer that learns.

    axis: the axes of the batch that have a mean each; None for one of all. mean, variance: what they are; by default
    what `adapt` has found, and before that 0 and 1. invert: y √variance + mean instead.
    """

    supports_masking = True

    def __init__(
        self,
        axis: int | Sequence[int] | None = -1,
        mean: Any = None,
        variance: Any = None,
        invert: bool = False,
        input_shape: Shape | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(input_shape, name)
        if (mean is None) != (variance is None):
            raise UsageError("Normalization takes both mean and variance, or neither.")
        axes = tuple(axis) if isinstance(axis, (tuple, list)) else () if axis is None else (axis,)
        if not all(map(is_whole, axes)):
            raise UsageError(f"Normalization(axis={axis!r}): it is an axis of the batch by number, several, or None.")
        self.axis, self.invert = (None if axis is None else axes if len(axes) > 1 else axes[0]), bool(invert)
        given = [None if v is None else as_array(v, "Normalization").astype("float64") for v in (mean, variance)]
        self.mean, self.variance = (None if v is None else v.tolist() for v in given)
        self._found = [0.0, 1.0] if mean is None else given

    def axes(self, count: int) -> tuple[int, ...]:
        """`axis` as axes of a batch with so many axes."""
        axes = self.axis if isinstance(self.axis, tuple) else () if self.axis is None else (self.axis,)
        if not all(-count <= a < count and a % count for a in axes):
            raise ShapeError(f"{self.name}: Normalization(axis={self.axis}) of batches with {count} axes.")
        return tuple(sorted(a % count for a in axes))

    def adapt(self, data: Any) -> None:
        """Take mean and variance of these data, (samples, …), once, on the CPU."""
        x = as_array(data, "the data").astype("float64")
        if self.mean is not None:
            raise UsageError(f"{self.name}: mean and variance were given already.")
        over = tuple(a for a in range(x.ndim) if a not in self.axes(x.ndim))
        self._found = [x.mean(over), x.var(over)]
        for name, value in zip(self.state, self._found, strict=False):
            kept = self.state[name]
            kept.assign(Tensor(backend.to_device(value.astype(kept.dtype), kept.device)))

    def state_for(self, input_shape: Shape) -> Beginnings:
        shape = tuple((0, *input_shape)[a] for a in self.axes(len(input_shape) + 1))

        def begins(value: Any) -> Begin:
            return lambda generator, shape: numpy.broadcast_to(numpy.squeeze(value), shape).copy()

        return {name: (shape, begins(v)) for name, v in zip(("data_mean", "data_variance"), self._found, strict=True)}

    def apply(self, weights: Weights, x: Tensor, *, training: bool, generator: numpy.random.Generator | None) -> Tensor:
        axes = self.axes(x.ndim)
        shape = [n if a in axes else 1 for a, n in enumerate(x.shape)]
        mean, variance = (v.detach().reshape(shape) for v in self.state.values())
        deviation = maximum(sqrt(variance), 1e-7)
        return x * deviation + mean if self.invert else (x - mean) / deviation
