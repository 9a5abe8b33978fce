"""NumPy's products of vectors, matrices and tensors, and its sums along a line, composed."""

from __future__ import annotations

import math
from typing import Any

import numpy

from ..errors import ShapeError, UsageError
from .arithmetic import less, multiply, where
from .arrangement import along, moveaxis, ravel
from .composed import axis_of, composition, constant, floating, given, itself
from .linalg import matmul
from .reduction import sum
from .shapes import broadcast_to, concatenate, flip, getitem, pad, reshape, transpose

# Products


@composition
def outer(a, b):
    """The product of each element of a with each of b: a matrix."""
    return multiply(reshape(a, (-1, 1)), reshape(b, (1, -1)))


@composition(methods=("dot",))
def dot(a, b):
    """The product of matrices and vectors, as `a @ b`; with a single number the product; else over a's last axis and
    b's last but one, with the other axes of both.
    """
    a, b = given(a), given(b)
    if not (a.shape and b.shape):
        return multiply(a, b)
    return matmul(a, b) if len(b.shape) < 3 else tensordot(a, b, (-1, -2))


@composition
def tensordot(a, b, axes=2):
    """The products of elements, summed over axes of both: the last so many of a and the first of b, or those named."""
    a, b = given(a), given(b)
    if isinstance(axes, int):
        axes = range(len(a.shape) - axes, len(a.shape)), range(axes)
    of_a, of_b = (
        [axis_of(i, len(x.shape)) for i in (named if not isinstance(named, int) else (named,))]
        for x, named in zip((a, b), axes, strict=True)
    )
    if [a.shape[i] for i in of_a] != [b.shape[i] for i in of_b]:
        raise ShapeError(f"tensordot: axes {of_a} of shape {tuple(a.shape)} and {of_b} of {tuple(b.shape)} differ.")
    left, right = ([i for i in range(len(x.shape)) if i not in of] for x, of in ((a, of_a), (b, of_b)))
    count = math.prod(a.shape[i] for i in of_a)
    a_rows = reshape(transpose(a, (*left, *of_a)), (math.prod(a.shape[i] for i in left), count))
    b_columns = reshape(transpose(b, (*of_b, *right)), (count, math.prod(b.shape[i] for i in right)))
    return reshape(matmul(a_rows, b_columns), (*(a.shape[i] for i in left), *(b.shape[i] for i in right)))


@composition
def inner(a, b):
    """The products of elements, summed over the last axis of both; with a single number the product."""
    a, b = given(a), given(b)
    return tensordot(a, b, (-1, -1)) if a.shape and b.shape else multiply(a, b)


@composition
def vdot(a, b):
    """The sum of the products of all elements."""
    return matmul(ravel(a), ravel(b))


@composition
def vecdot(a, b, axis=-1):
    """The sum of the products of elements along `axis`."""
    return sum(multiply(a, b), axis)


@composition
def kron(a, b):
    """The Kronecker product: each element of a times b, as blocks."""
    a, b = given(a), given(b)
    n = max(len(a.shape), len(b.shape))
    shapes = [(1,) * (n - len(x.shape)) + tuple(x.shape) for x in (a, b)]
    apart = multiply(
        reshape(a, [m for length in shapes[0] for m in (length, 1)]),
        reshape(b, [m for length in shapes[1] for m in (1, length)]),
    )
    return reshape(apart, [m * k for m, k in zip(*shapes, strict=True)])


@composition
def cross(a, b, axis=-1):
    """The vector product along `axis`, of length 3."""
    a, b = (moveaxis(x, axis, -1) for x in (given(a), given(b)))
    if a.shape[-1] != 3 or b.shape[-1] != 3:
        raise ShapeError(f"cross takes vectors of 3 elements, not of {a.shape[-1]} and {b.shape[-1]}.")
    turned = [[along(x, -1, order) for order in ([1, 2, 0], [2, 0, 1])] for x in (a, b)]
    return moveaxis(turned[0][0] * turned[1][1] - turned[0][1] * turned[1][0], -1, axis)


