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
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..engine.files import replacing
from ..errors import DataError

Bytes = NDArray[np.uint8]
Split = tuple[Bytes, Bytes]  # images (n, height, width) and labels (n,)

GZIP = b"\x1f\x8b"  # the first two bytes of every gzip file (RFC 1952)

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
    return parse_idx(unpack(read_bytes(path), path), path)


def read_bytes(path: str | os.PathLike[str]) -> bytes:
    """The bytes of the file at `path`; `DataError` where it cannot be read."""
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}. Check the path and its permissions.") from error


def unpack(data: bytes, name: str | os.PathLike[str]) -> bytes:
    """`data` gunzipped if it is gzip, else as it is; `DataError` naming `name` where the gzip is damaged."""
    if data[:2] != GZIP:
        return data
    try:
        return gzip.decompress(data)
    except EOFError as error:
        raise DataError(
            f"{name}: the gzip stream stops early, after {len(data):,} bytes: the file was cut short. Fetch it again."
        ) from error
    except (gzip.BadGzipFile, zlib.error, struct.error) as error:
        raise DataError(f"{name}: the gzip stream is damaged ({error}). Fetch the file again.") from error


def parse_idx(data: bytes, name: str | os.PathLike[str] = "the data") -> NDArray[Any]:
    """The array in the uncompressed IDX bytes `data`; errors (`DataError`) call them `name`.

    Returns a new writable array in native byte order. Nothing is allocated by what the header claims:
    the claim is first held against the bytes that are there.
    """
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
    expected, found = start + math.prod(shape) * dtype.itemsize, len(data)
    if found != expected:
        fault = "it was cut short" if found < expected else f"{found - expected:,} bytes follow the array"
        raise DataError(
            f"{name}: an IDX array of shape {shape} and dtype {dtype.name} takes {expected:,} bytes, but there are "
            f"{found:,}: {fault}. Fetch the file again."
        )
    try:
        array: NDArray[Any] = np.frombuffer(data, dtype, offset=start).reshape(shape)
    except ValueError as error:  # more dimensions, or (with a size of 0 among them) larger ones, than NumPy has
        raise DataError(f"{name}: NumPy cannot hold the shape {shape} of its IDX header ({error}).") from error
    return array.astype(dtype.newbyteorder("="))


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
    with replacing(path) as temporary:
        temporary.write_bytes(data)
