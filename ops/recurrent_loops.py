"""The loops over time of `recurrent`, compiled by Numba: products in registers, the gates of a step in one pass.

They give the same as the array code but for the last digits. Whether they serve is told by shapes, dtype and machine
alone, so that the tape and a recorded step have the same digits. Addresses and strides are bytes.
"""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy

Array = Any
WORTH = 1 << 22
"""Multiplications of a sequence, from which on it pays to have Numba loaded."""
FOR_TWO = 1 << 24
"""Multiplications that are shared by two threads, where BLAS has as many."""
EIGHT = 8
"""Of rows, or more, a part has a multiple, so that tiles of the product stay whole."""
BLOCK = 128
"""Rows of long sums that are added up at once, so that they stay in the cache."""

PRODUCT = """
def product(m, n, k, a, along, down, b, across, c, begin, o, to):
    wide, full = n - n % (2 * LANES), m - m % ROWS
    for j in range(0, wide, 2 * LANES):
        at = j * SIZE
        for i in range(0, full, ROWS):
            tile_r2(k, a + i * down, along, down, b + at, across, c + i * begin + at, begin, o + i * to + at, to)
    for i in range(m):
        first = 0 if i >= full else wide
        for j in range(first, n - n % LANES, LANES):
            at = j * SIZE
            tile_11(k, a + i * down, along, down, b + at, across, c + i * begin + at, begin, o + i * to + at, to)
        for j in range(n - n % LANES, n):
            at = j * SIZE
            tile_10(k, a + i * down, along, down, b + at, across, c + i * begin + at, begin, o + i * to + at, to)
"""
"""o ← c + a b, of m rows and n columns; what is left over of whole tiles goes vector by vector, number by number."""

LOOPS = """
def forward(n, t, u, z, r, b, h0, c0, mask, hs, cs, gates, room):
    unit, row, all_units = u * SIZE, GATES * u * SIZE, t * u * SIZE
    vectors = u - u % LANES
    for s in range(t):
        before, apart = (hs + (s - 1) * unit, all_units) if s else (h0, unit)
        memory, far = (cs + (s - 1) * unit, all_units) if s else (c0, unit)
        product(n, GATES * u, u, before, SIZE, apart, r, row, b, 0, room, row)
        for i in range(n):
            x, w, a = z + (i * t + s) * row, room + i * row, gates + (i * t + s) * KEPT * unit
            p, q = before + i * apart, memory + i * far
            h, c = hs + (i * t + s) * unit, cs + (i * t + s) * unit
            if uint8_at(mask)[i * t + s]:
                for j in range(0, vectors * SIZE, LANES * SIZE):
                    cells(x + j, w + j, a + j, unit, p + j, q + j, h + j, c + j)
                for j in range(vectors * SIZE, unit, SIZE):
                    cell1(x + j, w + j, a + j, unit, p + j, q + j, h + j, c + j)
            else:
                for j in range(0, unit, SIZE):
                    move(p + j, h + j)
                    move(q + j, c + j)

def backward(n, t, u, gy, apart, mask, h0, c0, hs, cs, gates, rt, gz, gs, gh, gc, keep):
    unit, row = u * SIZE, GATES * u * SIZE
    vectors = u - u % LANES
    for s in range(t - 1, -1, -1):
        for i in range(n):
            at = (i * t + s) * unit
            p, q = (hs + at - unit, cs + at - unit) if s else (h0 + i * unit, c0 + i * unit)
            x, g, m, k = gz + (i * t + s) * row, gs + (i * t + s) * row, gh + i * unit, gc + i * unit
            a = gates + (i * t + s) * KEPT * unit
            y, e, c, left = gy + at, gy + at + apart, cs + at, keep + i * unit
            if uint8_at(mask)[i * t + s]:
                for j in range(0, vectors * SIZE, LANES * SIZE):
                    backs(a + j, unit, p + j, q + j, c + j, y + j, e + j, m + j, k + j, x + j, g + j, left + j)
                for j in range(vectors * SIZE, unit, SIZE):
                    back1(a + j, unit, p + j, q + j, c + j, y + j, e + j, m + j, k + j, x + j, g + j, left + j)
            else:
                for j in range(0, row, SIZE):
                    clear(x + j)
                    clear(g + j)
                for j in range(0, unit, SIZE):
                    gather(y + j, e + j, m + j, k + j, left + j)
        product(n, u, GATES * u, gs + s * row, SIZE, t * row, rt, unit, keep, unit, gh, unit)
"""
PRODUCTS = """
def forward(m, n, k, a, b, c, o):
    product(m, n, k, a, SIZE, k * SIZE, b, n * SIZE, c, 0, o, n * SIZE)

def backward(m, n, k, a, along, down, b, across, zero, o):
    for first in range(0, k, BLOCK):
        product(
            m, n, min(BLOCK, k - first), a + first * along, along, down, b + first * across, across,
            o if first else zero, n * SIZE, o, n * SIZE,
        )
"""


