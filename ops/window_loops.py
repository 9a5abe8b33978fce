"""Convolution and pooling as compiled loops: what the array code gives, bit for bit, without its passes.

Maps are (batch, height, width, channels), in one piece, with one axis of space of height 1. Each function takes parts
from a counter until there are none; `room` is memory of the thread. All that is compiled stands in this one file, by
whose date Numba knows whether what it kept still holds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import llvmlite.binding  # type: ignore[import-untyped]
from llvmlite import ir
from numba import extending, njit, types
from numba.core import cgutils

from ..replay import blas

helpers: Any = cgutils
for _dtype, _name in blas.SYMBOLS.items():
    llvmlite.binding.add_symbol(_name, blas.address(_dtype))


def compiled(function: Callable[..., Any]) -> Any:
    """The function as machine code, without Python's lock. Nothing is assumed of numbers: no fastmath."""
    options: Any = {"nogil": True, "error_model": "numpy"}
    try:
        return njit(cache=True, **options)(function)
    except RuntimeError:  # no place to keep it
        return njit(**options)(function)


def _gemm(
    typing: Any, like: Any, turned_a: Any, turned_b: Any, m: Any, n: Any, k: Any, a: Any, a_step: Any, b: Any,
    b_step: Any, c: Any, c_step: Any,
) -> Any:  # fmt: skip
    """C ← A B by addresses, row by row; the step is from one row to the next. like: a number of the dtype."""
    long, whole = ir.IntType(64), ir.IntType(32)
    real = ir.FloatType() if like == types.float32 else ir.DoubleType()

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        _, turned_a, turned_b, m, n, k, a, a_step, b, b_step, c, c_step = arguments
        kinds = [whole] * 3 + [long] * 3 + [real, long, long, long, long, real, long, long]
        name = blas.SYMBOLS[str(like)]
        function = builder.module.globals.get(name)
        if function is None:
            function = ir.Function(builder.module, ir.FunctionType(ir.VoidType(), kinds), name)
        plain, other = ir.Constant(whole, 111), ir.Constant(whole, 112)
        builder.call(
            function,
            (ir.Constant(whole, 101), builder.select(turned_a, other, plain), builder.select(turned_b, other, plain),
             m, n, k, ir.Constant(real, 1.0), a, a_step, b, b_step, ir.Constant(real, 0.0), c, c_step),
        )  # fmt: skip
        return context.get_dummy_value()

    flag, number = types.boolean, types.int64
    return types.void(like, flag, flag, *[number] * 9), code


def _take(typing: Any, counter: Any) -> Any:
    """The next number from a counter, of which several threads take."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        one = ir.Constant(ir.IntType(64), 1)
        return builder.atomic_rmw("add", array.data, one, "seq_cst")

    return types.int64(counter), code


def _move(typing: Any, onto: Any, at: Any, source: Any, begin: Any, count: Any) -> Any:
    """onto[at : at + count] ← source[begin : begin + count], of arrays with one axis, unlooked at."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        to, at, source, begin, count = arguments
        places = [
            builder.gep(context.make_array(kind)(context, builder, array).data, [index])
            for kind, array, index in ((signature.args[0], to, at), (signature.args[2], source, begin))
        ]
        size = context.get_abi_sizeof(context.get_data_type(signature.args[0].dtype))
        helpers.raw_memcpy(builder, places[0], places[1], count, size)
        return context.get_dummy_value()

    return types.void(onto, types.int64, source, types.int64, types.int64), code


gemm, take, move = (extending.intrinsic(made) for made in (_gemm, _take, _move))


@compiled
def product(like: Any, turned_a: Any, turned_b: Any, m: Any, n: Any, k: Any, a: Any, b: Any, c: Any) -> None:
    """c ← a b as NumPy has BLAS do it: m × n, k inside; each array lies in one piece, a turned one transposed."""
    gemm(
        like, turned_a, turned_b, m, n, k, a.ctypes.data, m if turned_a else k, b.ctypes.data, k if turned_b else n,
        c.ctypes.data, n,
    )  # fmt: skip


