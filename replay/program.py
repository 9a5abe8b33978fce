"""A program: a recorded list of array calls, made ready to be replayed without a tape and without allocating.

The list is shortened (`passes`), every call gets a buffer to write into (`lowering`), the buffers lie in one arena,
where those that are not needed at the same time share their place, views are made once, and the calls become one
straight piece of Python.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy

from ..engine import backend, blocks
from ..engine.kernels import CpuKernel
from . import passes
from .blockwise import Blockwise
from .buffers import ALIGNMENT, planned
from .calls import is_elementwise
from .epoch import Epoch
from .exchange import exchange
from .fuse import Loop, RowReduction, fused
from .halves import Halves, halves
from .listing import Instruction, Variable, mapped, root, variables
from .lowering import Call, Step, as_array, choose, lower, lower_write
from .parts import Unfit
from .recorded import shortened
from .splitting import split
from .spread import spread
from .trace import Trace

SMALL = 1 << 20
"""Bytes of an input that is kept to measure with."""


class Program:
    """What a trace became. Call it with the arrays of the inputs; it returns those of the outputs.

    steps: what is done, in order. arena_bytes: what the buffers take. source: the Python text. room: gives the memory
    of the buffers, so many bytes, which others use as well; then nothing else is kept.
    """

    def __init__(
        self, trace: Trace, inputs: Sequence[Variable], returned: Sequence[Variable], room: Any = None
    ) -> None:
        self.inputs, self.returned = tuple(inputs), tuple(returned)
        kept = {v.storage for v in returned}
        instructions = shortened(trace, returned)
        self._listed, self._epoch = tuple(instructions), list[Any]()
        self.not_in_parts = ""
        self.device = device_of(trace)
        self._xp = backend.library_for(self.device)
        instructions = self._rearranged(instructions, kept)
        instructions, placed = passes.place(instructions, kept)
        self.recorded = len(trace.instructions)
        self._placed = set(placed)
        targets = [root(i.out) for i in instructions if i.kind == "write" and i.out is not None]
        self.written: list[Any] = [v.array for v in targets if v.kind == "outside"] + list(placed.values())
        self.written = list({id(array): array for array in self.written}.values())
        given = [trace.traced[v.number].array for v in inputs]
        self._examples = [array.copy() if array.nbytes <= SMALL and room is None else None for array in given]
        self._bound: dict[int, Any] = {}
        self._numbers: dict[Any, Any] = {}
        self._dynamic = self._taken_in(instructions)
        elsewhere, to_the_end = self._results(kept)
        elsewhere |= placed.keys() | {v.storage for i in instructions if (v := i.out) and v.number in self._bound}
        places, self.arena_bytes = planned(instructions, elsewhere, self._xp, to_the_end, self._held(instructions))
        arena = (room or partial(self._xp.empty, dtype="uint8"))(self.arena_bytes + ALIGNMENT)
        self._arena = arena[-backend.address_of(arena) % ALIGNMENT :]
        steps = [self._step(i, places, placed) for i in instructions]
        self._single = sorted(steps, key=self._looks_at_inputs, reverse=True)
        self.steps = self._on_all_cores(self._in_blocks(self._single))
        self.source, self._names = self._text(timed=False)
        self._replay = compiled(self.source, self._names)

    def __call__(self, *arrays: Any) -> tuple[Any, ...]:
        """Replay."""
        result: tuple[Any, ...] = self._replay(*arrays)
        return result

    def _rearranged(self, instructions: list[Instruction], kept: set[int]) -> list[Instruction]:
        """The list as this device is quickest with it. kept: storages that are returned."""
        return exchange(instructions, kept)

    # Where everything lies

    def _held(self, instructions: Sequence[Instruction]) -> Sequence[int]:
        """For each instruction, after which one the places are free that are needed no longer; else at once."""
        return ()

    def _taken_in(self, instructions: Sequence[Instruction]) -> set[int]:
        """The numbers of the variables that are others in each replay: the inputs."""
        return {v.number for v in self.inputs}

    def _results(self, kept: set[int]) -> tuple[set[int], set[int]]:
        """The storages of results that are new in each replay, and those that lie in the arena until its end."""
        return set(kept), set()

    def _step(self, instruction: Instruction, places: Mapping[int, int], placed: Mapping[int, Any]) -> Step:
        """Bind what is known beforehand, and choose the calls."""
        out, kind = instruction.out, instruction.kind
        if kind == "host" or out is None:
            return Step(instruction, ((instruction.function, tuple(instruction.arguments), {}),), None, False)
        if kind == "write":
            return Step(instruction, tuple(lower_write(instruction, self._xp)), None, False)
        plain = (instruction.function, tuple(instruction.arguments), instruction.options)
        if kind == "view":
            if any(self._is_dynamic(v) for v in instruction.reads()):
                self._dynamic.add(out.number)
                return Step(instruction, (plain,), None, False)
            arguments, options = mapped((instruction.arguments, instruction.options), self._array)
            self._bound[out.number] = instruction.function(*arguments, **options)
            return Step(instruction, (), None, False)
        if out.storage in placed:
            self._bound[out.number] = placed[out.storage]
        elif out.storage in places:
            self._bound[out.number] = self._buffer(places[out.storage], out)
        else:
            self._dynamic.add(out.number)
            new: Call = (self._xp.empty, (out.shape, out.dtype), {})
            rest = lower(instruction, self._xp) if self._is_row_major(out) else None
            return Step(instruction, (plain,) if rest is None else (new, *rest), None, True)
        calls = lower(instruction, self._xp)
        if calls is None:  # placed, and has no form with a buffer
            calls = [(_copy_result, (out, instruction.function, tuple(instruction.arguments), instruction.options), {})]
        return Step(instruction, tuple(calls), places.get(out.storage), False)

    def _is_row_major(self, v: Variable) -> bool:
        return bool(v.strides == self._xp.empty(v.shape, v.dtype).strides)

    def _given(self, arrays: Sequence[Any]) -> list[Any]:
        """What the replay is called with, for inputs that it may overwrite."""
        return [array.copy() for array in arrays]

    def _is_dynamic(self, v: Variable) -> bool:
        return v.number in self._dynamic

    def _buffer(self, offset: int, v: Variable) -> Any:
        """The array at an offset of the arena, its axes in memory as the recorded one had them."""
        order = sorted(range(len(v.shape)), key=lambda i: (-v.strides[i], i))
        flat = self._arena[offset : offset + v.nbytes].view(v.dtype)
        inverse = sorted(range(len(order)), key=order.__getitem__)
        return flat.reshape([v.shape[i] for i in order]).transpose(inverse)

    def _array(self, value: Any) -> Any:
        """The array that a variable stands for, as far as that is known beforehand."""
        if value.__class__ is not Variable:
            return value
        return self._bound.get(value.number, value.array)

    @property
    def epoch(self) -> Epoch | None:
        """The step in parts, of which many run in one compiled call; None where it cannot be: see `not_in_parts`."""
        if not self._epoch:
            try:
                made = Epoch(split(self._listed, self.inputs), self.inputs[-1].shape[0])
                made.prepare()
                self._epoch.append(made)
            except Exception as error:  # what Numba refuses, it refuses in many ways
                self.not_in_parts = str(error) if isinstance(error, Unfit) else f"{type(error).__name__}: {error}"
                self._epoch.append(None)
        found: Epoch | None = self._epoch[0]
        return found

    def fuse(self) -> None:
        """Compile neighbouring elementwise calls into loops, and our own kernels; replay with those from now on."""
        for n, step in enumerate(self._single):
            calls = [
                (f.compiled if isinstance(f, CpuKernel) else f, given, options) for f, given, options in step.calls
            ]
            self._single[n] = replace(step, calls=tuple(calls))
        self.steps = self._on_all_cores(self._in_loops(self._in_blocks(self._single, True), self._loop))
        self.source, self._names = self._text(timed=False)
        self._replay = compiled(self.source, self._names)

    def _in_blocks(self, steps: list[Step], compiles: bool = False) -> list[Step]:
        """The steps with neighbouring calls over large arrays done block by block, on a CPU."""
        if self._xp is not numpy or not any(_size(step) > blocks.BLOCK // 2 for step in steps):
            return steps
        return self._in_loops(steps, partial(Blockwise, compiles=compiles), self._by_rows)

    def _on_all_cores(self, steps: list[Step]) -> list[Step]:
        """The steps with single calls over large arrays done part by part, on a CPU."""
        if self._xp is not numpy:
            return steps
        return [step if step.fused else replace(step, calls=tuple(map(spread, step.calls))) for step in steps]

    def _loop(self, shape: tuple[int, ...]) -> Loop:
        """An empty loop over that shape."""
        return Loop(shape)

    def _elementwise(self, step: Step) -> tuple[Any, Sequence[Any], Any] | None:
        """The one elementwise call of a step as function, arguments and output; None where it is something else."""
        out = step.instruction.out
        fresh = out is not None and _is_fresh(step) and out.nbytes > 0
        if len(step.calls) != 1 + fresh or out is None or (self._is_dynamic(out) and not fresh):
            return None
        if not all(map(self._stands_still, step.instruction.reads())):
            return None
        function, arguments, options = step.calls[-1]
        nin = 3 if function is choose else getattr(function, "nin", -1)
        if not (isinstance(function, numpy.ufunc) or function is choose) or len(arguments) + len(options) != nin + 1:
            return None
        if options.keys() not in (set(), {"out"}):
            return None
        *given, to = map(self._example, (*arguments, *options.values()))
        return function, given, to

    def _looks_at_inputs(self, step: Step) -> bool:
        """Whether a step is a view of an input, the same of each: such come first, so that they part no loop."""
        return step.instruction.kind == "view" and all(root(v).kind == "input" for v in step.instruction.reads())

    def _stands_still(self, v: Variable) -> bool:
        """Whether a loop can read it: it lies at one place, or is an input, or all of one, in one piece."""
        lengths = [(n, s) for n, s in zip(v.shape, v.strides, strict=True) if n > 1]
        steps = [s == v.dtype.itemsize * math.prod([n for n, _ in lengths[i:]]) for i, (_, s) in enumerate(lengths, 1)]
        return not self._is_dynamic(v) or (root(v).kind == "input" and v.nbytes > 0 and all(steps))

    def _example(self, value: Any) -> Any:
        """The array that a variable stands for; for an input, or a new result, an empty one, which lies by itself."""
        if value.__class__ is not Variable or not self._is_dynamic(value):
            return self._array(value)
        _, array = self._inputs_in_loops.setdefault(value.number, (value, numpy.empty(value.shape, value.dtype)))
        array.flags.writeable = root(value).kind == "made"
        return array

    def _by_rows(self, step: Step) -> Any:
        """The calls of a step that takes each row by itself: elementwise, or a reduction of rows."""
        (function, arguments, _), *more = step.calls
        ufunc: Any = getattr(function, "__self__", None)
        if not isinstance(ufunc, numpy.ufunc) or function.__name__ != "reduce" or len(arguments) != 5:
            return self._elementwise(step)
        x, axis, dtype, out, _ = arguments
        by_rows = dtype is None and axis in (-1, len(x.shape) - 1, (-1,), (len(x.shape) - 1,))
        if not by_rows or self._is_dynamic(out) or not self._stands_still(x):
            return None
        calls: list[Any] = [(RowReduction(ufunc), [self._example(x)], self._array(out))]
        for divide, (same, number, to), _ in more:  # a mean's division
            if not (same is to is out) or number.__class__ is not int:
                return None
            calls.append((divide, [calls[0][2], number], calls[0][2]))
        return calls

    def _in_loops(self, steps: list[Step], new_loop: Callable[..., Loop], calls_of: Any = None) -> list[Step]:
        """The steps with runs of elementwise calls as loops."""
        self._inputs_in_loops = dict[int, tuple[Variable, Any]]()
        found = fused(steps, calls_of or self._elementwise, new_loop, {v.storage for v in self.returned} | self._placed)
        inputs = {backend.address_of(array): v for v, array in self._inputs_in_loops.values()}
        self._inputs_in_loops.clear()
        made: list[Step] = []
        for before, step in zip(steps, found, strict=True):
            if step.fused and step.calls:
                first, step = len(made), _of_inputs(step, inputs) if inputs else step
            if step.fused and not before.fused and _is_fresh(before):  # the new array comes before the loop
                made.insert(first, replace(before, calls=before.calls[:1]))
                step = replace(step, allocates=False)
            made.append(step)
        return made

    # What it becomes

    def _text(self, timed: bool, steps: Sequence[Step] | None = None) -> tuple[str, dict[str, Any]]:
        """The Python text, and what its names mean. steps: others than its own."""
        names: dict[str, Any] = {}
        known: dict[int, str] = {}

        def name(value: Any) -> str:
            if value.__class__ is Variable:
                if self._is_dynamic(value):
                    return f"v{value.number}"
                names.setdefault(f"b{value.number}", self._array(value))
                return f"b{value.number}"
            if isinstance(value, numpy.ndarray):
                return _named(names, known, value, "a")
            if isinstance(value, (tuple, list)) and _has_dynamic(value, self._dynamic):
                inside = ", ".join(map(name, value))
                return f"({inside},)" if isinstance(value, tuple) else f"[{inside}]"
            value = mapped(value, self._array) if isinstance(value, (tuple, list, dict)) else value
            return _named(names, known, value, "c")

        lines = [f"def replay({', '.join(name(v) for v in self.inputs if self._is_dynamic(v))}):"]
        for n, step in enumerate(self.steps if steps is None else steps):
            if timed:
                lines.append(f"    tick({n})")
            out = step.instruction.out
            row = step.instruction.row
            left = timed and (row.on_host or row.by_all)  # what would go on with each replay, or wait for other ranks
            calls = () if left else step.calls
            for i, (function, arguments, options) in enumerate(calls):
                if self._xp is numpy and out is not None and is_elementwise(function):
                    arguments = self._prepared(function, arguments, out.shape)
                if function is numpy.matmul and (product := self._in_halves(*arguments, **options)):
                    function, arguments, options = product, (), {}
                given = [*map(name, arguments), *(f"{k}={name(v)}" for k, v in options.items())]
                call = f"{_named(names, known, function, 'f')}({', '.join(given)})"
                makes = i == 0 and not step.fused and step.instruction.kind != "write"
                if makes and out is not None and self._is_dynamic(out):
                    call = f"asarray({call})" if step.allocates and function is not self._xp.empty else call
                    call = f"v{out.number} = {call}"
                lines.append(f"    {call}")
        if timed:
            lines.append(f"    tick({len(self.steps)})")
        fresh = [name(v) if self._is_fresh(v) else f"{name(v)}.copy(order='K')" for v in self.returned]
        lines.append(f"    return ({''.join(f'{v}, ' for v in fresh)})")
        names["asarray"] = self._xp.asarray
        return "\n".join(lines), names

    def _in_halves(self, a: Any, b: Any, out: Any, **others: Any) -> Halves | None:
        """A product that may be done on two threads; None where it may not."""
        dynamic = any(self._is_dynamic(x) for x in variables((a, b, out)))
        return None if dynamic or others else halves(*map(self._array, (a, b, out)))

    def _prepared(self, function: Any, arguments: tuple[Any, ...], shape: tuple[int, ...]) -> tuple[Any, ...]:
        """The arguments of an elementwise call as NumPy is quickest with them.

        Numbers are made arrays once; one element has no axes, and as many as the result has lie in its shape, since
        NumPy takes long to repeat what only seems to need it.
        """
        dtypes = [v.dtype for v in variables(arguments)[:2]]
        made = []
        for x in arguments:
            if x.__class__ in (int, float):
                key = (type(x), repr(x), tuple(dtypes))
                x = self._numbers.setdefault(key, as_array(x, function, dtypes))
            elif x.__class__ is Variable and not self._is_dynamic(x) and x.shape != shape:
                array = self._array(x)
                other = () if array.size == 1 else shape
                if array.flags.c_contiguous and array.size == math.prod(other) and array.shape != other:
                    x = array.reshape(other)
            made.append(x)
        return tuple(made)

    def _is_fresh(self, v: Variable) -> bool:
        """Whether an output is a new array in each replay by itself, and the only one in its memory."""
        alone = sum(other.storage == v.storage for other in self.returned) == 1
        return alone and v.kind == "made" and self._is_dynamic(v)

    # What is said about it

    @property
    def standing(self) -> str:
        """In a sentence, how it is replayed, where that is not by the text."""
        if self.not_in_parts:
            return f"many steps in one call: not, since {self.not_in_parts}."
        return f"many steps in one call: in {self._epoch[0].parts.count} parts." if self._epoch else ""

    def examples(self) -> list[Any]:
        """Inputs to measure with: those that were recorded; zeros, where these were large and so were not kept."""
        return [
            self._xp.zeros(v.shape, v.dtype) if kept is None else kept
            for v, kept in zip(self.inputs, self._examples, strict=True)
        ]

    def times(self, repeats: int = 20) -> list[float]:
        """Seconds of each step, the median over `repeats` replays on the inputs that it was recorded with.

        What the replays change is put back afterwards.
        """
        before = [(array, array.copy()) for array in self.written]
        drawn = [step.instruction.arguments[0] for step in self.steps if step.instruction.row.draws]
        states = [generator.bit_generator.state for generator in drawn]
        examples = self.examples()
        moments = [[0.0] * (len(self.steps) + 1) for _ in range(repeats)]
        row = moments[0]

        def tick(n: int) -> None:
            backend.synchronize(self.device)
            row[n] = time.perf_counter()

        text, names = self._text(timed=True)
        names |= {k: v for k, v in self._names.items() if k not in names} | {"tick": tick}
        replay = compiled(text, names)
        try:
            for row in moments:  # noqa: B007 (tick writes into it)
                replay(*self._given(examples))
        finally:
            for array, value in before:
                array[...] = value
            for generator, state in zip(drawn, states, strict=True):
                generator.bit_generator.state = state
        return [float(numpy.median([row[n + 1] - row[n] for row in moments])) for n in range(len(self.steps))]


def device_of(trace: Trace) -> str:
    """The device that a trace's arrays lie on."""
    devices = {backend.device_of(t.array) for t in trace.traced if t.array is not None}
    return devices.pop() if len(devices) == 1 else "cpu"