def _side_by_side(m, address, unit, count):
    """What lies at an address, and units behind it."""
    return [m.load(m.at(address, *[unit] * n)) for n in range(count)]


def _lstm_cell(m, x, w, a, unit, p, q, h, c):
    """The gates from x and the state's product w, then c and h."""
    places = [m.at(a, *[unit] * n) for n in range(4)]
    i, f, g, o = (one + other for one, other in zip(*(_side_by_side(m, each, unit, 4) for each in (x, w)), strict=True))
    i, f, g, o = i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid()
    new = f.times_plus(m.load(q), i * g)
    for value, place in zip((i, f, g, o, new, o * new.tanh()), (*places, c, h), strict=True):
        m.store(value, place)


def _lstm_cell_back(m, a, unit, p, q, c, y, e, gh, gc, x, g, keep):
    """The gradients of what goes into the gates, and of c before."""
    i, f, g, o = _side_by_side(m, a, unit, 4)
    dh, tanh = m.load(gh) + m.load(y), m.load(c).tanh()
    dc = (dh * o).times_plus(1.0 - tanh * tanh, m.load(gc) + m.load(e))
    found = [dc * g * i * (1.0 - i), dc * m.load(q) * f * (1.0 - f), dc * i * (1.0 - g * g), dh * tanh * o * (1.0 - o)]
    for n, value in enumerate(found):
        m.store(value, m.at(x, *[unit] * n))
    m.store(dc * f, gc)
    m.store(m.constant(0.0), keep)


def _gru_cell(m, x, w, a, unit, p, q, h, c):
    """The gates from x and the state's product w, then h."""
    (update, reset, new), (v, r, s) = (_side_by_side(m, each, unit, 3) for each in (x, w))
    v, r = (update + v).sigmoid(), (reset + r).sigmoid()
    new = r.times_plus(s, new).tanh()
    for n, value in enumerate((v, r, new, s)):
        m.store(value, m.at(a, *[unit] * n))
    m.store(v.times_plus(m.load(p) - new, new), h)


def _gru_cell_back(m, a, unit, p, q, c, y, e, gh, gc, x, g, keep):
    """The gradients of what goes into the gates, of h r + b, and of h before as far as it goes past that."""
    v, w, new, s = _side_by_side(m, a, unit, 4)
    dh = m.load(gh) + m.load(y)
    dc = dh * (1.0 - v) * (1.0 - new * new)
    dv, dw = dh * (m.load(p) - new) * v * (1.0 - v), dc * s * w * (1.0 - w)
    for n, (value, inner) in enumerate(((dv, dv), (dw, dw), (dc, dc * w))):
        m.store(value, m.at(x, *[unit] * n))
        m.store(inner, m.at(g, *[unit] * n))
    m.store(dh * v, keep)


def _gather(m, y, e, gh, gc, keep):
    """What is left of a step that does not count."""
    m.store(m.load(gh) + m.load(y), keep)
    m.store(m.load(gc) + m.load(e), gc)


def _gather_h(m, y, e, gh, gc, keep):
    m.store(m.load(gh) + m.load(y), keep)


