"""A model as a graph: values that layers will give, and the calls of layers that lead from inputs to outputs."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy

from ..errors import ShapeError, UsageError

if TYPE_CHECKING:
    from .layers.base import Layer

Shape = tuple[int, ...]
Shapes = Any
"""The shape of a sample, without the batch; a list of them for several values. None is a length that may vary."""
VARYING = 24, 25
"""Lengths that are tried for one that may vary: what differs between them varies, too."""


owners: weakref.WeakKeyDictionary[Layer, weakref.ref[Any]] = weakref.WeakKeyDictionary()
"""The first model that has a layer."""


def owner_of(layer: Layer) -> Any:
    """The first model that has the layer; None where there is none."""
    found = owners.get(layer)
    return found and found()


class Symbol:
    """A value that a model will have: what a layer makes of others, known by its shape alone. `Input` makes the first.

    shape: with the batch, whose length is None, in front. dtype: the name of the dtype, None for the model's. name: of
    an input, or of the layer that makes it.
    """

    __array_ufunc__ = None

    if TYPE_CHECKING:  # layers.merging lends them

        def __add__(self, other: Any) -> Any: ...
        def __neg__(self) -> Any: ...

        __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = __pow__ = __rpow__ = __add__
        __matmul__ = __add__

    def __init__(self, sample: Shape, dtype: str | None, name: str, made: Made | None = None) -> None:
        self.sample, self.dtype, self.name, self.made = sample, dtype, name, made

    @property
    def shape(self) -> tuple[int | None, ...]:
        """The shape of a batch."""
        return (None, *self.sample)

    @property
    def ndim(self) -> int:
        """The number of axes of a batch."""
        return len(self.sample) + 1

    def __repr__(self) -> str:
        return f"<Symbol {self.name!r} of shape {self.shape}>"

    def _has_no_values(self, *_: Any, **__: Any) -> Any:
        raise UsageError(
            f"{self.name!r} stands for a value of shape {self.shape} that a model will have: there are no numbers yet. "
            "Give it to layers, and what comes of it to Model(inputs, outputs); computations of your own stand in a "
            "layer's call."
        )

    __array__ = __bool__ = __float__ = __int__ = __iter__ = __len__ = _has_no_values


@dataclass(eq=False)
class Made:
    """A layer called on symbols. x: one symbol, or a list; others: further arguments that hold symbols; options: that
    hold none.
    """

    layer: Layer
    x: Any
    others: Mapping[str, Any]
    options: Mapping[str, Any]
    y: Any = None


@dataclass
class Call:
    """A layer applied. x, y, others: the numbers of the values that go in and come out, one, or a list of them.

    part: the layer's place among the parts of the network. spent: the values that no later call takes.
    """

    layer: Layer
    part: int
    x: int | list[int]
    y: int | list[int]
    others: Mapping[str, int | list[int]] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    spent: Sequence[int] = ()

    def taken(self) -> Iterator[int]:
        """The values that go in."""
        for each in (self.x, *self.others.values()):
            yield from each if isinstance(each, list) else (each,)


def is_symbolic(*values: Any) -> bool:
    """Whether a symbol is among these values, or in one that is a list."""
    return any(isinstance(v, Symbol) or (isinstance(v, (list, tuple)) and is_symbolic(*v)) for v in values)


def mapped(function: Any, value: Any) -> Any:
    """The function of a value, or of each of a list of them."""
    return [function(each) for each in value] if isinstance(value, list) else function(value)


def listed(value: Any) -> list[Any]:
    """A list as it is, anything else as one of one."""
    return value if isinstance(value, list) else [value]


def call(layer: Layer, x: Any, given: Mapping[str, Any]) -> Any:
    """A layer called on symbols: the symbol, or the list of them, for what it will give."""
    x = list(x) if isinstance(x, tuple) else x
    for each in x if isinstance(x, list) else [x]:
        if not isinstance(each, Symbol):
            raise UsageError(
                f"{layer.name}: a layer is called on symbols, as Input and layers give them, or on arrays, not on both "
                f"({type(each).__name__})."
            )
    others = {name: list(v) if isinstance(v, tuple) else v for name, v in given.items() if is_symbolic(v)}
    made = Made(layer, x, others, {name: v for name, v in given.items() if name not in others})
    shapes = shape_after(layer, mapped(lambda s: s.sample, x), mapped(_source, x))
    made.y = mapped(lambda shape: Symbol(shape, None, layer.name, made), shapes)
    layer._called = layer._called or made
    return made.y


def _source(symbol: Symbol) -> str:
    return f"the layer {symbol.name!r}" if symbol.made else f"the input {symbol.name!r}"


def shape_after(layer: Layer, shapes: Shapes, sources: Any) -> Shapes:
    """The shape of a sample that a layer gives for one of such a shape; raises ShapeError that names who gave that."""
    try:
        if isinstance(shapes, list) and not (layer.takes_several or layer._is_called):
            raise ShapeError(f"{layer.name}: {type(layer).__name__} takes one value, not a list of {len(shapes)}.")
        return with_varying(layer.output_shape, shapes)
    except ShapeError as error:
        if not sources:
            raise
        told = " and ".join(sources) if isinstance(sources, list) else sources
        raise ShapeError(f"{str(error).rstrip('.')} (it is called on what {told} gives).") from error


def with_varying(function: Any, shapes: Shapes) -> Any:
    """What a function of shapes gives where a length is None: a length of its result that follows that is None, too."""
    if not any(None in shape for shape in (shapes if isinstance(shapes, list) else [shapes])):
        return function(shapes)
    tried = [function(mapped(lambda s, n=n: tuple(n if k is None else k for k in s), shapes)) for n in VARYING]
    return _merged(*tried)


def _merged(one: Any, other: Any) -> Any:
    if isinstance(one, dict):
        return {name: _merged(shape, other[name]) for name, shape in one.items()}
    if isinstance(one, list):
        return [_merged(*both) for both in zip(one, other, strict=True)]
    if isinstance(one, tuple) and one and isinstance(one[0], dict):
        return tuple(_merged(*both) for both in zip(one, other, strict=True))
    return tuple(a if a == b else None for a, b in zip(one, other, strict=True))


def samples_of(shape: Any) -> Any:
    """A batch's shape as Keras has it, or a list of them, as that of a sample: without the None in front."""
    several = isinstance(shape, list) and shape and isinstance(shape[0], (list, tuple))
    if several:
        return [samples_of(each) for each in shape]
    return shape[1:] if isinstance(shape, (list, tuple)) and shape and shape[0] is None else shape


