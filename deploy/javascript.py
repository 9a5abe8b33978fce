"""JavaScript from recorded lists of array calls: the same arithmetic in a browser, with nothing else beside it.

    list = recorded(step, Tensor(x))                     # replay/recorded.py: any function of tensors
    program = javascript({"predict": list})
    program.text                                         # (M) => ({ predict: () => { … } })
    program.memory                                       # the arrays that M is made of, with what they hold

Several lists (`predict`, `train`) share the weights, and whatever else is one array in Python. In the browser
`web/net.js` makes it run; write into the page `const net = chalkNet(TEXT, DESCRIPTION)` with `program.text` and the
JSON of `program.described()`, then

    const [y] = net.run("predict", x)                    // x, y: Float32Array, in row-major order; y is a copy
    net.memory                                           // the arrays by name; program.at(array) says where one lies
    net.reset()                                          // everything as it was when the page was opened

Shapes are fixed, the batch's too: a list for each size. Every array has its place in a typed array, of which views are
other places and strides, so they cost nothing. A call writes its result there, rounded as the typed array rounds: one
operation of float32 gives NumPy's bits. Reductions round at each addition, too; products of matrices add up in float64.

What an elementwise call is follows from its row in `replay.calls`; the others stand in FORMS. A call without a form
raises UsageError, which names it.
"""

from __future__ import annotations

import base64
import itertools
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy

from ..engine import backend
from ..errors import UsageError
from ..replay.listing import Instruction, Variable, variables
from ..replay.lowering import reduction_options
from ..replay.recorded import Recorded

TYPES = {
    "float32": "Float32Array", "float64": "Float64Array", "int64": "Float64Array", "int32": "Int32Array",
    "int16": "Int16Array", "int8": "Int8Array", "uint8": "Uint8Array", "bool": "Uint8Array",
}  # fmt: skip
"""Integers of 64 bits are exact in float64 as far as 2⁵³, which no index of ours reaches."""
ELEMENTWISE = {
    "where": "({} ? {} : {})", "clip": "Math.min(Math.max({}, {}), {})", "sign": "Math.sign({})",
    "trunc": "Math.trunc({})", "floor_divide": "Math.floor({} / {})", "isfinite": "Number.isFinite({})",
    "isnan": "Number.isNaN({})",
}  # fmt: skip
"""Of those that have no form in C in the table of array calls."""
NAMES = {"fabs": "abs"}
"""Functions that JavaScript calls otherwise than C."""


@dataclass(frozen=True)
class Place:
    """An array: where its elements lie in a typed array. strides: in elements."""

    memory: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: numpy.dtype[Any]

    def at(self, indices: Sequence[str]) -> str:
        """The text that reads, or is written to, at these indices, one an axis; axes of length 1 need none."""
        terms = [i if s == 1 else f"{i} * {s}" for i, s in zip(indices, self.strides, strict=True) if s and i != "0"]
        return f"{self.memory}[{' + '.join([*terms, *([str(self.offset)] if self.offset or not terms else [])])}]"

    def broadcast(self, shape: tuple[int, ...]) -> Place:
        """The same, repeated to a shape."""
        strides = [0 if n == 1 else s for n, s in zip(self.shape, self.strides, strict=True)]
        return self.viewed(shape, (*[0] * (len(shape) - len(strides)), *strides))

    def viewed(self, shape: Sequence[int], strides: Sequence[int], offset: int = 0) -> Place:
        """Another array over the same memory."""
        return Place(self.memory, self.offset + offset, tuple(shape), tuple(strides), self.dtype)

    def without(self, axes: Sequence[int]) -> Place:
        """At index 0 of these axes."""
        kept = [k for k in range(len(self.shape)) if k not in axes]
        return self.viewed([self.shape[k] for k in kept], [self.strides[k] for k in kept])


Operand: TypeAlias = "Place | str"
"""An array, or a number as JavaScript writes it."""


