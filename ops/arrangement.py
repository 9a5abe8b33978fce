"""NumPy's functions that move elements about, composed: joined, split, turned, repeated, sorted, taken."""

from __future__ import annotations

from typing import Any

import numpy

from ..engine.namespace import namespace, namespace_on
from ..engine.tensor import Tensor
from ..errors import ShapeError
from .arithmetic import where
from .composed import axis_of, composition, given, itself
from .creation import identity_like
from .reduction import argsort
from .shapes import broadcast_to, concatenate, expand_dims, flip, getitem, pad, reshape, roll, transpose


def along(x, axis, part):
    """The elements at `part`, a slice or indices, along one axis."""
    return getitem(x, ((slice(None),) * axis_of(axis, len(x.shape)) + (part,)))


def counted(x, n):
    """0 … n - 1 on the device of x."""
    return namespace_on(x.device if isinstance(x, Tensor) else "cpu").arange(n)


# Axes


@composition(methods=("ravel", "flatten"))
def ravel(x):
    """The elements in row-major order along one axis."""
    return reshape(x, -1)


@composition(methods=("copy",))
def copy(x):
    """The same values in a new tensor, on the tape."""
    return itself(x)


setattr(Tensor, "mT", property(lambda x: swapaxes(x, -1, -2), doc="The transpose of each matrix."))  # noqa: B010


@composition
def moveaxis(x, source, destination):
    """The axes `source` at the places `destination`; the others keep their order."""
    x = given(x)
    n = len(x.shape)
    source, destination = (
        [axis_of(i, n) for i in ((places,) if isinstance(places, int) else places)] for places in (source, destination)
    )
    order = [i for i in range(n) if i not in source]
    for place, axis in sorted(zip(destination, source, strict=True)):
        order.insert(place, axis)
    return transpose(x, order)


@composition(methods=("swapaxes",))
def swapaxes(x, axis1, axis2):
    """Two axes exchanged."""
    x = given(x)
    order = list(range(len(x.shape)))
    a, b = axis_of(axis1, len(order)), axis_of(axis2, len(order))
    order[a], order[b] = order[b], order[a]
    return transpose(x, order)


@composition
def matrix_transpose(x):
    """The transpose of each matrix: the last two axes exchanged."""
    return swapaxes(x, -1, -2)


@composition
def rollaxis(x, axis, start=0):
    """The axis `axis` put before the one at `start`."""
    axis = axis_of(axis, len(x.shape))
    start += len(x.shape) if start < 0 else 0
    return moveaxis(x, axis, start - 1 if axis < start else start)


def _each(of_one):
    """A function of one array or, of several, the tuple of its values."""
    return lambda xs: of_one(xs[0]) if len(xs) == 1 else tuple(map(of_one, xs))


@composition
def atleast_1d(*xs) -> Any:
    """A number as a vector of one; more axes stay."""
    return _each(lambda x: itself(x) if len(given(x).shape) else reshape(x, 1))(xs)


@composition
def atleast_2d(*xs) -> Any:
    """A number or a vector as a matrix of one row; more axes stay."""
    return _each(lambda x: itself(x) if len(given(x).shape) > 1 else reshape(x, (1, -1)))(xs)


@composition
def atleast_3d(*xs) -> Any:
    """With three axes at least: a vector lies along the second, a matrix along the first two."""
    shapes = {0: (1, 1, 1), 1: (1, -1, 1)}
    return _each(
        lambda x: (
            itself(x)
            if len(given(x).shape) > 2
            else reshape(x, shapes.get(len(given(x).shape)) or (*given(x).shape, 1))
        )
    )(xs)


@composition
def broadcast_arrays(*xs) -> Any:
    """All in the shape that they have together."""
    shape = numpy.broadcast_shapes(*(given(x).shape for x in xs))
    return tuple(broadcast_to(x, shape=shape) for x in xs)


