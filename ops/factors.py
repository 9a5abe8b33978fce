"""Products of float32 factors that are rounded to fewer bits first; sums and results stay float32.

On a GPU a factor of 16 bits is an array of its own (its dtype is uint16, since CuPy has no bfloat16), which a recorded
step makes once for each operand, and which cuBLAS is told to take as what it is. TF32 its units make of float32
themselves. Elsewhere a factor is float32 with the other bits 0: the same number.
"""

from __future__ import annotations

import math
from typing import Any

import numpy

from ..engine import backend
from ..engine.capturing import capturing
from ..engine.cuda.cublas import laid
from ..engine.cuda.launch import CudaKernel, Gpu, gpu_of
from ..engine.kernels import OwnKernel, chosen
from ..engine.tensor import Tensor
from .products import BITS16, sums

PRECISIONS = ("float32", "tf32", "float16", "bfloat16")
"""What factors of float32 may be rounded to before they are multiplied."""
DROPPED = {"tf32": 13, "bfloat16": 16}
"""Bits of float32's significand that are rounded away."""
THREADS, BLOCKS = 256, 4096
HEAD = {"tf32": 1, "float16": 2, "bfloat16": 2}
"""Rows before those of what passes, in which its sums lie as float32."""


def factors(xp: Any, a: Any, b: Any, precision: str) -> tuple[Any, Any]:
    """Two arrays as `multiplied` takes them; those that are not both float32 stay as they are."""
    if precision == "float32" or not (a.dtype == b.dtype == "float32"):
        return a, b
    return factor(xp, a, precision), factor(xp, b, precision)


def factor(xp: Any, x: Any, precision: str) -> Any:
    """One of float32 as `multiplied` takes it."""
    if x.__class__ is Tensor:
        return _split(xp, x, precision)
    return x if precision == "tf32" and _on_card(x) else ROUNDED[precision](xp, x)


def multiplied(xp: Any, a: Any, b: Any, precision: str) -> Any:
    """a b of a (…, k) and a matrix b (k, n), of `factors`."""
    if precision == "float32" or a.__class__ is Tensor:
        return rows_by_matrix(xp, a, b)
    return _multiplied(xp, a, b, precision=precision)


def what_passes(xp: Any, gy: Any, y: Any, other: Any, precision: str) -> tuple[Any, Any] | None:
    """gy where y > 0 as a factor, row by row, and its sums over the rows, in one launch; None where there is none.

    other: what it will be multiplied with.
    """
    known = precision != "float32" and gy.__class__ is not Tensor and gy.dtype == y.dtype == other.dtype == "float32"
    trace = capturing()
    if not (known and gy.size and _on_card(gy)) or (trace and not trace.kernels):
        return None
    packed = PASSED[precision](xp, gy, y)
    head, rows = packed[: HEAD[precision]], packed[HEAD[precision] :]
    totals = trace.call("floats_in", _floats, (head,)) if trace else _floats(head)
    return rows, totals.copy()


def rows_by_matrix(xp: Any, a: Any, b: Any, **_: Any) -> Any:
    """The product; of one matrix with many a single one, of all rows at once, since that takes less time."""
    if len(b.shape) != 2 or len(a.shape) < 3:
        return xp.matmul(a, b)
    rows = xp.reshape(a, (math.prod(a.shape[:-1]), a.shape[-1]))
    return xp.reshape(xp.matmul(rows, b), (*a.shape[:-1], b.shape[-1]))


def _on_card(x: Any) -> bool:
    """Whether it lies on a GPU for which there is cuBLAS."""
    trace = capturing()
    x = trace.plain(x) if trace else x
    return backend.device_of(x) != "cpu" and gpu_of(x).blas is not None


# On a GPU


def _bits(precision: str) -> CudaKernel:
    def launch(gpu: Gpu, x: Any, out: Any = None) -> Any:
        x = gpu.xp.ascontiguousarray(x).reshape(x.shape)
        out = gpu.xp.empty(x.shape, "uint16") if out is None else out
        if x.size:
            blocks = min(-(-x.size // THREADS), BLOCKS)
            gpu.launch(BITS16, f"to_{precision}", (blocks,), (THREADS,), x, out, numpy.int64(x.size))
        return out

    return CudaKernel(f"{precision}_bits", launch, _on_card)


def _passed(precision: str) -> Any:
    kind = precision if HEAD[precision] == 2 else ""

    def launch(gpu: Gpu, gy: Any, y: Any, out: Any = None) -> Any:
        gy, y = (x.reshape(-1, x.shape[-1]) for x in (gy, y))
        head = HEAD[precision]
        if out is None:
            out = gpu.xp.empty((head + len(gy), gy.shape[1]), "uint16" if kind else "float32")
        sums(gpu, gy, _floats(out[:head]), y, out[head:], kind)
        return out

    return chosen(CudaKernel(f"passed_as_{precision}", launch, lambda gy, y: True), lambda xp, gy, y: None)


def _floats(head: Any) -> Any:
    return head.reshape(-1).view("float32")


def _product(gpu: Gpu, a: Any, b: Any, *, precision: str, out: Any = None) -> Any:
    out = gpu.xp.empty((*a.shape[:-1], b.shape[1]), "float32") if out is None else out
    rows = a.reshape(-1, a.shape[-1]) if a.ndim != 2 else a
    rows, b = (x if laid(x) is not None else gpu.xp.ascontiguousarray(x) for x in (rows, b))
    assert gpu.blas is not None
    gpu.blas.product(rows, b, out.reshape(len(rows), b.shape[1]), precision)
    return out


def _suits(a: Any, b: Any, precision: str) -> bool:
    return bool(a.dtype == b.dtype and a.dtype in ("uint16", "float32") and _on_card(a))


# Elsewhere


def _on_host(precision: str) -> OwnKernel:
    def rounded(x: Any, out: Any = None) -> Any:
        out = numpy.empty(x.shape, x.dtype) if out is None else out
        if precision == "float16":
            with numpy.errstate(over="ignore"):  # beyond its range: infinite
                out[...] = x.astype("float16")
            return out
        bits, dropped = numpy.ascontiguousarray(x).view("uint32"), numpy.uint32(DROPPED[precision])
        near = bits + ((bits >> dropped) & 1) + numpy.uint32((1 << int(dropped) - 1) - 1)
        near = numpy.where(numpy.isnan(x), bits, (near >> dropped) << dropped)
        out[...] = near.view("float32").reshape(x.shape)
        return out

    return OwnKernel(f"rounded_to_{precision}", rounded, lambda x: True)


def _split(xp: Any, x: Any, precision: str) -> Any:
    """As array code: the high part of Veltkamp's splitting (Dekker 1971), or by way of float16."""
    if precision == "float16":
        return x.astype("float16").astype(x.dtype)
    moved = x * (2.0 ** DROPPED[precision] + 1)
    return moved - (moved - x)


def _rounding(precision: str) -> Any:
    def split(xp: Any, x: Any) -> Any:
        return _split(xp, x, precision)

    return chosen(None if precision == "tf32" else _bits(precision), split, _on_host(precision))


ROUNDED = {precision: _rounding(precision) for precision in PRECISIONS[1:]}
PASSED = {precision: _passed(precision) for precision in HEAD}
_multiplied = chosen(CudaKernel("product_of_factors", _product, _suits), rows_by_matrix)
