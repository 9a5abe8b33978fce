"""Layers one after another, with their weights: drawn, looked at, replaced, and what they make of a batch."""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ParamSpec, TypeVar

import numpy
import numpy.typing

from ..engine import backend, forked, random
from ..engine.flat import Flat
from ..engine.incoming import as_array
from ..engine.sharing import Sharing, changing, reading
from ..engine.tensor import Tensor, tensor
from ..errors import DeviceMemoryError, DtypeError, ShapeError, UsageError
from ..names import is_ours
from .forward import forward
from .layers import Layer
from .layers.base import LARGEST, Shape, Weights, checked_shape
from .measuring import in_dtype

P = ParamSpec("P")
R = TypeVar("R")
_building = forked.lock()


def on_its_device(method: Callable[P, R]) -> Callable[P, R]:
    """A method of a model, carried out with its device as the current one; DeviceMemoryError where that is full."""

    @functools.wraps(method)
    def there(*args: P.args, **kwargs: P.kwargs) -> R:
        model: Any = args[0]
        if model.device == "cpu":
            try:
                return method(*args, **kwargs)
            except DeviceMemoryError:
                raise
            except MemoryError as error:
                raise DeviceMemoryError(f"{method.__name__}: the machine has not the memory ({error}).") from error
        with backend.working(model.device, method.__name__):
            return method(*args, **kwargs)

    return there


def _floating(dtype: Any) -> str:
    """The name of a dtype that a model can have; raises DtypeError for any other."""
    try:
        found = numpy.dtype(dtype)
    except TypeError:
        found = None
    if found not in ("float16", "float32", "float64"):
        raise DtypeError(f"dtype={dtype!r}: a model computes in float16, float32 or float64.")
    return str(found)


