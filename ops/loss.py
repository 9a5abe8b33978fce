"""Losses: each a single number, the mean over the batch. They refuse shapes that would only broadcast."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy

from ..engine.blocks import by_rows
from ..engine.cuda.launch import ByRow
from ..engine.cuda.sources import source
from ..engine.primitive import example, primitive
from ..errors import DataError, ShapeError
from .activation import log_softmax, sigmoid, softmax
from .creation import one_hot
from .special import product

FEW = 32
"""Classes; below that, comparing all with the label is faster than to go to its place."""


def check_same_shape(name: str, first: str, a: Any, second: str, b: Any) -> None:
    """Raise ShapeError, naming both, where a loss is asked to compare arrays of different shapes, or of none."""
    if getattr(a, "shape", None) != getattr(b, "shape", None):
        raise ShapeError(
            f"{name} compares element with element: {first} has shape {getattr(a, 'shape', ())}, {second} has shape "
            f"{getattr(b, 'shape', ())}. Reshape one of them, for instance with .reshape(-1, 1)."
        )
    if not a.size:
        raise ShapeError(f"{name} of no elements: {first} and {second} have shape {a.shape}.")


@primitive(
    "loss = mean((y_pred[n] - y_true[n])**2, n)",
    saves=("y_pred", "y_true"),
    analytic=True,
    examples=(example((3, 4), (3, 4)), example((5,), (5,))),
)
def mean_squared_error(y_pred, y_true):
    """Mean over every element of the squared difference (D10)."""


mean_squared_error.onnx(lambda xp, y_pred, y_true: xp.mean(xp.square(y_pred - y_true)))


@mean_squared_error.check
def _(y_pred, y_true):
    check_same_shape("mean_squared_error", "y_pred", y_pred, "y_true", y_true)


mean_squared_error.vjp("y_pred", "gy_pred[n] = gloss * 2 * (y_pred[n] - y_true[n]) / y_pred.size")
mean_squared_error.vjp("y_true", "gy_true[n] = gloss * 2 * (y_true[n] - y_pred[n]) / y_pred.size")


@primitive(
    "loss = mean(log(1 + exp(logits[n])) - targets[n] * logits[n], n)",
    saves=("logits", "targets"),
    domain={"logits": (-30, 30), "targets": (0, 1)},
    examples=(example((3, 4), (3, 4)), example((5,), (5,))),
)
def binary_cross_entropy(xp, logits, targets):
    """Mean cross-entropy of sigmoid(logits) with targets in [0, 1]: -t log p - (1 - t) log(1 - p), fused and stable.

    0 · log 0 is 0: a logit of ±∞ costs nothing where the target is on its side.
    """
    size = xp.abs(logits)
    missed = xp.where(logits < 0, targets, 1 - targets)  # how much of the target lies on the other side
    return xp.mean(product(xp, missed, size) + xp.log1p(xp.exp(-size)))


binary_cross_entropy.onnx(binary_cross_entropy.kernel)


@binary_cross_entropy.check
def _(logits, targets):
    check_same_shape("binary_cross_entropy", "logits", logits, "targets", targets)


@binary_cross_entropy.vjp("logits", "glogits[n] = gloss * (1 / (1 + exp(-logits[n])) - targets[n]) / logits.size")
def _(xp, gloss, logits, targets):
    return gloss * ((sigmoid.apply(xp, logits) - targets) * (1 / logits.size))


binary_cross_entropy.vjp("targets", "gtargets[n] = -gloss * logits[n] / logits.size")


@primitive(
    "loss = mean(sum(targets[..., k] * (log(sum(exp(logits[..., j]), j)) - logits[..., k]), k), ...)",
    saves=("logits", "targets"),
    domain={"logits": (-30, 30), "targets": (0, 1)},
    examples=(example((3, 4), (3, 4)), example((2, 3, 4), (2, 3, 4))),
)
def categorical_cross_entropy(xp, logits, targets):
    """Mean cross-entropy of softmax(logits) with rows of probabilities, -Σ t log p. logits, targets: (…, classes).

    A target of 0 costs nothing, also where p is 0 since the logit is -∞.
    """
    return xp.sum(by_rows(xp, _weighted_surprise, logits, targets)) / _rows(logits)


categorical_cross_entropy.onnx(categorical_cross_entropy.kernel)


@categorical_cross_entropy.check
def _(logits, targets):
    check_same_shape("categorical_cross_entropy", "logits", logits, "targets", targets)


@categorical_cross_entropy.vjp(
    "logits",
    "p[..., k] = exp(logits[..., k]) / sum(exp(logits[..., j]), j); "
    "glogits[..., k] = gloss * (p[..., k] * sum(targets[..., i], i) - targets[..., k]) / sum(1, ...)",
)
def _(xp, gloss, logits, targets):
    share = 1 / _rows(logits)

    def gradient(xp, logits, targets):
        difference = softmax.apply(xp, logits) * xp.sum(targets, axis=-1, keepdims=True) - targets
        return gloss * (difference * share)

    return by_rows(xp, gradient, logits, targets)


@categorical_cross_entropy.vjp(
    "targets", "gtargets[..., k] = gloss * (log(sum(exp(logits[..., j]), j)) - logits[..., k]) / sum(1, ...)"
)
def _(xp, gloss, logits):
    return gloss * (-log_softmax.apply(xp, logits) * (1 / _rows(logits)))


@primitive(
    "loss = mean(log(sum(exp(logits[..., j]), j)) - logits[..., labels[...]], ...)",
    saves=("logits", "labels"),
    domain={"logits": (-30, 30), "labels": range(4)},
    examples=(example((3, 4), (3,)), example((2, 3, 4), (2, 3))),
)
def sparse_categorical_cross_entropy(xp, logits, labels):
    """Mean cross-entropy of softmax(logits) with integer labels, -log p[label]. logits: (…, classes), labels: (…)."""
    return xp.mean(by_rows(xp, _surprise_of_labels, logits, labels))


@sparse_categorical_cross_entropy.onnx
def _(xp, logits, labels):
    chosen = xp.where(one_hot.apply(xp, labels, classes=logits.shape[-1]), log_softmax.apply(xp, logits), 0.0)
    return -xp.mean(xp.sum(chosen, axis=-1))


@sparse_categorical_cross_entropy.check
def _(logits, labels):
    if logits.shape[:-1] != labels.shape or labels.dtype.kind not in "iu":
        raise ShapeError(
            f"sparse_categorical_cross_entropy takes logits of shape (…, classes) and integer labels of shape (…), not "
            f"{logits.shape} and {labels.dtype} {labels.shape}. One-hot rows go to categorical_cross_entropy."
        )
    if not labels.size:
        raise ShapeError(f"sparse_categorical_cross_entropy of no rows: logits have shape {logits.shape}.")


@sparse_categorical_cross_entropy.check_values
def _(logits, labels):
    classes = logits.shape[-1]
    if not (labels.min() >= 0 and labels.max() < classes):
        row = int(((labels < 0) | (labels >= classes)).reshape(-1).argmax())
        raise DataError(f"label {labels.flat[row]} in row {row}, the first such, is none of the {classes} classes.")


@sparse_categorical_cross_entropy.vjp(
    "logits",
    "p[..., k] = exp(logits[..., k]) / sum(exp(logits[..., j]), j); "
    "glogits[..., k] = gloss * (p[..., k] - (1 if k == labels[...] else 0)) / sum(1, ...)",
)
def _(xp, gloss, logits, labels):
    share = 1 / _rows(logits)

    def gradient(xp, logits, labels):
        return gloss * (_less_one_hot(xp, softmax.apply(xp, logits), labels) * share)

    return by_rows(xp, gradient, logits, labels)


def _less_one_hot(xp, p, labels):
    """p with 1 less in the place of each row's label. p may be overwritten."""
    if xp is not numpy or p.shape[-1] < FEW or not p.flags.c_contiguous:
        return p - one_hot.apply(xp, labels, classes=p.shape[-1])
    p.reshape(-1)[_places(xp, p, labels)] -= 1  # the same bits: p - 0 is p
    return p


