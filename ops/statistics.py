"""NumPy's spreads, means and orders of many numbers, composed; and those that leave out what is not a number."""

from __future__ import annotations

import math
from typing import Any

import numpy

from ..engine.namespace import namespace
from ..engine.tensor import Tensor
from ..equation.axes import axes_of, kept_shape
from ..errors import ShapeError, UsageError
from .arithmetic import multiply, where
from .arrangement import along, atleast_2d, moveaxis, ravel, sort
from .composed import composition, constant, floating, given
from .creation import ones_like
from .elementary import sqrt
from .logic import isnan, logical_not
from .reduction import all, cumsum, max, mean, min, prod, running_product, sum, var
from .shapes import concatenate, reshape, swap_last


@composition(methods=("std",))
def std(x, axis=None, ddof=0, keepdims=False):
    """Standard deviation over the axes `axis`: the root of the variance. At 0 its gradient is infinite."""
    return sqrt(var(x, axis, ddof, keepdims))


@composition
def ptp(x, axis=None, keepdims=False):
    """The greatest less the least over the axes `axis`."""
    return max(x, axis, keepdims) - min(x, axis, keepdims)


@composition(methods=("cumprod",))
def cumprod(x, axis=None):
    """The products of the first elements along `axis` (of the flattened array by default)."""
    x, axis = (ravel(x), 0) if axis is None else (given(x), axis)
    if x.dtype.kind in "biu":  # as wide as a sum of them is
        x = x.astype("uint64" if x.dtype.kind == "u" else "int64")
    return moveaxis(running_product(namespace, moveaxis(x, axis, -1)), -1, axis)


@composition
def average(x, axis=None, weights=None, returned=False) -> Any:
    """Mean over `axis`, with weights of the shape of x or of the axis; returned: also the sum of the weights."""
    x = given(x)
    ones = ones_like(floating(x))
    weights = ones if weights is None else given(weights, x)
    if isinstance(axis, int) and weights.shape != x.shape:
        weights = moveaxis(reshape(weights, (*weights.shape, *(1,) * (len(x.shape) - 1))), 0, axis) * ones
    total = sum(weights, axis)
    y = sum(multiply(x, weights), axis) / total
    return (y, total) if returned else y


@composition
def cov(m, y=None, rowvar=True, bias=False, ddof=None):
    """The covariances of variables: rows by default; ddof, or 1 without bias, is taken off the count."""
    if any(len(given(each).shape) > 2 for each in (m, y) if each is not None):
        raise ShapeError(f"cov takes variables × observations, not an array of shape {given(m).shape}.")
    x = atleast_2d(m) if rowvar or len(given(m).shape) < 2 else swap_last(namespace, given(m))
    if y is not None:
        x = concatenate([x, atleast_2d(y) if rowvar or len(given(y).shape) < 2 else swap_last(namespace, given(y))], 0)
    x = x - mean(x, 1, True)
    made = x @ swap_last(namespace, x) / (x.shape[1] - (int(not bias) if ddof is None else ddof))
    return reshape(made, ()) if made.shape == (1, 1) else made


@composition
def corrcoef(x, y=None, rowvar=True):
    """The correlations of variables: rows by default."""
    c = cov(x, y, rowvar)
    spread = sqrt(namespace.diagonal(c)) if c.shape else sqrt(c)
    return c / namespace.outer(spread, spread) if c.shape else c / c


