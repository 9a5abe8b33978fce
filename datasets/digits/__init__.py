"""The 8×8 digits that come with chalkgrad: 1,797 handwritten digits, no download.

Source: E. Alpaydin, C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning
Repository, 1998, doi:10.24432/C50P49, CC BY 4.0. README.md beside this file says what was done to it.
"""

from __future__ import annotations

import hashlib
import io

import numpy as np

from ...errors import DataError
from ..idx import Bytes, Split, parse_idx, unpack

# The shape of each file and the SHA-256 of its uncompressed bytes, in the order of `load_data`.
FILES: dict[str, tuple[tuple[int, ...], str]] = {
    "train-images-idx3-ubyte.gz": ((1437, 8, 8), "28bd5b57a0583ecf0e24383731581fa15c08b2cdce0e671e5e263fa0b288face"),
    "train-labels-idx1-ubyte.gz": ((1437,), "f40ab9e16ca0ac6f91fc741744a619b65fda44d0c87cbfc282a9a5047cee4e1d"),
    "test-images-idx3-ubyte.gz": ((360, 8, 8), "bd8b96df7024f1f52c5a7c1f3ddd20767acb0fef2b3792fa0b4bdd33c90b4bd1"),
    "test-labels-idx1-ubyte.gz": ((360,), "d3b27c923f9c53f8099c3575949b0908a18364d7e812ff4d117ee245f3a127e6"),
}


def load_data() -> tuple[Split, Split]:
    """The digits as `((x_train, y_train), (x_test, y_test))`, all uint8 and new at each call.

    `x_train` (1437, 8, 8), `y_train` (1437,), `x_test` (360, 8, 8), `y_test` (360,); the labels are
    0..9. The files hold ink from 0 to 16; it is scaled to 0..255 (17 values, none merged) so that the
    `/ 255` of MNIST fits this data set too. Raises `DataError` where the installed files are damaged.
    """
    x_train, y_train, x_test, y_test = map(_read, FILES)
    return (_scaled(x_train), y_train), (_scaled(x_test), y_test)


def _scaled(ink: Bytes) -> Bytes:
    return np.round(ink * (255 / 16)).astype(np.uint8)


def _read(name: str) -> Bytes:
    from importlib import resources  # finds the file in a folder and in a zip alike

    shape, sha256 = FILES[name]
    try:
        packed = resources.files(__package__).joinpath(name).read_bytes()
        data = unpack(io.BytesIO(packed), len(packed), name)
        array = parse_idx(data, name)
    except (OSError, DataError) as error:
        raise DataError(f"the digits that come with chalkgrad are damaged; reinstall chalkgrad. {error}") from error
    found = hashlib.sha256(data).hexdigest()
    if array.shape != shape or found != sha256:
        raise DataError(
            f"the digits that come with chalkgrad are damaged; reinstall chalkgrad. {name} has shape {array.shape} "
            f"and SHA-256 {found}, not {shape} and {sha256}."
        )
    return array
