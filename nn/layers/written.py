"""What layers have that are written in Keras's way, by `build`, `add_weight` and `call`, and may hold others."""

from __future__ import annotations

import contextlib
import copy
import functools
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy

from ...checks import is_whole, wholes
from ...engine import random
from ...engine.incoming import as_array
from ...engine.tensor import Tensor, tensor
from ...errors import ShapeError, UsageError
from ...names import is_ours
from ..graph import VARYING, Shape, Shapes, mapped, samples_of, with_varying
from ..initializers import make_initializer

if TYPE_CHECKING:
    from .base import Layer, Weights

BATCH = 2
"""Samples in the batch on which a `call` is tried, to see what shapes it gives."""
PLAIN, CONTAINERS = (str, int, float, bool, type(None), Tensor), (list, tuple, dict)
BESIDE = ("training", "generator", "mask")
"""What a call may take besides values."""


def bridge(cls: type[Layer], base: type[Layer]) -> None:
    """See to it that what a class writes in Keras's way is what is used, also where its base has it in ours."""
    own = vars(cls)
    for theirs, ours in (("call", "apply"), ("compute_output_shape", "output_shape"), ("get_config", "config")):
        if theirs in own and ours not in own:
            setattr(cls, ours, vars(base)[ours])
    if "build" in own:
        cls.build = _building(own["build"])  # type: ignore[method-assign]
    cls._is_called = cls.apply is base.apply and cls.call is not base.call
    written = next(kind for kind in cls.__mro__ if "call" in vars(kind) or "apply" in vars(kind))
    function = vars(written)["call" if "call" in vars(written) and written is not base else "apply"]
    cls._beside, cls._further = taken_by(function)


