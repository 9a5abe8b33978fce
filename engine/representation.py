"""A tensor in a notebook: small ones as a table over a heat map, larger ones as a heat map of block means."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy
from numpy.typing import NDArray

from .markup import COLOURS, rendered

if TYPE_CHECKING:
    from .tensor import Tensor

Values = NDArray[Any]

SMALL, SHORT = 8, 16
"""Up to how many rows and columns there is a table of numbers, and up to how many elements of a single row."""

CELLS = 32
"""Into how many blocks an axis is divided at most."""

LEVELS = 16
"""How many shades a heat map has of each colour."""

WRITTEN = 1000
"""Up to how many elements all values can be had."""


def tensor_html(tensor: Tensor) -> str:
    """What a tensor is, its values, and its gradient beside them. Values on a GPU are copied, as `repr` does."""
    arrays = [_array("values", tensor.numpy())]
    if tensor.grad is not None:
        arrays.append(_array("grad", tensor.grad.numpy()))
    return rendered(
        "engine/tensor.html", name=tensor.name, shape=tensor.shape, dtype=tensor.dtype, device=tensor.device,
        made_by=tensor._node.primitive.name if tensor._node else "", requires_grad=tensor.requires_grad, arrays=arrays,
    )  # fmt: skip


def _array(what: str, x: Values) -> dict[str, Any]:
    """What is shown of an array: its numbers in rows, each with its colour, or a heat map."""
    shown: dict[str, Any] = {"what": what, "size": x.size, "ndim": x.ndim, "caption": f"{what}{_first(x)}"}
    if not x.size:
        return shown
    plane = x[(0,) * (x.ndim - 2)].reshape((1,) * max(2 - x.ndim, 0) + x.shape[-2:])
    rows, columns = plane.shape
    levels, bad, peak = _blocks(plane)
    if (rows <= SMALL and columns <= SMALL) or (1 in plane.shape and max(plane.shape) <= SHORT):
        shown["cells"] = [list(zip(*row, strict=True)) for row in zip(plane, levels, bad, strict=True)]
    else:
        shown |= {"cells": [], "map": {"caption": shown["caption"], **_map(x, plane, levels, bad, peak)}}
    full = _written(x) if 1 < x.size <= WRITTEN else ""
    return {**shown, **_statistics(x), "places": list(_places(x)), "full": full}


def _written(x: Values) -> str:
    return numpy.array2string(x, separator=", ", threshold=sys.maxsize, floatmode="unique", max_line_width=100)


def _first(x: Values) -> str:
    """Which plane of more than two axes is drawn."""
    return f" {[0] * (x.ndim - 2)}"[:-1] + ", :, :]" if x.ndim > 2 else ""


def _statistics(x: Values) -> dict[str, Any]:
    """Least, mean and greatest of what is finite, and of how many elements that is."""
    finite = numpy.isfinite(x)
    some = x if finite.all() else x[finite]
    if x.size == 1 or not some.size:
        return {"statistics": ()}
    of = f"of all {x.size:,} elements" if some.size == x.size else f"of the {some.size:,} finite of {x.size:,} elements"
    least, most = some.min(), some.max()
    with numpy.errstate(over="ignore"):
        mean = some.mean(dtype="float64")
    if not numpy.isfinite(mean):  # the sum is beyond what floats hold, the mean is not
        peak = max(abs(float(least)), abs(float(most)))
        mean = (some / peak).mean() * peak
    return {"statistics": (least, mean, most), "of": of}


def _places(x: Values) -> Iterator[str]:
    """How many elements are not finite, and where the first is."""
    for what, at in (("NaN", numpy.isnan(x)), ("infinite", numpy.isinf(x))):
        if count := int(at.sum()):
            first = [int(n) for n in numpy.unravel_index(int(at.argmax()), x.shape)]
            yield f"{count:,} {what}" + (f", the first at {first}" if first else "")


def _map(x: Values, plane: Values, levels: Values, bad: Values, peak: float) -> dict[str, Any]:
    """A heat map: its size, what its cells stand for, and its cells as paths."""
    rows, columns = levels.shape
    side = max(6, min(14, 224 // max(rows, columns)))
    return {
        "size": " × ".join(f"{n:,}" for n in x.shape[-2:]),
        "stands": f"means of {rows} × {columns} blocks" if plane.size > levels.size else "one cell an element",
        "peak": peak,
        "odd": bool(bad.any()),
        "rows": rows,
        "columns": columns,
        "width": columns * side,
        "height": max(rows * side, 16),
        "paths": list(_paths(numpy.where(bad, LEVELS + 1, numpy.rint(levels * LEVELS).astype(int)))),
    }


def _paths(places: Values) -> Iterator[tuple[str, float, str]]:
    """The cells of each shade as one path, with colour and strength.

    Neighbours in a row are drawn at once, cells of 0 not at all.
    """
    drawn: dict[int, list[str]] = {}
    for i, row in enumerate(places.tolist()):
        j = 0
        for shade, run in groupby(row):
            length = len(list(run))
            drawn.setdefault(shade, []).append(f"M{j} {i}h{length}v1h-{length}z")
            j += length
    for shade, pieces in drawn.items():
        if shade:
            colour = COLOURS["RED" if shade > LEVELS else "ORANGE" if shade > 0 else "BLUE"]
            yield colour, min(0.9 * abs(shade) / LEVELS, 1), "".join(pieces)


def _blocks(plane: Values) -> tuple[Values, Values, float]:
    """Means over at most CELLS × CELLS blocks, in units of the largest; which have an element that is not finite; the
    largest in absolute value.
    """
    edges = [numpy.arange(min(n, CELLS)) * n // min(n, CELLS) for n in plane.shape]
    strips = [_strip(strip, edges[1]) for strip in numpy.split(plane, edges[0][1:])]
    size = max(unit for _, _, unit in strips)
    means = numpy.stack([mean * (unit / size if size else 0.0) for mean, _, unit in strips])
    largest = float(numpy.abs(means).max())
    return means / (largest or 1.0), numpy.stack([bad for _, bad, _ in strips]), largest * size


def _strip(strip: Values, edges: Values) -> tuple[Values, Values, float]:
    """The means of blocks of some rows in units of the largest element, so that no sum overflows; that largest."""
    bad = ~numpy.isfinite(strip)
    finite = numpy.where(bad, 0, strip).astype("float64")
    unit = float(numpy.abs(finite).max())
    sums = numpy.add.reduceat((finite / (unit or 1.0)).sum(axis=0), edges)
    counts = numpy.add.reduceat((~bad).sum(axis=0), edges)
    return sums / numpy.maximum(counts, 1), numpy.add.reduceat(bad.sum(axis=0), edges) > 0, unit
