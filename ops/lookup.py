"""Rows of a table by their numbers, such as ids of words, and the adjoint: the sum of the rows of each number."""

from __future__ import annotations

import math

import numpy

from ..checks import whole
from ..engine.primitive import example, primitive
from ..errors import DataError, ShapeError
from .shapes import rows_at


@primitive(
    "y[..., k] = table[ids[...], k]",
    saves=("ids", "table.shape"),
    analytic=True,
    whole=True,
    domain={"ids": range(4)},
    examples=(example((4, 3), (5,)), example((4, 2), (2, 3)), example((4, 2), ())),
)
def embedding(xp, table, ids):
    """The row of a table for each id. table: (ids there are, features); ids: whole numbers of any shape.

    On the CPU, where values are looked at without waiting, an id without a row is a DataError that names where it
    stands; on a GPU the nearest row is taken.
    """
    numbers = xp.reshape(ids.astype("int64", copy=False), (-1,))
    return xp.reshape(rows_at(xp, table, numbers), (*ids.shape, table.shape[1]))


embedding.onnx(lambda graph, table, ids: graph.add("Gather", [table, graph.cast(ids, "int64")], axis=0))


@embedding.check
def _(table, ids):
    if len(table.shape) != 2:
        raise ShapeError(f"embedding takes a table of shape (ids, features), not {table.shape}.")


def _check_ids(ids, count):
    if not ids.size or (ids.dtype.kind != "f" and ids.min() >= 0 and ids.max() < count):
        return
    wrong = (ids < 0) | (ids >= count) | (ids != numpy.floor(ids) if ids.dtype.kind == "f" else False)
    if wrong.any():
        at = tuple(map(int, numpy.argwhere(wrong)[0]))
        there = ", ".join(map(str, at)) or 0
        raise DataError(
            f"the id {ids[at]} in row {there}, the first such, has no row in a table of {count}: ids are "
            f"0 … {count - 1}."
        )


@embedding.check_values
def _(table, ids):
    _check_ids(ids, len(table))


embedding.value_checker.in_each_replay = True  # type: ignore[union-attr]  # what a step is given may be any ids


@embedding.vjp("table", "gtable[v, k] = sum(gy[..., k] if ids[...] == v else 0, ...)")
def _(xp, gy, ids, table_shape):
    return segment_sum.apply(xp, gy, ids, count=table_shape[0])


@primitive(
    "y[v, k] = sum(x[..., k] if ids[...] == v else 0, ...)",
    saves=("ids",),
    analytic=True,
    whole=True,
    domain={"ids": range(4)},
    examples=(example((5, 3), (5,), count=4), example((2, 3, 2), (2, 3), count=5)),
)
def segment_sum(xp, x, ids, *, count):
    """Of the rows of x, (…, features), the sum of those of each id 0 … count - 1: (count, features). Ids as for
    `embedding`.
    """
    width = x.shape[-1]
    numbers = xp.reshape(ids.astype("int64", copy=False), (-1, 1))
    places = xp.reshape(numbers * width + xp.arange(width), (-1,))
    small = xp is not numpy and x.dtype.kind in "biu" and x.dtype.itemsize < 4  # which CuPy does not add in place
    y = xp.zeros(count * width, dtype="int32" if small else x.dtype)
    xp.add.at(y, places, xp.reshape(x, (math.prod(x.shape),)).astype(y.dtype, copy=False))  # one axis has a fast loop
    return xp.reshape(y, (count, width)).astype(x.dtype, copy=False)


@segment_sum.onnx
def _(graph, x, ids, *, count):
    rows = graph.reshape(x, (-1, x.shape[-1]))
    places = graph.reshape(graph.cast(ids, "int64"), (-1, 1))
    return graph.summed_at(rows, places, (count, x.shape[-1]))


@segment_sum.check
def _(x, ids, count):
    whole("segment_sum", "count", count)
    if not x.shape or x.shape[:-1] != ids.shape:
        raise ShapeError(f"segment_sum takes x of shape (…, features) and ids (…), not {x.shape} and {ids.shape}.")


@segment_sum.check_values
def _(x, ids, count):
    _check_ids(ids, count)


segment_sum.value_checker.in_each_replay = True  # type: ignore[union-attr]


@segment_sum.vjp("x", "gx[..., k] = gy[ids[...], k]")
def _(xp, gy, ids):
    return embedding.apply(xp, gy, ids)
