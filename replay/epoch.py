"""Many replays of a recorded training step in one compiled call, on as many cores as the step has parts.

The parts (`parts`) become functions that Numba compiles: loops for what is computed element by element, BLAS by its
address for products. Each thread carries out the parts that are its own, section by section; between two sections
they meet. Nothing is assumed away (no fastmath), so NaN and infinities go the way that they go in the list.

The list is the reference. A product in parts and a sum in another order round otherwise, so the numbers differ from the
list's in the last digits; among themselves they are the same in each run, with any number of threads.
"""

from __future__ import annotations

import _thread
import ast
import hashlib
import math
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy

from ..engine.files import write_file
from ..errors import DataError
from . import blas
from .calls import IN_LOOPS
from .listing import Variable
from .part_text import Text
from .parts import Parts
from .steps_ahead import Ahead, most_drawn

CALL = 0.3
"""Seconds of a call, about."""
BUSY, FREE = 0.75, 0.9
"""Of its time a thread has a core: below the first the machine is busy, above the second it is free again."""
SHORT = 0.002
"""Seconds of a call that one thread does alone: on a busy machine another begins as much later."""
KINDS = ("float", "int", "uint", "bool")
TYPES = ("bool_", *(f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)), "float32", "float64")
"""The elements of arrays that it computes with."""
_compiled: dict[str, Any] = {}


