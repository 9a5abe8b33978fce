"""What every export asks of a model first."""

from __future__ import annotations

from typing import Any

import numpy

from ..errors import DataError, UsageError


def check_ready(model: Any) -> None:
    """Build the model where that is all that it lacks. Raises UsageError where it is on a GPU or cannot be built,
    DataError where a weight is not finite.
    """
    if model.device != "cpu":
        raise UsageError(f"the model is on {model.device}: save it, and export what `load(path, device='cpu')` gives.")
    if not model.built and model.knows_its_input:
        model.build()
    if not model.built:
        raise UsageError("the model has no weights yet: build it, or train it, before it is exported.")
    for number, w in enumerate(model.weights):
        odd = int(w.size - numpy.isfinite(w.numpy()).sum())
        if odd:
            name = getattr(w, "name", None) or f"weight {number}"
            raise DataError(f"{name}, of shape {w.shape}, has {odd:,} values that are NaN or infinite: train it anew.")
