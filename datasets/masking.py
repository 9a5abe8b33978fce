"""Tokens hidden from a model that is to guess them from both sides (Devlin et al. 2019, 3.1)."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy

from ..checks import number, whole
from ..engine.random import generator
from ..errors import DataError, UsageError
from .windows import Ids

IGNORED = -1
"""The label of a token that is not to be guessed: the loss's `ignore_class`."""
HIDDEN, OTHER = 0.8, 0.1
"""Of the tokens that are to be guessed: the part that the mask stands for, and the part that another token does."""


class Masked:
    """Batches (x, y) for `fit` of a model of masked tokens: y has the tokens that are to be guessed, and `IGNORED`
    elsewhere; in x the mask stands for eight tenths of these, a token drawn at random for one, and one is as it was.

    ids: whole numbers (rows, steps). mask: the number of the mask. vocabulary: how many tokens there are. special:
    numbers that are never to be guessed nor drawn: padding, separators. share: the part that is to be guessed, each
    token by itself. Rows come in another order and with other tokens hidden each epoch, drawn by `seed`. Raises
    DataError for ids of another kind, or that are no tokens.
    """

    def __init__(
        self, ids: Any, mask: int, vocabulary: int, special: Collection[int] = (), share: float = 0.15,
        batch_size: int = 32, seed: int = 0,
    ) -> None:  # fmt: skip
        self.ids, kind = numpy.asarray(ids), "Masked"
        self.vocabulary, self.batch_size = whole(kind, "vocabulary", vocabulary), whole(kind, "batch_size", batch_size)
        self.mask, self.share = whole(kind, "mask", mask, 0), number(kind, "share", share, "(0, 1]")
        self.seed, self._epoch = seed, 0
        if self.ids.ndim != 2 or self.ids.dtype.kind not in "iu" or not self.ids.size:
            raise DataError(f"Masked takes numbers (rows, steps), not {self.ids.dtype} of shape {self.ids.shape}.")
        self.special = {self.mask, *(whole(kind, "special", each, 0) for each in special)}
        least, most = int(self.ids.min()), int(self.ids.max())
        for name, each in (("mask", self.mask), ("special", max(self.special)), ("ids", most), ("ids", least)):
            if not 0 <= each < self.vocabulary:
                raise DataError(
                    f"Masked({name}=…): the {self.vocabulary} tokens are 0 … {self.vocabulary - 1}; {each} is none."
                )
        self._others = numpy.setdiff1d(numpy.arange(self.vocabulary), [*self.special])
        if not self._others.size:
            raise UsageError(f"Masked: all {self.vocabulary} tokens are special: there is none to be guessed.")

    def __len__(self) -> int:
        return -(-len(self.ids) // self.batch_size)

    def __getitem__(self, at: int) -> tuple[Ids, Ids]:
        if not 0 <= at < len(self):
            raise IndexError(f"there are {len(self)} batches, none at {at}.")
        order = generator(self.seed, f"masked {self._epoch}").permutation(len(self.ids))
        x = self.ids[order[at * self.batch_size : (at + 1) * self.batch_size]].astype(numpy.int64)
        drawn = generator(self.seed, f"masked {self._epoch} {at}")
        chosen = (drawn.random(x.shape) < self.share) & ~numpy.isin(x, [*self.special])
        y, what = numpy.where(chosen, x, IGNORED), drawn.random(x.shape)
        others = drawn.choice(self._others, x.shape)
        x = numpy.where(chosen & (what < HIDDEN), self.mask, x)
        return numpy.where(chosen & (what >= HIDDEN) & (what < HIDDEN + OTHER), others, x), y

    def on_epoch_end(self) -> None:
        """Go on to what the next epoch hides."""
        self._epoch += 1
