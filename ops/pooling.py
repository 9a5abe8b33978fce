"""Pooling: one number for each window, and the adjoints by which that is differentiated, to any order.

Operands are (batch, *space, channels); `channels_first=True` takes (batch, channels, *space). Windows may overlap. A
border does not count: it is never the greatest, and no part of an average.
"""

from __future__ import annotations

import math
from typing import Any

import numpy

from ..engine.backend import Array, Namespace
from ..engine.cuda.launch import CudaKernel
from ..engine.primitive import example, primitive
from ..errors import ShapeError
from ..replay import calls
from . import cores, sliding
from .shapes import transpose
from .windows import (
    IN_GRADIENTS,
    Lengths,
    Padding,
    as_given,
    bordered,
    channels_last,
    output_lengths,
    padding_of,
    per_axis,
    spatial,
    taps,
    within,
)


def _arguments(what: str, x: Any, size: Any, stride: Any, padding: Any, channels_first: bool) -> Any:
    x = channels_last(transpose, spatial(what, x, channels_first), channels_first)
    axes = len(x.shape) - 2
    size = per_axis(what, "size", size, axes)
    stride = size if stride is None else per_axis(what, "stride", stride, axes)
    lengths = tuple(x.shape[1:-1])
    padding = padding_of(what, padding, lengths, size, stride, (1,) * axes)
    if any(max(pair) >= k for pair, k in zip(padding, size, strict=True)):
        raise ShapeError(f"{what}: a border of {padding} is not narrower than the window of {size}: some windows "
                         "would be empty.")  # fmt: skip
    return (x,), {"size": size, "stride": stride, "padding": padding}, as_given(transpose, channels_first)


def _max_arguments(x, size=2, stride=None, padding="valid", channels_first=False):
    return _arguments("max_pool", x, size, stride, padding, channels_first)


def _average_arguments(x, size=2, stride=None, padding="valid", channels_first=False):
    return _arguments("average_pool", x, size, stride, padding, channels_first)


def _count(what: str, lengths: Lengths, size: Lengths, stride: Lengths, padding: Padding) -> Lengths:
    return output_lengths(lengths, size, stride, padding, (1,) * len(size), what)


def _pooled(operator: str) -> Any:
    """The form in ONNX, whose operators have the channels first."""

    def form(graph: Any, x: Any, *, size: Lengths, stride: Lengths, padding: Padding) -> Any:
        pads = [pair[side] for side in (0, 1) for pair in padding]
        y = graph.add(operator, [graph.channels_first(x)], kernel_shape=size, strides=stride, pads=pads)
        return graph.channels_last(y)

    return form


def _parts(x: Array, p: Array, size: Lengths, stride: Lengths, count: Lengths) -> list[Array]:
    """For each place in a window the elements of p that the windows have there."""
    return [p[place] for _, place in taps(size, stride, (1,) * len(size), count)]


def _bordered(xp: Namespace, x: Array, padding: Padding) -> Array:
    """x within a border that is never the greatest."""
    least = {"f": -math.inf, "b": False}
    return bordered(xp, x, padding, least[x.dtype.kind] if x.dtype.kind in least else numpy.iinfo(x.dtype).min)


POOLED = (
    example((1, 4, 4, 2), size=(2, 2), stride=(2, 2), padding=((0, 0), (0, 0))),
    example((1, 5, 4, 1), size=(3, 2), stride=(2, 1), padding=((1, 1), (0, 1))),
    example((2, 5, 2), size=(2,), stride=(2,), padding=((0, 0),)),
)


@primitive(
    "p = border(x, padding, -inf); y[n, *i, c] = max(p[n, *(i * stride + a), c], a < size)",
    saves=("x", "y"),
    kink="x[..., i] - x[..., j]",
    examples=POOLED,
    bind=_max_arguments,
)
def max_pool(xp, x, *, size, stride, padding):
    """The greatest of each window. Where several are the greatest, they share the gradient equally, as in `max`.

    size, stride (the size, where it is None): a number, or one for each axis of space. padding: "valid", "same", a
    width, or pairs. x: (batch, *space, channels).
    """
    return _greatest(xp, x, size, stride, padding)


max_pool.onnx(_pooled("MaxPool"))


