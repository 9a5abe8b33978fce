"""A picture's brightness, read from a file of any common format within bounds of time and memory.

What a header claims is looked at before anything is decoded; large photographs are decoded in small where JPEG can.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import numpy
import numpy.typing

from ..engine.files import opened
from ..errors import DataError
from ..hints import missing_extra

if TYPE_CHECKING:
    from PIL import Image

Grey = numpy.typing.NDArray[numpy.float32]
Colours = numpy.typing.NDArray[numpy.uint8]
Values = TypeVar("Values", bound=numpy.typing.NDArray[Any])

SIDE = 512
"""About the longest side that is worked with; larger pictures are reduced."""
MOST_BYTES = 64 << 20
MOST_PIXELS = {"JPEG": 175_000_000, "PNG": 12_500_000, "GIF": 12_500_000, "BMP": 12_500_000,
               "PPM": 12_500_000, "TIFF": 5_000_000, "WEBP": 5_000_000}  # fmt: skip
"""What is read, and up to how many pixels: JPEG is decoded in small, others take 4 bytes a pixel, some three times."""
MOST_SCANS = 100
"""Passes over the picture that a JPEG may make: each takes time, and few bytes."""

OTHERS = (
    (0, b"%PDF", "a PDF"), (0, b"%!PS", "PostScript"), (0, b"8BPS", "a Photoshop file"), (0, b"\x1f\x8b", "gzip"),
    (0, b"PK\x03\x04", "a ZIP archive or an office document"), (0, b"\x89HDF", "an HDF5 file"),
    (0, b"\0\0\x08", "an IDX data file"), (0, b"\0\0\1\0", "an icon"), (4, b"jP  ", "a JPEG 2000 picture"),
    (0, b"<svg", "an SVG drawing"), (0, b"<?xml", "XML, or an SVG drawing"), (0, b"<html", "a web page"),
    (0, b"<!doctype", "a web page"), (4, b"ftypavif", "an AVIF picture"), (4, b"ftyp", "a HEIC photograph or a film"),
)  # fmt: skip
"""What people take for pictures, by the bytes at a place."""
SMALLER = "Save it smaller, or as a JPEG."
KNOWN = (b"\x89PNG", b"\xff\xd8", b"GIF8", b"BM", b"II*\0", b"MM\0*", b"RIFF", b"P1", b"P2", b"P3", b"P4", b"P5", b"P6")


def read_brightness(path: str) -> Grey:
    """The brightness of the picture at `path`, from 0 to 1, turned as its camera says, reduced to about SIDE pixels.

    Transparent parts are white, or black where what is drawn is light. Of a film, the first picture counts. Raises
    DataError, naming the file, where there is none, where it is cut off, damaged, too large or of another format.
    """
    brightness: Grey = _decoded(path, lambda image: _turned(image, _grey), "L", SIDE)
    return brightness


def read_pixels(path: str, mode: str, size: tuple[int, int], filtering: str = "bilinear") -> Colours:
    """The picture at `path` as uint8 of shape (height, width, channels), turned as its camera says, made `size`.

    mode: Pillow's, of which the channels come: "L", "RGB" or "RGBA". size: (height, width). filtering: "nearest",
    "bilinear", "bicubic", "box" or "lanczos". Raises as `read_brightness`.
    """
    from PIL import Image

    def fitted(image: Image.Image) -> Colours:
        whole = _turned(image, lambda image: numpy.asarray(image.convert(mode)))
        resized = Image.fromarray(whole).resize(size[::-1], Image.Resampling[filtering.upper()])
        return numpy.asarray(resized).reshape(*size, -1)

    return _decoded(path, fitted, None, 2 * max(size))


def _decoded(path: str, work: Callable[[Image.Image], Values], mode: str | None, side: int) -> Values:
    """What `work` makes of the picture at `path`; a JPEG may be decoded in this mode, about as large as `side`."""
    try:
        from PIL import Image
    except ImportError:
        raise missing_extra("reading images", "pillow", "plot") from None
    with opened(path) as (file, size):
        if size > MOST_BYTES:
            raise DataError(f"{path} has {size:,} bytes, where a picture has {MOST_BYTES:,} at most. {SMALLER}")
        data = file.read(size)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Pillow, about what it can put up with
        try:
            with Image.open(io.BytesIO(data), formats=tuple(MOST_PIXELS)) as image:
                _bounded(image, data)
                image.draft(mode, (side, side))
                return work(image)
        except DataError as error:
            raise DataError(f"{path} {error}") from error.__cause__
        except Image.DecompressionBombError as error:
            raise DataError(f"{path} has too many pixels ({error}). {SMALLER}") from error
        except Exception as error:  # damaged data make decoders raise anything
            raise DataError(f"{path} {_reason(data, error)}") from error


def _bounded(image: Image.Image, data: bytes) -> None:
    """Raises DataError where to decode a picture would take too much."""
    most = MOST_PIXELS.get(str(image.format), MOST_PIXELS["JPEG"])  # MPO, of phones: JPEGs, one after another
    if image.info.get("progressive") or image.info.get("progression"):  # kept whole while it is decoded
        most = MOST_PIXELS["PNG"]
        if data.count(b"\xff\xda") > MOST_SCANS:
            raise DataError(f"is a JPEG of more than {MOST_SCANS} scans, which takes too long. Save it anew.")
    if image.width * image.height > most:
        raise DataError(f"has {image.width:,} × {image.height:,} pixels, where {most:,} in all are the most. {SMALLER}")


def _turned(image: Image.Image, values: Callable[[Image.Image], Any]) -> Any:
    """The picture's values as it is meant to be seen."""
    from PIL import Image

    array = values(image)
    try:
        turn = int(image.getexif().get(0x0112, 1))
    except Exception:  # damaged notes of a camera are no reason to refuse its picture
        turn = 1
    turns = Image.Transpose
    way = {2: turns.FLIP_LEFT_RIGHT, 3: turns.ROTATE_180, 4: turns.FLIP_TOP_BOTTOM, 5: turns.TRANSPOSE,
           6: turns.ROTATE_270, 7: turns.TRANSVERSE, 8: turns.ROTATE_90}.get(turn)  # fmt: skip
    return array if way is None else numpy.asarray(Image.fromarray(array).transpose(way))


