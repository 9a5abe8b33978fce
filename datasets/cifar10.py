"""CIFAR-10: 60,000 colour pictures of 32×32, in ten classes.

Source: A. Krizhevsky, "Learning multiple layers of features from tiny images", 2009,
https://www.cs.toronto.edu/~kriz/cifar.html; its binary version, of which each record is a label and the picture's
red, green and blue bytes. The archive is checked as published.
"""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Iterable

import numpy as np

from .idx import Split
from .originals import Original, Originals

MIRRORS = ("https://www.cs.toronto.edu/~kriz/",)
ORIGINALS = Originals(
    "CIFAR-10",
    "cifar10",
    {
        "cifar-10-binary.tar.gz": Original(
            170_052_171, "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"
        )
    },
)
NAMES = "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"
"""What the labels 0 … 9 mean."""
PARTS = (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch")


def load_data(
    path: str | os.PathLike[str] | None = None, *, mirrors: Iterable[str] = MIRRORS, progress: bool = True
) -> tuple[Split, Split]:
    """The data set as `((x_train, y_train), (x_test, y_test))`, all uint8 and new at each call, as Keras gives it.

    `x_train` (50000, 32, 32, 3), `y_train` (50000, 1), `x_test` (10000, 32, 32, 3), `y_test` (10000, 1). Where the
    archive is looked for, and what is raised, says `Originals.load`.
    """
    (packed,) = ORIGINALS.load(path, mirrors, progress)
    with tarfile.open(fileobj=io.BytesIO(packed), mode="r:gz") as archive:
        found = [archive.extractfile(f"cifar-10-batches-bin/{part}.bin") for part in PARTS]
        records = [np.frombuffer(file.read(), np.uint8).reshape(-1, 1 + 3 * 32 * 32) for file in found if file]
    return _split(np.concatenate(records[:-1])), _split(records[-1])


def _split(records: np.ndarray) -> Split:
    images = records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return np.ascontiguousarray(images), records[:, :1].copy()