def _greatest(xp, x, size, stride, padding, out=None, relu=False):
    count = _count("max_pool", x.shape[1:-1], size, stride, padding)
    first, *others = _parts(x, _bordered(xp, x, padding), size, stride, count)
    if not others:
        return first.copy()
    y = xp.maximum(first, others[0], **({} if out is None else {"out": out}))
    for part in others[1:]:
        y = xp.maximum(y, part, out=y)
    return xp.maximum(y, 0, out=y) if relu else y


@max_pool.check
def _(x, *, size, stride, padding):
    _count("max_pool", x.shape[1:-1], size, stride, padding)


@max_pool.vjp(
    "x",
    "p = border(x, padding, -inf); gx[n, *r, c] = sum(gy[n, *i, c] / "
    "sum(1 if p[n, *(i * stride + b), c] == y[n, *i, c] else 0, b < size) "
    "if i * stride + a - before(padding) == r and x[n, *r, c] == y[n, *i, c] else 0, *i, a < size)",
)
def _(xp, gy, x, y, size, stride, padding):
    return max_unpool.apply(xp, gy, x, y, size=size, stride=stride, padding=padding)


calls.GREATEST.add(max_pool.cuda(suits=sliding.pools)(sliding.max_pool).name)
cores.by_samples(max_pool, cores.of_maps, fast=cores.max_pool, code=_greatest)


AT_GREATEST = tuple(
    example(e.shapes[0][:1] + count + e.shapes[0][-1:], e.shapes[0], e.shapes[0][:1] + count + e.shapes[0][-1:],
            **e.parameters)
    for e, count in zip(POOLED, ((2, 2), (3, 4), (2,)), strict=True)
)  # fmt: skip


@primitive(
    "p = border(x, padding, -inf); v[n, *r, c] = sum(g[n, *i, c] / "
    "max(1, sum(1 if p[n, *(i * stride + b), c] == y[n, *i, c] else 0, b < size)) "
    "if i * stride + a - before(padding) == r and x[n, *r, c] == y[n, *i, c] else 0, *i, a < size)",
    saves=("x", "y"),
    analytic=True,
    domain={"x": range(3), "y": range(3)},
    examples=AT_GREATEST,
)
def max_unpool(xp, g, x, y, *, size, stride, padding):
    """Each window's g handed to the elements of x that equal its y, in equal shares: the adjoint of `max_places`."""
    return _handed(xp, g, x, y, size, stride, padding)


def _handed(xp, g, x, y, size, stride, padding, out=None, relu=False):
    g = g * (y > 0) if relu else g
    parts = _parts(x, _bordered(xp, x, padding), size, stride, g.shape[1:-1])
    masks = [part == y for part in parts]
    share = g / _how_many(xp, masks, g)
    return _spread(xp, [(share, mask) for mask in masks], x.shape, size, stride, padding, out)


@max_unpool.vjp(
    "g",
    "p = border(x, padding, -inf); q = border(gv, padding, 0); gg[n, *i, c] = "
    "sum(q[n, *(i * stride + a), c] if p[n, *(i * stride + a), c] == y[n, *i, c] else 0, a < size) / "
    "max(1, sum(1 if p[n, *(i * stride + b), c] == y[n, *i, c] else 0, b < size))",
)
def _(xp, gv, x, y, size, stride, padding):
    return max_places.apply(xp, gv, x, y, size=size, stride=stride, padding=padding)


_unpooling = max_unpool.cuda(suits=sliding.unpools)(sliding.max_unpool)
calls.TO_GREATEST[_unpooling.name] = CudaKernel(_unpooling.name, sliding.hand_out, sliding.keeps)
cores.by_samples(max_unpool, cores.of_maps, 3, cores.max_unpool, code=_handed)


@primitive(
    "p = border(x, padding, -inf); q = border(v, padding, 0); g[n, *i, c] = "
    "sum(q[n, *(i * stride + a), c] if p[n, *(i * stride + a), c] == y[n, *i, c] else 0, a < size) / "
    "max(1, sum(1 if p[n, *(i * stride + b), c] == y[n, *i, c] else 0, b < size))",
    saves=("x", "y"),
    analytic=True,
    domain={"x": range(3), "y": range(3)},
    examples=tuple(example(e.shapes[1], *e.shapes[1:], **e.parameters) for e in AT_GREATEST),
)
def max_places(xp, v, x, y, *, size, stride, padding):
    """For each window the mean of v over the places where x equals its y: the derivative of `max_pool` along v."""
    count = y.shape[1:-1]
    masks = [part == y for part in _parts(x, _bordered(xp, x, padding), size, stride, count)]
    values = _parts(v, bordered(xp, v, padding), size, stride, count)
    total: Array = None
    for mask, value in zip(masks, values, strict=True):
        total = value * mask if total is None else total + value * mask
    return total / _how_many(xp, masks, v)


