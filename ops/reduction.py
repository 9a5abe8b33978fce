"""Sums, means, extremes and spreads over axes, with NumPy's `axis` and `keepdims`."""

from __future__ import annotations

import numpy

from ..engine.primitive import example, primitive
from ..equation.code import count_over, kept
from ..errors import ShapeError
from .activation import softmax

OVER_AXES = (
    example((3, 4)),
    example((3, 4), axis=0),
    example((2, 3, 4), axis=(0, 2), keepdims=True),
    example((2, 3), axis=-1, keepdims=True),
    example(()),
)


def spread(xp, gy, x_shape, axis):
    """gy repeated along the reduced axes, in the shape of x."""
    return xp.broadcast_to(kept(xp, gy, x_shape, axis), x_shape)


@primitive("y[...] = sum(x[..., j], j)", saves=("x.shape",), analytic=True, method=True, examples=OVER_AXES)
def sum(x, axis=None, keepdims=False):
    """Sum over the axes `axis` (all by default)."""


sum.vjp("x", "gx[..., j] = gy[...]")


@primitive("y[...] = mean(x[..., j], j)", saves=("x.shape",), analytic=True, method=True, examples=OVER_AXES)
def mean(x, axis=None, keepdims=False):
    """Arithmetic mean over the axes `axis` (all by default)."""


@mean.check
def _(x, axis, keepdims):
    if not count_over(x.shape, axis):
        raise ShapeError(f"mean of no elements: x has shape {x.shape}, axis={axis}.")


mean.vjp("x", "gx[..., j] = gy[...] / sum(1, j)")


@primitive(
    "y[...] = max(x[..., j], j)", saves=("x", "y"), kink="x[..., i] - x[..., j]", method=True, synonyms=("amax",),
    examples=OVER_AXES,
)  # fmt: skip
def max(x, axis=None, keepdims=False):
    """The greatest over the axes `axis`. Ties share the gradient equally."""


max.vjp("x", "gx[..., j] = (gy[...] if x[..., j] == y[...] else 0) / sum(1 if x[..., i] == y[...] else 0, i)")


@primitive(
    "y[...] = min(x[..., j], j)", saves=("x", "y"), kink="x[..., i] - x[..., j]", method=True, synonyms=("amin",),
    examples=OVER_AXES,
)  # fmt: skip
def min(x, axis=None, keepdims=False):
    """The least over the axes `axis`. Ties share the gradient equally."""


min.vjp("x", "gx[..., j] = (gy[...] if x[..., j] == y[...] else 0) / sum(1 if x[..., i] == y[...] else 0, i)")


@primitive(
    "y = argmax(x, axis)",
    kink="x[..., i] - x[..., j]",
    method=True,
    examples=(example((3, 4)), example((3, 4), axis=-1)),
)
def argmax(x, axis=None):
    """The index of the first greatest element along `axis` (of the flattened array by default), without gradient."""


@primitive(
    "m[...] = mean(x[..., i], i); y[...] = sum((x[..., j] - m[...])**2, j) / (sum(1, j) - ddof)",
    saves=("x",),
    analytic=True,
    method=True,
    examples=(*(e for e in OVER_AXES if e.shapes != ((),)), example((5,), ddof=1)),
)
def var(x, axis=None, ddof=0, keepdims=False):
    """Variance over the axes `axis`: the mean squared distance from the mean; ddof is taken off the count."""


@var.check
def _(x, axis, ddof, keepdims):
    if count_over(x.shape, axis) <= ddof:
        raise ShapeError(f"var needs more than ddof={ddof} elements: x has shape {x.shape}, axis={axis}.")


@var.vjp("x", "m[...] = mean(x[..., i], i); gx[..., j] = gy[...] * 2 * (x[..., j] - m[...]) / (sum(1, i) - ddof)")
def _(xp, gy, x, axis, ddof):
    deviation = x - xp.mean(x, axis=axis, keepdims=True)
    return spread(xp, gy, x.shape, axis) * (deviation * (2 / (count_over(x.shape, axis) - ddof)))


@primitive("y[...] = log(sum(exp(x[..., j]), j))", saves=("x",), domain=(-700, 700), method=True, examples=OVER_AXES)
def logsumexp(xp, x, axis=None, keepdims=False):
    """log Σ exp over the axes `axis`, never overflowing. Its gradient is not a number where the greatest is ±∞.

    Of -∞ alone it is -∞; beside a +∞ it is that.
    """
    top, largest = xp.max(x, axis=axis, keepdims=True), float(numpy.finfo(x.dtype).max)
    total = xp.sum(xp.exp(x - xp.clip(top, -largest, largest)), axis=axis, keepdims=True)
    total = xp.log(xp.maximum(total, 1)) + top  # a term is 1, where the greatest is finite
    return total if keepdims else xp.squeeze(total, axis=axis)


@logsumexp.vjp("x", "gx[..., j] = gy[...] * exp(x[..., j] - y[...])")
def _(xp, gy, x, axis):
    return spread(xp, gy, x.shape, axis) * softmax.apply(xp, x, axis=axis)
