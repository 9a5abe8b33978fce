"""cuBLAS by ctypes: a library as `ctypes.CDLL("libcublas.so")` gives it, whose calls are recorded under capture."""

from __future__ import annotations

import ctypes
from typing import Any

from ._native import built
from .cuda.blocks import Place
from .cuda.stream import enqueue, stream_at

BYTES = {0: 4, 1: 8, 2: 2, 14: 2}
DOUBLE = 70
PRODUCTS = {
    "cublasSgemm_v2": "transa transb m n k alpha a lda b ldb beta c ldc",
    "cublasDgemm_v2": "transa transb m n k alpha a lda b ldb beta c ldc",
    "cublasGemmEx": "transa transb m n k alpha a atype lda b btype ldb beta c ctype ldc compute algorithm",
    "cublasGemmStridedBatchedEx": "transa transb m n k alpha a atype lda stride_a b btype ldb stride_b beta c ctype "
    "ldc stride_c count compute algorithm",
}
"""The parameters of the products, after the handle."""
TYPES = {"alpha": ctypes.c_void_p, "beta": ctypes.c_void_p, "a": ctypes.c_void_p, "b": ctypes.c_void_p,
         "c": ctypes.c_void_p} | dict.fromkeys(("stride_a", "stride_b", "stride_c"), ctypes.c_longlong)  # fmt: skip
OTHERS = {
    "cublasCreate_v2": [ctypes.c_void_p],
    "cublasDestroy_v2": [ctypes.c_void_p],
    "cublasSetStream_v2": [ctypes.c_void_p, ctypes.c_void_p],
    "cublasGetStream_v2": [ctypes.c_void_p, ctypes.c_void_p],
    "cublasSetWorkspace_v2": [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t],
    "cublasSetMathMode": [ctypes.c_void_p, ctypes.c_int],
    "cublasGetMathMode": [ctypes.c_void_p, ctypes.c_void_p],
    "cublasGetVersion_v2": [ctypes.c_void_p, ctypes.c_void_p],
}


class StandinCublas:
    """The functions as attributes; `argtypes` and `restype` of each may be set, as of ctypes' own."""

    def __init__(self) -> None:
        self._functions: dict[str, Function] = {}
        self.streams: dict[int, int] = {}
        self.calls: list[str] = []
        """The names of what was called, recorded calls too: for tests."""

    def __getattr__(self, name: str) -> Function:
        if name not in PRODUCTS and name not in OTHERS:
            raise AttributeError(f"the stand-in's cuBLAS has no {name}")
        return self._functions.setdefault(name, Function(self, name))

    __getitem__ = __getattr__


