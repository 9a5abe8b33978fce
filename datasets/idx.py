"""The IDX file format of the MNIST pages: a typed array behind a header of big-endian sizes.

Bytes 0 and 1 are zero, byte 2 names the type, byte 3 counts the dimensions; then one unsigned 32-bit
size per dimension, then the items in C order, big-endian. Source: Y. LeCun, C. Cortes, C. Burges,
"The MNIST database of handwritten digits", http://yann.lecun.com/exdb/mnist/.
"""

from __future__ import annotations

import gzip
import io
import math
import os
import struct
import sys
import zlib
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from ..engine.files import opened, write_file
from ..errors import DataError

Bytes = NDArray[np.uint8]
Split = tuple[Bytes, Bytes]  # images (n, height, width) and labels (n,)

GZIP = b"\x1f\x8b"  # the first two bytes of every gzip file (RFC 1952)

HEADER = 4 + 4 * 255
"""The bytes of the longest header."""
CHUNK = 1 << 16
SMALL, RATIO = 48 << 20, 8
"""What gzip may unpack to: this many bytes, and this many times the file. Digits take 5 times their file."""
MEMBERS = 1000
"""Streams that a gzip file may consist of, beside one for each 4 KB: empty ones cost time for nothing."""

DTYPES: dict[int, np.dtype[Any]] = {
    0x08: np.dtype(">u1"),
    0x09: np.dtype(">i1"),
    0x0B: np.dtype(">i2"),
    0x0C: np.dtype(">i4"),
    0x0D: np.dtype(">f4"),
    0x0E: np.dtype(">f8"),
}
CODES = {dtype.newbyteorder("="): code for code, dtype in DTYPES.items()}


def read_idx(path: str | os.PathLike[str]) -> NDArray[Any]:
    """Read the IDX file at `path`, plain or gzip (told by its first bytes, not by its name).

    Returns a new writable array in native byte order, of the shape and dtype in the header: uint8,
    int8, int16, int32, float32 or float64. Raises `DataError`, naming the file, where there is none
    or where its bytes are anything but one whole IDX array.
    """
    with opened(path) as (file, size):
        return parse_idx(unpack(file, size, path), path)


def unpack(file: BinaryIO, size: int, name: str | os.PathLike[str]) -> bytearray:
    """The uncompressed bytes of the IDX `file` of `size` bytes, plain or gzip; errors (`DataError`) call it `name`.

    Read is what its header says, and no more: a damaged header, or one that claims what cannot be there, ends it. Of
    gzip, that is more than SMALL + RATIO times the file, since a few bytes may stand for any number of zeros.
    """
    chunks = _chunks(file, size)
    start = next(chunks, b"")
    packed = start[:2] == GZIP
    chunks = chain([start], chunks)
    data, expected = bytearray(), sys.maxsize
    for chunk in _gunzipped(chunks, size, name) if packed else chunks:
        known = len(data) >= HEADER
        data += chunk
        if not known and len(data) >= HEADER:
            *_, expected = _header(data, name)
            if not packed:
                _compare(data, size, name)
            elif expected > SMALL + RATIO * size:
                raise DataError(
                    f"{name}: its header claims {expected:,} bytes, from {size:,} of gzip: that is no data set but a "
                    "bomb, or damage. If the file is yours and right, gunzip it yourself and read the result."
                )
        if len(data) > expected:
            break  # of gzip: how much follows is not worth the time
    return data


def _chunks(file: BinaryIO, size: int) -> Iterator[bytes]:
    while size > 0 and (chunk := file.read(min(size, CHUNK))):
        size -= len(chunk)
        yield chunk