SOURCE = source(Path(__file__).with_suffix(".cu"))
ROWS, THREADS = 8, 256
"""Of a block of the source's kernels: a warp for each row."""


def _suits(logits, targets):
    """Whether the rows are for the kernels of loss.cu."""
    fitting = targets.dtype == (logits.dtype if targets.ndim == logits.ndim else "int64")
    return bool(logits.dtype.name in ("float32", "float64") and logits.size and fitting)


def _launch(gpu, name, logits, targets, gloss, out):
    """Launch the loss, or with gloss its gradient, of targets that are labels or rows of probabilities."""
    labels = targets if targets.ndim < logits.ndim else None
    rows, arrays = math.prod(logits.shape[:-1]), [logits, None if labels is not None else targets, labels]
    arrays = [None if x is None else gpu.xp.ascontiguousarray(x) for x in arrays]
    blocks = max(1, min(-(-rows // ROWS), 4 * gpu.multiprocessors))
    partial = [gpu.xp.empty(blocks, logits.dtype), gpu.arrived] if gloss is None else []
    arrays += [out] if gloss is None else [gpu.xp.ascontiguousarray(gloss), out]
    sizes = numpy.int64(rows), numpy.int32(logits.shape[-1])
    gpu.launch(SOURCE, name, (blocks,), (THREADS,), *arrays, *partial, *sizes, REAL=logits.dtype)
    return out


def _loss_launch(gpu, logits, targets, out=None):
    out = gpu.xp.empty((), logits.dtype) if out is None else out
    return _launch(gpu, "softmax_cross_entropy", logits, targets, None, out)


def _gradient_launch(gpu, gloss, logits, targets, out=None):
    out = gpu.xp.empty(logits.shape, logits.dtype) if out is None else out
    return _launch(gpu, "softmax_cross_entropy_gradient", logits, targets, gloss, out)


for _fused in (categorical_cross_entropy, sparse_categorical_cross_entropy):
    _fused.cuda(suits=_suits)(_loss_launch).by_row = ByRow(SOURCE, "surprise_of_row", mean=True)
    _gradient = _fused.cuda("logits", suits=lambda gloss, logits, targets: _suits(logits, targets))(_gradient_launch)
    _gradient.by_row = ByRow(SOURCE, "gradient_of_row", mean=False, rows=1)


def _surprise(xp, logits):
    """-log softmax(logits) along the last axis."""
    shifted = logits - xp.max(logits, axis=-1, keepdims=True)
    return xp.log(xp.sum(xp.exp(shifted), axis=-1, keepdims=True)) - shifted


def _weighted_surprise(xp, logits, targets):
    return product(xp, targets, _surprise(xp, logits))


def _surprise_of_labels(xp, logits, labels):
    chosen = xp.take(xp.reshape(logits, (-1,)), _places(xp, logits, labels), mode="clip")
    greatest = xp.max(logits, axis=-1, keepdims=True)
    whole = xp.log(xp.sum(xp.exp(logits - greatest), axis=-1, keepdims=True))  # as softmax sums: one sum for both
    return xp.reshape(whole - (xp.reshape(chosen, greatest.shape) - greatest), labels.shape)


def _places(xp, logits, labels):
    """Where each row's label stands among all logits."""
    rows = xp.reshape(labels.astype("int64", copy=False), (-1,))
    return xp.arange(rows.shape[0]) * logits.shape[-1] + rows


def _rows(logits):
    return math.prod(logits.shape[:-1])
