"""The text of a loop's kernel: what `cuda_loop` has gathered, in CUDA C.

    rows:     a warp takes a row. Reductions over it go through its elements once each, and compute these anew.
    columns:  each thread has one, for which it computes what is needed, before it goes through its elements.
    all:      lanes, warps and blocks add up in a fixed order; the last block to arrive does what follows from that.

No value is added atomically, so a launch repeats to the last bit.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from ..engine import cuda
from ..engine.cuda.launch import CudaKernel
from ..engine.cuda.sources import TYPES
from .calls import CALLS
from .splitting import STARTS

THREADS, WARPS = 256, 8
"""Of a block."""
PLACES = ("argmax", "argmin")
ELEMENT, ROW, COLUMN, ONE = "element", "row", "column", "one"
"""The scopes in which a call is computed: for each element, row, column (a place on the last axis), or once."""
BITS16 = Path(cuda.__file__).with_name("bits16.cu")
"""Where the calls that give a factor of 16 bits are in CUDA C."""
BEGIN = """#define INFINITE (1.0 / 0.0)
#define NOT_A_NUMBER (INFINITE - INFINITE)
"""
TIMES = """template <typename T> __device__ __forceinline__ T times(T x, T y) { return T(x * y); }
template <> __device__ __forceinline__ float times(float x, float y) { return __fmul_rn(x, y); }
template <> __device__ __forceinline__ double times(double x, double y) { return __dmul_rn(x, y); }
"""
COMES_FIRST = """// Whether x at i rather than y at j is the greatest, or least: a NaN is, and of equal ones the first.
template <bool greatest, typename T> __device__ __forceinline__ bool comes_first(T x, int i, T y, int j) {
    const bool nan_x = x != x, nan_y = y != y;
    if (nan_x || nan_y) return nan_x && (!nan_y || i < j);
    return (greatest ? x > y : x < y) || (x == y && i < j);
}
"""
IN_C = {"-inf": "-INFINITE", "inf": "INFINITE", "True": "true", "False": "false"}
"""What reductions begin with, in CUDA C."""


@dataclass(frozen=True)
class Reduction:
    """A reduction over the last axis, or over all. name: of the ufunc, or of PLACES. mean: and divided by their number.
    scope: what is given one result, a row or all.
    """

    name: str
    mean: bool
    scope: str

    def in_any_order(self, dtype: Any) -> bool:
        """Whether all orders give the same bits."""
        return self.name in PLACES or dtype.kind == "b" or (dtype.kind in "iu" and not self.mean)


@dataclass(eq=False)
class Line:
    """A call in the text. name: what holds its result. scope: in which it is computed. late: after all is added up.

    text: the expression; of a reduction, what its total becomes. kind: of the result, or of the total, in CUDA C.
    uses: the names that it takes; of a reduction, the one. of: the scope of what a reduction takes. call: of a kernel's
    function for a row.
    """

    name: str
    scope: str
    late: bool
    text: str
    kind: str
    uses: tuple[str, ...]
    reduction: Reduction | None = None
    of: str = ""
    kernel: CudaKernel | None = None
    call: str = ""


@dataclass(eq=False)
class Load:
    """An array that is read. kind: how it lies in its scope: full, one, by its steps, or whole. place: an index."""

    name: str
    array: Any
    kind: str
    scope: str
    place: str


@dataclass(eq=False)
class Store:
    """An array that is written, and what goes there last; None where a kernel of a row writes it."""

    name: str
    array: Any
    scope: str
    value: str | None


class Text:
    """A loop's kernel. stores: what is written to memory. real: the dtype of kernels of a row. arrays: the operands of
    the launch.

    shape, by_rows: what it goes over. totals: how many are added up over all blocks; None where these do not meet.
    """

    def __init__(
        self, lines: Sequence[Line], loads: Sequence[Load], stores: Sequence[Store], shape: Any, by_rows: bool,
        real: str,
    ) -> None:  # fmt: skip
        self.stores, self.real, self._over = stores, real, ELEMENT
        self._lines = {line.name: line for line in lines}
        self._loads = {f"{load.name}_": load for load in loads}
        alive = self._all({s.value for s in stores if s.value} | {x.name for x in lines if x.kernel})
        self.lines = [line for line in lines if line.name in alive]
        used = {line.scope for line in self.lines} | {line.of for line in self.lines if line.reduction}
        self.shape: Any = shape if used - {ONE} else ()
        self.by_rows = by_rows and bool({ROW, ELEMENT} & used)
        if self.by_rows and ELEMENT not in used and not any(line.kernel for line in self.lines):
            self.shape, self.by_rows, self._over = shape[:-1], False, ROW  # a thread for each row
        if COLUMN in used and ELEMENT not in used:
            self.shape, self._over = shape[-1:], COLUMN
        self._sums = [line for line in self.lines if line.late and line.reduction]
        begin = [name for line in self.lines if line.scope != ONE or line.reduction for name in line.uses]
        self._early = [x for x in self.lines if x.scope == ONE and not x.late and x.name in self._all(set(begin))]
        meets = bool(self._sums) or (bool(self._early) and any(s.scope == ONE for s in stores))
        self.totals = len(self._sums) if meets else None
        read = {name for line in self.lines for name in line.uses}
        whole = [load for load in loads if load.kind == "whole"]
        self._used = [self._loads[name] for name in self._loads if name in read] + whole
        self.arrays = [load.array for load in self._used] + [store.array for store in stores]
        self.source = self._source()

    def _all(self, names: set[str], scope: str = "") -> set[str]:
        """The names, and all from which they follow; by lines of one scope, where one is given."""
        found, waiting = set(names), list(names)
        while waiting:
            line = self._lines.get(waiting.pop())
            new = set(line.uses) - found if line and line.scope in (scope or line.scope) else set()
            found |= new
            waiting += new
        return found

    def _source(self) -> str:
        parameters = [f"const {TYPES[load.array.dtype.name]}* {load.name}" for load in self._used]
        parameters += [f"{TYPES[store.array.dtype.name]}* {store.name}" for store in self.stores]
        if self.totals is not None:
            parameters += ["unsigned char* room", "unsigned* arrived"]
        body = "\n".join(indented(self._body()))
        before = [f"#define REAL {TYPES[self.real]}\n"] if self.real else []
        forms = [line.kernel.by_row for line in self.lines if line.kernel]
        before += sorted({form.source.read_text("utf-8") for form in forms if form})
        before += [TIMES] if "times<" in body else []
        before += [COMES_FIRST] if "comes_first<" in body else []
        before += [BITS16.read_text("utf-8")] if "16_bits(" in body else []
        head = f'extern "C" __global__ void __launch_bounds__({THREADS}) loop({", ".join(parameters)}) {{'
        return f"{''.join(before)}{BEGIN}{head}\n{body}\n}}\n"

    def _body(self) -> Iterator[str]:
        lanes = self.by_rows or self.totals is not None
        if lanes:
            yield "const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;"
        yield from self._computed(self._early, ONE)
        for line in self._sums:
            yield f"{line.kind} {line.name}_t = {_start(line)};"
        if self.by_rows:
            yield f"for (long long r = (long long)blockIdx.x * {WARPS} + warp; r < {prod(self.shape[:-1])}LL;"
            yield f"     r += (long long)gridDim.x * {WARPS}) {{"
            yield from indented(self._row())
            yield "}"
        elif self.shape:
            columns = [line for line in self.lines if line.scope == COLUMN != self._over]
            shared = self._all({name for line in self.lines if line.scope != COLUMN for name in line.uses})
            if any(line.name in shared for line in columns):
                yield f"const int c = threadIdx.x % {self.shape[-1]};"
            yield from self._computed([line for line in columns if line.name in shared], COLUMN, index="c")
            yield "const long long step = (long long)gridDim.x * blockDim.x;"
            yield "for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;"
            yield f"     i < {prod(self.shape)}LL; i += step) {{"
            scope = self._over
            lines = [line for line in self.lines if line.scope == scope]
            yield from indented(
                [*self._computed(lines, scope, self._sums), *self._added(scope), *self._stored(scope, "i")]
            )
            yield "}"
            alone = [line for line in columns if line.name not in shared]
            single = [*self._computed(alone, COLUMN, index="threadIdx.x"), *self._stored(COLUMN, "threadIdx.x")]
            if columns and single:
                yield f"if (blockIdx.x == 0 && threadIdx.x < {self.shape[-1]}) {{"
                yield from [*indented(single), "}"]
        last = [x for x in self.lines if x.scope == ONE and not x.reduction and x not in self._early]
        if self.totals is not None:
            yield from self._met()
        singles = [*self._finished(), *self._computed(last, ONE), *self._stored(ONE, "0")]
        if singles:
            yield f"if ({'lane == 0' if self.totals is not None else 'blockIdx.x == 0 && threadIdx.x == 0'}) {{"
            yield from indented(singles)
            yield "}"

    def _computed(
        self, lines: Sequence[Line], scope: str, also: Sequence[Line] = (), index: str = "i"
    ) -> Iterator[str]:
        """The lines, after what they read in that scope. also: others that read it."""
        read = {name for line in (*lines, *also) if line.of in ("", scope) for name in line.uses}
        for name, load in self._loads.items():
            if name in read and load.scope == scope:
                yield self._reading(name, load, index)
        for line in lines:
            yield f"const {line.kind} {line.name} = {line.text};"

    def _reading(self, name: str, load: Load, index: str = "i") -> str:
        place = re.sub(r"\bi\b", index, load.place)
        return f"const {TYPES[load.array.dtype.name]} {name} = {load.name}[{place}];"

    def _stored(self, scope: str, index: str) -> Iterator[str]:
        return (f"{s.name}[{index}] = {s.value};" for s in self.stores if s.scope == scope and s.value)

    def _added(self, scope: str) -> Iterator[str]:
        """What of a scope goes into totals of all."""
        for line in self._sums:
            if line.of == scope and not line.kernel:
                yield f"{line.name}_t = {_combined(line, f'({line.kind}){line.uses[0]}')};"

    def _row(self) -> Iterator[str]:
        """What a warp does with row r."""
        read = {name for line in self.lines if not line.of or line.of == ROW for name in line.uses}
        for name, load in self._loads.items():
            if name in read and load.scope == ROW:
                yield self._reading(name, load, "r")
        for line in self.lines:
            if line.kernel:
                yield f"{line.name}_t += {line.call};" if line.reduction else f"{line.call};"
            elif line.scope == ROW:
                yield from self._over_row(line) if line.reduction else [f"const {line.kind} {line.name} = {line.text};"]
        stored, added = [*self._stored(ELEMENT, "i")], [*self._added(ELEMENT)]
        if stored or added:
            wanted = {s.value for s in self.stores if s.scope == ELEMENT and s.value}
            wanted |= {line.uses[0] for line in self._sums if line.of == ELEMENT}
            yield from self._pass(wanted, [*added, *stored])
        yield from self._added(ROW)
        if single := [*self._stored(ROW, "r")]:
            yield "__syncwarp();  // all lanes have read what lies there"
            yield from ["if (lane == 0) {", *indented(single), "}"]

    def _pass(self, wanted: set[str], body: Sequence[str]) -> Iterator[str]:
        """Once through the elements of the row: what is wanted of each, and what is done with it."""
        names, width = self._all(wanted, ELEMENT), self.shape[-1]
        reads = [self._reading(n, x) for n, x in self._loads.items() if n in names and x.scope == ELEMENT]
        computed = [x for x in self.lines if x.name in names and x.scope == ELEMENT]
        lines = [*reads, *[f"const {x.kind} {x.name} = {x.text};" for x in computed], *body]
        yield f"for (int k = lane; k < {width}; k += 32) {{"
        if any(re.search(r"\bi\b", line) for line in lines):
            yield f"    const long long i = r * {width} + k;"
        yield from [*indented(lines), "}"]

    def _over_row(self, line: Line) -> Iterator[str]:
        """A reduction over the row, in all lanes."""
        x, (used,) = f"{line.name}_t", line.uses
        if line.reduction and line.reduction.name in PLACES:
            first = f"comes_first<{str(line.reduction.name == 'argmax').lower()}>"
            yield f"{line.kind} {x} = 0;\nint {x}_at = {self.shape[-1]};"
            body = f"if ({x}_at == {self.shape[-1]} || {first}({used}, k, {x}, {x}_at)) {x} = {used}, {x}_at = k;"
            yield from self._pass({used}, [body])
            yield "#pragma unroll\nfor (int by = 16; by; by /= 2) {"
            yield f"    const {line.kind} other = __shfl_xor_sync(0xffffffffu, {x}, by);"
            yield f"    const int at = __shfl_xor_sync(0xffffffffu, {x}_at, by);"
            yield f"    if (at < {self.shape[-1]} && ({x}_at == {self.shape[-1]} || {first}(other, at, {x}, {x}_at)))"
            yield f"        {x} = other, {x}_at = at;\n}}"
            yield f"const long long {line.name} = {x}_at;"
            return
        yield f"{line.kind} {x} = {_start(line)};"
        yield from self._pass({used}, [f"{x} = {_combined(line, f'({line.kind}){used}')};"])
        yield from _over_lanes(line)
        yield f"const auto {line.name} = {line.text.format(x)};"

    def _met(self) -> Iterator[str]:
        """The totals of all blocks, in lane 0 of the last one to arrive; the others end."""
        for line in self._sums:
            if line.of == ELEMENT or not self.by_rows:
                yield from _over_lanes(line)
        for line in self._sums:
            yield f"__shared__ {line.kind} {line.name}_s[{WARPS}];"
            yield f"if (lane == 0) {line.name}_s[warp] = {line.name}_t;"
        yield "__syncthreads();\nif (warp) return;"
        if self._sums:
            yield f"if (lane == 0)\n    for (int n = 1; n < {WARPS}; ++n) {{"
            for line in self._sums:
                yield f"        {line.name}_t = {_combined(line, f'{line.name}_s[n]')};"
            yield "    }"
        yield "if (gridDim.x > 1) {\n    bool last = false;"
        for n, line in enumerate(self._sums):
            at = f"room + {n} * 8 * gridDim.x" if n else "room"
            yield f"    {line.kind}* const {line.name}_p = reinterpret_cast<{line.kind}*>({at});"
        yield "    if (lane == 0) {"
        for line in self._sums:
            yield f"        {line.name}_p[blockIdx.x] = {line.name}_t;"
        yield "        __threadfence();  // this block's part is seen before its arrival"
        yield "        last = atomicInc(arrived, gridDim.x - 1) == gridDim.x - 1;"
        yield "        __threadfence();  // and after the last arrival all parts\n    }\n    __syncwarp();"
        yield "    if (!__shfl_sync(0xffffffffu, int(last), 0)) return;"
        for line in self._sums:
            yield f"    {line.name}_t = {_start(line)};"
            yield "    for (unsigned n = lane; n < gridDim.x; n += 32)"
            yield f"        {line.name}_t = {_combined(line, f'{line.name}_p[n]')};"
            yield from indented(_over_lanes(line))
        yield "}"

    def _finished(self) -> Iterator[str]:
        """What the totals become."""
        for line in self._sums:
            yield f"const auto {line.name} = {line.text.format(f'{line.name}_t')};"


def _start(line: Line) -> str:
    """What a total begins with."""
    assert line.reduction is not None
    begins = STARTS[line.reduction.name]
    return f"({line.kind})({IN_C.get(begins, begins)})"


def _combined(line: Line, other: str) -> str:
    """The total with another term."""
    assert line.reduction is not None
    return CALLS[line.reduction.name].c.format(f"{line.name}_t", other)


def _over_lanes(line: Line) -> Iterator[str]:
    assert line.reduction is not None
    return over_lanes(CALLS[line.reduction.name].c, line.kind, f"{line.name}_t")


def over_lanes(combined: str, kind: str, total: str) -> Iterator[str]:
    """What each lane of a warp has, put together in all of them. combined: a total with another, as text."""
    yield "#pragma unroll\nfor (int by = 16; by; by /= 2) {"
    yield f"    const {kind} other = __shfl_xor_sync(0xffffffffu, {total}, by);"
    yield f"    {total} = {combined.format(total, 'other')};\n}}"


def indented(lines: Iterable[str], by: int = 1) -> list[str]:
    """The lines, so many levels deeper."""
    texts = [part for line in lines for part in line.split("\n")]
    return [text if text.startswith("#") or not text else "    " * by + text for text in texts]
