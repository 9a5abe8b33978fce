"""The metrics: what `compile(metrics=…)` takes, by name, as a class, or as a function of the user's own.

Each says what a batch adds to its sums and what these come to; definitions are Keras's. Each loss is a metric, too.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import field, fields, replace
from typing import Any, ClassVar

import numpy

from ..engine import backend
from ..engine.backend import Array, Namespace
from ..engine.tensor import Tensor, tensor
from ..errors import ShapeError
from ..names import snake
from . import losses
from .counts import AUC as AUC
from .counts import BinaryIoU as BinaryIoU
from .counts import ConfusionMatrix as ConfusionMatrix
from .counts import F1Score as F1Score
from .counts import FalseNegatives as FalseNegatives
from .counts import FalsePositives as FalsePositives
from .counts import FBetaScore as FBetaScore
from .counts import IoU as IoU
from .counts import MeanIoU as MeanIoU
from .counts import OneHotIoU as OneHotIoU
from .counts import OneHotMeanIoU as OneHotMeanIoU
from .counts import Precision as Precision
from .counts import Recall as Recall
from .counts import Thresholded as Thresholded
from .counts import TrueNegatives as TrueNegatives
from .counts import TruePositives as TruePositives
from .counts import share
from .criterion import Loss
from .losses import LOSSES
from .tally import Mean as Mean
from .tally import MeanMetric, Metric, Shape
from .tally import MeanMetricWrapper as MeanMetricWrapper
from .tally import Sum as Sum

# Means of one number a sample


class Accuracy(MeanMetric):
    """How often an output equals its target. By name, "accuracy" is the one that fits the loss, or else the shapes."""

    mode = "max"

    def values(self, xp: Namespace, y_true: Array, y_pred: Array) -> Array:
        return y_true == y_pred


class FittingAccuracy(MeanMetric, abstract=True):
    """The accuracy that fits the shapes, beside a loss of one's own: of labels, of outputs that are 0 or 1, of rows."""

    mode = "max"

    def values(self, xp: Namespace, y_true: Array, y_pred: Array) -> Array:
        kind: type[MeanMetric] = CategoricalAccuracy
        if y_true.shape == y_pred.shape[:-1] and y_pred.shape[-1] > 1:
            kind = SparseCategoricalAccuracy
        elif y_pred.ndim < 2 or y_pred.shape[-1] == 1:
            kind = BinaryAccuracy
        if kind is not SparseCategoricalAccuracy and y_true.shape != y_pred.shape:
            raise ShapeError(f"accuracy: y has shape {y_true.shape} beside outputs of shape {y_pred.shape}.")
        return kind().values(xp, y_true, y_pred)


class CategoricalAccuracy(MeanMetric):
    """How often the greatest output is that of a one-hot row."""

    targets, on_logits, mode = "classes", True, "max"

    def values(self, xp: Namespace, y_true: Array, y_pred: Array) -> Array:
        return xp.argmax(y_true, axis=-1) == xp.argmax(y_pred, axis=-1)


class SparseCategoricalAccuracy(MeanMetric):
    """How often the greatest output is that of the label."""

    targets, on_logits, mode = "labels", True, "max"

    def values(self, xp: Namespace, y_true: Array, y_pred: Array) -> Array:
        return y_true == xp.argmax(y_pred, axis=-1)


class BinaryAccuracy(MeanMetric):
    """How often an output is above the threshold where its target is above 0.5, and only there. on_logits: above 0."""

    targets, mode = "probabilities", "max"

    threshold: float = 0.5
    on_logits: bool = field(default=False, kw_only=True, repr=False)

    def values(self, xp: Namespace, y_true: Array, y_pred: Array) -> Array:
        return (y_true > 0.5) == (y_pred > (0 if self.on_logits else self.threshold))


class TopKCategoricalAccuracy(MeanMetric):
    """How often the output of a one-hot row's class is among the k greatest; equal ones count for it."""

    targets, on_logits, mode = "classes", True, "max"

    k: int = 5

    def values(self, xp: Namespace, y_true: Array, y_pred: Array) -> Array:
        own = xp.sum(xp.where(y_true == xp.max(y_true, axis=-1, keepdims=True), y_pred, 0), axis=-1, keepdims=True)
        return xp.sum(y_pred > own, axis=-1) < self.k


class SparseTopKCategoricalAccuracy(MeanMetric):
    """How often the output of the label is among the k greatest; equal ones count for it."""

    targets, on_logits, mode = "labels", True, "max"

    k: int = 5

    def values(self, xp: Namespace, y_true: Array, y_pred: Array) -> Array:
        own = xp.take_along_axis(y_pred, y_true.astype("int64")[..., None], axis=-1)
        return xp.sum(y_pred > own, axis=-1) < self.k


class RootMeanSquaredError(MeanMetric, aliases=("rmse",)):
    """The root of the mean of (ŷ - y)²."""

    targets, mode = "values", "min"

    def values(self, xp: Namespace, y_true: Array, y_pred: Array) -> Array:
        return (y_pred - y_true) ** 2

    def of_mean(self, mean: Any) -> Any:
        return mean**0.5


