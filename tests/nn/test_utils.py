"""Labels to one-hot rows, and the random seed."""

import random
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalkgrad import Sequential, layers, utils
from chalkgrad.errors import ChalkgradError, DataError, DtypeError
from chalkgrad.nn.utils import to_categorical


@given(st.lists(st.integers(0, 9), min_size=1))
def test_rows_have_one_at_their_label(labels):
    rows = to_categorical(labels, 10)
    assert rows.shape == (len(labels), 10)
    assert rows.dtype == "float32"
    np.testing.assert_array_equal(rows.argmax(axis=1), labels)
    np.testing.assert_array_equal(rows.sum(axis=1), 1)


def test_the_number_of_classes_is_the_greatest_label_plus_one():
    assert to_categorical([0, 4, 1]).shape == (3, 5)


@pytest.mark.parametrize("dtype", ["uint8", "int32", "float32"])
def test_any_axes_and_whole_numbers_of_any_dtype(dtype):
    labels = np.array([[0, 2], [1, 1]], dtype)
    np.testing.assert_array_equal(to_categorical(labels), np.eye(3)[[[0, 2], [1, 1]]])


@pytest.mark.parametrize(
    ("labels", "classes", "named"),
    [
        ([0, 1, 3], 3, "label 3 in row 2 is not an integer of 0 … 2"),
        ([0, -1], None, "label -1 in row 1"),
        ([0.0, 0.5], 2, "label 0.5 in row 1"),
        ([0.0, float("nan")], 2, "label nan in row 1"),
        (["cat"], None, "holds <U3 .*'cat'.*not numbers"),
        ([], None, r"shape \(0,\)"),
    ],
)
def test_labels_that_are_none(labels, classes, named):
    with pytest.raises((DataError, DtypeError), match=named):
        to_categorical(labels, classes)


def test_nan_without_a_number_of_classes():
    with pytest.raises(DataError, match="label nan in row 1"):
        to_categorical([0.0, float("nan")])


@pytest.fixture
def seeded():
    """Sets the random seed, which is forgotten after the test."""
    state = random.getstate(), np.random.get_state()
    yield utils.set_random_seed
    utils.set_random_seed(None)
    random.setstate(state[0])
    np.random.set_state(state[1])


def trained(**options):
    model = Sequential([layers.Dropout(0.5, input_shape=(3,)), layers.Dense(2)], **options)
    model.compile("adam", "mse")
    x = np.linspace(0, 1, 12, dtype="float32").reshape(4, 3)
    model.fit(x, x[:, :2], batch_size=2, verbose=0)
    return np.concatenate([w.ravel() for w in model.get_weights()]).tolist()


def test_models_without_a_seed_follow_from_the_one_that_is_set(seeded):
    def run():
        return trained(), trained(), random.random(), np.random.random()

    plain, given = trained(), trained(seed=7)
    runs = []
    for seed in (1, 1, 2):
        seeded(seed)
        runs.append(run())
    assert runs[0] == runs[1]
    assert len({str(each) for each in (plain, runs[0][0], runs[0][1], runs[2][0])}) == 4
    assert trained(seed=7) == given
    seeded(None)
    assert trained() == plain


def test_a_seed_holds_in_the_thread_that_sets_it(seeded):
    plain = trained()
    seeded(1)
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(trained).result() == plain
    for wrong in (-1, "a", 0.5):
        with pytest.raises(ChalkgradError, match="seed"):
            seeded(wrong)
