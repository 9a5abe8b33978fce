"""Launching the kernels of linalg.cu: products of matrices small enough that a launch of our own beats a library's."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy

from ..engine import cuda
from ..engine.cuda.launch import COUNTERS, Gpu
from ..engine.cuda.sources import source

SOURCE = source(Path(__file__).with_name("linalg.cu"))
BITS16 = source(Path(cuda.__file__).with_name("bits16.cu"), {})
WIDEST, PANEL, THREADS = 32, 128, 256
SUM_COLUMNS, SUM_ROWS = 32, 16
"""As in the source."""
MOST_PANELS = 2
"""Of a sum that one block takes; from then on it takes less time for blocks to meet."""
BLOCKS_OF_SUMS, LEAST_ROWS = 4, 8
"""Blocks that sum columns on a multiprocessor at once, and rows of a thread that are worth a part of their own."""
SMALL = 1 << 25
"""Products of numbers, up to which these kernels serve; beyond, the array code does, and with it cuBLAS."""


def suits(a: Any, b: Any, *others: Any, precision: str) -> bool:
    """Whether rows of a (…, k) times b (k, n), with others beside them, are for launches of ours."""
    return bool(b.ndim == 2 and _suit(a, (b, *others), math.prod(a.shape) * b.shape[1], precision))


def suit_outer(gz: Any, a: Any, *others: Any, precision: str) -> bool:
    """Whether the sum over rows of a outer gz is for launches of ours."""
    return bool(gz.ndim and _suit(gz, (a, *others), math.prod(a.shape) * gz.shape[-1], precision))


def _suit(x: Any, others: Any, products: int, precision: str) -> bool:
    if not x.ndim or not products or any(other.dtype != x.dtype for other in others):
        return False
    if precision != "float32":
        return False  # but for those of `factors`
    return x.dtype.name in ("float32", "float64") and products <= SMALL and max(map(len, (x, *others))) < 1 << 20


def suit_sums(gz: Any, *others: Any) -> bool:
    """Whether the sum over the rows of gz is for these kernels."""
    return bool(gz.dtype.name in ("float32", "float64") and gz.ndim and gz.size and gz.shape[-1] < 1 << 31)


def are_few(gz: Any, *others: Any) -> bool:
    """Whether the sums over the rows of gz have the same bits with a product and alone."""
    return bool(0 < math.prod(gz.shape[:-1]) <= MOST_PANELS * _panel(gz))


def product(
    gpu: Gpu, a: Any, b: Any, out: Any, *, bias: Any = None, passes_a: Any = None,
    passes_b: Any = None, relu: bool = False, sums: Any = None,
) -> Any:  # fmt: skip
    """out ← a b (+ bias, then max(·, 0) with relu) for matrices; each element of a, or b, counts where its `passes`
    is above 0. out: row-major, of any shape with that many elements. sums: gets the sums of b's columns; without a and
    out these alone. Returns out.
    """
    if passes_a is not None and passes_a.strides != a.strides:
        a, passes_a = gpu.xp.ascontiguousarray(a), gpu.xp.ascontiguousarray(passes_a)
    if passes_b is not None and passes_b.strides != b.strides:
        b, passes_b = gpu.xp.ascontiguousarray(b), gpu.xp.ascontiguousarray(passes_b)
    m, (k, n) = 0 if a is None else a.shape[0], b.shape
    height = m + (sums is not None)
    tile, tiles, split = _division(gpu, height, n, -(-k // _panel(b)))
    partial, arrived = (gpu.xp.empty(split * height * n, b.dtype), gpu.arrived) if split > 1 else (None, None)
    strides = [numpy.int64(s // b.itemsize) for x in (a, b) for s in ((0, 0) if x is None else x.strides)]
    numbers: Any = *map(numpy.int32, (m, n, k)), *strides, *map(numpy.int32, (split, relu, tile))
    no_second = [*[None] * 9, *[x.dtype.type(0) for x in numbers]]
    gpu.launch(
        SOURCE, "product", (tiles * split,), (THREADS,), a, b, bias, passes_a, passes_b, out, sums, partial, arrived,
        *numbers, *no_second, numpy.int32(tiles * split), REAL=b.dtype,
    )  # fmt: skip
    return out


def _panel(x: Any) -> int:
    """Terms of a sum of such elements that a block has at a time."""
    return PANEL * 4 // int(x.dtype.itemsize)


def _division(gpu: Gpu, height: int, width: int, panels: int) -> tuple[int, int, int]:
    """The width of tiles, how many these are, and blocks for each: small tiles where large ones leave much idle."""
    for tile in (WIDEST, WIDEST // 2):
        tiles = -(-height // tile) * -(-width // tile)
        split = max(1, min(min(gpu.multiprocessors, COUNTERS) // tiles, panels)) if panels > MOST_PANELS else 1
        if 2 * tiles * split >= gpu.multiprocessors:
            break
    return tile, tiles, split


def affine(gpu: Gpu, a: Any, w: Any, b: Any, out: Any, relu: bool = False) -> Any:
    """A W + b, then max(·, 0) with relu, in one launch."""
    out = gpu.xp.empty((*a.shape[:-1], w.shape[1]), a.dtype) if out is None else out
    return product(gpu, _rows(a), w, out, bias=gpu.xp.ascontiguousarray(b), relu=relu)


def backward(gpu: Gpu, gz: Any, w: Any, out: Any, passes: Any = None) -> Any:
    """gz Wᵀ, of the gradient that passes."""
    out = gpu.xp.empty((*gz.shape[:-1], w.shape[0]), gz.dtype) if out is None else out
    return product(gpu, _rows(gz), w.T, out, passes_a=None if passes is None else _rows(passes))


def outer(gpu: Gpu, gz: Any, a: Any, out: Any, passes: Any = None, sums: Any = None) -> Any:
    """aᵀ gz over the rows, of the gradient that passes; sums: gets that gradient's sums over the rows."""
    out = gpu.xp.empty((a.shape[-1], gz.shape[-1]), gz.dtype) if out is None else out
    return product(gpu, _rows(a).T, _rows(gz), out, passes_b=None if passes is None else _rows(passes), sums=sums)


