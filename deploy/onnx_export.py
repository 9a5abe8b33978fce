"""A model as an ONNX file: its forward pass is watched, and each primitive that was applied is written in its form.

A primitive's form stands beside its equation (`relu.onnx("Relu")`); where none does and the equation is one of
elements, the equation itself is the form. The pass is watched for two batches of different size and contents: a length
that differs belongs to the batch and stays open in the file; a constant that differs shows that something was computed
past the tape, which is refused.
"""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy

from ..engine.files import write_file
from ..engine.primitive import Primitive
from ..engine.tensor import Tensor
from ..engine.watching import Application, Watching
from ..equation.functions import FUNCTIONS
from ..equation.language import Equation, read_equation
from ..errors import DataError, EquationError, UsageError
from ..hints import missing_extra
from .ready import check_ready

OPSET = 17
"""The least version of ONNX's operators that is written."""
BATCHES = 2, 3
"""The sizes of the two batches that are watched."""
CHECKED = 64
"""How many samples onnxruntime is compared on."""
OPERATIONS: dict[type, tuple[str, Callable[[Any, Any], Any]]] = {
    ast.Add: ("Add", operator.add), ast.Sub: ("Sub", operator.sub), ast.Mult: ("Mul", operator.mul),
    ast.Div: ("Div", operator.truediv), ast.Pow: ("Pow", operator.pow), ast.Lt: ("Less", operator.lt),
    ast.LtE: ("LessOrEqual", operator.le), ast.Gt: ("Greater", operator.gt), ast.GtE: ("GreaterOrEqual", operator.ge),
    ast.Eq: ("Equal", operator.eq),
}  # fmt: skip
"""The operators of equations: what ONNX calls them, and what they are of numbers."""
COMPARISONS = ("Less", "LessOrEqual", "Greater", "GreaterOrEqual", "Equal")


@dataclass(frozen=True)
class Value:
    """A value of the graph: its name and dtype. axes: how many it has, where that is known."""

    name: str
    dtype: numpy.dtype[Any]
    axes: int = 0


class Varying(int):
    """A length that belongs to the batch: what it was in the first pass."""


def onnx_model(model: Any, *, opset: int = OPSET, scale: float | None = None) -> Any:
    """The model as ONNX's ModelProto, checked by ONNX's own checker.

    opset: the version of the operators, 17 or later. scale: the file takes uint8, which it multiplies by this; None: it
    takes what the model takes. Raises UsageError for a primitive without a form, DataError where a weight is not
    finite, MissingExtraError without the package onnx.
    """
    onnx = _package()
    if isinstance(opset, bool) or not isinstance(opset, int) or not OPSET <= opset <= onnx.defs.onnx_opset_version():
        raise UsageError(
            f"opset={opset!r}: it is a whole number from {OPSET} to {onnx.defs.onnx_opset_version()}, the latest that "
            f"the installed onnx {onnx.__version__} knows."
        )
    check_ready(model)
    passes = [_watched(model, size, seed) for seed, size in enumerate(BATCHES)]
    graph = Graph(onnx, opset, _weights(model))
    shapes = [("batch", *shape) for shape in _shapes(model)]
    taken = []
    for number, (x, shape) in enumerate(zip(passes[0][0], shapes, strict=True)):
        name = "input" if len(shapes) == 1 else f"input_{number}"
        dtype = x.dtype if scale is None else numpy.dtype("uint8")
        taken.append(onnx.helper.make_tensor_value_info(name, graph.code(dtype), shape))
        value = Value(name, dtype, len(shape))
        if scale is not None:
            value = graph.add("Mul", [graph.cast(value, x.dtype), graph.number(scale, x.dtype)], x.dtype)
        graph.known[id(x)] = value
    (_, first, outputs), (_, second, _) = passes
    if [a.primitive for a in first] != [a.primitive for a in second]:
        raise UsageError("the model computes otherwise for another batch: it has no one graph, so no ONNX file.")
    for pair in zip(first, second, strict=True):
        graph.apply(*pair)
    given = []
    for number, y in enumerate(outputs):
        if id(y) not in graph.known:
            raise UsageError("an output does not follow from the inputs by primitives: it has no form in ONNX.")
        name = "output" if len(outputs) == 1 else f"output_{number}"
        graph.nodes.append(onnx.helper.make_node("Identity", [graph.known[id(y)].name], [name]))
        given.append(onnx.helper.make_tensor_value_info(name, graph.code(y.dtype), ("batch", *y.shape[1:])))
    made = onnx.helper.make_model(
        onnx.helper.make_graph(graph.nodes, model.name or "model", taken, given, graph.initialisers),
        opset_imports=[onnx.helper.make_opsetid("", opset)], producer_name="chalkgrad",
        ir_version=onnx.helper.find_min_ir_version_for([onnx.helper.make_opsetid("", opset)]),
    )  # fmt: skip
    onnx.checker.check_model(made, full_check=True)
    return made


