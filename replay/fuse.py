"""Neighbouring elementwise calls as one loop, compiled with Numba where that is installed.

The loop is written from the recorded calls, and only from such as IEEE 754 defines to the last bit (+, -, ×, ÷, √,
comparison, choice), so its results are NumPy's own, bit for bit; exp, log and sums stay NumPy's calls. Loops are
serial: BLAS has its threads beside them.
"""

from __future__ import annotations

import functools
import importlib.util
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy

from ..engine import backend, blocks
from . import team
from .calls import CALLS, IN_LOOPS, UNKNOWN, is_elementwise
from .listing import Variable
from .lowering import Step, choose
from .passes import from_outside
from .spread import by_parts, parts_of, shares

FLOATS = ("float32", "float64")
CHOICE = "({1} if {0} else {2})"
"""What `choose` is in a loop."""
LINES, CALLS_IN_CACHE = 4, 2
"""Of a compiled loop, and calls over what is in the cache, that take the time of one call over a large array."""
_compiled: dict[str, Callable[..., None]] = {}


@functools.cache
def available() -> bool:
    """Whether Numba is installed."""
    return importlib.util.find_spec("numba") is not None


class Loop:
    """Elementwise calls over one shape, gathered one after another as long as they fit.

    Each call is a ufunc with the arrays and numbers that it takes and the array that it gives.
    """

    least = 2
    """Calls, from which on a loop is worth it."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = shape
        self.lines: list[str] = []
        self.values: dict[int, str] = {}  # the name that holds what lies at an address at present
        self.loads: dict[tuple[int, str], tuple[str, Any, str]] = {}  # name, array, how it lies: full, row, column, one
        self.stores: dict[int, Any] = {}
        self._dtype = ""  # of the call that is being added

    def take(self, function: Any, arguments: Sequence[Any], out: Any) -> bool:
        """Add a call; False, and nothing is added, where it does not fit."""
        kinds = [self._kind(x) for x in arguments]
        text = None if out.shape != self.shape or None in kinds else self._expression(function, arguments, out)
        if text is None or any(map(self._in_the_way, arguments, kinds)) or self._clashes(out):
            return False
        names = [self._name(x, kind) for x, kind in zip(arguments, kinds, strict=True)]
        target, address = f"x{len(self.lines)}", backend.address_of(out)
        self.lines.append(self._line(target, text.format(*names), out))
        self.values[address], self.stores[address] = target, out
        return True

    def _expression(self, function: Any, arguments: Sequence[Any], out: Any) -> str | None:
        """The call as text, with a field for each operand; None where there is none."""
        chooses = function is choose
        text = CHOICE if chooses else CALLS.get(getattr(function, "__name__", ""), UNKNOWN).loop
        given = (*arguments, out) if chooses else arguments
        floats = {x.dtype for x in given if isinstance(x, numpy.ndarray) and x.dtype.kind == "f"}
        fits = len(floats) == 1 and (out.dtype in floats or out.dtype == bool) and _plain(out)
        if not text or not (chooses or isinstance(function, numpy.ufunc)) or not fits:
            return None
        self._dtype = floats.pop().name
        return text

    def _line(self, target: str, text: str, out: Any) -> str:
        return f"{target} = {text}"

    def _kind(self, x: Any) -> str | None:
        """How an operand lies in the loop; None where it does not fit."""
        if x.__class__ in (bool, int, float):
            return "number"
        if not isinstance(x, numpy.ndarray) or not self._knows(x.dtype):
            return None
        if x.shape == self.shape and _plain(x):
            return "full"
        if x.size == 1:
            return "one"
        if len(self.shape) == 2 and _plain(x):
            if x.shape in (self.shape[1:], (1, *self.shape[1:])):
                return "row"
            if x.shape == (self.shape[0], 1):
                return "column"
        return None

    def _knows(self, dtype: Any) -> bool:
        return dtype.name in (*FLOATS, "bool")

    def _in_the_way(self, x: Any, kind: str | None) -> bool:
        """Whether an operand would be read from memory that the loop has written to elsewhere."""
        if not hasattr(x, "strides"):
            return False
        return any(
            backend.overlap(x, out) and not (kind == "full" and address == backend.address_of(x))
            for address, out in self.stores.items()
        )

    def _clashes(self, out: Any) -> bool:
        """Whether writing the result would spoil what the loop has yet to read, or writes besides."""
        others = [(array, kind) for _, array, kind in self.loads.values()] + [(s, "full") for s in self.stores.values()]
        return any(backend.overlap(out, array) and not (kind == "full" and _same(out, array)) for array, kind in others)

    def _name(self, x: Any, kind: str | None) -> str:
        if kind == "number":
            return f"{self._dtype}({float(x)!r})"
        address = backend.address_of(x)
        if kind == "full" and address in self.values:
            held = self.values[address]
        else:
            load = self.loads.setdefault((address, str(kind)), (f"a{len(self.loads)}", x, str(kind)))
            held = load[0] + "_"
        return f"{self._dtype}({held})" if x.dtype == bool else held

    def finish(self, needed: Callable[[int], bool]) -> tuple[Callable[..., None], list[Any]]:
        """The compiled loop, and the arrays to call it with. needed: whether what lies at an address is read later."""
        stores = [(address, array) for address, array in self.stores.items() if needed(address)]
        flat = all(kind in ("full", "one") for _, _, kind in self.loads.values())
        place = "i" if flat else "i, j"
        places = {"full": place, "row": "j", "column": "i", "one": "0"}
        names = {address: name for (address, kind), (name, _, _) in self.loads.items() if kind == "full"}
        arguments: list[tuple[str, Any]] = []
        extra: list[tuple[str, Any]] = []
        for name, array, kind in self.loads.values():
            arguments.append((name, array.reshape(-1) if flat or kind != "full" else array))
        for address, array in stores:
            if address not in names:
                names[address] = f"o{len(extra)}"
                extra.append((names[address], array.reshape(-1) if flat else array))
        arguments += extra
        text = [f"def loop({', '.join(name for name, _ in arguments)}):"]
        ones = [f"    {name}_ = {name}[0]" for name, _, kind in self.loads.values() if kind == "one"]
        reads = {kind: [f"{name}_ = {name}[{places[kind]}]" for name, _, k in self.loads.values() if k == kind]
                 for kind in places}  # fmt: skip
        writes = [f"{names[address]}[{place}] = {self.values[address]}" for address, _ in stores]
        text += ones
        size = next(name for name, _ in (*((n, a) for n, a, k in self.loads.values() if k == "full"), *extra))
        if flat:
            text.append(f"    for i in range({size}.size):")
            indent = "        "
        else:
            text += [f"    for i in range({size}.shape[0]):", *(f"        {line}" for line in reads["column"])]
            text.append(f"        for j in range({size}.shape[1]):")
            text += [f"            {line}" for line in reads["row"]]
            indent = "            "
        text += [indent + line for line in (*reads["full"], *self.lines, *writes)]
        arrays = [array for _, array in arguments]
        parts = parts_of((math.prod(self.shape),) if flat else self.shape, -(-len(self.lines) // LINES))
        loop = _compile("\n".join(text), arrays, apart=len(parts) > 1)
        if len(parts) > 1:
            cut = [kind in ("full", "column") for _, _, kind in self.loads.values()] + [True] * len(extra)
            loop = by_parts(loop, cut, parts)
        return loop, arrays


class Passes(Loop):
    """Calls over large arrays, each NumPy's own, one after the other for each block of rows; for small ones, nothing.

    What lies between, and is not read later, is written into the thread's own room, which is in its cache.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__(shape)
        self.calls: list[tuple[Any, Sequence[Any]]] = []
        self.large = math.prod(shape) > 2 * blocks.BLOCK

    def take(self, function: Any, arguments: Sequence[Any], out: Any) -> bool:
        """Add a call; False, and nothing is added, where it does not fit."""
        taken = self.large and super().take(function, arguments, out)
        if taken:
            self.calls.append((function, (*arguments, out)))
        return taken

    def _expression(self, function: Any, arguments: Sequence[Any], out: Any) -> str | None:
        known = is_elementwise(function) or function is choose
        return function.__name__ if known and _plain(out) and self._knows(out.dtype) else None

    def _knows(self, dtype: Any) -> bool:
        return dtype.kind in "fiub"

    def finish(self, needed: Callable[[int], bool]) -> tuple[Callable[..., None], list[Any]]:
        """The function that does them, and the arrays to call it with."""
        read = {address for address, kind in self.loads if kind == "full"}
        between = {address for address in self.stores if address not in read and not needed(address)}
        flat = all(kind in ("full", "one") for _, kind in self.loads)
        shape = (math.prod(self.shape),) if flat else self.shape
        given: list[Any] = []
        cuts: list[Callable[[Any, slice], Any] | None] = []  # what of an array a block takes
        parts = blocks.blocks(numpy, shape[0], math.prod(shape[1:])) or (slice(0, shape[0]),)
        held, begins = parts[0].stop * math.prod(shape[1:]), [0]
        places: dict[Any, int] = {}

        def place(x: Any) -> int:
            kind = str(self._kind(x))
            address = backend.address_of(x) if kind != "number" else 0
            key = (address, x.dtype, x.shape) if address else (type(x), repr(x))
            if key not in places:
                places[key] = len(given)
                given.append(x.reshape({"full": shape, "one": ()}[kind]) if flat and kind != "number" else x)
                if kind == "full" and address in between:
                    cuts.append(functools.partial(_room, begins, begins[-1]))
                    begins.append(begins[-1] + held * x.itemsize)
                else:
                    cuts.append(_itself if kind in ("full", "column") else None)
            return places[key]

        calls = [(function, tuple(place(x) for x in operands)) for function, operands in self.calls]
        large = shares(math.prod(shape) * -(-len(calls) // CALLS_IN_CACHE)) > 1

        def passes(*arrays: Any) -> None:
            def one(n: int) -> None:
                block = [x if cut is None else cut(x, parts[n]) for x, cut in zip(arrays, cuts, strict=True)]
                for function, operands in calls:
                    function(*[block[i] for i in operands[:-1]], out=block[operands[-1]])

            if large:
                team.each(one, len(parts))
            else:
                any(map(one, range(len(parts))))

        return passes, given


def fused(
    steps: Sequence[Step], elementwise: Callable[[Step], Any], new_loop: Callable[..., Loop], kept: set[int]
) -> list[Step]:
    """The steps with each run of elementwise calls as one loop. elementwise: gives a step's call, if it is such."""
    last: dict[int, int] = {}
    for n, step in enumerate(steps):
        for v in step.instruction.reads():
            last[v.storage] = n
    result, n = list(steps), 0
    while n < len(steps):
        loop, taken, storages = None, list[int](), dict[int, Variable]()
        end = n
        while end < len(steps):
            step = steps[end]
            if step.calls:
                call = elementwise(step)
                if call is None:
                    break
                function, arguments, out = call
                loop = loop or new_loop(out.shape)
                if not loop.take(function, arguments, out):
                    break
                taken.append(end)
                assert step.instruction.out is not None
                storages[backend.address_of(out)] = step.instruction.out
            end += 1
        if loop is None or len(taken) < loop.least:
            n += 1
            continue

        def needed(address: int, storages: dict[int, Variable] = storages, end: int = taken[-1]) -> bool:
            v = storages[address]
            return from_outside(v) or v.storage in kept or last.get(v.storage, -1) > end

        function, arrays = loop.finish(needed)
        for i in taken:
            result[i] = replace(steps[i], calls=(), fused=True)
        result[taken[0]] = replace(result[taken[0]], calls=((function, tuple(arrays), {}),))
        n = taken[-1] + 1
    return result


def _compile(source: str, arrays: Sequence[Any], apart: bool) -> Callable[..., None]:
    """The loop as machine code for arrays of these dtypes; made once for one text. apart: without Python's lock."""
    kinds = [(a.dtype.name, a.ndim, a.flags.writeable) for a in arrays]  # what is only read may lie anywhere
    key = f"{source}\n{kinds}{apart}"
    if key not in _compiled:
        import numba

        space: dict[str, Any] = {name: getattr(numpy, name) for name in (*FLOATS, *IN_LOOPS, "inf", "nan")}
        exec(compile(source, "<fused loop>", "exec"), space)
        signature = tuple(
            numba.types.Array(numba.from_dtype(a.dtype), a.ndim, "C", readonly=not written, aligned=written)
            for a, (_, _, written) in zip(arrays, kinds, strict=True)
        )
        loop: Any = numba.njit([signature], error_model="numpy", nogil=apart)(space["loop"])
        loop.__name__ = "loop"
        _compiled[key] = loop
    return _compiled[key]


def _itself(array: Any, part: slice) -> Any:
    return array[part]


def _room(begins: Sequence[int], begin: int, array: Any, part: slice) -> Any:
    """The thread's own room instead of a part of an array. begins: where there each such array begins, and all end."""
    shape = (part.stop - part.start, *array.shape[1:])
    bytes_there = team.room(begins[-1], "passes")[begin : begin + math.prod(shape) * array.itemsize]
    return bytes_there.view(array.dtype).reshape(shape)


def _plain(array: Any) -> bool:
    return bool(array.flags.c_contiguous and array.flags.aligned)


def _same(a: Any, b: Any) -> bool:
    return backend.address_of(a) == backend.address_of(b) and a.itemsize == b.itemsize
