"""How a large array is drawn: its elements as pictures side by side, an image or a filter as what it is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil, isqrt, prod
from typing import Any

import numpy

from .explanation import Explanation, Quantity

CELLS = 16_384
"""Elements of an array that are drawn, about."""
SIDE = 96
"""Rows and columns of a picture; of a longer axis every second, third, … element is drawn."""
MOST = 32
"""Pictures in a line."""
SMALLEST = 7
"""Pixels of a side, from which a row of features is taken for an image, where their number is a square."""


@dataclass(frozen=True)
class Tiles:
    """Pictures of one size, `columns` of them in a line.

    Picture k has at row r and column c the element `array.reshape(-1)[starts[k] + r * down + c * right]`.
    kind: "images"; "maps", channels of images; "filters" of a convolution; "units", the weights of each unit that looks
    at images; or "matrix". total: how many pictures there are, drawn or not.
    """

    kind: str
    height: int
    width: int
    down: int
    right: int
    starts: Sequence[int]
    columns: int
    total: int

    def places(self) -> Any:
        """The flat places that are drawn, by picture, row and column."""
        starts, rows, columns = numpy.ogrid[: len(self.starts), : self.height, : self.width]
        return numpy.asarray(self.starts)[starts] + rows * self.down + columns * self.right


def tiles_of(explanation: Explanation, quantities: Sequence[Quantity]) -> dict[str, Tiles | None]:
    """How each of these quantities is drawn, by its id; None where it has no elements."""
    kinds = dict(_kinds(explanation))
    return {q.id: _DRAWN[kinds.get(q.id, "matrix")](q.shape) if q.value.size else None for q in quantities}


def _kinds(explanation: Explanation) -> Iterator[tuple[str, str]]:
    """What is not drawn as a matrix, by the id."""
    seen = {q.id: q for q in explanation.quantities if q.role == "input" and _is_image(q, explanation.kind)}
    filters = set()
    for step in explanation.forward:
        given = {step.primitive.operand(i): o for i, o in enumerate(step.operands) if isinstance(o, Quantity)}
        weight, looked_at = given.get("w"), step.operands[0]
        if weight is not None and len(weight.shape) == 4:
            filters.add(weight.id)
        elif weight is not None and len(weight.shape) == 2 and looked_at.id in seen:
            yield weight.id, "units"
    if filters or any(len(q.shape) == 4 for q in seen.values()):
        for quantity in explanation.quantities:
            if len(quantity.shape) == 4:
                yield quantity.id, "filters" if quantity.id in filters else "maps"
    yield from ((name, "images") for name, q in seen.items() if len(q.shape) == 2)


def _is_image(quantity: Quantity, kind: str) -> bool:
    """Whether each row is one: (count, height, width, channels), or as many features as a square has."""
    side = isqrt(quantity.shape[-1]) if kind == "model" and len(quantity.shape) == 2 else 0
    return len(quantity.shape) == 4 or (side >= SMALLEST and side * side == quantity.shape[-1])


def _images(shape: Sequence[int]) -> Tiles:
    count, features = shape
    side = isqrt(features)
    shown = min(count, max(1, CELLS // features), MOST)
    return Tiles("images", side, side, side, 1, [n * features for n in range(shown)], 8, count)


def _units(shape: Sequence[int]) -> Tiles:
    features, units = shape
    side = isqrt(features)
    shown = min(units, max(1, CELLS // features), MOST)
    return Tiles("units", side, side, side * units, units, [*range(shown)], 8, units)


def _maps(shape: Sequence[int]) -> Tiles:
    """Channels side by side, samples below one another; images of one channel side by side."""
    count, height, width, channels = shape
    across = min(channels, max(1, CELLS // (height * width)), MOST)
    samples = min(count, max(1, CELLS // (height * width * across)), MOST if channels == 1 else 4)
    size = height * width * channels
    starts = [n * size + c for n in range(samples) for c in range(across)]
    kind = "images" if channels == 1 else "maps"
    columns = across if samples > 1 and across > 1 else 8
    return Tiles(kind, height, width, width * channels, channels, starts, columns, count * channels)


def _filters(shape: Sequence[int]) -> Tiles:
    """Filters side by side, the channels that they look at below one another; filters of one channel in lines."""
    height, width, channels, filters = shape
    across = min(filters, max(1, CELLS // (height * width)), MOST)
    below = min(channels, max(1, CELLS // (height * width * across)), MOST)
    starts = [c * filters + k for c in range(below) for k in range(across)]
    down, right = width * channels * filters, channels * filters
    columns = across if below > 1 else 8
    return Tiles("filters", height, width, down, right, starts, columns, channels * filters)


def _matrix(shape: Sequence[int]) -> Tiles:
    """The last axis to the right, the others down."""
    wide = shape[-1] if shape else 1
    tall = prod(shape) // wide
    every, nth = ceil(tall / SIDE), ceil(wide / SIDE)
    return Tiles("matrix", ceil(tall / every), ceil(wide / nth), every * wide, nth, [0], 1, 1)


_DRAWN = {"images": _images, "units": _units, "maps": _maps, "filters": _filters, "matrix": _matrix}