def sums(gpu: Gpu, gz: Any, out: Any, passes: Any = None, passed: Any = None, kind: str = "") -> Any:
    """Σ over the rows of gz, of the gradient that passes, which goes into `passed`; kind: of 16 bits, as `factors`."""
    code: Any = SOURCE if not kind else BITS16.read_text("utf-8") + SOURCE.read_text("utf-8")
    macros: dict[str, Any] = {"PASSED": numpy.dtype("uint16"), "TO_PASSED": f"{kind}_bits"} if kind else {}
    rows, columns = math.prod(gz.shape[:-1]), gz.shape[-1]
    out = gpu.xp.empty(columns, gz.dtype) if out is None else out
    if passed is None and are_few(gz):
        product(gpu, None, _rows(gz), None, passes_b=None if passes is None else _rows(passes), sums=out)
        return out
    contiguous, groups = gpu.xp.ascontiguousarray, -(-columns // SUM_COLUMNS)
    split = max(1, min(BLOCKS_OF_SUMS * gpu.multiprocessors // groups, rows // (LEAST_ROWS * SUM_ROWS)))
    partial, arrived = (gpu.xp.empty(split * columns, gz.dtype), gpu.arrived) if split > 1 else (None, None)
    gpu.launch(
        code, "column_sums", (groups, split), (SUM_COLUMNS, SUM_ROWS), contiguous(gz),
        None if passes is None else contiguous(passes), out, passed, partial, arrived, numpy.int64(rows),
        numpy.int32(columns), REAL=gz.dtype, **macros,
    )  # fmt: skip
    return out


def _rows(x: Any) -> Any:
    return x.reshape(-1, x.shape[-1])
