"""Texts as numbers, and lists of them as arrays."""

import numpy as np
import pytest

import chalkgrad as cg
from chalkgrad.datasets.text import TextVectorization, pad_sequences
from chalkgrad.errors import DataError, UsageError

LINES = ["The cat sat.", "The dog sat, the cat ran!", "A bird"]


@pytest.mark.parametrize("options", [{}, {"maxlen": 2}, {"maxlen": 5, "padding": "post", "value": -1},
                                     {"maxlen": 1, "truncating": "post", "dtype": "float32"}])  # fmt: skip
def test_padding_is_kerass(keras, options):
    theirs = keras.utils.pad_sequences
    for given in ([[1], [2, 3], [4, 5, 6]], [[[1, 2]], [], [[3, 4], [5, 6]]]):
        np.testing.assert_array_equal(pad_sequences(given, **options), theirs(given, **options), strict=True)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: pad_sequences([[1], 2]), DataError, "in row 1 stands 2"),
        (lambda: pad_sequences([[[1, 2]], [3]]), DataError, "elements have shapes"),
        (lambda: pad_sequences([[1]], padding="before"), UsageError, "padding"),
        (lambda: pad_sequences([[1], [1.5]]), DataError, "row 1 has 1.5: int32 does not hold it"),
        (lambda: pad_sequences([[2**40]]), DataError, "row 0 has 1099511627776: int32"),
        (lambda: pad_sequences([[1]], value=0.5), DataError, "value=0.5: int32"),
        (lambda: pad_sequences([[1]], dtype="whole"), DataError, "does not become 'whole'"),
        (lambda: TextVectorization(output_sequence_length=-1), UsageError, "output_sequence_length=-1"),
        (lambda: TextVectorization(vocabulary=[1]), UsageError, "which is no text"),
        (lambda: TextVectorization()(["a"]), UsageError, "call adapt"),
        (lambda: TextVectorization().adapt(["a", 3]), DataError, "in row 1 stands 3"),
        (lambda: TextVectorization(output_mode="ints"), UsageError, "did you mean 'int'"),
        (lambda: TextVectorization(vocabulary=["a", "a"]), UsageError, "1 words twice"),
        (lambda: TextVectorization(max_tokens=3, vocabulary=["a", "b"]), UsageError, "max_tokens=3"),
    ],
)
def test_what_is_refused(call, error, text):
    with pytest.raises(error, match=text):
        call()


def test_words_by_their_frequency():
    words = TextVectorization(output_sequence_length=4)
    words.adapt(LINES)
    assert words.get_vocabulary() == ["", "[UNK]", "the", "sat", "cat", "ran", "dog", "bird", "a"]
    assert words(["the CAT flew", "a dog sat the bird"]).tolist() == [[2, 4, 1, 0], [8, 6, 3, 2]]
    assert words("Sat!").tolist() == [3, 0, 0, 0]
    again = TextVectorization(vocabulary=words.get_vocabulary())
    assert again(LINES).tolist() == [[2, 4, 3, 0, 0, 0], [2, 6, 3, 2, 4, 5], [8, 7, 0, 0, 0, 0]]


def test_a_column_a_word_and_characters():
    counted = TextVectorization(max_tokens=4, output_mode="count")
    counted.adapt(LINES)
    assert counted.get_vocabulary() == ["[UNK]", "the", "sat"]
    assert counted(LINES[1:2]).tolist() == [[3, 2, 1]]
    letters = TextVectorization(split="character", output_mode="multi_hot", vocabulary=list("abc"))
    assert letters("abba").tolist() == [0, 1, 1, 0]


def test_it_is_where_keras_has_it():
    assert cg.layers.TextVectorization is TextVectorization
    assert cg.utils.pad_sequences is pad_sequences