def write_onnx(model: Any, path: Path, *, opset: int = OPSET, scale: float | None = None) -> dict[str, float]:
    """Write the model as an ONNX file, whole or not at all; the options are those of `onnx_model`.

    Where onnxruntime is installed, returns how far its outputs are from ours at most, on random samples.
    """
    made = onnx_model(model, opset=opset, scale=scale).SerializeToString()
    facts = _compared(model, made, scale)
    write_file(path, made)
    return facts


class Graph:
    """The graph while it is written: what stands for which tensor, its nodes and its constants."""

    def __init__(self, onnx: Any, opset: int, weights: Mapping[tuple[Any, ...], str]) -> None:
        self.onnx, self.opset, self.weights = onnx, opset, weights
        self.nodes: list[Any] = []
        self.initialisers: list[Any] = []
        self.known: dict[int, Value] = {}
        self.written: dict[str, Value] = {}
        self.shape: tuple[int, ...] = ()  # of the result that is being written
        self.count = 0

    def code(self, dtype: Any) -> int:
        """ONNX's number of a dtype."""
        return int(self.onnx.helper.np_dtype_to_tensor_dtype(numpy.dtype(dtype)))

    def add(self, name: str, inputs: Sequence[Value], dtype: Any = None, **attributes: Any) -> Value:
        """A node of one output. dtype: of that; the first input's by default."""
        self.count += 1
        output = f"{name.lower()}_{self.count}"
        self.nodes.append(self.onnx.helper.make_node(name, [v.name for v in inputs], [output], output, **attributes))
        return Value(output, numpy.dtype(inputs[0].dtype if dtype is None else dtype), inputs[0].axes)

    def constant(self, array: Any, name: str | None = None) -> Value:
        """An array that stands in the file."""
        array = numpy.ascontiguousarray(array).reshape(numpy.shape(array))
        if name is None:
            self.count += 1
            name = f"constant_{self.count}"
        if name not in self.written:
            self.initialisers.append(self.onnx.numpy_helper.from_array(array, name))
            self.written[name] = Value(name, array.dtype, array.ndim)
        return self.written[name]

    def number(self, value: Any, dtype: Any) -> Value:
        """A number, of a dtype."""
        return self.constant(numpy.asarray(value, dtype))

    def integers(self, values: Sequence[int]) -> Value:
        """A list of integers, as operators take axes and shapes."""
        return self.constant(numpy.array(list(values), "int64"))

    def cast(self, value: Value, dtype: Any) -> Value:
        """The value in a dtype."""
        if value.dtype == dtype:
            return value
        return self.add("Cast", [value], dtype, to=self.code(dtype))

    def reshape(self, value: Value, shape: Sequence[int]) -> Value:
        """The value in a shape, of which one length may be the batch's."""
        open_ = [isinstance(n, Varying) for n in shape]
        if sum(open_) > 1:
            raise NotImplementedError("two lengths of its result depend on the batch")
        lengths = [-1 if varies else n for varies, n in zip(open_, shape, strict=True)]
        made = self.add("Reshape", [value, self.integers(lengths)])
        return Value(made.name, made.dtype, len(shape))

    def moved(self, value: Value, order: Sequence[int]) -> Value:
        """The value with its axes in another order."""
        return self.add("Transpose", [value], perm=list(order))

    def reduced(self, name: str, value: Value, axes: Sequence[int]) -> Value:
        """A reduction over axes, which are an attribute up to version 17 of the operators, an input later."""
        if self.opset > 17:
            return self.add(name, [value, self.integers(axes)], keepdims=0)
        return self.add(name, [value], axes=list(axes), keepdims=0)

    def channels_first(self, value: Value) -> Value:
        """(batch, *space, channels) as (batch, channels, *space)."""
        return self.moved(value, [0, value.axes - 1, *range(1, value.axes - 1)])

    def channels_last(self, value: Value) -> Value:
        """The way back."""
        return self.moved(value, [0, *range(2, value.axes), 1])

    def apply(self, first: Application, second: Application) -> None:
        """Write what was applied, in both passes."""
        primitive, result = first.primitive, first.result
        self.shape = _merged(result.shape, second.result.shape)
        try:
            operands = [self.operand(x, other) for x, other in zip(first.operands, second.operands, strict=True)]
            parameters = _merged(dict(first.parameters), dict(second.parameters))
            made = self.formed(primitive, operands, parameters)
            if primitive.onnx_form is None and first.result.shape != numpy.broadcast_shapes(
                *(numpy.shape(x) for x in first.operands)
            ):
                raise NotImplementedError(f"its equation, {primitive.text}, does not say its shape")
        except (NotImplementedError, EquationError) as error:
            raise UsageError(
                f"{primitive.name} has no form in ONNX: {error}. Use layers without it, or declare one beside the "
                f"primitive: {primitive.name}.onnx(…)."
            ) from error
        made = self.cast(made, result.dtype)
        self.known[id(result)] = Value(made.name, made.dtype, len(result.shape))

    def formed(self, primitive: Primitive, operands: Sequence[Value], parameters: Mapping[str, Any]) -> Value:
        """The primitive in its form."""
        form = primitive.onnx_form
        if callable(form):
            made: Value = form(self, *operands, **parameters)
            return made
        if form and "=" not in form:
            odd = [name for name, value in parameters.items() if not isinstance(value, int | float)]
            if odd:
                raise NotImplementedError(f"{odd[0]} is {parameters[odd[0]]!r}, and {form} takes a number")
            return self.add(form, operands, **parameters)
        equation = primitive.equation
        if form:
            equation = read_equation(form, {*primitive.operands, *primitive.parameters})
        return self.equation(equation, {**parameters, **dict(zip(primitive.operands, operands, strict=False))})

    def operand(self, x: Any, other: Any) -> Value:
        """What stands for an operand; a constant is taken into the file, a weight by its name."""
        if id(x) in self.known:
            return self.known[id(x)]
        array, same = (numpy.asarray(v._data if isinstance(v, Tensor) else v) for v in (x, other))
        if array.shape != same.shape or not numpy.array_equal(array, same, equal_nan=array.dtype.kind in "fc"):
            raise NotImplementedError("it takes an array that was computed from the batch outside of all primitives")
        return self.constant(array, self.weights.get(_key(array)))

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
        match node:
            case ast.Constant():
                return node.value
            case ast.Name():
                return known[node.id] if node.id in known else getattr(math, node.id)
            case ast.UnaryOp(op=ast.USub()):
                x = self.expression(node.operand, known)
                return self.add("Neg", [x]) if isinstance(x, Value) else -x
            case ast.BinOp() if type(node.op) in OPERATIONS:
                return self.combined(
                    type(node.op), self.expression(node.left, known), self.expression(node.right, known)
                )
            case ast.Compare(ops=[op]) if type(op) in OPERATIONS:
                return self.combined(
                    type(op), self.expression(node.left, known), self.expression(node.comparators[0], known)
                )
            case ast.IfExp():
                test = self.expression(node.test, known)
                if not isinstance(test, Value):
                    return self.expression(node.body if test else node.orelse, known)
                x, y = self.alike([self.expression(node.body, known), self.expression(node.orelse, known)])
                return self.add("Where", [self.cast(test, numpy.dtype(bool)), x, y], x.dtype)
            case ast.Call(func=ast.Name(id=name)):
                return self.called(name, [self.expression(x, known) for x in node.args])
        raise NotImplementedError(f"its equation has {ast.unparse(node)}")

    def alike(self, xs: Sequence[Any]) -> list[Value]:
        """Values of one dtype: numbers take that of the others."""
        kinds = [x.dtype for x in xs if isinstance(x, Value)]
        dtype = numpy.result_type(*kinds) if kinds else numpy.dtype("float32")
        return [self.cast(self.valued(x, dtype), dtype) for x in xs]

    def combined(self, sign: type, x: Any, y: Any) -> Any:
        """Two values by an operator."""
        name, function = OPERATIONS[sign]
        if not isinstance(x, Value) and not isinstance(y, Value):
            return function(x, y)
        xs = self.alike([x, y])
        if name == "Div" and xs[0].dtype.kind != "f":  # of integers it would drop the rest
            xs = [self.cast(v, numpy.dtype("float32")) for v in xs]
        return self.add(name, xs, bool if name in COMPARISONS else None)

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