class Function:
    """One function of it."""

    def __init__(self, library: StandinCublas, name: str) -> None:
        self._library, self.__name__ = library, name
        self.argtypes: Any = None
        self.restype: Any = ctypes.c_int
        names = PRODUCTS.get(name, "").split()
        self._names = names
        self._types = OTHERS.get(name) or [ctypes.c_void_p, *[TYPES.get(n, ctypes.c_int) for n in names]]

    def __call__(self, *args: Any) -> Any:
        if len(args) != len(self._types):
            raise TypeError(f"{self.__name__} takes {len(self._types)} arguments, got {len(args)}")
        if self.argtypes is not None:
            if len(self.argtypes) != len(self._types):
                raise TypeError(f"argtypes of {self.__name__} has {len(self.argtypes)} of {len(self._types)}")
            for n, (theirs, ours) in enumerate(zip(self.argtypes, self._types, strict=True)):
                if ctypes.sizeof(theirs) != ctypes.sizeof(ours):
                    raise TypeError(f"argument {n + 1} of {self.__name__} is {ours.__name__}, not {theirs.__name__}")
        elif any(isinstance(a, int) and t in (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_longlong) and a >> 31
                 for a, t in zip(args, self._types, strict=True)):  # fmt: skip
            raise TypeError(f"without argtypes ctypes would pass a pointer to {self.__name__} as 32 bits")
        values = [_value(a, t) for a, t in zip(args, self._types, strict=True)]
        self._library.calls.append(self.__name__)
        if self._names:
            return self._product(values)
        status = self._plain(values)
        if self.__name__ == "cublasSetStream_v2" and not status:
            stream_at(values[1] or 0)
            self._library.streams[values[0]] = values[1] or 0
        return status

    def _plain(self, values: list[Any]) -> int:
        function = getattr(built("cublas.c"), self.__name__)
        function.argtypes, function.restype = self._types, ctypes.c_int
        return function(*values)

    def _product(self, values: list[Any]) -> int:
        handle, given = values[0], dict(zip(self._names, values[1:], strict=True))
        double = given.get("compute", DOUBLE if "Dgemm" in self.__name__ else 68) == DOUBLE
        kind = ctypes.c_double if double else ctypes.c_float
        numbers = {}
        for name in ("alpha", "beta"):  # host pointers are read when the call is made, also under capture
            numbers[name] = kind.from_address(given[name]).value if given[name] else None
        status = _checked(handle, given, self.__name__)
        if status or not given["m"] or not given["n"]:
            return status
        places = {name: Place(given[name], size) for name, size in self._extents(given, numbers).items()}

        def work() -> None:
            held = {name: kind(number) for name, number in numbers.items()}
            now = {name: place.address() for name, place in places.items()}
            now |= {name: ctypes.addressof(number) for name, number in held.items()}
            self._plain([handle, *[now.get(name, value) for name, value in given.items()]])

        enqueue(stream_at(self._library.streams.get(handle, 0)), work)
        return 0

    def _extents(self, given: dict[str, Any], numbers: dict[str, Any]) -> dict[str, int]:
        """The bytes that each matrix reaches over, as far as it is read or written."""
        m, n, k, count = given["m"], given["n"], given["k"], given.get("count", 1)
        usual = 1 if "Dgemm" in self.__name__ else 0
        columns = {"a": m if given["transa"] else k, "b": k if given["transb"] else n, "c": n}
        rows = {"a": k if given["transa"] else m, "b": n if given["transb"] else k, "c": m}
        extents = {}
        for name in "abc" if k and numbers["alpha"] else "c":
            elements = given[f"ld{name}"] * (columns[name] - 1) + rows[name]
            elements += given.get(f"stride_{name}", 0) * (count - 1)
            extents[name] = elements * BYTES[given.get(f"{name}type", usual)]
        return extents if count else {}


def _checked(handle: Any, given: dict[str, Any], name: str) -> int:
    """The status of a product whose arguments are looked at, and which does nothing: of no matrices."""
    kind, compute = (1, DOUBLE) if "Dgemm" in name else (0, 68)
    usual = {"atype": kind, "btype": kind, "ctype": kind, "compute": compute, "algorithm": -1}
    usual |= dict.fromkeys(("stride_a", "stride_b", "stride_c"), 0)
    full = "cublasGemmStridedBatchedEx"
    types = [ctypes.c_void_p, *[TYPES.get(n, ctypes.c_int) for n in PRODUCTS[full].split()]]
    function = getattr(built("cublas.c"), full)
    function.argtypes, function.restype = types, ctypes.c_int
    values = {**usual, **given, "count": 0}
    return function(handle, *[values[n] for n in PRODUCTS[full].split()])


def _value(argument: Any, kind: Any) -> Any:
    """The number that ctypes would pass."""
    if argument is None:
        return None
    if isinstance(argument, int):
        return argument
    if isinstance(argument, ctypes._Pointer):
        return ctypes.addressof(argument.contents)
    if type(argument).__name__ == "CArgObject":  # byref(…)
        return ctypes.addressof(argument._obj)
    if isinstance(argument, ctypes.Array):
        return ctypes.addressof(argument)
    if isinstance(argument, ctypes._SimpleCData):
        return argument.value
    raise TypeError(f"{argument!r} is nothing that ctypes passes as {kind.__name__}")


def standin_cublas() -> StandinCublas:
    """A cuBLAS of its own, in place of `ctypes.CDLL("libcublas.so.13")`."""
    return StandinCublas()