def compiled(source: str, names: Mapping[str, Any]) -> Callable[..., tuple[Any, ...]]:
    """The function `replay` of the text."""
    space = {"__name__": __name__, **names}  # by which a recording that it is a part of knows that it is the engine's
    exec(compile(source, "<captured step>", "exec"), space)
    replay: Callable[..., tuple[Any, ...]] = space["replay"]
    return replay


def _named(names: dict[str, Any], known: dict[int, str], value: Any, prefix: str) -> str:
    """The name of a constant or function in the text; the same object has one name."""
    if value is None or value.__class__ in (bool, int):
        return repr(value)
    if id(value) not in known:
        label = getattr(value, "__name__", "") if prefix == "f" else ""
        label = label if label.isidentifier() and label not in names else f"{prefix}{len(names)}"
        known[id(value)] = label
        names[label] = value
    return known[id(value)]


def _has_dynamic(value: Any, dynamic: set[int]) -> bool:
    return any(v.number in dynamic for v in variables(value))


def _size(step: Step) -> int:
    """Elements of its result."""
    out = step.instruction.out
    return math.prod(out.shape) if out is not None else 0


def _is_fresh(step: Step) -> bool:
    """Whether it makes a new array on the CPU, and computes into that."""
    return len(step.calls) == 2 and step.calls[0][0] is numpy.empty


def _of_inputs(step: Step, inputs: Mapping[int, Variable]) -> Step:
    """A loop's step in which inputs stand for the arrays that it was made with. inputs: by where these arrays lie."""
    (function, arrays, options), *_ = step.calls
    given = [inputs.get(backend.address_of(x)) if isinstance(x, numpy.ndarray) else None for x in arrays]
    shapes = {n: arrays[n].shape for n, v in enumerate(given) if v is not None and v.shape != arrays[n].shape}

    def reshaped(*taken: Any) -> None:
        function(*[x.reshape(shapes[n]) if n in shapes else x for n, x in enumerate(taken)])

    taken = tuple(x if v is None else v for x, v in zip(arrays, given, strict=True))
    return replace(step, calls=((reshaped if shapes else function, taken, options),))


def _copy_result(out: Any, function: Callable[..., Any], arguments: Any, options: Any) -> None:
    out[...] = function(*arguments, **options)
