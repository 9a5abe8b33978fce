"""What array calls are in JavaScript: elementwise ones by their row in the table of array calls, others by FORMS."""

from __future__ import annotations

import math
import re
import string
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

import numpy

from ..replay.listing import Instruction, variables
from ..replay.lowering import reduction_options
from .places import Place, each, loops

if TYPE_CHECKING:
    from .javascript import Writer

ELEMENTWISE = {
    "where": "({} ? {} : {})", "sign": "Math.sign({})", "trunc": "Math.trunc({})",
    "floor_divide": "Math.floor({} / {})", "isfinite": "Number.isFinite({})",
    "isnan": "Number.isNaN({})", "isinf": "Math.abs({}) === Infinity", "exp2": "2 ** {}", "log10": "Math.log10({})",
    "hypot": "Math.hypot({}, {})", "arcsinh": "Math.asinh({})", "arccosh": "Math.acosh({})", "cbrt": "Math.cbrt({})",
    "arctanh": "Math.atanh({})", "arctan2": "Math.atan2({}, {})", "bitwise_xor": "{} != {}",
    "remainder": "({0} % {1} && ({0} % {1} < 0) != ({1} < 0) ? {0} % {1} + {1} : {0} % {1})",
}  # fmt: skip
"""Of those that have no form in C in the table of array calls."""
BITS = {
    "bitwise_and": "Number(BigInt({}) & BigInt({}))", "bitwise_or": "Number(BigInt({}) | BigInt({}))",
    "bitwise_xor": "Number(BigInt({}) ^ BigInt({}))", "invert": "-1 - {}",
}  # fmt: skip
"""Of integers; the same names of booleans are logical."""
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
    if row.by_shape and not variables((i.arguments, i.options)):
        return each(out, "{}", [writer.constant(i.function(*i.arguments, **i.options))])
    text = ELEMENTWISE.get(i.name) or re.sub(r"(\w+)\{f\}", lambda f: f"Math.{NAMES.get(f[1], f[1])}", row.c)
    kinds = [v.dtype for v in variables(i.arguments)]
    dtype = numpy.result_type(*kinds) if kinds else out.dtype
    if dtype.kind in "iu":
        text = BITS.get(i.name, text)
    if not text or set(i.options) - {"dtype", "casting"}:
        return None
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


@form("prod")
def _reduction(writer: Writer, i: Instruction, out: Place) -> str:
    """A sum, a product, a mean, or an extreme, where NaN wins."""
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
        "multiply": ("1", "s = Math.fround(s * {});" if out.dtype == "float32" else "s *= {};"),
        "add": ("0", "s = Math.fround(s + {});" if out.dtype == "float32" else "s += {};"),
        "maximum": ("-Infinity", "const v = {}; if (v > s || v !== v) s = v;"),
        "minimum": ("Infinity", "const v = {}; if (v < s || v !== v) s = v;"),
        "logical_or": ("0", "if ({}) s = 1;"),
        "logical_and": ("1", "if (!({})) s = 0;"),
    }[i.row.reduces or "multiply"]
    inner = loops([names[k] for k in gone], [x.shape[k] for k in gone], step.format(read))
    result = f"s / {count}" if i.name == "mean" else "s"
    text = f"let s = {start}; {inner} {out.at([names[k] for k in kept])} = {result};"
    return loops([names[k] for k in kept], [x.shape[k] for k in kept], text)


@form("argmax", "argmin")
def _first(writer: Writer, i: Instruction, out: Place) -> str:
    """The place of the first extreme along an axis, or of all elements in row-major order."""
    options = reduction_options(i)
    x, axis = writer.place(options["x"]), options.get("axis")
    names = [f"i{k}" for k in range(len(x.shape))]
    gone = [*range(len(x.shape))] if axis is None else [axis % len(x.shape)]
    if options.get("keepdims"):
        out = out.without(gone)
    sign = ">" if i.name == "argmax" else "<"
    kept = [k for k in range(len(x.shape)) if k not in gone]
    read, lengths = x.at(names), [x.shape[k] for k in gone]
    at = " + ".join(f"{names[k]} * {math.prod(lengths[n + 1 :])}" for n, k in enumerate(gone)) or "0"
    inner = f"if (!at || {read} {sign} s) {{ s = {read}; n = {at}; at = true; }}"
    inner = loops([names[k] for k in gone], lengths, inner)
    text = f"let s = 0, n = 0, at = false; {inner} {out.at([names[k] for k in kept])} = n;"
    return loops([names[k] for k in kept], [x.shape[k] for k in kept], text)


