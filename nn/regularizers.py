"""Penalties on weights and activities, which the loss that `fit` reports has in it: by name, as a class, or a function.

`Dense(8, kernel_regularizer="l2", activity_regularizer=regularizers.L1(1e-4))`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy

from ..engine.piece import Piece
from ..engine.tensor import Tensor, tensor
from ..errors import ShapeError, unknown_name
from ..ops.arithmetic import absolute, maximum
from ..ops.elementary import sqrt
from ..ops.linalg import matmul
from ..ops.reduction import sum


class Regularizer(Piece, key="regularizer"):
    """Base class: called with a tensor, it gives a single number, by tensor operations."""

    limits: ClassVar[Mapping[str, str]] = {"l1": "[0, ∞)", "l2": "[0, ∞)"}

    def __call__(self, x: Tensor) -> Tensor:
        raise NotImplementedError(f"{type(self).__name__} has no __call__(x).")


class L1(Regularizer):
    """l1 · Σ |x| (Tibshirani 1996)."""

    l1: float = 0.01

    def __call__(self, x: Tensor) -> Tensor:
        return self.l1 * sum(absolute(x))


class L2(Regularizer):
    """l2 · Σ x² (Hoerl & Kennard 1970)."""

    l2: float = 0.01

    def __call__(self, x: Tensor) -> Tensor:
        return self.l2 * sum(x * x)


class L1L2(Regularizer):
    """l1 · Σ |x| + l2 · Σ x² (Zou & Hastie 2005)."""

    l1: float = 0.0
    l2: float = 0.0

    def __call__(self, x: Tensor) -> Tensor:
        return self.l1 * sum(absolute(x)) + self.l2 * sum(x * x)


class OrthogonalRegularizer(Regularizer):
    """factor · the mean of |cos| between two rows of a matrix; mode="columns": between two columns."""

    factor: float = 0.01
    mode: str = "rows"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.mode not in ("rows", "columns"):
            raise unknown_name("mode", self.mode, ["rows", "columns"])

    def __call__(self, x: Tensor) -> Tensor:
        if x.ndim != 2:
            raise ShapeError(f"OrthogonalRegularizer takes matrices, not a tensor of shape {x.shape}.")
        x = x if self.mode == "rows" else x.T
        x = x / sqrt(maximum(sum(x * x, axis=1, keepdims=True), 1e-14))
        count = x.shape[0]
        apart = tensor(1 - numpy.eye(count), dtype=x.dtype, device=x.device)
        return self.factor * sum(absolute(matmul(x, x.T)) * apart) / max(count * (count - 1), 1)


l1, l2, l1_l2, orthogonal_regularizer = L1, L2, L1L2, OrthogonalRegularizer
"""Keras's older names."""


def get(value: Any) -> Any:
    """The regulariser of a name, a class or a configuration, or itself."""
    return None if value is None else Regularizer.of(value)
