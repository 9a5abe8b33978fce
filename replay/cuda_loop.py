"""Neighbouring elementwise calls as one CUDA kernel, written from the recorded calls.

Each value is computed in the dtype that the array library gives it, and no product is contracted with a sum, so a loop
gives what the calls give one by one. That is said of each product (__fmul_rn) rather than of the whole (--fmad=false):
log, pow, acos and others of float64 are then the instructions that they are in CuPy's own kernels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy

from ..engine import backend, cuda
from ..engine.cuda.launch import gpu_of
from ..engine.cuda.sources import TYPES
from .calls import CALLS, UNKNOWN
from .fuse import Loop

THREADS = 256
PRODUCTS = {"multiply": "times<{T}>({}, {})", "square": "times<{T}>({0}, {0})"}
BITS, BITS16 = ("bfloat16_bits", "float16_bits"), Path(cuda.__file__).with_name("bits16.cu")
"""Calls that give a factor of 16 bits, and where they are in CUDA C."""
TIMES = """template <typename T> __device__ __forceinline__ T times(T x, T y) { return T(x * y); }
template <> __device__ __forceinline__ float times(float x, float y) { return __fmul_rn(x, y); }
template <> __device__ __forceinline__ double times(double x, double y) { return __dmul_rn(x, y); }
"""


class CudaLoop(Loop):
    """Elementwise calls over one shape: operands are numbers, or arrays of any strides that broadcast to it."""

    least = 1

    def _kind(self, x: Any) -> str | None:
        if x.__class__ in (bool, int, float):
            return "number"
        if not hasattr(x, "strides") or isinstance(x, (numpy.ndarray, numpy.generic)) or x.dtype.name not in TYPES:
            return None
        if x.shape == self.shape and x.flags.c_contiguous:
            return "full"
        steps = _steps(x, self.shape)
        if steps is None:
            return None
        return "one" if not any(steps) else " ".join(map(str, steps))

    def _expression(self, name: str, arguments: Sequence[Any], out: Any) -> str | None:
        if not out.flags.c_contiguous or out.dtype.name not in TYPES:
            return None
        weak = [x if x.__class__ in (bool, int, float) else x.dtype for x in arguments]
        dtypes = {x for x in weak if isinstance(x, numpy.dtype)}
        row, cast = CALLS.get(name, UNKNOWN), _cast(out.dtype)
        if name == "where" and len(arguments) == 3 and getattr(arguments[0], "dtype", out.dtype).kind == "b":
            return f"{{}} ? {cast} : {cast}"
        if name in BITS:
            return f"{name}({{}})" if weak == [numpy.dtype("float32")] else None
        if name == "copy":
            return "{} != 0" if out.dtype == bool else cast
        if not row.c or not dtypes or (row.floats and out.dtype.kind != "f"):
            return None
        if row.computes_in == "result":
            return None if out.dtype == bool else _with_casts(PRODUCTS.get(name, row.c), len(arguments), out.dtype)
        if out.dtype != bool:
            return None
        if row.computes_in == "operands":
            return _with_casts(row.c, len(arguments), numpy.result_type(*weak))
        return row.c if dtypes == {numpy.dtype(bool)} else None

    def _line(self, target: str, text: str, out: Any) -> str:
        return f"const {TYPES[out.dtype.name]} {target} = {text};"

    def _name(self, x: Any, kind: str | None) -> str:
        if kind == "number":
            return number_text(x)
        address = backend.address_of(x)
        if kind == "full" and address in self.values:
            return self.values[address]
        return self.loads.setdefault((address, str(kind)), (f"a{len(self.loads)}", x, str(kind)))[0] + "_"

    def finish(self, needed: Callable[[int], bool]) -> tuple[Callable[..., None], list[Any]]:
        """The launch, and the arrays to call it with. needed: whether what lies at an address is read later."""
        stores = [(address, array) for address, array in self.stores.items() if needed(address)]
        parameters, arrays, reads = [], [], []
        for name, array, kind in self.loads.values():
            parameters.append(f"const {TYPES[array.dtype.name]}* {name}")
            arrays.append(array)
            reads.append(f"const {TYPES[array.dtype.name]} {name}_ = {name}[{_place(kind, self.shape)}];")
        writes = []
        for n, (address, array) in enumerate(stores):
            parameters.append(f"{TYPES[array.dtype.name]}* o{n}")
            arrays.append(array)
            writes.append(f"o{n}[i] = {self.values[address]};")
        size = int(numpy.prod(self.shape, dtype="int64"))
        used = " ".join((*self.lines, *writes))
        reads = [line for line, (name, _, _) in zip(reads, self.loads.values(), strict=True) if f"{name}_" in used]
        body = "\n        ".join((*reads, *self.lines, *writes))
        before = (TIMES if "times<" in body else "") + (BITS16.read_text("utf-8") if "16_bits(" in body else "")
        source = f"""{before}#define INFINITE (1.0 / 0.0)
#define NOT_A_NUMBER (INFINITE - INFINITE)
extern "C" __global__ void loop({", ".join(parameters)}) {{
    const long long step = (long long)gridDim.x * blockDim.x;
    for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < {size}LL; i += step) {{
        {body}
    }}
}}
"""
        return Launch(source, size, arrays), arrays


class Launch:
    """A loop, compiled for the device of the arrays that it is called with, which begins at once."""

    __name__ = "loop"

    def __init__(self, source: str, size: int, arrays: Sequence[Any]) -> None:
        self.source = source
        self.blocks = max(1, min(-(-size // THREADS), 4096))
        self.empty = not size
        if arrays and size:
            gpu_of(arrays[0]).prepare(source)

    def __call__(self, *arrays: Any) -> None:
        if not self.empty:
            gpu_of(arrays[0]).launch(self.source, "loop", (self.blocks,), (THREADS,), *arrays)


def _steps(x: Any, shape: tuple[int, ...]) -> list[int] | None:
    """The elements of x from one place to the next along each axis of `shape`; None where it does not broadcast."""
    extra = len(shape) - x.ndim
    if extra < 0 or any(n not in (1, m) for n, m in zip(x.shape, shape[extra:], strict=True)):
        return None
    if any(stride % x.itemsize for stride in x.strides):
        return None
    own = [0 if n == 1 else stride // x.itemsize for n, stride in zip(x.shape, x.strides, strict=True)]
    return [0] * extra + own


def _place(kind: str, shape: tuple[int, ...]) -> str:
    """The index of an operand's element, from the number i of the result's."""
    if kind in ("full", "one"):
        return "i" if kind == "full" else "0"
    terms, inner = [], 1
    for axis in reversed(range(len(shape))):
        step = int(kind.split()[axis])
        if step:
            place = "i" if inner == 1 else f"i / {inner}"
            terms.append(f"({place}{f' % {shape[axis]}' if axis else ''}) * {step}")
        inner *= shape[axis]
    return " + ".join(terms)


def _cast(dtype: Any) -> str:
    return f"({TYPES[dtype.name]})({{}})"


def _with_casts(template: str, count: int, dtype: Any) -> str:
    suffix = "" if dtype == "float64" else "f"
    return template.format(*[f"({TYPES[dtype.name]})({{{n}}})" for n in range(count)], f=suffix, T=TYPES[dtype.name])


def number_text(x: Any) -> str:
    """A plain number in CUDA C."""
    if x.__class__ is not float:
        return str(int(x)) + ("LL" if abs(x) > 1 << 30 else "")
    if x != x:
        return "NOT_A_NUMBER"
    return repr(x) if abs(x) != float("inf") else f"({'-' if x < 0 else ''}INFINITE)"
