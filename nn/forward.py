"""Layers one after another, the forward pass of a model (D8, D9)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy

from ..engine.tensor import Tensor
from .layers.base import Activated, Layer, Weights
from .layers.core import Activation, Dropout, Flatten, Reshape


def forward(
    layers: Sequence[Layer],
    weights: Sequence[Weights],
    x: Tensor,
    *,
    training: bool,
    generator: numpy.random.Generator | None,
    logits: bool,
) -> Tensor:
    """The output for a batch x, with the weights of each layer. logits: stop before the last σ."""
    for layer, own in zip(layers, weights, strict=True):
        if logits and layer is layers[-1]:
            x = layer.linear(own, x)  # type: ignore[attr-defined]
        else:
            x = layer.apply(own, x, training=training, generator=generator)
    return x


def ending(layers: Sequence[Layer]) -> str:
    """The activation of a model's outputs by name, "linear" for none, "own" for what is not known by name."""
    for layer in reversed(layers):
        if isinstance(layer, Activated) and (layer.function or not isinstance(layer, Activation)):
            return layer.activation or ("own" if layer.function else "linear")
        if not isinstance(layer, (Activation, Dropout, Flatten, Reshape)):
            break
    return "own"