def _gunzipped(chunks: Iterable[bytes], size: int, name: str | os.PathLike[str]) -> Iterator[bytes]:
    """What the members of a gzip file of `size` bytes hold, one after another, in pieces of CHUNK bytes at most."""
    stream = zlib.decompressobj(wbits=31)
    members = 1
    try:
        for chunk in chunks:
            while True:
                if stream.eof:  # zeros may fill up a block of a tape; else another member follows
                    chunk = chunk.lstrip(b"\0")
                    if not chunk:
                        break
                    stream = zlib.decompressobj(wbits=31)
                    members += 1
                    if members > MEMBERS + size // 4096:
                        raise DataError(
                            f"{name}: more than {members:,} gzip streams, one after another, in {size:,} bytes."
                        )
                piece = stream.decompress(chunk, CHUNK)
                yield piece
                chunk = stream.unused_data if stream.eof else stream.unconsumed_tail
                if not chunk and len(piece) < CHUNK:
                    break
    except zlib.error as error:
        raise DataError(f"{name}: the gzip stream is damaged ({error}). Fetch the file again.") from error
    if not stream.eof:
        raise DataError(
            f"{name}: the gzip stream stops early, after {size:,} bytes: the file was cut short. Fetch it again."
        )


def _header(data: bytes | bytearray, name: str | os.PathLike[str]) -> tuple[np.dtype[Any], tuple[int, ...], int, int]:
    """What an IDX header says: dtype, shape, where the items start and where they end."""
    if len(data) < 4 or data[:2] != b"\0\0" or data[2] not in DTYPES:
        codes = ", ".join(f"{code:02x}" for code in DTYPES)
        raise DataError(
            f"{name} is neither an IDX file nor a gzip of one: it starts with {data[:4].hex(' ') or 'nothing'}, "
            f"where IDX has 00 00, a type code ({codes}) and the number of dimensions."
        )
    dtype, dimensions = DTYPES[data[2]], data[3]
    start = 4 + 4 * dimensions
    if len(data) < start:
        raise DataError(
            f"{name}: the IDX header of {dimensions} dimensions takes {start} bytes, but the file ends after "
            f"{len(data)}. Fetch it again."
        )
    shape = struct.unpack(f">{dimensions}I", data[4:start])
    return dtype, shape, start, start + math.prod(shape) * dtype.itemsize


def _compare(data: bytes | bytearray, found: int, name: str | os.PathLike[str]) -> None:
    """Hold the header's claim against the number of bytes that are `found`."""
    dtype, shape, _, expected = _header(data, name)
    if found != expected:
        fault = "it was cut short" if found < expected else f"{found - expected:,} bytes follow the array"
        raise DataError(
            f"{name}: an IDX array of shape {shape} and dtype {dtype.name} takes {expected:,} bytes, but there are "
            f"{found:,}: {fault}. Fetch the file again."
        )


def parse_idx(data: bytes | bytearray, name: str | os.PathLike[str] = "the data") -> NDArray[Any]:
    """The array in the uncompressed IDX bytes `data`; errors (`DataError`) call them `name`.

    Returns a writable array in native byte order, new or (single bytes of a bytearray) on the data. Nothing is
    allocated by what the header claims: the claim is first held against the bytes that are there.
    """
    dtype, shape, start, _ = _header(data, name)
    _compare(data, len(data), name)
    try:
        array: NDArray[Any] = np.frombuffer(data, dtype, offset=start).reshape(shape)
    except ValueError as error:  # more dimensions, or (with a size of 0 among them) larger ones, than NumPy has
        raise DataError(f"{name}: NumPy cannot hold the shape {shape} of its IDX header ({error}).") from error
    return array.astype(dtype.newbyteorder("="), copy=dtype.itemsize > 1 or not array.flags.writeable)


def write_idx(path: str | os.PathLike[str], array: NDArray[Any]) -> None:
    """Write `array` to `path` as IDX, gzipped where the name ends in `.gz`, whole or not at all.

    The same array gives the same bytes at every run: the gzip header carries no time and no name.
    Raises `DataError` for a dtype that IDX lacks, and where the file cannot be written.
    """
    array = np.asarray(array)
    code = CODES.get(array.dtype.newbyteorder("="))
    if code is None:
        known = ", ".join(dtype.name for dtype in CODES)
        raise DataError(f"{path}: IDX has no dtype {array.dtype}; convert the array to one of {known}.")
    header = bytes((0, 0, code, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape)
    data = header + array.astype(DTYPES[code]).tobytes()
    if os.fspath(path).endswith(".gz"):
        buffer = io.BytesIO()
        with gzip.GzipFile(filename="", mode="wb", compresslevel=9, fileobj=buffer, mtime=0) as file:
            file.write(data)
        data = buffer.getvalue()
    write_file(path, data)
