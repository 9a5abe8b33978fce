"""Launching the kernels of convolution.cu, correlation.cu, depthwise.cu and pooling.cu.

They take sums, means and extremes over windows that slide over maps.

A map is (batch, *space, channels); with one axis of space it is taken as one row of a map with two.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy

from ..engine.cuda.launch import COUNTERS, Gpu
from ..engine.cuda.sources import source
from .channels import sums as channel_sums
from .windows import Lengths, Padding, output_lengths

CONVOLUTION, CORRELATION, DEPTHWISE = (
    source(Path(__file__).with_name(f"{name}.cu")) for name in ("convolution", "correlation", "depthwise")
)
POOLING = source(Path(__file__).with_name("pooling.cu"), contracted=False)
TILE_M, TILE_N, THREADS, MANY, MANY_FEW = 128, 32, 128, 384, 512
SUM_COLUMNS, SUM_ROWS = 32, 8
"""As in the sources."""
TILES = (48, 32), (16, 16)
"""Numbers of a block of `kernel_correlation`, and of `kernel_correlation_few`."""
PART = 256
"""Windows that are worth a block of their own, where a channel's sum goes over all of them."""
CELL, TERMS, SHORT_N = 4, 32, 16
"""As in the source: windows of a convolution whose greatest is taken in the same launch; terms of short sums."""
BYTE = 8
"""Places in a window that fit into a byte."""
MASK = 32
"""Elements of a window that fit into the bits of a number."""
MOST = 1 << 30
"""Elements below which the kernels count."""
MOST_BLOCKS = 1 << 16
"""Blocks, below which a grid has them along its second and third axes."""


def _suit(shape: Lengths, padding: Padding, steps: Lengths, *arrays: Any) -> bool:
    """Whether such arrays, and maps of a shape with their border, are for these kernels."""
    dtype, bordered = arrays[0].dtype, shape[0] * shape[-1]
    for n, (before, after) in zip(shape[1:-1], padding, strict=True):
        bordered *= n + before + after
    alike = dtype.name in ("float32", "float64") and all(x.dtype == dtype and 0 < x.size < MOST for x in arrays)
    return bool(alike and len(shape) in (3, 4) and bordered < MOST and max(steps) < MOST)


