"""The nodes and constants of an ONNX file while it is written: what forms of primitives are put together from."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy

from ..engine.primitive import Primitive
from .onnx_lengths import BATCH, STEPS, Varying, alike, terms

LAST = numpy.iinfo("int64").max
"""A place behind the end of every axis."""


@dataclass(frozen=True)
class Value:
    """A value of the graph: its name and dtype, and its shape, as far as that is known."""

    name: str
    dtype: numpy.dtype[Any]
    shape: tuple[int, ...] = ()

    @property
    def axes(self) -> int:
        """How many axes it has."""
        return len(self.shape)


class Nodes:
    """What was written so far.

    sizes: batch and steps of each pass that was watched. names: of inputs and outputs. weights: names of arrays, by
    `memory_of`.
    """

    def __init__(
        self, onnx: Any, opset: int, sizes: Sequence[tuple[int, int]], names: Sequence[str],
        weights: Mapping[tuple[Any, ...], str],
    ) -> None:  # fmt: skip
        self.onnx, self.opset, self.sizes, self.weights, self.names = onnx, opset, sizes, weights, names
        self.nodes: list[Any] = []
        self.initialisers: list[Any] = []
        self.written: dict[str, Value] = {}
        self.nameless: dict[tuple[Any, ...], str] = {}  # constants without a name, by what they hold
        self.places: dict[str, tuple[Value, int]] = {}  # of which input's which axis the open lengths are
        self.counted: dict[str, Value] = {}  # these lengths, once they are asked for
        self.arrays: dict[str, Any] = {}  # by name, what is the same in each run, as it was in the first pass
        self.sources: dict[str, tuple[Primitive, Sequence[Value]]] = {}  # by name, what it was made by, and of what
        self.parts: dict[str, dict[str, Value]] = {}  # by name and index, what is at hand without the whole
        self.pending: dict[str, Callable[[], Value]] = {}  # by name, the whole, which is written once it is asked for
        self.shape: tuple[int, ...] = ()  # of the result that is being written
        self.dtype: numpy.dtype[Any] = numpy.dtype("float32")
        self.count = 0

    def code(self, dtype: Any) -> int:
        """ONNX's number of a dtype."""
        return int(self.onnx.helper.np_dtype_to_tensor_dtype(numpy.dtype(dtype)))

    def label(self, name: str) -> str:
        """A name that no other value has."""
        self.count += 1
        return self.label(name) if f"{name}_{self.count}" in self.names else f"{name}_{self.count}"

    def node(self, name: str, inputs: Sequence[Value | None], outputs: int | list[str], **attributes: Any) -> list[str]:
        """A node, and the names of its outputs: so many, or these. An input that is None is left out."""
        label = self.label(name.lower())
        if isinstance(outputs, int):
            outputs = [label, *(f"{label}_{number}" for number in range(1, outputs))]
        given = [v.name if v else "" for v in inputs]
        if any(isinstance(n, Varying) for v in attributes.values() for n in numpy.ravel(numpy.array(v, object))):
            raise NotImplementedError(f"{name} takes no length that varies")
        for asked in [name for name in given if name in self.pending]:
            self.node("Identity", [self.pending.pop(asked)()], [asked])
        self.nodes.append(self.onnx.helper.make_node(name, given, outputs, label, **attributes))
        return outputs

    def add(
        self, name: str, inputs: Sequence[Value | None], dtype: Any = None, shape: Any = None, **attributes: Any
    ) -> Value:
        """A node of one output. dtype, shape: of that; the first input's by default."""
        (output,), first = self.node(name, inputs, 1, **attributes), inputs[0] if inputs else None
        return Value(
            output, numpy.dtype(first.dtype if first and dtype is None else dtype or self.dtype),
            tuple(shape) if shape is not None else first.shape if first else (),
        )  # fmt: skip

    def constant(self, array: Any, name: str | None = None) -> Value:
        """An array that stands in the file, once."""
        array = numpy.ascontiguousarray(array).reshape(numpy.shape(array))
        if name is None or name in self.names or not alike(self.arrays.get(name, array), array):
            key = array.dtype, array.shape, hashlib.sha256(array.tobytes()).digest()
            name = self.nameless[key] if key in self.nameless else self.label("constant")
            self.nameless[key] = name
        if name not in self.written:
            self.initialisers.append(self.onnx.numpy_helper.from_array(array, name))
            self.written[name], self.arrays[name] = Value(name, array.dtype, array.shape), array
        return self.written[name]

    def number(self, value: Any, dtype: Any) -> Value:
        """A number, of a dtype."""
        if isinstance(value, Varying):
            raise NotImplementedError("it computes with a length that varies")
        return self.constant(numpy.asarray(value, dtype))

    def integers(self, values: Sequence[int]) -> Value:
        """A list of integers, as operators take axes and shapes; some may be lengths that vary."""
        if not any(isinstance(n, Varying) for n in values):
            return self.constant(numpy.array(list(values), "int64"))
        found = [self._length(n) if isinstance(n, Varying) else self.integers([n]) for n in values]
        return self.add("Concat", found, axis=0, shape=(len(values),)) if len(found) > 1 else found[0]

    def _length(self, n: Varying) -> Value:
        """What is computed from the lengths of the inputs."""
        rest, *factors = terms(n, self.sizes)
        made: Value | None = None
        for names, factor in zip(((BATCH,), (STEPS,), (BATCH, STEPS)), factors, strict=True):
            if factor:
                each = [self._counted(name) for name in names] + ([self.integers([factor])] if factor > 1 else [])
                product = each[0]
                for other in each[1:]:
                    product = self.add("Mul", [product, other])
                made = product if made is None else self.add("Add", [made, product])
        assert made is not None
        return self.add("Add", [made, self.integers([rest])]) if rest else made

    def _counted(self, name: str) -> Value:
        if name not in self.counted:
            value, axis = self.places[name]
            self.counted[name] = self.add("Shape", [value], "int64", (1,), start=axis, end=axis + 1)
        return self.counted[name]

    def cast(self, value: Value, dtype: Any) -> Value:
        """The value in a dtype."""
        if value.dtype == dtype:
            return value
        made = self.add("Cast", [value], dtype, to=self.code(dtype))
        if value.name in self.arrays:
            self.arrays[made.name] = self.arrays[value.name].astype(dtype)
        return made

    def reshape(self, value: Value, shape: Sequence[int]) -> Value:
        """The value in a shape, of which lengths may vary."""
        zero, varying = {"allowzero": 1} if 0 in shape else {}, [isinstance(n, Varying) for n in shape]
        if sum(varying) == 1 and not zero:  # it follows from the others
            lengths = self.integers([-1 if varies else n for varies, n in zip(varying, shape, strict=True)])
        else:
            lengths = self.integers(shape)
        return self.add("Reshape", [value, lengths], shape=shape, **zero)

    def broadcast(self, value: Value, shape: Sequence[int]) -> Value:
        """The value repeated to a shape, of which lengths may vary."""
        return self.add("Expand", [value, self.integers(shape)], shape=shape)

    def moved(self, value: Value, order: Sequence[int]) -> Value:
        """The value with its axes in another order."""
        return self.add("Transpose", [value], shape=[value.shape[k] for k in order], perm=list(order))

    def with_axes(self, value: Value, axes: Sequence[int]) -> Value:
        """The value with axes of length 1, at these places of the result."""
        if not axes:
            return value
        shape = list(value.shape)
        for axis in sorted(axes):
            shape.insert(axis, 1)
        return self.add("Unsqueeze", [value, self.integers(axes)], shape=shape)

    def reduced(self, name: str, value: Value, axes: Sequence[int], keepdims: bool = False) -> Value:
        """A reduction over axes, which were attributes of all but ReduceSum up to version 17 of the operators."""
        axes = [axis % value.axes for axis in axes]
        if not axes:
            return value
        shape = [1 if k in axes else n for k, n in enumerate(value.shape) if keepdims or k not in axes]
        if name == "ReduceSum" or self.opset > 17:
            return self.add(name, [value, self.integers(axes)], shape=shape, keepdims=int(keepdims))
        return self.add(name, [value], shape=shape, axes=axes, keepdims=int(keepdims))

    def sliced(self, value: Value, slices: Mapping[int, slice]) -> Value:
        """The value along axes by their slices."""
        slices = {axis: s for axis, s in slices.items() if s != slice(None)}
        if not slices:
            return value
        steps = [1 if s.step is None else int(s.step) for s in slices.values()]
        starts, stops = [], []
        for s, step in zip(slices.values(), steps, strict=True):
            starts.append((0 if step > 0 else LAST) if s.start is None else s.start)
            stops.append((LAST if step > 0 else -LAST) if s.stop is None else s.stop)
        return self.add(
            "Slice",
            [value, self.integers(starts), self.integers(stops), self.integers(list(slices)), self.integers(steps)],
        )

    def indexed(self, x: Value, index: Sequence[Any]) -> Value:
        """x[index], as NumPy has it: slices, None, an ellipsis, integers, and arrays of integers or bools."""
        at_hand = self.parts.get(x.name, {})
        for count in (len(index), 1):
            if (found := at_hand.get(str(index[:count]))) and index[:count]:
                return self.indexed(found, index[count:])
        parts: list[Any] = []
        for part in index:
            masks = isinstance(part, numpy.ndarray) and part.dtype == bool
            parts += part.nonzero() if masks else [part]
        taken = sum(part is not None and part is not Ellipsis for part in parts)
        at = next((k for k, part in enumerate(parts) if part is Ellipsis), len(parts))
        parts[at : at + 1] = [slice(None)] * (x.axes - taken)
        slices: dict[int, slice] = {}
        places: list[tuple[int, Any]] = []  # where integers stand: in the result, before they take its axes
        new: list[int] = []
        axis = 0
        for place, part in enumerate(parts):
            if part is None:
                new.append(place)
                continue
            if isinstance(part, slice):
                slices[axis] = part
            else:
                places.append((place, part))
            axis += 1
        made = self.with_axes(self.sliced(x, slices), new)
        if any(isinstance(part, Varying) for _, part in places):
            raise NotImplementedError("an index is a length that varies")
        arrays = numpy.broadcast_arrays(*(numpy.asarray(part, "int64") for _, part in places)) if places else []
        axes = [place for place, _ in places]
        if len(axes) < 2 or not arrays[0].ndim:
            for place, array in reversed(list(zip(axes, arrays, strict=True))):
                made = self.add("Gather", [made, self.constant(array)], axis=place)
            return made
        rest = [k for k in range(made.axes) if k not in axes]
        made = self.moved(made, [*axes, *rest])
        made = self.add("GatherND", [made, self.constant(numpy.stack(arrays, -1))])
        if axes == list(range(axes[0], axes[-1] + 1)) and axes[0]:
            count, before = arrays[0].ndim, axes[0]
            order = [*range(count, count + before), *range(count), *range(count + before, count + len(rest))]
            made = self.add("Transpose", [made], perm=order)
        return made

    def sorting(self, x: Value, axis: int) -> Value:
        """The indices that sort along an axis."""
        count = self.integers([x.shape[axis]])
        found = self.node("TopK", [x, count], 2, axis=axis, largest=0, sorted=1)
        return Value(found[1], numpy.dtype("int64"), x.shape)

    def summed_at(self, x: Value, places: Value, shape: Sequence[int]) -> Value:
        """Zeros of a shape, to the rows of which x is added at `places`, of shape (…, 1)."""
        zeros = self.broadcast(self.number(0, x.dtype), shape)
        return self.add("ScatterND", [zeros, places, x], reduction="add")

    def recurrent(
        self, operator: str, gates: Sequence[int], z: Value, r: Value, b: Value | None, states: Sequence[Value],
        mask: Value, **attributes: Any,
    ) -> list[Value]:  # fmt: skip
        """ONNX's operator for a recurrent equation: the states of all steps, (batch, steps, units), and the last ones.

        gates: which of ours ONNX has first, and so on. Where z is a projection, its kernel goes in. Nothing where a
        mask leaves steps out, or a weight is computed.
        """
        holds, width, units = self.arrays.get(mask.name), z.shape[-1], r.shape[0]
        source, of = self.sources.get(z.name, (None, ()))
        if source is not None and source.name == "projection":
            x, w, shift = of[0], *(self.arrays.get(v.name) for v in of[1:])
        else:
            x, w, shift = z, numpy.eye(width, dtype=z.dtype), numpy.zeros(width, z.dtype)
        inner = self.arrays.get(b.name) if b else numpy.zeros(width, z.dtype)
        kernels: list[Any] = [w, self.arrays.get(r.name), shift, inner]
        if holds is None or not holds.all() or any(each is None for each in kernels):
            return []
        places = numpy.concatenate([numpy.arange(units) + gate * units for gate in gates])
        into, recurrent, *shifts = (each.T[places][None] for each in kernels)
        named = {"W": into, "R": recurrent, "B": numpy.concatenate(shifts, axis=1)}
        weights = [self.constant(each, f"{r.name}.{name}") for name, each in named.items()]
        begun = [None if not self.arrays.get(s.name, numpy.ones(1)).any() else self.with_axes(s, [0]) for s in states]
        given = [self.moved(x, [1, 0, 2]), *weights, None, *begun]
        steps, *last = self.node(operator, given, 1 + len(states), hidden_size=units, **attributes)
        shape = z.shape[1], z.shape[0], units
        h = self.add("Squeeze", [Value(steps, z.dtype), self.integers([1])], shape=shape)
        return [
            self.moved(h, [1, 0, 2]),
            *(self.add("Squeeze", [Value(n, z.dtype), self.integers([0])], shape=shape[1:]) for n in last),
        ]

    def channels_first(self, value: Value) -> Value:
        """(batch, *space, channels) as (batch, channels, *space)."""
        return self.moved(value, [0, value.axes - 1, *range(1, value.axes - 1)])

    def channels_last(self, value: Value) -> Value:
        """The way back."""
        return self.moved(value, [0, *range(2, value.axes), 1])
