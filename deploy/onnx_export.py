"""A model as an ONNX file: its forward pass is watched, and each primitive that was applied is written in its form.

The pass is watched for two batches of different size and contents, and where the number of steps is open for two of
these, too: a length that differs belongs to the batch or the steps and stays open in the file; a constant that differs
shows that something was computed past the tape, which is refused.
"""

from __future__ import annotations

import inspect
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy

from ..checks import whole
from ..engine.files import write_file
from ..engine.tensor import Tensor
from ..engine.untaped import no_grad
from ..engine.watching import Application, Watching
from ..errors import UsageError, unknown_name
from ..hints import missing_extra
from ..names import distinct
from .onnx_graph import Graph, memory_of
from .onnx_lengths import merged, name_of, sizes_of
from .ready import check_ready

OPSET = 17
"""The least version of ONNX's operators that is written."""
LARGEST = 2**31 - 2**20
"""Bytes of weights that a file holds: it is less than 2 GB."""
FREE = 5, 8
"""The numbers of steps that are watched of a model that takes any."""
CHECKED = 64
"""How many samples onnxruntime is compared on, at most."""
NUMBERS = 65536
"""How many numbers these have together, at most; of models of ids a thirty-second."""
LONGEST = "longest"
"""What the file calls the number of steps that a sequence has at most."""
MASKS = ("attention_mask",)
"""What the `call` of a model of one's own may take beside ids, and the file as further inputs: 1 for what counts."""


@dataclass(frozen=True)
class Given:
    """An input of the file: its name, the shape of a sample, its dtype. below: ids are less; 0 for real numbers.

    A length that is None is the number of steps.
    """

    name: str
    shape: tuple[int | None, ...]
    dtype: str
    below: int = 0

    def drawn(self, count: int, steps: int, seed: int) -> Any:
        """So many random samples; what a mask has first counts, so that there is something to look at."""
        shape = (count, *(steps if n is None else n for n in self.shape))
        generator = numpy.random.default_rng(seed)
        if not self.below:
            return generator.random(shape).astype(self.dtype)
        made = generator.integers(0, self.below, shape, self.dtype)
        if self.name in MASKS:
            made[:, 0] = 1
        return made


@dataclass(frozen=True)
class Pass:
    """What was watched: the inputs, what was applied to them, and the outputs."""

    inputs: Sequence[Tensor]
    applied: Sequence[Application]
    outputs: Sequence[Tensor]


def watched(function: Callable[..., Any], xs: Sequence[Any]) -> Pass:
    """A function of tensors while it computes."""
    given = [Tensor(x) for x in xs]
    with Watching() as seen, no_grad():
        y = function(*given)
    return Pass(given, seen.applications, y if isinstance(y, list | tuple) else [y])


def onnx_model(
    model: Any, *, opset: int = OPSET, scale: float | None = None, length: int | None = None,
    inputs: Sequence[str] | None = None,
) -> Any:  # fmt: skip
    """The model as ONNX's ModelProto, checked by ONNX's own checker.

    opset: the version of the operators, 17 or later. scale: the file takes uint8, which it multiplies by this; None: it
    takes what the model takes. length: how many steps a sequence has, where the model leaves that open; None: the
    file does, too. inputs: what else of the model's own `call` the file takes, in the shape of its ids, such as
    "segments"; None: attention_mask, where there is one. Raises UsageError for a primitive without a form, DataError
    where a weight is not finite, MissingExtraError without the package onnx.
    """
    return _described(_function(model, opset, length, inputs), opset, scale)


def write_onnx(
    model: Any, path: Path, *, opset: int = OPSET, scale: float | None = None, length: int | None = None,
    inputs: Sequence[str] | None = None,
) -> dict[str, float]:  # fmt: skip
    """Write the model as an ONNX file, whole or not at all; the options are those of `onnx_model`.

    Where onnxruntime is installed, returns how far its outputs are from ours at most, on random samples; raises
    UsageError where it is older than the operators.
    """
    function = _function(model, opset, length, inputs)
    made = _described(function, opset, scale).SerializeToString()
    facts = _compared(function, made, opset, scale)
    write_file(path, made)
    return facts


def _function(model: Any, opset: int, length: int | None, inputs: Sequence[str] | None) -> Function:
    """The model, once all is there that its export wants."""
    _package(opset)
    check_ready(model)
    size = sum(w.size * w.dtype.itemsize for w in model.weights)
    if size > LARGEST:
        raise UsageError(f"the weights are {size:,} bytes, and an ONNX file holds less than 2 GB.")
    return Function(model, length, inputs)


