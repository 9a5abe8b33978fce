"""What array calls are in JavaScript: elementwise ones by their row in the table of array calls, others by FORMS."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy

from ..replay.listing import Instruction, Variable, variables
from ..replay.lowering import reduction_options
from .places import Operand, Place, each, loops

if TYPE_CHECKING:
    from .javascript import Writer

ELEMENTWISE = {
    "where": "({} ? {} : {})", "clip": "Math.min(Math.max({}, {}), {})", "sign": "Math.sign({})",
    "trunc": "Math.trunc({})", "floor_divide": "Math.floor({} / {})", "isfinite": "Number.isFinite({})",
    "isnan": "Number.isNaN({})",
}  # fmt: skip
"""Of those that have no form in C in the table of array calls."""
NAMES = {"fabs": "abs"}
"""Functions that JavaScript calls otherwise than C."""


def written(writer: Writer, i: Instruction, out: Place) -> str | None:
    """The text of an array call that fills the place `out`; None, or NotImplementedError, where there is none."""
    row, copied = i.row, i.copied()
    if copied is not None:
        return each(out, "{}", [writer.operand(copied, out.dtype)])
    if i.name in FORMS:
        return FORMS[i.name](writer, i, out)
    if row.reduces:
        return _reduction(writer, i, out)
    text = ELEMENTWISE.get(i.name) or re.sub(r"(\w+)\{f\}", lambda f: f"Math.{NAMES.get(f[1], f[1])}", row.c)
    if not text or set(i.options) - {"dtype", "casting"}:
        return None
    kinds = [v.dtype for v in variables(i.arguments)]
    dtype = numpy.result_type(*kinds) if kinds else out.dtype
    return each(out, text, [writer.operand(x, dtype) for x in i.arguments])


Form: TypeAlias = "Callable[[Writer, Instruction, Place], str]"
FORMS: dict[str, Form] = {}
"""By the array call's name: its text, which fills the place."""


def form(*names: str) -> Callable[[Form], Form]:
    """A form of the array calls of these names."""

    def take(function: Form) -> Form:
        FORMS.update(dict.fromkeys(names, function))
        return function

    return take


@form("matmul", "dot")
def _matmul(writer: Writer, i: Instruction, out: Place) -> str:
    """Sums in float64, eight rows of b at a time; where b's rows are apart in memory, one dot product after another."""
    a, b = (writer.place(x) for x in i.arguments)
    if i.name == "dot" and max(len(a.shape), len(b.shape)) > 2:
        raise NotImplementedError("more than two axes")
    m, n = a.shape[-2] if len(a.shape) > 1 else 1, b.shape[-1] if len(b.shape) > 1 else 1
    length = a.shape[-1]
    a_row, a_in = (a.strides[-2], a.strides[-1]) if len(a.shape) > 1 else (0, a.strides[-1])
    b_in, b_row = (b.strides[-2], b.strides[-1]) if len(b.shape) > 1 else (b.strides[-1], 0)
    kept = len(out.shape) - (len(a.shape) > 1) - (len(b.shape) > 1)
    batch = out.shape[:kept]
    o_row = out.strides[kept] if len(a.shape) > 1 else 0
    o_col = out.strides[-1] if len(b.shape) > 1 else 0
    indices = [f"i{k}" for k in range(kept)]
    lead = [_leading(p, batch).at(indices)[len(p.memory) + 1 : -1] for p in (a, b)]
    to = out.viewed(batch, out.strides[:kept]).at(indices)[len(out.memory) + 1 : -1]
    writer.rows = max(writer.rows, n)
    begin = f"const A = {lead[0]}, B = {lead[1]}, O = {to}; "
    if (n > 1 and abs(b_row) <= abs(b_in)) or length == 1:
        whole = length - length % 8
        xs = ", ".join(f"x{u} = {a.memory}[p + {u * a_in}]" for u in range(8))
        terms = " + ".join(f"x{u} * {b.memory}[q + {u * b_in}]" for u in range(8))
        inner = (
            f"t.fill(0, 0, {n}); let k = 0; "
            f"for (; k < {whole}; k += 8) {{ const p = A + r * {a_row} + k * {a_in}, {xs}; "
            f"for (let c = 0, q = B + k * {b_in}; c < {n}; c++, q += {b_row}) t[c] += {terms}; }} "
            f"for (; k < {length}; k++) {{ const x = {a.memory}[A + r * {a_row} + k * {a_in}]; "
            f"for (let c = 0; c < {n}; c++) t[c] += x * {b.memory}[B + k * {b_in} + c * {b_row}]; }} "
            f"for (let c = 0; c < {n}; c++) {out.memory}[O + r * {o_row} + c * {o_col}] = t[c];"
        )
    else:
        inner = (
            f"for (let c = 0; c < {n}; c++) {{ let s = 0; for (let k = 0, p = A + r * {a_row}, q = B + c * {b_row}; "
            f"k < {length}; k++, p += {a_in}, q += {b_in}) s += {a.memory}[p] * {b.memory}[q]; "
            f"{out.memory}[O + r * {o_row} + c * {o_col}] = s; }}"
        )
    return loops(indices, batch, begin + loops(["r"], [m], inner))


