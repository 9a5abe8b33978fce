"""What is looked at after the epochs of a training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..checks import whole
from ..errors import UsageError
from .samples import Samples
from .sources import Source


@dataclass(frozen=True)
class Validation:
    """Samples that a training is measured on, in batches. steps: over so many of them; None is all.

    epochs: after every n-th epoch, or after those named, counted from 1 as in Keras.
    """

    samples: Samples | Source
    batch_size: int
    steps: int | None
    epochs: int | frozenset[int]

    def is_due(self, epoch: int) -> bool:
        """Whether there is one after the epoch of that number, from 0."""
        if isinstance(self.epochs, frozenset):
            return epoch + 1 in self.epochs
        return (epoch + 1) % self.epochs == 0


def triple(validation_data: Any) -> tuple[Any, Any, Any]:
    """x, y, and the weights of samples or None; raises UsageError for anything else."""
    if not isinstance(validation_data, (tuple, list)) or len(validation_data) not in (2, 3):
        raise UsageError("validation_data is a pair (x, y), or (x, y, sample_weight), or what gives batches of them.")
    x, y, weights = (*validation_data, None)[:3]
    return x, y, weights


def epochs_with(validation_freq: Any) -> int | frozenset[int]:
    """After which epochs there is a validation, as `Validation` has it."""
    if isinstance(validation_freq, Sequence) and not isinstance(validation_freq, str):
        return frozenset(whole("fit", "validation_freq", epoch) for epoch in validation_freq)
    return whole("fit", "validation_freq", validation_freq)


def steps_of(method: str, name: str, steps: Any, samples: int, batch_size: int) -> int | None:
    """How many batches to take; None is all. Raises UsageError where there are not so many."""
    if steps is None:
        return None
    asked, there = whole(method, name, steps), -(-samples // batch_size)
    if asked > there:
        raise UsageError(f"{method}({name}={asked}): {samples} samples make {there} batches of {batch_size}.")
    return asked
