"""Products of matrices by the BLAS that NumPy brings, called by its address: without Python, on the caller's thread."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
from pathlib import Path
from typing import Any

import numpy

from ..engine import forked

SYMBOLS = {"float32": "scipy_cblas_sgemm64_", "float64": "scipy_cblas_dgemm64_"}
"""cblas's product of matrices with 64-bit sizes, as NumPy's wheels name it."""
VARIABLES = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
"""By which a user says on how many threads a BLAS computes."""
THREADS = "scipy_openblas_{}_num_threads64_"
_lock = forked.lock()
users = [0, 0]
"""How many ask for one thread at present, and how many threads there were before."""


def given_threads() -> dict[str, str]:
    """Those of the variables that are set."""
    return {name: os.environ[name] for name in VARIABLES if os.environ.get(name)}


@functools.cache
def library() -> Any:
    """NumPy's own OpenBLAS; None where it has another (conda, Debian, macOS' Accelerate), or a sign is missing."""
    here = Path(numpy.__file__).parent
    places = here.parent / "numpy.libs", here / ".dylibs"
    for path in sorted(file for place in places if place.is_dir() for file in place.glob("*openblas64_*")):
        with contextlib.suppress(OSError):
            found = ctypes.CDLL(str(path))
            names = (*SYMBOLS.values(), THREADS.format("get"), THREADS.format("set"))
            if all(hasattr(found, name) for name in names):
                return found
    return None


def address(dtype: Any) -> int:
    """Where the product of that dtype begins."""
    return ctypes.cast(getattr(library(), SYMBOLS[numpy.dtype(dtype).name]), ctypes.c_void_p).value or 0


class _OneThread:
    """A generator would take as long as the product of one sample."""

    def __enter__(self) -> int:
        with _lock:
            users[0] += 1
            if users[0] == 1:
                users[1] = _threads()[0]()
                if users[1] != 1:
                    _threads()[1](1)
            return users[1]

    def __exit__(self, *error: object) -> None:
        with _lock:
            users[0] -= 1
            if not users[0] and users[1] != 1:
                _threads()[1](users[1])


_alone = _OneThread()


def one_thread() -> contextlib.AbstractContextManager[int]:
    """With products on the calling thread alone; what was set before comes back when the last that asked has left.

    Gives how many threads there were before.
    """
    return _alone


def threads() -> int:
    """On how many threads products run."""
    return int(_threads()[0]())


def set_threads(count: int) -> None:
    """Let products run on so many threads from now on."""
    _threads()[1](count)


@functools.cache
def _threads() -> tuple[Any, Any]:
    """What tells how many threads it has, and what sets that."""
    return getattr(library(), THREADS.format("get")), getattr(library(), THREADS.format("set"))


@forked.in_child
def _as_if_alone() -> None:
    """In a forked child: nobody asks any longer; who forks is in no call itself."""
    if users[0]:
        _threads()[1](users[1])
        users[0] = 0
