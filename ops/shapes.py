"""Moving elements about: shapes, slices, joining and padding. No arithmetic is done on the values."""

from __future__ import annotations

import math
from pathlib import Path

import numpy

from ..engine import backend
from ..engine.cuda.launch import THREADS, CudaKernel, Work
from ..engine.cuda.sources import REAL, TYPES, source
from ..engine.incoming import as_index
from ..engine.kernels import chosen
from ..engine.primitive import example, primitive
from ..engine.tensor import Tensor, tensor
from ..equation.axes import axes_of
from ..errors import ShapeError, unknown_name


def _shape_arguments(x, *lengths, shape=None):
    lengths = _once("reshape", "shape", lengths, shape)
    nested = len(lengths) == 1 and isinstance(lengths[0], (tuple, list))
    return (x,), {"shape": tuple(lengths[0] if nested else lengths)}


def _once(name, keyword, by_position, value):
    """What was given one after another or, by name, as a whole."""
    if by_position and value is not None:
        raise TypeError(f"{name}() got {keyword!r} twice, by position and by name.")
    return by_position if value is None else (value,)


@primitive(
    "y.flat[i] = x.flat[i]",
    saves=("x.shape",),
    analytic=True,
    method=True,
    examples=(example((2, 3), shape=(3, 2)), example((2, 3), shape=(-1,)), example((), shape=(1, 1))),
    bind=_shape_arguments,
)
def reshape(xp, x, *, shape):
    """The same elements in row-major order under another shape; one length may be -1, then it follows."""
    return x.reshape(shape)  # the function takes NumPy as long again


reshape.onnx(lambda graph, x, **parameters: graph.reshape(x, graph.shape))


reshape.vjp("x", "gx.flat[i] = gy.flat[i]")


def _axes_arguments(x, *order, axes=None):
    order = _once("transpose", "axes", order, axes)
    nested = len(order) == 1 and (order[0] is None or isinstance(order[0], (tuple, list)))
    chosen = order[0] if nested else order
    return (x,), {"axes": tuple(chosen) if chosen else None}


@primitive(
    "y[i[axes]] = x[i]",
    analytic=True,
    method=True,
    synonyms=("permute_dims",),
    examples=(example((2, 3)), example((2, 3, 4), axes=(1, 2, 0))),
    bind=_axes_arguments,
)
def transpose(xp, x, axes=None):
    """Axes in another order: axis k of the result is axis axes[k] of x; reversed by default."""
    return xp.transpose(x, axes)


transpose.onnx(lambda graph, x, axes: graph.moved(x, [k % x.axes for k in axes or range(x.axes)[::-1]]))


@transpose.vjp("x", "gx[i] = gy[i[axes]]")
def _(xp, gy, axes):
    return xp.transpose(gy, axes and tuple(sorted(range(len(axes)), key=lambda k: axes[k] % len(axes))))


setattr(Tensor, "T", property(transpose, doc="The tensor with its axes reversed."))  # noqa: B010 (lent, as methods are)


def swap_last(xp, x):
    """The last two axes exchanged: the transpose of each matrix."""
    n = len(x.shape)
    return xp.transpose(x, (*range(n - 2), n - 1, n - 2))


@primitive("y = x", analytic=True, examples=(example((3, 1), shape=(2, 3, 4)), example((), shape=(2,))))
def broadcast_to(xp, x, *, shape):
    """x repeated to `shape`, by the rules of broadcasting."""
    return xp.broadcast_to(x, shape)


broadcast_to.onnx(lambda graph, x, **parameters: graph.broadcast(x, graph.shape))
broadcast_to.vjp("x", "gx = gy")


@primitive(
    "y.flat[i] = x.flat[i]",
    saves=("x.shape",),
    analytic=True,
    method=True,
    examples=(example((1, 3, 1)), example((1, 3, 1), axis=2)),
)
def squeeze(xp, x, axis=None):
    """Without the axes of length 1 (all of them, or those of `axis`)."""
    return xp.squeeze(x, axis=axis)


squeeze.onnx(lambda graph, x, **parameters: graph.reshape(x, graph.shape))


