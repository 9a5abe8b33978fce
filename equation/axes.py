"""Axes of arrays, as code that was made from an equation needs them: kept, moved to the end and back, put in order."""

from __future__ import annotations

import math
from typing import Any


def kept(xp: Any, x: Any, shape: tuple[int, ...], axis: Any) -> Any:
    """What was reduced over the axes, with these at length 1; axis: None (all), an integer, or several."""
    return xp.reshape(x, kept_shape(shape, axis))


def kept_shape(shape: tuple[int, ...], axis: Any) -> tuple[int, ...]:
    """The shape with the reduced axes kept at length 1; axis: None (all), an integer, or several."""
    axes = axes_of(axis, len(shape))
    return tuple(1 if i in axes else n for i, n in enumerate(shape))


def count_over(shape: tuple[int, ...], axis: Any) -> int:
    """How many elements go into one."""
    return math.prod(shape[i] for i in axes_of(axis, len(shape)))


def axes_of(axis: Any, ndim: int) -> tuple[int, ...]:
    """The axes that an `axis` means, in their order."""
    if axis is None:
        return tuple(range(ndim))
    return tuple(sorted({i % ndim for i in (axis if isinstance(axis, tuple) else (axis,))})) if ndim else ()


def front(xp: Any, x: Any, axis: Any, shape: tuple[int, ...]) -> Any:
    """x with the axes as one at the end; where it was reduced over them, without them."""
    axes = axes_of(axis, len(shape))
    rest = [i for i in range(len(shape)) if i not in axes]
    if len(x.shape) < len(shape) or (axes and all(x.shape[i] == 1 != shape[i] for i in axes)):
        return xp.reshape(x, tuple(shape[i] for i in rest))
    return xp.reshape(xp.transpose(x, (*rest, *axes)), (*(x.shape[i] for i in rest), -1))


def back(xp: Any, y: Any, axis: Any, shape: tuple[int, ...], reduced: bool, keepdims: bool) -> Any:
    """The inverse of `front`, for the result."""
    axes = axes_of(axis, len(shape))
    if reduced:
        return xp.reshape(y, kept_shape(shape, axis)) if keepdims else y
    order = [*(i for i in range(len(shape)) if i not in axes), *axes]
    return xp.transpose(xp.reshape(y, tuple(shape[i] for i in order)), tuple(order.index(i) for i in range(len(shape))))


def aligned(xp: Any, x: Any, places: tuple[int, ...], count: int) -> Any:
    """x with its last axes at these places among `count`, and length 1 at the others."""
    if places == tuple(range(count)):
        return x
    rest = len(x.shape) - len(places)
    order = sorted(range(len(places)), key=places.__getitem__)
    if order != list(range(len(places))):
        x = xp.transpose(x, (*range(rest), *(rest + i for i in order)))
    lengths = dict(zip(sorted(places), x.shape[rest:], strict=True))
    return xp.reshape(x, (*x.shape[:rest], *(lengths.get(i, 1) for i in range(count))))


def reduced(function: Any, x: Any, count: int, rest: bool, axes: tuple[int, ...]) -> Any:
    """A reduction of x, which has `count` axes for indices, over some of these and with `rest` over all the others."""
    others = range(len(x.shape) - count) if rest else ()
    return function(x, axis=(*others, *axes), keepdims=True)


def shaped(xp: Any, y: Any, count: int, sizes: tuple[int, ...], rest: bool) -> Any:
    """y, which has `count` axes for indices, with those of the target alone."""
    first = y.shape[: len(y.shape) - count] if rest else ()
    if y.shape == (*first, *sizes):
        return y
    trimmed = xp.reshape(y, (*first, *y.shape[len(y.shape) - count :][: len(sizes)]))
    return trimmed if trimmed.shape == (*first, *sizes) else xp.broadcast_to(trimmed, (*first, *sizes))
