"""The forms of array calls that move elements: indices, joins, other shapes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy

from ..replay.listing import Instruction, Variable, variables
from .forms import form
from .places import Operand, Place, each, loops, number

if TYPE_CHECKING:
    from .javascript import Writer


@form("pad")
def _pad(writer: Writer, i: Instruction, out: Place) -> str:
    """A number around an array."""
    x, widths, *mode = i.arguments
    if (mode or [i.options.get("mode", "constant")])[0] != "constant":
        raise NotImplementedError("another mode than constant")
    x, before = writer.place(x), numpy.broadcast_to(widths, (len(out.shape), 2))[:, 0].tolist()
    inner = out.viewed(x.shape, out.strides, sum(n * s for n, s in zip(before, out.strides, strict=True)))
    around = each(out, "{}", [number(i.options.get("constant_values", 0), out.dtype)])
    return f"{around} {each(inner, '{}', [x])}"


def _placed(x: Place, move: Callable[[Any], Any], writer: Writer) -> Place:
    """Where in its memory the elements of x lie that `move`, a function of NumPy's that moves elements, gives."""
    at = x.offset + sum(
        (numpy.arange(n) * s).reshape([-1] + [1] * (len(x.shape) - 1 - k))
        for k, (n, s) in enumerate(zip(x.shape, x.strides, strict=True))
    )
    return writer.constant(numpy.asarray(move(numpy.broadcast_to(at, x.shape)), "int32"))


def _is_fixed(index: Any) -> bool:
    """Whether an index has lists or arrays of numbers that are the same each time, and none that are not."""
    parts = index if isinstance(index, tuple) else (index,)
    return not variables(index) and any(isinstance(part, list | numpy.ndarray) for part in parts)


@form("roll", "tile")
def _roll(writer: Writer, i: Instruction, out: Place) -> str:
    """Elements in other places."""
    x, *how = i.arguments
    if variables((how, i.options)):
        raise NotImplementedError("how far is no fixed number")
    place = writer.place(x)
    at = _placed(place, lambda places: i.function(places, *how, **i.options), writer)
    return each(out, f"{place.memory}[{{}}]", [at])


@form("take")
def _take(writer: Writer, i: Instruction, out: Place) -> str:
    """x[…, indices, …] along an axis."""
    x, indices = writer.place(i.arguments[0]), i.arguments[1]
    axis = i.options.get("axis", i.arguments[2] if len(i.arguments) > 2 else None)
    if not isinstance(indices, Variable):
        raise NotImplementedError("its indices are no array")
    at = writer.place(indices)
    if axis is None:
        if len(x.shape) != 1:
            raise NotImplementedError("no axis is named")
        axis = 0
    axis %= len(x.shape)
    names = [f"i{k}" for k in range(len(out.shape))]
    middle = names[axis : axis + len(at.shape)]
    read = x.at([*names[:axis], "j", *names[axis + len(at.shape) :]])
    return loops(names, out.shape, f"const j = {at.at(middle)}; {out.at(names)} = {read};")


@form("getitem")
def _getitem(writer: Writer, i: Instruction, out: Place) -> str:
    """x[indices], where arrays of indices stand before all others."""
    x, index = writer.place(i.arguments[0]), i.arguments[1]
    if _is_fixed(index):
        return each(out, f"{x.memory}[{{}}]", [_placed(x, lambda places: places[index], writer)])
    text, names, read = _indexed(x, writer, index)
    return loops(names, out.shape, f"{text}{out.at(names)} = {read};")


@form("setitem", "copyto")
def _setitem(writer: Writer, i: Instruction, out: Place) -> str:
    """Into a part of an array."""
    if i.name == "copyto":
        if set(i.options) - {"casting", "where"}:
            raise NotImplementedError("unknown options")
        value = writer.operand(i.arguments[1], out.dtype)
        if "where" not in i.options:
            return each(out, "{}", [value])
        return each(out, "({} ? {} : {})", [writer.operand(i.options["where"]), value, out])
    target, index, given = i.arguments
    value = writer.operand(given, out.dtype)
    parts = index if isinstance(index, tuple) else (index,)
    if _is_fixed(index):
        return _scattered(writer, out, index, "=", value)
    if not any(isinstance(part, Variable) for part in parts):
        return each(writer.place_of(target, writer.found.array(target)[index]), "{}", [value])
    if any(v.dtype.kind == "b" for v in variables(parts)):
        if len(parts) > 1 or len(writer.place(parts[0]).shape) != len(out.shape):
            raise NotImplementedError("a mask beside other indices")
        return each(out, "({} ? {} : {})", [writer.place(parts[0]), value, out])
    text, names, read = _indexed(out, writer, index)
    shape = _shape_of(out, writer, index)
    if isinstance(value, Place):
        value = value.broadcast(shape).at(names)
    return loops(names, shape, f"{text}{read} = {value};")


