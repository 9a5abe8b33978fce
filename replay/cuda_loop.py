"""Neighbouring calls as one CUDA kernel, written from the recorded calls: element by element, row by row, and of all.

Each value is computed in the dtype that the array library gives it, and no product is contracted with a sum, so a loop
gives what the calls give one by one. That is said of each product (__fmul_rn) rather than of the whole (--fmad=false):
log, pow, acos and others of float64 are then the instructions that they are in CuPy's own kernels. Sums of floats have
an order of their own; `cuda_text` writes the kernel.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy

from ..engine import backend
from ..engine.cuda.launch import CudaKernel, gpu_of
from ..engine.cuda.sources import TYPES
from .cuda_expression import cast_to, expression, fits, number_text, place_of, steps_of, total_type
from .cuda_text import COLUMN, ELEMENT, ONE, PLACES, ROW, THREADS, WARPS, Line, Load, Reduction, Store, Text
from .fuse import Loop
from .listing import Instruction, Variable
from .lowering import reduction_options

MOST_BLOCKS, MOST_THAT_MEET, BLOCKS_OF_ROWS = 4096, 1024, 4
"""Blocks of a loop over elements, of one that adds up what they have, and of one over rows on a multiprocessor."""
WIDE, MANY_ROWS = 16, 4096
"""Elements from which on a row is worth a warp's work; rows up to which a shorter one is, too."""


def reduction_of(instruction: Instruction) -> Reduction | None:
    """The reduction that an instruction is, of an array over its last axis or over all of it."""
    row, options = instruction.row, reduction_options(instruction)
    x, axis, keeps = options.pop("x", None), options.pop("axis", None), options.pop("keepdims", False)
    if not (row.reduces or instruction.name in PLACES) or options or x.__class__ is not Variable or not x.shape:
        return None
    axes = range(len(x.shape)) if axis is None else axis if isinstance(axis, (tuple, list)) else (axis,)
    reduced = sorted(n % len(x.shape) for n in axes)
    whole, last = reduced == [*range(len(x.shape))], reduced == [len(x.shape) - 1]
    if (not last and (not whole or instruction.name in PLACES)) or (whole and keeps):
        return None
    return Reduction(row.reduces or instruction.name, instruction.name == "mean", ONE if whole else ROW)


