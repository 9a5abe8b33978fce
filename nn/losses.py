"""Losses by name: what `compile(loss=…)` takes, from outputs or, fused, from logits."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from ..checks import number
from ..engine.absent import checked
from ..engine.capturing import capturing
from ..engine.primitive import Primitive
from ..engine.tensor import Tensor, tensor
from ..errors import UsageError
from ..names import Names
from ..ops import loss as equations
from ..ops.arithmetic import absolute, clip
from ..ops.creation import one_hot
from ..ops.elementary import log
from ..ops.reduction import mean, sum

LossFunction = Callable[[Tensor, Tensor], Tensor]
EPSILON = 1e-7
"""How far probabilities are kept from 0 and 1 before their logarithm is taken (Keras's value)."""


@checked
@dataclass(frozen=True)
class Loss:
    """A loss J(targets, outputs), the mean over the batch.

    targets: what they are: "values" (the outputs' shape), "classes" (rows of probabilities over the last axis),
    "labels" (integers, without that axis), "probabilities" (each in [0, 1]) or "any" (a loss of the user's own).
    on_logits, fuses: the primitive that computes it from logits, and the activation that is in it.
    from_logits: outputs are logits already.
    label_smoothing: ε of targets t (1 - ε) + ε / K over K classes (Szegedy et al. 2016).
    """

    name: str
    targets: str
    function: LossFunction
    on_logits: Primitive | None = None
    fuses: str | None = None
    from_logits: bool = False
    label_smoothing: float = 0.0

    def __call__(self, y_true: Tensor, y_pred: Tensor, logits: bool = False) -> Tensor:
        """J, a single number; a loss of the user's own gives what it gives. logits: y_pred are no probabilities yet."""
        y_true, y_pred = (t if isinstance(t, Tensor) else tensor(t) for t in (y_true, y_pred))
        if self.label_smoothing:
            y_true = y_true * (1 - self.label_smoothing) + self.label_smoothing / y_pred.shape[-1]
        if self.on_logits and (logits or self.from_logits):
            return self.on_logits(y_pred, y_true)
        return self.function(y_true, y_pred)


def _squared(y_true: Tensor, y_pred: Tensor) -> Tensor:
    return equations.mean_squared_error(y_pred, y_true)


def _absolute(y_true: Tensor, y_pred: Tensor) -> Tensor:
    _same_shape("mean_absolute_error", y_true, y_pred)
    return mean(absolute(y_pred - y_true))


def _categorical(y_true: Tensor, p: Tensor) -> Tensor:
    _same_shape("categorical_crossentropy", y_true, p)
    p = clip(p / sum(p, axis=-1, keepdims=True), EPSILON, 1 - EPSILON)
    return mean(-sum(y_true * log(p), axis=-1))


def _sparse(labels: Tensor, p: Tensor) -> Tensor:
    fused = equations.sparse_categorical_cross_entropy
    assert fused.checker
    assert fused.value_checker
    fused.checker(p, labels)
    if not capturing() and labels.device == "cpu":  # a recorded step's were checked beforehand
        fused.value_checker(p._data, labels._data)
    p = clip(p / sum(p, axis=-1, keepdims=True), EPSILON, 1 - EPSILON)
    return mean(-sum(one_hot(labels, classes=p.shape[-1]) * log(p), axis=-1))


def _binary(y_true: Tensor, p: Tensor) -> Tensor:
    _same_shape("binary_crossentropy", y_true, p)
    p = clip(p, EPSILON, 1 - EPSILON)
    return mean(-(y_true * log(p) + (1 - y_true) * log(1 - p)))


def _same_shape(name: str, y_true: Tensor, y_pred: Tensor) -> None:
    equations.check_same_shape(name, "y_true", y_true, "y_pred", y_pred)


LOSSES: Names[Loss] = Names(
    "loss",
    [(loss.name, loss) for loss in (
        Loss("mean_squared_error", "values", _squared),
        Loss("mean_absolute_error", "values", _absolute),
        Loss(
            "categorical_crossentropy", "classes", _categorical,
            equations.categorical_cross_entropy, "softmax",
        ),
        Loss(
            "sparse_categorical_crossentropy", "labels", _sparse,
            equations.sparse_categorical_cross_entropy, "softmax",
        ),
        Loss(
            "binary_crossentropy", "probabilities", _binary,
            equations.binary_cross_entropy, "sigmoid",
        ),
    )],
    aliases=[("mse", "mean_squared_error"), ("mae", "mean_absolute_error")],
)  # fmt: skip
EQUATIONS = {equations.mean_squared_error: LOSSES["mean_squared_error"]} | {
    loss.on_logits: replace(loss, from_logits=True) for loss in LOSSES.values() if loss.on_logits
}
"""What the primitives mean as losses: they take their operands in another order, and logits."""


@checked
def MeanSquaredError() -> Loss:
    """Mean squared error (D10)."""
    return LOSSES["mean_squared_error"]


@checked
def CategoricalCrossentropy(from_logits: bool = False, label_smoothing: float = 0.0) -> Loss:
    """Cross-entropy with rows of probabilities; from_logits: the model's outputs are logits.

    label_smoothing: ε in [0, 1): targets t become t (1 - ε) + ε / K over K classes, in evaluation as well.
    """
    smoothing = number("CategoricalCrossentropy", "label_smoothing", label_smoothing, "[0, 1)")
    return replace(LOSSES["categorical_crossentropy"], from_logits=from_logits, label_smoothing=smoothing)


@checked
def SparseCategoricalCrossentropy(from_logits: bool = False) -> Loss:
    """Cross-entropy with integer labels; from_logits: the model's outputs are logits."""
    return replace(LOSSES["sparse_categorical_crossentropy"], from_logits=from_logits)


@checked
def BinaryCrossentropy(from_logits: bool = False) -> Loss:
    """Cross-entropy of single probabilities; from_logits: the model's outputs are logits."""
    return replace(LOSSES["binary_crossentropy"], from_logits=from_logits)


def check_arguments(kind: str, function: Callable[..., object], *arguments: str) -> None:
    """Raise UsageError where a function of the user's own cannot take these arguments, as far as it tells."""
    if isinstance(function, type):
        raise UsageError(f"the {kind} {function.__name__} is a class: make one, {function.__name__}().")
    try:
        signature = inspect.signature(function)
    except ValueError:  # written in C, and says nothing of its arguments
        return
    places = {name: place for place, name in enumerate(signature.parameters)}
    try:
        signature.bind(*arguments)
    except TypeError:
        fits = False
    else:
        fits = all(places.get(name, place) == place for place, name in enumerate(arguments))
    if not fits:
        raise UsageError(f"a {kind} of your own is a function ({', '.join(arguments)}); {function!r} is not.")


def make_loss(value: str | Loss | LossFunction) -> Loss:
    """A loss of its name, of itself, or of a function (y_true, y_pred) of the user's own.

    The function takes tensors and returns one: a single number, the mean over the batch, or one number a sample, of
    which the mean is taken. Raises UsageError for a function that cannot be called so.
    """
    if isinstance(value, Loss):
        return value
    if isinstance(value, Primitive):
        if value not in EQUATIONS:
            raise UsageError(f"the primitive {value.name!r} is no loss: name one of {[*LOSSES]}, or write a function.")
        return EQUATIONS[value]
    if callable(value):
        check_arguments("loss", value, "y_true", "y_pred")
        return Loss(getattr(value, "__name__", "loss"), "any", value)
    found: Any = LOSSES.named(value)
    return found if isinstance(found, Loss) else make_loss(found)
