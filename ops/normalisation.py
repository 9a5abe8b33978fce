"""Normalisation: x less its mean, over its standard deviation, then scaled and shifted."""

from __future__ import annotations

import math

from ..engine.backend import Array, Namespace
from ..engine.errors import ShapeError, UsageError
from ..engine.primitive import example, primitive


def moments(xp: Namespace, rows: Array) -> tuple[Array, Array]:
    """The mean of each column, and the mean squared distance from it, of an array (rows, columns): in two passes."""
    mean = column_means(xp, rows)
    deviation = rows - mean
    return mean, column_means(xp, deviation * deviation)


def column_means(xp: Namespace, rows: Array) -> Array:
    """The mean of each column: ones times the rows, which rounds less and takes less time than a sum down the rows."""
    return column_sums(xp, rows) / rows.shape[0]


def column_sums(xp: Namespace, rows: Array) -> Array:
    """The sum of each column."""
    ones = xp.reshape(xp.ones_like(rows[:, 0]), (1, rows.shape[0]))
    return xp.reshape(xp.matmul(ones, rows), (rows.shape[1],))


def as_rows(xp: Namespace, x: Array) -> Array:
    """x of shape (…, channels) as (rows, channels)."""
    return xp.reshape(x, (math.prod(x.shape[:-1]), x.shape[-1]))


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
    (…, channels) with two or more values a channel; gamma, beta: (channels,).
    """
    rows = as_rows(xp, x)
    mean, variance = moments(xp, rows)
    return xp.reshape((rows - mean) * (gamma / xp.sqrt(variance + epsilon)) + beta, x.shape)


@batch_normalization.check
def _(x, gamma, beta, epsilon):
    _check_parameters("batch_normalization", x, gamma, beta, epsilon)
    if math.prod(x.shape[:-1]) < 2:
        raise ShapeError(
            f"batch_normalization takes two or more values for each channel, and x of shape {x.shape} has "
            f"{math.prod(x.shape[:-1])}: with one the variance is 0, and nothing is left. Train with larger batches "
            "(and a batch_size that leaves no single sample over), or normalise by moving statistics."
        )


@batch_normalization.vjp(
    "x",
    "m[k] = mean(x[..., k], ...); s[k] = sqrt(mean((x[..., k] - m[k])**2, ...) + epsilon); "
    "g[k] = mean(gy[..., k], ...); h[k] = mean(gy[..., k] * (x[..., k] - m[k]), ...) / s[k]**2; "
    "gx[..., k] = gamma[k] / s[k] * (gy[..., k] - g[k] - h[k] * (x[..., k] - m[k]))",
)
def _(xp, gy, x, gamma, epsilon):
    rows, gy_rows = as_rows(xp, x), as_rows(xp, gy)
    mean, variance = moments(xp, rows)
    deviation, slope = rows - mean, gamma / xp.sqrt(variance + epsilon)
    straight = slope * column_means(xp, gy_rows)
    along = slope * column_means(xp, gy_rows * deviation) / (variance + epsilon)
    return xp.reshape(gy_rows * slope - (deviation * along + straight), x.shape)


@batch_normalization.vjp(
    "gamma",
    "m[k] = mean(x[..., k], ...); s[k] = sqrt(mean((x[..., k] - m[k])**2, ...) + epsilon); "
    "ggamma[k] = sum(gy[..., k] * (x[..., k] - m[k]) / s[k], ...)",
)
def _(xp, gy, x, epsilon):
    rows = as_rows(xp, x)
    mean, variance = moments(xp, rows)
    return column_sums(xp, as_rows(xp, gy) * (rows - mean)) / xp.sqrt(variance + epsilon)


@batch_normalization.vjp("beta", "gbeta[k] = sum(gy[..., k], ...)")
def _(xp, gy):
    return column_sums(xp, as_rows(xp, gy))


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
    return column_sums(xp, as_rows(xp, gy * (deviation * inverse)))


@layer_normalization.vjp("beta", "gbeta[k] = sum(gy[..., k], ...)")
def _(xp, gy):
    return column_sums(xp, as_rows(xp, gy))


def _standardized(xp, x, epsilon):
    """x less its mean over the last axis, and one over its standard deviation."""
    deviation = x - xp.mean(x, axis=-1, keepdims=True)
    return deviation, 1 / xp.sqrt(xp.mean(deviation * deviation, axis=-1, keepdims=True) + epsilon)
