"""MNIST: 70,000 handwritten digits of 28×28, from a folder of yours, the cache, or a download.

Source: Y. LeCun, C. Cortes, C. Burges, "The MNIST database of handwritten digits",
http://yann.lecun.com/exdb/mnist/. What is checked is the SHA-256 of the uncompressed bytes, so it does
not matter who compressed a file, or how.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from .idx import Split, parse_idx
from .originals import Idx, Original

MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)
ORIGINALS = Idx(
    "MNIST",
    "mnist",
    {
        "train-images-idx3-ubyte": Original(
            47_040_016, "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"
        ),
        "train-labels-idx1-ubyte": Original(60_008, "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"),
        "t10k-images-idx3-ubyte": Original(
            7_840_016, "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"
        ),
        "t10k-labels-idx1-ubyte": Original(10_008, "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"),
    },
)


def load_data(
    path: str | os.PathLike[str] | None = None, *, mirrors: Iterable[str] = MIRRORS, progress: bool = True
) -> tuple[Split, Split]:
    """MNIST as `((x_train, y_train), (x_test, y_test))`, all uint8 and new at each call, as Keras gives it.

    `x_train` (60000, 28, 28), `y_train` (60000,), `x_test` (10000, 28, 28), `y_test` (10000,); ink from
    0 to 255, labels 0..9. The four files may be plain or `.gz`. Where they are looked for, and what is raised, says
    `Originals.load`.
    """
    x_train, y_train, x_test, y_test = (parse_idx(data) for data in ORIGINALS.load(path, mirrors, progress))
    return (x_train, y_train), (x_test, y_test)
