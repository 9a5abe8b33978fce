"""Numbers as the pages take them: what JSON cannot hold as text, and large arrays in few letters."""

from __future__ import annotations

import base64
import math
from typing import Any

import numpy
import numpy.typing

from .tiles import Tiles

LISTED = 64
"""Elements of an array, up to which they are listed one by one."""


def numbers(array: Any) -> list[Any]:
    """The elements in row-major order; what JSON cannot hold as text."""
    return [number(x) for x in numpy.asarray(array).reshape(-1).tolist()]


def packed(array: numpy.typing.NDArray[Any], place: int, tiles: Tiles | None = None) -> Any:
    """The elements of a small array one by one; of a larger one the element at `place` and, with `tiles`, a picture.

    A picture: {"tiles": one byte for each element drawn, "scale": its greatest magnitude, "range": least, mean and
    greatest of all}; a byte b stands for (b - 128) / 127 * scale, 0 for what is not finite.
    """
    if array.size <= LISTED:
        return numbers(array)
    flat = array.reshape(-1)
    found: dict[str, Any] = {"size": array.size, "at": {place: number(flat[place].item())}}
    if tiles is None:
        return found
    drawn = flat[tiles.places().reshape(-1)].astype("float64")
    finite = numpy.isfinite(drawn)
    scale = float(numpy.abs(drawn[finite]).max(initial=0.0)) or 1.0
    levels = numpy.where(finite, 128 + numpy.rint(127 * numpy.where(finite, drawn, 0) / scale), 0)
    found["tiles"] = _letters(levels.astype("uint8"))
    found["scale"] = short(scale)
    found["range"] = [short(float(x)) for x in (array.min(), array.mean(), array.max())]
    return found


def whole(array: numpy.typing.NDArray[Any]) -> Any:
    """All elements: listed, or, of a large array, as the text of their bytes, {"f4": …} or {"f8": …}, little-endian."""
    if array.size <= LISTED:
        return numbers(array)
    kind = "f4" if array.dtype == "float32" else "f8"
    return {kind: _letters(array.astype(f"<{kind}"))}


def _letters(array: numpy.typing.NDArray[Any]) -> str:
    return base64.b64encode(array.tobytes()).decode()


def number(x: Any) -> Any:
    """One of them."""
    if isinstance(x, bool):
        return int(x)
    return x if not isinstance(x, float) or math.isfinite(x) else "NaN" if math.isnan(x) else "∞" if x > 0 else "−∞"


def short(value: float) -> Any:
    """A number to four significant digits."""
    return number(float(f"{value:.4g}"))
