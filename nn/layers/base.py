"""What layers have in common: weights and state by name, a configuration, a name; layers and activations by name."""

from __future__ import annotations

import copy
import inspect
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy

from ...checks import is_whole, wholes
from ...engine import backend, random
from ...engine.absent import KERAS, checked_arguments, unknown_attribute
from ...engine.piece import as_plain
from ...engine.tensor import Tensor, tensor
from ...errors import ShapeError, UsageError
from ...names import Names, is_ours, snake, taken_by
from .. import graph
from ..constraints import Constraint
from ..graph import Shape as Shape
from ..graph import is_symbolic, samples_of
from ..initializers import Begin
from ..regularizers import Regularizer
from . import written

Weights = Mapping[str, Tensor]
Beginnings = Mapping[str, tuple[Shape, Begin]]
"""Weights by name: the shape of each, and how it begins."""

LARGEST = 1 << 48
"""Numbers in one array, beyond which none is asked for."""
COMMON = ("input_shape", "name", "trainable")
"""What every layer may be given."""


def _pieces(kind: type[Layer]) -> Iterator[str]:
    """The names of the regularisers and constraints of its weights: of those whose beginning may be given."""
    for name in taken_by(kind):
        if name.endswith("_initializer") and not name.startswith("moving_"):
            weight = name.removesuffix("_initializer")
            yield from (f"{weight}_regularizer", f"{weight}_constraint")
    yield "activity_regularizer"


