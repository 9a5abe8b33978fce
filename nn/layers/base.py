"""What layers have in common: weights and state by name, a configuration, a name; layers and activations by name."""

from __future__ import annotations

import copy
import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy

from ...checks import wholes
from ...engine import random
from ...engine.absent import KERAS, checked_arguments, unknown_attribute
from ...engine.piece import as_plain
from ...engine.primitive import Primitive, registry
from ...engine.tensor import Tensor, tensor
from ...errors import ShapeError, UsageError
from ...names import Names, is_ours, snake, taken_by
from ..criterion import check_arguments
from ..initializers import Initializer

Shape = tuple[int, ...]
Weights = Mapping[str, Tensor]
Function = Callable[[Tensor], Tensor]
Beginnings = Mapping[str, tuple[Shape, Initializer]]
"""Weights by name: the shape of each, and how it begins."""

LARGEST = 1 << 48
"""Numbers in one array, beyond which none is asked for."""
COMMON = ("input_shape", "name", "trainable")
"""What every layer may be given."""


class Layer:
    """A step of a model. A layer of one's own has `apply`, with weights `make_weights`, and `output_shape` where that
    is another than the input's. What its constructor takes, it keeps under the same name: so files can hold it.

    input_shape: the shape of one sample, for the first layer of a model. name: what files and summaries call it.
    The mathematics is in `apply`, a function of the weights: a model hands in weights that ask for gradients or do not.
    One that takes whole numbers, ids say, has `takes_integers = True`: they come exactly as they are.
    `weights` are learned; `state` (moving means, say) the layer changes itself, in place, in training.
    """

    config_names: ClassVar[tuple[str, ...]] = ()
    """What the constructor takes besides input_shape, name and trainable."""
    free_names: ClassVar[tuple[str, ...]] = ()
    """Of the configuration, what may be set at any time; the rest is fixed once the layer is built."""
    takes_integers: ClassVar[bool | None] = False
    """Whether a model hands x on in the dtype it has, as a layer wants it that looks up places by whole numbers; else
    x is made the model's floating dtype first. None: as the layer after it says, for one that only moves elements."""

    def __init__(self, input_shape: Shape | None = None, name: str | None = None, trainable: bool = True) -> None:
        self.input_shape = None if input_shape is None else checked_shape("input_shape", input_shape)
        self.name = name or default_name(type(self))
        self.weights: dict[str, Tensor] = {}
        self.state: dict[str, Tensor] = {}
        self.built_for: Shape | None = None
        self._trainable, self._in_trainable_model = bool(trainable), True

    def __init_subclass__(cls, abstract: bool = False) -> None:
        super().__init_subclass__()
        if "__init__" in vars(cls):
            cls.__init__ = checked_arguments(vars(cls)["__init__"], "", ("trainable",))  # type: ignore[method-assign]
        if "__init__" in vars(cls) and "config_names" not in vars(cls):
            cls.config_names = tuple(name for name in taken_by(cls) if name not in COMMON)
        if not abstract:
            LAYERS.add(cls.__name__, cls)

    def __call__(self, x: Any, *, training: bool = False, generator: numpy.random.Generator | None = None) -> Tensor:
        """The layer applied to a batch, with its own weights (drawn with seed 0 if it was not built yet)."""
        x = x if isinstance(x, Tensor) else tensor(x)
        if self.built_for is None:
            self.build(x.shape[1:], random.generator(0, self.name), x.dtype if x.dtype.kind == "f" else "float32")
        return self.apply(self.weights, x, training=training, generator=generator)

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute. What the constructor of a layer of ours is given is checked as there, or refused."""
        own: Any = next(kind for kind in type(self).__mro__ if is_ours(kind))
        given = self.given(own)
        if name in given:
            if self.built_for is not None and name not in own.free_names:
                raise UsageError(f"{self.name}.{name} is fixed now that the layer is built: make a new {own.__name__}.")
            made = own(**{**given, name: value})
            same = vars(Activated()).keys() - {"input_shape"}  # its name, weights, σ, …
            vars(self).update({n: new for n, new in vars(made).items() if n not in same})
            return
        if type(self) is own and "built_for" in vars(self) and name not in vars(self):
            if name in KERAS and name not in inspect.signature(own.__init__).parameters:
                raise unknown_attribute(own.__name__, name, given)
            if name in self.variables:
                raise UsageError(f"{self.name}.{name}: it is changed by layer.variables[{name!r}].assign(…).")
        if name in ("weights", "state") and not isinstance(value, dict):
            raise UsageError(
                f"{self.name}.{name} holds tensors by name: change one by layer.{name}[name].assign(…), or all weights "
                "of the model by model.set_weights(…)."
            )
        super().__setattr__(name, value)

    def given(self, own: type[Layer]) -> dict[str, Any]:
        """What the constructor of `own`, its class or a base of that, was given, as far as it fixes the layer."""
        return {name: vars(self)[name] for name in ("input_shape", *own.config_names) if name in vars(self)}

    @property
    def trainable(self) -> bool:
        """Whether training changes the layer. False freezes its weights, at once, and its moving statistics too.

        A frozen weight has no gradient and is not updated or decayed; the optimiser's state of it waits.
        """
        return self._trainable

    @trainable.setter
    def trainable(self, value: bool) -> None:
        self._trainable = bool(value)
        self.ask_for_gradients()

    def ask_for_gradients(self, in_trainable_model: bool | None = None) -> None:
        """Have the weights require gradients where the layer is trainable, and the model that it is in, too."""
        if in_trainable_model is not None:
            self._in_trainable_model = in_trainable_model
        for weight in self.weights.values():
            weight.requires_grad = self._trainable and self._in_trainable_model

    def __copy__(self) -> Any:
        return copy.deepcopy(self)  # with weights of its own: two layers do not share them

    def build(self, input_shape: Shape, generator: numpy.random.Generator, dtype: Any = "float32") -> Shape:
        """Make the weights for samples of `input_shape`; returns the shape of one output."""
        input_shape = checked_shape("input_shape", input_shape)
        shape = self.output_shape(input_shape)
        made = self.make_weights(input_shape, generator), self.make_state(input_shape, generator)
        self.hold(input_shape, *({name: values.astype(dtype) for name, values in each.items()} for each in made))
        return shape

    def hold(self, input_shape: Shape, weights: Mapping[str, Any], state: Mapping[str, Any]) -> None:
        """Be built for samples of `input_shape`, with these arrays by name, rather than with any that are drawn."""
        for own, arrays in ((self.weights, weights), (self.state, state)):
            own.update({name: Tensor(values, name=f"{self.name}/{name}") for name, values in arrays.items()})
        self.built_for = tuple(input_shape)
        self.ask_for_gradients()

    def shapes_for(self, input_shape: Shape) -> tuple[dict[str, Shape], dict[str, Shape]]:
        """The shapes of weights and state, by name, for samples of `input_shape`.

        A layer of one's own that says them in `make_weights` draws them for it; the package's draw nothing.
        """
        self.output_shape(input_shape)
        found = []
        for name, declared in (("make_weights", self.weights_for), ("make_state", self.state_for)):
            if getattr(type(self), name) is getattr(Layer, name):
                found.append({name: shape for name, (shape, _) in declared(input_shape).items()})
            else:
                drawn = getattr(self, name)(input_shape, random.generator(0, self.name))
                found.append({name: values.shape for name, values in drawn.items()})
        return found[0], found[1]

    def output_shape(self, input_shape: Shape) -> Shape:
        """The shape of one output for samples of `input_shape`; raises ShapeError where they do not fit."""
        return input_shape

    def weights_for(self, input_shape: Shape) -> Beginnings:
        """What it learns from samples of `input_shape`."""
        return {}

    def state_for(self, input_shape: Shape) -> Beginnings:
        """What it keeps without learning it."""
        return {}

    def make_weights(self, input_shape: Shape, generator: numpy.random.Generator) -> dict[str, Any]:
        """The first values of the weights, as NumPy arrays by name."""
        return _drawn(self, self.weights_for(input_shape), generator)

    def make_state(self, input_shape: Shape, generator: numpy.random.Generator) -> dict[str, Any]:
        """The first values of what it keeps without learning it, as NumPy arrays by name."""
        return _drawn(self, self.state_for(input_shape), generator)

    def apply(self, weights: Weights, x: Tensor, *, training: bool, generator: numpy.random.Generator | None) -> Tensor:
        """The layer's equation on a batch x of shape (batch, …)."""
        raise NotImplementedError

    def config(self) -> dict[str, Any]:
        """What it takes to make this layer again: plain values, and functions of the user's own.

        Raises UsageError where the layer has not kept what it was given.
        """
        shape = {} if self.input_shape is None else {"input_shape": list(self.input_shape)}
        frozen = {} if self.trainable else {"trainable": False}
        kept = dict[str, Any]()
        for key in self.config_names:
            if not hasattr(self, key):
                raise UsageError(
                    f"{type(self).__name__} takes {key}=…, and does not keep it: let it be self.{key}, or let config() "
                    "say what it is made with."
                )
            kept[key] = as_plain(getattr(self, key))
        return {"layer": type(self).__name__, "name": self.name, **shape, **frozen, **kept}

    @property
    def variables(self) -> dict[str, Tensor]:
        """All that it consists of, by name: the weights, then the state."""
        return {**self.weights, **self.state}

    @property
    def parameters(self) -> int:
        """How many numbers it consists of, learned or not."""
        return sum(w.size for w in self.variables.values())


