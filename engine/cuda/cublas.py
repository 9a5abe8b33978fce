"""Matrix products by cuBLAS on a handle of our own: CuPy's refuses to be captured into a CUDA graph.

The prototypes are those of the cuBLAS documentation (NVIDIA, cuBLAS library, section 2.8, cublasGemmEx).
"""

from __future__ import annotations

import ctypes
from typing import Any

from ...errors import DeviceError

DATA_TYPES = {"float32": 0, "float64": 1, "float16": 2, "bfloat16": 14}
"""cudaDataType_t."""
COMPUTE, DOUBLE, TF32 = 68, 70, 77
"""cublasComputeType_t: in float32, in float64, and in float32 of operands that are rounded to TF32 first. Those
that name 16 bits are not taken: they are leave to round operands of float32 so far, of which an H200 made TF32.
"""
WORKSPACE = 32 << 20
"""Bytes that cuBLAS may work in, as it asks for on Hopper; given beforehand, so that it allocates nothing itself."""
INT, POINTER = ctypes.c_int, ctypes.c_void_p


class Blas:
    """cuBLAS on one device."""

    def __init__(self, library: Any, xp: Any) -> None:
        self.xp, self._handle, self._stream = xp, POINTER(), -1
        self._create, self._set_stream = library.cublasCreate_v2, library.cublasSetStream_v2
        self._create.argtypes, self._set_stream.argtypes = [ctypes.POINTER(POINTER)], [POINTER, POINTER]
        self._set_workspace, self._gemm = library.cublasSetWorkspace_v2, library.cublasGemmEx
        self._set_workspace.argtypes = [POINTER, POINTER, ctypes.c_size_t]
        self._gemm.argtypes = [
            POINTER, INT, INT, INT, INT, INT, POINTER, POINTER, INT, INT, POINTER, INT, INT, POINTER, POINTER, INT, INT,
            INT, INT,
        ]  # fmt: skip
        self._check(self._create(ctypes.byref(self._handle)), "cublasCreate")
        self._workspace = xp.empty(WORKSPACE, "uint8")
        self._numbers = {
            COMPUTE: (ctypes.c_float(1), ctypes.c_float(0)),
            DOUBLE: (ctypes.c_double(1), ctypes.c_double(0)),
        }

    def _check(self, status: int, what: str) -> None:
        if status:
            raise DeviceError(f"{what} failed with status {status} (see cublasStatus_t in the cuBLAS documentation).")

    def product(self, a: Any, b: Any, out: Any, precision: str | None = None) -> Any:
        """out ← a b for matrices of one dtype; out is row-major, a and b are it too, or transposed. Returns out.

        precision: "tf32" rounds operands of float32 before they are multiplied. Operands of uint16 hold the bits of
        "float16" or "bfloat16", and out is float32.
        """
        stream = self.xp.cuda.get_current_stream().ptr
        if stream != self._stream:  # which takes the workspace away, too
            self._check(self._set_stream(self._handle, stream), "cublasSetStream")
            self._check(self._set_workspace(self._handle, self._workspace.data.ptr, WORKSPACE), "cublasSetWorkspace")
            self._stream = stream
        (m, k), n = a.shape, b.shape[1]
        if not (m and n and k):
            out[...] = 0
            return out
        name = str(precision) if a.dtype.name == "uint16" else a.dtype.name
        kind, to = DATA_TYPES[name], DATA_TYPES[out.dtype.name]
        compute = DOUBLE if name == "float64" else TF32 if (name, precision) == ("float32", "tf32") else COMPUTE
        one, zero = self._numbers[DOUBLE if compute == DOUBLE else COMPUTE]
        (turned_a, step_a), (turned_b, step_b) = laid(a), laid(b)
        status = self._gemm(  # column by column, so it computes outᵀ = bᵀ aᵀ
            self._handle, turned_b, turned_a, n, m, k, ctypes.addressof(one), b.data.ptr, kind, step_b,
            a.data.ptr, kind, step_a, ctypes.addressof(zero), out.data.ptr, to, n, compute, -1,
        )  # fmt: skip
        self._check(status, f"cublasGemmEx of {a.shape} and {b.shape}")
        return out


def takes(a: Any, b: Any) -> bool:
    """Whether cuBLAS multiplies such arrays: matrices of one of its dtypes, with rows or columns side by side."""
    alike = a.ndim == b.ndim == 2 and a.dtype == b.dtype and a.dtype.name in DATA_TYPES
    return bool(alike and laid(a) is not None and laid(b) is not None)


def laid(x: Any) -> Any:
    """Whether cuBLAS is to transpose it (1) or not (0), and the elements from one row or column to the next."""
    rows, columns = x.shape
    row, column = (stride // x.itemsize for stride in x.strides)
    if (column == 1 or columns == 1) and (row >= columns or rows == 1):
        return 0, max(row if rows > 1 else columns, columns, 1)
    if (row == 1 or rows == 1) and (column >= rows or columns == 1):
        return 1, max(column if columns > 1 else rows, rows, 1)
    return None
