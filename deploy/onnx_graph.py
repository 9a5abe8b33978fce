"""The graph of an ONNX file while it is written: what was applied in two passes, each primitive in its form.

A primitive's form stands beside its equation (`relu.onnx("Relu")`): an operator's name, an equation of elements, a
function of the graph and the operands' values, or a function of `xp`, whose steps are written in their own forms.
"""

from __future__ import annotations

import ast
import itertools
import math
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy

from ..engine.namespace import namespace
from ..engine.primitive import Primitive
from ..engine.tensor import Tensor
from ..engine.watching import Application, Watching
from ..equation.functions import FUNCTIONS
from ..equation.language import Equation, read_equation
from ..errors import EquationError, UsageError

BATCHES = 2, 3
"""The sizes of the two batches that are watched."""
FEW = 64
"""Numbers of a small constant."""
LAST = numpy.iinfo("int64").max
"""A place behind the end of every axis."""
OPERATIONS: dict[type, tuple[str, Callable[[Any, Any], Any]]] = {
    ast.Add: ("Add", operator.add), ast.Sub: ("Sub", operator.sub), ast.Mult: ("Mul", operator.mul),
    ast.Div: ("Div", operator.truediv), ast.Pow: ("Pow", operator.pow), ast.FloorDiv: ("Mod", operator.floordiv),
    ast.Lt: ("Less", operator.lt), ast.LtE: ("LessOrEqual", operator.le), ast.Gt: ("Greater", operator.gt),
    ast.GtE: ("GreaterOrEqual", operator.ge), ast.Eq: ("Equal", operator.eq), ast.NotEq: ("Equal", operator.ne),
    ast.BitAnd: ("BitwiseAnd", operator.and_), ast.BitOr: ("BitwiseOr", operator.or_),
    ast.BitXor: ("BitwiseXor", operator.xor), ast.And: ("And", lambda a, b: a and b),
    ast.Or: ("Or", lambda a, b: a or b), ast.USub: ("Neg", lambda a, _: -a), ast.Not: ("Not", lambda a, _: not a),
    ast.Invert: ("BitwiseNot", lambda a, _: ~a),
}  # fmt: skip
"""The operators of equations: what ONNX calls them (or what they are made of), and what they are of numbers."""
COMPARISONS = ("Less", "LessOrEqual", "Greater", "GreaterOrEqual", "Equal", "And", "Or", "Not")
BITWISE_SINCE = 18
"""The version of ONNX's operators that brought those on the bits of integers."""


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


class Varying(int):
    """A length that belongs to the batch: what it was in the first pass; `other`: in the second."""

    other: int

    def __new__(cls, first: int, other: int) -> Varying:
        made = super().__new__(cls, first)
        made.other = other
        return made


