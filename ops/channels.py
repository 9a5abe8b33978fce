"""Launching the kernels of normalisation.cu: what is summed for each channel of (…, channels)."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy

from ..engine.cuda.launch import COUNTERS, Gpu
from ..engine.cuda.sources import source

SOURCE = source(Path(__file__).with_name("normalisation.cu"))
THREADS = 256
"""As in the source."""
BLOCKS, LEAST = 4, 8
"""Blocks on a multiprocessor at once, and 16 bytes that each thread reads, so that a part is worth a block."""


def suits(x: Any, *others: Any) -> bool:
    """Whether arrays (…, channels), and others of one number a channel, are for these kernels."""
    alike = x.dtype.name in ("float32", "float64") and all(other.dtype == x.dtype for other in others)
    return bool(alike and x.ndim and 0 < x.size < 1 << 31 and x.shape[-1] <= COUNTERS * THREADS)


def sums(gpu: Gpu, x: Any, out: Any = None) -> Any:
    """(channels,): the sum of each channel."""
    return _over_rows(gpu, "channel_sums", (x,), gpu.xp.empty(x.shape[-1], x.dtype) if out is None else out)


def moments(gpu: Gpu, x: Any, *, out: Any = None) -> Any:
    """(2, channels): the mean of each channel, and the mean squared distance from it."""
    return _over_rows(gpu, "channel_moments", (x,), out)


def slopes(gpu: Gpu, g: Any, x: Any, mean: Any, *, out: Any = None) -> Any:
    """(2, channels): the sum of each channel of g, and that of g times the distance of x from its channel's mean."""
    return _over_rows(gpu, "channel_slopes", (g, x, mean), out)


def _over_rows(gpu: Gpu, name: str, arrays: Any, out: Any) -> Any:
    x, xp = arrays[0], gpu.xp
    channels = x.shape[-1]
    out = xp.empty((2, channels), x.dtype) if out is None else out
    groups = -(-channels // THREADS)
    split = max(1, min(BLOCKS * gpu.multiprocessors // groups, x.size * x.itemsize // (16 * THREADS * LEAST)))
    parts = (xp.empty(split * out.size, x.dtype), gpu.arrived) if split > 1 else (None, None)
    numbers = numpy.int32(math.prod(x.shape[:-1])), numpy.int32(channels)
    given = map(xp.ascontiguousarray, arrays)
    gpu.launch(SOURCE, name, (groups, split), (THREADS,), *given, out, *parts, *numbers, REAL=x.dtype)
    return out
