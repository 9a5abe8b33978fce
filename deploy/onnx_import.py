"""An ONNX file as a model of ours: its weights are learned on, and it is saved as any other is."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy

from ..errors import DataError, UsageError
from ..hints import missing_extra
from ..nn.layers import Input
from ..nn.layers.operator_rows import DTYPES
from ..nn.layers.operators import Operators
from ..nn.model import Model
from .onnx_export import LONGEST

OPSETS = 13, 28
"""The versions of the operators that are read."""
STATE = {"BatchNormalization": (3, 4)}
"""Which inputs are weights that are not learned."""
CONSTANTS = 1 << 16
"""Numbers of a constant at most; weights are as large as they are."""


def import_onnx(path: str | os.PathLike[str]) -> Model:
    """The model in an ONNX file of the usual operators, opset 13 or later, with its weights.

    It is trained, saved and exported as any other model is. Arrays of real numbers that stand in the file's graph by
    name are learned, but for single numbers, for what is not finite, for moving means, and for the constants of files
    that `cg.export` wrote. Raises DataError for what is no such file, or is damaged; UsageError for operators, dtypes
    and constructs without a counterpart here, all of them by name; MissingExtraError without the package onnx.
    """
    file = _file(Path(path))
    graph = file.graph
    ours = file.producer_name == "chalkgrad"
    arrays = {each.name: _array(path, each) for each in graph.initializer}
    kept_names = {node.input[at] for node in graph.node for at in STATE.get(node.op_type, ()) if at < len(node.input)}
    learned, kept, constants = {}, {}, {}
    for name, array in arrays.items():
        real = array.dtype.kind == "f"
        if name in kept_names:
            kept[name] = array
        elif real and array.ndim and numpy.isfinite(array).all() and not (ours and name.startswith("constant_")):
            learned[name] = array
        else:
            constants[name] = _plain(path, name, array)
    floats = {str(a.dtype) for a in (*learned.values(), *kept.values())} or {"float32"}
    if len(floats) > 1 or not floats <= {"float32", "float64"}:
        raise UsageError(f"{path}: its weights are of {', '.join(sorted(floats))}; a model has float32, or float64.")
    (dtype,) = floats
    inputs = [[each.name, *_declared(path, each)] for each in graph.input if each.name not in arrays]
    if not inputs:
        raise UsageError(f"{path} has no input: all that it computes stands in the file.")
    constants |= {each.output[0]: _constant(path, each) for each in graph.node if each.op_type == "Constant"}
    nodes = [_node(path, each) for each in graph.node if each.op_type != "Constant"]
    outputs = [[each.name, _declared(path, each)[0]] for each in graph.output]
    shapes = [{name: [*array.shape] for name, array in each.items()} for each in (learned, kept)]
    try:
        layer = Operators(nodes, inputs, outputs, shapes[0], shapes[1], constants, _longest(file))
        symbols = [Input(_lengths(shape), name=_name(name), dtype=kind) for name, shape, kind in inputs]
        model: Model = Model(
            symbols, layer(symbols if len(symbols) > 1 else symbols[0]), dtype=dtype, name=_name(graph.name)
        )
    except UsageError as error:
        raise UsageError(f"{path} is not imported: {error}") from error
    model.build()
    for name, array in (*learned.items(), *kept.items()):
        layer.variables[name].assign(array)
    return model


def _file(path: Path) -> Any:
    try:
        import onnx
    except ImportError as error:
        raise missing_extra("an ONNX file", "onnx", "onnx") from error
    try:
        file = onnx.load(path)
        if foreign := sorted({node.domain for node in file.graph.node} - {"", "ai.onnx"}):
            raise UsageError(f"{path}: operators of the domain {', '.join(foreign)}, which are not ONNX's own.")
        onnx.checker.check_model(file)
    except UsageError:
        raise
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}.") from error
    except Exception as error:  # protobuf and the checker raise many kinds
        raise DataError(f"{path} is no ONNX file, or is damaged ({str(error).splitlines()[0][:200]}).") from error
    domains = {each.domain: each.version for each in file.opset_import}
    if (version := domains.pop("", domains.pop("ai.onnx", 0))) not in range(OPSETS[0], OPSETS[1] + 1):
        raise UsageError(f"{path}: operators of version {version}, and those of {OPSETS[0]} to {OPSETS[1]} are read.")
    if file.functions or file.graph.sparse_initializer:
        raise UsageError(f"{path}: functions of its own, or sparse weights, which are not read.")
    return file


def _array(path: Any, each: Any) -> Any:
    from onnx import numpy_helper

    try:
        array = numpy_helper.to_array(each)
    except Exception as error:
        raise DataError(f"{path}: the array {each.name!r} cannot be read ({error}).") from error
    if array.dtype.kind not in "fiub":
        raise UsageError(
            f"{path}: the array {each.name!r} is of {array.dtype}: real numbers, integers, bools are read."
        )
    return array


def _plain(path: Any, name: str, array: Any) -> list[Any]:
    """A constant as a file of ours has it."""
    if array.size > CONSTANTS:
        raise UsageError(f"{path}: the constant {name!r} has {array.size:,} numbers, and {CONSTANTS:,} are the most.")
    values = array.ravel()
    told = [v if numpy.isfinite(v) else str(v) for v in values.tolist()] if array.dtype.kind == "f" else values.tolist()
    return [str(array.dtype), [*array.shape], told]


def _declared(path: Any, each: Any) -> tuple[list[int | str], str]:
    """The shape of a sample of an input or an output, and its dtype; a length that is open has a name."""
    kind = each.type.tensor_type
    if kind.elem_type not in DTYPES or not kind.HasField("shape") or not kind.shape.dim:
        raise UsageError(f"{path}: {each.name!r} is no array of numbers with a batch in front.")
    lengths = enumerate(kind.shape.dim[1:])
    return [n.dim_value or n.dim_param or f"{each.name} {at}" for at, n in lengths], DTYPES[kind.elem_type]


def _longest(file: Any) -> int | None:
    """How many steps a sequence has at most, where the file was written by `cg.export` and says it."""
    told = {each.key: each.value for each in file.metadata_props}.get(LONGEST, "")
    return int(told) if told.isdecimal() else None


def _lengths(shape: Any) -> tuple[int | None, ...]:
    return tuple(None if isinstance(n, str) else n for n in shape)


def _constant(path: Any, node: Any) -> list[Any]:
    """What a node holds that is a constant."""
    from onnx import helper, numpy_helper

    (each,) = node.attribute
    if each.type == each.TENSOR:
        return _plain(path, node.output[0], numpy_helper.to_array(each.t))
    kind = "float32" if each.name.startswith("value_float") else "int64"
    return _plain(path, node.output[0], numpy.asarray(helper.get_attribute_value(each), kind))


def _node(path: Any, node: Any) -> list[Any]:
    from onnx import helper, numpy_helper

    found: dict[str, Any] = {}
    for each in node.attribute:
        value = helper.get_attribute_value(each)
        if each.type in (each.GRAPH, each.GRAPHS, each.SPARSE_TENSOR, each.TYPE_PROTO):
            raise UsageError(
                f"{path}: the node {node.op_type} {node.name!r} holds a graph: branches and loops are not read."
            )
        if each.type == each.TENSOR:
            value = _plain(path, each.name, numpy_helper.to_array(value))
        found[each.name] = _text(value)
    return [node.op_type, [*node.input], [*node.output], found]


def _text(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return [_text(each) for each in value] if not isinstance(value, (str, int, float)) else value


def _name(name: str) -> str:
    """A name that files and summaries may have."""
    return "".join(c if c.isalnum() or c in "_.-" else "_" for c in name) or "model"
