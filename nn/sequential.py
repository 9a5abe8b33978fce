"""Sequential: layers one after another."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..engine.sharing import changing
from ..errors import UsageError
from .layers import Input, Layer
from .model import Model
from .trained import Trained


class Sequential(Model):
    """A model that applies its layers one after another, with Keras's methods and meanings.

    layers: the layers, or models; `Input` in front, or the first layer's `input_shape`, names the shape of a sample,
    else the first batch tells it. seed: what the weights
    are drawn from; the same seed gives the same weights; by default 0, or what follows from `utils.set_random_seed`.
    dtype: of weights and computation;
    "mixed_float16" computes in float16 with weights of float32. device: where they live.
    All that is learned, or may be, lies in one flat buffer, `flat`, of which the layers' weights are views.
    """

    def __init__(
        self,
        layers: Iterable[Any] = (),
        *,
        seed: int | None = None,
        dtype: str = "float32",
        device: str = "cpu",
        name: str = "sequential",
    ) -> None:
        self._outputs_named: list[str] = []
        Trained.__init__(self, layers, seed, dtype, device, name)

    @property
    def _is_graph(self) -> bool:
        return False

    @classmethod
    def _made_of(cls, config: Mapping[str, Any], layers: list[Layer], options: Mapping[str, Any]) -> Model:
        if "calls" in config:
            raise UsageError(f"it tells of calls of its layers, which {cls.__name__} has not: it is Model's")
        model = cls(layers, **options)
        if (shape := config.get("input_shape")) and not model.knows_its_input and "format" not in config:
            model._given = [Input(shape)]
        return model

    @changing
    def add(self, layer: Any) -> None:
        """Append a layer, or a model as one. Raises UsageError for what is no layer.

        A model that is built is built anew: the layers that have weights keep them.
        """
        self._rebuilt()
        self._append(layer, {other.name: 1 for other in self.parts}, {id(other) for other in self.parts})

    @changing
    def pop(self) -> Any:
        """Take the last layer off, and return it; the others keep their weights. Raises UsageError for none."""
        if not self.parts:
            raise UsageError("pop: the model has no layers.")
        self._rebuilt()
        self.calls.pop()
        self.outputs_at = [len(self.calls)]
        layer = self.parts.pop()
        return getattr(layer, "network", layer)
