"""What the methods of a model are given, checked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..arguments import whole
from ..errors import UsageError


def pair(validation_data: Any) -> tuple[Any, Any]:
    """(x, y); raises UsageError for anything else."""
    if not isinstance(validation_data, (tuple, list)) or len(validation_data) != 2:
        raise UsageError("validation_data is a pair: (x, y).")
    return validation_data[0], validation_data[1]


def epochs_with(validation_freq: Any) -> int | frozenset[int]:
    """After which epochs there is a validation: every n-th, or those named, counted from 1 as in Keras."""
    if isinstance(validation_freq, Sequence) and not isinstance(validation_freq, str):
        return frozenset(whole("fit", "validation_freq", epoch, 1) for epoch in validation_freq)
    return whole("fit", "validation_freq", validation_freq, 1)


def is_due(epoch: int, validation_freq: int | frozenset[int]) -> bool:
    """Whether there is a validation after the epoch of that number, from 0."""
    if isinstance(validation_freq, frozenset):
        return epoch + 1 in validation_freq
    return (epoch + 1) % validation_freq == 0


def steps_of(method: str, name: str, steps: Any, samples: int, batch_size: int) -> int | None:
    """How many batches to take; None is all. Raises UsageError where there are not so many."""
    if steps is None:
        return None
    asked, there = whole(method, name, steps, 1), -(-samples // batch_size)
    if asked > there:
        raise UsageError(f"{method}({name}={asked}): {samples} samples make {there} batches of {batch_size}.")
    return asked