Layer.__init__ = checked_arguments(Layer.__init__)  # type: ignore[method-assign]
LAYERS: Names[type[Layer]] = Names("layer")
"""Layers by class name, as a model file names them; each registers itself."""
ACTIVATIONS: Names[Primitive | None] = Names(
    "activation",
    [
        *((name, p) for name, p in registry.items() if p.__module__.endswith(".activation")),
        ("tanh", registry["tanh"]), ("swish", registry["silu"]), ("linear", None),
    ],
)  # fmt: skip
"""The registry's activation functions by name: the family of that name, and tanh; "linear" is the identity."""


class Activated(Layer, abstract=True):
    """A layer σ(z): `linear` gives z. activation: σ by name, or a function; None is the identity."""

    def __init__(
        self, activation: str | Function | None = None, input_shape: Shape | None = None, name: str | None = None
    ) -> None:
        super().__init__(input_shape, name)
        self.activation = activation

    @property
    def activation(self) -> str | None:
        """σ by name; None for the identity, or a function of the user's. May be set, at any time, to what σ may be."""
        return self._activation

    @activation.setter
    def activation(self, value: str | Function | None) -> None:
        self._function = make_activation(value)
        self._activation = activation_name(self._function)

    @property
    def function(self) -> Function | None:
        """σ; None for the identity."""
        return self._function

    @function.setter
    def function(self, value: str | Function | None) -> None:
        self.activation = value

    def config(self) -> dict[str, Any]:
        found = super().config()
        return {**found, "activation": self.activation or self.function} if "activation" in found else found

    def linear(self, weights: Weights, x: Tensor) -> Tensor:
        """z, without σ: the logits, where σ is softmax or sigmoid."""
        raise NotImplementedError

    def apply(self, weights: Weights, x: Tensor, *, training: bool, generator: numpy.random.Generator | None) -> Tensor:
        z = self.linear(weights, x)
        if self.function is None:
            return z
        a = self.function(z)
        if a.shape != z.shape:
            raise ShapeError(f"{self.name}: an activation keeps the shape, and this made {a.shape} of {z.shape}.")
        return a


