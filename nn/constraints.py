"""What weights must fulfil after each update: by name, as a class, or a function of a tensor.

`Dense(8, kernel_constraint="non_neg", bias_constraint=constraints.MaxNorm(1))`. Norms are those of the columns of a
kernel, along `axis`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..engine.piece import Piece
from ..engine.tensor import Tensor
from ..ops.arithmetic import clip, maximum
from ..ops.elementary import sqrt
from ..ops.reduction import sum

EPSILON = 1e-7
Axis = int | Sequence[int]


class Constraint(Piece, key="constraint"):
    """Base class: called with a weight as the update left it, it gives what that is replaced by."""

    def __call__(self, w: Tensor) -> Tensor:
        raise NotImplementedError(f"{type(self).__name__} has no __call__(w).")


def _norm(w: Tensor, axis: Axis) -> Tensor:
    return sqrt(sum(w * w, axis=axis if isinstance(axis, int) else tuple(axis), keepdims=True))


class NonNeg(Constraint, aliases=("nonneg",)):
    """max(w, 0)."""

    def __call__(self, w: Tensor) -> Tensor:
        return maximum(w, 0)


class MaxNorm(Constraint):
    """w · min(‖w‖, max_value) / ‖w‖ (Srivastava et al. 2014)."""

    max_value: float = 2
    axis: Axis = 0

    def __call__(self, w: Tensor) -> Tensor:
        norm = _norm(w, self.axis)
        return w * (clip(norm, min=0, max=self.max_value) / (EPSILON + norm))


class UnitNorm(Constraint):
    """w / ‖w‖."""

    axis: Axis = 0

    def __call__(self, w: Tensor) -> Tensor:
        return w / (EPSILON + _norm(w, self.axis))


class MinMaxNorm(Constraint):
    """The norm is moved to what lies between two values, by the share `rate` of the way."""

    min_value: float = 0.0
    max_value: float = 1.0
    rate: float = 1.0
    axis: Axis = 0

    def __call__(self, w: Tensor) -> Tensor:
        norm = _norm(w, self.axis)
        aim = self.rate * clip(norm, min=self.min_value, max=self.max_value) + (1 - self.rate) * norm
        return w * (aim / (EPSILON + norm))


max_norm, non_neg, unit_norm, min_max_norm = MaxNorm, NonNeg, UnitNorm, MinMaxNorm
"""Keras's older names."""


def get(value: Any) -> Any:
    """The constraint of a name, a class or a configuration, or itself."""
    return None if value is None else Constraint.of(value)
