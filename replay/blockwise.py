"""Chains of calls over large arrays as they are done block by block: some rows after the other, on all cores.

Element by element, and row by row, the arithmetic is that of the whole, so the bits are the same.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from ..engine import backend, blocks
from . import team
from .buffers import ALIGNMENT
from .calls import is_elementwise
from .fuse import Loop, RowReduction, compiled, plain, same
from .lowering import choose
from .spread import shares

Call = tuple[Any, Sequence[tuple[Any, str]], str]
"""A function; its operands with the result as the last, and how each lies; how the result does."""


class Blockwise(Loop):
    """Calls over large arrays, each NumPy's own, one after the other for each block of rows; for small ones, nothing.

    Reductions of rows belong to them, and calls on what these give, a column. What lies between, and is not read later,
    is written into the thread's own room, which is in its cache. compiles: make loops of neighbouring calls that have a
    text, and nothing, where all have: that is a loop by itself.
    """

    def __init__(self, shape: tuple[int, ...], compiles: bool = False) -> None:
        super().__init__(shape)
        self.compiles, self.calls = compiles, list[Call]()
        self.rows = math.prod(shape[:-1])
        self.size = self.rows * math.prod(shape[-1:])
        self.lies: dict[int, str] = {}  # what is written

    @property
    def least(self) -> int:  # type: ignore[override]
        """Calls, from which on it pays: several blocks find the last one's results in the cache, or go to two cores."""
        loop, never = Loop(self.shape), len(self.calls) + 1
        if self.compiles and all(self._in_a_loop(call, loop) for call in self.calls):
            return never
        return 2 if self.size > 2 * blocks.BLOCK or shares(self.size * len(self.calls)) > 1 else never

    def take(self, function: Any, arguments: Sequence[Any], out: Any) -> bool:
        """Add a call; False, and nothing is added, where it does not fit."""
        scope = self._scope(out)
        reduces = isinstance(function, RowReduction)
        known = reduces or is_elementwise(function) or function is choose
        if self.size <= blocks.BLOCK // 2 or not (scope and known and self._knows(out.dtype) and plain(out)):
            return False
        kinds = [self._kind_in(x, "full" if reduces else scope, out) for x in arguments]
        if None in kinds or (reduces and (kinds != ["full"] or scope != "column")):
            return False
        if any(map(self._is_apart, arguments, kinds)) or self._clashes(out, scope):
            return False
        for x, kind in zip(arguments, kinds, strict=True):
            if kind != "number" and backend.address_of(x) not in self.stores:
                self.loads.setdefault((backend.address_of(x), str(kind)), ("", x, str(kind)))
        self.stores[backend.address_of(out)], self.lies[backend.address_of(out)] = out, scope
        self.calls.append((function, [*zip(arguments, map(str, kinds), strict=True), (out, scope)], scope))
        return True

    def _scope(self, out: Any) -> str:
        """Whether a result has an element for each, or one for each row; nothing, where neither."""
        if out.shape == self.shape:
            return "full"
        return "column" if out.shape in (self.shape[:-1], (*self.shape[:-1], 1)) and len(self.shape) > 1 else ""

    def _kind_in(self, x: Any, scope: str, out: Any) -> str | None:
        """How an operand lies beside such a result."""
        kind = self._kind(x)
        if scope == "full" or kind in ("number", "one"):
            return kind
        return "column" if getattr(x, "shape", None) == out.shape and plain(x) and self._knows(x.dtype) else None

    def _knows(self, dtype: Any) -> bool:
        return dtype.kind in "fiub"

    def _is_apart(self, x: Any, kind: str | None) -> bool:
        """Whether an operand lies in memory that is written to elsewhere."""
        if kind == "number":
            return False
        return any(
            backend.overlap(x, s) and not (kind == self.lies[at] and same(x, s)) for at, s in self.stores.items()
        )

    def _clashes(self, out: Any, scope: str = "full") -> bool:
        """Whether writing the result would spoil what is yet to be read, or is written besides."""
        others = [(x, kind) for _, x, kind in self.loads.values()]
        others += [(s, self.lies[at]) for at, s in self.stores.items()]
        return any(backend.overlap(out, x) and not (kind == scope and same(out, x)) for x, kind in others)

    def finish(self, needed: Callable[[int], bool]) -> tuple[Callable[..., None], list[Any]]:
        """The function that does them, and the arrays to call it with."""
        read = {address for address, kind in self.loads if kind == "full"}
        between = {at for at, kind in self.lies.items() if kind == "full" and at not in read and not needed(at)}
        flat = all(kind in ("full", "one") for _, kind in self.loads) and "column" not in self.lies.values()
        shape = (self.size,) if flat else (self.rows, self.shape[-1])
        shared = shares(self.size * len(self.calls)) > 1
        parts = _parted(shape, shared)
        most, begins = max(part.stop - part.start for part in parts) * math.prod(shape[1:]), [0]
        given: list[Any] = []
        cuts: list[Callable[[Any, slice], Any] | None] = []  # what of an array a block takes
        places: dict[Any, int] = {}
        rooms: dict[int, int] = {}

        def place(x: Any, kind: str, forms: Mapping[str, tuple[int, ...]]) -> int:
            if kind == "number":
                given.append(x)
                cuts.append(None)
                return len(given) - 1
            address = backend.address_of(x)
            key = address, x.dtype, kind, forms[kind]
            if key not in places:
                places[key] = len(given)
                given.append(x.reshape(forms[kind]))
                cuts.append(_itself if kind in ("full", "column") else None)
                if kind == "full" and address in between:
                    if address not in rooms:
                        rooms[address] = begins[-1]
                        begins.append(begins[-1] - (-most * x.itemsize // ALIGNMENT) * ALIGNMENT)
                    cuts[-1] = functools.partial(_room, begins, rooms[address])
            return places[key]

        calls = [
            (function, [place(x, kind, _forms(shape, loop)) for x, kind in operands], loop)
            for function, operands, loop in self._joined(needed, shape)
        ]

        def one(arrays: Sequence[Any], n: int) -> None:
            block = [x if cut is None else cut(x, parts[n]) for x, cut in zip(arrays, cuts, strict=True)]
            for function, operands, loop in calls:
                taken = [block[i] for i in operands]
                if loop:
                    function(*taken)
                else:
                    function(*taken[:-1], out=taken[-1])

        def blockwise(*arrays: Any) -> None:
            if shared:
                team.each(functools.partial(one, arrays), len(parts))
            else:
                for n in range(len(parts)):
                    one(arrays, n)

        return blockwise, given

    def _joined(
        self, needed: Callable[[int], bool], shape: tuple[int, ...]
    ) -> Iterator[tuple[Any, Sequence[Any], bool]]:
        """The calls, neighbours as compiled loops: each with its operands, how these lie, and whether it is a loop."""
        n = 0
        while n < len(self.calls):
            loop, end = Loop(self.shape), n
            while self.compiles and end < len(self.calls) and self._in_a_loop(self.calls[end], loop):
                end += 1
            function, operands, _ = self.calls[n]
            if loops := end > n + 1:
                text, operands = loop.text(self._needed_after(end, needed), len(shape) == 1)
                forms = _forms(shape, loops)
                function = compiled(text, [x.reshape(forms[kind]) for x, kind in operands], apart=True)
            yield function, operands, loops
            n = max(end, n + 1)

    def _needed_after(self, end: int, needed: Callable[[int], bool]) -> Callable[[int], bool]:
        """What is needed after a call: later, or in the chain itself."""
        given = [operand for _, operands, _ in self.calls[end:] for operand in operands[:-1]]
        later = {backend.address_of(x) for x, kind in given if kind != "number"}
        return lambda at: at in later or needed(at)

    @staticmethod
    def _in_a_loop(call: Call, loop: Loop) -> bool:
        """Whether a loop takes a call."""
        function, (*given, (out, _)), scope = call
        elementwise = scope == "full" and not isinstance(function, RowReduction)
        return elementwise and loop.take(function, [x for x, _ in given], out)


def _forms(shape: tuple[int, ...], in_a_loop: bool) -> Mapping[str, tuple[int, ...]]:
    """In which shape what lies so is taken, by calls of NumPy's, or by a compiled loop."""
    column, one = (shape[:1], (1,)) if in_a_loop else ((shape[0], 1), ())
    return {"full": shape, "column": column, "row": shape[-1:], "one": one}


def _parted(shape: tuple[int, ...], shared: bool) -> list[slice]:
    """The blocks of rows: an even number of them, where two cores share them."""
    count = -(-math.prod(shape) // blocks.BLOCK)
    count = min(shape[0], count + count % 2 if shared else count)
    return [slice(n * shape[0] // count, (n + 1) * shape[0] // count) for n in range(count)]


def _itself(array: Any, part: slice) -> Any:
    return array[part]


def _room(begins: Sequence[int], begin: int, array: Any, part: slice) -> Any:
    """The thread's own room instead of a part of an array. begins: where there each such array begins, and all end."""
    shape = (part.stop - part.start, *array.shape[1:])
    bytes_there = team.room(begins[-1], "blockwise")[begin : begin + math.prod(shape) * array.itemsize]
    return bytes_there.view(array.dtype).reshape(shape)