def _described(function: Function, opset: int, scale: float | None) -> Any:
    """The file, as ONNX's ModelProto."""
    onnx, model, inputs, sizes = _package(opset), function.model, function.inputs, sizes_of(function.steps)
    if scale is not None and len(inputs) + sum(given.below for given in inputs) > 1:
        raise UsageError(f"scale={scale!r}: bytes are scaled where a model has one input, of real numbers.")
    passes = [watched(function, [x.drawn(*size, seed) for x in inputs]) for seed, size in enumerate(sizes)]
    weights: dict[tuple[Any, ...], str] = {}
    for part, layer in enumerate(model.parts):
        for name, w in layer.weights.items():
            weights.setdefault(memory_of(w._data), f"{part}.{type(layer).__name__}.{name}")
    names = ["output"] if len(passes[0].outputs) == 1 else model.output_names
    try:
        graph = graph_of(onnx, opset, passes, [x.name for x in inputs], names, sizes, weights, scale, function.bounded)
    except UsageError as error:
        if not function.steps:
            raise
        raise UsageError(f"{error} Or give length=, the number of steps, if it is that which stays open.") from error
    graph.name = model.name or "model"
    return whole_file(
        onnx, opset, graph, doc_string=f"{type(model).__name__} of {len(model.parts)} layers",
        facts={"dtype": str(model.dtype), **({} if scale is None else {"scale": scale}),
               **({LONGEST: function.steps[-1]} if function.bounded else {}), **model.facts},
    )  # fmt: skip


def graph_of(
    onnx: Any, opset: int, passes: Sequence[Pass], inputs: Sequence[str], outputs: Sequence[str],
    sizes: Sequence[tuple[int, int]] = sizes_of(), weights: Any = None, scale: float | None = None,
    bounded: bool = False,
) -> Any:  # fmt: skip
    """What was watched in passes of these sizes, as ONNX's GraphProto, with these names of inputs and outputs."""
    names, helper, first = distinct([*inputs, *outputs]), onnx.helper, passes[0]
    graph = Graph(onnx, opset, sizes, names, weights or {}, bounded=bounded)

    def declared(name: str, dtype: Any, *xs: Any) -> Any:
        shape = [name_of(n, sizes) for n in merged(*(x.shape for x in xs))]
        return helper.make_tensor_value_info(name, graph.code(dtype), shape)

    taken, given = [], []
    for name, *xs in zip(names, *(each.inputs for each in passes), strict=False):
        dtype = xs[0].dtype if scale is None else numpy.dtype("uint8")
        taken.append(declared(name, dtype, *xs))
        graph.take(name, dtype, *xs)
        if scale is not None:
            value = graph.cast(graph.operand(*xs), xs[0].dtype)
            graph.stands_for(xs[0], graph.add("Mul", [value, graph.number(scale, xs[0].dtype)]))
    try:
        graph.apply_all(*(each.applied for each in passes))
        for name, *ys in zip(names[len(first.inputs) :], *(each.outputs for each in passes), strict=True):
            graph.node("Identity", [graph.operand(*ys)], [name])
            given.append(declared(name, ys[0].dtype, *ys))
    except NotImplementedError as error:
        raise UsageError(f"the model has no form in ONNX: {error}.") from error
    nodes, constants = graph.live(names[len(first.inputs) :])
    return helper.make_graph(nodes, "graph", taken, given, constants)


def whole_file(onnx: Any, opset: int, graph: Any, doc_string: str = "", facts: Any = None) -> Any:
    """The graph as ONNX's ModelProto, with what is to be told of it, checked."""
    from .. import __version__

    opsets = [onnx.helper.make_opsetid("", opset)]
    made = onnx.helper.make_model(
        graph, opset_imports=opsets, ir_version=onnx.helper.find_min_ir_version_for(opsets),
        producer_name="chalkgrad", producer_version=__version__, doc_string=doc_string,
    )  # fmt: skip
    told = {name: v if isinstance(v, str) else json.dumps(v, default=str) for name, v in (facts or {}).items()}
    onnx.helper.set_model_props(made, told)
    onnx.checker.check_model(made, full_check=True)
    return made


