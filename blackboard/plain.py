"""Numbers as the pages take them: what JSON cannot hold as text, and large arrays in few letters."""

from __future__ import annotations

import base64
import math
from typing import Any

import numpy
import numpy.typing

LISTED = 64
"""Elements of an array, up to which they are listed one by one."""


def numbers(array: Any) -> list[Any]:
    """The elements in row-major order; what JSON cannot hold as text."""
    return [number(x) for x in numpy.asarray(array).reshape(-1).tolist()]


def packed(array: numpy.typing.NDArray[Any]) -> Any:
    """The elements, those of a large array as the text of its bytes: {"f4": …} or {"f8": …}, little-endian."""
    if array.size <= LISTED or array.dtype.name not in ("float32", "float64"):
        return numbers(array)
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