squeeze.vjp("x", "gx.flat[i] = gy.flat[i]")


@primitive(
    "y.flat[i] = x.flat[i]",
    saves=("x.shape",),
    analytic=True,
    examples=(example((2, 3), axis=1), example((3,), axis=(0, -1))),
)
def expand_dims(xp, x, *, axis):
    """With an axis of length 1 put in at `axis`."""
    return xp.expand_dims(x, axis)


expand_dims.onnx(lambda graph, x, **parameters: graph.reshape(x, graph.shape))


expand_dims.vjp("x", "gx.flat[i] = gy.flat[i]")


def _raw_index(x, index):
    """The index as a tuple; arrays are copied, since their owner may change them before the reverse pass.

    Lists and NumPy arrays go to the device of x, once.
    """
    parts, device = [], x.device if isinstance(x, Tensor) else "cpu"
    for part in index if type(index) is tuple else (index,):
        if isinstance(part, Tensor):
            backend.common_namespace((x._data if isinstance(x, Tensor) else x, part._data), "getitem")
        part = as_index(part)
        if isinstance(part, list):
            part = numpy.array(part, dtype=None if part else "int64")
        if device != "cpu" and isinstance(part, numpy.ndarray):
            part = backend.send(part, device)
        parts.append(part.copy() if hasattr(part, "dtype") else part)
    return tuple(parts)


def _index_arguments(x, index):
    return (x,), {"index": _raw_index(x, index)}


@primitive(
    "y = x[index]",
    saves=("x.shape",),
    analytic=True,
    operators=("__getitem__",),
    examples=(
        example((4, 3), index=(slice(1, None, 2),)),
        example((4, 3), index=([0, 2, 2],)),
        example((4, 3), index=([0, 3, 0], [1, 1, 1])),
        example((4, 3), index=(..., None, -1)),
    ),
    bind=_index_arguments,
)
def getitem(xp, x, *, index):
    """Elements by index, slice, mask or integer arrays, as NumPy has it; an element taken twice gets both gradients."""
    return x[index]


getitem.onnx(lambda graph, x, index: graph.indexed(x, index))


@getitem.vjp("x", "gx[index] += gy")
def _(xp, gy, x_shape, index):
    return scatter_add.apply(xp, gy, index=index, shape=x_shape)


@primitive(
    "y[index] += x",
    analytic=True,
    examples=(example((3,), index=([0, 2, 2],), shape=(4,)), example((2, 3), index=(slice(1, 3),), shape=(4, 3))),
)
def scatter_add(xp, x, *, index, shape):
    """Zeros of `shape`, to which x is added at `index`: the adjoint of taking x[index]."""
    if all(part is None or part is Ellipsis or isinstance(part, (int, slice)) for part in index):
        y = xp.zeros(shape, dtype=x.dtype)
        y[index] = x  # no element twice
        return y
    wide = x.dtype if x.dtype.itemsize > 2 else "float32" if x.dtype.kind == "f" else "int32"
    y = xp.zeros(shape, dtype=wide)
    xp.add.at(y, index, x)
    return y.astype(x.dtype, copy=False)


@scatter_add.onnx
def _(graph, x, index, shape):
    places = numpy.arange(math.prod(shape)).reshape(shape)[index]
    rows = graph.reshape(graph.broadcast(x, places.shape), (-1,))
    return graph.reshape(graph.summed_at(rows, graph.constant(places.reshape(-1, 1)), (math.prod(shape),)), shape)


scatter_add.vjp("x", "gx = gy[index]")


def _sequence_arguments(xs, axis=0):
    if axis is None:
        return tuple(reshape(x, -1) for x in xs), {"axis": 0}
    return tuple(xs), {"axis": axis}


@primitive(
    "y = concatenate(xs, axis)",
    saves=("xs.shape",),
    analytic=True,
    synonyms=("concat",),
    examples=(example((2, 3), (4, 3)), example((2, 3), (2, 1), (2, 2), axis=-1)),
    bind=_sequence_arguments,
)
def concatenate(xp, *xs, axis=0):
    """Tensors one after another along `axis`; the other axes agree."""
    return xp.concatenate(xs, axis=axis)