def _package(opset: int) -> Any:
    try:
        import onnx
    except ImportError as error:
        raise missing_extra("an ONNX file", "onnx", "onnx") from error
    if isinstance(opset, bool) or not isinstance(opset, int) or not OPSET <= opset <= onnx.defs.onnx_opset_version():
        raise UsageError(
            f"opset={opset!r}: it is a whole number from {OPSET} to {onnx.defs.onnx_opset_version()}, the latest that "
            f"the installed onnx {onnx.__version__} knows."
        )
    return onnx


class Function:
    """A model as a function of the file's inputs.

    steps: the numbers of them to watch, where they are open. bounded: whether the last is how many there are at most.
    """

    def __init__(self, model: Any, length: int | None, further: Sequence[str] | None) -> None:
        self.model = model
        taken = inspect.signature(type(model).call).parameters if hasattr(type(model), "call") else {}
        self.further = [name for name in MASKS if name in taken] if further is None else list(further)
        for name in self.further:
            if name not in [*taken][2:]:
                raise unknown_name("further input", name, [*taken][2:])
        if length is not None:
            whole("export", "length", length)
        self.inputs = []
        for name, at, integers, layer in zip(
            model.input_names, model.inputs_at, model.keeps_integers, model.deciding_layers, strict=True
        ):
            shape = tuple(length if n is None else int(n) for n in model.shapes[at])
            below = int(getattr(layer, "input_dim", 0) or getattr(model, "vocabulary", 2)) if integers else 0
            self.inputs.append(Given(name, shape, "int64" if integers else str(model.dtype), below))
        named = [each.open_lengths for each in model.parts if hasattr(each, "open_lengths")]
        if (max(named) if named and length is None else sum(x.shape.count(None) for x in self.inputs)) > 1:
            raise UsageError(
                f"{model.name} leaves several lengths open, and a file one beside the batch: give length=."
            )
        shape = self.inputs[0].shape
        self.inputs += [Given(name, shape, "int64", getattr(model, f"{name}_there_are", 2)) for name in self.further]
        known = (getattr(each, "longest", None) for each in (model, *model.parts))
        longest: int | None = next((n for n in known if n), None)
        self.steps: tuple[int, ...] = ()
        if any(None in x.shape for x in self.inputs):
            short = longest is not None and longest <= FREE[-1]
            self.steps = (max(1, longest // 2),) if longest and short else FREE
            self.steps += (longest,) if longest else ()
        self.bounded = bool(self.steps and longest)

    def __call__(self, *xs: Tensor) -> Any:
        """The outputs."""
        if self.further:
            return self.model(xs[0], **dict(zip(self.further, xs[1:], strict=True)))
        return self.model.forward([*xs] if len(xs) > 1 else xs[0], taped=False)


def _compared(function: Function, made: bytes, opset: int, scale: float | None) -> dict[str, float]:
    """How far onnxruntime's outputs are from ours at most; nothing where it is not installed."""
    try:
        import onnxruntime  # type: ignore[import-untyped, unused-ignore]
    except ImportError:
        return {}
    try:
        session = onnxruntime.InferenceSession(made, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise UsageError(
            f"the installed onnxruntime {onnxruntime.__version__} does not take the file, whose operators are of "
            f"version {opset}: choose an older opset (from {OPSET} on), or install a newer onnxruntime. It says: "
            f"{error}"
        ) from error
    inputs = function.inputs
    numbers, apart = NUMBERS // 32 if any(x.below for x in inputs) else NUMBERS, 0.0
    for steps in function.steps[-2:] or (0,):
        size = math.prod(steps if n is None else n for n in inputs[0].shape)
        count = max(2, min(CHECKED, numbers // max(1, size)))
        xs = given = [x.drawn(count, steps, steps) for x in inputs]
        if scale is not None:
            given = [(x * 255).astype("uint8") for x in xs]
            xs = [(x * numpy.float32(scale)).astype("float32") for x in given]
        names = [each.name for each in session.get_inputs()]
        theirs = session.run(None, dict(zip(names, given, strict=True)))
        with no_grad():
            ours = function(*map(Tensor, xs))
        for one, other in zip(ours if isinstance(ours, list | tuple) else [ours], theirs, strict=True):
            both = one.numpy().astype("float64"), other.astype("float64")
            differing = numpy.not_equal(*both)  # so that an infinity is as far from itself as a number is
            apart = float(numpy.maximum(apart, numpy.abs(numpy.subtract(*(x[differing] for x in both))).max(initial=0)))
    return {"greatest difference": apart}