class Layer:
    """A step of a model. A layer of one's own has `apply`, with weights `make_weights`, and `output_shape` where that
    is another than the input's. What its constructor takes, it keeps under the same name: so files can hold it.

    Or it is written in Keras's way: `build(input_shape)`, with the batch as None in front, makes weights by
    `add_weight`, and `call(x)`, which may also take `training`, computes; layers that it holds as attributes, also in
    lists and dicts, belong to it.

    input_shape: the shape of one sample, for the first layer of a model. name: what files and summaries call it.
    The mathematics is in `apply`, a function of the weights: a model hands in weights that ask for gradients or do not.
    Where a layer takes several values x is a list of tensors, and a shape a list of shapes.
    One that takes whole numbers, ids say, has `takes_integers = True`: they come exactly as they are.
    `weights` are learned; `state` (moving means, say) the layer changes itself, in place, in training.
    A mask of steps goes along with a value: see `compute_mask`.
    """

    config_names: ClassVar[tuple[str, ...]] = ()
    """What the constructor takes besides input_shape, name and trainable."""
    free_names: ClassVar[tuple[str, ...]] = ()
    """Of the configuration, what may be set at any time; the rest is fixed once the layer is built."""
    takes_integers: ClassVar[bool | None] = False
    """Whether a model hands x on in the dtype it has, as a layer wants it that looks up places by whole numbers; else
    x is made the model's floating dtype first. None: as the layer after it says, for one that only moves elements."""

    piece_names: ClassVar[tuple[str, ...]] = ("activity_regularizer",)
    """Of what may be given besides the constructor's arguments: regularisers and constraints, by names as Keras has."""
    takes_several: bool = False
    """Whether it takes a list of values."""
    makes_mask: bool = False
    """Whether it makes a mask of what it is given."""
    supports_masking: bool = False
    """Whether a mask of what it is given holds for what it gives, too, step by step."""
    _is_called: ClassVar[bool] = False
    """Whether what it computes is written as a `call`."""
    _beside: ClassVar[tuple[str, ...]] = ()
    """Which of training, generator and mask it takes."""
    _besides: ClassVar[tuple[str, ...]] = ()
    """What it keeps that another argument does not make anew."""
    _further: ClassVar[tuple[str, ...]] = ()
    """The arguments behind x, in order."""
    _called: graph.Made | None = None
    """How it was called first on symbols."""
    _drawn_from: tuple[numpy.random.Generator, Any] | None = None
    """While it is built: what weights are drawn from, and their dtype."""
    _within: tuple[bool, numpy.random.Generator | None] | None = None
    """In a call of the layer that holds it: whether that is training, and what it draws from."""
    _bound_to: Any = None
    """What it stands for in such a call."""
    built_for: Any = None
    """The shape of the samples that its weights are for, a list of them where it takes several values."""

    def __init__(self, input_shape: Shape | None = None, name: str | None = None, trainable: bool = True) -> None:
        self.input_shape = None if input_shape is None else checked_shape("input_shape", input_shape)
        self.name = name or default_name(type(self))
        self.weights: dict[str, Tensor] = {}
        self.state: dict[str, Tensor] = {}
        self.built_for = None
        self._trainable, self._in_trainable_model = bool(trainable), True
        self.pieces: dict[str, Any] = {}

    def weight_of(self, name: str) -> str:
        """The key of the weight whose regulariser is `name`_regularizer."""
        keys = [key for key in (name, f"{name}_kernel", "kernel") if key in self.weights]
        return next(iter(keys), name)

    def __init_subclass__(cls, abstract: bool = False) -> None:
        super().__init_subclass__()
        if "__init__" in vars(cls):
            cls.piece_names = tuple(_pieces(cls))
            cls.__init__ = checked_arguments(vars(cls)["__init__"], "", ("trainable", "input_dim", *cls.piece_names))  # type: ignore[method-assign]
        if "__init__" in vars(cls) and "config_names" not in vars(cls):
            cls.config_names = tuple(name for name in taken_by(cls) if name not in COMMON)
        written.bridge(cls, Layer)
        if not abstract:
            LAYERS.add(cls.__name__, cls)

    def __call__(
        self, x: Any, *further: Any, training: bool | None = None,
        generator: numpy.random.Generator | None = None, **others: Any,
    ) -> Any:  # fmt: skip
        """The layer applied to a batch, with its own weights (drawn with seed 0 if it was not built yet).

        Symbols, as `Input` gives them, make a symbol. Behind x: what else its `apply` or `call` takes.
        """
        if len(further) > len(self._further):
            raise UsageError(f"{self.name}: {type(self).__name__} is called on x{', '.join(('', *self._further))}.")
        others |= zip(self._further, further, strict=False)
        if is_symbolic(x, *others.values()):
            return graph.call(self, x, others if training is None else {**others, "training": training})
        several = isinstance(x, (list, tuple)) and (self.takes_several or written.is_list(self, x))
        x = [each if isinstance(each, Tensor) else tensor(each) for each in (x if several else [x])]
        if is_ours(type(self)) and not isinstance(mask := others.get("mask"), (Tensor, type(None))):
            others["mask"] = tensor(mask, device=x[0].device) != 0
        if self.built_for is None:
            own = "float32" if x[0].dtype.kind != "f" else x[0].dtype
            shapes = [tuple(each.shape[1:]) for each in x]
            self._begin(shapes if several else shapes[0], *(self._drawn_from or (random.generator(0, self.name), own)))
            for w in self.variables.values():
                w._data = backend.to_device(w._data, x[0].device)
        around = self._within or (False, None)
        return self._applied(
            self.weights, x if several else x[0], around[0] if training is None else training, generator or around[1],
            **others,
        )  # fmt: skip

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute. What the constructor of a layer of ours is given is checked as there, or refused."""
        own: Any = next(kind for kind in type(self).__mro__ if is_ours(kind))
        if name == "input_dim" and name not in own.config_names:
            name, value = "input_shape", value and checked_shape(name, (value,))
        given = self.given(own)
        if name in given:
            if self.built_for is not None and name not in own.free_names:
                raise UsageError(f"{self.name}.{name} is fixed now that the layer is built: make a new {own.__name__}.")
            made = own(**{**given, name: value})
            same = {*vars(Layer()), *own._besides} - {"input_shape"}  # its name, weights, σ, …
            vars(self).update({n: new for n, new in vars(made).items() if n not in same})
            return
        if type(self) is own and "built_for" in vars(self) and name not in vars(self):
            if name in KERAS and name not in inspect.signature(own.__init__).parameters:
                raise unknown_attribute(own.__name__, name, given)
            if name in self.variables:
                raise UsageError(f"{self.name}.{name}: it is changed by layer.variables[{name!r}].assign(…).")
        if name in self.piece_names:
            made = (
                (Regularizer if name.endswith("regularizer") else Constraint).of(value) if value is not None else None
            )
            self.pieces = {key: one for key, one in {**self.pieces, name: made}.items() if one is not None}
            return
        if self._bound_to is not None:
            setattr(self._bound_to, name, value)
        if name in ("weights", "state") and not isinstance(value, dict):
            raise UsageError(
                f"{self.name}.{name} holds tensors by name: change one by layer.{name}[name].assign(…), or all weights "
                "of the model by model.set_weights(…)."
            )
        super().__setattr__(name, value)

    def declared(self, input_shape: Any) -> dict[str, Shape]:
        """The shapes of weights and state that it declares, by name."""
        both = {**self.weights_for(input_shape), **self.state_for(input_shape)}
        return {name: lengths for name, (lengths, _) in both.items()}

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
        asks = self._trainable and self._in_trainable_model
        inner = self._inner
        for name, weight in self.weights.items():
            if not inner or name.rpartition("/")[0] not in inner:
                weight.requires_grad = asks
        for child in inner.values():
            child.ask_for_gradients(asks)

    def __copy__(self) -> Any:
        return copy.deepcopy(self)  # with weights of its own: two layers do not share them

    def __getstate__(self) -> dict[str, Any]:
        """A copy is of the layer alone, not of what it was called on."""
        return {name: value for name, value in vars(self).items() if name != "_called"}

    def __getattr__(self, name: str) -> Any:
        """A weight by its name."""
        own = vars(self)
        for kind in ("weights", "state", "pieces"):
            if name in own.get(kind, ()):
                return own[kind][name]
        if name in self.piece_names:
            return None
        if name == "name":
            raise UsageError(f"{type(self).__name__}: its constructor has to call super().__init__() first.")
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}.")

    def _made(self) -> graph.Made:
        model = graph.owner_of(self)
        if self._called is None and model is not None:
            model.symbols()
        if self._called is None:
            raise UsageError(f"{self.name} was not called on a symbol yet, nor is it in a model that knows its input.")
        return self._called

    @property
    def input(self) -> Any:
        """What it was called on first, as a symbol or a list of them; in a Sequential what comes before it."""
        return self._made().x

    @property
    def output(self) -> Any:
        """What that gives, as a symbol or a list of them: `Model(model.inputs, layer.output)` ends there."""
        return self._made().y

    @property
    def _inner(self) -> dict[str, Layer]:
        """The layers that it holds as attributes, by name."""
        return written.inner_of(self)

    @property
    def _holder(self) -> Any:
        """What has the attributes that its `call` uses."""
        return self

    @property
    def _tried(self) -> dict[Any, Any]:
        """The shapes that its `call` was seen to give, by those of the input."""
        found: dict[Any, Any] = vars(self).setdefault("_shapes_tried", {})
        return found

    def _inner_shape(self, name: str, input_shape: Any) -> Any:
        """The shape of the samples that a layer in it is given, where its `apply` and not a `call` says so."""
        return input_shape

    def build(self, input_shape: Any, generator: numpy.random.Generator | None = None, dtype: Any = "float32") -> Any:
        """Make the weights for samples of `input_shape`; returns the shape of one output.

        input_shape: of a sample, or of a batch with None in front. A layer of one's own may have a `build(input_shape)`
        that calls `add_weight`.
        """
        if self._drawn_from is None:
            shape = samples_of(input_shape)
            several = isinstance(shape, list) and bool(shape) and isinstance(shape[0], (list, tuple))
            shape = (
                [checked_sample("input_shape", s) for s in shape] if several else checked_sample("input_shape", shape)
            )
            self._begin(shape, generator or random.generator(0, self.name), dtype)
            return graph.with_varying(self.output_shape, shape)
        shape, (generator, dtype) = written.known(self, samples_of(input_shape)), self._drawn_from
        for own, made in (
            (self.weights, self.make_weights(shape, generator)),
            (self.state, self.make_state(shape, generator)),
        ):
            own.update({n: Tensor(values.astype(dtype), name=f"{self.name}/{n}") for n, values in made.items()})
        return None

    def _begin(self, input_shape: Any, generator: numpy.random.Generator, dtype: Any) -> None:
        """Draw the weights for samples of `input_shape`, whichever way the layer is written."""
        if not self._is_called:
            graph.with_varying(self.output_shape, input_shape)
        written.begin(self, input_shape, generator, dtype)

    def hold(self, input_shape: Any, weights: Mapping[str, Any], state: Mapping[str, Any]) -> None:
        """Be built for samples of `input_shape`, with these arrays by name, rather than with any that are drawn."""
        if self._declares:
            for own, arrays in ((self.weights, weights), (self.state, state)):
                own.update({name: Tensor(values, name=f"{self.name}/{name}") for name, values in arrays.items()})
            self.built_for = tuple(input_shape)
        else:
            dtype = next((a.dtype for a in weights.values()), "float32")
            self._begin(input_shape, random.generator(0, self.name), dtype)
            for name, array in (*weights.items(), *state.items()):
                self.variables[name]._data = array
        self.ask_for_gradients()

    @property
    def _declares(self) -> bool:
        """Whether its weights are known by what it declares alone."""
        return type(self).build is Layer.build and not self.weights and not self._inner

    def shapes_for(self, input_shape: Any) -> tuple[dict[str, Shape], dict[str, Shape]]:
        """The shapes of weights and state, by name, for samples of `input_shape`.

        A layer of one's own that says them in `make_weights` or `build` draws them for it; the package's draw nothing.
        """
        self.output_shape(input_shape)
        if not self._declares:
            one = self if self.built_for is not None else copy.deepcopy(self)
            if one is not self:
                one._begin(input_shape, random.generator(0, self.name), "float32")
            return {n: w.shape for n, w in one.weights.items()}, {n: w.shape for n, w in one.state.items()}
        found = []
        for name, declared in (("make_weights", self.weights_for), ("make_state", self.state_for)):
            if getattr(type(self), name) is getattr(Layer, name):
                found.append({name: shape for name, (shape, _) in declared(input_shape).items()})
            else:
                drawn = getattr(self, name)(input_shape, random.generator(0, self.name))
                found.append({name: values.shape for name, values in drawn.items()})
        return found[0], found[1]

    def add_weight(
        self,
        shape: Any = None,
        initializer: Any = None,
        dtype: Any = None,
        trainable: bool = True,
        name: str | None = None,
    ) -> Tensor:
        """A new weight, in `build` or the constructor; it is learned, or with trainable=False part of the state.

        shape: () by default. initializer: "glorot_uniform" by default. dtype: the model's by default.
        """
        return written.add_weight(self, shape, initializer, dtype, trainable, name)

    def call(self, x: Any, training: bool = False, **others: Any) -> Any:
        """The layer's equation on a batch, with its own weights; one's own layer may have it instead of `apply`."""
        kind = next(kind for kind in type(self).__mro__ if vars(kind).get("apply", Layer.apply) is not Layer.apply)
        around = self._within or (training, None)
        return vars(kind)["apply"](self, self.weights, x, training=training, generator=around[1], **others)

    def output_shape(self, input_shape: Any) -> Any:
        """The shape of one output for samples of `input_shape`; raises ShapeError where they do not fit."""
        if type(self).compute_output_shape is not Layer.compute_output_shape:
            found = self.compute_output_shape(graph.mapped(lambda shape: (None, *shape), input_shape))
            return graph.mapped(tuple, samples_of(found))
        return written.shape_by_trying(self, input_shape) if self._is_called else input_shape

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The shape of a batch of outputs for a batch of `input_shape`, with None in front."""
        return graph.mapped(lambda shape: (None, *shape), self.output_shape(samples_of(input_shape)))

    def check_samples(self, values: Any, what: str) -> None:
        """Raise DataError that names the first of all samples that it cannot take. Asked of the first layer."""

    def compute_mask(self, x: Any, mask: Tensor | None = None) -> Tensor | None:
        """The mask (batch, steps) of what it gives, True where a step counts; None where all do.

        x, mask: what it is given. A layer that makes one has `makes_mask = True`; that of its input holds for its
        output, too, where `supports_masking` is True. One whose `apply` or `call` takes `mask` is handed it.
        """
        return mask if self.supports_masking else None

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

    def apply(self, weights: Weights, x: Any, *, training: bool, generator: numpy.random.Generator | None) -> Any:
        """The layer's equation on a batch x of shape (batch, …)."""
        return self._applied(weights, x, training, generator)

    def _applied(
        self, weights: Weights, x: Any, training: bool, generator: numpy.random.Generator | None, **others: Any
    ) -> Any:
        """`apply`, or `call`, with what it takes besides."""
        if type(self).apply is not Layer.apply:
            apply: Any = self.apply
            return apply(weights, x, training=training, generator=generator, **others)
        if type(self).call is Layer.call:
            raise UsageError(f"{type(self).__name__} has neither `apply` nor `call`: write what it computes.")
        there = self._within == (training, generator) and weights is self.weights
        view = self if there else written.bound(self, self._holder, weights, training, generator)
        return written.called(self, view, x, training, generator, **others)

    def config(self) -> dict[str, Any]:
        """What it takes to make this layer again: plain values, and functions of the user's own.

        Raises UsageError where the layer has not kept what it was given.
        """
        config = self.get_config()
        for key in self.config_names:
            if key not in config:
                raise UsageError(
                    f"{type(self).__name__} takes {key}=…, and does not keep it: let it be self.{key}, or let config() "
                    "or get_config() say what it is made with."
                )
        return {"layer": type(self).__name__, **config}

    def get_config(self) -> dict[str, Any]:
        """What `from_config` makes the layer again of, as far as it has kept what it was given."""
        shape = {} if self.input_shape is None else {"input_shape": list(self.input_shape)}
        frozen = {} if self.trainable else {"trainable": False}
        kept = {key: plain(getattr(self, key)) for key in self.config_names if hasattr(self, key)}
        return {"name": self.name, **shape, **frozen, **kept, **plain(self.pieces)}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Any:
        """The layer that `get_config` tells of, without its weights."""
        return make_layer({"layer": cls, **config})

    def get_weights(self) -> list[Any]:
        """Copies of what it learns, then of its state, as NumPy arrays."""
        self._drawn_by_its_model()
        return [w.numpy().copy() for w in self.variables.values()]

    def set_weights(self, values: Sequence[Any]) -> None:
        """Overwrite what it learns and its state; raises ShapeError, before any is changed, where they do not fit."""
        self._drawn_by_its_model()
        written.set_weights(f"the layer {self.name!r}", [*self.variables.values()], values)

    def _drawn_by_its_model(self) -> None:
        model = graph.owner_of(self)
        if self.built_for is None and model is not None:
            model._ready()

    @property
    def trainable_weights(self) -> list[Tensor]:
        """The weights that are learned; none, where it is frozen."""
        return [w for w in self.weights.values() if w.requires_grad]

    @property
    def non_trainable_weights(self) -> list[Tensor]:
        """The others."""
        return [w for w in self.variables.values() if not w.requires_grad]

    def count_params(self) -> int:
        """How many numbers it consists of, learned or not."""
        self._drawn_by_its_model()
        return self.parameters

    @property
    def variables(self) -> dict[str, Tensor]:
        """All that it consists of, by name: the weights, then the state."""
        return {**self.weights, **self.state}

    @property
    def parameters(self) -> int:
        """How many numbers it consists of, learned or not."""
        return sum(w.size for w in self.variables.values())