@composition
def meshgrid(*xs, indexing="xy") -> Any:
    """Each vector spread over the grid that all of them make; "ij" keeps their order, "xy" exchanges the first two."""
    order = [1, 0, *range(2, len(xs))] if indexing == "xy" and len(xs) > 1 else list(range(len(xs)))
    shapes = [[-1 if order[j] == i else 1 for j in range(len(xs))] for i in range(len(xs))]
    return broadcast_arrays(*(reshape(x, shape) for x, shape in zip(xs, shapes, strict=True)))


# Joined and split


@composition(synonyms=("row_stack",))
def vstack(tensors):
    """Rows, or matrices, one below another."""
    return concatenate([atleast_2d(x) for x in tensors], 0)


@composition
def hstack(tensors):
    """Vectors one after another, or arrays side by side along their second axis."""
    tensors = [atleast_1d(x) for x in tensors]
    return concatenate(tensors, 0 if len(tensors[0].shape) == 1 else 1)


@composition
def dstack(tensors):
    """Arrays one behind another, along the third axis."""
    return concatenate([atleast_3d(x) for x in tensors], 2)


@composition
def column_stack(tensors):
    """Vectors as columns, and matrices, side by side."""
    return concatenate([x if len(given(x).shape) > 1 else reshape(x, (-1, 1)) for x in tensors], 1)


@composition
def append(x, values, axis=None):
    """The values after x along `axis` (both flattened by default)."""
    return concatenate([x, values], axis)


@composition
def delete(x, obj, axis=None):
    """Without the elements, or the parts along `axis`, at these indices."""
    x, axis = (ravel(x), 0) if axis is None else (given(x), axis)
    length = x.shape[axis_of(axis, len(x.shape))]
    try:
        return along(x, axis, numpy.delete(numpy.arange(length), obj))
    except IndexError as error:
        raise ShapeError(f"delete: {error} of x of shape {x.shape}, axis {axis}.") from None


@composition
def array_split(x, indices_or_sections, axis=0) -> Any:
    """So many parts along `axis`, as equal as can be, or the parts between these indices: a list."""
    x = given(x)
    n, cuts = x.shape[axis_of(axis, len(x.shape))], indices_or_sections
    if isinstance(cuts, int):
        each, longer = divmod(n, cuts)
        cuts = numpy.cumsum([each + 1] * longer + [each] * (cuts - longer))[:-1].tolist()
    return [along(x, axis, slice(a, b)) for a, b in zip([0, *cuts], [*cuts, n], strict=True)]


@composition
def split(x, indices_or_sections, axis=0) -> Any:
    """So many equal parts along `axis`, or the parts between these indices: a list."""
    n, parts = given(x).shape[axis_of(axis, len(given(x).shape))], indices_or_sections
    if isinstance(parts, int) and n % parts:
        raise ShapeError(f"split: {n} elements along axis {axis} make no {parts} equal parts: use array_split.")
    return array_split(x, parts, axis)


@composition
def vsplit(x, indices_or_sections) -> Any:
    """Parts along the first axis: a list."""
    return split(x, indices_or_sections, 0)


@composition
def hsplit(x, indices_or_sections) -> Any:
    """Parts along the second axis, of a vector along its only one: a list."""
    return split(x, indices_or_sections, min(1, len(given(x).shape) - 1))


@composition
def dsplit(x, indices_or_sections) -> Any:
    """Parts along the third axis: a list."""
    return split(x, indices_or_sections, 2)


@composition
def unstack(x, axis=0) -> Any:
    """The parts of length 1 along `axis`, without it: a tuple."""
    x = given(x)
    return tuple(along(x, axis, i) for i in range(x.shape[axis]))


# Turned and repeated


@composition
def fliplr(x):
    """Each row in reverse order."""
    return flip(x, 1)


@composition
def flipud(x):
    """The rows in reverse order."""
    return flip(x, 0)


@composition
def rot90(x, k=1, axes=(0, 1)):
    """Turned by k right angles in the plane of two axes, from the first to the second."""
    a, b = axes
    if k % 4 == 2:
        return flip(x, (a, b))
    if k % 2 == 0:
        return itself(x)
    return swapaxes(flip(x, b), a, b) if k % 4 == 1 else flip(swapaxes(x, a, b), b)


