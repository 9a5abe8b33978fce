"""Metrics by name: what `compile(metrics=…)` takes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..engine.backend import Array, Namespace
from ..engine.errors import UsageError, unknown_name
from .losses import Loss

MetricFunction = Callable[[Namespace, Array, Array], Array]


@dataclass(frozen=True)
class Metric:
    """A number for each batch: the mean over it of `function(xp, y_true, y_pred)`.

    on_logits: whether logits give the same as probabilities, so that softmax need not be taken for it.
    """

    name: str
    function: MetricFunction
    on_logits: bool = False


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
        Metric("categorical_accuracy", _categorical_accuracy, on_logits=True),
        Metric("sparse_categorical_accuracy", _sparse_accuracy, on_logits=True),
        Metric("binary_accuracy", _binary_accuracy),
        Metric("mean_squared_error", _squared_error),
        Metric("mean_absolute_error", _absolute_error),
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


def _accuracy_for(loss: Loss) -> Metric:
    if loss.targets == "classes":
        return Metric("accuracy", _categorical_accuracy, on_logits=True)
    if loss.targets == "labels":
        return Metric("accuracy", _sparse_accuracy, on_logits=True)
    if loss.targets == "probabilities":
        function = _binary_accuracy_on_logits if loss.from_logits else _binary_accuracy
        return Metric("accuracy", function, on_logits=loss.from_logits)
    raise UsageError(
        f"accuracy has no meaning under the loss {loss.name!r}: use a cross-entropy, or name the metric, "
        "such as 'categorical_accuracy' or 'mean_absolute_error'."
    )
