"""The data sets: `digits` comes with the package, the others are found on the disk or downloaded.

Each has `load_data()`, which gives `((x_train, y_train), (x_test, y_test))` as Keras does: of `digits`, `mnist` and
`fashion_mnist` uint8 images (n, height, width) from 0 to 255 and uint8 labels (n,); `cifar10` has colours, `imdb` and
`reuters` texts, `boston_housing` and
`california_housing` tables; `shakespeare.load_text()` is one long text. `idx` reads and writes MNIST's file format.
`Augmentation` distorts images at random, for training.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..names import Names
from . import cifar10, digits, fashion_mnist, idx, mnist, shakespeare
from .augmentation import Augmentation
from .corpora import imdb, reuters
from .idx import Split, read_idx, write_idx
from .tables import boston_housing, california_housing

__all__ = [
    "LOADERS", "Augmentation", "Split", "boston_housing", "california_housing", "cifar10", "digits", "fashion_mnist",
    "idx", "imdb", "load", "mnist", "read_idx", "reuters",
    "shakespeare", "write_idx",
]  # fmt: skip

LOADERS: Names[Callable[..., tuple[Split, Split]]] = Names(
    "data set",
    [("digits", digits.load_data), ("mnist", mnist.load_data)],
)


def load(name: str, **options: Any) -> tuple[Split, Split]:
    """The data set called `name` ("digits" or "mnist"); `options` go to its `load_data`.

    Raises `UsageError` for any other name, and `DataError` where the files are missing or damaged.
    """
    return LOADERS.named(name)(**options)