def _leading(p: Place, batch: tuple[int, ...]) -> Place:
    """The axes before the last two, repeated to those of the result."""
    count = max(len(p.shape) - 2, 0)
    return p.viewed(p.shape[:count], p.strides[:count]).broadcast(batch)


def _reduction(writer: Writer, i: Instruction, out: Place) -> str:
    """A sum, a mean, or an extreme, where NaN wins."""
    options = reduction_options(i)
    x, axis = writer.place(options["x"]), options.get("axis")
    axes = range(len(x.shape)) if axis is None else axis if isinstance(axis, tuple | list) else (axis,)
    gone = sorted(k % len(x.shape) for k in axes) if x.shape else []
    if options.get("keepdims"):
        out = out.without(gone)
    kept = [k for k in range(len(x.shape)) if k not in gone]
    names = {k: f"i{k}" for k in range(len(x.shape))}
    read = x.at([names[k] for k in range(len(x.shape))])
    count = math.prod(x.shape[k] for k in gone)
    start, step = {
        "add": ("0", "s = Math.fround(s + {});" if out.dtype == "float32" else "s += {};"),
        "maximum": ("-Infinity", "const v = {}; if (v > s || v !== v) s = v;"),
        "minimum": ("Infinity", "const v = {}; if (v < s || v !== v) s = v;"),
        "logical_or": ("0", "if ({}) s = 1;"),
        "logical_and": ("1", "if (!({})) s = 0;"),
    }[str(i.row.reduces)]
    inner = loops([names[k] for k in gone], [x.shape[k] for k in gone], step.format(read))
    result = f"s / {count}" if i.name == "mean" else "s"
    text = f"let s = {start}; {inner} {out.at([names[k] for k in kept])} = {result};"
    return loops([names[k] for k in kept], [x.shape[k] for k in kept], text)


@form("argmax", "argmin")
def _first(writer: Writer, i: Instruction, out: Place) -> str:
    """The place of the first extreme along an axis."""
    options = reduction_options(i)
    x, axis = writer.place(options["x"]), options["axis"] % len(writer.place(options["x"]).shape)
    names = [f"i{k}" for k in range(len(x.shape))]
    if options.get("keepdims"):
        out = out.without([axis])
    sign = ">" if i.name == "argmax" else "<"
    kept = [k for k in range(len(x.shape)) if k != axis]
    read, k = x.at(names), names[axis]
    inner = loops([k], [x.shape[axis]], f"if (!at || {read} {sign} s) {{ s = {read}; n = {k}; at = true; }}")
    text = f"let s = 0, n = 0, at = false; {inner} {out.at([names[k] for k in kept])} = n;"
    return loops([names[k] for k in kept], [x.shape[k] for k in kept], text)


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
    x = writer.place(i.arguments[0])
    text, names, read = _indexed(x, writer, i.arguments[1])
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
    text, names, read = _indexed(out, writer, index)
    shape = _shape_of(out, writer, index)
    value = writer.operand(given, out.dtype)
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


@form("einsum")
def _einsum(writer: Writer, i: Instruction, out: Place) -> str:
    """Products of elements, summed over the letters that the result has not."""
    subscripts, *given = i.arguments
    if "." in subscripts:
        raise NotImplementedError("an ellipsis")
    taken, _, kept = subscripts.replace(" ", "").partition("->")
    places = [writer.place(v) for v in given]
    lengths: dict[str, int] = {}
    for letters, p in zip(taken.split(","), places, strict=True):
        lengths |= {c: max(n, lengths.get(c, 1)) for c, n in zip(letters, p.shape, strict=True)}
    summed = [c for c in lengths if c not in kept]
    read = [
        p.broadcast(tuple(lengths[c] for c in letters)).at([f"i_{c}" for c in letters])
        for letters, p in zip(taken.split(","), places, strict=True)
    ]
    inner = loops([f"i_{c}" for c in summed], [lengths[c] for c in summed], f"s += {' * '.join(read)};")
    text = f"let s = 0; {inner} {out.at([f'i_{c}' for c in kept])} = s;"
    return loops([f"i_{c}" for c in kept], [lengths[c] for c in kept], text)


@form("random")
def _random(writer: Writer, i: Instruction, out: Place) -> str:
    """Numbers from the browser's own generator, between 0 and 1."""
    if i.arguments[1] != "random":
        raise NotImplementedError("numbers of another distribution")
    return each(out, "Math.random()", [])
