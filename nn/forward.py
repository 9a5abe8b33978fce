"""Layers one after another, the forward pass of a model (D8, D9)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy

from ..engine.tensor import Tensor
from .layers.base import Activated, Layer, Weights
from .layers.core import Activation, Dropout, Flatten, Reshape
from .layers.pooling import Pooling


def forward(
    layers: Sequence[Layer],
    weights: Sequence[Weights],
    x: Tensor,
    *,
    training: bool,
    generator: numpy.random.Generator | None,
    logits: bool,
) -> Tensor:
    """The output for a batch x, with the weights of each layer. logits: stop before the last σ.

    ReLU before a max-pooling is taken behind it, where there are fewer elements: the greatest of the positive parts is
    the positive part of the greatest, to the last bit, and so is the gradient, which is 0 where that is not positive.
    """
    waiting = None
    for (layer, following), own in zip([*pairwise(layers), (layers[-1], None)], weights, strict=True):
        if logits and following is None:
            x = layer.linear(own, x)  # type: ignore[attr-defined]
        elif following is not None and isinstance(layer, Activated) and relu_may_wait(layer, following):
            x, waiting = layer.linear(own, x), layer.function
        else:
            x = layer.apply(own, x, training=training, generator=generator)
            if waiting:
                x, waiting = waiting(x), None
    return x


def relu_may_wait(layer: Activated, following: Layer) -> bool:
    """Whether the layer ends with ReLU and a max-pooling follows; layers that go their own way are left alone."""
    plain = type(layer).apply is Activated.apply and type(following).apply is Pooling.apply
    return plain and layer.activation == "relu" and isinstance(following, Pooling) and following.takes_greatest


def ending(layers: Sequence[Layer]) -> str:
    """The activation of a model's outputs by name, "linear" for none, "own" for what is not known by name."""
    for layer in reversed(layers):
        if isinstance(layer, Activated) and (layer.function or not isinstance(layer, Activation)):
            return layer.activation or ("own" if layer.function else "linear")
        if not isinstance(layer, (Activation, Dropout, Flatten, Reshape)):
            break
    return "own"