Layer.__init__ = checked_arguments(Layer.__init__, "", ("activity_regularizer",))  # type: ignore[method-assign]
LAYERS: Names[type[Layer]] = Names("layer")
"""Layers by class name, as a model file names them; each registers itself."""


def make_layer(config: Mapping[str, Any]) -> Layer:
    """The layer that a `config()` describes; raises UsageError for a kind that is not known."""
    if maker := wrappers.get(str(config.get("layer"))):
        layer = maker(config)
    else:
        given = {key: with_layers(value) for key, value in config.items() if key not in COMMON}
        kind = given.get("layer")
        if isinstance(kind, type) and kind.from_config.__func__ is not Layer.from_config.__func__:  # type: ignore[attr-defined]
            layer = kind.from_config({key: value for key, value in given.items() if key != "layer"})  # type: ignore[attr-defined]
        else:
            layer = LAYERS.made(given, "layer")
    layer.name, layer.trainable = config.get("name") or layer.name, config.get("trainable", True)
    if config.get("input_shape") is not None:
        vars(layer)["input_shape"] = checked_shape("input_shape", config["input_shape"])
    return layer


wrappers: dict[str, Callable[[Mapping[str, Any]], Layer]] = {}
"""What makes layers of those configurations that name no class of `LAYERS`: models as layers."""


