"""Normalisation: x less its mean, over its standard deviation, then scaled and shifted."""

from __future__ import annotations

import math

from ..engine.backend import Array, Namespace, device_of
from ..engine.cuda.launch import CudaKernel
from ..engine.kernels import chosen
from ..engine.namespace import Namespace as Taping
from ..engine.primitive import example, primitive
from ..errors import ShapeError, UsageError
from . import channels as launches


def moments(xp: Namespace, x: Array) -> tuple[Array, Array]:
    """The mean of each channel of x, and the mean squared distance from it: in two passes, or one launch."""
    found = (_in_two_passes if isinstance(xp, Taping) else _moments)(xp, x)
    return found[0], found[1]


def _in_two_passes(xp, x):
    mean = channel_means(xp, x, x.shape[-1])
    deviation = samples(xp, x) - everywhere(xp, mean, x.shape)
    return mean, channel_means(xp, deviation * deviation, x.shape[-1])


_moments = chosen(CudaKernel("channel_moments", launches.moments, launches.suits), _in_two_passes)


def channel_means(xp: Namespace, x: Array, channels: int) -> Array:
    """The mean of each of so many channels, the elements of x in turn being theirs."""
    return channel_sums(xp, x, channels) / (math.prod(x.shape) // channels)


def channel_sums(xp: Namespace, x: Array, channels: int) -> Array:
    """The sum of each channel: ones times rows, which rounds less and takes less time than a sum down the rows."""
    return (_ones_times_rows if isinstance(xp, Taping) else _channel_sums)(xp, x, channels=channels)


def _ones_times_rows(xp, x, *, channels):
    rows = xp.reshape(x, (math.prod(x.shape) // channels, channels))
    ones = xp.reshape(xp.ones_like(rows[:, 0]), (1, rows.shape[0]))
    return xp.reshape(xp.matmul(ones, rows), (channels,))


def _sums_of_rows(gpu, x, *, channels, out=None):
    return launches.sums(gpu, x.reshape(-1, channels), out)


_channel_sums = chosen(
    CudaKernel("channel_sums", _sums_of_rows, lambda x, channels: launches.suits(x)), _ones_times_rows
)


def samples(xp, x):
    """Each sample of x as one row: with few channels, loops over places and channels together are the faster ones.

    On a GPU x itself, as there loops take one number a channel as it is.
    """
    return x if _on_gpu(xp, x) else xp.reshape(x, (x.shape[0], math.prod(x.shape[1:])))


def everywhere(xp, v, shape):
    """One number a channel, repeated for each place of a sample, as `samples` lays them out."""
    places = math.prod(shape[1:-1])
    if places == 1 or _on_gpu(xp, v):
        return v
    return xp.reshape(xp.broadcast_to(v, (places, shape[-1])), (places * shape[-1],))


def _on_gpu(xp, x):
    """Whether it is an array on a GPU, rather than one on a CPU, or on the tape."""
    return not isinstance(xp, Taping) and device_of(x) != "cpu"


def _check_parameters(name, x, gamma, beta, epsilon):
    if not x.shape or gamma.shape != x.shape[-1:] or beta.shape != x.shape[-1:]:
        raise ShapeError(
            f"{name} cannot take x of shape {x.shape}, gamma of shape {gamma.shape} and beta of shape {beta.shape}: "
            "x is (…, channels), gamma and beta are (channels,)."
        )
    if not epsilon > 0:
        raise UsageError(f"{name}(epsilon={epsilon!r}): it is greater than 0, since a variance may be 0.")


@primitive(
    "m[k] = mean(x[..., k], ...); v[k] = mean((x[..., k] - m[k])**2, ...); "
    "y[..., k] = gamma[k] * (x[..., k] - m[k]) / sqrt(v[k] + epsilon) + beta[k]",
    saves=("x", "gamma"),
    analytic=True,
    examples=(
        example((3, 4), (4,), (4,)),
        example((2, 3, 3), (3,), (3,), epsilon=0.5),
        example((2, 2, 3, 2), (2,), (2,)),
    ),
)
def batch_normalization(xp, x, gamma, beta, *, epsilon=1e-3):
    """Each channel less its mean, over its standard deviation, times gamma, plus beta (Ioffe & Szegedy 2015, Alg. 1).

    Mean and variance (of the batch itself, without Bessel's correction) are over all axes but the last. x:
    (…, channels); gamma, beta: (channels,). With one value a channel the variance is 0, and y is beta.
    """
    mean, variance = moments(xp, x)
    factor = everywhere(xp, gamma / xp.sqrt(variance + epsilon), x.shape)
    y = (samples(xp, x) - everywhere(xp, mean, x.shape)) * factor + everywhere(xp, beta, x.shape)
    return xp.reshape(y, x.shape)


@batch_normalization.onnx
def _(xp, x, gamma, beta, epsilon):
    axes = tuple(range(len(x.shape) - 1))
    deviation = x - xp.mean(x, axis=axes)
    return deviation / xp.sqrt(xp.mean(xp.square(deviation), axis=axes) + epsilon) * gamma + beta


@batch_normalization.check
def _(x, gamma, beta, epsilon):
    _check_parameters("batch_normalization", x, gamma, beta, epsilon)
    if len(x.shape) < 2 or not math.prod(x.shape):
        raise ShapeError(f"batch_normalization takes a batch (batch, …, channels) of one or more, not shape {x.shape}.")


@batch_normalization.vjp(
    "x",
    "m[k] = mean(x[..., k], ...); s[k] = sqrt(mean((x[..., k] - m[k])**2, ...) + epsilon); "
    "g[k] = mean(gy[..., k], ...); h[k] = mean(gy[..., k] * (x[..., k] - m[k]), ...) / s[k]**2; "
    "gx[..., k] = gamma[k] / s[k] * (gy[..., k] - g[k] - h[k] * (x[..., k] - m[k]))",
)
def _(xp, gy, x, gamma, epsilon):
    mean, variance = moments(xp, x)
    deviation, incoming = samples(xp, x) - everywhere(xp, mean, x.shape), samples(xp, gy)
    slope, count = gamma / xp.sqrt(variance + epsilon), math.prod(x.shape[:-1])
    straight, along = _sums(xp, gy, x, mean, deviation)
    straight = slope * (straight / count)
    along = slope * (along / count) / (variance + epsilon)
    slope, straight, along = (everywhere(xp, v, x.shape) for v in (slope, straight, along))
    return xp.reshape(incoming * slope - (deviation * along + straight), x.shape)


@batch_normalization.vjp(
    "gamma",
    "m[k] = mean(x[..., k], ...); s[k] = sqrt(mean((x[..., k] - m[k])**2, ...) + epsilon); "
    "ggamma[k] = sum(gy[..., k] * (x[..., k] - m[k]) / s[k], ...)",
)
def _(xp, gy, x, epsilon):
    mean, variance = moments(xp, x)
    return _sum_along(xp, gy, x, mean) / xp.sqrt(variance + epsilon)


@batch_normalization.vjp("beta", "gbeta[k] = sum(gy[..., k], ...)")
def _(xp, gy, x):
    if _on_gpu(xp, x):  # in a recorded step it is at hand
        return _slopes(xp, gy, x, moments(xp, x)[0])[0]
    return channel_sums(xp, samples(xp, gy), gy.shape[-1])


@primitive(
    "y[..., k] = gamma[k] * (x[..., k] - mean[k]) / sqrt(variance[k] + epsilon) + beta[k]",
    saves=("x", "gamma", "mean", "variance"),
    analytic=True,
    domain={"variance": (0, math.inf)},
    examples=(example((3, 4), (4,), (4,), (4,), (4,)), example((2, 2, 3, 2), (2,), (2,), (2,), (2,), epsilon=0.5)),
)
def fixed_normalization(xp, x, gamma, beta, mean, variance, *, epsilon=1e-3):
    """`batch_normalization` with a mean and a variance that are given, as in inference (Ioffe & Szegedy 2015, Alg. 2).

    x: (batch, …, channels); the others: (channels,).
    """
    factor = everywhere(xp, gamma * _inverse(xp, variance, epsilon), x.shape)
    y = (samples(xp, x) - everywhere(xp, mean, x.shape)) * factor + everywhere(xp, beta, x.shape)
    return xp.reshape(y, x.shape)


fixed_normalization.onnx("y = gamma * (x - mean) / sqrt(variance + epsilon) + beta")


@fixed_normalization.check
def _(x, gamma, beta, mean, variance, epsilon):
    _check_parameters("fixed_normalization", x, gamma, beta, epsilon)
    if len(x.shape) < 2 or not mean.shape == variance.shape == gamma.shape:
        raise ShapeError(
            f"fixed_normalization cannot take x of shape {x.shape}, mean of shape {mean.shape} and variance of shape "
            f"{variance.shape}: x is (batch, …, channels), the others are (channels,)."
        )


@fixed_normalization.vjp("x", "gx[..., k] = gy[..., k] * gamma[k] / sqrt(variance[k] + epsilon)")
def _(xp, gy, gamma, variance, epsilon):
    factor = everywhere(xp, gamma * _inverse(xp, variance, epsilon), gy.shape)
    return xp.reshape(samples(xp, gy) * factor, gy.shape)


@fixed_normalization.vjp(
    "gamma", "ggamma[k] = sum(gy[..., k] * (x[..., k] - mean[k]), ...) / sqrt(variance[k] + epsilon)"
)
def _(xp, gy, x, mean, variance, epsilon):
    return _sum_along(xp, gy, x, mean) * _inverse(xp, variance, epsilon)


@fixed_normalization.vjp("beta", "gbeta[k] = sum(gy[..., k], ...)")
def _(xp, gy):
    return channel_sums(xp, samples(xp, gy), gy.shape[-1])


@fixed_normalization.vjp("mean", "gmean[k] = -sum(gy[..., k], ...) * gamma[k] / sqrt(variance[k] + epsilon)")
def _(xp, gy, gamma, variance, epsilon):
    return -channel_sums(xp, samples(xp, gy), gy.shape[-1]) * (gamma * _inverse(xp, variance, epsilon))


@fixed_normalization.vjp(
    "variance",
    "gvariance[k] = -sum(gy[..., k] * (x[..., k] - mean[k]), ...) * gamma[k] / (2 * (variance[k] + epsilon)**1.5)",
)
def _(xp, gy, x, gamma, mean, variance, epsilon):
    slope = gamma * _inverse(xp, variance, epsilon) / (2 * (variance + epsilon))
    return -_sum_along(xp, gy, x, mean) * slope


def _inverse(xp, variance, epsilon):
    return 1 / xp.sqrt(variance + epsilon)


def _by_loops(xp, gy, x, mean, deviation=None):
    if deviation is None:
        deviation = samples(xp, x) - everywhere(xp, mean, x.shape)
    incoming = samples(xp, gy)
    return channel_sums(xp, incoming, x.shape[-1]), channel_sums(xp, incoming * deviation, x.shape[-1])


_slopes = chosen(CudaKernel("channel_slopes", launches.slopes, launches.suits), _by_loops)


def _sums(xp, gy, x, mean, deviation):
    """Of each channel the sum of gy, and of gy times the distance of x from the mean, which is known."""
    found = _slopes(xp, gy, x, mean) if _on_gpu(xp, x) else _by_loops(xp, gy, x, mean, deviation)
    return found[0], found[1]


def _sum_along(xp, gy, x, mean):
    """Of each channel the sum of gy times the distance of x from the mean."""
    if _on_gpu(xp, x):
        return _slopes(xp, gy, x, mean)[1]
    deviation = samples(xp, x) - everywhere(xp, mean, x.shape)
    return channel_sums(xp, samples(xp, gy) * deviation, x.shape[-1])


@primitive(
    "m[...] = mean(x[..., k], k); v[...] = mean((x[..., k] - m[...])**2, k); "
    "y[..., k] = gamma[k] * (x[..., k] - m[...]) / sqrt(v[...] + epsilon) + beta[k]",
    saves=("x", "gamma"),
    analytic=True,
    examples=(
        example((3, 4), (4,), (4,)),
        example((2, 2, 3), (3,), (3,), epsilon=0.5),
        example((4,), (4,), (4,)),
    ),
)
def layer_normalization(xp, x, gamma, beta, *, epsilon=1e-3):
    """Each sample less its mean, over its standard deviation, times gamma, plus beta (Ba et al. 2016).

    Mean and variance are over the last axis. x: (…, channels); gamma, beta: (channels,).
    """
    deviation, inverse = _standardized(xp, x, epsilon)
    return deviation * inverse * gamma + beta


layer_normalization.onnx("LayerNormalization")  # over the last axis, as ours


@layer_normalization.check
def _(x, gamma, beta, epsilon):
    _check_parameters("layer_normalization", x, gamma, beta, epsilon)
    if not x.shape[-1]:
        raise ShapeError(f"layer_normalization of no channels: x has shape {x.shape}.")


@layer_normalization.vjp(
    "x",
    "m[...] = mean(x[..., i], i); s[...] = sqrt(mean((x[..., i] - m[...])**2, i) + epsilon); "
    "g[...] = mean(gy[..., i] * gamma[i], i); "
    "h[...] = mean(gy[..., i] * gamma[i] * (x[..., i] - m[...]), i) / s[...]**2; "
    "gx[..., k] = (gy[..., k] * gamma[k] - g[...] - h[...] * (x[..., k] - m[...])) / s[...]",
)
def _(xp, gy, x, gamma, epsilon):
    deviation, inverse = _standardized(xp, x, epsilon)
    normal, scaled = deviation * inverse, gy * gamma
    straight = xp.mean(scaled, axis=-1, keepdims=True)
    along = xp.mean(scaled * normal, axis=-1, keepdims=True)
    return inverse * (scaled - (normal * along + straight))


@layer_normalization.vjp(
    "gamma",
    "m[...] = mean(x[..., i], i); s[...] = sqrt(mean((x[..., i] - m[...])**2, i) + epsilon); "
    "ggamma[k] = sum(gy[..., k] * (x[..., k] - m[...]) / s[...], ...)",
)
def _(xp, gy, x, epsilon):
    deviation, inverse = _standardized(xp, x, epsilon)
    return channel_sums(xp, gy * (deviation * inverse), gy.shape[-1])


@layer_normalization.vjp("beta", "gbeta[k] = sum(gy[..., k], ...)")
def _(xp, gy):
    return channel_sums(xp, gy, gy.shape[-1])


def _standardized(xp, x, epsilon):
    """x less its mean over the last axis, and one over its standard deviation."""
    deviation = x - xp.mean(x, axis=-1, keepdims=True)
    return deviation, 1 / xp.sqrt(xp.mean(deviation * deviation, axis=-1, keepdims=True) + epsilon)
