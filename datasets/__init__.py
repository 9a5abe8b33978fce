"""The data sets: `digits` comes with the package, `mnist` is found on the disk or downloaded.

Each has `load_data()`, which gives `((x_train, y_train), (x_test, y_test))` as Keras does: uint8
images (n, height, width) from 0 to 255 and uint8 labels (n,). `idx` reads and writes their file format.
`Augmentation` distorts images at random, for training.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..names import Names
from . import digits, idx, mnist
from .augmentation import Augmentation
from .idx import Split, read_idx, write_idx

__all__ = ["LOADERS", "Augmentation", "Split", "digits", "idx", "load", "mnist", "read_idx", "write_idx"]

LOADERS: Names[Callable[..., tuple[Split, Split]]] = Names(
    "data set", [("digits", digits.load_data), ("mnist", mnist.load_data)]
)


def load(name: str, **options: Any) -> tuple[Split, Split]:
    """The data set called `name` ("digits" or "mnist"); `options` go to its `load_data`.

    Raises `UsageError` for any other name, and `DataError` where the files are missing or damaged.
    """
    return LOADERS.named(name)(**options)
