"""Pictures in folders, a folder a class."""

import numpy as np
import pytest

from chalkgrad.datasets.folder import image_dataset_from_directory
from chalkgrad.errors import DataError, UsageError

Image = pytest.importorskip("PIL.Image", reason="reading pictures is of the plot extra")


@pytest.fixture
def folder(tmp_path):
    """Five red and three blue pictures; each one's green tells which it is."""
    for name, colour, count in (("red", 0, 5), ("blue", 2, 3)):
        (tmp_path / name).mkdir()
        for i in range(count):
            pixels = np.zeros((8, 6, 3), np.uint8)
            pixels[..., colour], pixels[..., 1] = 200, 10 * i
            Image.fromarray(pixels).save(tmp_path / name / f"{i}.png")
    (tmp_path / "red" / "notes.txt").write_text("no picture")
    return tmp_path


def test_folders_are_the_classes(folder):
    found = image_dataset_from_directory(folder, image_size=(4, 3), batch_size=3, shuffle=False)
    assert found.class_names == ["blue", "red"]
    assert [len(x) for x, _ in found] == [3, 3, 2]
    x, y = found[1]
    assert (x.shape, x.dtype, y.tolist(), y.dtype) == ((3, 4, 3, 3), np.float32, [1, 1, 1], np.int32)
    assert x[1, 0, 0].tolist() == [200, 10, 0]


def test_grey_and_one_hot_in_an_order_of_ones_own(folder):
    found = image_dataset_from_directory(
        folder, class_names=["red", "blue"], color_mode="grayscale", label_mode="categorical", image_size=(2, 2)
    )
    x, y = found[0]
    assert x.shape == (8, 2, 2, 1)
    assert y.sum(0).tolist() == [5, 3]


def test_each_epoch_has_an_order_of_its_own_and_a_seed_repeats_it(folder):
    def orders(seed):
        found = image_dataset_from_directory(folder, seed=seed, image_size=(1, 1))
        for _ in range(2):
            yield [tuple(pixel) for pixel in found[0][0].reshape(8, 3).tolist()]
            found.on_epoch_end()

    (first, second), again, (other, _) = orders(1), [*orders(1)], orders(2)
    assert [first, second] == again
    assert first != second
    assert first != other
    assert sorted(first) == sorted(second) == sorted(other)


def test_parts_are_apart(folder):
    training, validation = image_dataset_from_directory(folder, validation_split=0.25, subset="both", seed=3)
    assert (len(training.file_paths), len(validation.file_paths)) == (6, 2)
    assert not {*training.file_paths} & {*validation.file_paths}
    alone = image_dataset_from_directory(folder, validation_split=0.25, subset="validation", seed=3)
    assert alone.file_paths == validation.file_paths


def test_labels_of_ones_own_and_none(folder):
    (x,) = image_dataset_from_directory(folder, labels=None, image_size=(1, 1))[0]
    assert x.shape == (8, 1, 1, 3)
    _, y = image_dataset_from_directory(folder, labels=[*range(8)], shuffle=False, image_size=(1, 1))[0]
    assert y.tolist() == [*range(8)]


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"directory": "nowhere"}, DataError, "nowhere is no folder"),
        ({"class_names": ["green"]}, DataError, "green is no folder"),
        ({"labels": [1, 2]}, DataError, "labels has 2 entries, and .* holds 8 pictures"),
        ({"color_mode": "gray"}, UsageError, "did you mean 'grayscale'"),
        ({"label_mode": "one"}, UsageError, "label_mode"),
        ({"subset": "training"}, UsageError, "given together"),
        ({"subset": "test", "validation_split": 0.5}, UsageError, "subset"),
        ({"subset": "both", "validation_split": 0.01}, DataError, "leaves one part empty"),
    ],
)
def test_what_is_refused(folder, options, error, text):
    with pytest.raises(error, match=text):
        image_dataset_from_directory(**{"directory": folder, **options})


def test_a_damaged_picture_is_named_when_it_is_read(folder):
    (folder / "red" / "9.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(20))
    found = image_dataset_from_directory(folder)
    with pytest.raises(DataError, match=r"9\.png is"):
        found[0]
