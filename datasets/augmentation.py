"""Augmentation: images moved, turned, stretched and bent a little, anew in each epoch, so that a net sees more of them.

Each pixel of the result is looked up, by bilinear interpolation, where an affine map and a smooth random field of
displacements point to (Simard, Steinkraus & Platt 2003). Outside of an image everything is 0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any

import numpy
import numpy.typing

from ..checks import is_whole, number, whole
from ..engine.absent import checked
from ..errors import DtypeError, ShapeError, UsageError, unknown_name

Images = numpy.typing.NDArray[Any]
FLIPS = ("horizontal", "vertical", "horizontal_and_vertical")
BLOCK = 1 << 14
"""Pixels that are looked up in one go, so that all that this needs stays in the cache."""


@checked
@dataclass(frozen=True)
class Augmentation:
    """Random distortions of a batch of images, all of them uniform within ± these.

    rotation: degrees. shift: pixels, along each axis, or a pair (rows, columns). scale: a fraction of the size, for
    each axis by itself, or a pair. shear: a fraction, horizontally. flip: every other image turned over, "horizontal",
    "vertical" or "horizontal_and_vertical". elastic: pixels by which the points of an elastic_grid × elastic_grid grid
    are displaced, and what lies between them by interpolation. image_shape: (height, width) or (height, width,
    channels) of images that come flattened, one a row.
    """

    rotation: float = 0.0
    shift: float | tuple[float, float] = 0.0
    scale: float | tuple[float, float] = 0.0
    shear: float = 0.0
    elastic: float = 0.0
    elastic_grid: int = 7
    image_shape: tuple[int, ...] | None = None
    flip: str = ""

    def __post_init__(self) -> None:
        for field in fields(self)[:5]:
            interval = "[0, 1)" if field.name == "scale" else "[0, ∞)"  # with a scale of 1 images would vanish
            value = getattr(self, field.name)
            pair = field.name in ("shift", "scale") and isinstance(value, tuple) and len(value) == 2
            for each in value if pair else (value,):
                number("Augmentation", field.name, each, interval)
        if self.flip and self.flip not in FLIPS:
            raise unknown_name("flip", self.flip, FLIPS)
        whole("Augmentation", "elastic_grid", self.elastic_grid, 2)
        shape = self.image_shape
        if shape is not None and (len(shape) not in (2, 3) or not all(is_whole(n) and n > 0 for n in shape)):
            raise UsageError(f"Augmentation(image_shape={shape!r}): (height, width) or (height, width, channels).")

    def __call__(self, images: Images, generator: numpy.random.Generator) -> Images:
        """Distorted copies of a batch (batch, height, width), (batch, height, width, channels), or flattened.

        Same shape and dtype; whole numbers are rounded. The generator alone decides what is drawn.
        """
        if images.dtype.kind not in "fiu":
            raise DtypeError(f"augmentation takes images of numbers, not of dtype {images.dtype}.")
        shape = images.shape if self.image_shape is None else (len(images), *self.image_shape)
        if len(shape) not in (3, 4) or math.prod(shape) != images.size:
            raise ShapeError(
                f"augmentation takes (batch, height, width) or (batch, height, width, channels), not {images.shape}"
                + (f" with image_shape={self.image_shape}." if self.image_shape else "; flattened images need "
                   "image_shape=(height, width).")
            )  # fmt: skip
        whole = images.dtype.kind != "f"
        given = images.reshape(shape).astype("float32") if whole else images.reshape(shape)
        weights = self._draw(len(given), generator).astype(given.dtype)
        basis = _basis(shape[1], shape[2], self.elastic_grid if self.elastic else 0).astype(given.dtype, copy=False)
        moved = sampled(given, weights[0] @ basis, weights[1] @ basis)
        if whole:
            limits = numpy.iinfo(images.dtype)
            moved = numpy.clip(numpy.rint(moved), limits.min, limits.max).astype(images.dtype)
        return moved.reshape(images.shape)

    def _draw(self, count: int, generator: numpy.random.Generator) -> Images:
        """For rows and columns, of each image, the factors of `_basis`: 1, row, column, and the points of the grid."""
        angle, row_shift, column_shift, row_scale, column_scale, shear = generator.uniform(-1, 1, (6, count))
        angle = numpy.radians(self.rotation) * angle
        sine, cosine, shear = numpy.sin(angle), numpy.cos(angle), self.shear * shear
        points = self.elastic_grid**2 if self.elastic else 0
        factors = numpy.empty((2, count, 3 + points))
        shifts, scales = (v if isinstance(v, tuple) else (v, v) for v in (self.shift, self.scale))
        factors[:, :, 0] = shifts[0] * row_shift, shifts[1] * column_shift
        # the inverse map, from the result to the image: turn, then shear, then stretch
        factors[0, :, 1:3] = (
            numpy.stack([cosine, sine + shear * cosine], axis=-1) / (1 + scales[0] * row_scale)[:, None]
        )
        factors[1, :, 1:3] = (
            numpy.stack([-sine, cosine - shear * sine], axis=-1) / (1 + scales[1] * column_scale)[:, None]
        )
        if points:
            factors[:, :, 3:] = self.elastic * generator.uniform(-1, 1, (2, count, points))
        for axis, name in enumerate(("vertical", "horizontal")):
            if name in self.flip:
                factors[axis] *= numpy.where(generator.random(count) < 0.5, -1.0, 1.0)[:, None]
        return factors


@lru_cache(maxsize=16)
def _basis(height: int, width: int, grid: int) -> Images:
    """What places are made of, (3 + grid², pixels): 1, row and column from the centre, and hats around grid points."""
    row, column = numpy.indices((height, width), dtype="float64").reshape(2, -1)
    rows = [numpy.ones(height * width), row - (height - 1) / 2, column - (width - 1) / 2]
    if grid:
        hats = [numpy.maximum(0, 1 - numpy.abs(numpy.arange(grid)[:, None] - at / max(n - 1, 1) * (grid - 1)))
                for at, n in ((row, height), (column, width))]  # fmt: skip
        rows += list((hats[0][:, None] * hats[1][None]).reshape(grid * grid, -1))
    return numpy.array(rows, dtype="float32")


def sampled(images: Images, rows: Images, columns: Images) -> Images:
    """The images' values at places between pixels, bilinearly, 0 outside.

    rows, columns: places from the centre, (batch, pixels); they are overwritten.
    """
    count, height, width = images.shape[:3]
    found = numpy.empty_like(images, order="C")
    together = max(1, min(count, BLOCK // max(1, math.prod(images.shape[1:]))))
    across = width + 3  # a border of one before, and two after: of the last place the next one is looked at, too
    bordered = numpy.zeros((together, height + 3, across, *images.shape[3:]), images.dtype)
    flat = bordered.reshape(-1, *images.shape[3:])
    first = (numpy.arange(together) * ((height + 3) * across))[:, None]
    for start in range(0, count, together):
        block = slice(start, start + together)
        given, down, along = images[block], rows[block], columns[block]
        bordered[: len(given), 1:-2, 1:-2] = given
        at = _pixel_before(down, height)
        at *= across
        at += _pixel_before(along, width)
        at += first[: len(given)]
        down, along = (part.reshape(*part.shape, *(1,) * (images.ndim - 3)) for part in (down, along))
        upper = _between(flat, at, along)
        at += across - 1
        lower = _between(flat, at, along)
        lower -= upper
        lower *= down
        lower += upper
        found[block] = lower.reshape(given.shape)
    return found


def _pixel_before(places: Images, length: int) -> Images:
    """The pixel of a border of one that lies before each place, from the centre; of the places the fraction is left."""
    places += (length - 1) / 2 + 1
    numpy.clip(places, 0, length + 1, out=places)
    whole = numpy.floor(places)
    places -= whole
    return whole.astype("int64")


def _between(flat: Images, at: Images, along: Images) -> Images:
    """Between each pixel and the next in its row; `at` is moved to the latter."""
    here = flat.take(at, axis=0)
    at += 1
    step = flat.take(at, axis=0)
    step -= here
    step *= along
    step += here
    return step
