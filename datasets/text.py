"""Texts as numbers: words or characters by their place in a vocabulary, and lists of them as one array."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy
import numpy.typing

from ..checks import whole
from ..errors import DataError, UsageError, unknown_name

PUNCTUATION = re.compile(r"""[!"#$%&()*+,\-./:;<=>?@\[\\\]^_`{|}~']""")
STANDARDS: dict[str, Callable[[str], str]] = {
    "lower": str.lower,
    "strip_punctuation": lambda text: PUNCTUATION.sub("", text),
    "lower_and_strip_punctuation": lambda text: PUNCTUATION.sub("", text.lower()),
}
SPLITS: dict[str, Callable[[str], list[str]]] = {"whitespace": str.split, "character": list}
MODES = "int", "multi_hot", "count"
UNKNOWN = "[UNK]"


def pad_sequences(
    sequences: Iterable[Sequence[Any]],
    maxlen: int | None = None,
    dtype: str = "int32",
    padding: str = "pre",
    truncating: str = "pre",
    value: float = 0.0,
) -> numpy.typing.NDArray[Any]:
    """Sequences of different lengths as one array of shape (sequences, maxlen, …), filled up with `value`.

    maxlen: the longest one's length by default. padding, truncating: at which end it is filled, and cut: "pre" or
    "post". Raises DataError where the elements of two sequences have other shapes, and for one that the dtype does not
    hold, 1.5 or 2**40 in int32, say; UsageError for other ends.
    """
    for name, end in (("padding", padding), ("truncating", truncating)):
        if end not in ("pre", "post"):
            raise unknown_name(name, end, ("pre", "post"))
    given = list[numpy.typing.NDArray[Any]]()
    for row, each in enumerate(sequences):
        try:
            given.append(numpy.asarray(each))
            len(given[-1])
        except (TypeError, ValueError) as error:
            raise DataError(f"pad_sequences takes lists; in row {row} stands {each!r}.") from error
    shapes = {each.shape[1:] for each in given if len(each)} or {()}
    if len(shapes) > 1:
        raise DataError(f"pad_sequences: elements have shapes {', '.join(map(str, sorted(shapes)))}; one for all.")
    longest = max(map(len, given), default=0) if maxlen is None else whole("pad_sequences", "maxlen", maxlen)
    shape = (len(given), longest, *shapes.pop())
    padded = _held(numpy.broadcast_to(numpy.asarray(value), shape), dtype, "value=").copy()
    for number, (row, own) in enumerate(zip(padded, given, strict=True)):
        kept = (own[-longest:] if truncating == "pre" else own[:longest]) if longest else own[:0]
        if len(kept):
            place = slice(-len(kept), None) if padding == "pre" else slice(len(kept))
            row[place] = _held(kept, dtype, f"row {number} has ")
    return padded


def _held(values: numpy.typing.NDArray[Any], dtype: Any, what: str) -> numpy.typing.NDArray[Any]:
    """In that dtype; raises DataError for what integers do not hold."""
    try:
        with numpy.errstate(invalid="ignore"):
            made = values.astype(dtype)
        lost = made.dtype.kind in "iu" and values.dtype.kind != "b" and made != values
    except (TypeError, ValueError, OverflowError) as error:
        raise DataError(
            f"pad_sequences: {what}{values.ravel()[:1].tolist()} does not become {dtype!r} ({error})."
        ) from error
    if numpy.any(lost):
        raise DataError(f"pad_sequences: {what}{values[lost].ravel()[0].item()!r}: {made.dtype} does not hold it.")
    return made


