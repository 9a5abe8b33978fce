"""Digits on pictures of many kinds: how many `chalkgrad predict` reads rightly, beside the images of the data set.

    chalkgrad train mnist --out runs/mnist
    python -m chalkgrad.benchmarks.digit_pictures runs/mnist/model.safetensors --out FILE

draws test digits as pictures: plain, framed, in shadow, on ruled paper, …, and keeps the accuracy on each kind.
"""

from __future__ import annotations

import argparse
import json
import sys
import zlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy
import numpy.typing
from numpy.random import Generator

from .. import datasets
from ..datasets.images import read_image
from ..engine.files import write_file
from ..errors import ChalkgradError
from ..nn import Sequential
from .machine import host

Grey = numpy.typing.NDArray[numpy.float32]
"""Brightness from 0 to 1; a third axis, if any, is colour."""


def drawn(
    digit: Any, rng: Generator, paper: float = 1.0, pen: float = 0.1, scale: int = 0, margin: float = 0.0
) -> Grey:
    """A digit of a data set in large, smooth, with `margin` (of its side) more of the paper on each side."""
    from PIL import Image

    scale = scale or int(rng.integers(240, 400)) // len(digit)
    size = (len(digit) * scale,) * 2
    ink = numpy.asarray(Image.fromarray(digit).resize(size, Image.Resampling.BICUBIC), numpy.float32) / 255
    return numpy.asarray(paper + (pen - paper) * numpy.pad(ink, round(margin * len(ink))), numpy.float32)


def framed(picture: Grey, width: float, value: float, outside: float | None = None, distance: float = 0.0) -> Grey:
    """The picture with a frame of this width around it, and with more paper around that; parts of the side."""
    side = max(picture.shape)
    picture = numpy.pad(picture, max(1, round(width * side)), constant_values=value)
    return picture if outside is None else numpy.pad(picture, round(distance * side), constant_values=outside)


def _ruled(digit: Any, rng: Generator, value: float, squared: bool = False) -> Grey:
    picture = drawn(digit, rng, margin=0.3)
    step, thick = len(picture) // int(rng.integers(5, 9)), max(1, len(picture) // 150)
    for start in range(int(rng.integers(step)), len(picture) - thick, step):
        picture[start : start + thick] = numpy.minimum(picture[start : start + thick], value)
        if squared:
            picture[:, start : start + thick] = numpy.minimum(picture[:, start : start + thick], value)
    return picture


def _cropped(digit: Any, rng: Generator) -> Grey:
    """A digit whose lower end is the picture's."""
    picture = drawn(digit, rng)
    last = numpy.flatnonzero((picture < 0.5).any(axis=1))[-1]
    return picture[: last + 1 - int(rng.integers(3))]


def _lit(picture: Grey, rng: Generator, shadow: bool) -> Grey:
    """The picture in light that fades away to one side, or with a soft shadow over a part of it."""
    row, column = numpy.indices(picture.shape) / len(picture) - 0.5
    angle = rng.uniform(0, 2 * numpy.pi)
    along = row * numpy.sin(angle) + column * numpy.cos(angle)
    light = 1 - 0.4 / (1 + numpy.exp(-30 * (along - rng.uniform(-0.2, 0.2)))) if shadow else 0.72 + 0.4 * along
    return numpy.asarray(picture * light, numpy.float32)