@compiled
def _within(shift: int, stride: int, width: int, count: int) -> Any:
    """The first window that has an element inside at this shift, and the one after the last."""
    first = min(max(-(shift // stride), 0), count)
    return first, max(min((width - 1 - shift) // stride + 1, count), first)


@compiled
def _gather(x: Any, begin: int, end: int, count: Any, size: Any, steps: Any, turned: bool, rows: Any) -> None:
    """The windows of samples as rows of a matrix, `rows`; or as its columns, where it is `turned`."""
    height, width, channels = x.shape[1], x.shape[2], x.shape[3]
    (stride0, stride1), (before0, before1), (apart0, apart1) = steps
    flat = x.reshape(x.size)
    windows = (end - begin) * count[0] * count[1]
    inside = size[0] * size[1] * channels
    run = size[1] * channels
    for s in range(begin, end):
        for i in range(count[0]):
            line = ((s - begin) * count[0] + i) * count[1]
            for a in range(size[0]):
                r = i * stride0 + a * apart0 - before0
                there = (s * height + r) * width
                if turned:
                    for b in range(size[1]):
                        shift = b * apart1 - before1
                        first, last = _within(shift, stride1, width, count[1])
                        if not 0 <= r < height:
                            first = last = 0
                        for c in range(channels):
                            at = ((a * size[1] + b) * channels + c) * windows + line
                            for j in range(first):
                                rows[at + j] = 0
                            for j in range(last, count[1]):
                                rows[at + j] = 0
                            source = (there + first * stride1 + shift) * channels + c
                            if channels == 1 and stride1 == 1:
                                move(rows, at + first, flat, source, last - first)
                            else:
                                for j in range(last - first):
                                    rows[at + first + j] = flat[source + j * stride1 * channels]
                    continue
                for j in range(count[1]):
                    left, at = j * stride1 - before1, (line + j) * inside + a * run
                    if 0 <= r < height and apart1 == 1 and left >= 0 and left + size[1] <= width:
                        move(rows, at, flat, (there + left) * channels, run)
                        continue
                    for b in range(size[1]):
                        q = left + b * apart1
                        if 0 <= r < height and 0 <= q < width:
                            move(rows, at + b * channels, flat, (there + q) * channels, channels)
                        else:
                            rows[at + b * channels : at + (b + 1) * channels] = 0


@compiled
def convolution(
    counter: Any, parts: int, room: Any, each: int, x: Any, w: Any, b: Any, size: Any, steps: Any, turned: bool, y: Any
) -> None:
    """y ← windows of x times w, plus b. w: (elements of a window, filters)."""
    columns, (inside, filters) = room.view(x.dtype), w.shape
    rows = y.reshape(y.size // filters, filters)
    while True:
        n: int = take(counter)
        if n >= parts:
            return
        begin, end = n * each, min((n + 1) * each, len(x))
        _gather(x, begin, end, y.shape[1:3], size, steps, turned, columns)
        windows = y.shape[1] * y.shape[2]
        out = rows[begin * windows : end * windows]
        product(x.dtype.type(0), turned, False, len(out), filters, inside, columns, w, out)
        if b.size:
            for i in range(len(out)):
                for k in range(filters):
                    out[i, k] += b[k]


@compiled
def kernel_correlation(
    counter: Any, parts: int, room: Any, each: int, x: Any, y: Any, size: Any, steps: Any, turned: bool, sums: Any
) -> None:
    """sums[n] ← windows of the n-th samples of x, transposed, times y."""
    columns, (inside, filters) = room.view(x.dtype), sums.shape[1:]
    rows = y.reshape(y.size // filters, filters)
    while True:
        n: int = take(counter)
        if n >= parts:
            return
        begin, end = n * each, min((n + 1) * each, len(x))
        _gather(x, begin, end, y.shape[1:3], size, steps, turned, columns)
        windows = y.shape[1] * y.shape[2]
        given = rows[begin * windows : end * windows]
        product(x.dtype.type(0), not turned, False, inside, filters, len(given), columns, given, sums[n])


@compiled
def transposed_convolution(
    counter: Any, parts: int, room: Any, each: int, x: Any, w: Any, b: Any, size: Any, steps: Any, y: Any
) -> None:
    """y ← each element of x times a kernel, added up where they overlap, plus b. w: (elements of a window, filters)."""
    columns, (inside, filters), channels = room.view(x.dtype), w.shape, y.shape[3]
    (stride0, stride1), (before0, before1), (apart0, apart1) = steps
    height, width = y.shape[1:3]
    rows, windows = x.reshape(x.size // filters, filters), x.shape[1] * x.shape[2]
    flat = y.reshape(y.size)
    while True:
        n: int = take(counter)
        if n >= parts:
            return
        begin, end = n * each, min((n + 1) * each, len(x))
        given = rows[begin * windows : end * windows]
        product(x.dtype.type(0), False, True, len(given), inside, filters, given, w, columns)
        for s in range(begin, end):
            y[s] = 0
            for a in range(size[0]):
                for b_ in range(size[1]):
                    tap = (a * size[1] + b_) * channels
                    for i in range(x.shape[1]):
                        r = i * stride0 + a * apart0 - before0
                        if not 0 <= r < height:
                            continue
                        line = ((s - begin) * x.shape[1] + i) * x.shape[2]
                        shift = b_ * apart1 - before1
                        first, last = _within(shift, stride1, width, x.shape[2])
                        at = (s * height + r) * width + shift
                        if channels == 1:
                            for j in range(first, last):
                                flat[at + j * stride1] += columns[(line + j) * inside + tap]
                            continue
                        for j in range(first, last):
                            source = columns[(line + j) * inside + tap :][:channels]
                            target = flat[(at + j * stride1) * channels :][:channels]
                            for c in range(channels):
                                target[c] += source[c]
            if b.size:
                for r in range(height):
                    for q in range(width):
                        for c in range(channels):
                            y[s, r, q, c] += b[c]


@compiled
def _greater(a: Any, b: Any) -> Any:
    return a if a > b or a != a else b


@compiled
def max_pool(
    counter: Any, parts: int, room: Any, each: int, x: Any, size: Any, stride: Any, relu: bool, y: Any
) -> None:
    """y ← the greatest of each window, all of which lie inside; relu: but 0 where that is below it."""
    channels = x.shape[3]
    while True:
        n: int = take(counter)
        if n >= parts:
            return
        for s in range(n * each, min((n + 1) * each, len(x))):
            for i in range(y.shape[1]):
                for j in range(y.shape[2]):
                    r, q, best = i * stride[0], j * stride[1], y[s, i, j]
                    if size == (2, 2):
                        x0, x1, x2, x3 = x[s, r, q], x[s, r, q + 1], x[s, r + 1, q], x[s, r + 1, q + 1]
                        for c in range(channels):
                            best[c] = _greater(_greater(_greater(x0[c], x1[c]), x2[c]), x3[c])
                    else:
                        for place in range(size[0] * size[1]):
                            part = x[s, r + place // size[1], q + place % size[1]]
                            for c in range(channels):
                                best[c] = _greater(best[c], part[c]) if place else part[c]
                    if relu:
                        for c in range(channels):
                            best[c] = _greater(best[c], x.dtype.type(0))


@compiled
def max_unpool(
    counter: Any, parts: int, room: Any, each: int, g: Any, x: Any, y: Any, size: Any, stride: Any, relu: bool, out: Any
) -> None:
    """out ← each window's g in equal shares where x equals its y; relu: of those with y > 0. All lie inside, apart."""
    channels, real, one = x.shape[3], x.dtype.type, x.dtype.type(1)
    everywhere = size == stride and x.shape[1] == y.shape[1] * size[0] and x.shape[2] == y.shape[2] * size[1]
    while True:
        n: int = take(counter)
        if n >= parts:
            return
        for s in range(n * each, min((n + 1) * each, len(x))):
            if not everywhere:
                out[s] = 0
            for i in range(y.shape[1]):
                for j in range(y.shape[2]):
                    r, q, best, given = i * stride[0], j * stride[1], y[s, i, j], g[s, i, j]
                    if size == (2, 2):
                        x0, x1, x2, x3 = x[s, r, q], x[s, r, q + 1], x[s, r + 1, q], x[s, r + 1, q + 1]
                        o0, o1, o2, o3 = out[s, r, q], out[s, r, q + 1], out[s, r + 1, q], out[s, r + 1, q + 1]
                        for c in range(channels):
                            m0, m1 = real(x0[c] == best[c]), real(x1[c] == best[c])
                            m2, m3 = real(x2[c] == best[c]), real(x3[c] == best[c])
                            share = given[c] * real(best[c] > 0) if relu else given[c]
                            share /= max(m0 + m1 + m2 + m3, one)
                            o0[c], o1[c], o2[c], o3[c] = share * m0, share * m1, share * m2, share * m3
                        continue
                    for c in range(channels):
                        many = 0
                        for a in range(size[0]):
                            for b in range(size[1]):
                                many += x[s, r + a, q + b, c] == best[c]
                        share = given[c] * real(best[c] > 0) if relu else given[c]
                        share /= real(max(many, 1))
                        for a in range(size[0]):
                            for b in range(size[1]):
                                out[s, r + a, q + b, c] = share * real(x[s, r + a, q + b, c] == best[c])
