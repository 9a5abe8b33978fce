"""Numbers as the pages take them: what JSON cannot hold as text, and large arrays in few letters."""

from __future__ import annotations

import base64
import math
from typing import Any

import numpy
import numpy.typing

LISTED = 64
"""Elements of an array, up to which they are listed one by one."""
WHOLE = 20_000
"""Elements of an array, up to which all of them are on the page in any case."""
HEAT = 64


def numbers(array: Any) -> list[Any]:
    """The elements in row-major order; what JSON cannot hold as text."""
    return [number(x) for x in numpy.asarray(array).reshape(-1).tolist()]


def packed(array: numpy.typing.NDArray[Any], place: int, whole: bool = True) -> Any:
    """The elements: listed, or, of a large array, as the text of their bytes, {"f4": …} or {"f8": …}, little-endian.

    Where not the whole of an array of more than WHOLE elements is wanted: the one at `place`, least, mean and greatest,
    and a heat map of at most HEAT × HEAT of them; of images, the one that `place` is in, of that channel.
    """
    if array.size <= LISTED or array.dtype.name not in ("float32", "float64"):
        return numbers(array)
    if whole or array.size <= WHOLE:
        return _bytes(array)
    sample, *_, channel = numpy.unravel_index(place, array.shape)
    rows = array[sample, :, :, channel] if array.ndim == 4 else array.reshape(-1, array.shape[-1])
    chosen = [numpy.linspace(0, n - 1, min(n, HEAT)).astype(int) for n in rows.shape]
    return {
        "size": array.size,
        "at": {place: number(array.reshape(-1)[place].item())},
        "range": [short(float(x)) for x in (array.min(), array.mean(), array.max())],
        "heat": {"rows": len(chosen[0]), "columns": len(chosen[1]), **_bytes(rows[numpy.ix_(*chosen)])},
    }


def _bytes(array: numpy.typing.NDArray[Any]) -> dict[str, str]:
    kind = f"f{array.dtype.itemsize}"
    return {kind: base64.b64encode(array.astype(f"<{kind}").tobytes()).decode()}


def number(x: Any) -> Any:
    """One of them."""
    if isinstance(x, bool):
        return int(x)
    return x if not isinstance(x, float) or math.isfinite(x) else "NaN" if math.isnan(x) else "∞" if x > 0 else "−∞"


def short(value: float) -> Any:
    """A number to four significant digits."""
    return number(float(f"{value:.4g}"))
