"""Augmentation: what it leaves alone, what it moves exactly, and what it refuses."""

import numpy as np
import pytest

from chalkgrad.datasets import Augmentation
from chalkgrad.datasets.augmentation import sampled
from chalkgrad.errors import DtypeError, ShapeError, UsageError

IMAGES = np.random.default_rng(0).random((3, 9, 7), dtype=np.float32)
SOME = Augmentation(rotation=9, shift=1.3, scale=0.1, shear=0.1, elastic=1.2)


def rng(seed=0):
    return np.random.default_rng(seed)


def places(shape, turn):
    """For each pixel the place that `turn` sends it to, from the centre."""
    at = np.indices(shape, dtype=np.float32).reshape(2, -1) - (np.array(shape, np.float32)[:, None] - 1) / 2
    return [np.repeat(part[None], 3, axis=0) for part in turn(*at)]


@pytest.mark.parametrize("shape", [(3, 9, 7), (3, 9, 7, 1)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_without_ranges_nothing_changes(shape, dtype):
    given = IMAGES.reshape(shape).astype(dtype)
    found = Augmentation()(given, rng())
    np.testing.assert_array_equal(found, given)
    assert found.dtype == given.dtype


def test_a_quarter_turn_and_a_whole_pixel_are_exact():
    square = IMAGES[:, :7]
    np.testing.assert_array_equal(sampled(square, *places((7, 7), lambda r, c: (c, -r))), np.rot90(square, axes=(1, 2)))
    moved = sampled(IMAGES, *places((9, 7), lambda r, c: (r - 1, c - 2)))
    np.testing.assert_array_equal(moved[:, 1:, 2:], IMAGES[:, :-1, :-2])
    assert not moved[:, 0].any()
    assert not moved[:, :, :2].any()
    half = sampled(IMAGES, *places((9, 7), lambda r, c: (r + 0.5, c)))
    np.testing.assert_allclose(half[:, :-1], (IMAGES[:, :-1] + IMAGES[:, 1:]) / 2, rtol=1e-6)
    assert not sampled(IMAGES, *places((9, 7), lambda r, c: (r + 1e6, c - 1e6))).any()


def test_the_generator_decides_and_every_image_gets_its_own():
    same = np.repeat(IMAGES[:1], 4, axis=0)
    first, again, other = SOME(same, rng(1)), SOME(same, rng(1)), SOME(same, rng(2))
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, other)
    assert not np.allclose(first[0], first[1])
    np.testing.assert_array_equal(same, np.repeat(IMAGES[:1], 4, axis=0))


@pytest.mark.parametrize("what", ["rotation", "shift", "scale", "shear", "elastic"])
def test_each_range_moves_something(what):
    assert not np.allclose(Augmentation(**{what: 0.9})(IMAGES, rng()), IMAGES, atol=1e-4)


def test_channels_move_together_and_flattened_images_are_images():
    channels = np.stack([IMAGES, 2 * IMAGES], axis=-1)
    found = SOME(channels, rng(3))
    np.testing.assert_allclose(found[..., 1], 2 * found[..., 0], rtol=1e-6)
    np.testing.assert_allclose(found[..., 0], SOME(IMAGES, rng(3)), rtol=1e-6)
    flat = Augmentation(**{**vars(SOME), "image_shape": (9, 7)})(IMAGES.reshape(3, -1), rng(3))
    np.testing.assert_array_equal(flat.reshape(3, 9, 7), SOME(IMAGES, rng(3)))


def test_whole_numbers_are_rounded():
    bytes_ = (IMAGES * 255).astype(np.uint8)
    found = SOME(bytes_, rng(4))
    np.testing.assert_array_equal(found, np.rint(SOME(bytes_.astype(np.float32), rng(4))))
    assert found.dtype == np.uint8


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: Augmentation(rotation=-1), UsageError, "rotation=-1.*lies in .0, ∞"),
        (lambda: Augmentation(shift=float("nan")), UsageError, "shift=nan"),
        (lambda: Augmentation(scale=1.0), UsageError, "scale=1.0.*lies in .0, 1"),
        (lambda: Augmentation(elastic_grid=1), UsageError, "elastic_grid=1"),
        (lambda: Augmentation(image_shape=(28,)), UsageError, r"image_shape=\(28,\)"),
        (lambda: SOME(np.ones((3, 784)), rng()), ShapeError, r"not \(3, 784\).*image_shape="),
        (lambda: Augmentation(image_shape=(9, 9))(IMAGES, rng()), ShapeError, r"image_shape=\(9, 9\)"),
        (lambda: SOME(np.ones((3, 4, 4), bool), rng()), DtypeError, "bool"),
    ],
)
def test_what_is_refused(call, error, text):
    with pytest.raises(error, match=text):
        call()