CELLS = {"lstm": (4, 4, _lstm_cell, _lstm_cell_back, _gather), "gru": (3, 4, _gru_cell, _gru_cell_back, _gather_h)}
"""Gates, numbers that are kept of each unit and step, the cell, and back."""


@functools.cache
def serves() -> bool:
    """Whether Numba is there, and the machine such as the loops are made for."""
    if importlib.util.find_spec("numba") is None:
        return False
    from ..replay import vectors

    return vectors.suits()


def worth(*arrays: Array, work: int) -> bool:
    """Whether arrays of such dtypes and so many multiplications are for the loops."""
    names = {a.dtype.name for a in arrays}
    return work >= WORTH and len(names) == 1 and names <= {"float32", "float64"} and serves()


@functools.cache
def _machine_code(kind: str, dtype: str) -> Callable[..., None]:
    """The loops of a kind, or products, "": of 0 and what `forward` takes, or 1 and what `backward` takes."""
    from numba import types

    from ..replay import meeting, vectors
    from ..replay.epoch import machine_code

    count, rows, size = vectors.lanes(dtype), vectors.tile_rows(), numpy.dtype(dtype).itemsize
    space: dict[str, Any] = {"__name__": __name__, "uint8_at": meeting.pointer_to(types.uint8)}
    for name, shape in {"r2": (rows, 2, count), "11": (1, 1, count), "10": (1, 1, 1)}.items():
        space[f"tile_{name}"] = vectors.tile(shape[0], shape[1], dtype, shape[2])
    gates, kept, text = 0, 0, PRODUCTS
    if kind:
        gates, kept, forward, back, gather = CELLS[kind]
        for name, body, arguments in (("cell", forward, 8), ("back", back, 12)):
            space[f"{name}s"] = vectors.elementwise(arguments, body, dtype, count)
            space[f"{name}1"] = vectors.elementwise(arguments, body, dtype, 1)
        text = LOOPS
        space["move"] = vectors.elementwise(2, lambda m, a, b: m.store(m.load(a), b), dtype, 1)
        space["clear"] = vectors.elementwise(1, lambda m, a: m.store(m.constant(0.0), a), dtype, 1)
        space["gather"] = vectors.elementwise(5, gather, dtype, 1)
    text = PRODUCT + text + _either_of(text)
    for name, number in {
        "GATES": gates, "KEPT": kept, "LANES": count, "ROWS": rows, "SIZE": size, "BLOCK": BLOCK,
    }.items():  # fmt: skip
        text = text.replace(name, str(number))
    made_of = "".join(Path(file).read_text("utf-8") for file in (__file__, str(vectors.__file__)))
    code: Callable[..., None] = machine_code(text, space, f"{made_of}{kind}{vectors.features()}")
    return code


def _either_of(text: str) -> str:
    """The text's `run`: of 0 and what `forward` takes, or of 1 and what `backward` takes, filled up."""
    counts = [text.split(f"def {name}(")[1].split(")")[0].count(",") + 1 for name in ("forward", "backward")]
    given, forward, backward = (", ".join(f"a{i}" for i in range(count)) for count in (max(counts), *counts))
    head = f"\ndef run(which, {given}):\n    if which == 0:\n        forward({forward})\n    else:\n"
    return f"{head}        backward({backward})\n"


def _call(kind: str, dtype: Any, which: int, *given: Any) -> None:
    """Call it. given: numbers, and arrays for their addresses."""
    values = [x if isinstance(x, int) else x.ctypes.data for x in given]
    most = 17 if kind else 10
    _machine_code(kind, dtype.name)(which, *values, *[0] * (most - len(values)))


def room(out: Array | None, size: int, like: Array) -> Array:
    """`out`, or a new array for so many numbers."""
    return numpy.empty(size, like.dtype) if out is None else out


def _shared(count: int, work: int, part: Callable[[slice], None]) -> None:
    """Do rows, so many, in two parts where it is work for two: no number depends on who does which rows."""
    half = count // (2 * EIGHT) * EIGHT if work >= FOR_TWO else 0
    cuts = [slice(0, half), slice(half, count)] if half else [slice(0, count)]
    if len(cuts) == 1:
        part(cuts[0])
        return
    from ..replay import team

    team.each(lambda n: part(cuts[n]), len(cuts))


