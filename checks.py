"""What functions are given, checked: whole numbers, numbers in an interval."""

from __future__ import annotations

from typing import Any

import numpy

from .errors import UsageError


def whole(what: str, name: str, value: Any, least: int = 1) -> int:
    """A whole number of `least` or more, NumPy's included; raises UsageError for anything else, True included."""
    if not is_whole(value) or value < least:
        raise UsageError(f"{what}({name}={value!r}): it is a whole number of {least} or more.")
    return int(value)


def is_whole(value: object) -> bool:
    """Whether it is a whole number, Python's or NumPy's, and no truth value."""
    return isinstance(value, (int, numpy.integer)) and not isinstance(value, bool)


def wholes(values: Any) -> tuple[int, ...] | None:
    """A sequence of whole numbers as a tuple of Python's; None for anything else."""
    try:
        found = tuple(values)
    except TypeError:
        return None
    return tuple(map(int, found)) if all(map(is_whole, found)) else None


def number(what: str, name: str, value: Any, interval: str = "(-∞, ∞)") -> float:
    """A number in an interval such as "[0, 1)", as Python's float; raises UsageError for anything else."""
    if not is_number(value):
        within = "" if interval == "(-∞, ∞)" else f" and lies in {interval}"
        raise UsageError(f"{what}({name}={value!r}): it is a number{within}.")
    low, high = (float(end.replace("∞", "inf")) for end in interval[1:-1].split(","))
    above = low <= value if interval.startswith("[") else low < value
    below = value <= high if interval.endswith("]") else value < high
    if not (above and below):
        raise UsageError(f"{what}({name}={value!r}): it lies in {interval}.")
    return float(value)


def is_number(value: object) -> bool:
    """Whether it is a number, Python's or NumPy's, and no truth value."""
    return is_whole(value) or isinstance(value, (float, numpy.floating))