class Graph:
    """The graph while it is written: what stands for which tensor, its nodes and its constants.

    names: of inputs, the first having the batch's length as its own first, and outputs. weights: names of arrays, by
    `memory_of`.
    """

    def __init__(self, onnx: Any, opset: int, weights: Mapping[tuple[Any, ...], str], names: Sequence[str]) -> None:
        self.onnx, self.opset, self.weights, self.names = onnx, opset, weights, names
        self.nodes: list[Any] = []
        self.initialisers: list[Any] = []
        self.known: dict[int, Value] = {}
        self.written: dict[str, Value] = {}
        self.small: dict[tuple[Any, ...], str] = {}  # names of constants without one
        self.kept: list[Any] = []  # what `known` knows by its identity
        self.counted: Value | None = None  # the batch's length, once it is asked for
        self.arrays: dict[str, Any] = {}  # by name, what is the same in each run, as it was in the first pass
        self.sources: dict[str, tuple[Primitive, Sequence[Value]]] = {}  # by name, what it was made by, and of what
        self.parts: dict[str, dict[str, Value]] = {}  # by name and index, what is at hand without the whole
        self.pending: dict[str, Callable[[], Value]] = {}  # by name, the whole, which is written once it is asked for
        self.current: tuple[Application, ...] = ()  # what is being written
        self.shape: tuple[int, ...] = ()  # of the result that is being written
        self.dtype: numpy.dtype[Any] = numpy.dtype("float32")
        self.count = 0

    # What forms are written with

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
        """An array that stands in the file; a small one without a name once."""
        array = numpy.ascontiguousarray(array).reshape(numpy.shape(array))
        if name is None or name in self.names or not alike(self.arrays.get(name, array), array):
            name = self.label("constant")
            if array.size <= FEW:
                name = self.small.setdefault((array.dtype, array.shape, array.tobytes()), name)
        if name not in self.written:
            self.initialisers.append(self.onnx.numpy_helper.from_array(array, name))
            self.written[name], self.arrays[name] = Value(name, array.dtype, array.shape), array
        return self.written[name]

    def number(self, value: Any, dtype: Any) -> Value:
        """A number, of a dtype."""
        return self.constant(numpy.asarray(value, dtype))

    def integers(self, values: Sequence[int]) -> Value:
        """A list of integers, as operators take axes and shapes."""
        return self.constant(numpy.array(list(values), "int64"))

    def lengths(self, values: Sequence[int]) -> Value:
        """The same, of which some may be the batch's."""
        if not any(isinstance(n, Varying) for n in values):
            return self.integers(values)
        found = [self._length(n) if isinstance(n, Varying) else self.integers([n]) for n in values]
        return self.add("Concat", found, axis=0, shape=(len(values),)) if len(found) > 1 else found[0]

    def _length(self, n: Varying) -> Value:
        """What is computed from the batch's length: slope · batch + rest."""
        slope = n.other - n
        rest = n - BATCHES[0] * slope
        if slope < 0 or rest < 0:
            raise NotImplementedError(f"a length is {int(n)} for {BATCHES[0]} samples and {n.other} for {BATCHES[1]}")
        if self.counted is None:
            self.counted = self.add("Shape", [Value(self.names[0], self.dtype)], "int64", (1,), start=0, end=1)
        made = self.counted if slope == 1 else self.add("Mul", [self.counted, self.integers([slope])])
        return self.add("Add", [made, self.integers([rest])]) if rest else made

    def cast(self, value: Value, dtype: Any) -> Value:
        """The value in a dtype."""
        if value.dtype == dtype:
            return value
        made = self.add("Cast", [value], dtype, to=self.code(dtype))
        if value.name in self.arrays:
            self.arrays[made.name] = self.arrays[value.name].astype(dtype)
        return made

    def reshape(self, value: Value, shape: Sequence[int]) -> Value:
        """The value in a shape, of which lengths may be the batch's."""
        if 0 in shape:
            return self.add("Reshape", [value, self.lengths(shape)], shape=shape, allowzero=1)
        open_ = [isinstance(n, Varying) for n in shape]
        if sum(open_) > 1:
            return self.add("Reshape", [value, self.lengths(shape)], shape=shape)
        lengths = [-1 if varies else n for varies, n in zip(open_, shape, strict=True)]
        return self.add("Reshape", [value, self.integers(lengths)], shape=shape)

    def broadcast(self, value: Value, shape: Sequence[int]) -> Value:
        """The value repeated to a shape, of which lengths may be the batch's."""
        return self.add("Expand", [value, self.lengths(shape)], shape=shape)

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
            [value, self.lengths(starts), self.lengths(stops), self.integers(list(slices)), self.integers(steps)],
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
        count = self.lengths([x.shape[axis]])
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

    def in_parts(self, parts: Sequence[tuple[Any, Value]], form: Callable[..., Any], like: Value) -> Value:
        """What is being written, of which parts are at hand by their index; the whole is composed once it is needed."""
        current = self.current
        made = Value(self.label("whole"), like.dtype, self.shape)
        self.parts[made.name] = {str(index): part for index, part in parts}
        self.pending[made.name] = lambda: self.composed(form, *current)
        return made

    def channels_first(self, value: Value) -> Value:
        """(batch, *space, channels) as (batch, channels, *space)."""
        return self.moved(value, [0, value.axes - 1, *range(1, value.axes - 1)])

    def channels_last(self, value: Value) -> Value:
        """The way back."""
        return self.moved(value, [0, *range(2, value.axes), 1])

    # What was applied

    def take(self, x: Tensor, other: Tensor, name: str, dtype: Any) -> None:
        """An input."""
        self.known[id(x)] = Value(name, numpy.dtype(dtype), merged(x.shape, other.shape))

    def apply(self, first: Application, second: Application) -> None:
        """Write what was applied, in both passes."""
        primitive, result, self.current = first.primitive, first.result, (first, second)
        operands: list[Value] = []
        try:
            shape = merged(result.shape, second.result.shape)
            form = primitive.onnx_form
            if callable(form) and form.__code__.co_varnames[:1] == ("xp",):
                made = self.composed(form)
            else:
                operands = [self.operand(*pair, first) for pair in zip(first.operands, second.operands, strict=True)]
                if result.dtype.kind == "f":  # as NumPy has it, what stands beside wider numbers is made as wide
                    kinds = ("f" if len(operands) > 1 else "") + ("" if primitive.whole else "biu")
                    operands = [self.cast(x, result.dtype) if x.dtype.kind in kinds else x for x in operands]
                self.shape, self.dtype = shape, result.dtype
                parameters = merged(dict(first.parameters), dict(second.parameters))
                try:
                    made = self.formed(primitive, operands, parameters)
                except NotImplementedError:
                    if form or primitive.onnx_reason:
                        raise
                    made = self.composed(primitive.kernel)  # its code says it by other primitives
            made = self.cast(made, result.dtype)
        except (NotImplementedError, EquationError) as error:
            raise UsageError(
                f"{primitive.name} has no form in ONNX: {error}. Use layers without it, or declare one beside the "
                f"primitive: {primitive.name}.onnx(…)."
            ) from error
        self.known[id(result)] = made = replace(made, shape=shape)
        self.sources.setdefault(made.name, (primitive, operands))
        if operands and all(x.name in self.arrays for x in operands) and alike(result._data, second.result._data):
            self.arrays[made.name] = result._data

    def composed(self, form: Callable[..., Any], *both: Application) -> Value:
        """What was applied, by default what is being written, in steps of other primitives."""
        both = both or self.current
        steps, made, kept = [], [], (self.shape, self.dtype)
        for each in both:
            with Watching() as seen:
                given = [x if isinstance(x, Tensor) else Tensor(numpy.asarray(x)) for x in each.operands]
                try:
                    made.append(form(namespace, *given, **each.parameters))
                except Exception as error:  # of whatever kind: the code may be a user's, written for arrays alone
                    raise NotImplementedError(
                        f"its code does not compute with other primitives alone ({type(error).__name__}: {error})"
                    ) from error
            steps.append(seen.applications)
        self.kept.append((steps, made))
        self.apply_all(*steps)
        self.shape, self.dtype = kept
        return self.operand(*made)

    def apply_all(self, first: Sequence[Application], second: Sequence[Application]) -> None:
        """Write what was applied in the first pass, and in the same order in the second."""
        if [a.primitive for a in first] != [a.primitive for a in second]:
            raise NotImplementedError("for another batch other primitives are applied, so there is no one graph")
        for pair in zip(first, second, strict=True):
            self.apply(*pair)

    def formed(self, primitive: Primitive, operands: Sequence[Value], parameters: Mapping[str, Any]) -> Value:
        """The primitive in its form."""
        form = primitive.onnx_form
        if primitive.onnx_reason:
            raise NotImplementedError(primitive.onnx_reason)
        if callable(form):
            made: Value = form(self, *operands, **parameters)
            return made
        if form and "=" not in form:
            odd = [name for name, value in parameters.items() if not isinstance(value, int | float)]
            if odd:
                raise NotImplementedError(f"{odd[0]} is {parameters[odd[0]]!r}, and {form} takes a number")
            return self.add(form, operands, **parameters)
        equation = primitive.equation
        if not form and self.shape != broadcast(x.shape for x in operands):
            raise NotImplementedError("its equation does not say its shape")
        if form:
            equation = read_equation(form, {*primitive.operands, *primitive.parameters})
        return self.equation(equation, {**parameters, **dict(zip(primitive.operands, operands, strict=False))})

    def operand(self, x: Any, other: Any, of: Application | None = None) -> Value:
        """What stands for an operand; a constant is taken into the file, a weight by its name.

        An array as long as the batch goes in where it is the same for each sample, repeated to the batch's length.
        """
        if id(x) in self.known:
            return self.known[id(x)]
        if isinstance(x, int | float) and of:  # a number takes the dtype of what stands beside it
            beside = [v.dtype for v in of.operands if hasattr(v, "dtype")]
            x, other = (numpy.asarray(v, numpy.result_type(*beside, v)) for v in (x, other))
        array, same = (numpy.asarray(v._data if isinstance(v, Tensor) else v) for v in (x, other))
        if array.ndim == same.ndim:
            shape = merged(array.shape, same.shape)
            one = tuple(slice(0, 1 if isinstance(n, Varying) else None) for n in shape)
            if all(alike(v, numpy.broadcast_to(array[one], v.shape)) for v in (array, same)):
                varies = array.shape != same.shape
                held = self.constant(array[one], None if varies else self.weights.get(memory_of(array)))
                if varies:
                    held = self.broadcast(held, shape)
                    self.arrays[held.name] = array
                return held
        raise NotImplementedError("it takes an array that was computed from the batch outside of all primitives")

    def live(self, outputs: Sequence[str]) -> tuple[list[Any], list[Any]]:
        """The nodes and constants that these outputs need."""
        needed, nodes = set(outputs), []
        for node in reversed(self.nodes):
            if needed & set(node.output):
                nodes.append(node)
                needed |= set(node.input)
        return nodes[::-1], [each for each in self.initialisers if each.name in needed]

    # Equations

    def equation(self, equation: Equation, values: Mapping[str, Any]) -> Value:
        """An equation of elements, statement by statement."""
        if not equation.elementwise or equation.recurrent:
            raise NotImplementedError(f"its equation, {equation.text}, is not one of elements")
        known = dict(values)
        for statement in equation.statements:
            known[statement.target] = self.expression(statement.expression, known)
        return self.valued(known[equation.target], numpy.dtype("float32"))

    def valued(self, x: Any, dtype: Any) -> Value:
        """A value for a number."""
        return x if isinstance(x, Value) else self.number(x, dtype)

    def expression(self, node: ast.expr, known: Mapping[str, Any]) -> Any:
        """A value, or a number where no value takes part."""

        def of(*nodes: ast.expr) -> list[Any]:
            return [self.expression(each, known) for each in nodes]

        match node:
            case ast.Constant():
                return node.value
            case ast.Name():
                return known[node.id] if node.id in known else getattr(math, node.id)
            case ast.UnaryOp() if type(node.op) in OPERATIONS:
                return self.combined(type(node.op), *of(node.operand))
            case ast.BinOp() if type(node.op) in OPERATIONS:
                return self.combined(type(node.op), *of(node.left, node.right))
            case ast.BoolOp(values=[left, right]):
                return self.combined(type(node.op), *of(left, right))
            case ast.Compare(ops=[op]) if type(op) in OPERATIONS:
                return self.combined(type(op), *of(node.left, node.comparators[0]))
            case ast.IfExp():
                (test,) = of(node.test)
                if not isinstance(test, Value):
                    return self.expression(node.body if test else node.orelse, known)
                x, y = self.alike(of(node.body, node.orelse))
                return self.add("Where", [self.cast(test, numpy.dtype(bool)), x, y], x.dtype)
            case ast.Call(func=ast.Name(id=name)):
                return self.called(name, of(*node.args))
        raise NotImplementedError(f"its equation has {ast.unparse(node)}")

    def alike(self, xs: Sequence[Any]) -> list[Value]:
        """Values of one dtype: numbers take that of the others."""
        kinds = [x.dtype for x in xs if isinstance(x, Value)]
        dtype = numpy.result_type(*kinds) if kinds else numpy.dtype("float32")
        return [self.cast(self.valued(x, dtype), dtype) for x in xs]

    def combined(self, sign: type, *given: Any) -> Any:
        """One or two values by an operator."""
        name, function = OPERATIONS[sign]
        if not any(isinstance(x, Value) for x in given):
            return function(given[0], given[-1])
        xs = self.alike(given)
        if name == "Mod":
            return self.quotient(*xs)
        if name == "Div" and xs[0].dtype.kind != "f":  # of integers it would drop the rest
            xs = [self.cast(v, numpy.dtype("float32")) for v in xs]
        if name in ("And", "Or", "Not"):
            xs = [self.cast(v, numpy.dtype(bool)) for v in xs]
        elif name.startswith("Bitwise"):
            if xs[0].dtype == bool:
                name = name.removeprefix("Bitwise")
            elif self.opset < BITWISE_SINCE:
                raise NotImplementedError(f"of integers it is one from opset={BITWISE_SINCE} on")
        made = self.add(name, xs, bool if name in COMPARISONS else None)
        return self.add("Not", [made]) if sign is ast.NotEq else made

    def quotient(self, a: Value, b: Value) -> Value:
        """a // b, rounded down, as NumPy has it: (a - what is left) / b."""
        if a.dtype.kind != "f":
            return self.add("Div", [self.add("Sub", [a, self.add("Mod", [a, b])]), b])
        left = self.add("Mod", [a, b], fmod=1)  # with the sign of a
        zero = self.number(0, a.dtype)
        signs = [self.add("Mul", [left, b]), zero]
        left = self.add("Where", [self.add("Less", signs, bool), self.add("Add", [left, b]), left], a.dtype)
        return self.add("Round", [self.add("Div", [self.add("Sub", [a, left]), b])])

    def called(self, name: str, xs: Sequence[Any]) -> Any:
        """A function of the language: by its row."""
        row = FUNCTIONS[name]
        if not any(isinstance(x, Value) for x in xs) and hasattr(numpy, row.array or name):
            return float(getattr(numpy, row.array or name)(*xs))
        if not row.onnx:
            raise NotImplementedError(f"its equation has {name}, which ONNX lacks")
        if "=" in row.onnx:
            return self.equation(read_equation(row.onnx, {"x"}), {"x": xs[0]})
        return self.add(row.onnx, self.alike(xs))


