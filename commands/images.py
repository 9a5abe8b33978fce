"""An image file of a handwritten digit as the square input that a model was trained on."""

from __future__ import annotations

import math
import struct
import warnings
import zlib
from typing import TYPE_CHECKING, Any

import numpy
import numpy.typing

from ..errors import DataError
from ..hints import missing_extra

if TYPE_CHECKING:
    from PIL import Image

Ink = numpy.typing.NDArray[numpy.float32]

STROKE = 0.25
"""The least ink, in parts of the darkest, that belongs to the digit: paper and JPEG leave less around it."""

MARGIN_FROM = 16
"""The least side of an input that leaves a margin around the digit, as MNIST does; smaller ones are filled."""


def read_image(path: str, side: int) -> Ink:
    """The digit in the image file, as a model with inputs of `side` × `side` takes it: ink from 0 to 1.

    Light on dark or dark on light is told by the border. An image that already has this size is one of a data set
    and stays as it is; any other is cropped to the digit and fitted. Raises DataError where there is no image,
    or nothing on it.
    """
    ink = _ink(_brightness(path), path)
    return ink if ink.shape == (side, side) else fit_square(ink, side)


def fit_square(ink: Ink, side: int) -> Ink:
    """The digit cropped to its box, scaled with its aspect kept, and put into the middle of `side` × `side`.

    With a side of 28 this is MNIST's convention: a box of 20 × 20, whose centre of mass is the image's centre. Small
    inputs, such as the 8 × 8 of digits, are filled from edge to edge. Each pixel is the mean of what it covers.
    """
    from PIL import Image

    ink = ink / ink.max()
    strokes = ink >= STROKE
    rows, columns = numpy.flatnonzero(strokes.any(axis=1)), numpy.flatnonzero(strokes.any(axis=0))
    ink = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    margin = side >= MARGIN_FROM
    pixel = max(ink.shape) / (round(side * 20 / 28) if margin else side)  # of the input, in pixels of the image
    middle = side / 2 + (0.5 if margin else 0)  # MNIST was centred by numbers of pixels: its mean is 14.5, not 14
    top, left = (
        min(max(middle - at / pixel, 0), side - extent / pixel)  # the whole digit stays inside
        for at, extent in zip(_centre_of_mass(ink), ink.shape, strict=True)
    )
    frame = math.ceil(side * pixel) + 1
    image = Image.fromarray(numpy.pad(ink, frame))
    x, y = frame - left * pixel, frame - top * pixel
    filtering = Image.Resampling.BOX if pixel >= 1 else Image.Resampling.BILINEAR
    resized = image.resize((side, side), filtering, box=(x, y, x + side * pixel, y + side * pixel))
    return numpy.clip(numpy.asarray(resized, numpy.float32), 0, 1)


def _centre_of_mass(ink: Ink) -> tuple[float, float]:
    weights = ink.sum(axis=1), ink.sum(axis=0)
    row, column = (float((w * (numpy.arange(len(w)) + 0.5)).sum() / w.sum()) for w in weights)
    return row, column


def _ink(brightness: Ink, path: str) -> Ink:
    """How much each pixel differs from the ground, which is what most of the border shows."""
    border = numpy.concatenate([brightness[0], brightness[-1], brightness[:, 0], brightness[:, -1]])
    difference = brightness - numpy.median(border)
    darker, lighter = float(-difference.min()), float(difference.max())
    if max(darker, lighter) < 0.05:
        raise DataError(f"{path} is of one even colour: there is no digit to be seen on it.")
    ink: Ink = numpy.maximum(-difference if darker > lighter else difference, 0).astype(numpy.float32)
    return ink


def _brightness(path: str) -> Ink:
    """The image's brightness from 0 to 1, whatever its mode."""
    try:
        from PIL import Image, ImageOps
    except ImportError:
        raise missing_extra("reading images", "pillow", "plot") from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as file:
                return _grey(ImageOps.exif_transpose(file))
    except FileNotFoundError:
        raise DataError(f"{path}: there is no such file.") from None
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise DataError(f"{path} is too large an image for one digit ({error}).") from error
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error) as error:  # what damaged files raise
        reason = getattr(error, "strerror", None) or "no image, or a damaged one"
        raise DataError(f"{path} cannot be read as an image: {reason}. PNG and JPEG are understood.") from error


def _grey(image: Image.Image) -> Ink:
    if image.mode.startswith("I") or image.mode == "F":  # 16 bits and more: Pillow would clip them to 8
        values: Any = numpy.asarray(image, numpy.float64)
        top = 65535.0 if image.mode.startswith("I") else max(float(values.max()), 1e-9)
        return numpy.asarray(numpy.clip(values / top, 0, 1), numpy.float32)
    if image.has_transparency_data:
        layers = numpy.asarray(image.convert("RGBA"), numpy.float32) / 255
        grey = layers[..., :3] @ numpy.array([0.299, 0.587, 0.114], numpy.float32)  # as Pillow's own mode L
        opaque = layers[..., 3]
        drawn = float((grey * opaque).sum() / max(float(opaque.sum()), 1e-9))
        ground = 0.0 if drawn > 0.5 else 1.0  # so that white ink on a transparent ground can be seen as well
        return numpy.asarray(grey * opaque + ground * (1 - opaque), numpy.float32)
    return numpy.asarray(numpy.asarray(image.convert("L"), numpy.float32) / 255, numpy.float32)
