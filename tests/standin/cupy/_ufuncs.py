"""Ufuncs, with the types and the few options that CuPy's have."""

from __future__ import annotations

from typing import Any

import numpy

from . import _index, _native
from ._array import ndarray
from ._execute import check_dtype, execute
from ._state import SIGNATURES

AT_TYPES = {
    "add": "ilqefdILQ", "subtract": "ilqILQ", "maximum": "ilqfdILQ", "minimum": "ilqfdILQ",
    "bitwise_and": "ilqILQ", "bitwise_or": "ilqILQ", "bitwise_xor": "ilqILQ",
}  # fmt: skip
HOST = {"acos": "arccos", "acosh": "arccosh", "asin": "arcsin", "asinh": "arcsinh", "atan": "arctan",
        "atanh": "arctanh", "atan2": "arctan2", "true_divide": "divide", "mod": "remainder"}  # fmt: skip
REDUCED = {"cupy_add": "sum", "cupy_multiply": "prod"}
ACCUMULATED = {"cupy_add": "cumsum", "cupy_multiply": "cumprod"}
OPTIONS = {"out", "casting", "dtype", "_where"}
WEAK = (bool, int, float, complex)
RANK = {"b": 0, "i": 1, "u": 1, "f": 2, "c": 3}


class ufunc:
    """A function of elements. It has no `signature`, and no `where`: CuPy's have none."""

    __array_ufunc__ = None

    def __init__(self, public: str, name: str, nin: int, nout: int, types: list[str], at: bool) -> None:
        self.public, self.name, self.__name__, self.nin, self.nout, self.types = public, name, name, nin, nout, types
        self.nargs, self._at = nin + nout, at
        self._loops = [(t.partition("->")[0], t.partition("->")[2] or t) for t in types]
        self._found: dict[Any, str] = {}
        self._host = getattr(numpy, HOST.get(public, public))
        self._native = _native.function(self._host.__name__, self._host)

    def __repr__(self) -> str:
        return f"<ufunc '{self.name}'>"

    def _results(self, inputs: tuple[Any, ...], dtype: Any) -> str:
        """The dtypes of the results, as characters: those of the first loop that takes the inputs."""
        key = (dtype, *[type(x) if type(x) in WEAK else x.dtype for x in inputs])
        if key not in self._found:
            self._found[key] = self._first_loop(inputs, dtype)
        return self._found[key]

    def _first_loop(self, inputs: tuple[Any, ...], dtype: Any) -> str:
        # a number of a higher kind than every array, such as 0.5 beside integers, counts as an array of its own dtype
        arrays = [x.dtype.kind for x in inputs if type(x) not in WEAK]
        numbers = [numpy.dtype(type(x)).kind for x in inputs if type(x) in WEAK]
        strong = bool(numbers) and max(map(RANK.__getitem__, numbers)) > max(map(RANK.__getitem__, arrays), default=-1)
        for takes, gives in self._loops:
            if dtype is not None:
                if all(numpy.dtype(c) == dtype for c in gives):
                    return gives
                continue
            for x, c in zip(inputs, takes, strict=True):
                if type(x) in WEAK and not strong:
                    if numpy.result_type(type(x)(0), numpy.dtype(c)) != c:
                        break
                elif not numpy.can_cast(numpy.asarray(x).dtype if type(x) in WEAK else x.dtype, c):
                    break
            else:
                return gives
        kinds = dtype or tuple(getattr(x, "dtype", type(x)) for x in inputs)
        raise TypeError(f"Wrong type ({kinds}) of arguments for {self.name}")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if kwargs.keys() - OPTIONS:
            raise TypeError(f"Wrong arguments {sorted(kwargs.keys() - OPTIONS)}")
        if len(args) not in (self.nin, self.nargs):
            raise TypeError(
                f"Wrong number of arguments for {self.name!r}. It must be either {self.nin} or {self.nargs} "
                f"(with outputs), but given {len(args)}."
            )
        inputs, outs = args[: self.nin], args[self.nin :]
        if kwargs.get("out") is not None:
            if outs:
                raise ValueError("Cannot specify 'out' as both a positional and keyword argument")
            outs = kwargs["out"] if isinstance(kwargs["out"], tuple) else (kwargs["out"],)
        for x in inputs:
            if not (type(x) in WEAK or isinstance(x, (numpy.generic, ndarray))):
                raise TypeError(f"Unsupported type {type(x)}")
        for out in outs:
            if not isinstance(out, ndarray):
                raise TypeError("Output arguments type must be cupy.ndarray")
        dtype = None if kwargs.get("dtype") is None else check_dtype(kwargs["dtype"])
        given = [numpy.dtype(c) for c in self._results(inputs, dtype)]
        casting, where = kwargs.get("casting", "same_kind"), kwargs.get("_where")
        for out, one in zip(outs, given, strict=False):
            if not numpy.can_cast(one, out.dtype, casting):
                raise TypeError(f"output (typecode {one.char!r}) could not be coerced to provided output parameter "
                                f"(typecode {out.dtype.char!r}) according to the casting rule {casting!r}")  # fmt: skip

        def compute(*values: Any) -> Any:
            *values, where = values
            options = {} if where is None else {"where": where}
            if dtype is not None or self._native is not self._host:
                options["dtype"] = dtype or given[0]
            made = self._native(*values[: self.nin], **options)
            made = made if isinstance(made, tuple) else (made,)
            if len(values) == self.nin:
                return tuple(numpy.asarray(x).astype(c, copy=False) for x, c in zip(made, given, strict=True))
            for out, x in zip(values[self.nin :], made, strict=True):
                numpy.copyto(out, numpy.asarray(x), casting="unsafe", where=True if where is None else where)
            return tuple(values[self.nin :])

        for out in outs:
            shapes = [getattr(x, "shape", ()) for x in inputs]
            if numpy.broadcast_shapes(*shapes, out.shape) != out.shape:
                raise ValueError("Out shape is mismatched")
        result = execute(compute, (*inputs, *outs, where), writes=outs)
        return result if self.nout > 1 else result[0]

    def at(self, a: Any, indices: Any, b: Any = None) -> None:
        """Apply in place at indices, also where one comes twice."""
        if not self._at:
            raise NotImplementedError(f"`{self.name}.at` is not supported yet")
        if a.dtype.char not in AT_TYPES[self.public]:
            raise TypeError(f"cupy.{self.public}.at does not support {a.dtype} as data type")
        execute(_index.at, (_Plain(self._host), a, _index.prepared(indices), b), writes=(a,))

    def reduce(self, array: Any, axis: Any = 0, dtype: Any = None, out: Any = None, keepdims: bool = False) -> Any:
        """Over an axis; of add and multiply only."""
        if self.name not in REDUCED:
            raise NotImplementedError(f"`{self.name}.reduce` is not supported yet")
        return getattr(array, REDUCED[self.name])(axis, dtype, out, keepdims)

    def accumulate(self, array: Any, axis: Any = 0, dtype: Any = None, out: Any = None) -> Any:
        """Along an axis; of add and multiply only."""
        if self.name not in ACCUMULATED:
            raise NotImplementedError(f"`{self.name}.accumulate` is not supported yet")
        return getattr(array, ACCUMULATED[self.name])(axis, dtype, out)

    def outer(self, A: Any, B: Any, **kwargs: Any) -> Any:
        """Of all pairs."""
        return self(A.reshape(A.shape + (1,) * B.ndim), B.reshape((1,) * A.ndim + B.shape), **kwargs)


class _Plain:
    """A ufunc of NumPy among arguments."""

    def __init__(self, function: Any) -> None:
        self.at = function.at


def made() -> dict[str, ufunc]:
    """All of them, by their public names; two names of one function are one object."""
    by_name: dict[str, ufunc] = {}
    for public, parts in SIGNATURES["ufuncs"].items():
        if not hasattr(numpy, HOST.get(public, public)):
            continue
        key = f"{parts['name']} {parts['types']}"
        by_name[key] = by_name.get(key) or ufunc(public, **parts)
    names = {public: f"{parts['name']} {parts['types']}" for public, parts in SIGNATURES["ufuncs"].items()}
    return {public: by_name[key] for public, key in names.items() if key in by_name}
