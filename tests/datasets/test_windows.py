"""One long text as windows; its characters and bytes as numbers."""

import numpy as np
import pytest

from chalkgrad.datasets import shakespeare
from chalkgrad.datasets.windows import Bytes, Characters, Windows, split
from chalkgrad.errors import DataError, UsageError


def test_characters_and_bytes_come_back():
    letters = Characters("to be, or not to be")
    assert letters.alphabet == " ,benort"
    assert letters.decode(letters.encode("robot or not")) == "robot or not"
    assert len(letters) == 8
    assert Bytes().decode(Bytes().encode("Ödipus 王")) == "Ödipus 王"
    assert Characters(alphabet="ba").encode("ab") == [1, 0]


@pytest.mark.parametrize("steps", [None, 5])
def test_y_is_x_one_token_later(steps):
    windows = Windows(np.arange(100), 7, batch_size=4, steps=steps)
    for x, y in windows:
        np.testing.assert_array_equal(x[:, 1:], y[:, :-1])
        np.testing.assert_array_equal(x[:, -1] + 1, y[:, -1])


def test_side_by_side_each_token_is_seen_once():
    windows = Windows(np.arange(100), 7, batch_size=4)
    assert (len(windows), [len(x) for x, _ in windows]) == (4, [4, 4, 4, 2])
    assert np.concatenate([x.reshape(-1) for x, _ in windows]).tolist() == [*range(98)]


def test_each_epoch_draws_others_and_a_seed_repeats_them():
    def drawn(seed):
        windows = Windows(np.arange(1000), 3, steps=2, seed=seed)
        first = windows[1][0].tolist()
        windows.on_epoch_end()
        return first, windows[1][0].tolist()

    assert drawn(0) == drawn(0)
    assert len({str(each) for each in (*drawn(0), *drawn(1))}) == 4


def test_a_file_stays_on_the_disk(tmp_path):
    np.arange(50, dtype="uint16").tofile(tmp_path / "ids.bin")
    windows = Windows.mapped(tmp_path / "ids.bin", "uint16", 4, batch_size=2)
    assert isinstance(windows.ids, np.memmap)
    assert windows[1][1].tolist() == [[9, 10, 11, 12], [13, 14, 15, 16]]
    train, validation = split(windows.ids, 0.2)
    assert (len(train), validation[0]) == (40, 40)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: Characters("ab").encode("abc"), DataError, "the character 'c' in place 2 is none of the alphabet's 2"),
        (lambda: Characters("ab").decode([0, 2]), DataError, "no character has the number 2"),
        (lambda: Characters("ab").decode([0.5]), DataError, "no character has the number 0.5"),
        (lambda: Bytes().decode([256]), DataError, "no byte has the number 256"),
        (lambda: Characters(""), UsageError, "one at least"),
        (lambda: Windows(np.arange(5), 5), DataError, "a text of 5 tokens has no window of 5"),
        (lambda: Windows(np.ones((2, 9)), 2), DataError, r"not float64 of shape \(2, 9\)"),
        (lambda: Windows.mapped("nowhere", "uint16", 4), DataError, "cannot map nowhere"),
        (lambda: Windows(np.arange(9), 2)[9], IndexError, "none at 9"),
        (lambda: split(np.arange(9), 1.5), UsageError, "validation"),
    ],
)
def test_what_is_refused(call, error, text):
    with pytest.raises(error, match=text):
        call()


@pytest.mark.skipif("not __import__('os').environ.get('CHALKGRAD_DATA')", reason="CHALKGRAD_DATA is not set")
def test_the_real_text():
    text = shakespeare.load_text()
    assert (len(text), len(Characters(text))) == (1_115_394, 65)
    assert text.startswith("First Citizen:")
