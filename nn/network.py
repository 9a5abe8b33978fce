"""Layers and their calls, with their weights: drawn, looked at, replaced, and what they make of a batch."""

from __future__ import annotations

import copy
import functools
import math
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ParamSpec, TypeVar

import numpy
import numpy.typing

from ..engine import backend, forked, random
from ..engine.flat import Flat
from ..engine.sharing import Sharing, changing, reading
from ..engine.tensor import Tensor, tensor
from ..errors import DeviceMemoryError, DtypeError, ShapeError, UsageError, unknown_name
from ..names import is_ours
from . import graph
from .graph import Call, Graph, Symbol, is_symbolic, listed, samples_of, shape_after
from .layers import Layer
from .layers.base import LARGEST, Shape, Weights, checked_sample
from .layers.written import set_weights
from .measuring import in_dtype
from .nested import Body, Nested
from .penalties import activity

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


MIXED = "mixed_float16"
"""The policy by which weights are float32, and what is computed with them is float16."""


def _floating(dtype: Any) -> str:
    """The name of a dtype that a model can have; raises DtypeError for any other."""
    if dtype == "mixed_bfloat16":
        raise DtypeError(f"dtype={dtype!r}: NumPy has no bfloat16. {MIXED!r} is there, or Dense(precision='tf32').")
    try:
        found = numpy.dtype(dtype)
    except TypeError:
        found = None
    if found not in ("float16", "float32", "float64"):
        raise DtypeError(f"dtype={dtype!r}: a model computes in float16, float32 or float64, or by {MIXED!r}.")
    return str(found)


