"""An image file of a handwritten digit as the square input that a model was trained on."""

from __future__ import annotations

import math

import numpy
import numpy.typing

from ..errors import DataError
from .picture_files import read_brightness
from .segmentation import find_digit

Ink = numpy.typing.NDArray[numpy.float32]

STROKE = 0.25
"""The least ink, in parts of the darkest, that belongs to the digit: paper and JPEG leave less around it."""

MARGIN_FROM = 16
"""The least side of an input that leaves a margin around the digit, as MNIST does; smaller ones are filled."""


def read_image(path: str, side: int) -> Ink:
    """The digit in the image file, as a model with inputs of `side` × `side` takes it: ink from 0 to 1.

    Light on dark or dark on light is told by the border; frames, lines and shadows are left out. An image that already
    has this size, and no frame, is one of a data set and stays as it is; any other is cropped to the digit and fitted.
    Raises DataError where there is no image, or nothing on it.
    """
    brightness = read_brightness(path)
    given = brightness.shape == (side, side)
    found = None if given and side < MARGIN_FROM else find_digit(_enlarged(brightness))
    if given and (found is None or not found[1]):
        return _ink(brightness, path)
    if found is None:
        raise DataError(f"{path} is of one even colour: there is no digit to be seen on it.")
    return fit_square(found[0], side)


def _enlarged(brightness: Ink) -> Ink:
    """Small images in large, so that a frame of one pixel is one of several."""
    factor = 112 // max(brightness.shape)
    if factor < 2:
        return brightness
    from PIL import Image

    size = (brightness.shape[1] * factor, brightness.shape[0] * factor)
    return numpy.asarray(Image.fromarray(brightness).resize(size, Image.Resampling.BILINEAR))


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
