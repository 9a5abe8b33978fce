"""Numbers as the pages take them: what JSON cannot hold as text."""

from __future__ import annotations

import math
from typing import Any

import numpy


def numbers(array: Any) -> list[Any]:
    """The elements in row-major order; what JSON cannot hold as text."""
    return [number(x) for x in numpy.asarray(array).reshape(-1).tolist()]


def number(x: Any) -> Any:
    """One of them."""
    if isinstance(x, bool):
        return int(x)
    return x if not isinstance(x, float) or math.isfinite(x) else "NaN" if math.isnan(x) else "∞" if x > 0 else "−∞"


def short(value: float) -> Any:
    """A number to four significant digits."""
    return number(float(f"{value:.4g}"))
