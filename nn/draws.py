"""Where a training stands in the random numbers that it draws, so that it goes on from one `fit` to the next."""

from __future__ import annotations

from dataclasses import dataclass

import numpy

from ..engine import random


@dataclass
class Stream:
    """The numbers that a model's training draws: orders, dropout, augmentation, each epoch's its own.

    They follow from the seed and the number of the epoch among all that were trained from it: `begin` (those before
    the epoch 0 of the present `fit`) plus the epoch's number there. done: how many were trained.
    """

    seed: int = 0
    begin: int = 0
    done: int = 0

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