class Epoch:
    """A step in parts, compiled. `run` carries out one step for each row of places."""

    def __init__(self, parts: Parts, rows: int) -> None:
        self.parts, self.rows = parts, rows
        self.text = Text(parts)
        self.memory = self.text.memory
        self._function: Any = None
        self._room: list[Any] = []
        self._pairs: list[tuple[Any, Any, bool]] = []
        self._constants: Any = None
        self._given: list[Any] = []
        self._addresses = list[int]()
        self._pace = 0.0
        self._busy = False

    @property
    def most(self) -> int:
        """Steps done in one call: few at first, so that Ctrl-C is heard and random numbers take little room."""
        return max(1, min(int(CALL / self._pace) if self._pace else 32, most_drawn(self.parts)))

    def prepare(self) -> None:
        """Compile it, and make room for what the parts keep."""
        if self._function is None:
            parts = self.parts
            self._function = compiled(self.text.source, self.memory.dtype)
            self._room = self.memory.room(self.rows)
            self._given = [numpy.array(v.array, order="C") if _in_steps(v) else v.array for v in parts.given]
            self._pairs = self._views()
            self._constants = numpy.array([*self.text.constants, 0.0])
            given = [self._constants, *self._given, *self._room]
            self._addresses = [array.ctypes.data for array in given]
            self._addresses += [array.shape[-1] for array in self._room[len(parts.flats) + len(parts.kept) : -1]]
            self._addresses += [address for loop in parts.loops for address in loop]

    def run(self, samples: Sequence[Any], order: Any, threads: int = 0) -> None:
        """A step for each row of `order`, places of samples. threads: how many; by default as many as pay.

        Where it is interrupted before it began, nothing is changed.
        """
        self.prepare()
        steps, order = len(order), numpy.ascontiguousarray(order)
        ahead = Ahead(self.parts, steps)
        given = [array.ctypes.data for array in (*samples, order, ahead.numbers, ahead.clear, *ahead.drawn)]
        begin, own = time.perf_counter(), time.thread_time()
        self._move(inwards=True)
        with blas.one_thread():
            values = [steps, self.rows, *given, *self._addresses]
            done = together(self._function, threads or self._threads(steps), values)
        if done:
            self._move(inwards=False)
            taken = time.perf_counter() - begin
            self._pace, share = taken / steps, (time.thread_time() - own) / taken
            self._busy = share < (FREE if self._busy else BUSY)
        else:
            ahead.undo()

    def _move(self, inwards: bool) -> None:
        """Take the weights and what goes with them into the parts' own memory, or give them back."""
        for mine, theirs, first in self._pairs:
            if inwards:
                mine[...] = theirs
            elif first:  # what is whole is given back by one
                theirs[...] = mine

    def _views(self) -> list[tuple[Any, Any, bool]]:
        """What lies in a part's own memory, what it is from outside, and whether it is given back from there."""
        parts, count, pairs = self.parts, self.parts.count, list[tuple[Any, Any, bool]]()
        for v, own in zip(parts.flats, self._room, strict=False):
            flat: Any = v.array
            for s in [] if _is_made_anew(v, parts) else parts.segments:
                there = flat[s.offset : s.end].reshape(s.shape)
                shape = [n // count if axis == s.axis else n for axis, n in enumerate(s.shape)]
                for part in range(count):
                    mine = own[part, s.local : s.local + s.length].reshape(shape)
                    theirs = there if s.axis is None else numpy.split(there, count, s.axis)[part]
                    pairs.append((mine, theirs, s.axis is not None or part == 0))
        for kept, own in zip([v.array for v in parts.kept], self._room[len(parts.flats) :], strict=False):
            pairs += [(own[part, :1].reshape(()), kept, part == 0) for part in range(count)]
        pairs += [(own, v.array, False) for own, v in zip(self._given, parts.given, strict=True) if own is not v.array]
        return pairs

    def _threads(self, steps: int) -> int:
        """As many as there are cores and parts; one where the machine is busy, since all wait for the slowest, and
        where there is so little to do that another would begin too late.
        """
        most = 1 if self._busy or steps * (self._pace or SHORT) < SHORT else min(self.parts.count, cores())
        while self.parts.count % most:
            most -= 1
        return most


def together(function: Any, threads: int, values: Sequence[Any]) -> bool:
    """Run the function on so many threads, this one among them; whether it has come to its end on this one.

    Where that one does not come (it is interrupted before), the others are let go.
    """
    counter = numpy.zeros(16, "int64")  # of those who came to a meeting; and in its 8th place, whether this one is done
    place, begun = counter.ctypes.data, list[Any]()

    def other(n: int, end: Any) -> None:
        try:
            function(n, threads, place, *values)
        finally:
            end.release()

    try:
        for n in range(1, threads):
            end = _thread.allocate_lock()
            end.acquire()
            _thread.start_new_thread(other, (n, end))  # at a quarter of what a threading.Thread costs
            begun.append(end)
        function(0, threads, place, *values)
    finally:
        if not counter[8]:
            counter[0] = 1 << 60
        for end in begun:
            end.acquire()
    return bool(counter[8])


def cores() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _in_steps(v: Variable) -> bool:
    return v.array is not None and not v.array.flags.c_contiguous


def _is_made_anew(flat: Variable, parts: Parts) -> bool:
    """Whether each step writes all of a flat buffer before it reads there, as it does with the gradient."""
    left = [*parts.segments]
    for operation in parts.operations:
        read = [p.segment for p in operation.places if p.buffer is flat and p.segment]
        if any(s.overlaps(segment) for segment in read for s in left):
            return False
        out = operation.out
        if out.buffer is flat and out.segment:
            left = [s for s in left if not (out.segment.offset <= s.offset and s.end <= out.segment.end)]
    return not left


def compiled(source: str, dtype: str) -> Any:
    """The machine code of a text: made once for a machine, and kept in the user's cache, where that can be written."""
    if source not in _compiled:
        import llvmlite.binding  # type: ignore[import-untyped]
        import numba
        from numba import types

        from . import meeting

        real, name = numba.from_dtype(numpy.dtype(dtype)), blas.SYMBOLS[dtype]
        llvmlite.binding.add_symbol(name, blas.address(dtype))
        long, whole = types.int64, types.int32
        signature = types.void(*[whole] * 3, *[long] * 3, real, long, long, long, long, real, long, long)
        space: dict[str, Any] = {n: getattr(numpy, n) for n in dir(numpy) if n.rstrip("0123456789_") in KINDS}
        space |= {
            **{name: getattr(numpy, name) for name in IN_LOOPS},
            "sqrt": math.sqrt,
            "inf": math.inf,
            "gemm": types.ExternalFunction(name, signature),
            "__name__": __name__,
        }
        space |= {name: getattr(meeting, name) for name in ("meet", "call1", "call2")}
        space |= {f"{name}_at": meeting.pointer_to(getattr(types, name)) for name in TYPES}
        _compiled[source] = machine_code(source, space, Path(meeting.__file__).read_text("utf-8"))
    return _compiled[source]


def machine_code(source: str, space: dict[str, Any], more: str) -> Any:
    """The function `run` of whole numbers in a text, compiled, or taken from the user's cache.

    space: what the names in it mean, beside its own functions. more: a text from which these come.
    """
    import numba
    from numba import types

    file = _kept(source, more)
    exec(compile(source, str(file or "<epoch>"), "exec"), space)
    options: Any = {"error_model": "numpy", "nogil": True}
    *others, last = [part for part in ast.parse(source).body if isinstance(part, ast.FunctionDef)]
    for part in others:  # compiled when they are called
        space[part.name] = numba.njit(**options)(space[part.name])
    numbers = types.void(*[types.int64] * len(last.args.args))
    made = numba.njit([numbers], cache=file is not None, **options)
    try:
        return made(space["run"])
    except Exception:  # what is kept may be damaged in many ways: then it is made anew
        if file is None:
            raise
        for old in (file.parent / "__pycache__").glob(f"{file.stem}.*"):
            old.unlink(missing_ok=True)
        return made(space["run"])


def _kept(source: str, more: str) -> Path | None:
    """The file of a text, beside which Numba keeps what it compiles; None where none can be written."""
    from pooch import os_cache  # type: ignore[import-untyped]

    name = hashlib.sha256(f"{source}{more}{sys.version}".encode()).hexdigest()[:32]
    path = Path(os_cache("chalkgrad")) / "compiled" / f"epoch_{name}.py"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            write_file(path, source)
        (path.parent / "__pycache__").mkdir(exist_ok=True)
        return path if os.access(path.parent / "__pycache__", os.W_OK) else None
    except (DataError, OSError):
        return None
