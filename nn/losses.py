"""The losses: what `compile(loss=…)` takes, by name, as a class, or as a function of one number a sample.

Each is written once, by its equation, for probabilities; where it is stabler from logits, for those too. `Huber(2.0)`
is a loss, `huber(y_true, y_pred, delta=2.0)` what it gives for each sample, and "huber" a name of it. Definitions are
Keras's, with its bounds; ε is EPSILON.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from ..engine import backend
from ..engine.capturing import capturing
from ..engine.primitive import Primitive
from ..engine.tensor import Tensor
from ..errors import UsageError
from ..names import snake
from ..ops import loss as equations
from ..ops.activation import log_softmax, sigmoid, softmax, softplus
from ..ops.arithmetic import absolute, clip, maximum, where
from ..ops.creation import one_hot
from ..ops.elementary import log, log1p, sqrt
from ..ops.reduction import max, sum
from .criterion import Elementwise, Loss
from .criterion import LossFunctionWrapper as LossFunctionWrapper

EPSILON = 1e-7
"""How far probabilities are kept from 0 and 1 before their logarithm is taken (Keras's value)."""


class MeanSquaredError(Elementwise, aliases=("mse",)):
    """(ŷ - y)² (D10)."""

    targets = "values"

    def element(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        return (y_pred - y_true) ** 2

    def mean_of(self, y_true: Tensor, y_pred: Tensor, logits: bool) -> Tensor:
        return equations.mean_squared_error(y_pred, y_true)


class MeanAbsoluteError(Elementwise, aliases=("mae",)):
    """|ŷ - y|."""

    targets = "values"

    def element(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        return absolute(y_pred - y_true)


class CategoricalCrossentropy(Loss):
    """-Σₖ yₖ log pₖ, with rows of probabilities; p are made to sum to 1."""

    targets, fuses, on_logits = "classes", "softmax", equations.categorical_cross_entropy

    from_logits: bool = False
    label_smoothing: float = 0.0

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        return -sum(y_true * log(_shares(y_pred)), axis=-1)

    def call_logits(self, y_true: Tensor, z: Tensor) -> Tensor:
        return -sum(y_true * log_softmax(z), axis=-1)


class SparseCategoricalCrossentropy(Loss):
    """-log p of the label, with integer labels. ignore_class: a label whose samples do not count."""

    targets, fuses, on_logits = "labels", "softmax", equations.sparse_categorical_cross_entropy

    from_logits: bool = False
    ignore_class: int | None = None

    def prepared(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        fused = equations.sparse_categorical_cross_entropy
        assert fused.checker
        assert fused.value_checker
        fused.checker(y_pred, y_true)
        if self.ignore_class is None and not capturing() and y_true.device == "cpu":  # a step's were checked before
            fused.value_checker(y_pred._data, y_true._data)
        return y_true

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        return -sum(one_hot(y_true, classes=y_pred.shape[-1]) * log(_shares(y_pred)), axis=-1)

    def call_logits(self, y_true: Tensor, z: Tensor) -> Tensor:
        return -sum(one_hot(y_true, classes=z.shape[-1]) * log_softmax(z), axis=-1)


class BinaryCrossentropy(Elementwise, aliases=("bce",)):
    """-y log p - (1 - y) log(1 - p), with single probabilities."""

    targets, fuses, on_logits = "probabilities", "sigmoid", equations.binary_cross_entropy

    from_logits: bool = False
    label_smoothing: float = 0.0

    def element(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        p = _inside(y_pred)
        return -(y_true * log(p) + (1 - y_true) * log(1 - p))

    def element_logits(self, y_true: Tensor, z: Tensor) -> Tensor:
        return y_true * softplus(-z) + (1 - y_true) * softplus(z)


class BinaryFocalCrossentropy(Elementwise):
    """(1 - q)^γ times the cross-entropy, q = p where y is 1 and 1 - p where it is 0 (Lin et al. 2017).

    apply_class_balancing: times α where y is 1, and 1 - α where it is 0.
    """

    targets = "probabilities"

    apply_class_balancing: bool = False
    alpha: float = 0.25
    gamma: float = 2.0
    from_logits: bool = False
    label_smoothing: float = 0.0

    def element(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        p, other = _inside(y_pred), 1 - y_true
        entropy = -(y_true * log(p) + other * log(1 - p))
        focal = (1 - (y_true * y_pred + other * (1 - y_pred))) ** self.gamma * entropy
        return (y_true * self.alpha + other * (1 - self.alpha)) * focal if self.apply_class_balancing else focal

    def element_logits(self, y_true: Tensor, z: Tensor) -> Tensor:
        return self.element(y_true, sigmoid(z))


class CategoricalFocalCrossentropy(Loss):
    """-Σₖ α (1 - pₖ)^γ yₖ log pₖ (Lin et al. 2017, for several classes)."""

    targets = "classes"

    alpha: float = 0.25
    gamma: float = 2.0
    from_logits: bool = False
    label_smoothing: float = 0.0

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        p = _shares(y_pred)
        return sum((1 - p) ** self.gamma * self.alpha * (-y_true * log(p)), axis=-1)

    def call_logits(self, y_true: Tensor, z: Tensor) -> Tensor:
        return self.call(y_true, softmax(z))


class Huber(Elementwise):
    """e² / 2 where |e| ≤ δ, and δ |e| - δ² / 2 beyond, e = ŷ - y (Huber 1964)."""

    targets = "values"

    delta: float = 1.0

    def element(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        e = y_pred - y_true
        size = absolute(e)
        return where(size <= self.delta, 0.5 * e * e, self.delta * size - 0.5 * self.delta**2)


class LogCosh(Elementwise):
    """log cosh(ŷ - y)."""

    targets = "values"

    def element(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        e = y_pred - y_true
        return e + softplus(-2 * e) - LOG_2


class MeanAbsolutePercentageError(Elementwise, aliases=("mape",)):
    """100 |ŷ - y| / max(|y|, ε)."""

    targets = "values"

    def element(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        return 100 * absolute((y_true - y_pred) / maximum(absolute(y_true), EPSILON))


class MeanSquaredLogarithmicError(Elementwise, aliases=("msle",)):
    """(log(1 + max(ŷ, ε)) - log(1 + max(y, ε)))²."""

    targets = "values"

    def element(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        return (log1p(maximum(y_pred, EPSILON)) - log1p(maximum(y_true, EPSILON))) ** 2


class Poisson(Elementwise):
    """ŷ - y log(ŷ + ε): the negative log-likelihood of Poisson's distribution, but for what ŷ does not change."""

    targets = "values"

    def element(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        return y_pred - y_true * log(y_pred + EPSILON)


class KLDivergence(Loss, aliases=("kld", "kullback_leibler_divergence")):
    """Σₖ yₖ log(yₖ / pₖ), both in [ε, 1] (Kullback & Leibler 1951)."""

    targets = "classes"

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        y, p = (clip(each, min=EPSILON, max=1) for each in (y_true, y_pred))
        return sum(y * log(y / p), axis=-1)


class Dice(Loss):
    """1 - 2 Σ y ŷ / (Σ y + Σ ŷ + ε), over the whole batch (Dice 1945)."""

    targets = "values"

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        return 1 - 2 * sum(y_true * y_pred) / (sum(y_true) + sum(y_pred) + EPSILON)


class Tversky(Loss):
    """1 - TP / (TP + α Σ y (1 - ŷ) + β Σ (1 - y) ŷ + ε), TP = Σ y ŷ, over the whole batch (Salehi et al. 2017)."""

    targets = "values"

    alpha: float = 0.5
    beta: float = 0.5

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        both = sum(y_true * y_pred)
        missed, wrong = sum(y_true * (1 - y_pred)), sum((1 - y_true) * y_pred)
        return 1 - both / (both + self.alpha * missed + self.beta * wrong + EPSILON)


class CosineSimilarity(Loss):
    """-Σₖ yₖ ŷₖ / (‖y‖ ‖ŷ‖): -1 for the same direction."""

    targets = "values"

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        y, p = (x / sqrt(maximum(sum(x * x, axis=-1, keepdims=True), EPSILON**2)) for x in (y_true, y_pred))
        return -sum(y * p, axis=-1)


class Hinge(Elementwise):
    """max(1 - y ŷ, 0), y being -1 or 1; targets of 0 and 1 are taken for these."""

    targets = "values"

    def element(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        return maximum(1 - _signs(y_true) * y_pred, 0)


class SquaredHinge(Hinge):
    """max(1 - y ŷ, 0)², as `Hinge`."""

    def element(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        return super().element(y_true, y_pred) ** 2


class CategoricalHinge(Loss):
    """max(1 + maxₖ (1 - yₖ) ŷₖ - Σₖ yₖ ŷₖ, 0), with one-hot rows y."""

    targets = "values"

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        return maximum(max((1 - y_true) * y_pred, axis=-1) - sum(y_true * y_pred, axis=-1) + 1, 0)


LOG_2 = 0.6931471805599453


def _inside(p: Tensor) -> Tensor:
    return clip(p, min=EPSILON, max=1 - EPSILON)


def _shares(p: Tensor) -> Tensor:
    return _inside(p / sum(p, axis=-1, keepdims=True))


def _signs(y: Tensor) -> Tensor:
    xp = backend.namespace_of(y._data)
    binary = xp.all((y._data == 0) | (y._data == 1))
    return Tensor(xp.where(binary, 2 * y._data - 1, y._data))


LOSSES = Loss.kinds
"""Their classes by name; an alias is a name as well."""
EQUATIONS: dict[Primitive, Loss] = {equations.mean_squared_error: MeanSquaredError()}
for _kind in (CategoricalCrossentropy, SparseCategoricalCrossentropy, BinaryCrossentropy):
    EQUATIONS[_kind.on_logits] = _kind(from_logits=True)
"""What the primitives mean as losses: they take their operands in another order, and logits."""


def make_loss(value: Any) -> Loss:
    """A loss of its name, of itself, of its configuration, or of a function (y_true, y_pred) of the user's own.

    The function takes tensors and returns one: a single number, the mean over the batch, or one number a sample, of
    which the mean is taken. Raises UsageError for a function that cannot be called so.
    """
    if isinstance(value, Primitive):
        if value not in EQUATIONS:
            raise UsageError(f"the primitive {value.name!r} is no loss: name one of {[*LOSSES]}, or write a function.")
        return EQUATIONS[value]
    made: Loss = Loss.of(value)
    return made


def get(value: Any) -> Any:
    """The loss of a name, a class, a configuration or a function, or itself."""
    return None if value is None else make_loss(value)


@functools.cache
def _function(kind: type[Loss]) -> Callable[..., Tensor]:
    def function(y_true: Any, y_pred: Any, **options: Any) -> Tensor:
        return kind(reduction=None, **options)(y_true, y_pred)

    function.__name__, function.__doc__, function.piece = snake(kind.__name__), kind.__doc__, kind  # type: ignore[attr-defined]
    return function


def __getattr__(name: str) -> Callable[..., Tensor]:
    """The function of a loss, by its name: what it gives for each sample."""
    known = LOSSES.get(LOSSES.aliases.get(name.lower(), name))
    if known is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}: {LOSSES.unknown(snake(name))}")
    return _function(known)  # type: ignore[arg-type]
