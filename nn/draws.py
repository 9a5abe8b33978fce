"""Where a training stands in the random numbers that it draws, so that it goes on from one `fit` to the next."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy

from ..checks import whole
from ..engine import random
from ..errors import UsageError


@dataclass
class Stream:
    """The numbers that a model's training draws: orders, dropout, augmentation, each epoch's its own.

    They follow from the seed and the number of the epoch among all that were trained from it: `begin` (those before
    the epoch 0 of the present `fit`) plus the epoch's number there. done: how many were trained.
    """

    seed: int = 0
    begin: int = 0
    done: int = 0

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Stream:
        """The stream that a file tells of; raises UsageError for what is none."""
        if values.keys() != {field.name for field in fields(cls)}:
            raise UsageError(f"a stream of random numbers has {[field.name for field in fields(cls)]}, not {[*values]}")
        random.generator(values["seed"])  # refuses what is no seed
        return cls(values["seed"], *(whole("it", name, values[name], 0) for name in ("begin", "done")))

    def enter(self, seed: int | None, initial_epoch: int) -> None:
        """A `fit` begins. With a seed the numbers begin anew with that, at `initial_epoch`.

        Without one they go on: behind all epochs done, or where the call takes up an earlier one at `initial_epoch`,
        at that epoch of it.
        """
        if seed is not None:
            self.seed, self.begin = int(seed), 0
        elif not initial_epoch:
            self.begin = self.done

    def trained(self, epoch: int) -> None:
        """The epoch of that number in the present `fit` is done."""
        self.done = self.begin + epoch + 1

    def generator(self, purpose: str, epoch: int, part: str = "") -> numpy.random.Generator:
        """What an epoch of the present `fit` draws from for one purpose ("shuffle", "dropout", …)."""
        return random.generator(self.seed, f"{purpose} {self.begin + epoch}{part}")
