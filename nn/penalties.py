"""The regularisers and constraints of a model's layers, found and applied."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from ..engine.tensor import Tensor
from .layers.base import Layer, Weights

if TYPE_CHECKING:
    from .network import Network


def penalty(model: Network, weights: Sequence[Weights] | None, taped: bool) -> Any:
    """The sum of what regularisers say of the weights that are learned; 0 where there are none."""
    found: Any = 0
    for number, part in enumerate(model.parts):
        for key, regularizer in _each(part, "_regularizer"):
            if part.weights[key].requires_grad:
                w = weights[number][key] if weights is not None else part.weights[key]
                found = found + regularizer(w if taped else w.detach())
    return found


def constrain(model: Network) -> None:
    """Make weights what their constraints say, in place."""
    for part in model.parts:
        for key, constraint in _each(part, "_constraint"):
            if part.weights[key].requires_grad:
                part.weights[key].assign(constraint(part.weights[key].detach()))


def _each(layer: Layer, kind: str, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Of a layer and those in it: the key of each weight for which one is set, and that."""
    for name, piece in layer.pieces.items():
        if name.endswith(kind) and name != "activity_regularizer":
            yield prefix + layer.weight_of(name.removesuffix(kind)), piece
    for name, child in layer._inner.items():
        yield from _each(child, kind, f"{prefix}{name}/")


def activity(layer: Layer, y: Any) -> Iterator[Tensor]:
    """What the regulariser of what a layer gives says, if it has one, over the number of samples."""
    if regularizer := layer.pieces.get("activity_regularizer"):
        yield from (regularizer(each) / len(each) for each in (y if isinstance(y, (list, tuple)) else [y]))
