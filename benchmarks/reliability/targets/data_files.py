"""Data files: IDX, plain and as gzip, and folders that should hold MNIST."""

from __future__ import annotations

import gzip
import hashlib
import struct
import zlib
from functools import cache
from pathlib import Path
from typing import Any

import numpy
from numpy.random import Generator

from ....datasets import mnist, read_idx
from ....datasets.idx import DTYPES, GZIP
from ....datasets.originals import Original
from ..disturbing import TEXTS, disturbed_bytes, disturbed_text, one_of
from . import Target

SIZES = (0, 1, 2, 3, 255, 2**16, 2**24, 2**31 - 1, 2**31, 2**32 - 1)


def packed(code: int, shape: tuple[int, ...], items: bytes) -> bytes:
    """The bytes of an IDX file, whatever its header claims."""
    return bytes((0, 0, code, len(shape))) + struct.pack(f">{len(shape)}I", *shape) + items


@cache
def _arrays() -> list[bytes]:
    shapes: list[tuple[int, ...]] = [(), (0,), (7,), (3, 4), (2, 3, 4), (200, 28, 28)]
    rng = numpy.random.default_rng(0)
    return [packed(code, shape, rng.bytes(int(numpy.prod(shape)) * dtype.itemsize))
            for code, dtype in DTYPES.items() for shape in shapes if len(shape) < 3 or dtype.itemsize == 1]  # fmt: skip


def _disturbed(rng: Generator, data: bytes) -> bytes:
    kind = rng.integers(6)
    start = 4 + 4 * data[3]
    shape, items = list(struct.unpack(f">{data[3]}I", data[4:start])), data[start:]
    if kind == 0:
        data = disturbed_bytes(rng, data)
    elif kind < 4:
        for _ in range(int(rng.integers(1, 3))):
            place = int(rng.integers(len(shape) + 1))
            shape[place : place + int(rng.integers(2))] = [int(one_of(rng, SIZES))] * int(one_of(rng, (0, 1, 1, 1, 40)))
        code = data[2] if rng.random() < 0.7 else int(rng.integers(256))
        data = packed(code, tuple(shape[:255]), items[: int(one_of(rng, (0, 1, len(items), len(items))))])
    elif kind == 4:  # a bomb
        data = packed(8, (int(one_of(rng, (2**20, 2**26, 2**27, 2**32 - 1))),), bytes(int(one_of(rng, (2**20, 2**24)))))
        return gzip.compress(data, int(rng.integers(1, 10)), mtime=0)
    if rng.random() < 0.5:
        return data
    data = gzip.compress(data, int(rng.integers(10)), mtime=0)
    kind = rng.integers(8)
    if kind < 3:
        return disturbed_bytes(rng, data)
    tails = (
        b"",
        b"",
        b"\0" * 600,
        b"x",
        GZIP,
        data,
        gzip.compress(b"") * int(rng.integers(3000)),
        data[:-3],
        zlib.compress(data),
    )
    return data + bytes(one_of(rng, tails))


def _write_and_read(value: bytes, folder: Path) -> Any:
    (folder / "file").write_bytes(value)
    return read_idx(folder / "file")


def _is_what_the_bytes_say(value: bytes, result: Any) -> str | None:
    data = gzip.decompress(value) if value[:2] == GZIP else value
    again = packed(data[2], result.shape, result.astype(DTYPES[data[2]]).tobytes())
    return None if again == data else f"the bytes say something else than an array of shape {result.shape}"


idx = Target("IDX file", _arrays, _disturbed, _write_and_read, _is_what_the_bytes_say)


@cache
def _files() -> dict[str, bytes]:
    """Small arrays that stand in for MNIST's."""
    return dict(zip(mnist.ORIGINALS.files, _arrays()[2:6], strict=True))


def _folders() -> list[list[Any]]:
    """Names of folders, each with the files in it."""
    plain = dict(_files())
    return [
        ["data", plain],
        ["data/mnist", {f"{name}.gz": gzip.compress(data, mtime=0) for name, data in plain.items()}],
    ]


def _mixed(rng: Generator, seed: list[Any]) -> list[Any]:
    path, files = seed
    if rng.random() < 0.3:
        return [disturbed_text(rng, path, TEXTS), files]
    files = {
        name: _disturbed(rng, data) if rng.random() < 0.3 and data[:2] != GZIP else data for name, data in files.items()
    }
    name = one_of(rng, list(files))
    kind = rng.integers(4)
    if kind == 0:
        del files[name]
    elif kind == 1:
        files[f"mnist/{name}"] = files.pop(name)
    elif kind == 2:
        files[f"{name}/inner"] = files.pop(name)
    return [path, files]


def _load_folder(value: list[Any], folder: Path) -> Any:
    path, files = value
    (folder / "data" / "mnist").mkdir(parents=True)
    for name, data in files.items():
        file = folder / ("data/mnist" if "mnist" in path else "data") / name
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(data)
    genuine = mnist.ORIGINALS.files
    mnist.ORIGINALS.files = {
        name: Original(len(data), hashlib.sha256(data).hexdigest()) for name, data in _files().items()
    }
    try:
        return mnist.load_data(f"{folder}/{path}")
    finally:
        mnist.ORIGINALS.files = genuine


def _are_the_files(value: list[Any], result: Any) -> str | None:
    arrays = [array for split in result for array in split]
    right = all(
        _is_what_the_bytes_say(data, array) is None for data, array in zip(_files().values(), arrays, strict=True)
    )
    return None if right else "other files were taken for the data set's"


folders = Target("folder of MNIST", _folders, _mixed, _load_folder, _are_the_files)
