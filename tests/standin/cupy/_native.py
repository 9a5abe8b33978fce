"""What is computed in C: the sources beside this package, built by gcc on demand; what was built before is kept."""

from __future__ import annotations

import ctypes
import hashlib
import os
import subprocess
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy

from ._kinds import names

FLAGS = ("-std=gnu2x", "-O2", "-ffp-contract=off", "-fno-builtin", "-fPIC", "-shared")
NAMES = {
    "arcsin": "asin", "arccos": "acos", "arctan": "atan", "arcsinh": "asinh", "arccosh": "acosh", "arctanh": "atanh",
    "power": "pow",
}  # fmt: skip
COMPUTED = names(
    "exp exp2 expm1 log log1p log2 log10 sin cos tan sinh cosh tanh arcsin arccos arctan arcsinh arccosh arctanh power"
)
"""The functions that are computed in C for floats."""


@cache
def built(name: str) -> Any:
    """The library made of a C source."""
    source = Path(__file__).parents[1] / name
    key = hashlib.sha256(source.read_bytes() + repr(FLAGS).encode()).hexdigest()[:32]
    folder = Path(tempfile.gettempdir()) / f"chalkgrad-standin-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.getuid():
        raise PermissionError(f"{folder} is another user's")
    path = folder / f"{source.stem}-{key}.so"
    if not path.exists():
        with tempfile.TemporaryDirectory(dir=folder) as place:
            made = Path(place) / "built.so"
            subprocess.run(["gcc", *FLAGS, str(source), "-lm", "-o", str(made)], check=True)
            made.rename(path)
    return ctypes.CDLL(str(path))


def function(name: str, otherwise: Callable[..., Any]) -> Callable[..., Any]:
    """A ufunc of NumPy's by the C library, where it computes with floats; else as it is."""
    if name not in COMPUTED:
        return otherwise

    def compute(*inputs: Any, dtype: Any = None, **options: Any) -> Any:
        if dtype is None or dtype.kind != "f" or options:
            return otherwise(*inputs, **options)
        own = numpy.dtype("float32") if dtype.itemsize < 8 else dtype
        arrays = numpy.broadcast_arrays(*[numpy.asarray(x, own) for x in inputs])
        arrays = [numpy.ascontiguousarray(x).reshape(x.shape) for x in arrays]
        out = numpy.empty(arrays[0].shape, own)
        pointers = [ctypes.c_void_p(x.ctypes.data) for x in (*arrays, out)]
        kernel = getattr(built("functions.c"), f"{NAMES.get(name, name)}_{own.char}")
        kernel(ctypes.c_longlong(out.size), *pointers)
        return out.astype(dtype, copy=False)

    return compute


def product(a: Any, b: Any, out: Any = None) -> Any:
    """The product of two matrices of float32 or float64, as cublas.c sums it; None for others."""
    if not (a.ndim == b.ndim == 2 and a.dtype == b.dtype and a.dtype.char in "fd" and a.shape[1] == b.shape[0]):
        return None
    double = a.dtype.char == "d"
    library, handle = built("cublas.c"), _handle()
    kind = ctypes.c_double if double else ctypes.c_float
    a, b = numpy.ascontiguousarray(a), numpy.ascontiguousarray(b)
    (m, k), n = a.shape, b.shape[1]
    made = numpy.zeros((m, n), a.dtype)
    function = library.cublasDgemm_v2 if double else library.cublasSgemm_v2
    one, zero = kind(1), kind(0)
    pointers = [ctypes.c_void_p(x.ctypes.data) for x in (b, a, made)]
    function(
        handle, 0, 0, n, m, k, ctypes.byref(one), pointers[0], max(n, 1), pointers[1], max(k, 1), ctypes.byref(zero),
        pointers[2], max(n, 1),
    )  # fmt: skip
    if out is None:
        return made
    out[...] = made
    return out


@cache
def _handle() -> ctypes.c_void_p:
    handle = ctypes.c_void_p()
    built("cublas.c").cublasCreate_v2(ctypes.byref(handle))
    return handle
