"""One long text as samples of a language model: windows of it, and for each place the token that comes next."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy
import numpy.typing

from ..checks import is_whole, number, whole
from ..engine.random import generator
from ..errors import DataError, UsageError

Ids = numpy.typing.NDArray[numpy.integer[Any]]


class Characters:
    """The characters of a text as numbers, in the order of the alphabet.

    text: of which the alphabet is; or alphabet=, itself.
    """

    def __init__(self, text: str = "", alphabet: str | None = None) -> None:
        self.alphabet = "".join(sorted(set(text))) if alphabet is None else alphabet
        self._numbers = {character: n for n, character in enumerate(self.alphabet)}
        if len(self._numbers) < len(self.alphabet) or not self.alphabet:
            raise UsageError(f"an alphabet has each character once, and one at least, not {self.alphabet!r}.")

    def __len__(self) -> int:
        return len(self.alphabet)

    def encode(self, text: str) -> list[int]:
        """The numbers of a text; raises DataError for a character that is not in the alphabet."""
        try:
            return [self._numbers[character] for character in text]
        except KeyError as error:
            at = text.index(error.args[0])
            raise DataError(
                f"the character {error.args[0]!r} in place {at} is none of the alphabet's {len(self)}: "
                f"{self.alphabet!r}."
            ) from None

    def decode(self, ids: Sequence[int]) -> str:
        """The text of numbers; raises DataError for one that no character has."""
        return "".join(self.alphabet[each] for each in _numbers_below(len(self), ids, "character"))

    def pieces(self, ids: Iterable[int], before: Iterable[int] = ()) -> Iterator[str]:
        """The text of numbers as they come behind others."""
        return (self.decode([each]) for each in ids)


class Bytes:
    """The bytes of a text in UTF-8 as numbers, 0 … 255."""

    def __len__(self) -> int:
        return 256

    def encode(self, text: str) -> list[int]:
        """The numbers of a text."""
        return [*text.encode()]

    def decode(self, ids: Sequence[int]) -> str:
        """The text of numbers; what is no UTF-8 becomes �. Raises DataError for a number that is no byte."""
        return bytes(_numbers_below(len(self), ids, "byte")).decode(errors="replace")


def _numbers_below(count: int, ids: Iterable[int], what: str) -> list[int]:
    found = list(ids)
    wrong = [each for each in found if not is_whole(each) or not 0 <= each < count]
    if wrong:
        raise DataError(f"no {what} has the number {wrong[0]}: they go from 0 to {count - 1}.")
    return found


class Windows:
    """Batches of windows of one long text, for `fit`: x (batch, length) and y, the same one token later.

    ids: the tokens, in memory or mapped from a file (`Windows.mapped`). steps: batches an epoch; each has windows from
    places drawn by `seed`, of each epoch others. Without steps every window is there once, side by side, in order, as
    for `evaluate`: the last batch may be short, and what is less than a window is left out.
    """

    def __init__(self, ids: Any, length: int, batch_size: int = 12, steps: int | None = None, seed: int = 0) -> None:
        self.ids: Ids = ids if isinstance(ids, numpy.ndarray) else numpy.asarray(ids)
        kind = "Windows"
        self.length, self.batch_size = whole(kind, "length", length), whole(kind, "batch_size", batch_size)
        self.steps = None if steps is None else whole(kind, "steps", steps)
        self.seed, self._epoch = seed, 0
        if self.ids.ndim != 1 or self.ids.dtype.kind not in "iu":
            raise DataError(f"Windows takes the numbers of one text, not {self.ids.dtype} of shape {self.ids.shape}.")
        if len(self.ids) <= self.length:
            raise DataError(f"a text of {len(self.ids)} tokens has no window of {self.length} and one token after it.")

    @classmethod
    def mapped(cls, path: str | os.PathLike[str], dtype: str, *args: Any, **options: Any) -> Windows:
        """Of a file of numbers of this dtype, one after another, which stays on the disk; raises DataError where it
        cannot be read.
        """
        try:
            return cls(numpy.memmap(path, dtype, mode="r"), *args, **options)
        except (OSError, ValueError) as error:
            raise DataError(f"cannot map {path} ({error}).") from error

    def __len__(self) -> int:
        return self.steps or -(-self._whole // self.batch_size)

    @property
    def _whole(self) -> int:
        """Windows that lie side by side."""
        return (len(self.ids) - 1) // self.length

    def __getitem__(self, at: int) -> tuple[Ids, Ids]:
        if not 0 <= at < len(self):
            raise IndexError(f"there are {len(self)} batches, none at {at}.")
        if self.steps:
            drawn = generator(self.seed, f"windows {self._epoch} {at}")
            starts = drawn.integers(0, len(self.ids) - self.length, self.batch_size)
        else:
            starts = self.length * numpy.arange(at * self.batch_size, min((at + 1) * self.batch_size, self._whole))
        places = starts[:, None] + numpy.arange(self.length)
        return self.ids[places].astype(numpy.int64), self.ids[places + 1].astype(numpy.int64)

    def on_epoch_end(self) -> None:
        """Go on to the next epoch's places."""
        self._epoch += 1


def split(ids: Any, validation: float = 0.1) -> tuple[Any, Any]:
    """A text's beginning, to train on, and its end, the share `validation` of it."""
    cut = len(ids) - int(number("split", "validation", validation, "(0, 1)") * len(ids))
    return ids[:cut], ids[cut:]
