"""Tables of numbers for regression: houses of Boston and of California, as Keras gives them."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..checks import number
from .originals import Original, Originals

MIRRORS = ("https://storage.googleapis.com/tensorflow/tf-keras-datasets/",)
Floats = tuple[NDArray[np.floating[Any]], NDArray[np.floating[Any]]]


class Table:
    """A table of samples and targets in one `.npz` file, split at random into training and test."""

    def __init__(self, title: str, folder: str, file: str, original: Original, doc: str) -> None:
        self.originals = Originals(title, folder, {file: original})
        self.__doc__ = doc

    def load_data(
        self,
        path: str | os.PathLike[str] | None = None,
        test_split: float = 0.2,
        seed: int = 113,
        *,
        mirrors: Iterable[str] = MIRRORS,
        progress: bool = True,
    ) -> tuple[Floats, Floats]:
        """The table as `((x_train, y_train), (x_test, y_test))`: x (samples, columns), y (samples,), both floats.

        test_split: the share of the samples in the test, from 0 to 1. seed: of the order, which is Keras's for the
        same seed. Where the file is looked for, and what is raised, says `Originals.load`.
        """
        test_split = number("load_data", "test_split", test_split, "[0, 1)")
        (packed,) = self.originals.load(path, mirrors, progress)
        with np.load(io.BytesIO(packed), allow_pickle=False) as arrays:
            x, y = arrays["x"], arrays["y"]
        order = shuffled(len(x), np.random.RandomState(seed))
        cut = int(len(x) * (1 - test_split))
        return (x[order[:cut]], y[order[:cut]]), (x[order[cut:]], y[order[cut:]])


def shuffled(count: int, generator: np.random.RandomState) -> NDArray[np.intp]:
    """An order by NumPy's older generator, which Keras's data sets are shuffled by."""
    order = np.arange(count)
    generator.shuffle(order)
    return order


boston_housing = Table(
    "Boston housing", "boston_housing", "boston_housing.npz",
    Original(57_026, "f553886a1f8d56431e820c5b82552d9d95cfcb96d1e678153f8839538947dff5"),
    """506 districts of Boston in 13 numbers each; the median price of a house in thousands of dollars.

    Source: D. Harrison, D. Rubinfeld, "Hedonic housing prices and the demand for clean air", 1978. One of its columns,
    a share of Black people, has been criticised for what it assumes; the table is here for comparison alone.
    """,
)  # fmt: skip
california_housing = Table(
    "California housing", "california_housing", "california_housing.npz",
    Original(2_000_000, "1a2e3a52e0398de6463aebe6f4a8da34fb21fbb6b934cf88c3425e766f2a1a6f"),
    """20,640 districts of California in 8 numbers each; the median price of a house in dollars.

    Source: R. Pace, R. Barry, "Sparse spatial autoregressions", 1997.
    """,
)  # fmt: skip