def taken_by(function: Callable[..., Any]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What a `call` or an `apply` takes of training, generator and mask; and what else it takes behind x."""
    taken = inspect.signature(function).parameters.values()
    names = [p.name for p in taken if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]
    further = [name for name in names if name not in (*BESIDE, "self", "weights")][1:]
    return tuple(name for name in BESIDE if name in names), tuple(further)


def _building(build: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(build)
    def built(self: Layer, input_shape: Any, generator: Any = None, dtype: Any = "float32") -> Any:
        if self._drawn_from is not None:
            return build(self, input_shape)
        return self._begin(samples_of(input_shape), generator or random.generator(0, self.name), dtype)

    return built


def inner_of(holder: Any, beside: frozenset[str] = frozenset()) -> dict[str, Layer]:
    """The layers that an object holds, also in lists and dicts, by the names of its attributes."""
    found: dict[str, Layer] = {}
    by_name = is_ours(type(holder)) and hasattr(type(holder), "_is_called")  # our layers hold others as attributes
    plain = (*PLAIN, *CONTAINERS) if by_name else PLAIN
    for name, value in vars(holder).items():
        if type(value) not in plain and name not in beside:
            _gather(found, name, value)
    return found


def is_list(layer: Layer, x: Any) -> bool:
    """Whether a list is one of several values for a call of the user's own, rather than a value itself."""
    return layer._is_called and bool(x) and all(hasattr(each, "shape") for each in x)


def _gather(found: dict[str, Layer], name: str, value: Any) -> None:
    layer = getattr(value, "as_layer", value)
    if hasattr(type(layer), "_is_called"):
        if not any(layer is other for other in found.values()):
            found[name] = layer
    elif isinstance(value, (list, tuple)):
        for number, each in enumerate(value):
            _gather(found, f"{name}_{number}", each)
    elif isinstance(value, dict):
        for key, each in value.items():
            _gather(found, f"{name}_{key}", each)


def replaced(value: Any, others: Mapping[int, Any]) -> Any:
    """A value, or a list or a dict, with others in place of layers and tensors, by their id()."""
    if isinstance(value, (list, tuple)):
        made = [replaced(each, others) for each in value]
        return value if all(a is b for a, b in zip(made, value, strict=True)) else type(value)(made)
    if isinstance(value, dict):
        again = {key: replaced(each, others) for key, each in value.items()}
        return value if all(again[key] is each for key, each in value.items()) else again
    return others.get(id(getattr(value, "as_layer", value)), value)


def bound(layer: Layer, holder: Any, weights: Weights, training: bool, generator: numpy.random.Generator | None) -> Any:
    """The holder of a layer's attributes (itself, or a model) for one call: with these weights in place of its own, in
    the layers that it holds, too, and `training` and `generator` for those of them that are called without.

    What is set in the call is set on the holder itself, too.
    """
    others: dict[int, Any] = {}
    for name, child in layer._inner.items():
        own = {key: weights[f"{name}/{key}"] for key in child.weights if f"{name}/{key}" in weights}
        view = bound(child, child, own, training, generator)
        others[id(child)] = view
    others |= {id(w): weights[name] for name, w in layer.weights.items() if name in weights}
    view = object.__new__(type(holder))
    vars(view).update({name: replaced(value, others) for name, value in vars(holder).items()})
    vars(view)["_bound_to"] = holder
    if holder is layer:
        vars(view).update(weights=weights, _within=(training, generator))
    return view


@contextlib.contextmanager
def drawing(layer: Layer, generator: numpy.random.Generator, dtype: Any) -> Iterator[None]:
    """While it lasts, weights of the layer and of those in it that are asked for are drawn from the generator."""
    vars(layer)["_drawn_from"] = generator, dtype
    try:
        yield
    finally:
        vars(layer)["_drawn_from"] = None


def add_weight(layer: Layer, shape: Any, initializer: Any, dtype: Any, trainable: bool, name: str | None) -> Tensor:
    """See Layer.add_weight."""
    given = (shape,) if is_whole(shape) else () if shape is None else shape
    if isinstance(given, (tuple, list)) and None in given:
        raise UsageError(f"{layer.name}: a weight of shape {given} has a length that is not known (None).")
    lengths = wholes(given)
    if lengths is None or min(lengths, default=0) < 0:
        raise UsageError(f"{layer.name}: add_weight(shape={shape!r}): a shape consists of whole numbers.")
    kept = layer.weights if trainable else layer.state
    number = len(layer.variables)
    name = name or ("variable" if not number else f"variable_{number}")
    if name in layer.variables:
        name = f"{name}_{number}"
    generator, own = layer._drawn_from or (random.generator(0, f"{layer.name} {name}"), "float32")
    if initializer is None:
        initializer = "glorot_uniform"
    kind = "float32" if dtype is None else str(dtype)
    values = numpy.asarray(make_initializer(initializer)(generator, lengths))
    check_drawn(layer, name, lengths, values)
    kept[name] = Tensor(values.astype(own if kind.startswith("float") else kind), name=f"{layer.name}/{name}")
    layer.ask_for_gradients()
    return kept[name]


def check_drawn(layer: Layer, name: str, shape: tuple[int, ...], drawn: Any) -> None:
    """Raise ShapeError where an initialiser has given another shape than it was asked for."""
    if numpy.shape(drawn) != tuple(shape):
        raise ShapeError(
            f"{layer.name}: the initialiser of {name} gave shape {numpy.shape(drawn)}, not {tuple(shape)}."
        )


def begin(layer: Layer, input_shape: Shapes, generator: numpy.random.Generator, dtype: Any) -> None:
    """Make the weights, in whichever way the layer is written, and those of the layers in it."""
    _check_cycle(layer)
    taken: dict[str, int] = {}
    for child in layer._inner.values():
        count = taken[child.name] = taken.get(child.name, -1) + 1
        if count and child.built_for is None:
            child.name = f"{child.name}_{count}"
    with drawing(layer, generator, dtype):
        for w in layer.variables.values():  # which the constructor has made
            if w.dtype.kind == "f" and w.dtype != dtype:
                w._data = w._data.astype(dtype)
        layer.build(mapped(lambda s: (None, *s), input_shape))
        unbuilt = {name: child for name, child in layer._inner.items() if child.built_for is None}
        if layer._is_called and unbuilt:
            with contextlib.ExitStack() as drawn:
                for child in unbuilt.values():
                    drawn.enter_context(drawing(child, generator, dtype))
                _try(layer, input_shape)
        for name, child in unbuilt.items():
            if child.built_for is None and not layer._is_called:
                child._begin(layer._inner_shape(name, input_shape), generator, dtype)
    for name, child in layer._inner.items():
        layer.weights.update({f"{name}/{key}": w for key, w in child.weights.items()})
        layer.state.update({f"{name}/{key}": w for key, w in child.state.items()})
    vars(layer)["built_for"] = mapped(tuple, input_shape)
    layer.ask_for_gradients()


def _check_cycle(layer: Layer) -> None:
    """Raise UsageError where a layer holds itself, however deep."""
    path, waiting = [layer], [iter(layer._inner.values())]
    while waiting:
        child = next(waiting[-1], None)
        if child is None:
            waiting.pop()
            path.pop()
        elif any(child is other for other in path):
            way = " → ".join(other.name for other in (*path, child))
            raise UsageError(f"{child.name!r} holds itself, which is a cycle: {way}.")
        else:
            path.append(child)
            waiting.append(iter(child._inner.values()))


def known(layer: Layer, input_shape: Shapes) -> Shapes:
    """The shape with some length in place of each that may vary; raises UsageError where a weight depends on it."""
    for name, shape in with_varying(layer.declared, input_shape).items():
        if None in shape:
            raise UsageError(
                f"{layer.name}: its {name} depends on a length that is not known: {input_shape}. Name it, in the shape "
                "that Input or input_shape gives."
            )
    return mapped(lambda s: tuple(VARYING[0] if n is None else n for n in s), input_shape)


def _try(layer: Layer, input_shape: Shapes) -> Shapes:
    """The shapes that the call gives for a few samples of zeros; they are kept."""
    w = next(iter(layer.weights.values()), None)
    dtype = layer._drawn_from[1] if layer._drawn_from else w.dtype if w is not None else "float32"
    kind = "int64" if layer.takes_integers else dtype

    def zeros(shape: Shape) -> Tensor:
        return tensor(numpy.zeros((BATCH, *shape), kind), device="cpu" if w is None else w.device)

    with numpy.errstate(all="ignore"):
        length = min(VARYING[0], getattr(layer._holder, "longest", None) or VARYING[0])
        some = mapped(lambda s: tuple(length if n is None else n for n in s), input_shape)
        y = called(layer, layer._holder, mapped(zeros, some), False, None)
    found = mapped(lambda each: tuple(each.shape[1:]), y)
    layer._tried[_key(some)] = found
    return found


def _key(shape: Shapes) -> Any:
    return tuple(shape) if isinstance(shape, list) else shape


def called(
    layer: Layer, holder: Any, x: Any, training: bool, generator: numpy.random.Generator | None, **others: Any
) -> Any:
    """The call of what is written so, with what it takes besides."""
    beside = {"training": training, "generator": generator}
    y = holder.call(x, **{name: value for name, value in beside.items() if name in layer._beside}, **others)
    y = list(y) if isinstance(y, tuple) else y
    for each in y if isinstance(y, list) else [y]:
        if not isinstance(each, Tensor):
            raise UsageError(f"{layer.name}: its call returned a {type(each).__name__}: it returns tensors.")
    return y


def shape_by_trying(layer: Layer, input_shape: Shapes) -> Shapes:
    """The shape of one output, as the call of the layer, or of a copy where it has no weights yet, gives it."""
    key = _key(input_shape)
    if key not in layer._tried:
        one = layer
        if layer.built_for is None:
            one = copy.deepcopy(layer)
            one._begin(input_shape, random.generator(0, layer.name), "float32")
        layer._tried[key] = one._tried[key] if key in one._tried else _try(one, input_shape)
    return layer._tried[key]


def set_weights(whose: str, weights: Sequence[Tensor], values: Sequence[Any]) -> None:
    """Overwrite weights; before any is changed raises ShapeError where number or shapes differ, and DataError for a
    value that the dtype does not hold.
    """
    values = [v if isinstance(v, Tensor) else as_array(v, f"weight {i}") for i, v in enumerate(values)]
    given, own = [v.shape for v in values], [w.shape for w in weights]
    if given != own:
        raise ShapeError(f"{whose} has weights of shapes {own}, got {given}.")
    made = [tensor(value, dtype=w.dtype, device=w.device) for w, value in zip(weights, values, strict=True)]
    for weight, value in zip(weights, made, strict=True):
        weight.assign(value)
