"""Columns: every window as a row of a matrix, so that a convolution is a product of matrices."""

from __future__ import annotations

import math

import numpy

from ..engine.backend import Array, Namespace
from .normalisation import everywhere, samples
from .windows import Lengths, taps, windows

LEAST_RUN = 8
"""Neighbouring elements of a window, from which on columns are gathered window by window rather than place by place."""


def turned(channels: int, size: Lengths, dilation: Lengths) -> bool:
    """Whether columns are gathered place by place, as the rows of a matrix that is looked at transposed."""
    return channels * (size[-1] if dilation[-1] == 1 else 1) < LEAST_RUN


def gathered(
    xp: Namespace, p: Array, size: Lengths, stride: Lengths, dilation: Lengths, count: Lengths, groups: int
) -> Array:
    """The windows of the bordered input as rows, (windows, elements), or for each group (groups, windows, elements).

    One copy: place by place where neighbours in a window are few (then they are neighbours along a row of windows),
    and the matrix is a transposed view; else window by window.
    """
    axes, channels = len(size), p.shape[-1]
    view = windows(p, size, stride, dilation, count)
    rows, elements = p.shape[0] * math.prod(count), math.prod(size) * (channels // groups)
    places, inside = tuple(range(axes + 1)), tuple(range(axes + 1, 2 * axes + 1))
    if groups > 1:
        order = (2 * axes + 1, *places, *inside, 2 * axes + 2)
        split = xp.reshape(view, (*view.shape[:-1], groups, channels // groups))
        return xp.reshape(xp.ascontiguousarray(xp.transpose(split, order)), (groups, rows, elements))
    if not turned(channels, size, dilation):
        return xp.reshape(xp.ascontiguousarray(view), (rows, elements))
    gathered = xp.ascontiguousarray(xp.transpose(view, (*inside, 2 * axes + 1, *places)))
    return xp.transpose(xp.reshape(gathered, (elements, rows)))


def matrix(xp: Namespace, w: Array, groups: int) -> Array:
    """The kernel as (elements, filters), or for each group (groups, elements, filters / groups)."""
    if groups == 1:
        return xp.reshape(w, (-1, w.shape[-1]))
    return xp.transpose(xp.reshape(w, (-1, groups, w.shape[-1] // groups)), (1, 0, 2))


def in_groups(xp: Namespace, rows: Array, groups: int) -> Array:
    """(rows, filters) as (groups, rows, filters / groups); as it is where there is one group."""
    if groups == 1:
        return rows
    return xp.transpose(xp.reshape(rows, (len(rows), groups, rows.shape[-1] // groups)), (1, 0, 2))


def product(xp: Namespace, columns: Array, matrix: Array, out: Array = None) -> Array:
    """Columns times matrix: (windows, filters), in the memory of `out` where that is given."""
    out = None if out is None else xp.reshape(out, (-1, out.shape[-1]))
    if len(columns.shape) == 2:
        return xp.matmul(columns, matrix) if out is None else xp.matmul(columns, matrix, out=out)
    y = xp.reshape(xp.transpose(xp.matmul(columns, matrix), (1, 0, 2)), (columns.shape[1], -1))
    if out is None:
        return y
    out[...] = y
    return out


def sum_of_taps(xp: Namespace, p: Array, w: Array, stride: Lengths, dilation: Lengths, count: Lengths) -> Array:
    """Each channel convolved by itself: place by place."""
    y: Array = None
    for tap, place in taps(w.shape[:-2], stride, dilation, count):
        part = p[place] * w[tap]
        y = part if y is None else xp.add(y, part, out=y)
    return y


def shifted(xp: Namespace, y: Array, b: Array) -> Array:
    """y + b, a number a channel, in the memory of y where that has the dtype; y, where b is None."""
    if b is None:
        return y
    rows, each = samples(xp, y), everywhere(xp, b, y.shape)
    rows = xp.add(rows, each, out=rows) if numpy.result_type(y.dtype, b.dtype) == y.dtype else rows + each
    return xp.reshape(rows, y.shape)
