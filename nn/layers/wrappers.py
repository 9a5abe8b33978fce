"""Layers around other layers: for each step of a sequence, or in both directions of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy

from ...engine.tensor import Tensor
from ...errors import ShapeError, UsageError, unknown_name
from ...ops.arithmetic import where
from ...ops.shapes import concatenate, flip
from .base import Layer, Shape, Weights, make_layer
from .recurrent import Recurrent

Config = Mapping[str, Any]


def _layer(who: str, layer: Any, wrapped: Config | None) -> Layer:
    """The layer that was given, or that a file tells of."""
    layer = wrapped if layer is None else getattr(layer, "as_layer", layer)
    layer = make_layer(layer) if isinstance(layer, Mapping) else layer
    if not isinstance(layer, Layer):
        raise UsageError(f"{who}({layer!r}): it takes a layer.")
    return layer


def _own(weights: Weights, name: str) -> dict[str, Tensor]:
    """Those of the weights that are the layer's of that name."""
    return {key.removeprefix(f"{name}/"): w for key, w in weights.items() if key.startswith(f"{name}/")}


class TimeDistributed(Layer):
    """The layer for each step by itself: (batch, steps, …) becomes (batch, steps, …)."""

    config_names = ()
    supports_masking = True

    def __init__(
        self,
        layer: Layer | None = None,
        input_shape: Shape | None = None,
        name: str | None = None,
        wrapped: Config | None = None,
    ) -> None:
        super().__init__(input_shape, name)
        self.layer = _layer("TimeDistributed", layer, wrapped)

    @property
    def takes_integers(self) -> bool | None:  # type: ignore[override]
        """As the layer."""
        return self.layer.takes_integers

    def _inner_shape(self, name: str, input_shape: Any) -> Any:
        return input_shape[1:]

    def output_shape(self, input_shape: Shape) -> Shape:
        if len(input_shape) < 2:
            raise ShapeError(f"{self.name}: TimeDistributed takes samples (steps, …), not {input_shape}.")
        return (input_shape[0], *self.layer.output_shape(input_shape[1:]))

    def apply(self, weights: Weights, x: Tensor, *, training: bool, generator: numpy.random.Generator | None) -> Tensor:
        steps = x.reshape(x.shape[0] * x.shape[1], *x.shape[2:])
        y: Tensor = self.layer._applied(_own(weights, "layer"), steps, training, generator)
        return y.reshape(*x.shape[:2], *y.shape[1:])

    def config(self) -> dict[str, Any]:
        return {**super().config(), "wrapped": self.layer.config()}


MERGES = ("concat", "sum", "mul", "ave", None)


class Bidirectional(Layer):
    """A recurrent layer from the beginning, and one like it from the end, put together (Schuster & Paliwal 1997).

    merge_mode: "concat" side by side, "sum", "mul", "ave" of the two; None gives both. backward_layer: the one from the
    end, by default like `layer`. A sequence is 0 at steps that a mask leaves out, as Keras's is. The states, with
    return_state=True, are those of the first, then of the second, and so is an initial_state.
    """

    config_names = ("merge_mode",)

    def __init__(
        self,
        layer: Layer | None = None,
        merge_mode: str | None = "concat",
        backward_layer: Layer | None = None,
        input_shape: Shape | None = None,
        name: str | None = None,
        wrapped: list[Config] | None = None,
    ) -> None:
        super().__init__(input_shape, name)
        if merge_mode not in MERGES:
            raise unknown_name("merge_mode", merge_mode, [m for m in MERGES if m])
        self.merge_mode = merge_mode
        first, second = wrapped or (None, None)
        forward = _layer("Bidirectional", layer, first)
        if not isinstance(forward, Recurrent) or forward.weights:
            raise UsageError(f"{self.name}: Bidirectional({forward.name}): it takes a recurrent layer without weights.")
        turned = {**forward.config(), "go_backwards": not forward.go_backwards}
        backward = _layer("Bidirectional", backward_layer, second or turned)
        kept = ("return_sequences", "return_state")
        alike = isinstance(backward, Recurrent) and all(getattr(forward, k) == getattr(backward, k) for k in kept)
        if not alike or backward.go_backwards == forward.go_backwards:
            raise UsageError(
                f"{self.name}: backward_layer has the return_sequences and return_state of layer, and the other "
                "go_backwards."
            )
        base = forward.name
        self.forward_layer, self.backward_layer = make_layer(forward.config()), backward
        if not wrapped:
            self.forward_layer.name, backward.name = f"forward_{base}", f"backward_{base}"
        if self.input_shape is None and forward.input_shape is not None:
            vars(self)["input_shape"] = forward.input_shape

    def given(self, own: type[Layer]) -> dict[str, Any]:
        return {**super().given(own), "wrapped": self.config()["wrapped"]} if "backward_layer" in vars(self) else {}

    def config(self) -> dict[str, Any]:
        return {**super().config(), "wrapped": [self.forward_layer.config(), self.backward_layer.config()]}

    def output_shape(self, input_shape: Shape) -> Any:
        one = self.forward_layer.output_shape(input_shape)
        one, *states = one if isinstance(one, list) else [one]
        other = self.backward_layer.output_shape(input_shape)
        other, *more = other if isinstance(other, list) else [other]
        if self.merge_mode is None:
            merged = [one, other]
        elif self.merge_mode == "concat":
            merged = [(*one[:-1], one[-1] + other[-1])]
        elif one == other:
            merged = [one]
        else:
            raise ShapeError(f"{self.name}: merge_mode={self.merge_mode!r} of shapes {one} and {other}.")
        found = [*merged, *states, *more]
        return found if len(found) > 1 else found[0]

    def compute_mask(self, x: Tensor, mask: Any = None) -> Any:
        """The mask of the output: where it is a sequence, that of the input."""
        layer: Any = self.forward_layer
        kept = mask if layer.return_sequences else None
        masks = [kept] * (2 if self.merge_mode is None else 1) + [None] * (2 * layer.states * layer.return_state)
        return masks if len(masks) > 1 else masks[0]

    def apply(
        self, weights: Weights, x: Tensor, *, training: bool, generator: numpy.random.Generator | None,
        mask: Tensor | None = None, initial_state: Any = None,
    ) -> Any:  # fmt: skip
        layers: list[Any] = [self.forward_layer, self.backward_layer]
        begins: list[Any] = [None, None]
        if initial_state is not None:
            half = len(initial_state) // 2
            begins = [initial_state[:half], initial_state[half:]]
        outputs, states = [], list[Tensor]()
        for name, layer, begin in zip(("forward_layer", "backward_layer"), layers, begins, strict=True):
            y = layer.apply(
                _own(weights, name), x, training=training, generator=generator, mask=mask, initial_state=begin
            )
            y, *own = y if isinstance(y, list) else [y]
            if layer.return_sequences:
                y = flip(y, 1) if layer.go_backwards else y
                y = y if mask is None else where(mask.reshape(*mask.shape, 1), y, 0.0)
            outputs.append(y)
            states += own
        one, other = outputs
        if self.merge_mode == "concat":
            outputs = [concatenate(outputs, axis=-1)]
        elif self.merge_mode is not None:
            outputs = [one * other if self.merge_mode == "mul" else one + other]
            outputs = [outputs[0] / 2] if self.merge_mode == "ave" else outputs
        found = [*outputs, *states]
        return found if len(found) > 1 else found[0]