class Network:
    """Layers one after another, with weights, and what they compute. `Sequential` says what its arguments mean."""

    def __init__(self, layers: Iterable[Layer], seed: int, dtype: str, device: str, name: str) -> None:
        self.layers: list[Layer] = []
        self.sharing = Sharing()
        self._trainable = True
        random.generator(seed)  # refuses what is no seed
        self.seed, self.dtype, self.name = int(seed), _floating(dtype), name
        self.device = backend.resolve_device(device)
        self.shapes: list[Shape] = []
        self._flat: Flat | None = None
        names, known = dict[str, int](), set[int]()
        for layer in layers:
            self._append(layer, names, known)

    @changing
    def add(self, layer: Layer) -> None:
        """Append a layer. Raises UsageError for what is no layer, or once the model is built."""
        self._append(layer, {other.name: 1 for other in self.layers}, {id(other) for other in self.layers})

    def _append(self, layer: Layer, taken: dict[str, int], known: set[int]) -> None:
        """taken: the names that are taken, each with a number from which on it may be free with that behind it."""
        if not isinstance(layer, Layer):
            raise UsageError(f"a model consists of layers, not of {type(layer).__name__} ({layer!r}).")
        if self.built:
            raise UsageError("the model is built already: its weights have their shapes. Make a new Sequential.")
        if id(layer) in known:
            raise UsageError(f"the layer {layer.name!r} is in the model already: make a second one.")
        base = name = layer.name
        while name in taken:
            name = f"{base}_{taken[base]}"
            taken[base] += 1
        if name != base:
            layer.name = name
        taken[name] = 1
        known.add(id(layer))
        layer.ask_for_gradients(self._trainable)
        self.layers.append(layer)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in ("seed", "dtype", "device") and getattr(self, "shapes", None):
            raise UsageError(
                f"model.{name} = {value!r}: the weights are there already, and were made with {name}="
                f"{getattr(self, name)!r}. Make a new Sequential with it."
            )
        super().__setattr__(name, value)

    def __copy__(self) -> Any:
        return copy.deepcopy(self)  # two models that share layers would each spoil the other's training

    @property
    def built(self) -> bool:
        """Whether the weights are there."""
        return bool(self.shapes)

    @on_its_device
    def build(self, input_shape: Shape | None = None) -> None:
        """Draw the weights for samples of `input_shape`, by default the first layer's. Once is enough."""
        if not self.built:
            with _building:  # the first predictions of a model may come from several threads
                self._build(input_shape)

    def _build(self, input_shape: Shape | None) -> None:
        if self.built:
            return
        shapes = self.infer_shapes(None if input_shape is None else checked_shape("input_shape", input_shape))
        for layer in self.layers:
            if layer.built_for is not None:
                raise UsageError(f"the layer {layer.name!r} has its weights already: make a new one for this model.")
        for number, (layer, shape) in enumerate(zip(self.layers, shapes, strict=False)):
            layer.build(shape, random.generator(self.seed, f"weights {number}"), self.dtype)
        self._hold(shapes)

    @on_its_device
    def build_of(self, shapes: Sequence[Shape], arrays: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]]) -> None:
        """Take arrays of the model's dtype as weights, rather than draw any: of each layer weights and state by name.

        shapes: as `infer_shapes` gives them.
        """
        for layer, shape, own in zip(self.layers, shapes, arrays, strict=False):
            layer.hold(shape, *own)
        self._hold(shapes)

    def _hold(self, shapes: Sequence[Shape]) -> None:
        for layer in self.layers:
            for weight in layer.variables.values():
                weight._data = backend.to_device(weight._data, self.device)
        learned = [w for layer in self.layers for w in layer.weights.values()]
        self._flat = Flat(learned) if learned else None
        self.shapes = list(shapes)  # from now on it is built

    def infer_shapes(self, input_shape: Shape | None = None) -> list[Shape]:
        """The shape of a sample before the first layer and after each; raises where a layer cannot take what comes."""
        if not self.layers:
            raise UsageError("the model has no layers: add some first.")
        shape = self.layers[0].input_shape if input_shape is None else input_shape
        if shape is None:
            raise UsageError(
                "the model does not know the shape of a sample yet: give input_shape= to the first layer, "
                "or call fit(x, y) or build(input_shape) first."
            )
        if self.layers[0].input_shape not in (None, tuple(shape)):
            raise ShapeError(f"samples have shape {shape}, but the model was made for {self.layers[0].input_shape}.")
        shapes: list[Shape] = [tuple(shape)]
        for layer in self.layers:
            shapes.append(layer.output_shape(shapes[-1]))
            if math.prod(shapes[-1]) > LARGEST:
                raise ShapeError(f"{layer.name}: a sample of shape {shapes[-1]} is more than any machine holds.")
        return shapes

    @property
    def deciding_layer(self) -> Layer | None:
        """The first layer that does more than move elements: it says whether x is made floating point."""
        return next((layer for layer in self.layers if layer.takes_integers is not None), None)

    @property
    def takes_integers(self) -> bool:
        """Whether x reaches the layers in the dtype it has."""
        layer = self.deciding_layer
        return layer is not None and bool(layer.takes_integers)

    @property
    def all_ours(self) -> bool:
        """Whether the layers and their activation functions are all the package's."""
        return all(is_ours(type(layer)) and is_ours(getattr(layer, "function", None) or layer) for layer in self.layers)

    @property
    def weights(self) -> list[Tensor]:
        """All weights, in the order of the layers: of each what is learned, then what is not, such as moving means."""
        return [w for layer in self.layers for w in layer.variables.values()]

    @property
    def trainable(self) -> bool:
        """Whether training changes the model. Setting it sets it for all layers, and where it is False, none learns."""
        return self._trainable

    @trainable.setter
    @changing
    def trainable(self, value: bool) -> None:
        self._trainable = bool(value)
        for layer in self.layers:
            layer.trainable = value
            layer.ask_for_gradients(self._trainable)

    @property
    def trainable_weights(self) -> list[Tensor]:
        """The weights that are learned, in the order of the layers; not those of layers with trainable = False."""
        return [w for layer in self.layers for w in layer.weights.values() if w.requires_grad]

    @property
    def non_trainable_weights(self) -> list[Tensor]:
        """The others: frozen ones, and those that layers change by themselves in training."""
        return [w for w in self.weights if not w.requires_grad]

    @property
    def flat(self) -> Flat:
        """The one buffer that holds all that is learned, frozen or not. Raises UsageError where there are none."""
        if self._flat is None:
            raise UsageError("the model has no weights: build it first, with a layer that learns.")
        return self._flat.hold()

    @property
    def output_shape(self) -> Shape:
        """The shape of one output."""
        self.build()
        return self.shapes[-1]

    def count_params(self) -> int:
        """How many numbers the model consists of: the weights, learned or not."""
        self.build()
        return sum(layer.parameters for layer in self.layers)

    @reading
    def get_weights(self) -> list[numpy.typing.NDArray[Any]]:
        """Copies of all weights as NumPy arrays."""
        return [w.numpy().copy() for w in self.weights]

    @changing
    @on_its_device
    def set_weights(self, values: Sequence[Any]) -> None:
        """Overwrite all weights; before any is changed raises ShapeError where number or shapes differ, and DataError
        for a value that the model's dtype does not hold.
        """
        values = [v if isinstance(v, Tensor) else as_array(v, f"weight {i}") for i, v in enumerate(values)]
        given, own = [v.shape for v in values], [w.shape for w in self.weights]
        if given != own:
            raise ShapeError(f"the model has weights of shapes {own}, got {given}.")
        made = [tensor(value, dtype=self.dtype, device=self.device) for value in values]
        for weight, value in zip(self.weights, made, strict=True):
            weight.assign(value)

    def __call__(self, x: Any, *, training: bool = False, generator: numpy.random.Generator | None = None) -> Tensor:
        """The model's output for a batch, on the tape, so that a loss of it can be differentiated."""
        self.sharing.check("a call of the model")
        x = x if isinstance(x, Tensor) else tensor(x, device=self.device)
        self.build(x.shape[1:])
        self.check_input(x.shape)
        return self.forward(in_dtype(self, x), taped=True, training=training, generator=generator)

    def forward(
        self,
        x: Tensor,
        *,
        taped: bool = True,
        training: bool = False,
        generator: numpy.random.Generator | None = None,
        logits: bool = False,
        weights: Sequence[Weights] | None = None,
    ) -> Tensor:
        """The layers one after another.

        taped: the weights ask for gradients. logits: stop before the last σ. weights: others than the model's own,
        of each layer by name.
        """
        if weights is None:
            weights = [layer.weights for layer in self.layers]
            if not taped:
                weights = [{name: w.detach() for name, w in own.items()} for own in weights]
        return forward(self.layers, weights, x, training=training, generator=generator, logits=logits)

    def check_input(self, shape: Shape) -> None:
        """Raise ShapeError where a batch of this shape is not what the model was built for."""
        own = self.shapes[0] if self.built else self.infer_shapes(shape[1:])[0]
        if shape[1:] != own:
            raise ShapeError(f"the model takes batches of shape (batch, {', '.join(map(str, own))}), not {shape}.")