# What is looked at


def _package() -> Any:
    try:
        import onnx
    except ImportError as error:
        raise missing_extra("an ONNX file", "onnx", "onnx") from error
    return onnx


def _key(array: Any) -> tuple[Any, ...]:
    """What tells an array's memory from another's."""
    return array.__array_interface__["data"][0], array.shape, array.strides, array.dtype


def _weights(model: Any) -> dict[tuple[Any, ...], str]:
    """The names of the weights, by their memory; a name that comes again gets a number."""
    found: dict[tuple[Any, ...], str] = {}
    for part, layer in enumerate(model.parts):
        for name, w in layer.weights.items():
            found.setdefault(_key(w._data), f"{part}.{type(layer).__name__}.{name}")
    return found


def _shapes(model: Any) -> list[tuple[int, ...]]:
    """Of a sample, for each input."""
    return [tuple(model.shapes[at]) for at in model.inputs_at]


def _inputs(model: Any, count: int, seed: int) -> list[Any]:
    generator = numpy.random.default_rng(seed)
    return [generator.random((count, *shape), "float32") for shape in _shapes(model)]


def _watched(model: Any, count: int, seed: int) -> tuple[list[Tensor], list[Application], list[Tensor]]:
    """The inputs, what was applied to them, and the outputs."""
    xs = [Tensor(x) for x in _inputs(model, count, seed)]
    with Watching() as seen:
        try:
            y = model.forward(xs if len(xs) > 1 else xs[0], taped=False)
        except DataError as error:
            raise UsageError(
                "a model is watched on numbers from 0 to 1, and this one takes others; models of ids, whose first "
                f"layer is an Embedding, have no form in ONNX yet: {error}"
            ) from error
    return xs, seen.applications, y if isinstance(y, list) else [y]


