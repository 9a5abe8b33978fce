"""Metrics that count: what lies above thresholds, how often a class is found, what is taken for what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy

from ..checks import whole
from ..engine.backend import Array, Namespace
from ..errors import unknown_name
from ..ops.activation import sigmoid
from .losses import EPSILON
from .tally import Metric, Shape

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


def share(a: Any, b: Any) -> Any:
    """a / b, and 0 where b is 0."""
    return numpy.divide(a, b, out=numpy.zeros(numpy.broadcast(a, b).shape), where=numpy.asarray(b) != 0)


class Precision(Thresholded):
    """TP / (TP + FP)."""

    thresholds: Any = None
    top_k: int | None = None
    class_id: int | None = None

    def rate(self, tp: Any, fp: Any, fn: Any, tn: Any) -> Any:
        return share(tp, tp + fp)


class Recall(Thresholded):
    """TP / (TP + FN)."""

    thresholds: Any = None
    top_k: int | None = None
    class_id: int | None = None

    def rate(self, tp: Any, fp: Any, fn: Any, tn: Any) -> Any:
        return share(tp, tp + fn)


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
            slope = share(tp[:-1] - tp[1:], positive[:-1] - positive[1:])
            ratio = numpy.where((positive[:-1] > 0) & (positive[1:] > 0), share(positive[:-1], positive[1:]), 1)
            area = slope * (tp[:-1] - tp[1:] + (tp[1:] - slope * positive[1:]) * numpy.log(ratio))
            return share(area, tp[1:] + fn[1:]).sum()
        recall = share(tp, tp + fn)
        x, y = (share(fp, fp + tn), recall) if self.curve == "ROC" else (recall, share(tp, tp + fp))
        height = {"interpolation": (y[:-1] + y[1:]) / 2, "minoring": numpy.minimum(y[:-1], y[1:])}
        return ((x[:-1] - x[1:]) * height.get(self.summation_method, numpy.maximum(y[:-1], y[1:]))).sum()


def _at(name: str, known: str, sought: str, told: str) -> None:
    """Declare the greatest of one rate at thresholds where another is what is asked for, or more."""

    def rate(self: Any, tp: Any, fp: Any, fn: Any, tn: Any) -> Any:
        rates = {
            "sensitivity": share(tp, tp + fn), "specificity": share(tn, tn + fp), "precision": share(tp, tp + fp),
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
        return share(share(both, union)[chosen].sum(), (union[chosen] > 0).sum())


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
