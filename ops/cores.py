"""Convolution and pooling on the cores of a CPU: some samples after the other, each by whichever core is free.

What is gathered of them is still in a core's cache when it is used.

With the array code, or where Numba is installed and a recorded step is compiled, by `window_loops`: to the same bits.
"""

from __future__ import annotations

import math
import threading
import warnings
from collections.abc import Callable
from typing import Any

import numpy

from ..engine.capturing import capturing
from ..engine.primitive import Primitive
from ..replay import blas, fuse, team
from ..replay.program import Program
from ..replay.trace import Trace
from . import columns
from .windows import Lengths, Padding, output_lengths

PART = 200_000
"""Elements of columns, or of maps, that a part has at most, about."""
LEAST = 1 << 17
"""Elements of all, from which on parts are worth it."""

MOST = 256
"""Programs that a thread keeps."""
_known = threading.local()

Extent = Callable[..., int]
"""By operands and parameters the elements that are gone through; 0 for what does not suit."""


def parts(samples: int, elements: int) -> tuple[int, int]:
    """How many parts there are, and samples in each, by the elements of all: from shapes alone."""
    count = 2
    while count < samples and elements > PART * count:
        count *= 2
    each = -(-samples // count)
    return -(-samples // each), each


def by_samples(
    primitive: Primitive, extent: Extent, batched: int = 1, fast: Any = None, *, adds: bool = False, code: Any = None
) -> None:
    """Have a primitive computed so. batched: how many operands have samples. fast: the compiled function. adds: what
    the parts give is added up, in their order. code: the array code, where that can write into `out`, which it returns.
    """

    def compute(*operands: Any, out: Any = None, **parameters: Any) -> Any:
        count, each = parts(len(operands[0]), extent(*operands, **parameters))
        found = [None] * count

        def part(n: int) -> None:
            block = slice(n * each, (n + 1) * each)
            given = [x[block] if i < batched else x for i, x in enumerate(operands)]
            onto = None if out is None or adds else out[block]
            found[n] = _computed(primitive.kernel, code, given, parameters, onto)

        if out is None and not adds:  # the first tells what they give
            part(0)
            first: Any = found[0]
            out = numpy.empty((len(operands[0]), *first.shape[1:]), first.dtype)
            out[:each] = first
            team.each(lambda n: part(n + 1), count - 1)
            return out
        team.each(part, count)
        return _added(found, out) if adds else out

    def suits(*operands: Any, **parameters: Any) -> bool:
        return len(operands[0]) > 1 and extent(*operands, **parameters) >= LEAST

    def compiled() -> Any:
        if fast is None or not fuse.available() or blas.library() is None:
            return None

        def function(*operands: Any, out: Any = None, **parameters: Any) -> Any:
            made = None
            try:
                made = fast(extent(*operands, **parameters), *operands, out=out, **parameters)
            except Exception as error:  # what Numba kept may be damaged, or the disk full
                reason = f"{type(error).__name__}: {error}"
                warnings.warn(f"{primitive.name} is not compiled, and takes longer: {reason}", stacklevel=2)
            return compute(*operands, out=out, **parameters) if made is None else made

        return function

    primitive.cpu(suits=suits, fast=compiled)(compute)


def _added(found: Any, out: Any) -> Any:
    """The sum of the parts, in their order; the first is written to."""
    total, *others = found
    for part in others:
        total += part
    if out is None:
        return total
    out[...] = total
    return out


def _computed(kernel: Any, code: Any, operands: Any, parameters: Any, out: Any) -> Any:
    """What the array code gives, into `out` where that is there. From the second time on it is replayed, in memory that
    the thread has for all such.
    """
    arrays = operands if out is None else [*operands, out]
    key = (kernel, *[(x.shape, x.strides, x.dtype) for x in arrays], *parameters.items())
    known = _known.__dict__.setdefault("programs", {})
    program = known.get(key)
    if program:
        made = program(*arrays)
        return made[0] if made else out

    def compute(xp: Any, *given: Any) -> Any:
        if out is None:
            return (code or kernel)(xp, *given, **parameters)
        *given, onto = given  # type: ignore[assignment]
        made = kernel(xp, *given, **parameters) if code is None else code(xp, *given, **parameters, out=onto)
        if made is not onto:
            onto[...] = made
        return onto

    if program is None or capturing():
        known[key] = False
        return compute(numpy, *arrays)
    with Trace() as trace:
        given = [trace.input(x) for x in arrays]
        made = compute(trace.library_of(arrays[0]), *given)
    while len(known) > MOST:
        known.pop(next(iter(known)))
    returned = [made.variable] if out is None else []
    known[key] = program = Program(trace, [x.variable for x in given], returned, team.room)
    return trace.plain(made)


# Elements


def of_convolution(x: Any, w: Any, *b: Any, stride: Any, padding: Any, dilation: Any, groups: int) -> int:
    """Elements of the columns."""
    count = output_lengths(x.shape[1:-1], w.shape[:-2], stride, padding, dilation)
    return int(len(x) * math.prod(count) * math.prod(w.shape[:-1]) * groups)


def of_kernel(x: Any, y: Any, *, size: Any, **parameters: Any) -> int:
    """Elements of the columns."""
    return int(math.prod(y.shape[:-1]) * math.prod(size) * x.shape[-1])


def of_transposed(x: Any, w: Any, *b: Any, groups: int, **parameters: Any) -> int:
    """Elements of the columns."""
    return int(math.prod(x.shape[:-1]) * math.prod(w.shape[:-1]) * groups)


def of_maps(*operands: Any, **parameters: Any) -> int:
    """Elements of the larger maps."""
    return int(max(x.size for x in operands))


# Compiled


def _loops(*arrays: Any) -> Any:
    """The compiled functions; None where they do not take such arrays: of one floating dtype, in one piece."""
    from . import window_loops

    dtype = arrays[0].dtype
    plain = dtype.name in blas.SYMBOLS and all(x.dtype == dtype and x.flags.c_contiguous for x in arrays)
    return window_loops if plain else None


def _made(out: Any, shape: Lengths, like: Any) -> Any:
    return numpy.empty(shape, like.dtype) if out is None else out


def _two(lengths: Any, filled: int) -> tuple[int, int]:
    """One for each of two axes."""
    first, last = (filled, *lengths)[-2:]
    return first, last


def _map(x: Any) -> Any:
    return x if x.ndim == 4 else x[:, None]


def _steps(stride: Lengths, padding: Padding, dilation: Lengths) -> Any:
    return _two(stride, 1), _two([before for before, _ in padding], 0), _two(dilation, 1)


def convolution(elements, x, w, b=None, *, out=None, stride, padding, dilation, groups):
    """Convolution, with the bias b or without."""
    operands, (*size, channels, filters) = (x, w) if b is None else (x, w, b), w.shape
    y = _made(out, (len(x), *output_lengths(x.shape[1:-1], size, stride, padding, dilation), filters), x)
    loops = _loops(y, *operands)
    inside = math.prod(size) * channels
    if groups > 1 or min(inside, filters, math.prod(y.shape[1:-1])) == 1 or not loops:  # NumPy has no product there
        return None
    count, each = parts(len(x), elements)
    team.each_compiled(
        loops.convolution, count, elements // len(x) * each * x.itemsize, each, _map(x), w.reshape(-1, filters),
        numpy.empty(0, x.dtype) if b is None else b, _two(size, 1), _steps(stride, padding, dilation),
        columns.turned(channels, size, dilation), _map(y),
    )  # fmt: skip
    return y


def kernel_correlation(elements, x, y, *, out=None, size, stride, padding, dilation, groups):
    """The adjoint in the kernel."""
    channels, filters = x.shape[-1], y.shape[-1]
    inside, loops = math.prod(size) * channels, _loops(x, y)
    if groups > 1 or min(inside, filters, math.prod(y.shape[1:-1])) == 1 or not loops:
        return None
    count, each = parts(len(x), elements)
    sums = numpy.empty((count, inside, filters), x.dtype)
    team.each_compiled(
        loops.kernel_correlation, count, elements // len(x) * each * x.itemsize, each, _map(x), _map(y),
        _two(size, 1), _steps(stride, padding, dilation), columns.turned(channels, size, dilation), sums,
    )  # fmt: skip
    return _added(sums.reshape(count, *size, channels, filters), out)


def transposed_convolution(elements, x, w, b=None, *, out=None, stride, padding, dilation, groups, lengths):
    """The adjoint in the input, with a bias or without."""
    operands, (*size, channels, filters) = (x, w) if b is None else (x, w, b), w.shape
    y = _made(out, (len(x), *lengths, channels), x)
    loops = _loops(y, *operands)
    if groups > 1 or min(math.prod(size) * channels, filters, math.prod(x.shape[1:-1])) == 1 or not loops:
        return None
    count, each = parts(len(x), elements)
    team.each_compiled(
        loops.transposed_convolution, count, elements // len(x) * each * x.itemsize, each, _map(x),
        w.reshape(-1, filters), numpy.empty(0, x.dtype) if b is None else b, _two(size, 1),
        _steps(stride, padding, dilation), _map(y),
    )  # fmt: skip
    return y


def max_pool(elements, x, *, out=None, size, stride, padding, relu=False):
    """The greatest of each window; relu: but 0 where that is below it."""
    y = _made(out, (len(x), *output_lengths(x.shape[1:-1], size, stride, padding, (1,) * len(size)), x.shape[-1]), x)
    loops = _loops(x, y)
    if any(map(any, padding)) or not loops:
        return None
    count, each = parts(len(x), elements)
    team.each_compiled(loops.max_pool, count, 0, each, _map(x), _two(size, 1), _two(stride, 1), relu, _map(y))
    return y


def max_unpool(elements, g, x, y, *, out=None, size, stride, padding, relu=False):
    """Each window's g handed to the elements of x that equal its y, in equal shares; relu: of those with y > 0."""
    out = _made(out, x.shape, x)
    loops = _loops(g, x, y, out)
    overlap = any(s < k for s, k in zip(stride, size, strict=True))
    if overlap or any(map(any, padding)) or not loops:
        return None
    count, each = parts(len(x), elements)
    team.each_compiled(
        loops.max_unpool, count, 0, each, _map(g), _map(x), _map(y), _two(size, 1), _two(stride, 1), relu, _map(out)
    )
    return out
