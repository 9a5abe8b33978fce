"""What the kernel does weight by weight, after its second meeting: gradients, the update, and sums over rows."""

from __future__ import annotations

from collections.abc import Iterator

import numpy

from ...engine.cuda.sources import TYPES
from ..cuda_text import indented, over_lanes
from ..listing import Variable
from ..parts import Operation, Place, Segment, size
from .division import WARP, power_below
from .elements import Elements, combined, start


def weights_text(e: Elements) -> Iterator[str]:
    """The lines of one step."""
    shape, step, back = e.shape, e.step, e.step.back.reads[1].buffer
    yield f"for (int i = t; i < {shape.rows * shape.columns}; i += {shape.threads}) {{"
    yield f"    const int c = across * {shape.columns} + i % {shape.columns};"
    yield f"    dz[i] = c < {shape.units} ? look(g{back.number} + i / {shape.columns} * {shape.units} + c) : 0;\n}}"
    yield from _numbers(e)
    yield from _others(e)
    sizes = f"{shape.threads}, {shape.rows}, {shape.depth}, {shape.quads}, {shape.split}"
    yield f"__syncthreads();\npartial_gradients<{sizes}>(x, dz, sums);\n__syncthreads();"
    total = " + ".join(f"sums[i + {n * shape.depth * shape.columns}]" for n in range(shape.split))
    lines = [f"const {e.real} d{step.back.out.buffer.number} = {total};"]
    lines += _updated(e, step.segment, f"k * {shape.units} + c", own=True)
    yield from over_own(e, lines)
    yield "__syncthreads();"


def over_own(e: Elements, lines: list[str]) -> Iterator[str]:
    """A loop over the weights that are a block's own: number i of them is in row k and column c of the whole."""
    shape = e.shape
    yield f"for (int i = thread(); i < {shape.depth * shape.columns}; i += {shape.threads}) {{"
    yield f"    const int k = down * {shape.depth} + i / {shape.columns};"
    yield f"    const int c = across * {shape.columns} + i % {shape.columns};"
    yield f"    if (k < {shape.inputs} && c < {shape.units}) {{"
    yield from indented(lines, 2)
    yield "    }\n}"


def _updated(e: Elements, s: Segment, at: str, own: bool = False) -> Iterator[str]:
    """The update of one element. at: its number among these weights. own: they are the block's own."""
    updates, _ = e.step.updates_of(s)
    flats = e.parts.flats
    used = {flats.index(p.buffer) for o in updates for p in (*o.places, o.out) if p.buffer in flats}
    written = {flats.index(o.out.buffer) for o in updates if o.out.buffer in flats}
    there = [f"own{n}[i]" if own and n != 1 else f"f{n}[{s.offset} + {at}]" for n in range(len(flats))]
    for n in sorted(used):
        yield f"{e.real} w{n} = {'0' if n == 1 else there[n]};"
    known: dict[Variable, str] = {v: f"d{v.number}" for v in e.step.seeds}
    for o in updates:
        out = o.out.buffer
        text = e.computed(o, lambda p: e.of_weights(p, s, known))
        if out in flats:
            yield f"w{flats.index(out)} = {text};"
        elif out in known:
            yield f"{known[out]} = {text};"
        else:
            known[out] = f"u{len(known)}"
            yield f"{TYPES[out.dtype.name]} {known[out]} = {text};"
    for n in sorted(written):
        if n == 0 and not own:
            yield f"leave(f0 + {s.offset} + {at}, w0);"
        else:
            yield f"{'if (last) ' if n == 1 else ''}{there[n]} = w{n};"


def _others(e: Elements) -> Iterator[str]:
    """The weights beside the first: some lanes sum the rows for each element, one of them updates it."""
    step, shape = e.step, e.shape
    segments = [s for s in e.parts.segments if s is not step.segment]
    total, begin, sums, updates = sum(size(s.shape) for s in segments), 0, list[str](), list[str]()
    if not total:
        return
    most = max(len(step.updates_of(s)[1]) for s in segments)
    lanes = power_below(shape.blocks * shape.threads // total, WARP)
    for s in segments:
        end, seeds = begin + size(s.shape), [step.seeds[v] for v in step.updates_of(s)[1]]
        head = [f"if (n >= {begin} && n < {end}) {{", f"    const int at = n - {begin};"]
        made = [f"    const {e.real} d{o.out.buffer.number} = sum{i}{e.divided(o)};" for i, o in enumerate(seeds)]
        sums += [*head, *(f"    sum{i} = {_sum(e, o, s, lanes)};" for i, o in enumerate(seeds)), "}"]
        updates += [*head, *made, *indented(_updated(e, s, "at")), "}"]
        begin = end
    each = shape.threads // lanes
    yield f"for (int begin = int(blockIdx.x) * {each}; begin < {total}; begin += {shape.blocks * each}) {{"
    yield f"    const int n = begin + t / {lanes};"
    yield from [f"    {e.real} sum{i} = 0;" for i in range(most)]
    yield from indented(sums)
    yield from [f"    sum{i} = sum_of_lanes<{lanes}>(sum{i});" for i in range(most)]
    yield f"    if (t % {lanes} == 0) {{"
    yield from indented(updates, 2)
    yield "    }\n}"


def _sum(e: Elements, o: Operation, s: Segment, lanes: int) -> str:
    """What a lane has of a gradient's sum over rows."""
    sizes, (*first, last) = f"{lanes}, {e.shape.rows}", [p.buffer for p in o.reads]
    if not first:
        return f"sum_of_column<{sizes}>(g{last.number}, at, {e.width(last)})"
    (a,), columns = first, s.shape[-1]
    of_a, of_b = f"g{a.number}, at / {columns}, {e.width(a)}", f"g{last.number}, at % {columns}, {e.width(last)}"
    return f"sum_of_products<{sizes}>({of_a}, {of_b})"


def _numbers(e: Elements) -> Iterator[str]:
    """Sums over rows to single numbers, and what is done with these: the last block's first warp."""
    known, kept = dict[Variable, str](), e.parts.kept
    yield f"if (blockIdx.x == {e.shape.blocks - 1} && t < {WARP}) {{"
    for o in e.step.sums:
        x, out = o.reads[0].buffer, o.out.buffer
        kind = "double" if o.start == "0" else TYPES[numpy.dtype(o.computes).name]
        total, known[out] = f"all{out.number}", f"n{out.number}"
        yield f"    {kind} {total} = {start(o)};\n#pragma unroll 4"
        element = combined(o, total, f"({kind})look(g{x.number} + i)")
        yield f"    for (int i = t; i < {e.shape.rows * e.width(x)}; i += {WARP}) {total} = {element};"
        yield from indented(over_lanes(o.c, kind, total))
        result = TYPES[out.dtype.name]
        yield f"    const {result} {known[out]} = ({result})({total}{e.divided(o)});"

    def value(p: Place) -> str:
        at = f"*t{kept.index(p.buffer)}" if p.buffer in kept else known.get(p.buffer)
        return at or e.fixed(p, Place(p.buffer, ()), "0", "0")

    yield "    if (t == 0) {"
    for o in e.step.scalars:
        out, text = o.out.buffer, e.computed(o, value)
        if out in kept:
            yield f"        *t{kept.index(out)} = {text};"
        else:
            known[out] = f"n{out.number}"
            yield f"        const {TYPES[out.dtype.name]} {known[out]} = {text};"
    yield "    }\n}"
