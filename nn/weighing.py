"""Weights of samples and of classes: how much each counts in the loss, checked once before training."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from ..checks import is_number
from ..engine import backend
from ..engine.incoming import as_array
from ..engine.tensor import Tensor
from ..errors import DataError, ShapeError, UsageError
from .criterion import Loss

Shape = tuple[int, ...]


class Weighed(NamedTuple):
    """Targets, and the weights of their samples; the loss of a batch is sum(w · loss) / its number of losses."""

    targets: Any
    weights: Any


def unweighed(y: Any) -> tuple[Any, Any]:
    """The targets, and their weights, None where they have none."""
    return y if isinstance(y, Weighed) else (y, None)


def sample_weights(values: Any, count: int, output_shape: Shape, what: str) -> backend.Array:
    """One weight a sample, (n,), or one for each position of its output, (n, …) without the output's last axis.

    Raises ShapeError for another length or shape, DataError that names the first row that is negative or not finite.
    """
    weights = values._data if isinstance(values, Tensor) else as_array(values, what)
    positions = output_shape[:-1]
    shape = weights.shape[1:]
    if len(shape) > len(positions) and shape[-1:] == (1,):
        shape = shape[:-1]
    if weights.shape[:1] != (count,) or shape != positions[: len(shape)]:
        told = "".join(f" or (batch, {', '.join(map(str, positions[: n + 1]))})" for n in range(len(positions)))
        raise ShapeError(
            f"{what} has shape {weights.shape} beside {count} samples: it is one number a sample, ({count},)"
            + (f", or one for each position of its output, (batch, …):{told[3:]}." if told else ".")
        )
    xp, rows = backend.namespace_of(weights), weights.reshape(count, -1)
    wrong = (~(xp.isfinite(rows) & (rows >= 0))).any(axis=1)
    if backend.fetch(wrong.any()):
        bad = int(backend.fetch(xp.argmax(wrong)))
        raise DataError(
            f"{what} is {backend.fetch(weights[bad])} in row {bad}, the first such: a weight is a finite number, 0 or "
            "more."
        )
    return weights.reshape(count, *shape)


def class_weights(given: Any, y: backend.Array, loss: Loss, output_shape: Shape, what: str) -> backend.Array:
    """The weights of samples whose targets are classes; of a class that is not named it is 1, as in Keras.

    y: labels, one-hot rows, or one number a sample that is a class: targets as the loss takes them. Raises UsageError
    for weights of what is no class.
    """
    width = output_shape[-1] if output_shape else 1
    labels = loss.targets == "labels" or y.shape[1:] == output_shape[:-1]
    classes = width if labels or width > 1 else 2 if loss.targets == "probabilities" else None
    table = _table(given, classes)
    xp = backend.namespace_of(y)
    if not labels:
        y = xp.argmax(y, axis=-1) if width > 1 else y.reshape(y.shape[:-1] if y.ndim > 1 else y.shape)
    whole = xp.rint(y)
    if backend.fetch((whole != y).any()):
        bad = int(backend.fetch(xp.argmax((whole != y).reshape(len(y), -1).any(axis=1))))
        raise DataError(f"class_weight weighs classes, and {what}y is {backend.fetch(y[bad])} in row {bad}: no class.")
    weights = xp.ones(y.shape, "float64")
    for label, weight in table.items():
        weights[whole == label] = weight
    return weights


def _table(given: Any, classes: int | None) -> dict[int, float]:
    if not isinstance(given, Mapping):
        raise UsageError(f"class_weight is a dict such as {{0: 1.0, 1: 5.0}}, of weights by class, not {given!r}.")
    for label, weight in given.items():
        if not is_number(label) or label != int(label) or label < 0 or (classes is not None and label >= classes):
            known = f"0 … {classes - 1}" if classes is not None else "whole numbers of 0 or more"
            raise UsageError(f"class_weight has a weight for {label!r}, which is no class: they are {known}.")
        if not is_number(weight) or not 0 <= weight < math.inf:
            raise UsageError(f"class_weight[{label!r}] is {weight!r}: a weight is a finite number of 0 or more.")
    return {int(label): float(weight) for label, weight in given.items()}