def broadcast(shapes: Iterable[tuple[int, ...]]) -> tuple[int, ...]:
    """The shape that these make together; of lengths, those of the batch are kept."""
    lengths = itertools.zip_longest(*(shape[::-1] for shape in shapes), fillvalue=1)
    return tuple(next((n for n in each if n != 1), 1) for each in lengths)[::-1]


def alike(a: Any, b: Any) -> bool:
    """Whether two arrays hold the same numbers."""
    return a.shape == b.shape and numpy.array_equal(a, b, equal_nan=a.dtype.kind in "fc")


def memory_of(array: Any) -> tuple[Any, ...]:
    """What tells an array's memory from another's."""
    return array.__array_interface__["data"][0], array.shape, array.strides, array.dtype


def merged(a: Any, b: Any) -> Any:
    """What both passes agree on; an integer in which they do not is Varying."""
    if isinstance(a, tuple | list) and isinstance(b, tuple | list) and len(a) == len(b):
        return type(a)(merged(x, y) for x, y in zip(a, b, strict=True))
    if isinstance(a, dict):
        return {key: merged(value, b[key]) for key, value in a.items()}
    if isinstance(a, slice) and isinstance(b, slice):
        return slice(*(merged(getattr(a, end), getattr(b, end)) for end in ("start", "stop", "step")))
    if isinstance(a, int) and isinstance(b, int) and a != b:
        return Varying(a, b)
    if a is b or (alike(a, b) if isinstance(a, numpy.ndarray) else a == b):
        return a
    raise NotImplementedError("a parameter of it was computed from the batch outside of all primitives")