@composition
def quantile(a, q, axis=None, keepdims=False):
    """The number below which the share q of the elements lies over `axis`, between two of them in proportion; not a
    number where one of them is none.
    """
    x, shares = floating(a), numpy.asarray(q.numpy() if isinstance(q, Tensor) else q)
    if not ((shares >= 0) & (shares <= 1)).all():
        raise UsageError(f"quantile(q={q!r}): a share lies in [0, 1], and in per cent in [0, 100].")
    axes = axes_of(axis, len(x.shape))
    x = moveaxis(x, axes, range(len(x.shape))[-len(axes) :] if axes else ())
    shape = x.shape[: len(x.shape) - len(axes)]
    count = math.prod(x.shape[len(shape) :])
    if not count:
        raise ShapeError(f"quantile of no elements: a has shape {given(a).shape}, axis={axis}.")
    x = sort(reshape(x, (*shape, count)))
    at = shares * (x.shape[-1] - 1)
    low = numpy.floor(at).astype(int)
    low_x, high_x = (along(x, -1, i) for i in (low, numpy.minimum(low + 1, x.shape[-1] - 1)))
    share = constant(at - low, x)
    y = where(share == 0, low_x, low_x + (high_x - low_x) * share)  # of infinities the difference is no number
    last = along(x, -1, slice(-1, None))  # where what is not a number is sorted to
    y = where(isnan(reshape(last, (*shape, *[1] * shares.ndim))), math.nan, y)
    if shares.ndim:
        y = moveaxis(y, range(-shares.ndim, 0), range(shares.ndim))
    return reshape(y, (*shares.shape, *kept_shape(given(a).shape, axis))) if keepdims else y


@composition
def percentile(a, q, axis=None, keepdims=False):
    """The number below which q per cent of the elements lie over `axis`."""
    return quantile(a, numpy.asarray(q) / 100, axis, keepdims)


@composition
def median(a, axis=None, keepdims=False):
    """The middle element over `axis`, or the mean of the middle two."""
    return quantile(a, 0.5, axis, keepdims)


# Without what is not a number


def _instead(x, number):
    return where(isnan(x), number, x) if given(x).dtype.kind == "f" else x


def _none_as_nan(y, x, axis, keepdims):
    return where(all(isnan(x), axis, keepdims), math.nan, y)


@composition
def nansum(x, axis=None, keepdims=False):
    """Sum over the axes `axis` of what is a number."""
    return sum(_instead(x, 0.0), axis, keepdims)


@composition
def nanprod(x, axis=None, keepdims=False):
    """Product over the axes `axis` of what is a number."""
    return prod(_instead(x, 1.0), axis, keepdims)


@composition
def nancumsum(x, axis=None):
    """The sums of the first elements along `axis`; what is not a number counts 0."""
    return cumsum(_instead(x, 0.0), axis)


@composition
def nancumprod(x, axis=None):
    """The products of the first elements along `axis`; what is not a number counts 1."""
    return cumprod(_instead(x, 1.0), axis)


@composition
def nanmax(x, axis=None, keepdims=False):
    """The greatest number over the axes `axis`."""
    return _none_as_nan(max(_instead(x, -math.inf), axis, keepdims), x, axis, keepdims)


@composition
def nanmin(x, axis=None, keepdims=False):
    """The least number over the axes `axis`."""
    return _none_as_nan(min(_instead(x, math.inf), axis, keepdims), x, axis, keepdims)


def _numbers(x):
    """x in a dtype that holds its counts and sums, and its own, of what comes of it."""
    x = floating(x)
    return x.astype("float32") if x.dtype.itemsize < 4 else x, x.dtype


def _count(x, axis, keepdims):
    return sum(logical_not(isnan(x)), axis, keepdims).astype(x.dtype)


@composition
def nanmean(x, axis=None, keepdims=False):
    """Mean over the axes `axis` of what is a number."""
    x, dtype = _numbers(x)
    return (nansum(x, axis, keepdims) / _count(x, axis, keepdims)).astype(dtype)


@composition
def nanvar(x, axis=None, ddof=0, keepdims=False):
    """Variance over the axes `axis` of what is a number; ddof is taken off the count."""
    x, dtype = _numbers(x)
    deviation = where(isnan(x), 0.0, x - nanmean(x, axis, True))
    return (sum(deviation * deviation, axis, keepdims) / (_count(x, axis, keepdims) - ddof)).astype(dtype)


@composition
def nanstd(x, axis=None, ddof=0, keepdims=False):
    """Standard deviation over the axes `axis` of what is a number."""
    return sqrt(nanvar(x, axis, ddof, keepdims))
