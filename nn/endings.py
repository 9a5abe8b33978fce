"""How a model ends: the σ of its outputs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .layers.activated import Activated
from .layers.core import Activation, Dropout, Flatten, Reshape
from .nested import Nested

if TYPE_CHECKING:
    from .network import Network


def ending(network: Network, output: int = 0) -> str:
    """The activation of one of the outputs by name, "linear" for none, "own" for what is not known by name."""
    made = {call.y: call for call in network.calls if isinstance(call.y, int)}
    number: int | list[int] = network.outputs_at[output]
    while isinstance(number, int) and number in made:
        layer = made[number].layer
        if isinstance(layer, Nested):
            return ending(layer.network)
        if isinstance(layer, Activated) and (layer.function or not isinstance(layer, Activation)):
            return layer.activation or ("own" if layer.function else "linear")
        if not isinstance(layer, (Activation, Dropout, Flatten, Reshape)):
            break
        number = made[number].x
    return "own"