def make_activation(value: str | Function | None) -> Function | None:
    """An activation function of its name ("relu", "softmax", …), itself, or None for the identity ("linear")."""
    if value is not None and not callable(value):
        value = ACTIVATIONS.named(value)
    if isinstance(value, Primitive) and [*inspect.signature(value).parameters][:1] != [*value.operands]:
        raise UsageError(f"the primitive {value.name!r} takes {value.operands}: an activation takes one tensor.")
    if value is not None:
        check_arguments("activation", value, "x")
    return value


def activation_name(function: Function | None) -> str | None:
    """The name by which `make_activation` gives this function; None for the identity, or a function of the user's."""
    return None if function is None else ACTIVATIONS.name_of(function)


def make_layer(config: Mapping[str, Any]) -> Layer:
    """The layer that a `config()` describes; raises UsageError for a kind that is not known."""
    layer: Layer = LAYERS.made({key: value for key, value in config.items() if key not in COMMON}, "layer")
    layer.name, layer.trainable = config.get("name") or layer.name, config.get("trainable", True)
    if config.get("input_shape") is not None:
        vars(layer)["input_shape"] = checked_shape("input_shape", config["input_shape"])
    return layer


def _drawn(layer: Layer, wanted: Beginnings, generator: numpy.random.Generator) -> dict[str, Any]:
    for name, (shape, _) in wanted.items():
        if math.prod(shape) > LARGEST:
            raise ShapeError(f"{layer.name}: its {name} of shape {shape} is more than any machine holds.")
    return {name: begin(generator, shape) for name, (shape, begin) in wanted.items()}


def default_name(kind: type[Layer]) -> str:
    """What Keras calls a layer of this class."""
    return snake(kind.__name__)


def checked_shape(what: str, shape: Any) -> Shape:
    """The shape of one sample as a tuple; raises UsageError for what is none."""
    lengths = wholes(shape)
    if lengths is None:
        raise UsageError(f"{what}={shape!r}: it is the shape of one sample, such as (784,).")
    if any(n < 1 for n in lengths):
        raise UsageError(f"{what}={shape!r}: every length is 1 or more (the batch is not part of it).")
    return lengths
