"""Metrics by name: what `compile(metrics=…)` takes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from ..engine.backend import Array, Namespace
from ..engine.errors import UsageError, unknown_name
from .losses import Loss

MetricFunction = Callable[[Namespace, Array, Array], Array]


@dataclass(frozen=True)
class Metric:
    """A number for each batch: the mean over it of `function(xp, y_true, y_pred)`.

    on_logits: whether logits give the same as probabilities, so that softmax need not be taken for it.
    mode: "max" where more is better, "min" where less is, None where that is not known.
    """

    name: str
    function: MetricFunction
    on_logits: bool = False
    mode: str | None = None


def _categorical_accuracy(xp: Namespace, y_true: Array, y_pred: Array) -> Array:
    return xp.mean(xp.argmax(y_true, axis=-1) == xp.argmax(y_pred, axis=-1))


def _sparse_accuracy(xp: Namespace, labels: Array, y_pred: Array) -> Array:
    return xp.mean(labels == xp.argmax(y_pred, axis=-1))


def _binary_accuracy(xp: Namespace, y_true: Array, y_pred: Array) -> Array:
    return xp.mean((y_true > 0.5) == (y_pred > 0.5))


def _binary_accuracy_on_logits(xp: Namespace, y_true: Array, z: Array) -> Array:
    return xp.mean((y_true > 0.5) == (z > 0))


def _squared_error(xp: Namespace, y_true: Array, y_pred: Array) -> Array:
    return xp.mean((y_pred - y_true) ** 2)


def _absolute_error(xp: Namespace, y_true: Array, y_pred: Array) -> Array:
    return xp.mean(xp.abs(y_pred - y_true))


METRICS = {
    metric.name: metric
    for metric in (
        Metric("categorical_accuracy", _categorical_accuracy, on_logits=True, mode="max"),
        Metric("sparse_categorical_accuracy", _sparse_accuracy, on_logits=True, mode="max"),
        Metric("binary_accuracy", _binary_accuracy, mode="max"),
        Metric("mean_squared_error", _squared_error, mode="min"),
        Metric("mean_absolute_error", _absolute_error, mode="min"),
    )
}
ALIASES = {"mse": "mean_squared_error", "mae": "mean_absolute_error", "acc": "accuracy"}


def make_metric(value: str | Metric | MetricFunction, loss: Loss) -> Metric:
    """A metric of its name ("accuracy" is the one that fits the loss), of itself, or of a function."""
    if isinstance(value, Metric):
        return value
    if callable(value):
        return Metric(getattr(value, "__name__", "metric"), value)
    name = ALIASES.get(value, value)
    if name == "accuracy":
        return _accuracy_for(loss)
    if name not in METRICS:
        raise unknown_name("metric", value, [*METRICS, *ALIASES, "accuracy"])
    return METRICS[name]


def without_prefix(name: str) -> str:
    """The name of a number in an epoch's logs without the prefix that tells of which samples it is."""
    return next((name.removeprefix(prefix) for prefix in ("val_", "train_") if name.startswith(prefix)), name)


def mode_of(name: str, metrics: Iterable[Metric] = ()) -> str | None:
    """Whether the number of that name in an epoch's logs is to rise ("max") or to fall ("min"); None: not known.

    metrics: those of the model, which may know it of themselves. The prefixes val_ and train_ change nothing.
    """
    base = without_prefix(name)
    declared = next((metric.mode for metric in metrics if metric.name == base), None)
    base = ALIASES.get(base, base)
    known = {"loss": "min", "accuracy": "max"} | {own.name: own.mode for own in METRICS.values()}
    return declared or known.get(base)


def _accuracy_for(loss: Loss) -> Metric:
    if loss.targets == "classes":
        return Metric("accuracy", _categorical_accuracy, on_logits=True, mode="max")
    if loss.targets == "labels":
        return Metric("accuracy", _sparse_accuracy, on_logits=True, mode="max")
    if loss.targets == "probabilities":
        function = _binary_accuracy_on_logits if loss.from_logits else _binary_accuracy
        return Metric("accuracy", function, on_logits=loss.from_logits, mode="max")
    raise UsageError(
        f"accuracy has no meaning under the loss {loss.name!r}: use a cross-entropy, or name the metric, "
        "such as 'categorical_accuracy' or 'mean_absolute_error'."
    )