def _merged(a: Any, b: Any) -> Any:
    """What both passes agree on; an integer in which they do not is Varying."""
    if isinstance(a, tuple | list) and isinstance(b, tuple | list) and len(a) == len(b):
        return type(a)(_merged(x, y) for x, y in zip(a, b, strict=True))
    if isinstance(a, dict):
        return {key: _merged(value, b[key]) for key, value in a.items()}
    if isinstance(a, int) and isinstance(b, int) and a != b:
        return Varying(a)
    return a


def _compared(model: Any, made: bytes, scale: float | None) -> dict[str, float]:
    """How far onnxruntime's outputs are from ours at most; nothing where it is not installed."""
    try:
        import onnxruntime  # type: ignore[import-untyped, unused-ignore]
    except ImportError:
        return {}
    session = onnxruntime.InferenceSession(made, providers=["CPUExecutionProvider"])
    xs = given = _inputs(model, CHECKED, 2)
    if scale is not None:
        given = [(x * 255).astype("uint8") for x in xs]
        xs = [(x * numpy.float32(scale)).astype("float32") for x in given]
    theirs = session.run(None, dict(zip([i.name for i in session.get_inputs()], given, strict=True)))
    ours = model.predict(xs if len(xs) > 1 else xs[0])
    pairs = zip(ours if isinstance(ours, list) else [ours], theirs, strict=True)
    return {"greatest difference": max(float(numpy.abs(a - b).max()) for a, b in pairs)}