def _grey(image: Image.Image) -> Grey:
    if image.mode.startswith("I") or image.mode == "F":  # 16 bits and more: Pillow would clip them to 8
        return _scaled(numpy.asarray(image))
    if not image.has_transparency_data:
        grey = image.getchannel(0) if image.mode == "LAB" else image.convert("L")
        image.close()
        return numpy.asarray(_reduced(numpy.asarray(grey)) / 255, numpy.float32)
    layers = image.convert("RGBA")
    image.close()
    alpha, grey = layers.getchannel("A"), layers.convert("L")
    layers.close()
    opaque = _reduced(numpy.asarray(alpha)) / 255
    from PIL import ImageChops

    ink = _reduced(numpy.asarray(ImageChops.multiply(grey, alpha))) / 255
    ground = 0.0 if ink.sum() > 0.5 * opaque.sum() else 1.0  # so that white ink on a transparent ground is seen as well
    return numpy.asarray(ink + ground * (1 - opaque), numpy.float32)


def _scaled(values: Any) -> Grey:
    """Numbers of more than 8 bits, from 0 to 1."""
    if not numpy.isfinite(values).all():
        odd = int(values.size - numpy.isfinite(values).sum())
        raise DataError(f"has {odd:,} pixels, of {values.size:,}, that are NaN or infinite: they have no brightness.")
    low, high = min(float(values.min()), 0.0), float(values.max())
    if values.dtype.kind != "f":
        high = max(high, 65535.0 if high > 255 else 255.0)
    return numpy.asarray((_reduced(values, numpy.float64) - low) / max(high - low, 1e-9), numpy.float32)


def _reduced(values: Any, dtype: Any = numpy.float32) -> Any:
    """Means over squares of pixels, so many that about SIDE are left."""
    factor = max(1, round(max(values.shape) / SIDE))
    if factor == 1:
        return values.astype(dtype)
    height, width = (max(1, extent // factor) for extent in values.shape)
    rows, columns = min(factor, values.shape[0]), min(factor, values.shape[1])
    blocks = values[: height * rows, : width * columns].reshape(height, rows, width, columns)
    return blocks.mean(axis=(1, 3), dtype=dtype)


def _reason(data: bytes, error: Exception) -> str:
    """Why data could not be read as a picture."""
    if not data:
        return "is empty."
    for at, mark, kind in OTHERS:
        if data.startswith(mark, at) or data[:64].lstrip().lower().startswith(mark, at):
            return f"is {kind}, not a picture of one of the formats {', '.join(MOST_PIXELS)}. Save it as PNG or JPEG."
    if not data.startswith(KNOWN):
        text = data[:512].decode("utf-8", "ignore").isprintable()
        return f"is {'a text' if text else 'no picture'}. PNG, JPEG, GIF, BMP, TIFF, WebP and PPM are understood."
    if isinstance(error, EOFError) or "truncated" in str(error).lower() or "end of file" in str(error).lower():
        return f"is cut off: it ends at byte {len(data):,}, before the picture does. Fetch it again."
    return f"is damaged, or a kind of its format that is not understood ({type(error).__name__}). Save it anew as PNG."
