"""Gradient clipping by the global norm (Pascanu, Mikolov & Bengio 2013)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy

from ..engine import backend
from ..engine.tensor import Tensor
from ..errors import UsageError


def clip_by_global_norm(parameters: Sequence[Tensor], max_norm: float) -> float:
    """Scale the gradients of all parameters by min(1, max_norm / ‖g‖), ‖g‖² = Σ g² over all; returns ‖g‖ before.

    Parameters without a gradient are left out. Raises UsageError where max_norm is not above 0.
    """
    if not max_norm > 0:
        raise UsageError(f"clip_by_global_norm needs max_norm above 0, not {max_norm!r}.")
    gradients = [x.grad for x in parameters if x.grad is not None]
    squares: Any = sum((g._data.astype("float64") ** 2).sum() for g in gradients)
    squares = backend.read(squares, "a value is read (the norm of gradients)") if gradients else numpy.zeros(())
    norm = math.sqrt(backend.fetch(squares))
    if norm > max_norm:
        for g in gradients:
            g.assign(g._data * (max_norm / norm))
    return norm


def scale_to_norm(xp: backend.Namespace, gradient: backend.Array, max_norm: float) -> None:
    """The same for one flat gradient, in place and without waiting for the device."""
    largest = xp.maximum(xp.abs(gradient).max(), max_norm / len(gradient))  # squares of what is ≤ 1 do not overflow
    scaled = xp.divide(gradient, largest).astype("float64" if gradient.dtype == "float64" else "float32", copy=False)
    norm = xp.sqrt(xp.dot(scaled, scaled)) * largest
    xp.multiply(gradient, max_norm / xp.maximum(norm, max_norm), out=gradient)