@max_places.vjp(
    "v",
    "p = border(x, padding, -inf); gv[n, *r, c] = sum(gg[n, *i, c] / "
    "max(1, sum(1 if p[n, *(i * stride + b), c] == y[n, *i, c] else 0, b < size)) "
    "if i * stride + a - before(padding) == r and x[n, *r, c] == y[n, *i, c] else 0, *i, a < size)",
)
def _(xp, gg, x, y, size, stride, padding):
    return max_unpool.apply(xp, gg, x, y, size=size, stride=stride, padding=padding)


def _how_many(xp: Namespace, masks: list[Array], like: Array) -> Array:
    """In how many places of each window the mask holds, 1 where it is none."""
    count = masks[0].astype("int8" if len(masks) < 128 else "int32")
    for mask in masks[1:]:
        count = xp.add(count, mask, out=count)
    return xp.add(count, count == 0, out=count).astype(like.dtype)


def _spread(
    xp: Namespace, factors: list[tuple[Array, Any]], shape: Lengths, size: Lengths, stride: Lengths, padding: Padding,
    out: Array = None,
) -> Array:  # fmt: skip
    """The adjoint of taking `_parts`: the product of two factors for each place, added up where windows overlap."""
    whole = tuple(n + before + after for n, (before, after) in zip(shape[1:-1], padding, strict=True))
    share, count = factors[0][0], factors[0][0].shape[1:-1]
    apart = all(s >= k for s, k in zip(stride, size, strict=True))
    everywhere = stride == size and whole == tuple(n * k for n, k in zip(count, size, strict=True))
    if out is None or any(map(any, padding)):
        v = (xp.empty if everywhere else xp.zeros)((shape[0], *whole, shape[-1]), share.dtype)
    else:
        v = out
        if not everywhere:
            v[...] = 0
    for (a, b), (_, place) in zip(factors, taps(size, stride, (1,) * len(size), count), strict=True):
        there = v[place]
        if apart:
            xp.multiply(a, b, out=there)
        else:
            xp.add(there, a * b, out=there)
    return v[within(padding, shape[1:-1])] if any(map(any, padding)) else v


@primitive(
    "p = border(x, padding, 0); q = inside(x, padding); y[n, *i, c] = "
    "sum(p[n, *(i * stride + a), c], a < size) / sum(q[n, *(i * stride + b), c], b < size)",
    saves=("x.shape",),
    analytic=True,
    examples=POOLED,
    bind=_average_arguments,
)
def average_pool(xp, x, *, size, stride, padding):
    """The mean of each window, over those of its elements that lie inside of x. Arguments as `max_pool` takes them."""
    count = _count("average_pool", x.shape[1:-1], size, stride, padding)
    parts = _parts(x, bordered(xp, x, padding), size, stride, count)
    total = parts[0] + parts[1] if len(parts) > 1 else parts[0].copy()
    for part in parts[2:]:
        total = xp.add(total, part, out=total)
    return total * _weights(xp, x, x.shape, size, stride, padding, count)


average_pool.onnx(_pooled("AveragePool"))


@average_pool.check
def _(x, *, size, stride, padding):
    _count("average_pool", x.shape[1:-1], size, stride, padding)


@average_pool.vjp(
    "x",
    "q = inside(x, padding); gx[n, *r, c] = sum(gy[n, *i, c] / sum(q[n, *(i * stride + b), c], b < size) "
    "if i * stride + a - before(padding) == r else 0, *i, a < size)",
)
def _(xp, gy, x_shape, size, stride, padding):
    return average_unpool.apply(xp, gy, size=size, stride=stride, padding=padding, lengths=x_shape[1:-1])


average_pool.cuda(suits=sliding.pools)(sliding.average_pool)
cores.by_samples(average_pool, cores.of_maps)


