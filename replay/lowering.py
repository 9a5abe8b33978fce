"""From an array call that makes a new array to calls that write into one that is there.

Each is the same arithmetic as the call it replaces, to the last bit. A call that has no such form stays as it is and
allocates its result.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy

from ..engine import blocks
from ..engine.cuda.launch import product
from ..engine.kernels import OwnKernel
from .calls import CALLS, UNKNOWN
from .listing import Instruction, Variable
from .trace import nothing

Call = tuple[Callable[..., Any], tuple[Any, ...], Mapping[str, Any]]
"""A function, its arguments and its options; variables stand for arrays."""


@dataclass(frozen=True)
class Step:
    """One instruction as it is replayed: its text, its calls, where its result lies, and how many bytes that takes.

    place: the offset in the arena; None for what lies elsewhere. allocates: it makes a new array in each replay.
    fused: it is a part of a compiled loop, which stands with the first of them.
    """

    instruction: Instruction
    calls: tuple[Call, ...]
    place: int | None
    allocates: bool
    fused: bool = False


def lower(instruction: Instruction, xp: Any) -> list[Call] | None:
    """The calls that compute it into `instruction.out`; None where there are none, and it allocates."""
    out, function, name = instruction.out, instruction.function, instruction.name
    assert out is not None
    arguments, options = tuple(instruction.arguments), instruction.options
    if isinstance(function, OwnKernel):
        return [(function, arguments, {**options, "out": out})]
    if getattr(function, "nout", 0) == 1:
        return [_into(function, arguments, options, out)]
    row, copied = instruction.row, instruction.copied()
    if row.reserves:
        return []
    if copied is not None:
        return [(xp.copyto, (out, copied), {"casting": "unsafe"})]
    if row.reduces:
        return _reduction(instruction, xp)
    if name == "where" and len(arguments) == 3:
        condition, a, b = arguments
        if not isinstance(condition, Variable) or condition.dtype.kind != "b":
            return None
        if xp is numpy and out.dtype.kind == "f" and out.dtype.itemsize in (4, 8):
            return [(choose, arguments, {"out": out})]
        return [(xp.copyto, (out, b), {}), (xp.copyto, (out, a), {"where": condition})]
    if name == "reshape" and isinstance(arguments[0], Variable):
        return [(_copy_reshaped, (out, arguments[0]), {})]
    if row.draws and len(arguments) == 3:
        return None
    if row.draws:
        generator, method, _, dtype, _ = arguments
        return [(getattr(generator, method), (), {"dtype": dtype, "out": out})]
    if name == "take" and xp is numpy and options.keys() <= {"axis", "mode"} and len(arguments) == 2:
        given = (*arguments, options.get("axis"), out, options.get("mode", "raise"))
        return [(numpy.ndarray.take, given, {})]
    if name == "einsum" and xp is not numpy:
        return None
    if name == "matmul" and xp is not numpy:
        return [(function if options else product, arguments, {**options, "out": out})]
    if name == "einsum" and any(stride < 0 for v in instruction.reads() for stride in v.strides):
        return None  # with out= it sums in another order
    if row.takes_out:
        return [(function, arguments, {**options, "out": out})]
    return None


def lower_write(instruction: Instruction, xp: Any) -> list[Call]:
    """The calls of an instruction that changes an array in place."""
    function, arguments, options = instruction.function, tuple(instruction.arguments), instruction.options
    copied = instruction.copied()
    if instruction.row.on_host:
        return [(function, (), {})] if function is not nothing else []
    if instruction.name == "setitem":
        target, index, _ = arguments
        parts = index if isinstance(index, tuple) else (index,)
        if copied is not None:
            return [(xp.copyto, (target, copied), {})]
        if not any(isinstance(part, (Variable, list)) for part in parts):
            return [(operator.setitem, arguments, {})]
    if instruction.name.endswith(".at") or instruction.row.writes:
        return [(function, arguments, options)]
    return [_into(function, arguments, options, instruction.out)]


def _into(function: Callable[..., Any], arguments: tuple[Any, ...], options: Mapping[str, Any], out: Any) -> Call:
    """The call with its output; by position where it may be, which is faster (maximum and minimum refuse it)."""
    if (
        options
        or not hasattr(function, "nin")
        or len(arguments) < function.nin
        or function.__class__ is not numpy.ufunc
        or function.__name__[:4] in ("maxi", "mini")
    ):
        return function, arguments, {**options, "out": out}
    return function, (*arguments, out), options


def as_array(number: Any, function: Any, dtypes: Iterable[Any]) -> Any:
    """A number beside arrays of these dtypes as an array of their dtype, where it would become that in each call."""
    floats = {dtype for dtype in dtypes if dtype.kind == "f"}
    if number.__class__ not in (int, float) or len(floats) != 1 or not CALLS.get(function.__name__, UNKNOWN).loop:
        return number
    return numpy.asarray(number, floats.pop())


def _reduction(instruction: Instruction, xp: Any) -> list[Call] | None:
    """A sum, a mean or an extreme over axes, as the ufunc's own reduction."""
    options = reduction_options(instruction)
    x, axis, out = options.pop("x"), options.pop("axis", None), instruction.out
    keepdims, dtype = options.pop("keepdims", False), options.pop("dtype", None)
    if options or not isinstance(x, Variable) or dtype is not None:
        return None
    if xp is not numpy:
        return [(instruction.function, tuple(instruction.arguments), {**instruction.options, "out": out})]
    axis = tuple(axis) if isinstance(axis, list) else axis
    if instruction.name != "mean":
        reduce = getattr(numpy, str(instruction.row.reduces)).reduce
        return [(reduce, (x, axis, None, out, keepdims), {})]
    if x.dtype.kind == "f" and x.dtype.itemsize < 4:
        return None
    axes = range(len(x.shape)) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    count = 1
    for i in axes:
        count *= x.shape[i]
    if count > 1 << 24:  # which float32 cannot count to
        return None
    wide = None if x.dtype.kind == "f" else numpy.dtype("float64")
    return [
        (numpy.add.reduce, (x, axis, wide, out, keepdims), {}),
        (numpy.true_divide, (out, count, out), {}),
    ]


def reduction_options(instruction: Instruction) -> dict[str, Any]:
    """What a sum, a mean or an extreme is given, by name."""
    names = ("x", "axis", "dtype", "out")
    return dict(zip(names, instruction.arguments, strict=False)) | dict(instruction.options)


def choose(condition: Any, a: Any, b: Any, out: Any) -> None:
    """where(condition, a, b) of floats into out, by their bits: a jump for each element takes longer."""
    kind = f"i{out.itemsize}"
    given = [condition.view("i1"), *(numpy.asarray(x, out.dtype).view(kind) for x in (a, b)), out.view(kind)]
    if all(x.flags.c_contiguous and x.size in (1, out.size) for x in given):
        given = [x.reshape(-1) if x.size == out.size else x.reshape(1) for x in given]
    parts = blocks.blocks(numpy, out.size) if given[-1].ndim == 1 else ()
    for part in parts or (...,):
        taken, yes, no, to = (x if x.size == 1 else x[part] for x in given)
        numpy.bitwise_xor(numpy.negative(taken, dtype=kind) & (yes ^ no), no, out=to)


def _copy_reshaped(out: Any, x: Any) -> None:
    """The elements of x, in row-major order, into out of another shape."""
    out.reshape(x.shape)[...] = x