@composition
def convolve(a, v, mode="full"):
    """The convolution of two sequences, y[i] = Σₖ v[k] a[i - k]: full, same or valid as NumPy cuts it."""
    a, v = given(a), given(v)
    if len(a.shape) != 1 or len(v.shape) != 1 or 0 in (a.size, v.size):
        raise ShapeError(f"convolve takes two sequences with an element at least, not of shapes {a.shape}, {v.shape}.")
    a, v = (v, a) if v.shape[0] > a.shape[0] else (a, v)
    n, k = a.shape[0], v.shape[0]
    cuts = {"full": (0, n + k - 1), "same": ((k - 1) // 2, (k - 1) // 2 + n), "valid": (k - 1, n)}
    if mode not in cuts:
        raise UsageError(f"convolve(mode={mode!r}): it is 'full', 'same' or 'valid'.")
    places = numpy.arange(*cuts[mode])[:, None] + numpy.arange(k)
    return matmul(getitem(pad(a, k - 1), places), flip(v))


@composition
def correlate(a, v, mode="valid"):
    """The correlation of two sequences, y[i] = Σₖ v[k] a[i + k]: valid, same or full as NumPy cuts it."""
    return convolve(a, flip(given(v)), mode)


@composition
def polyval(p, x):
    """The polynomial with these coefficients, the highest power first, at x (Horner's rule)."""
    x, value = given(x), multiply(x, 0)
    for i in range(len(p)):
        value = value * x + p[i]
    return value


# Along a line


@composition
def diff(x, n=1, axis=-1, prepend=None, append=None):
    """Each element less the one before, along `axis`; n times. prepend, append: what stands before and after."""
    x = given(x)
    ends = [None if end is None else end if hasattr(end, "shape") else constant(end, x) for end in (prepend, append)]
    shape = [1 if i == axis_of(axis, len(x.shape)) else m for i, m in enumerate(x.shape)]
    ends = [end if end is None or end.shape else broadcast_to(end, shape=tuple(shape)) for end in ends]
    parts = [part for part in (ends[0], x, ends[1]) if part is not None]
    x = concatenate(parts, axis) if len(parts) > 1 else x
    for _ in range(n):
        x = along(x, axis, slice(1, None)) - along(x, axis, slice(None, -1))
    return x


@composition
def ediff1d(x):
    """Each element less the one before, of the flattened array."""
    return diff(ravel(x))


@composition
def trapezoid(y, x=None, dx=1.0, axis=-1):
    """The integral along `axis` by trapezoids, at places x or at distances dx."""
    y = given(y)
    if x is not None:
        x = given(x, y)
        dx = diff(x, axis=axis) if len(x.shape) > 1 else diff(x)
        if len(x.shape) == 1:
            dx = reshape(dx, [-1 if i == axis_of(axis, len(y.shape)) else 1 for i in range(len(y.shape))])
    return sum(multiply(dx, along(y, axis, slice(1, None)) + along(y, axis, slice(None, -1))), axis) / 2


@composition
def gradient(f, *distances, axis=None) -> Any:
    """The slope along each axis, or those named, by central differences, at the ends by one-sided ones: a list.

    distances: one for all axes, or one for each: a number, or the places of the elements along the axis.
    """
    f = floating(f)
    axes = range(len(f.shape)) if axis is None else (axis,) if isinstance(axis, int) else axis
    steps = distances * len(axes) if len(distances) == 1 else distances or (1.0,) * len(axes)
    if len(steps) != len(axes):
        raise UsageError(f"gradient got {len(steps)} distances for {len(axes)} axes: give one, or one for each.")
    made = tuple(_slope(f, given(step, f), i) for step, i in zip(steps, axes, strict=True))
    return made[0] if len(made) == 1 else made


def _slope(f, step, axis):
    """Along one axis: the parabola's through three points, and at the ends the line's through two."""
    if f.shape[axis_of(axis, len(f.shape))] < 2:
        raise ShapeError(f"gradient needs two elements along axis {axis}: f has shape {f.shape}.")
    rise = diff(f, axis=axis)
    run = step
    if step.shape:
        run = reshape(diff(step), [-1 if i == axis_of(axis, len(f.shape)) else 1 for i in range(len(f.shape))])
    slopes = rise / run
    if step.shape:
        before, after = along(slopes, axis, slice(None, -1)), along(slopes, axis, slice(1, None))
        left, right = along(run, axis, slice(None, -1)), along(run, axis, slice(1, None))
        within = (before * right + after * left) / (left + right)
    else:
        within = (along(f, axis, slice(2, None)) - along(f, axis, slice(None, -2))) / (2 * run)  # not of the middle
    return concatenate([along(slopes, axis, slice(None, 1)), within, along(slopes, axis, slice(-1, None))], axis)


@composition
def interp(x, xp, fp, left=None, right=None):
    """The values at x of the line through the points (xp, fp), xp ascending; left, right: what is beyond its ends."""
    xp, fp = itself(xp), itself(fp)
    x = given(x, xp)
    after = sum(reshape(x, (*x.shape, 1)) >= xp, -1).clip(min=1, max=xp.shape[0] - 1)
    x0, x1, y0, y1 = (getitem(line, i) for line in (xp, fp) for i in (after - 1, after))
    y = y0 + (y1 - y0) / (x1 - x0) * (x - x0)
    y = where(less(x, xp[0]), fp[0] if left is None else left, y)
    return where(x > xp[-1], fp[-1] if right is None else right, y)