def run(kind: str, z: Array, r: Array, b: Array, h0: Array, c0: Array, mask: Array, out: Array) -> Array:
    """Forward: h, c (where there is one) and the gates of all steps into `out`, one behind another."""
    (batch, steps), units = mask.shape, h0.shape[1]
    z, r, b, h0, c0 = map(numpy.ascontiguousarray, (z, r, b, h0, c0))
    counts, size, memory = numpy.ascontiguousarray(mask != 0), mask.size * units, kind == "lstm"
    hs, gates = out[:size].reshape(batch, -1), out[size * (1 + memory) :].reshape(batch, -1)
    cs = (out[size : 2 * size] if memory else numpy.empty(size, z.dtype)).reshape(batch, -1)  # without c for nothing

    def part(at: slice) -> None:
        rows = [x[at] for x in (h0, c0, counts, hs, cs, gates)]
        room = numpy.empty((len(rows[0]), r.shape[1]), z.dtype)
        _call(kind, z.dtype, 0, len(room), steps, units, z[at], r, b, *rows, room)

    _shared(batch, z.size * units, part)
    return out


def pull(kind: str, gy: Array, packed: Array, r: Array, h0: Array, c0: Array, mask: Array, out: Array) -> Array:
    """Back: the gradients of z (of h r + b, too, where that is another), h0 and c0 into `out`, one behind another."""
    (batch, steps), units = mask.shape, h0.shape[1]
    gates, memory = CELLS[kind][0], kind == "lstm"
    gy, packed, h0, c0 = map(numpy.ascontiguousarray, (gy, packed, h0, c0))
    back, counts, size = numpy.ascontiguousarray(r.T), numpy.ascontiguousarray(mask != 0), mask.size * units
    state, apart = batch * units, size * out.itemsize if memory else 0
    hs, kept = packed[:size], packed[size * (1 + memory) :]
    cs = packed[size : 2 * size] if memory else hs
    gz = out[: size * gates]
    gs = gz if memory else out[size * gates : 2 * size * gates]
    rest = out[size * gates * (2 - memory) :]
    rest[...] = 0
    gh = rest[:state]
    gc, keep = rest[state:] if memory else numpy.zeros(state, out.dtype), numpy.zeros(state, out.dtype)
    each = [x.reshape(batch, -1) for x in (hs, cs, kept, gz, gs, gh, gc, keep)]
    first = gy.reshape(-1)[:size].reshape(batch, -1)

    def part(at: slice) -> None:
        hs, cs, kept, *found = (x[at] for x in each)
        given = first[at], apart, counts[at], h0[at], c0[at], hs, cs, kept, back
        _call(kind, out.dtype, 1, len(hs), steps, units, *given, *found)

    _shared(batch, size * units * gates, part)
    return out


def long_sum(a: Array, b: Array, out: Array) -> Array:
    """aᵀ b of two arrays with many rows."""
    a, b = numpy.ascontiguousarray(a), numpy.ascontiguousarray(b)
    (k, m), n, size = a.shape, b.shape[1], a.itemsize
    zero = numpy.zeros((m, n), a.dtype)

    def part(at: slice) -> None:
        rows = out[at]
        _call("", a.dtype, 1, len(rows), n, k, a[:, at], m * size, size, b, n * size, zero, rows)

    _shared(m, k * m * n, part)
    return out


def product(a: Array, b: Array, c: Array, out: Array) -> Array:
    """c + a b: of each row the same c."""
    a, b, c = map(numpy.ascontiguousarray, (a, b, c))
    rows = out.reshape(len(a), b.shape[1])
    _shared(
        len(a), a.size * b.shape[1],
        lambda at: _call("", a.dtype, 0, len(a[at]), b.shape[1], a.shape[1], a[at], b, c, rows[at]),
    )  # fmt: skip
    return out