class LossMetric(MeanMetric, abstract=True):
    """The mean of a loss; see there for the equation and the arguments."""

    mode = "min"
    loss: ClassVar[type[Loss]]
    sign: ClassVar[int] = 1

    def _loss(self) -> Loss:
        own = {each.name for each in fields(self.loss)} - {"name", "reduction"}
        return self.loss(**{name: each for name, each in self.get_config().items() if name in own})

    def values(self, xp: Namespace, y_true: Array, y_pred: Array) -> Array:
        return self.sign * replace(self._loss(), reduction=None)(Tensor(y_true), Tensor(y_pred))._data

    def mean(self, xp: Namespace, y_true: Array, y_pred: Array) -> Array:
        mean = self._loss()(Tensor(y_true), Tensor(y_pred))._data
        return mean if self.sign == 1 else -mean


def _of_loss(kind: type[Loss]) -> None:
    """Make a loss a metric: CosineSimilarity with the other sign, LogCosh as LogCoshError, as Keras has them."""
    name = {"LogCosh": "LogCoshError"}.get(kind.__name__, kind.__name__)
    taken = [each for each in fields(kind) if each.name not in ("name", "reduction")]
    cosine = kind.__name__ == "CosineSimilarity"
    places: dict[str, Any] = {
        "__module__": __name__, "__qualname__": name, "__doc__": kind.__doc__, "loss": kind, "targets": kind.targets,
        "__annotations__": {each.name: each.type for each in taken}, **{each.name: each.default for each in taken},
        "called": "logcosh" if name == "LogCoshError" else "", "sign": -1 if cosine else 1,
        "mode": "max" if cosine else "min",
    }  # fmt: skip
    aliases = [alias for alias, of in LOSSES.aliases.items() if of == snake(kind.__name__)]
    globals()[name] = type(name, (LossMetric,), places, aliases=tuple(aliases))


for _kind in [*LOSSES.values()]:
    _of_loss(_kind)


class R2Score(Metric):
    """1 - Σ (y - ŷ)² / Σ (y - ȳ)² of each output, and then their mean (Glantz & Slinker 1990).

    class_aggregation: "uniform_average", "variance_weighted_average", or None for one an output. num_regressors: as
    many independent variables the score is adjusted for.
    """

    targets, mode = "values", "max"

    class_aggregation: str | None = "uniform_average"
    num_regressors: int = 0

    def state(self, output_shape: Shape) -> Mapping[str, Shape]:
        return {**dict.fromkeys(("total", "squares", "residual", "count"), output_shape[-1:]), "samples": ()}

    def sums(self, xp: Namespace, y_true: Array, y_pred: Array, weights: Array = None) -> tuple[Array, ...]:
        y, p = (
            each.astype("float64") for each in (y_true, y_pred)
        )  # before the squares, of which differences are taken
        w = xp.ones_like(y) if weights is None else xp.ones_like(y) * xp.reshape(weights, (-1, 1))
        parts = y * w, y * y * w, (y - p) ** 2 * w, w
        return *(xp.sum(part, axis=0) for part in parts), xp.full((), y.size, "float64")

    def value(self, **state: Any) -> Any:
        total, squares, residual, count, samples = state.values()
        spread = squares - share(total * total, count)
        spread = numpy.where(spread > 1e-14 * squares, spread, 0)  # of equal targets it is but rounding
        scores = numpy.where(spread != 0, 1 - share(residual, spread), 0)
        found: Any = scores
        if self.class_aggregation == "uniform_average":
            found = scores.mean()
        elif self.class_aggregation is not None:
            found = share((spread * scores).sum(), spread.sum())
        p = self.num_regressors
        return 1 - (1 - found) * (samples - 1) / (samples - p - 1) if p and p < samples - 1 else found


METRICS = Metric.kinds
globals().update({kind.__name__: kind for kind in METRICS.values()})  # those that are made by a table
"""Their classes by name; "accuracy" is the one that fits the loss."""
METRICS.aliases["acc"] = "accuracy"


def get(value: Any) -> Any:
    """The metric of a name, a class, a configuration or a function, or itself."""
    return None if value is None else Metric.of(value)


def __getattr__(name: str) -> Callable[..., Any]:
    """The function of a metric that is a mean, by its name: what it gives for each sample."""
    kind = METRICS.get(METRICS.aliases.get(name.lower(), name))
    if kind is not None and issubclass(kind, MeanMetric) and not issubclass(kind, LossMetric):
        return _function(kind)  # type: ignore[arg-type]
    try:
        return losses.__getattr__(name)
    except AttributeError:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}: {METRICS.unknown(snake(name))}") from None


@functools.cache
def _function(kind: type[MeanMetric]) -> Callable[..., Tensor]:
    def function(y_true: Any, y_pred: Any, **options: Any) -> Tensor:
        y, p = (each if isinstance(each, Tensor) else tensor(each) for each in (y_true, y_pred))
        values = kind(**options).values(backend.namespace_of(p._data), y._data, p._data)
        return Tensor(values.astype(p.dtype))

    function.__name__, function.__doc__, function.piece = snake(kind.__name__), kind.__doc__, kind  # type: ignore[attr-defined]
    return function
