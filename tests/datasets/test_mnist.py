"""MNIST in a folder of the user's: found in every form, checked, and refused by name."""

import gzip
import os

import numpy as np
import pytest

from chalkgrad.datasets import idx, mnist, originals
from chalkgrad.errors import DataError

IMAGES, LABELS = "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"


@pytest.fixture
def folder(tiny, tmp_path):
    """A folder with the four files, plain."""
    folder = tmp_path / "data"
    folder.mkdir()
    for name, data in tiny.items():
        (folder / name).write_bytes(data)
    return folder


def refusal(*args, **kwargs) -> str:
    with pytest.raises(DataError) as caught:
        mnist.load_data(*args, **kwargs)
    return str(caught.value)


@pytest.mark.skipif(not os.environ.get("CHALKGRAD_DATA"), reason="CHALKGRAD_DATA names no folder with MNIST")
def test_the_real_mnist():
    (x_train, y_train), (x_test, y_test) = mnist.load_data()
    shapes = [array.shape for array in (x_train, y_train, x_test, y_test)]
    assert shapes == [(60000, 28, 28), (60000,), (10000, 28, 28), (10000,)]
    assert {array.dtype for array in (x_train, y_train, x_test, y_test)} == {np.dtype(np.uint8)}
    assert y_train[:5].tolist() == [5, 0, 4, 1, 9]
    assert np.bincount(y_test).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert x_train.mean() / 255 == pytest.approx(0.1307, abs=1e-4)


def test_a_path_gives_the_four_arrays_in_order(tiny, folder):
    (x_train, y_train), (x_test, y_test) = mnist.load_data(folder)
    for array, data in zip((x_train, y_train, x_test, y_test), tiny.values(), strict=True):
        np.testing.assert_array_equal(array, idx.parse_idx(data), strict=True)


@pytest.mark.parametrize("level", [0, 1, 9])
def test_files_which_anybody_compressed_are_taken(folder, level):
    for file in list(folder.iterdir()):
        (folder / f"{file.name}.gz").write_bytes(gzip.compress(file.read_bytes(), level))
        file.unlink()
    assert mnist.load_data(folder)[0][0].shape == (6, 2, 2)


def test_a_folder_that_holds_a_folder_mnist_is_taken(folder, tmp_path):
    folder.rename(tmp_path / "mnist")
    assert mnist.load_data(str(tmp_path))[1][0].shape == (3, 2, 2)


def test_the_variable_is_looked_at_where_no_path_is_given(folder, monkeypatch):
    monkeypatch.setenv("CHALKGRAD_DATA", str(folder))
    assert mnist.load_data()[1][0].shape == (3, 2, 2)


def test_the_path_comes_before_the_variable(folder, monkeypatch):
    monkeypatch.setenv("CHALKGRAD_DATA", str(folder / "nowhere"))
    assert mnist.load_data(folder)[1][0].shape == (3, 2, 2)


def test_a_missing_file_of_the_path_is_named(folder):
    (folder / LABELS).unlink()
    message = refusal(folder)
    assert f"path '{folder}': the folder {folder} lacks {LABELS}." in message
    assert "CHALKGRAD_DATA" in message


def test_a_missing_file_of_the_variable_is_named_and_nothing_is_fetched(folder, monkeypatch, mirror):
    monkeypatch.setenv("CHALKGRAD_DATA", str(folder))
    (folder / IMAGES).unlink()
    assert f"CHALKGRAD_DATA={folder}: the folder {folder} lacks {IMAGES}." in refusal(mirrors=[mirror.url])
    assert not mirror.requests


def test_a_folder_that_is_not_there_is_named(tiny, tmp_path):
    assert f"{tmp_path / 'nowhere'} is not there" in refusal(tmp_path / "nowhere")


def test_a_changed_byte_is_refused_with_both_hashes(tiny, folder):
    (folder / IMAGES).write_bytes(tiny[IMAGES][:-1] + b"\x01")
    message = refusal(folder)
    assert f"{folder / IMAGES} is not the {IMAGES} of MNIST" in message
    assert f"should be {mnist.ORIGINALS.files[IMAGES].digest}, but is " in message


def test_labels_under_the_name_of_images_are_recognized(tiny, folder):
    (folder / IMAGES).write_bytes(tiny[LABELS])
    assert f"{folder / IMAGES} is not the {IMAGES} of MNIST: it is the {LABELS}; rename it." in refusal(folder)


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        (IMAGES, b"<html>", "neither an IDX file"),
        (IMAGES, bytes([0, 0, 8, 3, 0, 0, 0, 9]), "ends after 8"),
        (f"{LABELS}.gz", gzip.compress(bytes(20))[:-5], "cut short"),
    ],
    ids=["html", "header", "gzip"],
)
def test_a_damaged_file_is_named(folder, name, data, words):
    (folder / name.removesuffix(".gz")).unlink()
    (folder / name).write_bytes(data)
    message = refusal(folder)
    assert str(folder / name) in message
    assert words in message


@pytest.mark.parametrize("path", ["a\0b", "\ud800", b"\xff", "~nobody/x", "/dev/null", "x" * 5000])
def test_odd_folders_are_refused(tiny, path):
    assert refusal(path)


def test_a_file_in_place_of_the_folder_is_named(tiny, folder, monkeypatch):
    monkeypatch.setenv(originals.VARIABLE, str(folder / IMAGES))
    assert f"{folder / IMAGES} is no folder" in refusal()


def test_a_folder_of_a_file_s_name_does_not_hide_the_file(tiny, folder):
    (folder / IMAGES).rename(folder / "moved")
    (folder / IMAGES).mkdir()
    (folder / f"{IMAGES}.gz").write_bytes(gzip.compress((folder / "moved").read_bytes()))
    assert mnist.load_data(folder)[1][0].shape == (3, 2, 2)


def test_a_pipe_of_a_file_s_name_is_named(tiny, folder):
    (folder / IMAGES).unlink()
    os.mkfifo(folder / IMAGES)
    assert f"cannot read {folder / IMAGES}: it is a pipe" in refusal(folder)


@pytest.mark.parametrize("name", [IMAGES, f"{IMAGES}.gz"])
def test_a_file_that_is_larger_than_it_can_be_is_not_read(tiny, folder, name):
    (folder / IMAGES).unlink()
    with (folder / name).open("wb") as file:
        file.truncate(1 << 40)
    assert "it has 1,099,511,627,776 bytes, where" in refusal(folder)