class CudaLoop(Loop):
    """Calls over the elements of one shape, over its rows or columns, and over single numbers; operands are numbers, or
    arrays of any strides that broadcast.

    exact: a sum is taken only where its order is of no matter. shape: of the elements; None as long as there are none.
    by_rows: a warp takes a row; else each thread takes elements. real: the dtype of kernels of a row.
    """

    def __init__(self, exact: bool = True) -> None:
        self.exact = exact
        self.shape: Any = None
        self.by_rows, self.real = False, ""
        self.texts: list[Line] = []
        self.shared: dict[str, Load] = {}  # what all blocks read for columns
        self.read: dict[Any, Load] = {}
        self.written: dict[int, Store] = {}

    @property
    def least(self) -> int:  # type: ignore[override]
        """Calls, from which on a loop is worth it: a kernel that stands alone is left as it is."""
        return 2 if any(line.reduction or line.kernel for line in self.texts) else 1

    def take(self, function: Any, arguments: Sequence[Any], out: Any) -> bool:
        """Add a call; False, and nothing is added, where it does not fit. function: a name, `Reduction` or kernel."""
        if isinstance(function, CudaKernel):
            return self._take_kernel(function, arguments, out)
        if isinstance(function, Reduction):
            return self._take_reduction(function, arguments[0], out)
        scope = self._scope(out.shape)
        text = None if scope is None else expression(function, arguments, out)
        if scope is None or text is None or self._clashes(out, scope):
            return False
        return self._add(scope, arguments, out.shape, out, text, TYPES[out.dtype.name])

    def _add(
        self, scope: str, arguments: Sequence[Any], shape: Any, out: Any, text: str, kind: str, of: str = "",
        reduction: Reduction | None = None,
    ) -> bool:  # fmt: skip
        """Add a line whose operands lie in the scope `of`, over that shape; False where one does not fit."""
        found = [self._operand(x, of or scope, shape) for x in arguments]
        operands = [x for x in found if x is not None]
        late = any(isinstance(x, Line) and x.late for x in operands)
        if len(operands) < len(found) or (late and (scope != ONE or reduction)):
            return False
        shared = self._behind_columns(operands) if ELEMENT in (scope, of) else {}
        if any(backend.overlap(x.array, s.array) for x in shared.values() for s in self.written.values()):
            return False
        self.shared |= shared
        names = [self._loaded(x) if isinstance(x, Load) else x.name if isinstance(x, Line) else x for x in operands]
        uses = tuple([name for name, x in zip(names, operands, strict=True) if not isinstance(x, str)])
        name = f"x{len(self.texts)}"
        after = late or bool(reduction and scope == ONE)
        text = text if reduction else text.format(*names)
        self.texts.append(Line(name, scope, after, text, kind, uses, reduction, of))
        self._store(out, scope, name)
        return True

    def _store(self, out: Any, scope: str, value: str | None) -> str:
        """Note what goes into an array; returns that array's name."""
        known = self.written.get(backend.address_of(out))
        name = known.name if known else f"o{len(self.written)}"
        self.written[backend.address_of(out)] = Store(name, out, scope, value)
        return name

    def _take_reduction(self, reduction: Reduction, x: Any, out: Any) -> bool:
        of = self._scope(x.shape, reduction.scope == ROW)
        whole = out.shape == () if reduction.scope == ONE else out.shape in (x.shape[:-1], (*x.shape[:-1], 1))
        if of in (None, ONE, COLUMN) or not whole or not x.size or not fits(out) or self._clashes(out, reduction.scope):
            return False
        if (reduction.scope == ROW and of != ELEMENT) or (self.exact and not reduction.in_any_order(x.dtype)):
            return False
        kind = total_type(reduction, x.dtype, out.dtype)
        count = number_text(x.size if reduction.scope == ONE else x.shape[-1])
        end = f"({TYPES[out.dtype.name]})({cast_to(out.dtype)} / {count})" if reduction.mean else cast_to(out.dtype)
        if kind is None or not self._add(reduction.scope, (x,), x.shape, out, end, kind, str(of), reduction):
            return False
        self.by_rows |= reduction.scope == ROW
        return True

    def _take_kernel(self, kernel: CudaKernel, arguments: Sequence[Any], out: Any) -> bool:
        """A kernel of ours by its function for a row, which reads and writes memory itself."""
        form = kernel.by_row
        assert form is not None
        rows = arguments[form.rows]
        scope = ONE if form.mean else ELEMENT
        fitting = all(hasattr(x, "strides") and fits(x) for x in (*arguments, out)) and rows.ndim > 1 and rows.size
        if not fitting or self._scope(rows.shape, True) != ELEMENT or self.real not in ("", rows.dtype.name):
            return False
        own = [Load("", x, "whole", ELEMENT, "") for x in arguments]
        if self._clashes(out, "", own) or any(map(self._is_written, arguments)):
            return False
        self.by_rows, self.real = True, rows.dtype.name
        pointers, name, real = [self._loaded(load)[:-1] for load in own], f"x{len(self.texts)}", TYPES[self.real]
        target = self._store(out, scope, name if form.mean else None)
        count = f"{prod(rows.shape[:-1])}LL"
        given = [*pointers, *([] if form.mean else [target]), "r", count, str(rows.shape[-1]), "lane"]
        call, mean = f"{form.function}({', '.join(given)})", Reduction("add", True, ONE) if form.mean else None
        end = f"({real})({{}} / ({real}){count})"
        self.texts.append(Line(name, scope, form.mean, end, real, (), mean, ROW, kernel, call))
        return True

    # What fits where

    def _scope(self, shape: Any, over_rows: bool = False) -> str | None:
        """In which scope a call over that shape is; None where it has none here. over_rows: it needs rows."""
        if shape == ():
            return ONE if self.shape is None or prod(self.shape) else None
        if self.shape is None and (prod(shape) or not self.texts):
            self.shape = shape
        columns = any(line.scope == COLUMN for line in self.texts)
        if shape == self.shape:
            return ELEMENT if not over_rows or (_worth_rows(shape) and not columns) else None
        if self.shape is None:
            return None
        if not self.by_rows and not over_rows and _are_columns(shape, self.shape):
            return COLUMN
        gathered = self.by_rows or columns or any(line.reduction for line in self.texts)
        if not gathered and not over_rows and _are_columns(self.shape, shape):
            self._become(COLUMN, shape)
            return ELEMENT
        if columns:
            return None
        lead, before = self.shape[:-1], shape[:-1]
        if lead and shape in (lead, (*lead, 1)) and (self.by_rows or _worth_rows(self.shape, few=True)):
            self.by_rows = True
            return ROW
        upgraded = not self.by_rows and before and self.shape in (before, (*before, 1))
        if upgraded and _worth_rows(shape, few=not over_rows):
            self._become(ROW, shape)
            return ELEMENT
        return None

    def _become(self, scope: str, shape: Any) -> None:
        """Have what were elements be rows, or columns, of that shape."""
        every: list[Any] = [*self.texts, *self.read.values(), *self.written.values()]
        for each in every:
            each.scope = scope if each.scope == ELEMENT else each.scope
        for line in self.texts:
            line.of = scope if line.of == ELEMENT else line.of
        self.read = {(*key[:-1], load.scope): load for key, load in self.read.items()}
        self.shape, self.by_rows = shape, scope == ROW

    def _behind_columns(self, operands: Sequence[Any]) -> dict[str, Load]:
        """What is read for those of the operands that are columns."""
        lines, loads = {line.name: line for line in self.texts}, {f"{x.name}_": x for x in self.read.values()}
        waiting, found = [x for x in operands if isinstance(x, Line) and x.scope == COLUMN], dict[str, Load]()
        while waiting:
            uses = waiting.pop().uses
            waiting += [lines[name] for name in uses if name in lines]
            found |= {name: loads[name] for name in uses if name in loads}
        return found

    def _operand(self, x: Any, scope: str, shape: Any) -> Line | Load | str | None:
        """What a call over a shape takes: what was computed here, what is read, or a number; None where it cannot."""
        if x.__class__ in (bool, int, float):
            return number_text(x)
        if not hasattr(x, "strides") or isinstance(x, (numpy.ndarray, numpy.generic)) or x.dtype.name not in TYPES:
            return None
        store = self.written.get(backend.address_of(x))
        if store is not None and store.value and x.flags.c_contiguous and _same(x, store.array):
            alike = store.scope == scope and x.shape == shape
            widened = store.scope == ROW and scope == ELEMENT and x.shape == (*self.shape[:-1], 1)
            widened |= store.scope == COLUMN and scope == ELEMENT and _are_columns(x.shape, self.shape)
            if alike or widened or (store.scope == ONE and x.size == 1):
                return next(line for line in self.texts if line.name == store.value)
        if self._is_written(x):
            return None
        if x.shape == shape and x.flags.c_contiguous:
            return Load("", x, "full", scope, "0" if scope == ONE else "i")
        steps = steps_of(x, shape)
        if steps is None:
            return None
        kind = " ".join(map(str, steps)) if any(steps) else "one"
        return Load("", x, kind, scope, place_of(kind, shape))

    def _loaded(self, load: Load) -> str:
        """The name of what is read."""
        key = (backend.address_of(load.array), load.kind, load.scope)
        known = self.read.setdefault(key, load)
        known.name = known.name or f"a{len(self.read) - 1}"
        return f"{known.name}_"

    def _is_written(self, x: Any) -> bool:
        """Whether some of it is written here."""
        return any(backend.overlap(x, store.array) for store in self.written.values())

    def _clashes(self, out: Any, scope: str, also: Sequence[Load] = ()) -> bool:  # type: ignore[override]
        """Whether writing the result would spoil what the loop has yet to read, or writes besides."""
        others = [(x.array, x.kind == "full" and x.scope == scope) for x in (*self.read.values(), *also)]
        others += [(x.array, False) for x in self.shared.values()]
        others += [(s.array, s.scope == scope and s.value is not None) for s in self.written.values()]
        return any(backend.overlap(out, x) and not (aligned and _same(out, x)) for x, aligned in others)

    def finish(self, needed: Callable[[int], bool]) -> tuple[Callable[..., None], list[Any]]:
        """The launch, and the arrays to call it with. needed: whether what lies at an address is read later."""
        stores = [s for address, s in self.written.items() if s.value is None or needed(address)]
        text = Text(self.texts, list(self.read.values()), stores, self.shape or (), self.by_rows, self.real)
        return Launch(text.source, text.shape, text.by_rows, text.totals, text.arrays), text.arrays


