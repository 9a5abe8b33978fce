"""Labels to one-hot rows."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalkgrad.errors import DataError, DtypeError
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