@dataclass
class Memory:
    """A typed array. owner: the array that has the memory in Python, of which the bytes from low to high are used here.

    needed: the elements that have to be there at the beginning; None for none.
    """

    name: str
    owner: Any
    low: int
    high: int
    dtype: numpy.dtype[Any]
    needed: Any = None

    @property
    def contents(self) -> Any:
        """What it holds at the beginning, as the browser has it; None for zeros."""
        if self.needed is None:
            return None
        owner = self.owner.ravel(order="K")  # the elements as they lie in memory
        first = self.low // self.dtype.itemsize
        held = numpy.where(self.needed, owner[first : first + self.length], numpy.zeros((), self.dtype))
        return (held.astype("float64") if self.dtype == "int64" else held) if held.any() else None

    @property
    def length(self) -> int:
        """How many elements."""
        return (self.high - self.low) // self.dtype.itemsize


@dataclass
class Program:
    """JavaScript for several lists. text: `(M) => ({name: () => …})`. inputs, outputs: of each list, by its name."""

    text: str = ""
    memory: dict[str, Memory] = field(default_factory=dict)
    inputs: dict[str, list[Place]] = field(default_factory=dict)
    outputs: dict[str, list[Place]] = field(default_factory=dict)

    def described(self, packed: Mapping[tuple[str, int], Mapping[str, Any]] | None = None) -> dict[str, Any]:
        """What `web/net.js` needs beside the text, as JSON takes it. packed: parts of a memory in another encoding, by
        the memory's name and the first element: see `quantised`."""
        return {
            "memory": {m.name: [TYPES[m.dtype.name], m.length, _parts(m, packed or {})] for m in self.memory.values()},
            "inputs": {name: [_plain(p) for p in places] for name, places in self.inputs.items()},
            "outputs": {name: [_plain(p) for p in places] for name, places in self.outputs.items()},
        }

    def at(self, array: Any) -> tuple[str, int]:
        """In which memory, and from which element on, an array lies that the lists took from outside."""
        owner = _owner(array)
        at = backend.address_of(array) - backend.address_of(owner)
        for m in self.memory.values():
            if m.low <= at < m.high and m.owner is owner:
                return m.name, (at - m.low) // m.dtype.itemsize
        raise KeyError("the lists do not use that array")


def javascript(lists: Mapping[str, Recorded], turns: int = 2000) -> Program:
    """The lists as one program. turns: for how many calls numbers that the host computes anew for each (Adam's rate, as
    it depends on the number of the step) are written into the program; the last ones stay.

    Recorded host functions are called `turns` times for that, so give a copy of what they belong to. Raises UsageError
    for array calls that have no form in JavaScript.
    """
    program = Program()
    writers = [Writer(program, name, found) for name, found in lists.items()]
    for writer in writers:
        writer.look()
    for number, m in enumerate(program.memory.values()):
        m.name = f"m{number}"
    program.memory = {m.name: m for m in program.memory.values()}
    texts = [writer.write(turns) for writer in writers]
    names = ", ".join(program.memory)
    program.text = f"(M) => {{ const {{{names}}} = M; const t = new Float64Array({_longest(writers)}); return {{\n"
    program.text += ",\n".join(texts) + "\n}; }"
    return program