class Launch:
    """A loop, compiled for the device of the arrays that it is called with, which begins at once.

    totals: how many numbers its blocks add up together; None where they do not meet.
    """

    __name__ = "loop"

    def __init__(self, source: str, shape: Any, by_rows: bool, totals: int | None, arrays: Sequence[Any]) -> None:
        self.source, self.totals = source, totals
        self.empty = not prod(shape)
        if not arrays or self.empty:
            return
        gpu = gpu_of(arrays[0])
        if by_rows:
            blocks, most = -(-prod(shape[:-1]) // WARPS), BLOCKS_OF_ROWS * gpu.multiprocessors
        else:
            blocks, most = -(-prod(shape) // THREADS), MOST_BLOCKS if totals is None else MOST_THAT_MEET
        self.blocks = max(1, min(blocks, most))
        gpu.prepare(source)

    def __call__(self, *arrays: Any) -> None:
        if self.empty:
            return
        gpu = gpu_of(arrays[0])
        room: tuple[Any, ...] = ()
        if self.totals is not None:
            room = gpu.xp.empty(8 * max(self.totals, 1) * self.blocks, "uint8"), gpu.arrived
        gpu.launch(self.source, "loop", (self.blocks,), (THREADS,), *arrays, *room)


def _worth_rows(shape: Any, few: bool = False) -> bool:
    """Whether a warp for a row of that shape is worth it; few: where nothing asks for rows."""
    rows = prod(shape[:-1])
    return len(shape) > 1 and (rows <= MANY_ROWS or (shape[-1] >= WIDE and not few))


def _are_columns(shape: Any, whole: Any) -> bool:
    """Whether that is the shape of the columns of the whole, of which each thread has one all the time."""
    width = shape[-1] if shape else 0
    few = bool(width) and THREADS % width == 0 and prod(shape) == width == whole[-1] < prod(whole)
    return few and len(shape) <= len(whole)


def _same(a: Any, b: Any) -> bool:
    return backend.address_of(a) == backend.address_of(b) and (a.itemsize, a.size) == (b.itemsize, b.size)
