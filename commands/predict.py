"""`chalkgrad predict`: which digit is on an image."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence

import click
import numpy

from ..datasets.images import read_image
from ..engine.streams import plain
from ..errors import ChalkgradError, DataError, MissingExtraError
from ..nn import Sequential
from .run_folder import model_path


def predict(run: str, images: Sequence[str]) -> int:
    """Print digit, probability and runner-up for each image; returns the exit code: 1 where one could not be read.

    Raises DataError where the run holds no model, or one that does not take square images.
    """
    path = model_path(run)
    model = Sequential.load(path)
    side = input_side(model, path)
    names = [plain(image) for image in images]
    width = max(len("image"), *map(len, names))
    rows = []
    for image, name in zip(images, names, strict=True):
        try:
            ink = read_image(image, side)
        except MissingExtraError:  # no image could be read
            raise
        except ChalkgradError as error:
            click.echo(f"error: {plain(error)}", err=True)
            continue
        outputs = model.predict(ink.reshape(1, *model.shapes[0]))[0]
        first, second = numpy.argsort(-outputs, kind="stable")[:2]
        rows.append(f"{name:<{width}}  {first:>5}  {outputs[first]:>11.1%}  {second} ({outputs[second]:.1%})")
    if rows:
        click.echo(f"{'image':<{width}}  digit  probability  runner-up")
        click.echo("\n".join(rows))
    return 0 if len(rows) == len(images) else 1


def input_side(model: Sequential, path: str | os.PathLike[str]) -> int:
    """The side of the square images that the model takes; raises DataError where it takes something else."""
    shape, output = model.shapes[0], model.output_shapes()[0]
    side = math.isqrt(math.prod(shape))
    if shape not in ((side * side,), (side, side), (side, side, 1)) or side < 2:
        raise DataError(f"{path}: the model takes samples of shape {shape}, which are no square images of one colour.")
    if len(output) != 1 or output[0] < 2 or getattr(model.layers[-1], "activation", None) != "softmax":
        raise DataError(
            f"{path}: the model's outputs, of shape {output}, are no probabilities of classes: "
            "its last layer is one with softmax where digits are told apart."
        )
    return side
