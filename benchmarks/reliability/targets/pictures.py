"""Pictures for `chalkgrad predict`, in every format that it reads."""

from __future__ import annotations

import io
import struct
import zlib
from functools import cache
from pathlib import Path
from typing import Any

import numpy
from numpy.random import Generator

from ....datasets.images import read_image
from ..disturbing import disturbed_bytes, one_of
from . import Target

PNG = b"\x89PNG\r\n\x1a\n"
EXTREMES = (0, 1, 2, 3, 8, 16, 255, 4000, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1)


@cache
def _pictures() -> list[bytes]:
    """A digit's stroke in each format and mode."""
    from PIL import Image

    grey = numpy.full((40, 36), 250, numpy.uint8)
    grey[8:32, 16:20] = 10
    image = Image.fromarray(grey)
    jpeg = {"quality": 80}
    exif = image.getexif()
    exif[0x0112] = 6
    forms: list[tuple[Any, str, dict[str, Any]]] = [
        *((image.convert(mode), "PNG", {}) for mode in ("1", "L", "LA", "P", "RGB", "RGBA")),
        (Image.fromarray(grey.astype(numpy.uint16) * 257), "PNG", {}),
        (image.convert("P"), "PNG", {"transparency": 0}),
        (image, "JPEG", jpeg), (image.convert("RGB"), "JPEG", {**jpeg, "progressive": True, "exif": exif}),
        (image.convert("CMYK"), "JPEG", jpeg), (image, "MPO", {"save_all": True, "append_images": [image]}),
        (image, "GIF", {}), (image, "GIF", {"save_all": True, "append_images": [image.rotate(90)], "transparency": 3}),
        (image, "BMP", {}), (image.convert("RGB"), "BMP", {}), (image.convert("1"), "BMP", {}),
        *((image, "TIFF", {"compression": name}) for name in (None, "tiff_lzw", "tiff_deflate", "packbits", "jpeg")),
        (image.convert("1"), "TIFF", {"compression": "group4"}), (image.convert("RGBA"), "TIFF", {"exif": exif}),
        (Image.fromarray(grey / numpy.float32(255)), "TIFF", {}), (image.convert("CMYK"), "TIFF", {}),
        (image.convert("RGB"), "WEBP", {"lossless": True}), (image.convert("RGBA"), "WEBP", {"quality": 50}),
        *((image.convert(mode), "PPM", {}) for mode in ("1", "L", "RGB")),
    ]  # fmt: skip
    found = []
    for made, kind, options in forms:
        file = io.BytesIO()
        made.save(file, kind, **options)
        found.append(file.getvalue())
    rows = "\n".join(" ".join(map(str, row)) for row in grey // 25)
    return [*found, f"P2 36 40 10\n{rows}\n".encode()]


def _chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    found, at = [], len(PNG)
    while at + 8 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        found.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + length]))
        at += length + 12
    return found


def _disturbed_png(rng: Generator, data: bytes) -> bytes:
    """A PNG whose chunks are right, but not what they say or how they follow each other."""
    chunks = _chunks(data)
    place = int(rng.integers(len(chunks)))
    name, body = chunks[place]
    kind = rng.integers(6)
    if kind == 0:
        del chunks[place]
    elif kind == 1:
        chunks.insert(int(rng.integers(len(chunks))), chunks[place])
    elif kind == 2:
        chunks[place] = (
            one_of(rng, (b"IDAT", b"PLTE", b"tRNS", b"iCCP", b"zTXt", b"eXIf", b"fdAT", b"acTL", b"abcd")),
            body,
        )
    elif kind == 3:
        chunks = [(n, _disturbed_field(rng, b, len(b)) if n == b"IHDR" else b) for n, b in chunks]
    elif kind == 4:
        bomb = zlib.compress(bytes(int(one_of(rng, (1, 100, 10**6, 10**7)))))
        chunks = [(n, bomb if n == b"IDAT" else b) for n, b in chunks]
    else:
        chunks[place] = name, disturbed_bytes(rng, body)
    return PNG + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in chunks
    )


def _disturbed_field(rng: Generator, data: bytes, within: int) -> bytes:
    """Data with a number of 1, 2 or 4 bytes, among the first so many, set to an extreme."""
    size = int(one_of(rng, (1, 2, 4)))
    at = int(rng.integers(max(1, within - size + 1)))
    number = int(one_of(rng, EXTREMES) % 256**size).to_bytes(size, one_of(rng, ("little", "big")))
    return data[:at] + number + data[at + size :]


def _disturbed_segments(rng: Generator, data: bytes) -> bytes:
    """A JPEG with one of its segments changed, left out, or many times there."""
    marks = [at for at in range(len(data) - 1) if data[at] == 0xFF and data[at + 1] not in (0, 0xFF)] or [0]
    which = int(rng.integers(len(marks)))
    start, end = marks[which], [*marks, len(data)][which + 1]
    segment = data[start:end]
    kind = rng.integers(4)
    if kind == 0:
        segment = b""
    elif kind == 1:
        segment *= int(one_of(rng, (2, 50, 500)))
    else:
        segment = segment[:2] + _disturbed_field(rng, segment[2:], 20)
    return data[:start] + segment + data[end:]


def _disturbed(rng: Generator, data: bytes) -> bytes:
    for _ in range(int(one_of(rng, (1, 1, 2, 3)))):
        kind = rng.integers(4)
        if kind == 0:
            data = disturbed_bytes(rng, data)
        elif kind == 1:
            data = _disturbed_field(rng, data, min(len(data), 64))
        elif data.startswith(PNG):
            data = _disturbed_png(rng, data)
        elif data.startswith(b"\xff\xd8"):
            data = _disturbed_segments(rng, data)
        else:  # a TIFF's table may stand at the end
            data = data[::-1] if not data else _disturbed_field(rng, data, len(data))
    return data


def _read(value: bytes, folder: Path) -> Any:
    (folder / "picture").write_bytes(value)
    return read_image(str(folder / "picture"), 28)


def _is_an_input(value: bytes, ink: Any) -> str | None:
    right = ink.shape == (28, 28) and ink.dtype == numpy.float32 and numpy.isfinite(ink).all()
    return None if right and 0 <= ink.min() < ink.max() <= 1 else f"no input of a model: {ink.dtype} {ink.shape}"


pictures = Target("picture", _pictures, _disturbed, _read, _is_an_input)
