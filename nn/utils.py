"""Small helpers by Keras's names."""

from __future__ import annotations

from typing import Any

import numpy
import numpy.typing

from ..engine.errors import DataError


def to_categorical(labels: Any, num_classes: int | None = None) -> numpy.typing.NDArray[Any]:
    """Integer labels as one-hot rows, float32: shape (…) becomes (…, num_classes), by default the greatest label + 1.

    Raises DataError where a label is no integer of 0 … num_classes - 1; the first such is named.
    """
    labels = numpy.asarray(labels)
    if labels.dtype.kind not in "iuf" or not labels.size:
        raise DataError(f"to_categorical takes integer labels, not {labels.dtype} of shape {labels.shape}.")
    classes = int(numpy.nan_to_num(labels).max()) + 1 if num_classes is None else num_classes
    wrong = (labels < 0) | (labels >= classes) | (labels != numpy.floor(labels))
    if wrong.any():
        row = int(numpy.argmax(wrong))
        raise DataError(f"label {labels.flat[row]} in row {row} is not an integer of 0 … {classes - 1}.")
    rows: numpy.typing.NDArray[Any] = numpy.eye(classes, dtype=numpy.float32)[labels.astype(numpy.int64)]
    return rows