concatenate.onnx(lambda graph, *xs, axis: graph.add("Concat", graph.alike(xs), axis=axis))


@concatenate.vjp("xs", "gxs = gy[position]")
def _(xp, gy, xs_shape, axis, position):
    start = sum(shape[axis] for shape in xs_shape[:position])
    return gy[(slice(None),) * (axis % len(gy.shape)) + (slice(start, start + xs_shape[position][axis]),)]


@primitive(
    "y = stack(xs, axis)",
    analytic=True,
    examples=(example((2, 3), (2, 3)), example((2,), (2,), (2,), axis=-1)),
    bind=_sequence_arguments,
)
def stack(xp, *xs, axis=0):
    """Tensors of one shape side by side along a new axis."""
    return xp.stack(xs, axis=axis)


@stack.onnx
def _(graph, *xs, axis):
    axis %= xs[0].axes + 1
    return graph.add("Concat", [graph.with_axes(x, [axis]) for x in graph.alike(xs)], axis=axis)


@stack.vjp("xs", "gxs = gy[position]")
def _(xp, gy, axis, position):
    return gy[(slice(None),) * (axis % len(gy.shape)) + (position, ...)]  # also of one axis an array, no number


FLIPPED = (example((4,)), example((3, 4), axis=0), example((2, 3, 2), axis=(0, 2)))


@primitive("y[..., j] = x[..., x.shape[-1] - 1 - j]", analytic=True, examples=FLIPPED)
def flip(xp, x, axis=None):
    """The elements in reverse order along the axes `axis` (all by default)."""
    return xp.flip(x, axis)


@flip.onnx
def _(graph, x, axis):
    return graph.sliced(x, dict.fromkeys(axes_of(axis, x.axes), slice(None, None, -1)))


@flip.vjp("x", "gx[..., j] = gy[..., gy.shape[-1] - 1 - j]")
def _(xp, gy, axis):
    return xp.flip(gy, axis)


ROLLED = (example((4,), shift=1), example((3, 4), shift=-2, axis=0), example((2, 3), shift=5, axis=None))


@primitive("y[..., j] = x[..., j - shift - x.shape[-1] * ((j - shift) // x.shape[-1])]", analytic=True, examples=ROLLED)
def roll(xp, x, *, shift, axis=None):
    """The elements `shift` places further on along `axis` (of the flattened array by default), the last ones first."""
    return xp.roll(x, shift, axis)


@roll.onnx
def _(xp, x, shift, axis):
    if axis is None:
        return xp.reshape(_rolled(xp, xp.reshape(x, (-1,)), shift, 0), x.shape)
    for each, by in numpy.broadcast(axis, shift):
        x = _rolled(xp, x, int(by), int(each))
    return x


def _rolled(xp, x, shift, axis):
    """The last elements along an axis before the others."""
    before = (slice(None),) * (axis % len(x.shape))
    at = -(shift % x.shape[axis]) or None
    return xp.concatenate([x[(*before, slice(at, None))], x[(*before, slice(None, at))]], axis=axis) if at else x


@roll.vjp("x", "gx[..., j] = gy[..., j + shift - gy.shape[-1] * ((j + shift) // gy.shape[-1])]")
def _(xp, gy, shift, axis):
    return xp.roll(gy, -shift, axis)


TRIANGLES = (example((3, 3)), example((2, 3, 4), k=1), example((3, 2), k=-1))


@primitive("y[..., i, j] = x[..., i, j] if j <= i + k else 0", analytic=True, examples=TRIANGLES)
def tril(x, k=0):
    """The lower triangle of each matrix: 0 above its k-th diagonal."""


tril.onnx(lambda graph, x, k: graph.add("Trilu", [x, graph.number(k, "int64")], upper=0))
tril.vjp("x", "gx[..., i, j] = gy[..., i, j] if j <= i + k else 0")


@primitive("y[..., i, j] = x[..., i, j] if j >= i + k else 0", analytic=True, examples=TRIANGLES)
def triu(x, k=0):
    """The upper triangle of each matrix: 0 below its k-th diagonal."""


