"""The digits that come with the package: whole, balanced, apart, and refused when damaged."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from chalkgrad import datasets
from chalkgrad.datasets import digits, idx
from chalkgrad.datasets.digits import export
from chalkgrad.errors import DataError, UsageError

SOURCE_COUNTS = [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]  # per class, in the UCI test set


def test_shapes_and_dtypes():
    (x_train, y_train), (x_test, y_test) = digits.load_data()
    assert [array.shape for array in (x_train, y_train, x_test, y_test)] == [(1437, 8, 8), (1437,), (360, 8, 8), (360,)]
    assert {array.dtype for array in (x_train, y_train, x_test, y_test)} == {np.dtype(np.uint8)}


def test_every_class_gives_its_share_to_both_splits():
    (_, y_train), (_, y_test) = digits.load_data()
    test = np.bincount(y_test)
    np.testing.assert_array_equal(np.bincount(y_train) + test, SOURCE_COUNTS)
    assert np.all(np.abs(test - np.array(SOURCE_COUNTS) * 360 / 1797) < 1)


def test_the_ink_is_scaled_to_the_full_byte_and_no_two_values_merge():
    (x_train, _), (x_test, _) = digits.load_data()
    expected = [(value * 255 + 8) // 16 for value in range(17)]
    assert np.unique(np.concatenate([x_train, x_test])).tolist() == expected
    assert (expected[0], expected[16]) == (0, 255)


def test_no_image_is_there_twice():
    (x_train, _), (x_test, _) = digits.load_data()
    assert len(np.unique(np.concatenate([x_train, x_test]), axis=0)) == 1797  # none is in the source either


def test_each_call_gives_its_own_arrays():
    digits.load_data()[0][0][:] = 7
    assert digits.load_data()[0][0].max() == 255


def test_the_split_is_a_partition_and_repeats():
    labels = np.repeat(np.arange(3), [50, 30, 20])
    train, test = export.split(labels, test_images=33)
    assert sorted([*train, *test]) == list(range(100))
    assert np.bincount(labels[test]).tolist() == [16, 10, 7]  # 16.5, 9.9 and 6.6 by largest remainder
    np.testing.assert_array_equal(export.split(labels, test_images=33)[1], test)


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A copy of the installed files which may be damaged."""
    for name in digits.FILES:
        shutil.copy(Path(digits.__file__).with_name(name), tmp_path)
    monkeypatch.setattr("importlib.resources.files", lambda _: tmp_path)
    digits.load_data()
    return tmp_path


def test_a_changed_value_is_found(installed):
    path = installed / "test-labels-idx1-ubyte.gz"
    labels = idx.read_idx(path)
    labels[0] += 1
    idx.write_idx(path, labels)
    with pytest.raises(DataError, match=r"reinstall chalkgrad.*test-labels-idx1-ubyte.gz has shape \(360,\)"):
        digits.load_data()


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_bytes(path.read_bytes()[:100])])
def test_a_missing_or_cut_file_is_found(installed, damage):
    damage(installed / "train-images-idx3-ubyte.gz")
    with pytest.raises(DataError, match=r"reinstall chalkgrad.*train-images-idx3-ubyte.gz"):
        digits.load_data()


def test_load_knows_the_data_sets_by_name():
    np.testing.assert_array_equal(datasets.load("digits")[1][1], digits.load_data()[1][1])
    with pytest.raises(UsageError, match="unknown data set 'mnits': did you mean 'mnist'"):
        datasets.load("mnits")


def test_the_import_loads_nothing_heavy():
    script = """
import sys, numpy
from chalkgrad import datasets
print([name for name in ("pooch", "requests", "rich", "sklearn") if name in sys.modules])
"""
    # Wherever this process found the package, the other finds it too.
    run = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = {sys.path!r}\n{script}"], capture_output=True, text=True
    )
    assert run.stdout.strip() == "[]", run.stderr


def test_the_files_are_what_the_source_gives(tmp_path):
    pytest.importorskip("sklearn", reason="scikit-learn bundles the source of the digits")
    export.export(tmp_path)
    for name in digits.FILES:
        np.testing.assert_array_equal(
            idx.read_idx(tmp_path / name), idx.read_idx(Path(digits.__file__).with_name(name))
        )
