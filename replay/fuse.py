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
from dataclasses import dataclass, replace
from typing import Any

import numpy

from ..engine import backend
from .calls import CALLS, IN_LOOPS, UNKNOWN
from .listing import Variable
from .lowering import Step, choose
from .passes import from_outside
from .spread import by_parts, parts_of

FLOATS, INTEGERS = ("float32", "float64"), ("int32", "int64")
CHOICE = "({1} if {0} else {2})"
"""What `choose` is in a loop."""
LINES = 4
"""Of a compiled loop, that take the time of one call over a large array."""
_compiled: dict[str, Callable[..., None]] = {}


@functools.cache
def available() -> bool:
    """Whether Numba is installed."""
    return importlib.util.find_spec("numba") is not None


@dataclass(frozen=True)
class RowReduction:
    """The reduction of each row, along the last axis: a sum, or an extreme."""

    ufunc: Any

    def __call__(self, x: Any, out: Any) -> None:
        """Reduce rows into a column."""
        self.ufunc.reduce(x, -1, None, out, True)


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
        dtypes = {x.dtype for x in given if isinstance(x, numpy.ndarray)}
        if not text or not plain(out) or not (chooses or isinstance(function, numpy.ufunc)):
            return None
        if len(dtypes) == 1 and out.dtype == bool and not any(x.__class__ in (bool, int, float) for x in given):
            return text if {x.name for x in dtypes} <= {*FLOATS, *INTEGERS} else None  # a comparison
        (floats := {dtype for dtype in dtypes if dtype.kind == "f"})
        if len(floats) != 1 or not dtypes <= {*floats, numpy.dtype(bool)} or out.dtype not in (*floats, bool):
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
        if x.shape == self.shape and plain(x):
            return "full"
        if x.size == 1:
            return "one"
        if len(self.shape) > 1 and plain(x):
            if x.shape[-1:] == self.shape[-1:] and x.size == x.shape[-1] and x.ndim <= len(self.shape):
                return "row"
            if x.shape == (*self.shape[:-1], 1):
                return "column"
        return None

    def _knows(self, dtype: Any) -> bool:
        return dtype.name in (*FLOATS, *INTEGERS, "bool")

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
        return any(backend.overlap(out, array) and not (kind == "full" and same(out, array)) for array, kind in others)

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
        flat = all(kind in ("full", "one") for _, _, kind in self.loads.values())
        shape = (math.prod(self.shape),) if flat else (math.prod(self.shape[:-1]), self.shape[-1])
        parts = parts_of(shape, -(-len(self.lines) // LINES))
        text, operands = self.text(needed, flat)
        arrays = [x.reshape(shape if kind == "full" else -1) for x, kind in operands]
        loop = compiled(text, arrays, apart=len(parts) > 1)
        if len(parts) > 1:
            loop = by_parts(loop, [kind in ("full", "column") for _, kind in operands], parts)
        return loop, arrays

    def text(self, needed: Callable[[int], bool], flat: bool) -> tuple[str, list[tuple[Any, str]]]:
        """The loop's text, and the arrays that it takes, with how they lie. flat: as over one axis, not two."""
        stores = [(address, array) for address, array in self.stores.items() if needed(address)]
        place = "i" if flat else "i, j"
        places = {"full": place, "row": "j", "column": "i", "one": "0"}
        names = {address: name for (address, kind), (name, _, _) in self.loads.items() if kind == "full"}
        arguments = [(name, (array, kind)) for name, array, kind in self.loads.values()]
        for address, array in stores:
            if address not in names:
                names[address] = f"o{len(arguments)}"
                arguments.append((names[address], (array, "full")))
        text = [f"def loop({', '.join(name for name, _ in arguments)}):"]
        ones = [f"    {name}_ = {name}[0]" for name, _, kind in self.loads.values() if kind == "one"]
        reads = {kind: [f"{name}_ = {name}[{places[kind]}]" for name, _, k in self.loads.values() if k == kind]
                 for kind in places}  # fmt: skip
        writes = [f"{names[address]}[{place}] = {self.values[address]}" for address, _ in stores]
        text += ones
        size = next(name for name, (_, kind) in arguments if kind == "full")
        if flat:
            text.append(f"    for i in range({size}.size):")
            indent = "        "
        else:
            text += [f"    for i in range({size}.shape[0]):", *(f"        {line}" for line in reads["column"])]
            text.append(f"        for j in range({size}.shape[1]):")
            text += [f"            {line}" for line in reads["row"]]
            indent = "            "
        text += [indent + line for line in (*reads["full"], *self.lines, *writes)]
        return "\n".join(text), [operand for _, operand in arguments]


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
                calls = call if isinstance(call, list) else [call]
                shape = calls[0][1][0].shape if isinstance(calls[0][0], RowReduction) else calls[0][2].shape
                loop = loop or new_loop(shape)
                if not all(loop.take(*each) for each in calls):  # one that follows a reduction always fits
                    break
                taken.append(end)
                assert step.instruction.out is not None
                storages[backend.address_of(calls[-1][2])] = step.instruction.out
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


def compiled(source: str, arrays: Sequence[Any], apart: bool) -> Callable[..., None]:
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


def plain(array: Any) -> bool:
    """Whether an array lies in one piece, each number at its place."""
    return bool(array.flags.c_contiguous and array.flags.aligned)


def same(a: Any, b: Any) -> bool:
    """Whether two arrays begin in one place and have numbers of one size."""
    return backend.address_of(a) == backend.address_of(b) and a.itemsize == b.itemsize