def fftshift(x, axes=None):
    """The halves of each axis exchanged, so that what is first comes to the middle."""
    return _shifted(x, axes, lambda n: n // 2)


def ifftshift(x, axes=None):
    """The inverse of `fftshift`."""
    return _shifted(x, axes, lambda n: -(n // 2))


namespace.fft.fftshift, namespace.fft.ifftshift = fftshift, ifftshift


def _shifted(x, axes, by):
    axes = range(len(x.shape)) if axes is None else (axes,) if isinstance(axes, int) else axes
    for axis in axes:
        x = roll(x, by(x.shape[axis]), axis)
    return x


@composition
def tile(x, reps):
    """x repeated `reps` times along each axis, as a whole."""
    x, times = given(x), (reps,) if isinstance(reps, int) else tuple(reps)
    shape = (1,) * (len(times) - len(x.shape)) + tuple(x.shape)
    times = (1,) * (len(shape) - len(times)) + times
    spread = [n for pair in zip(times, shape, strict=True) for n in pair]
    apart = reshape(x, [n for length in shape for n in (1, length)])
    return reshape(broadcast_to(apart, shape=tuple(spread)), [t * n for t, n in zip(times, shape, strict=True)])


@composition(methods=("repeat",))
def repeat(x, repeats, axis=None):
    """Each element, or each part along `axis`, so many times in a row."""
    x, axis = (ravel(x), 0) if axis is None else (given(x), axis)
    return along(x, axis, numpy.repeat(numpy.arange(x.shape[axis_of(axis, len(x.shape))]), repeats))


# Diagonals


def _on_diagonal(n, m, offset):
    """The rows and the columns of the elements on a diagonal of an n × m matrix."""
    i = numpy.arange(max(0, min(n + min(offset, 0), m - max(offset, 0))))
    return i - min(offset, 0), i + max(offset, 0)


@composition(methods=("diagonal",))
def diagonal(x, offset=0, axis1=0, axis2=1):
    """The elements on a diagonal of the matrices that lie in two axes, along a new last axis."""
    x = moveaxis(x, (axis1, axis2), (-2, -1))
    return getitem(x, (..., *_on_diagonal(x.shape[-2], x.shape[-1], offset)))


@composition(methods=("trace",))
def trace(x, offset=0, axis1=0, axis2=1):
    """The sum of a diagonal."""
    return diagonal(x, offset, axis1, axis2).sum(axis=-1)


@composition
def diag(x, k=0):
    """The k-th diagonal of a matrix; of a vector the matrix that has it there."""
    x = given(x)
    if len(x.shape) == 2:
        return diagonal(x, k)
    if len(x.shape) != 1:
        raise ShapeError(f"diag takes a vector or a matrix, not shape {tuple(x.shape)}: use diagonal.")
    square = where(identity_like(x, size=x.shape[0]) != 0, expand_dims(x, axis=-1), 0.0)
    return pad(square, ((max(-k, 0), max(k, 0)), (max(k, 0), max(-k, 0))))


@composition
def diagflat(x, k=0):
    """The matrix that has the elements on its k-th diagonal."""
    return diag(ravel(x), k)


# Taken and sorted


@composition(methods=("take",))
def take(x, indices, axis=None):
    """The elements, or with `axis` the parts along it, at these indices."""
    return getitem(ravel(x), indices) if axis is None else along(given(x), axis, indices)


@composition
def take_along_axis(x, indices, axis=-1):
    """Elements by their places along `axis`, as `argsort` gives them."""
    x, indices = given(x), given(indices)
    at = []
    for i, n in enumerate(indices.shape):
        lengths = [1] * len(indices.shape)
        lengths[i] = n
        at.append(indices if i == axis_of(axis, len(x.shape)) else reshape(counted(x, n), lengths))
    return getitem(x, tuple(at))


@composition
def sort(x, axis=-1):
    """The elements in ascending order along `axis`; the gradient goes back to where each came from."""
    x, axis = (ravel(x), 0) if axis is None else (given(x), axis)
    return take_along_axis(x, argsort(x, axis), axis)


@composition
def partition(x, kth, axis=-1):
    """What is least before, what is greatest after the kth: the elements sorted, which is one such order."""
    return sort(x, axis)