def _scattered(writer: Writer, out: Place, index: Any, sign: str, value: Operand) -> str:
    """A value into the places of a fixed index, one after another."""
    at = _placed(out, lambda places: places[index], writer)
    names = [f"i{k}" for k in range(len(at.shape))]
    given = value.broadcast(at.shape).at(names) if isinstance(value, Place) else value
    return loops(names, at.shape, f"{out.memory}[{at.at(names)}] {sign} {given};")


def _arrays(writer: Writer, index: Any) -> tuple[list[Operand], tuple[int, ...]]:
    parts = index if isinstance(index, tuple) else (index,)
    found: list[Operand] = []
    for part in parts:
        if isinstance(part, Variable) and part.dtype.kind in "iu":
            found.append(writer.place(part))
        elif isinstance(part, int) and not isinstance(part, bool):
            found.append(str(part))
        elif isinstance(part, slice) and part == slice(None) and part is parts[-1]:
            continue
        else:
            raise NotImplementedError("an index beside arrays")
    shape = numpy.broadcast_shapes(*(p.shape for p in found if isinstance(p, Place)))
    return found, shape


def _shape_of(x: Place, writer: Writer, index: Any) -> tuple[int, ...]:
    found, shape = _arrays(writer, index)
    return (*shape, *x.shape[len(found) :])


def _indexed(x: Place, writer: Writer, index: Any) -> tuple[str, list[str], str]:
    """What is said before, the indices of the result, and the element of x for them."""
    found, shape = _arrays(writer, index)
    names = [f"i{k}" for k in range(len(shape) + len(x.shape) - len(found))]
    text = ""
    for k, part in enumerate(found):
        read = part.broadcast(shape).at(names[: len(shape)]) if isinstance(part, Place) else part
        text += f"let j{k} = {read}; if (j{k} < 0) j{k} += {x.shape[k]}; "
    return text, names, x.at([*(f"j{k}" for k in range(len(found))), *names[len(shape) :]])


@form("add.at")
def _add_at(writer: Writer, i: Instruction, out: Place) -> str:
    """Adds to places named by arrays, one after another."""
    _, index, given = i.arguments
    value = writer.operand(given, out.dtype)
    if _is_fixed(index):
        return _scattered(writer, out, index, "+=", value)
    text, names, read = _indexed(out, writer, index)
    shape = _shape_of(out, writer, index)
    added = value.broadcast(shape).at(names) if isinstance(value, Place) else value
    return loops(names, shape, f"{text}{read} += {added};")


@form("reshape", "ravel", "ascontiguousarray")
def _reshape(writer: Writer, i: Instruction, out: Place) -> str:
    """A copy of the elements, in row-major order, under another shape."""
    x = writer.place(i.arguments[0])
    strides = tuple(math.prod(x.shape[k + 1 :]) for k in range(len(x.shape)))
    return each(out.viewed(x.shape, strides), "{}", [x])


@form("concatenate", "stack")
def _concatenate(writer: Writer, i: Instruction, out: Place) -> str:
    """One array after another along an axis."""
    axis = i.options.get("axis", i.arguments[1] if len(i.arguments) > 1 else 0) % len(out.shape)
    text, at = "", 0
    for v in i.arguments[0]:
        x = writer.place(v)
        if i.name == "stack":
            x = x.viewed((*x.shape[:axis], 1, *x.shape[axis:]), (*x.strides[:axis], 0, *x.strides[axis:]))
        part = out.viewed(x.shape, out.strides, at * out.strides[axis])
        text += each(part, "{}", [x]) + " "
        at += x.shape[axis]
    return text