@dataclass
class Graph:
    """The calls between inputs and outputs, in the order in which they are made, and the layers, each once.

    inputs, outputs: the numbers of the values. symbols: of the values, by number. places: of the inputs among all
    layers, theirs included.
    """

    layers: list[Layer]
    calls: list[Call]
    inputs: list[int]
    outputs: list[int]
    symbols: list[Symbol]
    places: list[int]


def graph_of(inputs: Sequence[Symbol], outputs: Sequence[Symbol]) -> Graph:
    """The graph between symbols. The order is Keras's: the farther from the outputs, the earlier.

    Raises UsageError for outputs that need another input, which it names with the layer that takes it, and for an input
    that nothing needs.
    """
    given = {id(symbol): symbol for symbol in inputs}
    found, order = _walked(inputs, outputs)
    depth: dict[int, int] = {}
    of_layer: dict[int, int] = {}
    for made in reversed(found):
        depth[id(made)] = of_layer[id(made.layer)] = max(depth.get(id(made), 0), of_layer.get(id(made.layer), 0))
        for symbol in _taken(made):
            before = id(symbol) if id(symbol) in given else id(symbol.made)
            depth[before] = max(depth[id(made)] + 1, depth.get(before, 0))
    found.sort(key=lambda made: -depth[id(made)])
    layers = {id(made.layer): made.layer for made in found}
    parts = sorted(layers.values(), key=lambda layer: (-of_layer[id(layer)], order[id(layer)]))
    place = {id(layer): number for number, layer in enumerate(parts)}
    all_of_them = [(-of_layer[id(layer)], order[id(layer)], id(layer)) for layer in parts]
    all_of_them += [(-depth.get(id(symbol), 0), order.get(id(symbol), 0), id(symbol)) for symbol in inputs]
    ids = [each[2] for each in sorted(all_of_them)]
    symbols, numbers = list(inputs), {id(symbol): number for number, symbol in enumerate(inputs)}
    used: set[int] = {numbers[id(symbol)] for symbol in outputs if id(symbol) in numbers}
    calls = []
    for made in found:
        for symbol in made.y if isinstance(made.y, list) else [made.y]:
            if id(symbol) not in numbers:
                numbers[id(symbol)] = len(symbols)
                symbols.append(symbol)
        number = lambda symbol: numbers[id(symbol)]  # noqa: E731
        others = {name: mapped(number, value) for name, value in made.others.items()}
        calls.append(
            Call(
                made.layer, place[id(made.layer)], mapped(number, made.x), mapped(number, made.y), others, made.options
            )
        )
        used.update(calls[-1].taken())
    for symbol in inputs:
        if numbers[id(symbol)] not in used:
            raise UsageError(f"the input {symbol.name!r} leads to none of the outputs: leave it out, or use it.")
    return Graph(
        parts,
        calls,
        [numbers[id(s)] for s in inputs],
        [numbers[id(s)] for s in outputs],
        symbols,
        [ids.index(id(s)) for s in inputs],
    )