class TextVectorization:
    """Texts as arrays of numbers, by a vocabulary of their most frequent words.

    max_tokens: the vocabulary's size at most, with the padding (0) and what stands for unknown words (1).
    standardize: "lower_and_strip_punctuation", "lower", "strip_punctuation", None or a function of a text. split:
    "whitespace", "character", None (a text is one word) or a function that gives a list. output_mode: "int" gives
    numbers, 0 behind a text's end, unknown words 1; "multi_hot" and "count" give one column a word, whether and how
    often it is there. output_sequence_length: of "int", cut or filled to this. vocabulary: words, rather than `adapt`.
    """

    def __init__(
        self,
        max_tokens: int | None = None,
        standardize: str | Callable[[str], str] | None = "lower_and_strip_punctuation",
        split: str | Callable[[str], list[str]] | None = "whitespace",
        output_mode: str = "int",
        output_sequence_length: int | None = None,
        vocabulary: Sequence[str] | None = None,
    ) -> None:
        for name, value, known in (("standardize", standardize, STANDARDS), ("split", split, SPLITS)):
            if isinstance(value, str) and value not in known:
                raise unknown_name(name, value, known)
        if output_mode not in MODES:
            raise unknown_name("output_mode", output_mode, MODES)
        self.max_tokens = None if max_tokens is None else whole("TextVectorization", "max_tokens", max_tokens, 3)
        self.standardize, self.split, self.output_mode = standardize, split, output_mode
        self.output_sequence_length = (
            None if output_sequence_length is None
            else whole("TextVectorization", "output_sequence_length", output_sequence_length)
        )  # fmt: skip
        self._numbers: dict[str, int] = {}
        if vocabulary is not None:
            self.set_vocabulary(vocabulary)

    def adapt(self, data: Any) -> None:
        """Count the words of these texts, and keep the most frequent; of two as frequent, the later in the alphabet."""
        counts = Counter(word for text in _texts(data) for word in self._words(text))
        words = sorted(counts, key=lambda word: (counts[word], word), reverse=True)
        self.set_vocabulary(words[: None if self.max_tokens is None else self.max_tokens - 2])

    def set_vocabulary(self, vocabulary: Sequence[str]) -> None:
        """Take these words, the first one with the number 2; the marks of padding and unknown may stand before them."""
        words = list(vocabulary)
        for mark in ("", UNKNOWN):
            words = words[words[:1] == [mark] :]
        if wrong := [word for word in words if not isinstance(word, str)]:
            raise UsageError(f"the vocabulary has {wrong[0]!r}, which is no text.")
        if len(set(words)) < len(words):
            raise UsageError(f"the vocabulary has {len(words) - len(set(words))} words twice: each stands once.")
        if self.max_tokens is not None and len(words) + 2 > self.max_tokens:
            raise UsageError(f"the vocabulary has {len(words)} words and two marks: max_tokens={self.max_tokens}.")
        self._numbers = {word: n for n, word in enumerate(words, 2)}

    def get_vocabulary(self, include_special_tokens: bool = True) -> list[str]:
        """The words by their numbers; in the modes with a column a word there is no padding."""
        marks = ["", UNKNOWN] if self.output_mode == "int" else [UNKNOWN]
        return [*(marks if include_special_tokens else []), *self._numbers]

    def vocabulary_size(self) -> int:
        """How many numbers there are, those of padding and unknown words included."""
        return len(self.get_vocabulary())

    def _words(self, text: str) -> list[str]:
        standard = STANDARDS[self.standardize] if isinstance(self.standardize, str) else self.standardize
        split = SPLITS[self.split] if isinstance(self.split, str) else self.split
        text = standard(text) if standard else text
        return split(text) if split else [text]

    def __call__(self, data: Any) -> numpy.typing.NDArray[Any]:
        """The texts as int64 of shape (texts, length), or float32 of (texts, words); one text alone as one row."""
        if not self._numbers:
            raise UsageError("there is no vocabulary yet: call adapt(texts) first, or give vocabulary=.")
        numbers = [[self._numbers.get(word, 1) for word in self._words(text)] for text in _texts(data)]
        if self.output_mode == "int":
            length = self.output_sequence_length or max(map(len, numbers), default=0)
            rows = numpy.zeros((len(numbers), length), numpy.int64)
            for row, own in zip(rows, numbers, strict=True):
                row[: len(own)] = own[:length]
        else:
            rows = numpy.zeros((len(numbers), self.vocabulary_size()), numpy.float32)
            for row, own in zip(rows, numbers, strict=True):
                numpy.add.at(row, [n - 1 for n in own], 1)
            rows = numpy.minimum(rows, 1) if self.output_mode == "multi_hot" else rows
        return rows[0] if isinstance(data, str) else rows


def _texts(data: Any) -> list[str]:
    texts = [data] if isinstance(data, str) else list(numpy.asarray(data, dtype=object).reshape(-1))
    for row, text in enumerate(texts):
        if not isinstance(text, str):
            raise DataError(f"TextVectorization takes texts; in row {row} stands {text!r}.")
    return texts