triu.onnx(lambda graph, x, k: graph.add("Trilu", [x, graph.number(k, "int64")], upper=1))
triu.vjp("x", "gx[..., i, j] = gy[..., i, j] if j >= i + k else 0")


BORDERS = ("edge", "reflect", "symmetric", "wrap")
"""Modes of `pad`, after NumPy, that repeat elements of x."""


def _pad_arguments(x, pad_width, constant_values=0.0, mode="constant"):
    x = x if hasattr(x, "shape") else tensor(x)
    axes = len(x.shape)
    try:
        widths = numpy.broadcast_to(pad_width, (axes, 2)).tolist()
    except ValueError:
        raise ShapeError(
            f"pad takes one width, one pair (before, after), or a pair for each of the {axes} axes, not {pad_width!r}."
        ) from None
    if mode not in ("constant", *BORDERS):
        raise unknown_name("pad mode", mode, ("constant", *BORDERS))
    for axis, width in enumerate(widths if mode != "constant" else ()):  # of its own elements, then no more is added
        if any(width):
            if not x.shape[axis]:
                raise ShapeError(
                    f"pad(mode={mode!r}): axis {axis} of x, of shape {x.shape}, has no elements to repeat."
                )
            x = getitem(x, (*(slice(None),) * axis, numpy.pad(numpy.arange(x.shape[axis]), width, mode=mode)))
            widths[axis] = [0, 0]
    return (x,), {"pad_width": tuple(map(tuple, widths)), "constant_values": constant_values}


@primitive(
    "y = pad(x, pad_width, constant_values)",
    saves=("x.shape",),
    analytic=True,
    examples=(example((2, 3), pad_width=((1, 0), (0, 2))), example((3,), pad_width=((2, 2),), constant_values=1.5)),
    bind=_pad_arguments,
)
def pad(xp, x, *, pad_width, constant_values=0.0):
    """x with a border of `constant_values`, (before, after) for each axis, or one for all; or, by `mode`, of the
    elements at its ends ("edge", "reflect", "symmetric", "wrap").
    """
    return xp.pad(x, pad_width, constant_values=constant_values)


@pad.onnx
def _(graph, x, pad_width, constant_values):
    widths = graph.integers([pair[side] for side in (0, 1) for pair in pad_width])
    return graph.add("Pad", [x, widths, graph.number(constant_values, x.dtype)])


@pad.vjp("x", "gx = crop(gy, pad_width)")
def _(xp, gy, x_shape, pad_width):
    return gy[tuple(slice(before, before + n) for (before, _), n in zip(pad_width, x_shape, strict=True))]


GATHER = source(
    Path(__file__).with_suffix(".cu"),
    *({"SOURCE": kind, "REAL": kind} for kind in (REAL, "uint8", "int64")),
)  # fmt: skip


def _suits_gather(x, indices):
    return bool(x.flags.c_contiguous and x.dtype.name in TYPES and indices.dtype == "int64" and indices.ndim == 1)


def _launch_gather(gpu, x, indices, out=None):
    out = gpu.xp.empty((*indices.shape, *x.shape[1:]), x.dtype) if out is None else out
    if out.size:
        work = _gather_work(x, gpu.xp.ascontiguousarray(indices), out)
        gpu.launch(GATHER, "gather", (work.blocks,), (THREADS,), *work.arguments, SOURCE=x.dtype, REAL=out.dtype)
    return out


def _gather_work(x, indices, out):
    sizes = map(numpy.int64, (indices.size, math.prod(x.shape[1:]), len(x)))
    blocks = max(1, min(-(-out.size // THREADS), 8192))
    return Work(GATHER, "gather_rows", (x, indices, out, *sizes, out.dtype.type(1)), blocks)


_gather = CudaKernel("gather", _launch_gather, _suits_gather)
_gather.work = _gather_work
rows_at = chosen(
    _gather,
    lambda xp, x, indices: xp.take(x, indices, axis=0, mode="clip"),
)
"""(xp, x, indices) -> the rows of an array at places known to be in range: how a batch is gathered."""
