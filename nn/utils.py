"""Small helpers by Keras's names."""

from __future__ import annotations

import random
from typing import Any

import numpy
import numpy.typing

from ..checks import whole
from ..datasets.folder import image_dataset_from_directory
from ..datasets.text import pad_sequences
from ..engine import backend
from ..engine import random as engine_random
from ..engine.incoming import as_array, numeric_dtype
from ..engine.tensor import Tensor
from ..errors import DataError
from .plotting import plot_model
from .sources import PyDataset

__all__ = [
    "PyDataset",
    "Sequence",
    "image_dataset_from_directory",
    "pad_sequences",
    "plot_model",
    "set_random_seed",
    "to_categorical",
]

Sequence = PyDataset
"""Keras's older name of it."""


def set_random_seed(seed: int | None) -> None:
    """Seed what is random without a seed of its own, as Keras does: Python's `random`, NumPy's old generator, models.

    Of a model that is made after it without `seed=` weights, orders and dropout follow from it, each model's its own;
    what is given a seed keeps that. It holds in the thread (context) that calls it. None undoes it for models: each has
    0 again. Raises UsageError for what is no integer of 0 or more.
    """
    engine_random.set_seed(seed)
    if seed is not None:
        random.seed(int(seed))
        numpy.random.seed(int(seed) % 2**32)


def to_categorical(labels: Any, num_classes: int | None = None, dtype: str = "float32") -> numpy.typing.NDArray[Any]:
    """Integer labels as one-hot rows: shape (…) becomes (…, num_classes), by default the greatest label + 1.

    A last axis of length 1, as labels of shape (n, 1) have it, is dropped first, as Keras does. Raises DataError where
    a label is no integer of 0 … num_classes - 1, naming the first such; DtypeError for what holds no numbers.
    """
    labels = backend.fetch(labels._data if isinstance(labels, Tensor) else as_array(labels, "labels"))
    if not labels.size:
        raise DataError(f"to_categorical takes labels, at least one; there is none in shape {labels.shape}.")
    if num_classes is not None:
        num_classes = whole("to_categorical", "num_classes", num_classes)
    if labels.ndim > 1 and labels.shape[-1] == 1:
        labels = labels[..., 0]
    classes = int(numpy.nan_to_num(labels, posinf=0).max()) + 1 if num_classes is None else num_classes
    wrong = (labels < 0) | (labels >= classes) | (labels != numpy.floor(labels))
    if wrong.any():
        row = int(numpy.argmax(wrong))
        raise DataError(f"label {labels.flat[row]} in row {row} is not an integer of 0 … {classes - 1}.")
    rows = numpy.zeros((labels.size, classes), numeric_dtype(dtype))
    rows[numpy.arange(labels.size), labels.reshape(-1).astype(numpy.int64)] = 1
    return rows.reshape((*labels.shape, classes))
