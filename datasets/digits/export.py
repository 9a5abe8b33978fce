"""Write the four files of this folder anew: `python -m chalkgrad.datasets.digits.export [FOLDER]`.

Needs `pip install scikit-learn`, which bundles the source; nothing else of chalkgrad does. The split
is fixed, so a second run gives byte-identical files.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import DataError
from ..idx import write_idx
from . import FILES

TEST_IMAGES = 360


def split(labels: NDArray[Any], test_images: int = TEST_IMAGES) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Indices (train, test) into `labels` (n,), each ascending: every class gives its share to the test.

    The shares are rounded by largest remainder, so that they add up to `test_images` exactly.
    """
    classes, counts = np.unique(labels, return_counts=True)
    exact = counts * (test_images / len(labels))
    shares = exact.astype(int)
    largest = np.argsort(shares - exact, kind="stable")[: test_images - shares.sum()]
    shares[largest] += 1
    random = np.random.RandomState(0)  # the legacy generator: NumPy has frozen its stream for good
    chosen = [
        random.permutation(np.flatnonzero(labels == label))[:share]
        for label, share in zip(classes, shares, strict=True)
    ]
    test = np.sort(np.concatenate(chosen))
    return np.setdiff1d(np.arange(len(labels)), test), test


def export(folder: Path) -> None:
    """Write the images (n, 8, 8) of 0..16 and the labels (n,), uint8, of both splits into `folder`."""
    from sklearn.datasets import load_digits  # type: ignore[import-not-found, import-untyped, unused-ignore]

    source = load_digits()
    if source.images.shape != (1797, 8, 8):
        raise DataError(f"scikit-learn gave digits of shape {source.images.shape}, not (1797, 8, 8).")
    train, test = split(source.target)
    arrays = (source.images[train], source.target[train], source.images[test], source.target[test])
    for name, array in zip(FILES, arrays, strict=True):
        write_idx(folder / name, array.astype(np.uint8))


if __name__ == "__main__":
    export(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