def with_layers(value: Any) -> Any:
    """The layer that a configuration among others tells of; anything else as it is."""
    return make_layer(value) if isinstance(value, Mapping) and "layer" in value else value


def plain(value: Any) -> Any:
    """A value as a configuration has it: layers and models by theirs."""
    layer = getattr(value, "as_layer", value)
    return layer.config() if isinstance(layer, Layer) else as_plain(value)


def _drawn(layer: Layer, wanted: Beginnings, generator: numpy.random.Generator) -> dict[str, Any]:
    for name, (shape, _) in wanted.items():
        if math.prod(shape) > LARGEST:
            raise ShapeError(f"{layer.name}: its {name} of shape {shape} is more than any machine holds.")
    drawn = {name: begin(generator, shape) for name, (shape, begin) in wanted.items()}
    for name, (shape, _) in wanted.items():
        written.check_drawn(layer, name, shape, drawn[name])
    return drawn


def default_name(kind: type) -> str:
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


def checked_sample(what: str, shape: Any) -> Any:
    """The same, where a length may be None: it may vary."""
    lengths = shape if isinstance(shape, (list, tuple)) else [shape] if is_whole(shape) and what == "shape" else None
    if lengths is None:
        return checked_shape(what, shape)
    known = checked_shape(what, [1 if n is None else n for n in lengths])
    return tuple(None if n is None else k for n, k in zip(lengths, known, strict=True))