def _taken(made: Made) -> Iterator[Symbol]:
    for each in (made.x, *made.others.values()):
        yield from each if isinstance(each, list) else (each,)


def _walked(inputs: Sequence[Symbol], outputs: Sequence[Symbol]) -> tuple[list[Made], dict[int, int]]:
    """All that leads to the outputs, what is needed first; and the order in which the layers were met."""
    given, seen, found = {id(symbol) for symbol in inputs}, set[int](), list[Made]()
    order: dict[int, int] = {}
    for output in outputs:
        stack: list[tuple[Made, Iterator[Symbol]]] = []
        _enter(output, None, inputs, given, seen, order, stack)
        while stack:
            made, rest = stack[-1]
            symbol = next(rest, None)
            if symbol is None:
                stack.pop()
                found.append(made)
            else:
                _enter(symbol, made.layer, inputs, given, seen, order, stack)
    return found, order


def _enter(
    symbol: Symbol, taker: Layer | None, inputs: Sequence[Symbol], given: set[int], seen: set[int],
    order: dict[int, int], stack: list[tuple[Made, Iterator[Symbol]]],
) -> None:  # fmt: skip
    if id(symbol) in given:
        order.setdefault(id(symbol), len(order))
        return
    if symbol.made is None:
        told = f"the layer {taker.name!r} takes" if taker else "the outputs hold"
        raise UsageError(
            f"{told} {symbol.name!r}, an input that is not connected to the model's: it has "
            f"{[each.name for each in inputs]}. Give it among them: Model([…, {symbol.name}], outputs)."
        )
    if id(symbol.made) not in seen:
        seen.add(id(symbol.made))
        order.setdefault(id(symbol.made.layer), len(order))
        stack.append((symbol.made, _taken(symbol.made)))


def note_spent(calls: Sequence[Call], outputs: Sequence[int]) -> None:
    """Note at each call which values no later one takes."""
    kept = set(outputs)
    for each in reversed(calls):
        each.spent = [value for value in dict.fromkeys(each.taken()) if value not in kept]
        kept.update(each.spent)


def whole_numbers(dtype: Any) -> str | None:
    """The name of the dtype of an input; None for the model's floating point. Raises UsageError for what is none."""
    if dtype is None:
        return None
    try:
        found = numpy.dtype(dtype)
    except TypeError:
        found = numpy.dtype("O")
    if found.kind not in "biuf":
        raise UsageError(f"Input(dtype={dtype!r}): an input consists of numbers.")
    return None if found.kind == "f" else str(found)
