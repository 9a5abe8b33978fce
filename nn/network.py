"""Layers and their calls, with their weights: drawn, looked at, replaced, and what they make of a batch."""

from __future__ import annotations

import copy
import functools
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import numpy
import numpy.typing

from ..distributed import own_device
from ..engine import backend, forked, random
from ..engine.cuda.launch import prepare
from ..engine.flat import Flat
from ..engine.sharing import Sharing, changing, reading
from ..engine.tensor import Tensor, tensor
from ..errors import DeviceMemoryError, DtypeError, ShapeError, UsageError
from . import graph
from .connected import Connected, fits
from .graph import Graph, Symbol, is_symbolic, listed, samples_of
from .layers import Layer
from .layers.base import Shape, Weights
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


class Network(Connected):
    """Calls of layers, with weights, and what they compute. `Sequential` and `Model` say what its arguments mean."""

    def __init__(self, layers: Iterable[Any] | Graph, seed: int | None, dtype: str, device: str, name: str) -> None:
        self.sharing = Sharing()
        seed = random.next_seed() if seed is None else seed
        random.generator(seed)  # refuses what is no seed
        self.mixed = dtype == MIXED
        self.seed, self.dtype, self.name = int(seed), "float32" if self.mixed else _floating(dtype), name
        self.device = own_device(device)
        prepare(self.device, self.dtype)
        super().__init__(layers)
        self._flat: Flat | None = None

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            if name == "sharing":
                raise UsageError(f"{type(self).__name__}: its constructor has to call super().__init__() first.")
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def _rebuilt(self) -> None:
        super()._rebuilt()
        self._flat = None
        vars(self).get("recorded", {}).clear()

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

    @property
    def as_layer(self) -> Nested:
        """The network as a layer of another."""
        if self._layer is None:
            vars(self)["_layer"] = Nested(self)
        assert self._layer
        return self._layer

    # Its weights

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
                self._checkfits(layer, shape)
            made.add(call.part)
        self._hold(shapes)

    def _checkfits(self, layer: Layer, shape: Any) -> None:
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

    def forget_gradients(self) -> None:
        """Let go of the gradients of all weights, which a step has left there."""
        for w in self.weights:
            w.grad = None

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
        several = isinstance(x, (list, tuple)) and len(x) > 1 and all(hasattr(each, "shape") for each in x)
        if several and not self.built and self.parts and isinstance(self.parts[0], Body):
            self._spread(len(x), len(self.outputs_at))
        if len(self.inputs_at) == 1 and not (isinstance(x, (list, tuple)) and len(x) == 1 and hasattr(x[0], "shape")):
            return [x]
        if not isinstance(x, (list, tuple)) or len(x) != len(self.inputs_at):
            count = f"{len(x)} of them" if isinstance(x, (list, tuple)) else type(x).__name__
            raise UsageError(
                f"the model takes a list of {len(self.inputs_at)} inputs, {self.input_names}, not {count}."
            )
        return x

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
        """Raise ShapeError where a batch of this shape is not what the model takes: what it was built for, or what a
        `call` of its own takes.
        """
        shapes = shape if isinstance(shape, list) else [shape]
        if not self.built:
            self.infer_shapes([each[1:] for each in shapes])
            return
        misfits = [(each, own) for each, own in zip(shapes, self.input_shapes, strict=True) if not fits(each[1:], own)]
        if not misfits:
            return
        (each, own), reason = misfits[0], "."
        if isinstance(self.parts[0], Body):
            try:
                self.infer_shapes([each[1:] for each in shapes])
                return
            except (ShapeError, UsageError) as error:
                reason = f": {error}"
        told = ", ".join(str(n) for n in own)
        raise ShapeError(f"the model takes batches of shape (batch, {told}), not {each}{reason}")
