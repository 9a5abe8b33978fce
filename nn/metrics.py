"""The metrics: what `compile(metrics=…)` takes, by name, as a class, or as a function of the user's own.

Each says what a batch adds to its sums and what these come to; definitions are Keras's. Each loss is a metric, too.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field, fields, replace
from typing import Any, ClassVar

import numpy

from ..checks import whole
from ..engine import backend
from ..engine.backend import Array, Namespace
from ..engine.tensor import Tensor, tensor
from ..errors import ShapeError, unknown_name
from ..names import snake
from ..ops.activation import sigmoid
from . import losses
from .criterion import Loss
from .losses import EPSILON, LOSSES
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


# What outputs above thresholds come to


class Thresholded(Metric, abstract=True):
    """Counts of what lies above thresholds: true and false positives and negatives, all elements alike.

    class_id: that output alone. top_k: an output counts where it is among the k greatest of its sample.
    """

    targets, mode = "values", "max"

    def levels(self) -> list[float]:
        """The thresholds."""
        given = getattr(self, "thresholds", None)
        if given is None:
            return [0.5 if getattr(self, "top_k", None) is None else -1e10]
        return [float(each) for each in given] if isinstance(given, (Sequence, numpy.ndarray)) else [float(given)]

    def state(self, output_shape: Shape) -> Mapping[str, Shape]:
        count = (len(self.levels()),)
        return {"true": count, "positive": count, "true_all": (), "all": ()}

    def sums(self, xp: Namespace, y_true: Array, y_pred: Array, weights: Array = None) -> tuple[Array, ...]:
        rows, p, y = y_pred.shape[0], y_pred, y_true
        if getattr(self, "from_logits", False):
            p = sigmoid.apply(xp, p)
        if (k := getattr(self, "top_k", None)) is not None:
            p = xp.where(xp.argsort(xp.argsort(-p, axis=-1), axis=-1) < k, p, -xp.inf)
        if (chosen := getattr(self, "class_id", None)) is not None:
            p, y = p[..., chosen], y[..., chosen]
        p, y = xp.reshape(p, (rows, -1)), xp.reshape(y, (rows, -1)) > 0
        w = xp.ones_like(p) if weights is None else xp.ones_like(p) * xp.reshape(weights, (rows, -1))
        w = xp.reshape(w, (-1,))
        true = xp.where(xp.reshape(y, (-1,)), w, 0)
        above = xp.reshape(p, (-1, 1)) > xp.asarray(self.levels(), p.dtype)
        both = xp.matmul(xp.stack([true, w]), above.astype(w.dtype))
        return both[0], both[1], xp.sum(true), xp.sum(w)

    def value(self, **state: Any) -> Any:
        true, positive = state["true"], state["positive"]
        negative = state["all"] - state["true_all"]
        found = self.rate(true, positive - true, state["true_all"] - true, negative - positive + true)
        return found[0] if numpy.shape(found) == (1,) else found

    def rate(self, tp: Any, fp: Any, fn: Any, tn: Any) -> Any:
        """What the counts come to: true and false positives, false and true negatives, one a threshold."""
        raise NotImplementedError


def _share(a: Any, b: Any) -> Any:
    """a / b, and 0 where b is 0."""
    return numpy.divide(a, b, out=numpy.zeros(numpy.broadcast(a, b).shape), where=numpy.asarray(b) != 0)


class Precision(Thresholded):
    """TP / (TP + FP)."""

    thresholds: Any = None
    top_k: int | None = None
    class_id: int | None = None

    def rate(self, tp: Any, fp: Any, fn: Any, tn: Any) -> Any:
        return _share(tp, tp + fp)


class Recall(Thresholded):
    """TP / (TP + FN)."""

    thresholds: Any = None
    top_k: int | None = None
    class_id: int | None = None

    def rate(self, tp: Any, fp: Any, fn: Any, tn: Any) -> Any:
        return _share(tp, tp + fn)


class _Count(Thresholded, abstract=True):
    which: ClassVar[int]

    thresholds: Any = None

    def rate(self, *counts: Any) -> Any:
        return counts[self.which]


class TruePositives(_Count):
    """How many outputs above the threshold have a target of 1."""

    which = 0


class FalsePositives(_Count):
    """How many outputs above the threshold have a target of 0."""

    which, mode = 1, "min"


class FalseNegatives(_Count):
    """How many outputs not above the threshold have a target of 1."""

    which, mode = 2, "min"


class TrueNegatives(_Count):
    """How many outputs not above the threshold have a target of 0."""

    which = 3


class _OverThresholds(Thresholded, abstract=True):
    """Over num_thresholds from 0 to 1, at equal distances."""

    beyond: ClassVar[float] = 0.0
    num_thresholds = 200

    def levels(self) -> list[float]:
        if (given := getattr(self, "thresholds", None)) is not None:
            return [-self.beyond, *sorted(map(float, given)), 1 + self.beyond]
        count = self.num_thresholds
        return [-self.beyond, *(i / (count - 1) for i in range(1, count - 1)), 1 + self.beyond] if count > 1 else [0.5]


class AUC(_OverThresholds):
    """The area under a curve, by sums over thresholds: "ROC", recall over FP / (FP + TN); "PR", precision over recall.

    summation_method: "interpolation" (the trapezoidal rule; for PR Davis & Goadrich 2006), "minoring" or "majoring".
    """

    beyond = EPSILON

    num_thresholds: int = 200
    curve: str = "ROC"
    summation_method: str = "interpolation"
    thresholds: Any = None
    from_logits: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, known in (("curve", ("ROC", "PR")), ("summation_method", ("interpolation", "minoring", "majoring"))):
            if getattr(self, name) not in known:
                raise unknown_name(name, getattr(self, name), known)
        whole("AUC", "num_thresholds", self.num_thresholds, 2)

    def rate(self, tp: Any, fp: Any, fn: Any, tn: Any) -> Any:
        if self.curve == "PR" and self.summation_method == "interpolation":
            positive = tp + fp
            slope = _share(tp[:-1] - tp[1:], positive[:-1] - positive[1:])
            ratio = numpy.where((positive[:-1] > 0) & (positive[1:] > 0), _share(positive[:-1], positive[1:]), 1)
            area = slope * (tp[:-1] - tp[1:] + (tp[1:] - slope * positive[1:]) * numpy.log(ratio))
            return _share(area, tp[1:] + fn[1:]).sum()
        recall = _share(tp, tp + fn)
        x, y = (_share(fp, fp + tn), recall) if self.curve == "ROC" else (recall, _share(tp, tp + fp))
        height = {"interpolation": (y[:-1] + y[1:]) / 2, "minoring": numpy.minimum(y[:-1], y[1:])}
        return ((x[:-1] - x[1:]) * height.get(self.summation_method, numpy.maximum(y[:-1], y[1:]))).sum()


def _at(name: str, known: str, sought: str, told: str) -> None:
    """Declare the greatest of one rate at thresholds where another is what is asked for, or more."""

    def rate(self: Any, tp: Any, fp: Any, fn: Any, tn: Any) -> Any:
        rates = {
            "sensitivity": _share(tp, tp + fn), "specificity": _share(tn, tn + fp), "precision": _share(tp, tp + fp),
        }  # fmt: skip
        rates["recall"] = rates["sensitivity"]
        return numpy.where(rates[known] >= getattr(self, known), rates[sought], 0).max()

    types = {known: "float", "num_thresholds": "int", "class_id": "int | None"}
    places = {
        "__module__": __name__,
        "__doc__": told,
        "__annotations__": types,
        "num_thresholds": 200,
        "class_id": None,
    }
    globals()[name] = type(name, (_OverThresholds,), {**places, "rate": rate, "limits": {known: "[0, 1]"}})


_at("SensitivityAtSpecificity", "specificity", "sensitivity", "The greatest recall with TN / (TN + FP) of so much.")
_at("SpecificityAtSensitivity", "sensitivity", "specificity", "The greatest TN / (TN + FP) with recall of so much.")
_at("RecallAtPrecision", "precision", "recall", "The greatest recall with precision of so much.")
_at("PrecisionAtRecall", "recall", "precision", "The greatest precision with recall of so much.")


class FBetaScore(Metric, aliases=("fbeta_score",)):
    """(1 + β²) P R / (β² P + R) of each class, with precision P and recall R (van Rijsbergen 1979).

    average: None gives one a class, "macro" their mean, "weighted" by how often a class is, "micro" of all counts in
    one. threshold: above which an output counts; None: the greatest of each row.
    """

    targets, mode, called = "values", "max", "fbeta_score"

    average: str | None = None
    beta: float = 1.0
    threshold: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.average not in (None, "micro", "macro", "weighted"):
            raise unknown_name("average", self.average, ["micro", "macro", "weighted"])

    def state(self, output_shape: Shape) -> Mapping[str, Shape]:
        return dict.fromkeys(("tp", "fp", "fn", "weight"), output_shape[-1:])

    def sums(self, xp: Namespace, y_true: Array, y_pred: Array, weights: Array = None) -> tuple[Array, ...]:
        if self.threshold is None:
            chosen = (y_pred >= xp.max(y_pred, axis=-1, keepdims=True)) & (xp.abs(y_pred) > 1e-9)
        else:
            chosen = y_pred > self.threshold
        p, y = chosen.astype(y_pred.dtype), y_true.astype(y_pred.dtype)
        w = 1 if weights is None else xp.reshape(weights, (-1, 1))
        return tuple(xp.sum(each * w, axis=0) for each in (p * y, p * (1 - y), (1 - p) * y, y))

    def value(self, **state: Any) -> Any:
        tp, fp, fn, weight = (v.sum() if self.average == "micro" else v for v in state.values())
        precision, recall = tp / (tp + fp + EPSILON), tp / (tp + fn + EPSILON)
        score = (1 + self.beta**2) * precision * recall / (self.beta**2 * precision + recall + EPSILON)
        if self.average == "weighted":
            return (score * weight / (weight.sum() + EPSILON)).sum()
        return score.mean() if self.average else score


class F1Score(FBetaScore):
    """2 P R / (P + R), see `FBetaScore`."""

    called = "f1_score"

    beta: ClassVar[float] = 1.0  # type: ignore[misc]


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
        w = xp.ones_like(y_true) if weights is None else xp.ones_like(y_true) * xp.reshape(weights, (-1, 1))
        parts = y_true * w, y_true * y_true * w, (y_true - y_pred) ** 2 * w, w
        return *(xp.sum(part.astype("float64"), axis=0) for part in parts), xp.full((), y_true.size, "float64")

    def value(self, **state: Any) -> Any:
        total, squares, residual, count, samples = state.values()
        spread = squares - _share(total * total, count)
        scores = numpy.where(spread != 0, 1 - _share(residual, spread), 0)
        found: Any = scores
        if self.class_aggregation == "uniform_average":
            found = scores.mean()
        elif self.class_aggregation is not None:
            found = _share((spread * scores).sum(), spread.sum())
        p = self.num_regressors
        return 1 - (1 - found) * (samples - 1) / (samples - p - 1) if p and p < samples - 1 else found


class _Confusion(Metric, abstract=True):
    """How often class i was taken for class j.

    sparse_y_true, sparse_y_pred: whether they are labels; else the greatest along the last axis. ignore_class: a label
    that does not count; nor do labels beyond num_classes.
    """

    @property
    def classes(self) -> int:
        """How many classes there are."""
        return int(self.num_classes)  # type: ignore[attr-defined]

    def state(self, output_shape: Shape) -> Mapping[str, Shape]:
        return {"counts": (self.classes, self.classes)}

    def sums(self, xp: Namespace, y_true: Array, y_pred: Array, weights: Array = None) -> tuple[Array, ...]:
        y = y_true if getattr(self, "sparse_y_true", True) else xp.argmax(y_true, axis=-1)
        w = xp.ones(y.shape, "float64")
        if weights is not None:
            w = w * xp.reshape(weights, (-1, *[1] * (y.ndim - 1)))
        if (ignored := getattr(self, "ignore_class", None)) is not None:
            w = w * (y != ignored)
        y, p, w = (xp.reshape(each, (-1, 1)) for each in (y, self.labels(xp, y_pred), w))
        classes = xp.arange(self.classes)
        return (xp.matmul(xp.transpose((y == classes) * w), (p == classes).astype("float64")),)

    def labels(self, xp: Namespace, y_pred: Array) -> Array:
        """What the outputs name."""
        return y_pred if getattr(self, "sparse_y_pred", True) else xp.argmax(y_pred, axis=-1)

    def value(self, **state: Any) -> Any:
        counts = state["counts"]
        both = numpy.diag(counts)
        union = counts.sum(axis=0) + counts.sum(axis=1) - both
        chosen = [*(getattr(self, "target_class_ids", None) or range(self.classes))]
        return _share(_share(both, union)[chosen].sum(), (union[chosen] > 0).sum())


class ConfusionMatrix(_Confusion):
    """How often class i was taken for class j: a matrix of counts, as far as num_classes.

    sparse_y_true, sparse_y_pred: whether they are labels; else the greatest along the last axis counts. ignore_class: a
    label that does not count.
    """

    num_classes: int
    ignore_class: int | None = None
    sparse_y_true: bool = True
    sparse_y_pred: bool = True

    def value(self, **state: Any) -> Any:
        return state["counts"]


class IoU(_Confusion):
    """Intersection over union, TP / (TP + FP + FN): the mean over those of target_class_ids that there are.

    The other arguments are those of `ConfusionMatrix`.
    """

    mode = "max"

    num_classes: int
    target_class_ids: Sequence[int]
    ignore_class: int | None = None
    sparse_y_true: bool = True
    sparse_y_pred: bool = True


class MeanIoU(_Confusion):
    """`IoU` of all classes."""

    mode = "max"

    num_classes: int
    ignore_class: int | None = None
    sparse_y_true: bool = True
    sparse_y_pred: bool = True


class OneHotMeanIoU(MeanIoU):
    """`MeanIoU` of one-hot rows and rows of outputs."""

    sparse_y_true: bool = False
    sparse_y_pred: bool = False


class OneHotIoU(IoU):
    """`IoU` of one-hot rows and rows of outputs."""

    sparse_y_true: bool = False
    sparse_y_pred: bool = False


class BinaryIoU(_Confusion):
    """`IoU` of two classes: outputs of the threshold or more are class 1."""

    targets, mode, num_classes = "values", "max", 2

    target_class_ids: Sequence[int] = (0, 1)
    threshold: float = 0.5

    def labels(self, xp: Namespace, y_pred: Array) -> Array:
        return y_pred >= self.threshold


METRICS = Metric.kinds
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
