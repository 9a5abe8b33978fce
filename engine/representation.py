"""A tensor in a notebook: small ones as a table over a heat map, larger ones as a heat map of block means."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy
from numpy.typing import NDArray

from .markup import (
    BLUE,
    CELL,
    FAINT,
    LINE,
    ORANGE,
    RED,
    block,
    code,
    details,
    faint,
    framed,
    line,
    mark,
    number,
    pre,
    side_by_side,
    text,
)

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
    name, node = tensor.name, tensor._node
    head = line(
        f"<strong>Tensor{' ' + text(name) if name else ''}</strong>",
        f"shape {text(tensor.shape)}",
        text(tensor.dtype),
        text(tensor.device),
        f"from {code(node.primitive.name)}" if node is not None else "",
        "requires_grad" if tensor.requires_grad else "",
    )
    parts = [_array("values", tensor.numpy())]
    if tensor.grad is not None:
        parts.append(_array("grad", tensor.grad.numpy()))
    foot = ""
    if tensor.grad is None and tensor.requires_grad:
        computed = f"kept of leaves only, and {text(node.primitive.name)} computed this one" if node else ""
        foot = line(f"grad: {computed or mark('not computed yet', ORANGE)}")
    return block(head, side_by_side(parts), foot)


def _array(what: str, x: Values) -> str:
    if not x.size:
        return line(f"{what}: empty, there are no elements")
    plane = x[(0,) * (x.ndim - 2)].reshape((1,) * max(2 - x.ndim, 0) + x.shape[-2:])
    rows, columns = plane.shape
    if (rows <= SMALL and columns <= SMALL) or (1 in plane.shape and max(plane.shape) <= SHORT):
        drawn = _table(f"{what}{_first(x)}", x, plane)
    else:
        drawn = _map(f"{what}{_first(x)}", x, plane)
    full = details(f"{what} in full", pre(_written(x))) if 1 < x.size <= WRITTEN else ""
    return drawn + _statistics(x) + "".join(_places(x)) + full


def _written(x: Values) -> str:
    return numpy.array2string(x, separator=", ", threshold=sys.maxsize, floatmode="unique", max_line_width=100)


def _first(x: Values) -> str:
    """Which plane of more than two axes is drawn."""
    return f" {[0] * (x.ndim - 2)}"[:-1] + ", :, :]" if x.ndim > 2 else ""


def _statistics(x: Values) -> str:
    finite = numpy.isfinite(x)
    some = x if finite.all() else x[finite]
    if x.size == 1 or not some.size:
        return ""
    of = f"of all {x.size:,} elements" if some.size == x.size else f"of the {some.size:,} finite of {x.size:,} elements"
    least, most = some.min(), some.max()
    with numpy.errstate(over="ignore"):
        mean = some.mean(dtype="float64")
    if not numpy.isfinite(mean):  # the sum is beyond what floats hold, the mean is not
        peak = max(abs(float(least)), abs(float(most)))
        mean = (some / peak).mean() * peak
    return line(f"min {number(least)}", f"mean {number(mean)}", f"max {number(most)}", faint(of))


def _places(x: Values) -> Iterator[str]:
    """How many elements are not finite, and where the first is."""
    for what, at in (("NaN", numpy.isnan(x)), ("infinite", numpy.isinf(x))):
        if count := int(at.sum()):
            first = [int(n) for n in numpy.unravel_index(int(at.argmax()), x.shape)]
            yield line(mark(f"{count:,} {what}" + (f", the first at {first}" if first else ""), RED))


def _table(caption: str, x: Values, plane: Values) -> str:
    """The numbers, each over its colour."""
    levels, bad, _ = _blocks(plane)
    side = f"{CELL};text-align:right;font-weight:400;{FAINT}"
    head = "".join(f'<th scope="col" style="{side}">{j}</th>' for j in range(plane.shape[1]))
    corner = f'<td style="{CELL}"></td>' if x.ndim > 1 else ""
    body = ""
    for i, row in enumerate(plane):
        index = f'<th scope="row" style="{side}">{i}</th>' if x.ndim > 1 else ""
        cells = "".join(_cell(value, level, odd) for value, level, odd in zip(row, levels[i], bad[i], strict=True))
        body += f'<tr style="background:transparent">{index}{cells}</tr>'
    head = f"<thead><tr>{corner}{head}</tr></thead>" if x.ndim else ""
    return framed(caption, f"{head}<tbody>{body}</tbody>")


def _cell(value: Any, level: float, odd: bool) -> str:
    colour = f"{RED},.45" if odd else f"{ORANGE if level > 0 else BLUE},{abs(level) * 0.55:.2f}"
    weight = ";font-weight:700" if odd else ""
    return f'<td style="{CELL};text-align:right;background:rgba({colour}){weight}">{number(value)}</td>'


def _map(caption: str, x: Values, plane: Values) -> str:
    """A heat map with what its colours and cells stand for."""
    levels, bad, peak = _blocks(plane)
    rows, columns = levels.shape
    side = max(6, min(14, 224 // max(rows, columns)))
    width, height = columns * side, max(rows * side, 16)
    size = " × ".join(f"{n:,}" for n in x.shape[-2:])
    cells = f"means of {rows} × {columns} blocks" if plane.size > levels.size else "one cell an element"
    label = f"heat map of {caption}: {size}, {cells}, from {number(-peak)} (blue) over 0 to {number(peak)} (orange)"
    places = numpy.where(bad, LEVELS + 1, numpy.rint(levels * LEVELS).astype(int))
    start = f'<svg role="img" aria-label="{text(label)}" preserveAspectRatio="none" '
    style = f"display:block;width:{width}px;height:{height}px;max-width:100%;border:{LINE}"
    drawn = f'{start}viewBox="0 0 {columns} {rows}" shape-rendering="crispEdges" style="{style}"><title>{text(label)}'
    drawn += f"</title>{''.join(_paths(places))}</svg>"
    shades = f"rgba({BLUE},.9),transparent,rgba({ORANGE},.9)"
    bar = f"display:inline-block;width:5em;height:.7em;background:linear-gradient(to right,{shades})"
    scale = (
        f'{number(-peak)} <span style="{bar}"></span> {number(peak)}'
        if peak
        else ""
        if bad.any()
        else "every cell is 0"
    )
    return f"{line(faint(f'{caption}: {size}, {cells}'))}{drawn}{line(faint(scale))}"


def _paths(places: Values) -> Iterator[str]:
    """The cells of each shade as one path; neighbours in a row are drawn at once, cells of 0 not at all."""
    drawn: dict[int, list[str]] = {}
    for i, row in enumerate(places.tolist()):
        j = 0
        for shade, run in groupby(row):
            length = len(list(run))
            drawn.setdefault(shade, []).append(f"M{j} {i}h{length}v1h-{length}z")
            j += length
    for shade, pieces in drawn.items():
        if shade:
            strength = 0.9 * abs(shade) / LEVELS
            colour = RED if shade > LEVELS else ORANGE if shade > 0 else BLUE
            yield f'<path fill="rgb({colour})" fill-opacity="{min(strength, 1):.2f}" d="{"".join(pieces)}"/>'


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
