"""Texts as lists of word numbers, for classification: film reviews of IMDB, news of Reuters, as Keras gives them."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from .originals import Original, Originals
from .tables import MIRRORS, shuffled

Texts = tuple[NDArray[np.object_], NDArray[np.int64]]


class Corpus:
    """Texts by word number, the most frequent word first, with a label each.

    splits: whether the file says which texts are for the test.
    """

    def __init__(self, title: str, name: str, files: tuple[Original, Original], splits: bool, doc: str) -> None:
        self.originals = Originals(title, name, {f"{name}.npz": files[0]})
        self.words = Originals(title, name, {f"{name}_word_index.json": files[1]})
        self.splits, self.__doc__ = splits, doc

    def load_data(
        self,
        path: str | os.PathLike[str] | None = None,
        num_words: int | None = None,
        skip_top: int = 0,
        maxlen: int | None = None,
        test_split: float = 0.2,
        seed: int = 113,
        start_char: int | None = 1,
        oov_char: int | None = 2,
        index_from: int = 3,
        *,
        mirrors: Iterable[str] = MIRRORS,
        progress: bool = True,
    ) -> tuple[Texts, Texts]:
        """The texts as `((x_train, y_train), (x_test, y_test))`: x an array of lists of ints, y (texts,) of int64.

        num_words, skip_top: words from the number `num_words` on, and below `skip_top`, become `oov_char`, or are left
        out where that is None. maxlen: texts that are not shorter are left out. start_char: stands before each text.
        index_from: what is added to each word's number. test_split: the share of the test, where the file has none.
        Where the file is looked for, and what is raised, says `Originals.load`; the file is read by pickle, as it was
        written, once its digest has shown that it is the published one.
        """
        (packed,) = self.originals.load(path, mirrors, progress)
        with np.load(io.BytesIO(packed), allow_pickle=True) as arrays:
            parts = [(arrays[f"x{end}"], arrays[f"y{end}"]) for end in (("_train", "_test") if self.splits else ("",))]
        generator = np.random.RandomState(seed)
        chosen = [
            (_numbered(x[order], start_char, index_from), y[order])
            for x, y in parts
            for order in [shuffled(len(x), generator)]
        ]
        if maxlen:
            chosen = [
                ([text for text in x if len(text) < maxlen], y[[len(text) < maxlen for text in x]]) for x, y in chosen
            ]
            if not all(x for x, _ in chosen):
                raise DataError(
                    f"{self.originals.title}: no text is shorter than maxlen={maxlen}: choose a larger one."
                )
        most = num_words or max(max(text, default=0) for x, _ in chosen for text in x)
        chosen = [([_within(text, skip_top, most, oov_char) for text in x], y) for x, y in chosen]
        if not self.splits:
            (x, y), cut = chosen[0], int(len(chosen[0][0]) * (1 - test_split))
            chosen = [(x[:cut], y[:cut]), (x[cut:], y[cut:])]
        (x_train, y_train), (x_test, y_test) = chosen
        return (_array(x_train), np.asarray(y_train)), (_array(x_test), np.asarray(y_test))

    def get_word_index(
        self, path: str | os.PathLike[str] | None = None, *, mirrors: Iterable[str] = MIRRORS, progress: bool = True
    ) -> dict[str, int]:
        """The number of each word, before `index_from` is added."""
        (data,) = self.words.load(path, mirrors, progress)
        found: dict[str, int] = json.loads(data)
        return found


def _numbered(texts: Any, start: int | None, index_from: int) -> list[list[int]]:
    before = [] if start is None else [start]
    return [[*before, *(int(word) + index_from for word in text)] for text in texts]


def _within(text: list[int], least: int, below: int, unknown: int | None) -> list[int]:
    if unknown is None:
        return [word for word in text if least <= word < below]
    return [word if least <= word < below else unknown for word in text]


def _array(texts: list[list[int]]) -> NDArray[np.object_]:
    array = np.empty(len(texts), object)
    array[:] = texts
    return array


imdb = Corpus(
    "IMDB", "imdb",
    (Original(17_464_789, "69664113be75683a8fe16e3ed0ab59fda8886cb3cd7ada244f7d9544e4676b9f"),
     Original(1_641_221, "bfafd718b763782e994055a2d397834f")),
    True,
    """50,000 film reviews, half of them for the test, each good (1) or bad (0).

    Source: A. Maas et al., "Learning word vectors for sentiment analysis", 2011.
    """,
)  # fmt: skip
reuters = Corpus(
    "Reuters", "reuters",
    (Original(2_110_848, "d6586e694ee56d7a4e65172e12b3e987c03096cb01eab99753921ef915959916"),
     Original(550_378, "4d44cc38712099c9e383dc6e5f11a921")),
    False,
    """11,228 news of 46 subjects. Source: D. Lewis, "Reuters-21578 text categorization test collection", 1997.""",
)  # fmt: skip