class Network:
    """Calls of layers, with weights, and what they compute. `Sequential` and `Model` say what its arguments mean.

    parts: the layers, each once; a model among them is one of them, too. calls: which of them are applied, to which
    values, by number. inputs_at, outputs_at: the numbers of the values that go in and come out.
    """

    def __init__(self, layers: Iterable[Any] | Graph, seed: int | None, dtype: str, device: str, name: str) -> None:
        self.parts: list[Layer] = []
        self.calls: list[Call] = []
        self.inputs_at, self.outputs_at = [0], [0]
        self.sharing = Sharing()
        self._trainable = True
        seed = random.next_seed() if seed is None else seed
        random.generator(seed)  # refuses what is no seed
        self.mixed = dtype == MIXED
        self.seed, self.dtype, self.name = int(seed), "float32" if self.mixed else _floating(dtype), name
        self.device = backend.resolve_device(device)
        self.shapes: list[Shape] = []
        self._given: list[Symbol] = []
        self._input_places: list[int] = []
        self._symbols: list[Symbol] = []
        self._layer: Nested | None = None
        self._flat: Flat | None = None
        if isinstance(layers, Graph):
            self._take(layers)
            return
        names, known = dict[str, int](), set[int]()
        for layer in layers:
            self._append(layer, names, known)

    def _take(self, found: Graph) -> None:
        self.inputs_at, self.outputs_at = found.inputs, found.outputs
        self._given = [found.symbols[number] for number in found.inputs]
        values = len(found.inputs) + sum(len(listed(call.y)) for call in found.calls)
        self._symbols = found.symbols if len(found.symbols) == values else []
        self._input_places = found.places
        first, names = [part for part in found.layers if graph.owner_of(part)], dict[str, int]()
        for part in (*first, *(part for part in found.layers if part not in first)):
            self._name(part, names)
        self.parts, self.calls = found.layers, found.calls
        for part in self.parts:
            self._adopt(part)
        graph.note_spent(self.calls, self.outputs_at)

    @changing
    def add(self, layer: Any) -> None:
        """Append a layer, or a model as one. Raises UsageError for what is no layer.

        A model that is built is built anew: the layers that have weights keep them.
        """
        self._rebuilt()
        self._append(layer, {other.name: 1 for other in self.parts}, {id(other) for other in self.parts})

    def _rebuilt(self) -> None:
        self.shapes, self._flat, self._symbols, self._layer = [], None, [], None

    def _append(self, layer: Any, taken: dict[str, int], known: set[int]) -> None:
        """taken: the names that are taken, each with a number from which on it may be free with that behind it."""
        layer = getattr(layer, "symbol", layer)
        if isinstance(layer, Symbol) and layer.made is None and not self.parts:
            self._given = [layer]
            return
        layer = getattr(layer, "as_layer", layer)
        if not isinstance(layer, Layer):
            raise UsageError(f"a model consists of layers, not of {type(layer).__name__} ({layer!r}).")
        if id(layer) in known:
            raise UsageError(f"the layer {layer.name!r} is in the model already: make a second one.")
        self._name(layer, taken)
        known.add(id(layer))
        self._adopt(layer)
        number = len(self.parts)
        self.parts.append(layer)
        self.calls.append(Call(layer, number, number, number + 1, spent=(number,)))
        self.outputs_at = [number + 1]

    def _name(self, layer: Layer, taken: dict[str, int]) -> None:
        base = name = layer.name
        while name in taken:
            name = f"{base}_{taken[base]}"
            taken[base] += 1
        if name != base:
            layer.name = name
        taken[name] = 1

    def _adopt(self, layer: Layer) -> None:
        layer.ask_for_gradients(self._trainable)
        if graph.owner_of(layer) is None:
            graph.owners[layer] = weakref.ref(self)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in ("seed", "dtype", "device") and getattr(self, "shapes", None):
            raise UsageError(
                f"model.{name} = {value!r}: the weights are there already, and were made with {name}="
                f"{getattr(self, name)!r}. Make a new Sequential with it."
            )
        super().__setattr__(name, value)

    def __getstate__(self) -> dict[str, Any]:
        """A copy has no symbols: it makes its own when they are asked for."""
        symbols = [Symbol(each.sample, each.dtype, each.name) for each in self._given]
        return {**vars(self), "_given": symbols, "_symbols": []}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        for part in self.parts:
            graph.owners[part] = weakref.ref(self)

    def __copy__(self) -> Any:
        return copy.deepcopy(self)  # two models that share layers would each spoil the other's training

    # What it consists of

    @property
    def layers(self) -> list[Any]:
        """The layers, each once, and models among them as such; those of inputs, too, where it was made from some."""
        found = [layer for part in self.parts for layer in (part._inner.values() if type(part) is Body else [part])]
        layers: list[Any] = [layer.network if isinstance(layer, Nested) else layer for layer in found]
        for place, layer in sorted(zip(self._input_places, self.input_layers, strict=True), key=lambda each: each[0]):
            layers.insert(place, layer)
        return layers

    @property
    def input_layers(self) -> list[Layer]:
        """What stands for its inputs among the layers."""
        return []

    def get_layer(self, name: str | None = None, index: int | None = None) -> Any:
        """The layer of that name, or at that place; raises UsageError, with the nearest name, where there is none."""
        layers = self.layers
        if (name is None) == (index is None):
            raise UsageError("get_layer takes a name or an index.")
        if index is not None:
            if not -len(layers) <= index < len(layers):
                raise UsageError(f"get_layer(index={index}): the model has {len(layers)} layers.")
            return layers[index]
        for layer in layers:
            if layer.name == name:
                return layer
        raise unknown_name("layer", name, [layer.name for layer in layers])

    @property
    def as_layer(self) -> Nested:
        """The network as a layer of another."""
        if self._layer is None:
            vars(self)["_layer"] = Nested(self)
        assert self._layer
        return self._layer

    def architecture(self) -> dict[str, Any]:
        """What there is to be told of its layers and their calls."""
        raise NotImplementedError

    def symbols(self) -> list[Symbol]:
        """The values, by number, as symbols."""
        if not self._symbols:
            shapes, found = self.shapes or self.infer_shapes(), dict[int, Symbol]()
            for number, name in zip(self.inputs_at, self.input_names, strict=True):
                given = next((each for each in self._given if each.name == name), None)
                found[number] = Symbol(shapes[number], None, name) if given is None else given
            for call in self.calls:
                x, others = (
                    graph.mapped(found.get, call.x),
                    {n: graph.mapped(found.get, v) for n, v in call.others.items()},
                )
                y = graph.call(call.layer, x, {**others, **call.options})
                for number, symbol in zip(listed(call.y), listed(y), strict=True):
                    found[number] = symbol
            vars(self)["_symbols"] = [found[number] for number in range(len(found))]
        return self._symbols

    @property
    def inputs(self) -> list[Symbol]:
        """What goes in, as symbols: `Model(model.inputs, model.layers[-2].output)` is a model of some of the layers."""
        symbols = self.symbols()
        return [symbols[number] for number in self.inputs_at]

    @property
    def outputs(self) -> list[Symbol]:
        """What comes out, as symbols."""
        symbols = self.symbols()
        return [symbols[number] for number in self.outputs_at]

    @property
    def input(self) -> Any:
        """The input, as a symbol; a list of them where there are several."""
        return _one(self.inputs)

    @property
    def output(self) -> Any:
        """The output, as a symbol; a list of them where there are several."""
        return _one(self.outputs)

    @property
    def input_names(self) -> list[str]:
        """What the inputs are called."""
        if self._given:
            return [each.name for each in self._given]
        return [f"input_{number}" if number else "input" for number in range(len(self.inputs_at))]

    @property
    def last_layers(self) -> list[Layer]:
        """Of each output the layer that makes it."""
        made = {number: call.layer for call in self.calls for number in listed(call.y)}
        return [made[number] for number in self.outputs_at if number in made]

    @property
    def output_names(self) -> list[str]:
        """What the outputs are called: as the layers that make them."""
        return [layer.name for layer in self.last_layers]

    # Its weights

    @property
    def built(self) -> bool:
        """Whether the weights are there."""
        return bool(self.shapes)

    @on_its_device
    def build(self, input_shape: Any = None) -> None:
        """Draw the weights for samples of `input_shape`, by default the first layer's. Once is enough.

        input_shape: of a sample, or of a batch with None in front; a list of them for several inputs.
        """
        if not self.built:
            with _building:  # the first predictions of a model may come from several threads
                self.draw(None if input_shape is None else samples_of(input_shape))

    def draw(self, input_shape: Any, generator: numpy.random.Generator | None = None) -> None:
        """Draw the weights, from the seed or from a generator; layers that have theirs keep them."""
        if self.built:
            return
        shapes = self.infer_shapes(input_shape)
        made = set[int]()
        for call in self.calls:
            layer, shape = call.layer, graph.mapped(lambda number: shapes[number], call.x)
            if isinstance(layer, Nested):
                layer.check(self.dtype, self.device)
            if layer.built_for is None and call.part not in made:
                source = generator or random.generator(self.seed, f"weights {call.part}")
                layer._begin(shape, source, self.dtype)
            else:
                self._check_fits(layer, shape)
            made.add(call.part)
        self._hold(shapes)

    def _check_fits(self, layer: Layer, shape: Any) -> None:
        """Raise where a layer that has its weights already cannot take samples of this shape, or has another dtype."""
        own = layer.variables
        if not isinstance(layer, (Nested, Body)):
            for name, lengths in graph.with_varying(layer.declared, shape).items():
                if name in own and own[name].shape != lengths:
                    raise ShapeError(
                        f"the layer {layer.name!r} has its weights already, for samples of shape {layer.built_for}: it "
                        f"cannot take {shape} as well. Make a second layer."
                    )
        for w in own.values():
            if w.dtype.kind == "f" and w.dtype != self.dtype:
                raise DtypeError(f"the layer {layer.name!r} has weights of {w.dtype}, the model is of {self.dtype}.")

    @on_its_device
    def build_of(self, shapes: Sequence[Shape], arrays: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]]) -> None:
        """Take arrays of the model's dtype as weights, rather than draw any: of each layer weights and state by name.

        shapes: as `infer_shapes` gives them.
        """
        for layer, shape, own in zip(self.parts, self.part_shapes(shapes), arrays, strict=True):
            layer.hold(shape, *own)
        self._hold(shapes)

    def part_shapes(self, shapes: Sequence[Shape]) -> list[Any]:
        """Of each layer the shape of the samples that it is first applied to. shapes: of all values."""
        found = dict[int, Any]()
        for call in self.calls:
            found.setdefault(call.part, graph.mapped(lambda number: shapes[number], call.x))
        return [found[number] for number in range(len(self.parts))]

    def _hold(self, shapes: Sequence[Shape]) -> None:
        for layer in self.parts:
            for weight in layer.variables.values():
                weight._data = backend.to_device(weight._data, self.device)
            layer.ask_for_gradients(self._trainable)
        learned = [*dict.fromkeys(w for layer in self.parts for w in layer.weights.values())]
        self._flat = Flat(learned) if learned else None
        self.shapes = list(shapes)  # from now on it is built
        if self._layer:
            self._layer._named()

    def _declared(self) -> list[Shape | None]:
        """The shapes of the inputs, as far as they are known."""
        if self.built:
            return [self.shapes[number] for number in self.inputs_at]
        if self._given:
            return [each.sample for each in self._given]
        first = self.parts[0] if self.parts else None
        known: list[Shape | None] = [first.input_shape if first else None]
        if isinstance(first, Nested):
            known = first.network._declared()
        return known if len(known) == len(self.inputs_at) else [None] * len(self.inputs_at)

    @property
    def knows_its_input(self) -> bool:
        """Whether the weights are there, or can be drawn without a batch."""
        return bool(self.parts) and None not in self._declared()

    def infer_shapes(self, input_shape: Any = None) -> list[Shape]:
        """The shape of a sample of each value, by number (of layers one after another: before the first, and after
        each); raises where a layer cannot take what comes. input_shape: a list where there are several inputs.
        """
        if not self.parts:
            raise UsageError("the model has no layers: add some first.")
        known = self._declared()
        given = known if input_shape is None else input_shape if isinstance(input_shape, list) else [input_shape]
        if len(given) != len(known):
            raise ShapeError(f"the model has {len(known)} inputs, {self.input_names}; {len(given)} were given.")
        shapes: dict[int, Shape] = {}
        for number, shape, own in zip(self.inputs_at, given, known, strict=True):
            if shape is None:
                raise UsageError(
                    "the model does not know the shape of a sample yet: give input_shape= to the first layer, "
                    "or call fit(x, y) or build(input_shape) first."
                )
            shape = checked_sample("input_shape", shape)
            if own is not None and not _fits(shape, own):
                raise ShapeError(f"samples have shape {shape}, but the model was made for {own}.")
            shapes[number] = tuple(shape)
        sources = dict[int, str]()
        for call in self.calls:
            took = graph.mapped(lambda number: sources.get(number, ""), call.x)
            found = shape_after(call.layer, graph.mapped(shapes.__getitem__, call.x), took)
            for number, shape in zip(listed(call.y), listed(found), strict=True):
                if math.prod(n or 1 for n in shape) > LARGEST:
                    raise ShapeError(f"{call.layer.name}: a sample of shape {shape} is more than any machine holds.")
                shapes[number], sources[number] = shape, f"the layer {call.layer.name!r}"
        return [shapes[number] for number in range(len(shapes))]

    @property
    def deciding_layer(self) -> Layer | None:
        """The first layer that does more than move elements: it says whether x is made floating point."""
        return next((layer for layer in self.parts if layer.takes_integers is not None), None)

    @property
    def deciding_layers(self) -> list[Layer | None]:
        """The same for each input: the first such layer that takes it, or what comes of it by moving elements."""
        found: dict[int, Layer | None] = {}
        reached = {number: number for number in self.inputs_at}
        for call in self.calls:
            for number in call.taken():
                if number in reached and call.layer.takes_integers is None and isinstance(call.y, int):
                    reached.setdefault(call.y, reached[number])
                elif number in reached:
                    found.setdefault(reached[number], call.layer)
        return [found.get(number) for number in self.inputs_at]

    @property
    def keeps_integers(self) -> list[bool]:
        """Of each input, whether it reaches the layers in the dtype it has."""
        return [layer is not None and bool(layer.takes_integers) for layer in self.deciding_layers]

    @property
    def takes_integers(self) -> bool:
        """Whether x reaches the layers in the dtype it has."""
        layer = self.deciding_layer
        return layer is not None and bool(layer.takes_integers)

    @property
    def all_ours(self) -> bool:
        """Whether the layers and their activation functions are all the package's."""
        return all(
            layer.network.all_ours if isinstance(layer, Nested)
            else is_ours(type(layer)) and is_ours(getattr(layer, "function", None) or layer) and type(layer) is not Body
            for layer in self.parts
        )  # fmt: skip

    @property
    def weights(self) -> list[Tensor]:
        """All weights, in the order of the layers: of each what is learned, then what is not, such as moving means."""
        self._ready()
        return [*dict.fromkeys(w for layer in self.parts for w in layer.variables.values())]

    def _ready(self) -> None:
        """Draw the weights, where that takes no batch."""
        if not self.built and self.knows_its_input:
            self.build()

    @property
    def trainable(self) -> bool:
        """Whether training changes the model. Setting it sets it for all layers, and where it is False, none learns."""
        return self._trainable

    @trainable.setter
    @changing
    def trainable(self, value: bool) -> None:
        self._trainable = bool(value)
        for layer in self.parts:
            layer.trainable = value
            layer.ask_for_gradients(self._trainable)

    @property
    def trainable_weights(self) -> list[Tensor]:
        """The weights that are learned, in the order of the layers; not those of layers with trainable = False."""
        self._ready()
        return [*dict.fromkeys(w for layer in self.parts for w in layer.weights.values() if w.requires_grad)]

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
    def input_shape(self) -> Any:
        """The shape of a batch, with None in front; a list of them where there are several inputs."""
        return _one([(None, *(self.shapes or self.infer_shapes())[number]) for number in self.inputs_at])

    @property
    def output_shape(self) -> Any:
        """The shape of a batch of outputs, with None in front; a list of them where there are several."""
        return _one([(None, *shape) for shape in self.output_shapes()])

    def output_shapes(self, input_shape: Any = None) -> list[Shape]:
        """The shape of a sample of each output, for samples of that shape, by default those that it was built for."""
        shapes = self.shapes if self.shapes and input_shape is None else self.infer_shapes(input_shape)
        return [shapes[number] for number in self.outputs_at]

    @property
    def input_shapes(self) -> list[Shape]:
        """The shape of a sample of each input."""
        return [(self.shapes or self.infer_shapes())[number] for number in self.inputs_at]

    def count_params(self) -> int:
        """How many numbers the model consists of: the weights, learned or not."""
        self.build()
        return sum(w.size for w in self.weights)

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
        set_weights("the model", self.weights, values)

    def __call__(self, x: Any, *, training: bool | None = None, generator: numpy.random.Generator | None = None) -> Any:
        """The model's output for a batch, on the tape, so that a loss of it can be differentiated.

        Of symbols it makes symbols, as a layer does. Where there are several inputs x is a list, or a dict by name.
        """
        self.sharing.check("a call of the model")
        if self.shapes and isinstance(x, Tensor) and x.shape[1:] == self.shapes[0] and self.inputs_at == [0]:
            return self.forward(in_dtype(self, x), training=bool(training), generator=generator)
        if isinstance(x, dict):
            x = self.in_order(x)
        if is_symbolic(x):
            return self.as_layer(x)
        xs = [each if isinstance(each, Tensor) else tensor(each, device=self.device) for each in self._separate(x)]
        shapes = [each.shape[1:] for each in xs]
        if drawn := self._layer and self._layer._drawn_from:  # within the first call of a model of the user's own
            self.draw(shapes, drawn[0])
        self.build(shapes)
        self.check_input([each.shape for each in xs])
        taken = [in_dtype(self, each) for each in xs]
        return self.forward(
            taken if len(taken) > 1 else taken[0], taped=True, training=bool(training), generator=generator
        )

    def _separate(self, x: Any) -> Sequence[Any]:
        """Each input by itself."""
        if isinstance(x, dict):
            return self.in_order(x)
        if len(self.inputs_at) == 1 and not (isinstance(x, (list, tuple)) and len(x) == 1 and hasattr(x[0], "shape")):
            return [x]
        if not isinstance(x, (list, tuple)) or len(x) != len(self.inputs_at):
            count = f"{len(x)} of them" if isinstance(x, (list, tuple)) else type(x).__name__
            raise UsageError(
                f"the model takes a list of {len(self.inputs_at)} inputs, {self.input_names}, not {count}."
            )
        return x

    def in_order(self, given: Mapping[str, Any], what: str = "input") -> list[Any]:
        """What is given by name, in the order of the inputs (or outputs); raises UsageError for other names."""
        names = self.input_names if what == "input" else self.output_names
        for name in given:
            if name not in names:
                raise unknown_name(what, name, names)
        if missing := [name for name in names if name not in given]:
            raise UsageError(f"the model's {what} {missing[0]!r} is missing: it has {names}.")
        return [given[name] for name in names]

    def forward(
        self,
        x: Any,
        *,
        taped: bool = True,
        training: bool = False,
        generator: numpy.random.Generator | None = None,
        logits: bool | Sequence[bool] = False,
        weights: Sequence[Weights] | None = None,
        activities: list[Tensor] | None = None,
        masks: list[Any] | None = None,
    ) -> Any:
        """The output for a batch, or the list of outputs (D8, D9). x: a list of tensors where there are several inputs.

        taped: the weights ask for gradients. logits: stop before the last σ. weights: others than the model's own,
        of each layer by name. activities: takes in what regularisers say of what layers give.
        """
        if weights is None:
            weights = [layer.weights for layer in self.parts]
            if not taped:
                weights = [{name: w.detach() for name, w in own.items()} for own in weights]
        xs = x if isinstance(x, list) else [x]
        found = self.run(
            xs, weights, training=training, generator=generator, logits=logits, activities=activities, masks=masks
        )  # fmt: skip
        return found[0] if len(found) == 1 else found

    def run(
        self,
        xs: Sequence[Tensor],
        weights: Sequence[Weights],
        *,
        training: bool,
        generator: numpy.random.Generator | None,
        logits: bool | Sequence[bool] = False,
        told: Callable[[Layer], None] | None = None,
        activities: list[Tensor] | None = None,
        given: Sequence[Any] = (),
        masks: list[Any] | None = None,
    ) -> list[Tensor]:
        """The outputs: one call after another. logits: of which outputs not to take the last σ. told: of each call.

        given: masks of the inputs. masks: takes those of the outputs, None for those that have none.
        """
        if self.mixed:
            xs, weights = self._lowered(xs, weights)
        values: dict[int, Any] = dict(zip(self.inputs_at, xs, strict=True))
        known = {number: mask for number, mask in zip(self.inputs_at, given, strict=False) if mask is not None}
        raw: Sequence[int] = ()
        if logits:
            raw = [n for i, n in enumerate(self.outputs_at) if logits is True or logits[i]]
        for call in self.calls:
            layer, own = call.layer, weights[call.part]
            x = [values[n] for n in call.x] if isinstance(call.x, list) else values[call.x]
            mask: Any = None
            made: Any = None
            if known or layer.makes_mask:
                mask = graph.mapped(known.get, call.x)
                made = None if isinstance(layer, Nested) else layer.compute_mask(x, mask)
            if raw and isinstance(call.y, int) and call.y in raw:
                values[call.y] = layer.linear(own, x)
            else:
                further: dict[str, Any] = dict(call.options)
                for name, value in call.others.items():
                    further[name] = graph.mapped(values.__getitem__, value)
                if mask is not None and "mask" in layer._beside:
                    further.setdefault("mask", mask)
                if isinstance(layer, Nested) and (known or layer.makes_mask):
                    y, made = layer.masked(own, x, listed(mask), training=training, generator=generator)
                elif further:
                    y = layer._applied(own, x, **{"training": training, "generator": generator, **further})
                else:
                    y = layer.apply(own, x, training=training, generator=generator)
                if isinstance(call.y, list):
                    values.update(zip(call.y, y, strict=True))
                else:
                    values[call.y] = y
            if made is not None:
                known.update(
                    (n, each) for n, each in zip(listed(call.y), listed(made), strict=True) if each is not None
                )
            if activities is not None and layer.pieces:
                y = values[call.y] if isinstance(call.y, int) else y
                activities += activity(layer, layer.function(y) if raw and call.y in raw else y)
            for number in call.spent:
                del values[number]
            if told:
                told(layer)
        if masks is not None:
            masks += [known.get(number) for number in self.outputs_at]
        found = [values[number] for number in self.outputs_at]
        return [y.astype(self.dtype) for y in found] if self.mixed else found

    def _lowered(self, xs: Sequence[Tensor], weights: Sequence[Weights]) -> tuple[list[Tensor], list[Weights]]:
        """Numbers and weights as a mixed policy computes with them; whole numbers stay what they are."""
        lower = [x.astype("float16") if x.dtype.kind == "f" else x for x in xs]
        return lower, [{name: w.astype("float16") for name, w in own.items()} for own in weights]

    @property
    def policy(self) -> str:
        """What `dtype` was given as: a dtype, or the name of a mixed policy."""
        return MIXED if self.mixed else self.dtype

    def check_input(self, shape: Any) -> None:
        """Raise ShapeError where a batch of this shape is not what the model was built for."""
        shapes = shape if isinstance(shape, list) else [shape]
        if not self.built:
            self.infer_shapes([each[1:] for each in shapes])
            return
        for each, own in zip(shapes, self.input_shapes, strict=True):
            if not _fits(each[1:], own):
                told = ", ".join(str(n) for n in own)
                raise ShapeError(f"the model takes batches of shape (batch, {told}), not {each}.")


def _fits(shape: Sequence[int | None], own: Sequence[int | None]) -> bool:
    """Whether samples have a shape; a length of None is any."""
    return len(shape) == len(own) and all(None in (n, k) or n == k for n, k in zip(shape, own, strict=True))


def _one(values: list[Any]) -> Any:
    return values[0] if len(values) == 1 else values