class Writer:
    """Writes one list."""

    def __init__(self, program: Program, name: str, found: Recorded) -> None:
        self.program, self.name, self.found = program, name, found
        self.owners: dict[int, Any] = {}
        self.rows = 1
        self.written: dict[str, Any] = {}

    def look(self) -> None:
        """Find out which memory the list uses."""
        used = {v.number: v for v in (*self.found.inputs, *self.found.outputs)}
        for instruction in self.found.instructions:
            if instruction.kind == "host":
                continue
            for v in (*instruction.reads(), *([instruction.out] if instruction.out else [])):
                used[v.number] = v
        self.used = sorted(used.values(), key=lambda v: v.kind == "view")
        for v in self.used:
            self.owners.setdefault(v.storage, self.owner(self.found.array(v)))
        for v in self.used:
            self.memory_of(v)

    def owner(self, array: Any) -> Any:
        """The array that owns the memory, also of a view that does not tell of what it is one, as by as_strided."""
        owner = _owner(array)
        if owner is not array or array.base is None:
            return owner
        address = backend.address_of(array)
        known = (_owner(traced.array) for traced in self.found.trace.traced if traced.array is not array)
        return next((x for x in known if 0 <= address - backend.address_of(x) < x.nbytes), array)

    def bounds(self, array: Any) -> tuple[int, int]:
        """The bytes that an array takes, counted from the first of its owner."""
        low, high = numpy.lib.array_utils.byte_bounds(array) if array.size else (backend.address_of(array),) * 2
        begin = backend.address_of(self.owner(array))
        return low - begin, high - begin

    def memory_of(self, v: Variable) -> Memory:
        """The memory that an array lies in, as wide as it needs to be.

        It goes by the storage: a view may be of what was computed twice, and stands for that of the first.
        """
        low, high = self.bounds(self.found.array(v))
        if v.dtype.name not in TYPES:
            raise UsageError(f"arrays of {v.dtype} have no form in JavaScript.")
        owner = self.owners[v.storage]
        memory = self.program.memory.setdefault(str(id(owner)), Memory("", owner, low, high, v.dtype))
        memory.low, memory.high = min(memory.low, low), max(memory.high, high)
        return memory

    def place(self, v: Variable) -> Place:
        """Where an array lies."""
        return self.place_of(v, self.found.array(v))

    def place_of(self, v: Variable, array: Any) -> Place:
        """Where a view of a variable's array lies."""
        memory = next(m for m in self.program.memory.values() if m.owner is self.owners[v.storage])
        begin, size = backend.address_of(self.owner(array)), array.itemsize
        offset = (backend.address_of(array) - begin - memory.low) // size if array.size else 0
        return Place(memory.name, offset, array.shape, tuple(s // size for s in array.strides), array.dtype)

    def operand(self, value: Any, dtype: Any = None) -> Operand:
        """An array, or a number, rounded to the dtype in which it is computed."""
        return self.place(value) if isinstance(value, Variable) else number(value, dtype)

    # The whole

    def write(self, turns: int) -> str:
        """The text of the list, as a property of an object."""
        lines = []
        for v in self.found.inputs:
            self.mark(v)
        self.program.inputs[self.name] = [self.place(v) for v in self.found.inputs]
        self.program.outputs[self.name] = [self.place(v) for v in self.found.outputs]
        asked: list[Instruction] = []
        for n, instruction in enumerate(self.found.instructions):
            if instruction.kind in ("host", "view") or instruction.row.reserves:
                continue  # checks of values, and what is only another place
            changed = instruction.name in ("setitem", "copyto")  # its first argument is only written to
            for v in variables((instruction.arguments[changed:], instruction.options)):
                self.need(v)
            if instruction.row.on_host:
                asked.append(instruction)
                self.mark(instruction.out)
                following = self.found.instructions[n + 1 :][:1]
                if not (following and following[0].row.on_host):
                    lines.append(self.numbers(asked, turns))
                    asked = []
                continue
            lines.append(self.call(instruction))
            self.mark(instruction.out, instruction)
        for v in self.found.outputs:
            self.need(v)
        calls = "".join(f"(() => {{ {line} }}),\n" for line in lines)
        return f"{self.name}: ((steps) => () => {{ for (const step of steps) step(); }})([\n{calls}])"

    def call(self, instruction: Instruction) -> str:
        """The text of one array call."""
        name, out = instruction.name, instruction.out
        assert out is not None
        target = self.place(out)
        row, copied = instruction.row, instruction.copied()
        try:
            if copied is not None:
                return each(target, "{}", [self.operand(copied, out.dtype)])
            if name in FORMS:
                return FORMS[name](self, instruction, target)
            if row.reduces:
                return _reduction(self, instruction, target)
            text = ELEMENTWISE.get(name) or re.sub(r"(\w+)\{f\}", lambda f: f"Math.{NAMES.get(f[1], f[1])}", row.c)
            if text and not set(instruction.options) - {"dtype", "casting"}:
                kinds = [v.dtype for v in variables(instruction.arguments)]
                dtype = numpy.result_type(*kinds) if kinds else out.dtype
                given = [self.operand(x, dtype) for x in instruction.arguments]
                return each(target, text, given)
        except (NotImplementedError, AttributeError, TypeError, ValueError) as error:
            raise UsageError(f"the array call {instruction!r} has no form in JavaScript ({error}).") from error
        raise UsageError(f"the array call {instruction!r} has no form in JavaScript: a model that does without it has.")

    def numbers(self, asked: Sequence[Instruction], turns: int) -> str:
        """Numbers that the host computes anew in each call, from a table."""
        places = [self.place(i.out) for i in asked if i.out is not None]
        arrays = [self.found.array(i.out) for i in asked if i.out is not None]
        table = numpy.empty((turns, len(arrays)), "float32")
        functions = [i.function for i in asked]
        for row in table:
            for function in functions:
                function()
            row[:] = [float(a) for a in arrays]
        rates, turn = self.extra(table), self.extra(numpy.zeros(1, "float64"))
        taken = f"const n = {len(arrays)} * Math.min({turn}[0], {turns - 1}); {turn}[0]++; "
        return taken + " ".join(f"{p.at(())} = {rates}[n + {k}];" for k, p in enumerate(places))

    def extra(self, array: Any) -> str:
        """Memory of its own, with these contents."""
        name = f"m{len(self.program.memory)}"
        needed = numpy.ones(array.size, bool)
        self.program.memory[name] = Memory(name, array, 0, array.nbytes, array.dtype, needed)
        return name

    # What has to be there at the beginning

    def _written(self, place: Place) -> Any:
        """Which elements of a place have values from the list itself."""
        length = self.program.memory[place.memory].length
        return _region(self.written.setdefault(place.memory, numpy.zeros(length, bool)), place)

    def mark(self, v: Variable | None, instruction: Any = None) -> None:
        """Note that an array, or the part of it that is set, has values from the list itself."""
        assert v is not None
        region, name = self._written(self.place(v)), getattr(instruction, "name", "")
        if name == "setitem" and not variables(instruction.arguments[1]):
            region[instruction.arguments[1]] = True
        elif name != "setitem" and "where" not in getattr(instruction, "options", {}):
            region[...] = True

    def need(self, v: Variable) -> None:
        """Note that an array is read: what the list has not written comes with the page."""
        place = self.place(v)
        written = self._written(place)
        if not written.all():
            memory = self.program.memory[place.memory]
            if memory.needed is None:
                memory.needed = numpy.zeros(memory.length, bool)
            _region(memory.needed, place)[~written] = True


# Loops


def each(out: Place, text: str, given: Sequence[Operand]) -> str:
    """out ← text of the operands, element by element."""
    operands = [x.broadcast(out.shape) if isinstance(x, Place) else x for x in given]
    places = [out, *(x for x in operands if isinstance(x, Place))]
    shape, places = merged(out.shape, places)
    indices = [f"i{k}" for k in range(len(shape))]
    rest = iter(places[1:])
    written = [next(rest).at(indices) if isinstance(x, Place) else x for x in operands]
    return loops(indices, shape, f"{places[0].at(indices)} = {text.format(*written)};")


def loops(indices: Sequence[str], shape: Sequence[int], inner: str) -> str:
    """`inner` for all indices."""
    for i, n in reversed(list(zip(indices, shape, strict=True))):
        inner = f"for (let {i} = 0; {i} < {n}; {i}++) {{ {inner} }}"
    return inner


def merged(shape: Sequence[int], places: Sequence[Place]) -> tuple[list[int], list[Place]]:
    """The fewest axes by which all the arrays are run through in the same order."""
    lengths: list[int] = []
    strides: list[list[int]] = []
    for k, n in enumerate(shape):
        now = [p.strides[k] for p in places]
        if n == 1:
            continue
        if lengths and all(before == s * n for before, s in zip(strides[-1], now, strict=True)):
            lengths[-1] *= n
            strides[-1] = now
        else:
            lengths.append(n)
            strides.append(now)
    return lengths, [p.viewed(lengths, [s[j] for s in strides]) for j, p in enumerate(places)]


def number(value: Any, dtype: Any = None) -> str:
    """A number as JavaScript writes it, rounded to the dtype where that is one of floats."""
    if isinstance(value, numpy.ndarray | numpy.generic):
        value = value.item()
    if dtype is not None and numpy.dtype(dtype).kind == "f" and isinstance(value, int | float):
        value = float(numpy.dtype(dtype).type(value))
    if isinstance(value, bool):
        return str(int(value))
    if not isinstance(value, int | float):
        raise NotImplementedError(f"an argument is {value!r}")
    text = "NaN" if math.isnan(value) else repr(value).replace("inf", "Infinity")
    return f"({text})" if text.startswith("-") else text


# Calls that are not element by element

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
    """Sums in float64, four rows of b at a time; where b's rows are apart in memory, one dot product after another."""
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
        four = length - length % 4
        xs = ", ".join(f"x{u} = {a.memory}[p + {u * a_in}]" for u in range(4))
        terms = " + ".join(f"x{u} * {b.memory}[q + {u * b_in}]" for u in range(4))
        inner = (
            f"t.fill(0, 0, {n}); let k = 0; "
            f"for (; k < {four}; k += 4) {{ const p = A + r * {a_row} + k * {a_in}, {xs}; "
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


# What is said of the memory


def quantised(array: Any) -> tuple[Any, dict[str, Any]]:
    """int8 with a scale for each output channel, which is the last axis: the array as it will be, and its encoding.

    w ≈ q · s, where s = max |w| / 127 over the channel; both in float32, so that the browser has the same bits.
    """
    columns = array.reshape(-1, array.shape[-1])
    scales = (numpy.abs(columns).max(axis=0) / 127).astype("float32")
    q = numpy.rint(columns / numpy.where(scales == 0, 1, scales)).astype("int8")
    held = (q * scales).astype("float32").reshape(array.shape)
    return held, {"q": encoded(q), "s": encoded(scales)}


def encoded(array: Any) -> str:
    """The bytes as text, the least significant first."""
    return base64.b64encode(numpy.ascontiguousarray(array).astype(array.dtype.newbyteorder("<")).tobytes()).decode()


def _parts(m: Memory, packed: Mapping[tuple[str, int], Mapping[str, Any]]) -> list[list[Any]]:
    """What a memory holds at the beginning: the first element, and the encoding of those that follow."""
    contents = m.contents
    if contents is None:
        return []
    found: list[list[Any]] = []
    at = 0
    for (name, first), encoding in sorted(packed.items()):
        if name == m.name:
            if first > at:
                found.append([at, {"b": encoded(contents[at:first])}])
            found.append([first, {k: v for k, v in encoding.items() if k != "length"}])
            at = first + encoding["length"]
    if at < m.length:
        found.append([at, {"b": encoded(contents[at:])}])
    return found


def _plain(p: Place) -> list[Any]:
    return [p.memory, p.offset, list(p.shape), list(p.strides)]


def _region(mask: Any, place: Place) -> Any:
    strides = [s * mask.itemsize for s in place.strides]
    return numpy.lib.stride_tricks.as_strided(mask[place.offset :], place.shape, strides)


def _owner(array: Any) -> Any:
    while getattr(array, "base", None) is not None and hasattr(array.base, "strides"):
        array = array.base
    return array


def _longest(writers: Sequence[Writer]) -> int:
    return max(itertools.chain([1], (w.rows for w in writers)))
