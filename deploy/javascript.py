"""JavaScript from recorded lists of array calls: the same arithmetic in a browser, with nothing else beside it.

    list = recorded(step, Tensor(x))                     # replay/recorded.py: any function of tensors
    program = javascript({"predict": list})
    program.text                                         # (M) => ({ predict: () => { … } })
    program.memory                                       # the arrays that M is made of, with what they hold

Several lists (`predict`, `train`) share the weights, and whatever else is one array in Python. In the browser
`web/net.js` makes it run; write into the page `const net = await chalkNet(TEXT, DESCRIPTION)` with `program.text` and
the JSON of `program.described()`, then

    const [y] = net.run("predict", x)                    // x, y: Float32Array, in row-major order; y is a copy
    net.memory                                           // the arrays by name; program.at(array) says where one lies
    net.reset()                                          // everything as it was when the page was opened

Shapes are fixed, the batch's too: a list for each size. Every array has its place in a typed array, of which views are
other places and strides, so they cost nothing. A call writes its result there, rounded as the typed array rounds: one
operation of float32 gives NumPy's bits. Reductions round at each addition, too; products of matrices add up in float64.

What each call is in JavaScript stands in forms.py and moves.py, and follows from `replay.calls` where that says it. A
call without a form raises UsageError, which names it.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy

from ..engine import backend
from ..errors import UsageError
from ..replay.listing import Instruction, Variable, variables
from ..replay.recorded import Recorded
from . import moves  # noqa: F401  # its forms stand in the table then
from .alike import functions
from .forms import written
from .places import Operand, Place, number
from .typed_arrays import TYPES, Memory, Program


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
    rooms: dict[tuple[str, int], list[Memory]] = {}
    for writer in writers:
        writer.share(rooms)
    for k, m in enumerate({id(m): m for m in program.owned.values()}.values()):
        m.name = f"m{k}"
        program.memory[m.name] = m
    lines = [writer.write(turns) for writer in writers]
    head, calls = functions(list(itertools.chain.from_iterable(lines)))
    rest = iter(calls)
    texts = [
        f"{writer.name}: ((steps) => () => {{ for (const step of steps) step(); }})([\n"
        + "".join(f"{next(rest)},\n" for _ in own)
        + "])"
        for writer, own in zip(writers, lines, strict=True)
    ]
    names = ", ".join(program.memory)
    program.text = (
        f"(M) => {{ const {{{names}}} = M; const t = new Float64Array({_longest(writers)});\n{head}return {{\n"
    )
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

    def share(self, rooms: dict[tuple[str, int], list[Memory]]) -> None:
        """Let an array that is made on the way have the memory of one that is not needed any more.

        rooms: memory for such arrays, by type and length, of the lists before; what is new comes to it.
        """
        kept = {v.storage for v in (*self.found.inputs, *self.found.outputs)}
        last = {
            v.storage: n
            for n, i in enumerate(self.found.instructions)
            for v in (*i.reads(), *([i.out] if i.out else []))
        }
        free, ending = {key: [*found] for key, found in rooms.items()}, dict[int, list[Memory]]()
        for n, i in enumerate(self.found.instructions):
            v = i.out
            owner = None if v is None else self.owners.get(v.storage)
            if v and i.kind == "make" and not i.row.reserves and v.storage not in kept and owner is self.found.array(v):
                memory = self.program.owned[id(owner)]
                key = memory.dtype.name, memory.length
                if free.get(key):
                    memory = self.program.owned[id(owner)] = free[key].pop()
                else:
                    rooms.setdefault(key, []).append(memory)
                ending.setdefault(last[v.storage], []).append(memory)
            for memory in ending.pop(n, ()):
                free.setdefault((memory.dtype.name, memory.length), []).append(memory)

    def owner(self, array: Any) -> Any:
        """The array that owns the memory, also of a view that does not tell of what it is one, as by as_strided."""
        owner = backend.owner_of(array)
        if owner is not array or array.base is None or not array.size:
            return owner
        low, high = numpy.lib.array_utils.byte_bounds(array)  # a view may say that it has more bytes than these
        for traced in self.found.trace.traced:
            other = backend.owner_of(traced.array)
            if traced.array is not array and other.size:
                begin, end = numpy.lib.array_utils.byte_bounds(other)
                if begin <= low and high <= end:
                    return other
        return array

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
        memory = self.program.owned.setdefault(id(owner), Memory("", owner, low, high, v.dtype))
        memory.low, memory.high = min(memory.low, low), max(memory.high, high)
        return memory

    def place(self, v: Variable) -> Place:
        """Where an array lies."""
        return self.place_of(v, self.found.array(v))

    def place_of(self, v: Variable, array: Any) -> Place:
        """Where a view of a variable's array lies."""
        memory = self.program.owned[id(self.owners[v.storage])]
        begin, size = backend.address_of(self.owner(array)), array.itemsize
        offset = (backend.address_of(array) - begin - memory.low) // size if array.size else 0
        return Place(memory.name, offset, array.shape, tuple(s // size for s in array.strides), array.dtype)

    def operand(self, value: Any, dtype: Any = None) -> Operand:
        """An array, or a number, rounded to the dtype in which it is computed."""
        return self.place(value) if isinstance(value, Variable) else number(value, dtype)

    # The whole

    def write(self, turns: int) -> list[str]:
        """The texts of the list's calls, in their order."""
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
        return lines

    def call(self, instruction: Instruction) -> str:
        """The text of one array call."""
        fault = ""
        try:
            assert instruction.out is not None
            text = written(self, instruction, self.place(instruction.out))
        except (NotImplementedError, AttributeError, TypeError, ValueError) as error:
            text, fault = None, f" ({error})"
        if text is None:
            raise UsageError(f"the array call {instruction!r} has no form in JavaScript{fault}: do without it.")
        return text

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

    def constant(self, array: Any) -> Place:
        """An array of numbers, in memory of its own."""
        array = numpy.ascontiguousarray(array)
        strides = tuple(s // array.itemsize for s in array.strides)
        return Place(self.extra(array.reshape(-1)), 0, array.shape, strides, array.dtype)

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


def _region(mask: Any, place: Place) -> Any:
    strides = [s * mask.itemsize for s in place.strides]
    return numpy.lib.stride_tricks.as_strided(mask[place.offset :], place.shape, strides)


def _longest(writers: Sequence[Writer]) -> int:
    return max(itertools.chain([1], (w.rows for w in writers)))