def _few(channels: int, groups: int, size: Lengths, stride: Lengths) -> bool:
    """Whether a grid holds them."""
    return max(-(-channels // (TILE_N // 2)), groups * math.prod(stride), math.prod(size)) < MOST_BLOCKS


def convolves(x: Any, w: Any, *b: Any, stride: Lengths, padding: Padding, dilation: Lengths, groups: int) -> bool:
    """Whether `convolution` takes them."""
    few = _few(max(w.shape[-2:]), groups, w.shape[:-2], stride)
    return few and _suit(x.shape, padding, dilation, x, w, *b)


def transposes(
    x: Any, w: Any, *b: Any, stride: Lengths, padding: Padding, dilation: Lengths, groups: int, lengths: Lengths
) -> bool:
    """Whether `transposed_convolution` takes them."""
    shape, few = (x.shape[0], *lengths, w.shape[-2] * groups), _few(max(w.shape[-2:]), groups, w.shape[:-2], stride)
    return few and _suit(shape, padding, dilation, x, w, *b)


def correlates(
    x: Any, y: Any, *, size: Lengths, stride: Lengths, padding: Padding, dilation: Lengths, groups: int
) -> bool:
    """Whether `kernel_correlation` takes them."""
    few = _few(max(x.shape[-1], y.shape[-1]), groups, size, stride)
    return few and _suit(x.shape, padding, dilation, x, y)


def pools(x: Any, *, size: Lengths, stride: Lengths, padding: Padding) -> bool:
    """Whether `max_pool` and `average_pool` take it."""
    return _suit(x.shape, padding, stride, x)


def unpools(g: Any, x: Any, y: Any, *, size: Lengths, stride: Lengths, padding: Padding) -> bool:
    """Whether `max_unpool` takes them."""
    return _suit(x.shape, padding, stride, g, x, y)


def spreads(g: Any, *, size: Lengths, stride: Lengths, padding: Padding, lengths: Lengths) -> bool:
    """Whether `average_unpool` takes it."""
    return _suit((g.shape[0], *lengths, g.shape[-1]), padding, stride, g)


# Convolution


def convolution(
    gpu: Gpu, x: Any, w: Any, b: Any = None, *, stride: Lengths, padding: Padding, dilation: Lengths, groups: int,
    out: Any = None,
) -> Any:  # fmt: skip
    """Convolution, with the bias b or without, in one launch."""
    size, filters = w.shape[:-2], w.shape[-1]
    count = output_lengths(x.shape[1:-1], size, stride, padding, dilation)
    windows = _convolved(x.shape, count, filters, size, stride, padding, dilation, groups)
    out = _given(gpu, out, (x.shape[0], *count, filters), x)
    if _apart(x.shape[-1], filters, groups):
        return _each(gpu, DEPTHWISE, "convolution_apart", (x, w, b), out, windows)
    name, grid = _tiled("convolution", x.shape[0] * math.prod(count), filters // groups, math.prod(w.shape[:-1]))
    return _launch(gpu, CONVOLUTION, name, (*grid, groups), (x, w, b), out, windows)


def transposed_convolution(
    gpu: Gpu, x: Any, w: Any, b: Any = None, *, stride: Lengths, padding: Padding, dilation: Lengths, groups: int,
    lengths: Lengths, out: Any = None,
) -> Any:  # fmt: skip
    """The adjoint in the input, with a bias or without, in one launch.

    Elements of the result over which windows lie alike are one product.
    """
    size, channels = w.shape[:-2], w.shape[-2] * groups
    shape = (x.shape[0], *lengths, channels)
    windows = _convolved(shape, x.shape[1:-1], x.shape[-1], size, stride, padding, dilation, groups)
    out = _given(gpu, out, shape, x)
    if _apart(channels, x.shape[-1], groups):
        return _each(gpu, DEPTHWISE, "transposed_convolution_apart", (x, w, b), out, windows)
    alike = shape[0] * math.prod(-(-n // s) for n, s in zip(lengths, stride, strict=True))
    name, grid = _tiled("transposed_convolution", alike, w.shape[-2])
    return _launch(gpu, CONVOLUTION, name, (*grid, groups * math.prod(stride)), (x, w, b), out, windows)


def _tiled(name: str, rows: int, columns: int, terms: int = TERMS + 1) -> tuple[str, tuple[int, int]]:
    """The kernel, and its tiles of a product with so many rows and columns: narrow ones where less of them is empty.

    terms: of each sum, where there is a kernel for short ones.
    """
    if terms <= TERMS:
        return f"{name}_short", (-(-rows // (CELL * THREADS)), -(-columns // SHORT_N))
    if _whole(columns, TILE_N // 2) < _whole(columns, TILE_N):
        return f"{name}_few", (-(-rows // TILE_M), -(-columns // (TILE_N // 2)))
    return name, (-(-rows // TILE_M), -(-columns // TILE_N))


def kernel_correlation(
    gpu: Gpu, x: Any, y: Any, *, size: Lengths, stride: Lengths, padding: Padding, dilation: Lengths, groups: int,
    out: Any = None, sums: Any = None,
) -> Any:  # fmt: skip
    """The adjoint in the kernel in one launch, in which several blocks share a sum and the last one adds it up.

    sums: where each filter's sum of y goes, the gradient of a bias.
    """
    channels, filters, places = x.shape[-1] // groups, y.shape[-1], math.prod(size)
    windows = _convolved(x.shape, y.shape[1:-1], filters, size, stride, padding, dilation, groups)
    out = _given(gpu, out, (*size, channels, filters), x)
    count = math.prod(y.shape[:-1])
    if _apart(x.shape[-1], filters, groups):
        tiles = -(-filters // SUM_COLUMNS), places
        split = max(1, min(min(4 * gpu.multiprocessors, COUNTERS) // math.prod(tiles), -(-count // PART)))
        partial = (gpu.xp.empty(split * out.size, x.dtype), gpu.arrived) if split > 1 else (None, None)
        numbers = *partial, numpy.int32(split), *windows
        block = SUM_COLUMNS, SUM_ROWS
        _launch(gpu, DEPTHWISE, "kernel_correlation_apart", (*tiles, split), (x, y), out, numbers, block)
        return out if sums is None else (channel_sums(gpu, y, sums), out)[1]
    rows, columns = places * channels + (sums is not None), filters // groups
    areas = [_whole(rows, m) * _whole(columns, n) for m, n in TILES]
    few = areas[0] >= 2 * areas[1]
    name, threads = ("kernel_correlation_few", MANY_FEW) if few else ("kernel_correlation", MANY)
    m, n = TILES[few]
    tiles = -(-rows // m), -(-columns // n)
    panels = -(-count // (threads * 16 // x.dtype.itemsize // m))
    room = max(1, min(gpu.multiprocessors, COUNTERS) // (math.prod(tiles) * groups))
    split = -(-panels // -(-panels // room))  # all have as many panels, but for the last
    given = (None, None)
    if split > 1:
        given = gpu.xp.empty(split * math.prod(tiles) * groups * m * n, x.dtype), gpu.arrived
    numbers = sums, *given, numpy.int32(split), *windows
    return _launch(gpu, CORRELATION, name, (*tiles, groups * split), (x, y), out, numbers, (threads,))


def _whole(count: int, tile: int) -> int:
    return -(-count // tile) * tile


def _apart(channels: int, filters: int, groups: int) -> bool:
    """Whether each channel is convolved by itself."""
    return channels == groups == filters


def _convolved(
    shape: Lengths, count: Lengths, filters: int, size: Lengths, stride: Lengths, padding: Padding, dilation: Lengths,
    groups: int,
) -> tuple[Any, ...]:  # fmt: skip
    """The windows over maps of a shape, as convolution.cu has them."""
    before = [pair[0] for pair in padding]
    return _numbers(
        shape[0], *_two(shape[1:-1]), shape[-1], *_two(count), filters, *_two(size), *_two(stride), *_two(dilation),
        *_two(before, 0), groups,
    )  # fmt: skip


# Pooling


def max_pool(
    gpu: Gpu, x: Any, *, size: Lengths, stride: Lengths, padding: Padding, out: Any = None, relu: bool = False,
    places: Any = None,
) -> Any:  # fmt: skip
    """The greatest of each window; relu: but 0 where that is below it. places: gets where that is, as `hand_out` takes
    it."""
    out, windows = _windows(gpu, x, size, stride, padding, out)
    grid = _blocks(out.size, x.shape[-1], x.dtype)
    return _launch(gpu, POOLING, "max_pool", grid, (x,), out, (places, numpy.int32(relu), *windows))


def keeps(x: Any, *, size: Lengths, stride: Lengths, padding: Padding, **_: Any) -> bool:
    """Whether a byte holds where the greatest of each window is: few places, no border, and no window over another."""
    apart = all(s >= k for s, k in zip(stride, size, strict=True))
    return apart and math.prod(size) <= BYTE and not any(map(any, padding))


def hand_out(
    gpu: Gpu,
    g: Any,
    places: Any,
    *,
    size: Lengths,
    stride: Lengths,
    padding: Padding,
    lengths: Lengths,
    out: Any = None,
) -> Any:
    """`max_unpool` by the places of the greatest, which a bit of a byte tells for each place in a window."""
    shape = (g.shape[0], *lengths, g.shape[-1])
    return _apart_unpooled(gpu, (g, None, None, places), shape, size, stride, padding, out, False)


def pools_after(
    x: Any, w: Any, *b: Any, pool_size: Lengths, pool_stride: Lengths, pool_padding: Padding, groups: int, **_: Any
) -> bool:
    """Whether a convolution takes the greatest of such windows of its result as well."""
    plain = pool_size == pool_stride and not any(map(any, pool_padding))
    return plain and math.prod(pool_size) == CELL and not _apart(x.shape[-1], w.shape[-1], groups)


def convolution_max_pool(
    gpu: Gpu, x: Any, w: Any, b: Any = None, *, stride: Lengths, padding: Padding, dilation: Lengths, groups: int,
    pool: Lengths, relu: bool = False, places: Any = None, out: Any = None,
) -> Any:  # fmt: skip
    """`max_pool` of `convolution`, in one launch, which gives the bits of two."""
    size, filters = w.shape[:-2], w.shape[-1]
    count = output_lengths(x.shape[1:-1], size, stride, padding, dilation)
    windows = _convolved(x.shape, count, filters, size, stride, padding, dilation, groups)
    cells = [n // k for n, k in zip(count, pool, strict=True)]
    out = _given(gpu, out, (x.shape[0], *cells, filters), x)
    rows = x.shape[0] * math.prod(cells) * CELL
    name, grid = _tiled("convolution_max_pool", rows, filters // groups, math.prod(w.shape[:-1]))
    numbers = places, numpy.int32(relu), numpy.int32(pool[-1]), *windows
    return _launch(gpu, CONVOLUTION, name, (*grid, groups), (x, w, b), out, numbers)


def average_pool(gpu: Gpu, x: Any, *, size: Lengths, stride: Lengths, padding: Padding, out: Any = None) -> Any:
    """The mean of each window."""
    out, windows = _windows(gpu, x, size, stride, padding, out)
    return _each(gpu, POOLING, "average_pool", (x,), out, windows)


def max_unpool(
    gpu: Gpu, g: Any, x: Any, y: Any, *, size: Lengths, stride: Lengths, padding: Padding, out: Any = None,
    relu: bool = False,
) -> Any:  # fmt: skip
    """What each element of x gets from the windows over it; relu: from those with y > 0."""
    if math.prod(size) <= MASK and all(s >= k for s, k in zip(stride, size, strict=True)):
        return _apart_unpooled(gpu, (g, x, y, None), x.shape, size, stride, padding, out, relu)
    numbers = numpy.int32(relu), *_pooling(x.shape, g.shape[1:-1], size, stride, padding)
    return _each(gpu, POOLING, "max_unpool", (g, x, y), _given(gpu, out, x.shape, x), numbers)


def _apart_unpooled(
    gpu: Gpu, arrays: Any, shape: Lengths, size: Lengths, stride: Lengths, padding: Padding, out: Any, relu: bool
) -> Any:
    """By a thread for each cell, which begins where a window does and reaches to the next."""
    g = arrays[0]
    cells = [-(-(n + pair[0]) // s) for n, pair, s in zip(shape[1:-1], padding, stride, strict=True)]
    grid = _blocks(math.prod(cells) * shape[0] * shape[-1], shape[-1], g.dtype)
    numbers = numpy.int32(relu), *_pooling(shape, g.shape[1:-1], size, stride, padding)
    return _launch(gpu, POOLING, "max_unpool_apart", grid, arrays, _given(gpu, out, shape, g), numbers)


def average_unpool(
    gpu: Gpu, g: Any, *, size: Lengths, stride: Lengths, padding: Padding, lengths: Lengths, out: Any = None
) -> Any:
    """The same of a mean."""
    shape = (g.shape[0], *lengths, g.shape[-1])
    windows = _pooling(shape, g.shape[1:-1], size, stride, padding)
    return _each(gpu, POOLING, "average_unpool", (g,), _given(gpu, out, shape, g), windows)


def _windows(gpu: Gpu, x: Any, size: Lengths, stride: Lengths, padding: Padding, out: Any) -> tuple[Any, Any]:
    """Where the numbers of windows go, and the windows as pooling.cu has them."""
    count = output_lengths(x.shape[1:-1], size, stride, padding, (1,) * len(size))
    return _given(gpu, out, (x.shape[0], *count, x.shape[-1]), x), _pooling(x.shape, count, size, stride, padding)


def _blocks(elements: int, channels: int, dtype: Any) -> tuple[int]:
    """The grid for elements of which a thread takes as many channels as 16 bytes hold, where they can be split so."""
    run = 16 // dtype.itemsize
    return (-(-elements // (run if channels % run == 0 else 1) // THREADS),)


def _pooling(shape: Lengths, count: Lengths, size: Lengths, stride: Lengths, padding: Padding) -> tuple[Any, ...]:
    """The windows over maps of a shape, as pooling.cu has them."""
    before = [pair[0] for pair in padding]
    return _numbers(shape[0], *_two(shape[1:-1]), shape[-1], *_two(count), *_two(size), *_two(stride), *_two(before, 0))


# Launches


def _two(lengths: Any, filled: int = 1) -> tuple[int, ...]:
    """One for each of two axes."""
    return (filled, *lengths)[-2:]


def _numbers(*values: int) -> tuple[Any, ...]:
    return tuple(map(numpy.int32, values))


def _given(gpu: Gpu, out: Any, shape: Lengths, like: Any) -> Any:
    return gpu.xp.empty(shape, like.dtype) if out is None else out


def _each(gpu: Gpu, source: Path, name: str, arrays: Any, out: Any, numbers: Any) -> Any:
    """One thread for each element of `out`."""
    return _launch(gpu, source, name, (-(-out.size // THREADS),), arrays, out, numbers)


def _launch(
    gpu: Gpu, source: Path, name: str, grid: Any, arrays: Any, out: Any, numbers: Any, block: Any = (THREADS,)
) -> Any:
    """Launch it; arrays of other layouts are copied first. Returns out."""
    arrays = [None if x is None else gpu.xp.ascontiguousarray(x) for x in arrays]
    gpu.launch(source, name, grid, block, *arrays, out, *numbers, contracted=source is not POOLING, REAL=out.dtype)
    return out