@form("clip")
def _clip(writer: Writer, i: Instruction, out: Place) -> str:
    """Within limits, of which one may be missing."""
    x, *limits = i.arguments
    ends = (f"{sign}Infinity" if given is None else given for sign, given in zip("-+", limits, strict=True))
    given = [end if isinstance(end, str) else writer.operand(end, out.dtype) for end in ends]
    return each(out, "Math.min(Math.max({}, {}), {})", [writer.operand(x, out.dtype), *given])


@form("round", "around")
def _round(writer: Writer, i: Instruction, out: Place) -> str:
    """To a number of decimals, halves to the even one."""
    x, decimals = i.arguments[0], i.arguments[1] if len(i.arguments) > 1 else i.options.get("decimals", 0)
    whole = "((v, r = Math.round(v)) => (r - v === 0.5 && r % 2 ? r - 1 : r))"
    return each(out, f"{whole}({{}} * {10.0**decimals}) / {10.0**decimals}", [writer.operand(x, out.dtype)])


@form("cumsum")
def _cumsum(writer: Writer, i: Instruction, out: Place) -> str:
    """Sums from the beginning of an axis."""
    options = reduction_options(i)
    x, axis = writer.place(options["x"]), options.get("axis")
    if axis is None and len(x.shape) != 1:
        raise NotImplementedError("no axis is named")
    axis = (axis or 0) % len(x.shape)
    names = [f"i{k}" for k in range(len(x.shape))]
    rounded = "Math.fround(s + {})" if out.dtype == "float32" else "s + {}"
    inner = loops([names[axis]], [x.shape[axis]], f"s = {rounded.format(x.at(names))}; {out.at(names)} = s;")
    kept = [k for k in range(len(x.shape)) if k != axis]
    return loops([names[k] for k in kept], [x.shape[k] for k in kept], f"let s = 0; {inner}")


@form("argsort")
def _argsort(writer: Writer, i: Instruction, out: Place) -> str:
    """Places of elements in ascending order along an axis, of equal ones the first first, NaN last."""
    x, axis = writer.place(i.arguments[0]), i.options.get("axis", i.arguments[1] if len(i.arguments) > 1 else -1)
    axis %= len(x.shape)
    names = [f"i{k}" for k in range(len(x.shape))]
    read, write = (p.at([*names[:axis], "k", *names[axis + 1 :]]) for p in (x, out))
    text = (
        f"const v = (k) => {read}; Array.from({{ length: {x.shape[axis]} }}, (_, k) => k).sort((a, b) => "
        f"(v(a) !== v(a)) - (v(b) !== v(b)) || v(a) - v(b) || a - b).forEach((n, k) => {{ {write} = n; }});"
    )
    kept = [k for k in range(len(x.shape)) if k != axis]
    return loops([names[k] for k in kept], [x.shape[k] for k in kept], text)


@form("einsum")
def _einsum(writer: Writer, i: Instruction, out: Place) -> str:
    """Products of elements, summed over the letters that the result has not."""
    subscripts, *given = i.arguments
    places = [writer.place(v) for v in given]
    taken, arrow, kept = subscripts.replace(" ", "").replace("...", ".").partition("->")
    free = "".join(c for c in string.ascii_letters if c not in subscripts)
    more = [len(p.shape) - len(letters.replace(".", "")) for letters, p in zip(taken.split(","), places, strict=True)]
    most = max((n for n, letters in zip(more, taken.split(","), strict=True) if "." in letters), default=0)
    if not arrow:
        kept = "." + "".join(sorted(c for c in set(taken) - {*",."} if taken.count(c) == 1))
    kept = kept.replace(".", free[:most])
    taken = ",".join(s.replace(".", free[most - n : most]) for s, n in zip(taken.split(","), more, strict=True))
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
