"""Sums, means, extremes and spreads over axes, with NumPy's `axis` and `keepdims`."""

from __future__ import annotations

import numpy

from ..engine.primitive import example, primitive
from ..equation.axes import axes_of, count_over, kept
from ..errors import ShapeError
from .activation import softmax
from .shapes import reshape

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


def _reducing(operator, *dtypes):
    """The form in ONNX: in these dtypes one after another, or in that of the result, it is reduced."""

    def form(graph, x, *, axis, keepdims):
        for dtype in dtypes or (graph.dtype,):
            x = graph.cast(x, dtype)
        return graph.reduced(operator, x, axes_of(axis, x.axes), keepdims)

    return form


def _extreme(operator):
    """The form in ONNX of the place of an extreme."""

    def form(graph, x, *, axis, keepdims):
        y = graph.add(operator, [graph.reshape(x, (-1,)) if axis is None else x], "int64", axis=axis or 0, keepdims=0)
        return graph.reshape(y, graph.shape)

    return form


@primitive("y[...] = sum(x[..., j], j)", saves=("x.shape",), analytic=True, method=True, examples=OVER_AXES)
def sum(x, axis=None, keepdims=False):
    """Sum over the axes `axis` (all by default)."""


sum.onnx(_reducing("ReduceSum"))

sum.vjp("x", "gx[..., j] = gy[...]")


@primitive("y[...] = mean(x[..., j], j)", saves=("x.shape",), analytic=True, method=True, examples=OVER_AXES)
def mean(x, axis=None, keepdims=False):
    """Arithmetic mean over the axes `axis` (all by default)."""


@mean.check
def _(x, axis, keepdims):
    if not count_over(x.shape, axis):
        raise ShapeError(f"mean of no elements: x has shape {x.shape}, axis={axis}.")


mean.onnx(_reducing("ReduceMean"))

mean.vjp("x", "gx[..., j] = gy[...] / sum(1, j)")


@primitive(
    "y[...] = max(x[..., j], j)", saves=("x", "y"), kink="x[..., i] - x[..., j]", method=True, synonyms=("amax",),
    examples=OVER_AXES,
)  # fmt: skip
def max(x, axis=None, keepdims=False):
    """The greatest over the axes `axis`. Ties share the gradient equally."""


max.onnx(_reducing("ReduceMax"))

max.vjp("x", "gx[..., j] = (gy[...] if x[..., j] == y[...] else 0) / sum(1 if x[..., i] == y[...] else 0, i)")


@primitive(
    "y[...] = min(x[..., j], j)", saves=("x", "y"), kink="x[..., i] - x[..., j]", method=True, synonyms=("amin",),
    examples=OVER_AXES,
)  # fmt: skip
def min(x, axis=None, keepdims=False):
    """The least over the axes `axis`. Ties share the gradient equally."""


min.onnx(_reducing("ReduceMin"))

min.vjp("x", "gx[..., j] = (gy[...] if x[..., j] == y[...] else 0) / sum(1 if x[..., i] == y[...] else 0, i)")


@primitive(
    "y[...] = product(x[..., j], j)", saves=("x",), analytic=True, method=True,
    examples=(example((3, 4)), example((2, 3, 4), axis=(0, 2), keepdims=True), example((3, 4), axis=0), example((3,))),
)  # fmt: skip
def prod(x, axis=None, keepdims=False):
    """Product over the axes `axis` (all by default)."""


prod.onnx(_reducing("ReduceProd"))


@prod.vjp("x", "gx[..., j] = gy[...] * product(x[..., k] if k != j else 1, k)")
def _(xp, gy, x, axis):
    axes = axes_of(axis, len(x.shape))
    order = (*(i for i in range(len(x.shape)) if i not in axes), *axes)
    rows = xp.transpose(x, order)
    moved, rows = rows.shape, xp.reshape(rows, (*rows.shape[: len(order) - len(axes)], -1))
    before, after = (running_product(xp, v)[..., :-1] for v in (rows, xp.flip(rows, -1)))
    one = xp.ones_like(rows[..., :1])
    others = xp.concatenate([one, before], -1) * xp.flip(xp.concatenate([one, after], -1), -1)
    others = xp.transpose(xp.reshape(others, moved), tuple(order.index(i) for i in range(len(order))))
    return spread(xp, gy, x.shape, axis) * others


