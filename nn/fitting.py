"""Which metric fits which loss, targets and outputs, and what is told where none does."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from ..engine import backend
from ..engine.backend import Array
from ..errors import DataError, ShapeError, UsageError
from ..names import is_ours
from .criterion import Loss
from .metrics import METRICS, BinaryAccuracy, FittingAccuracy
from .tally import MeanMetricWrapper, Metric

FITTING = {
    "classes": "categorical_accuracy", "labels": "sparse_categorical_accuracy", "probabilities": "binary_accuracy",
}  # fmt: skip
"""The accuracy that goes with each kind of targets."""
TAKES = {
    "classes": "one-hot rows",
    "labels": "integer labels",
    "probabilities": "targets of 0 and 1, each beside an output of its own",
    "values": "targets of the outputs' shape",
}
FOREIGN = {
    "classes": ("labels", "probabilities"),
    "labels": ("classes", "probabilities", "values"),
    "probabilities": ("labels",),
    "values": ("labels",),
}
"""By the targets of a loss: what a metric can not take them for."""


def make_metric(value: Any, loss: Loss) -> Metric:
    """A metric of its name ("accuracy" is the one that fits the loss), its class, itself, or a function of one's own.

    A function takes (xp, y_true, y_pred), xp being NumPy or CuPy, or in Keras's way the tensors (y_true, y_pred). A
    name is what logs call it, as in Keras. Raises UsageError for a name that is none, a function that cannot be called
    so, and a metric that takes other targets than the loss.
    """
    if isinstance(value, Loss):
        raise UsageError(f"the loss {value.name!r} is no metric: name one, such as {[*METRICS][:5]}.")
    if isinstance(value, str) and value.lower() in ("accuracy", "acc"):
        if loss.targets == "any":
            return FittingAccuracy(name=value)
        if loss.targets not in FITTING:
            raise UsageError(
                f"accuracy has no meaning under the loss {loss.name!r}: use a cross-entropy, or name the metric, "
                "such as 'categorical_accuracy' or 'mean_absolute_error'."
            )
        return _under(loss, METRICS[FITTING[loss.targets]](name=value))
    if (kind := getattr(value, "piece", None)) is not None:  # the function of a loss
        if not issubclass(kind, Metric):
            kind = next(known for known in METRICS.values() if getattr(known, "loss", None) is kind)
        return _under(loss, kind(name=value.__name__))
    made: Metric = Metric.of(value)
    return _under(loss, replace(made, name=value) if isinstance(value, str) and _is_ours(made) else made)


def _is_ours(metric: Metric) -> bool:
    return is_ours(type(metric)) and not isinstance(metric, MeanMetricWrapper)


def _under(loss: Loss, metric: Metric) -> Metric:
    """The metric as it is computed under this loss; refused where they take different targets."""
    if metric.targets in FOREIGN.get(loss.targets, ()):
        raise UsageError(
            f"the metric {metric.name!r} takes {TAKES[metric.targets]}, the loss {loss.name!r} takes "
            f"{TAKES[loss.targets]}: {_way_out(loss)}."
        )
    if isinstance(metric, BinaryAccuracy) and metric.threshold == 0.5:
        found = replace(metric, on_logits=loss.from_logits)
        found._set(weighted=metric.weighted)
        return found
    return metric


def check_metric(metric: Metric, loss: Loss, y: Array, output_shape: tuple[int, ...], ending: str) -> None:
    """Raise where a metric of ours would give a number that means nothing for these targets and outputs.

    y: the targets as they are compared. ending: the activation of the outputs, as `forward.ending` says it.
    """
    kind, width = metric.targets, output_shape[-1] if output_shape else 1
    if kind == "any":
        return
    fits = y.shape[1:] == (output_shape[:-1] if kind == "labels" else output_shape)
    if kind == "labels":
        fits = fits and bool(output_shape) and y.dtype.kind in "iu"
    if kind == "classes":
        fits = fits and width > 1
    if not fits:
        found = ""
        if y.shape[1:] == output_shape:
            found = FITTING["probabilities" if width == 1 else "classes"]
        elif y.shape[1:] == output_shape[:-1]:
            found = FITTING["labels"]
        squeezed = " Take y[..., 0]." if kind == "labels" and y.shape[1:] == (*output_shape[:-1], 1) else ""
        raise ShapeError(
            f"the metric {metric.name!r} takes {TAKES[kind]}, but y has shape {y.shape} and dtype {y.dtype} beside "
            f"outputs of shape (batch, {', '.join(map(str, output_shape))})"
            + (f": use {found!r}." if found and found != metric.name else f".{squeezed}")
        )
    if kind == "probabilities":
        _check_binary(metric, loss, y, width, ending)
    if kind == "classes":
        several = (y == y.max(axis=-1, keepdims=True)).sum(axis=-1) != 1
        if loss.targets == "classes":  # where rows are probabilities, two may be equal by chance
            several &= y.sum(axis=-1) > 1.5
        _refuse_rows(several, y, f"the metric {metric.name!r} takes one-hot rows, each with one greatest element")


def _check_binary(metric: Metric, loss: Loss, y: Array, width: int, ending: str) -> None:
    if ending == "softmax" and width > 1:
        raise UsageError(
            f"the metric {metric.name!r} counts each output by itself, but those of softmax are the probabilities of "
            f"{width} classes that exclude each other: use 'categorical_accuracy', or end with 'sigmoid'."
        )
    if ending == "linear" and not loss.from_logits and loss.targets != "values":
        raise UsageError(
            f"the metric {metric.name!r} compares probabilities with 0.5, but the last layer is linear, so that its "
            "outputs are logits: let it apply 'sigmoid', or use BinaryCrossentropy(from_logits=True)."
        )
    if loss.targets != "probabilities":
        _refuse_rows((y < 0) | (y > 1), y, f"the metric {metric.name!r} takes targets of 0 and 1")


def _refuse_rows(wrong: Array, y: Array, what: str) -> None:
    xp = backend.namespace_of(wrong)
    rows = wrong.reshape(len(y), -1).any(axis=1)
    if backend.fetch(rows.any()):
        bad = int(backend.fetch(xp.argmax(rows)))
        raise DataError(f"{what}; y in row {bad}, the first such, is {backend.fetch(y[bad])}.")


def _way_out(loss: Loss) -> str:
    if loss.targets in FITTING:
        return f"use 'accuracy' or {FITTING[loss.targets]!r}"
    return "use 'sparse_categorical_crossentropy' as the loss, or 'categorical_accuracy' with one-hot rows"


def without_prefix(name: str) -> str:
    """The name of a number in an epoch's logs without the prefix that tells of which samples it is."""
    return next((name.removeprefix(prefix) for prefix in ("val_", "train_") if name.startswith(prefix)), name)


def mode_of(name: str, metrics: Iterable[Metric] = ()) -> str | None:
    """Whether the number of that name in an epoch's logs is to rise ("max") or to fall ("min"); None: not known.

    metrics: those of the model, which may know it of themselves. The prefixes val_ and train_ change nothing.
    """
    base = without_prefix(name)
    declared = next((metric.mode for metric in metrics if metric.name == base), None)
    known = {"loss": "min", "accuracy": "max", "acc": "max"}
    if base not in known and (kind := METRICS.get(METRICS.aliases.get(base, base))):
        known[base] = kind.mode
    return declared or known.get(base)
