"""The loss around the weights of a model, along two random directions (Li et al. 2018, "Visualizing the Loss
Landscape of Neural Nets").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy

from ..engine import backend, random
from ..engine.tensor import Tensor
from ..nn import Model
from ..nn.layers.base import Weights
from ..nn.measuring import outputs_and_loss

Direction = Sequence[Weights]


@dataclass(frozen=True)
class Landscape:
    """J(θ + a δ + b η): `losses[i, j]` at b = steps[i], a = steps[j]; in the middle, where both are 0, the model's."""

    steps: numpy.typing.NDArray[Any]
    losses: numpy.typing.NDArray[Any]


def landscape(model: Model, x: Tensor, y: Tensor, *, seed: int = 0, extent: float = 1.0, points: int = 15) -> Landscape:
    """The loss on a batch x, y at points × points places around the weights; the model is not touched.

    a and b go from -extent to extent. points: an odd number, so that the weights themselves are among them.
    """
    first, second = direction(model, seed, "δ"), direction(model, seed, "η")
    steps = numpy.linspace(-extent, extent, points)
    losses = numpy.empty((points, points))
    with numpy.errstate(all="ignore"):  # far off the loss may be infinite
        for i, b in enumerate(steps):
            for j, a in enumerate(steps):
                moved = _moved(model, first, float(a), second, float(b))
                losses[i, j] = outputs_and_loss(model, x, y, weights=moved)[1].item()
    return Landscape(steps, losses)


def direction(model: Model, seed: int, name: str) -> list[dict[str, Tensor]]:
    """A random direction in the space of the weights, each filter as long as the model's.

    A filter is what leads to one output: a column of a dense kernel, a kernel of a convolution. What has one axis
    (biases, scales) does not move.
    """
    generator = random.generator(seed, f"loss surface {name}")
    moves = []
    for layer in model.parts:
        own = {}
        for key, weight in layer.weights.items():
            value = weight.numpy()
            drawn = generator.normal(size=value.shape)
            if value.ndim < 2:
                drawn = numpy.zeros(value.shape)
            else:
                axes = tuple(range(value.ndim - 1))
                length = numpy.sqrt((drawn**2).sum(axis=axes, keepdims=True))
                drawn *= numpy.sqrt((value.astype("float64") ** 2).sum(axis=axes, keepdims=True)) / length
            own[key] = Tensor(backend.to_device(drawn.astype(value.dtype), weight.device))
        moves.append(own)
    return moves


def _moved(model: Model, first: Direction, a: float, second: Direction, b: float) -> list[dict[str, Tensor]]:
    return [
        {name: w.detach() + a * one[name] + b * other[name] for name, w in layer.weights.items()}
        for layer, one, other in zip(model.parts, first, second, strict=True)
    ]