def _on_a_table(digit: Any, rng: Generator) -> Grey:
    from PIL import Image

    sheet, table = drawn(digit, rng, paper=0.95, margin=0.15), float(rng.uniform(0.1, 0.5))
    image = Image.fromarray(numpy.pad(sheet, len(sheet) // 5, constant_values=table))
    return numpy.asarray(image.rotate(rng.uniform(-12, 12), Image.Resampling.BICUBIC, fillcolor=table))


def _dark_edges(digit: Any, rng: Generator) -> Grey:
    picture = drawn(digit, rng, margin=0.1)
    for turn in range(4):
        turned = numpy.rot90(picture, turn)
        if rng.random() < 0.5:
            turned[: round(len(picture) * rng.uniform(0.01, 0.06))] = 0.15  # a view: the picture itself is changed
    return picture


def _circled(digit: Any, rng: Generator) -> Grey:
    picture = drawn(digit, rng, margin=0.3)
    row, column = numpy.indices(picture.shape) / len(picture) - 0.5
    ring = numpy.abs(numpy.hypot(row, column) - 0.46) < rng.uniform(0.005, 0.015)
    return numpy.where(ring, numpy.float32(0.1), picture)


def _coloured(digit: Any, rng: Generator) -> Grey:
    picture = drawn(digit, rng)
    colour = rng.uniform(0, 1, 3)
    width = round(len(picture) * rng.uniform(0.02, 0.1))
    layers = [numpy.pad(picture, width, constant_values=value) for value in colour]
    return numpy.stack(layers, axis=-1)


def _outlined(picture: Grey, rng: Generator) -> Grey:
    picture[[0, -1]] = picture[:, [0, -1]] = rng.uniform(0, 0.5)
    return picture


def _noisy(picture: Grey, rng: Generator) -> Grey:
    return numpy.asarray(picture + rng.normal(0, 0.06, picture.shape), numpy.float32)


def _aside(digit: Any, rng: Generator) -> Grey:
    picture = drawn(digit, rng)
    before, after = rng.integers(0, len(picture), (2, 2))
    return numpy.pad(picture, tuple(zip(before, after, strict=True)), constant_values=1.0)


def _thin(rng: Generator) -> float:
    return float(rng.uniform(0.004, 0.03))


def _wide(rng: Generator) -> float:
    return float(rng.uniform(0.03, 0.15))


KINDS: dict[str, Callable[[Any, Generator], Grey]] = {
    "plain": lambda x, rng: drawn(x, rng),
    "inverted": lambda x, rng: drawn(x, rng, 0.05, 0.95),
    "small": lambda x, rng: drawn(x, rng, scale=3),
    "large": lambda x, rng: drawn(x, rng, scale=1000 // len(x)),
    "pale pen": lambda x, rng: drawn(x, rng, 0.9, 0.65),
    "aside": _aside,
    "noisy": lambda x, rng: _noisy(drawn(x, rng, margin=0.1), rng),
    "fading light": lambda x, rng: _lit(drawn(x, rng, margin=0.1), rng, False),
    "shadow": lambda x, rng: _lit(drawn(x, rng, margin=0.1), rng, True),
    "frame, thin": lambda x, rng: framed(drawn(x, rng), _thin(rng), 0.1),
    "frame, wide": lambda x, rng: framed(drawn(x, rng), _wide(rng), 0.1),
    "frame, grey": lambda x, rng: framed(drawn(x, rng), _wide(rng), float(rng.uniform(0.3, 0.7))),
    "frame, darker than the pen": lambda x, rng: framed(drawn(x, rng, pen=0.5), _wide(rng), 0.0),
    "frame, coloured": _coloured,
    "frame, light on dark": lambda x, rng: framed(drawn(x, rng, 0.1, 0.9), _wide(rng), 0.95),
    "frame, light around light": lambda x, rng: framed(drawn(x, rng, 0.9, 0.1), _wide(rng), 1.0),
    "frame of one pixel, in the data set's size": lambda x, rng: _outlined(1 - x / numpy.float32(255), rng),
    "frame, noisy": lambda x, rng: _noisy(framed(drawn(x, rng), _wide(rng), 0.1), rng),
    "frame, fading light": lambda x, rng: _lit(framed(drawn(x, rng), _wide(rng), 0.1), rng, False),
    "box, thin": lambda x, rng: framed(drawn(x, rng), _thin(rng), 0.1, 1.0, float(rng.uniform(0.02, 0.3))),
    "box, wide": lambda x, rng: framed(drawn(x, rng), _wide(rng), 0.1, 1.0, float(rng.uniform(0.02, 0.3))),
    "box, light on dark": lambda x, rng: framed(drawn(x, rng, 0.1, 0.9), _thin(rng), 0.9, 0.1, 0.1),
    "box in a frame": lambda x, rng: framed(framed(drawn(x, rng), _thin(rng), 0.1, 1.0, 0.05), _wide(rng), 0.2),
    "box, touched": lambda x, rng: framed(_cropped(x, rng), _thin(rng), 0.1, 1.0, float(rng.uniform(0.02, 0.3))),
    "frame, touched": lambda x, rng: framed(_cropped(x, rng), _wide(rng), 0.1),
    "circle": _circled,
    "sheet on a table": _on_a_table,
    "dark edges": _dark_edges,
    "ruled paper": lambda x, rng: _ruled(x, rng, 0.7),
    "ruled paper, dark": lambda x, rng: _ruled(x, rng, 0.3),
    "squared paper": lambda x, rng: _ruled(x, rng, 0.6, squared=True),
}
"""Makes of a test digit, and of a generator's draws, a picture."""


def picture(kind: str, digit: Any, seed: int, index: int) -> Any:
    """A digit's picture of this kind, as bytes from 0 to 255; seed and index decide what is drawn."""
    rng = numpy.random.default_rng([seed, zlib.crc32(kind.encode()), index])
    if len(digit) < 16:
        digit = numpy.pad(digit, len(digit) // 4)  # the 8 × 8 of digits fill their images from edge to edge
    return numpy.round(numpy.clip(KINDS[kind](digit, rng), 0, 1) * 255).astype(numpy.uint8)


def accuracies(model: Any, images: Any, labels: Any, seed: int, kinds: Iterable[str] = KINDS) -> dict[str, float]:
    """The part of the images that a model reads rightly: those of the data set, and drawn as each of the kinds."""
    from PIL import Image

    def right(inputs: Any) -> float:
        return float((model.predict(numpy.asarray(inputs).reshape(len(labels), -1)).argmax(axis=1) == labels).mean())

    side = images.shape[1]
    found = {"the data set": right(images.astype("float32") / 255)}
    with TemporaryDirectory() as folder:
        path = str(Path(folder) / "picture.png")
        for kind in kinds:
            inputs = []
            for index, digit in enumerate(images):
                Image.fromarray(picture(kind, digit, seed, index)).save(path, compress_level=0)
                inputs.append(read_image(path, side))
            found[kind] = right(inputs)
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    about, _, usage = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser(
        prog="python -m chalkgrad.benchmarks.digit_pictures", description=about, epilog=usage,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("model", help="a model file of a run on mnist or digits")
    parser.add_argument("--images", type=int, default=300, metavar="N", help="test digits, of each kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", metavar="FILE", help="keep the result (JSON)")
    options = parser.parse_args(arguments)
    try:
        model = Sequential.load(options.model)
        _, (images, labels) = datasets.load("mnist" if numpy.prod(model.shapes[0]) == 28 * 28 else "digits")
        chosen = numpy.random.default_rng(options.seed).permutation(len(images))[: options.images]
        found = accuracies(model, images[chosen], labels[chosen], options.seed)
        for kind, accuracy in found.items():
            print(f"{kind:45} {accuracy:7.1%}")
        if options.out:
            result = {"seed": options.seed, "images": len(chosen), "machine": host(), "accuracy": found}
            write_file(options.out, json.dumps(result, indent=1) + "\n")
    except ChalkgradError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
