"""Words and parts of words as numbers, by a model's own `tokenizer.json`: WordPiece, BPE and what else there is."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy

from ..errors import DataError
from ..hints import missing_extra
from .windows import Ids

if TYPE_CHECKING:
    from tokenizers import Tokenizer

FILE = "tokenizer.json"
PADDED = 128
"""Models round the rows of their table up to a multiple of this at most: so many more than tokens are no error."""


class Tokens:
    """The tokens of a tokenizer, read by the library `tokenizers` (extra "text").

    path: the file, or a folder with `tokenizer.json`. vocabulary: of the model that it is to fit. Raises DataError
    where there is no such file, or it does not fit; MissingExtraError without the library.
    """

    def __init__(self, path: str | os.PathLike[str], vocabulary: int | None = None) -> None:
        try:
            from tokenizers import Tokenizer
        except ImportError:
            raise missing_extra("reading a tokenizer", "tokenizers", "text") from None
        file = Path(path)
        file = file / FILE if file.is_dir() else file
        if not file.is_file():
            raise DataError(f"there is no {file}, which says what the model's numbers mean.")
        try:
            self.tokenizer: Tokenizer = Tokenizer.from_file(str(file))
        except Exception as error:  # it raises nothing more special
            raise DataError(f"{file} is no tokenizer ({error}).") from error
        self.tokenizer.no_padding()
        self.tokenizer.no_truncation()
        if vocabulary is not None and not 0 <= vocabulary - len(self) < PADDED:
            raise DataError(f"{file} does not fit the model: it has {len(self)} tokens, the model {vocabulary}.")

    def __len__(self) -> int:
        return self.tokenizer.get_vocab_size()

    def encode(self, text: str) -> list[int]:
        """The numbers of a text, with those that the tokenizer puts around it."""
        return self.tokenizer.encode(text).ids

    def decode(self, ids: Sequence[int]) -> str:
        """The text of numbers, without those that stand for no text."""
        return self.tokenizer.decode([*ids])

    def pieces(self, ids: Iterable[int], before: Iterable[int] = ()) -> Iterator[str]:
        """The text of numbers as they come behind others, each as soon as its last byte is there."""
        from tokenizers.decoders import DecodeStream

        stream = DecodeStream(skip_special_tokens=True)
        for each in before:
            stream.step(self.tokenizer, each)
        for each in ids:
            yield stream.step(self.tokenizer, each) or ""

    def batch(self, texts: Iterable[str]) -> tuple[Ids, Ids]:
        """The numbers of several texts (texts, steps), filled up with 0, and a mask: 1 where there is a token."""
        found = [self.encode(text) for text in texts]
        mask = numpy.arange(max(map(len, found), default=0)) < numpy.array([[len(each)] for each in found])
        ids = numpy.zeros(mask.shape, numpy.int64)
        ids[mask] = [each for row in found for each in row]
        return ids, mask.astype(numpy.int64)
