"""A model as a layer of another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy

from ..engine.tensor import Tensor
from ..errors import DtypeError, UsageError
from .graph import listed, mapped, samples_of
from .layers import Layer
from .layers.base import Weights
from .layers.written import inner_of, taken_by

if TYPE_CHECKING:
    from .network import Network


class Nested(Layer, abstract=True):
    """A network as a layer: its weights are those of the network's layers, under `layer/weight`."""

    def __init__(self, network: Network) -> None:
        self.network = network
        super().__init__(name=network.name)
        self._named()

    def _named(self) -> None:
        network = self.network
        if network.built:
            shapes = network.input_shapes
            vars(self)["built_for"] = shapes if self.takes_several else shapes[0]
            for kind, kept in (("weights", self.weights), ("state", self.state)):
                named = {f"{part.name}/{key}": w for part in network.parts for key, w in getattr(part, kind).items()}
                kept.update(named)

    @property
    def _inner(self) -> dict[str, Layer]:
        return {part.name: part for part in self.network.parts}

    @property
    def _declares(self) -> bool:
        return False

    @property
    def takes_several(self) -> bool:  # type: ignore[override]
        """Whether the network has several inputs."""
        return len(self.network.inputs_at) > 1

    @property
    def takes_integers(self) -> bool | None:  # type: ignore[override]
        """As the network."""
        return self.network.takes_integers

    @property
    def makes_mask(self) -> bool:  # type: ignore[override]
        """Whether a layer in it makes one."""
        return any(part.makes_mask for part in self.network.parts)

    @property
    def trainable(self) -> bool:
        """As the network."""
        return self.network.trainable

    @trainable.setter
    def trainable(self, value: bool) -> None:
        self.network.trainable = value

    def ask_for_gradients(self, in_trainable_model: bool | None = None) -> None:
        """Hand it on to the network's layers."""
        if in_trainable_model is not None:
            self._in_trainable_model = in_trainable_model
        for part in self.network.parts:
            part.ask_for_gradients(self._in_trainable_model and self.network.trainable)

    def _begin(self, input_shape: Any, generator: numpy.random.Generator, dtype: Any) -> None:
        network = self.network
        if not network.built:
            vars(network)["dtype"] = str(numpy.dtype(dtype))
            network.draw(input_shape, generator)
        self._named()

    def check(self, dtype: str, device: str) -> None:
        """Raise where the network has another dtype or device than the model around it."""
        if self.built_for is not None and self.network.dtype != dtype:
            raise DtypeError(f"the model {self.name!r} is of {self.network.dtype}, and the one around it of {dtype}.")
        if self.built_for is not None and self.network.device != device:
            raise UsageError(f"the model {self.name!r} is on {self.network.device}, and the one around it on {device}.")
        vars(self.network)["device"] = device

    def config(self) -> dict[str, Any]:
        """The network's, as that of a layer."""
        return {
            "layer": "Nested",
            "name": self.name,
            "network": {"name": self.network.name, **self.network.architecture()},
        }

    def output_shape(self, input_shape: Any) -> Any:
        shapes = self.network.infer_shapes(input_shape)
        found = [shapes[number] for number in self.network.outputs_at]
        return found if len(found) > 1 else found[0]

    def apply(self, weights: Weights, x: Any, *, training: bool, generator: numpy.random.Generator | None) -> Any:
        return self.masked(weights, x, (), training=training, generator=generator)[0]

    def masked(
        self, weights: Weights, x: Any, given: Sequence[Any], *, training: bool,
        generator: numpy.random.Generator | None,
    ) -> tuple[Any, list[Any]]:  # fmt: skip
        """The same for values with these masks, and the masks of what comes out."""
        each: list[Mapping[str, Tensor]] = [
            {key: weights[f"{part.name}/{key}"] for key in part.weights} for part in self.network.parts
        ]
        masks: list[Any] = []
        found = self.network.run(listed(x), each, training=training, generator=generator, given=given, masks=masks)
        return found if len(found) > 1 else found[0], masks


def everything_in(model: Any) -> Iterator[Any]:
    """All layers and models in a model, however deep, each before those in it."""
    waiting: list[Any] = [*reversed(model.parts)]
    while waiting:
        layer = waiting.pop()
        yield getattr(layer, "network", layer)
        waiting += reversed(layer._inner.values())


class Body(Layer, abstract=True):
    """What a model of the user's own computes, by its `call`, as its one layer."""

    def __init__(self, model: Any, own: frozenset[str]) -> None:
        self.model, self._own = model, own
        super().__init__(name=model.name)
        vars(self)["_beside"], vars(self)["_further"] = taken_by(type(model).call)

    @property
    def _inner(self) -> dict[str, Layer]:
        return inner_of(self.model, self._own)

    @property
    def _holder(self) -> Any:
        return self.model

    @property
    def takes_integers(self) -> bool:  # type: ignore[override]
        """As the model's class says."""
        return bool(self.model.takes_ids)

    def output_shape(self, input_shape: Any) -> Any:
        told = getattr(self.model, "compute_output_shape", None)
        if told is None:
            return super().output_shape(input_shape)
        return mapped(tuple, samples_of(told(mapped(lambda shape: (None, *shape), input_shape))))

    def call(self, x: Any, training: bool = False, **others: Any) -> Any:
        """The model's."""
        return self.model.call(x, **others)
