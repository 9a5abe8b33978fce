"""What a model consists of: layers and their calls, the names, symbols and shapes of what they give."""

from __future__ import annotations

import math
import weakref
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..errors import ShapeError, UsageError, unknown_name
from ..names import distinct, is_ours
from . import graph
from .graph import Call, Graph, Symbol, listed, shape_after
from .layers import Layer
from .layers.base import LARGEST, Shape, checked_sample
from .nested import Body, Nested, everything_in


class Connected:
    """Calls of layers.

    parts: the layers, each once; a model among them is one of them, too. calls: which of them are applied, to which
    values, by number. inputs_at, outputs_at: the numbers of the values that go in and come out. shapes: of a sample of
    each value, once the weights are there.
    """

    def __init__(self, layers: Iterable[Any] | Graph) -> None:
        self.parts: list[Layer] = []
        self.calls: list[Call] = []
        self.inputs_at, self.outputs_at = [0], [0]
        self._trainable = True
        self.shapes: list[Shape] = []
        self._given: list[Symbol] = []
        self._input_places: list[int] = []
        self._symbols: list[Symbol] = []
        self._layer: Nested | None = None
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

    def _rebuilt(self) -> None:
        """Be without weights; the layers keep theirs."""
        self.shapes, self._symbols, self._layer = [], [], None

    def _append(self, layer: Any, taken: dict[str, int], known: set[int]) -> None:
        """taken: the names that are taken, each with a number from which on it may be free with that behind it."""
        layer = getattr(layer, "symbol", layer)
        if isinstance(layer, Symbol) and layer.made is None and not self.parts:
            self._given = [layer]
            return
        layer = getattr(layer, "as_layer", layer)
        if not isinstance(layer, Layer):
            raise UsageError(f"a model consists of layers, not of {type(layer).__name__} ({layer!r}).")
        if isinstance(layer, Nested) and any(each is self for each in (layer.network, *everything_in(layer.network))):
            raise UsageError(f"the model {layer.name!r} would be a layer of itself, which is a cycle.")
        if id(layer) in known:
            raise UsageError(f"the layer {layer.name!r} is in the model already: make a second one.")
        self._name(layer, taken)
        known.add(id(layer))
        self._adopt(layer)
        number = len(self.parts)
        self.parts.append(layer)
        self.calls.append(Call(layer, number, number, number + 1, spent=(number,)))
        self.outputs_at = [number + 1]

    def _spread(self, inputs: int, outputs: int) -> None:
        """Have so many inputs and outputs, as the call of a model of the user's own is seen to have."""
        (call,) = self.calls
        self.inputs_at, self.outputs_at = [*range(inputs)], [*range(inputs, inputs + outputs)]
        call.x, call.y = one_of(self.inputs_at), one_of(self.outputs_at)
        call.spent = self.inputs_at

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

    @property
    def built(self) -> bool:
        """Whether the weights are there."""
        return bool(self.shapes)

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
        return one_of(self.inputs)

    @property
    def output(self) -> Any:
        """The output, as a symbol; a list of them where there are several."""
        return one_of(self.outputs)

    @property
    def input_names(self) -> list[str]:
        """What the inputs are called."""
        if self._given:
            return distinct(each.name for each in self._given)
        return [f"input_{number}" if number else "input" for number in range(len(self.inputs_at))]

    @property
    def last_layers(self) -> list[Layer]:
        """Of each output the layer that makes it."""
        made = {number: call.layer for call in self.calls for number in listed(call.y)}
        return [made[number] for number in self.outputs_at if number in made]

    @property
    def output_names(self) -> list[str]:
        """What the outputs are called: as the layers that make them."""
        return distinct(layer.name for layer in self.last_layers)

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
        written = isinstance(self.parts[0], Body)  # a `call` of one's own takes what its layers take
        if written and not self.built and isinstance(input_shape, list) and len(input_shape) != len(self.inputs_at):
            self._spread(len(input_shape), len(self.outputs_at))
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
            if own is not None and not written and not fits(shape, own):
                raise ShapeError(f"samples have shape {shape}, but the model was made for {own}.")
            shapes[number] = tuple(shape)
        sources = dict[int, str]()
        for call in self.calls:
            took = graph.mapped(lambda number: sources.get(number, ""), call.x)
            found = shape_after(call.layer, graph.mapped(shapes.__getitem__, call.x), took)
            if isinstance(call.layer, Body) and isinstance(found, list) and not isinstance(call.y, list):
                self._spread(len(self.inputs_at), len(found))
            if len(listed(found)) != len(listed(call.y)):
                raise ShapeError(
                    f"{call.layer.name} gives {len(listed(found))} outputs, and what comes next takes "
                    f"{len(listed(call.y))}: call it on symbols, cg.Model(inputs, outputs), to use each."
                )
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
    def input_shape(self) -> Any:
        """The shape of a batch, with None in front; a list of them where there are several inputs."""
        return one_of([(None, *(self.shapes or self.infer_shapes())[number]) for number in self.inputs_at])

    @property
    def output_shape(self) -> Any:
        """The shape of a batch of outputs, with None in front; a list of them where there are several."""
        return one_of([(None, *shape) for shape in self.output_shapes()])

    def output_shapes(self, input_shape: Any = None) -> list[Shape]:
        """The shape of a sample of each output, for samples of that shape, by default those that it was built for."""
        shapes = self.shapes if self.shapes and input_shape is None else self.infer_shapes(input_shape)
        return [shapes[number] for number in self.outputs_at]

    @property
    def input_shapes(self) -> list[Shape]:
        """The shape of a sample of each input."""
        return [(self.shapes or self.infer_shapes())[number] for number in self.inputs_at]

    def in_order(self, given: Mapping[str, Any], what: str = "input") -> list[Any]:
        """What is given by name, in the order of the inputs (or outputs); raises UsageError for other names."""
        names = self.input_names if what == "input" else self.output_names
        for name in given:
            if name not in names:
                raise unknown_name(what, name, names)
        if missing := [name for name in names if name not in given]:
            raise UsageError(f"the model's {what} {missing[0]!r} is missing: it has {names}.")
        return [given[name] for name in names]


def fits(shape: Sequence[int | None], own: Sequence[int | None]) -> bool:
    """Whether samples have a shape; a length of None is any."""
    return len(shape) == len(own) and all(None in (n, k) or n == k for n, k in zip(shape, own, strict=True))


def one_of(values: list[Any]) -> Any:
    """The one value of a list of one; a longer list as it is."""
    return values[0] if len(values) == 1 else values