@primitive(
    "y[n, *r, c] = sum(g[n, *i, c] / sum(1 if before(padding) <= i * stride + b "
    "and i * stride + b - before(padding) < lengths else 0, b < size) "
    "if i * stride + a - before(padding) == r else 0, *i, a < size)",
    analytic=True,
    examples=tuple(example(e.shapes[0], **e.parameters, lengths=e.shapes[1][1:-1]) for e in AT_GREATEST),
)
def average_unpool(xp, g, *, size, stride, padding, lengths):
    """Each window's g in equal shares to its elements inside of a result with `lengths`: `average_pool`'s adjoint."""
    shape, count = (g.shape[0], *lengths, g.shape[-1]), g.shape[1:-1]
    share = g * _weights(xp, g, shape, size, stride, padding, count)
    return _spread(xp, [(share, 1)] * math.prod(size), shape, size, stride, padding)


@average_unpool.check
def _(g, *, size, stride, padding, lengths):
    if _count("average_unpool", lengths, size, stride, padding) != tuple(g.shape[1:-1]):
        raise ShapeError(f"average_unpool: g has {tuple(g.shape[1:-1])} windows, {lengths} has others.")


@average_unpool.vjp(
    "g",
    "p = border(gy, padding, 0); q = inside(gy, padding); gg[n, *i, c] = "
    "sum(p[n, *(i * stride + a), c], a < size) / sum(q[n, *(i * stride + b), c], b < size)",
)
def _(xp, gy, size, stride, padding):
    return average_pool.apply(xp, gy, size=size, stride=stride, padding=padding)


average_unpool.cuda(suits=sliding.spreads)(sliding.average_unpool)
cores.by_samples(average_unpool, cores.of_maps)


def _weights(
    xp: Namespace, like: Array, shape: Lengths, size: Lengths, stride: Lengths, padding: Padding, count: Lengths
) -> Any:
    """1 / the number of elements that each window has inside: one number, where there is no border."""
    if not any(map(any, padding)):
        return 1 / math.prod(size)
    ones = xp.ones((1, *shape[1:-1], 1), like.dtype)
    inside: Array = None
    for part in _parts(ones, bordered(xp, ones, padding), size, stride, count):
        inside = part if inside is None else inside + part
    return 1 / inside


def _global_arguments(x, channels_first=False):
    return (channels_last(transpose, spatial("global pooling", x, channels_first), channels_first),), {}


@primitive(
    "y[n, c] = mean(x[n, *i, c], *i)",
    saves=("x.shape",),
    analytic=True,
    examples=(example((2, 2, 3, 2)), example((2, 3, 2))),
    bind=_global_arguments,
)
def global_average_pool(xp, x):
    """The mean over all of space: (batch, *space, channels) becomes (batch, channels)."""
    return xp.mean(x, axis=_space(x.shape))


global_average_pool.onnx(lambda graph, x: graph.reduced("ReduceMean", x, range(1, x.axes - 1)))


@global_average_pool.vjp("x", "gx[n, *i, c] = gy[n, c] / sum(1, *i)")
def _(xp, gy, x_shape):
    return xp.broadcast_to(_over_space(xp, gy * (1 / math.prod(x_shape[1:-1])), x_shape), x_shape)


@primitive(
    "y[n, c] = max(x[n, *i, c], *i)",
    saves=("x", "y"),
    kink="x[..., i] - x[..., j]",
    examples=(example((2, 2, 3, 2)), example((2, 3, 2))),
    bind=_global_arguments,
)
def global_max_pool(xp, x):
    """The greatest over all of space; ties share the gradient equally."""
    return xp.max(x, axis=_space(x.shape))


global_max_pool.onnx(lambda graph, x: graph.reduced("ReduceMax", x, range(1, x.axes - 1)))


@global_max_pool.vjp(
    "x", "gx[n, *i, c] = (gy[n, c] if x[n, *i, c] == y[n, c] else 0) / sum(1 if x[n, *j, c] == y[n, c] else 0, *j)"
)
def _(xp, gy, x, y):
    there = xp.where(x == _over_space(xp, y, x.shape), xp.ones_like(x), xp.zeros_like(x))
    return _over_space(xp, gy / xp.sum(there, axis=_space(x.shape)), x.shape) * there


def _space(shape: Lengths) -> Lengths:
    return tuple(range(1, len(shape) - 1))


def _over_space(xp: Namespace, y: Array, shape: Lengths) -> Array:
    return xp.reshape(y, (shape[0], *(1,) * (len(shape) - 2), shape[-1]))


for _made in (max_unpool, max_places, average_unpool):
    _made.onnx(None, IN_GRADIENTS)