def running_product(xp, x):
    """The products of the first elements along the last axis, by doubling: to be differentiated where some are 0."""
    step, count = 1, x.shape[-1]
    while step < count:
        x = x * xp.concatenate([xp.ones_like(x[..., :step]), x[..., :-step]], -1)
        step *= 2
    return x


def _along_one(x, axis=None):
    return (reshape(x, -1) if axis is None else x,), {"axis": 0 if axis is None else axis}


@primitive(
    "y[..., j] = sum(x[..., k] if k <= j else 0, k)", analytic=True, method=True, bind=_along_one,
    examples=(example((5,), axis=0), example((3, 4), axis=0), example((2, 3, 4), axis=-2)),
)  # fmt: skip
def cumsum(xp, x, *, axis):
    """The sums of the first elements along `axis` (of the flattened array by default)."""
    return xp.cumsum(x, axis=axis)


cumsum.onnx(lambda graph, x, axis: graph.add("CumSum", [graph.cast(x, graph.dtype), graph.number(axis, "int64")]))


@cumsum.vjp("x", "gx[..., j] = sum(gy[..., k] if k >= j else 0, k)")
def _(xp, gy, axis):
    return xp.flip(xp.cumsum(xp.flip(gy, axis), axis=axis), axis)


@primitive("y[...] = max(1 if x[..., j] != 0 else 0, j)", domain=range(2), method=True, examples=OVER_AXES)
def any(xp, x, axis=None, keepdims=False):
    """Whether one is not 0 over the axes `axis`: bool, without gradient."""
    return xp.any(x, axis=axis, keepdims=keepdims)


any.onnx(_reducing("ReduceMax", bool, "int32"))


@primitive("y[...] = min(1 if x[..., j] != 0 else 0, j)", domain=range(2), method=True, examples=OVER_AXES)
def all(xp, x, axis=None, keepdims=False):
    """Whether none is 0 over the axes `axis`: bool, without gradient."""
    return xp.all(x, axis=axis, keepdims=keepdims)


all.onnx(_reducing("ReduceMin", bool, "int32"))


@primitive(
    "y = argsort(x, axis)",
    kink="x[..., i] - x[..., j]",
    method=True,
    examples=(example((3, 4)), example((3, 4), axis=0)),
)
def argsort(x, axis=-1):
    """The indices that sort x along `axis`, without gradient."""


argsort.onnx(lambda graph, x, axis: graph.sorting(x, axis))


@primitive(
    "y = argmin(x, axis)",
    kink="x[..., i] - x[..., j]",
    method=True,
    examples=(example((3, 4)), example((3, 4), axis=-1)),
)
def argmin(xp, x, axis=None, keepdims=False):
    """The index of the first least element along `axis` (of the flattened array by default), without gradient."""
    return xp.argmin(x, axis=axis, keepdims=keepdims)


argmin.onnx(_extreme("ArgMin"))


@primitive(
    "y = argmax(x, axis)",
    kink="x[..., i] - x[..., j]",
    method=True,
    examples=(example((3, 4)), example((3, 4), axis=-1)),
)
def argmax(xp, x, axis=None, keepdims=False):
    """The index of the first greatest element along `axis` (of the flattened array by default), without gradient."""
    return xp.argmax(x, axis=axis, keepdims=keepdims)


argmax.onnx(_extreme("ArgMax"))


@primitive(
    "m[...] = mean(x[..., i], i); y[...] = sum((x[..., j] - m[...])**2, j) / (sum(1, j) - ddof)",
    saves=("x",),
    analytic=True,
    method=True,
    examples=(*(e for e in OVER_AXES if e.shapes != ((),)), example((5,), ddof=1)),
)
def var(x, axis=None, ddof=0, keepdims=False):
    """Variance over the axes `axis`: the mean squared distance from the mean; ddof is taken off the count."""


@var.onnx
def _(xp, x, axis, ddof, keepdims):
    squares = xp.square(x - xp.mean(x, axis=axis, keepdims=True))
    count = count_over(x.shape, axis) if ddof else 1
    return xp.mean(squares, axis=axis, keepdims=keepdims) * (count / (count - ddof))


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


logsumexp.onnx(logsumexp.kernel)


@logsumexp.vjp("x", "gx[..., j] = gy[...] * exp(x[..., j] - y[...])")
def _(xp, gy, x, axis):
    return spread(xp, gy, x.shape, axis) * softmax.apply(xp, x, axis=axis)
