"""What the kernel does row by row, between its two meetings: the rest of the net forward, the loss, and back.

A row lies in shared memory. What is narrow the first warp does alone, which need not wait for the others.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy

from ...engine.cuda.sources import TYPES
from ..cuda_text import indented, over_lanes
from ..listing import Variable
from ..parts import Operation
from .division import WARP, power_below
from .elements import Elements, combined, left_type, start
from .phases import is_by_row


def rows_text(e: Elements) -> Iterator[str]:
    """The lines for one row."""
    shape, first = e.shape, e.step.first.out.buffer
    yield f"for (int c = t; c < {shape.units}; c += {shape.threads}) {{"
    yield f"    {e.real} sum = 0;\n#pragma unroll"
    yield f"    for (int n = 0; n < {shape.down}; ++n)"
    yield f"        sum += look(partial + (n * {shape.rows} + row) * {shape.apart} + c);"
    yield f"    s{first.number}[c] = sum;\n}}\n__syncthreads();"
    alone = False
    for group in _groups(e):
        narrow = group[0].kind != "product" and max(_breadth(e, o) for o in group) <= WARP
        if narrow != alone:
            yield f"if (t < {WARP}) {{" if narrow else "}\n__syncthreads();"
        alone = narrow
        yield from indented(_group(e, group, WARP if narrow else shape.threads), int(narrow))
        yield "    __syncwarp();" if narrow else "__syncthreads();"
    if alone:
        yield "}\n__syncthreads();"
    for v in e.left:
        width = e.width(v)
        yield f"for (int c = t; c < {width}; c += {shape.threads})"
        yield f"    leave(g{v.number} + row * {width} + c, ({left_type(v)})s{v.number}[c]);"
    yield "__syncthreads();"


def _breadth(e: Elements, o: Operation) -> int:
    """Elements of a row that an operation goes through."""
    read = [e.width(p.buffer) for p in o.places if is_by_row(p) and not o.picks and p.buffer in e.own]
    return max(e.width(o.out.buffer), *read, 1)


def _groups(e: Elements) -> Iterator[list[Operation]]:
    """The operations, those that are one loop together."""
    group: list[Operation] = []
    for o in e.step.rows:
        made, wide = {other.out.buffer for other in group}, e.width(o.out.buffer)
        joins = bool(group) and {group[0].kind, o.kind} <= {"element", "call"}
        joins = joins and e.width(group[0].out.buffer) == wide and not (o.picks and o.reads[0].buffer in made)
        if group and not (joins and all(p.buffer not in made or e.width(p.buffer) == wide for p in o.places)):
            yield group
            group = []
        group.append(o)
    if group:
        yield group


def _group(e: Elements, group: Sequence[Operation], threads: int) -> Iterator[str]:
    o, out = group[0], group[0].out.buffer
    if o.kind == "product":
        a, w = o.reads
        wide, to = e.width(a.buffer), e.width(out)
        lanes = min(power_below(threads // to, WARP), power_below(wide, WARP))
        sizes = f"{threads}, {lanes}, {wide}, {to}, {str(w.swapped).lower()}"
        yield f"row_product<{sizes}>(s{a.buffer.number}, f0 + {w.segment.offset}, s{out.number});"
    elif o.kind == "argmax":
        x = o.reads[0].buffer
        yield f"{{\n    const int place = place_of_greatest(s{x.number}, {e.width(x)});"
        yield f"    if (t == 0) s{out.number}[0] = place;\n}}"
    elif o.kind == "reduce":
        yield from _reduced(e, o)
    else:
        local: dict[Variable, str] = {}
        yield f"for (int c = t; c < {e.width(out)}; c += {threads}) {{"
        for n, o in enumerate(group):
            yield f"    const {TYPES[o.out.buffer.dtype.name]} e{n} = {e.in_row(o, local)};"
            yield f"    s{o.out.buffer.number}[c] = e{n};"
            local[o.out.buffer] = f"e{n}"
        yield "}"


def _reduced(e: Elements, o: Operation) -> Iterator[str]:
    """A reduction over a row, by the first warp."""
    x, out = o.reads[0].buffer, o.out.buffer
    counts = o.start == "0" and numpy.dtype(o.computes).kind == "b"
    kind = "double" if o.divisor else TYPES[out.dtype.name if counts else numpy.dtype(o.computes).name]
    yield f"if (t < {WARP}) {{"
    yield f"    {kind} total = {start(o)};"
    element = combined(o, "total", f"({kind})s{x.number}[c]")
    yield f"    for (int c = t; c < {e.width(x)}; c += {WARP}) total = {element};"
    yield from indented(over_lanes(o.c, kind, "total"))
    yield f"    if (t == 0) s{out.number}[0] = ({TYPES[out.dtype.name]})(total{e.divided(o)});\n}}"
