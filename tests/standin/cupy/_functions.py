"""The functions: each takes what the real one takes, by signatures.json, and NumPy's of that name computes it."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable
from typing import Any

import numpy

from . import _index, _native
from ._array import ndarray
from ._execute import arrays_in, check_device, check_dtype, execute
from ._kinds import CREATION, CUBLAS, KEEP_ORDER, LEFT_OUT, PLAIN, WAITS, WRITES, names
from ._state import SIGNATURES, signature, transfers
from .cuda import runtime
from .cuda.memory import refuse_copy
from .cuda.stream import get_current_stream


def function(name: str) -> Callable[..., Any]:
    """The function of that name."""
    bound_to = signature(SIGNATURES["functions"][name])
    compute = OWN.get(name) or _by_numpy(name)

    def call(*args: Any, **kwargs: Any) -> Any:
        bound = bound_to.bind(*args, **kwargs)
        return compute(*bound.args, **bound.kwargs)

    call.__name__ = call.__qualname__ = name
    call.__module__ = "cupy"
    call.__doc__ = compute.__doc__
    call.__signature__ = bound_to
    return call


def _by_numpy(name: str) -> Callable[..., Any]:
    """NumPy's function, called with what was given: by position where CuPy names a parameter otherwise."""
    if name in LEFT_OUT or not hasattr(numpy, name):
        return _missing(name)
    host = getattr(numpy, name)
    theirs = SIGNATURES["functions"][name]
    try:
        ours = list(inspect.signature(host).parameters)
    except ValueError:
        ours = []
    variadic = any(kind.startswith("VAR_") for _, kind, _ in theirs)

    def quietly(*args: Any, **kwargs: Any) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return host(*args, **kwargs)

    def compute(*args: Any, **kwargs: Any) -> Any:
        _check_first(name, args)
        if not variadic:
            by_name = dict(zip([p for p, *_ in theirs], args, strict=False)) | kwargs
            _check_as_cupy(name, args[0] if args else None, by_name.get("axis"), by_name.get("out"))
            args, kwargs = (), {}
            for n, (parameter, *_) in enumerate(theirs):
                if parameter in by_name:
                    if n == len(args) and (n < 2 or parameter not in ours) and (not ours or n < len(ours)):
                        args = (*args, by_name[parameter])
                    elif parameter in ours or not ours:
                        kwargs[parameter] = by_name[parameter]
                    elif by_name[parameter] is not None and parameter != "blocking":
                        raise NotImplementedError(f"the stand-in's {name} does not take {parameter}")
        if "dtype" in kwargs and kwargs["dtype"] is not None:
            check_dtype(kwargs["dtype"])
        out = kwargs.get("out")
        writes = ([out] if out is not None else []) + ([args[0]] if name in WRITES else [])
        return execute(
            quietly, args, kwargs, writes=writes, keeps_order=name in KEEP_ORDER, cublas=name in CUBLAS,
            waits=name in WAITS, plain=name in PLAIN,
        )  # fmt: skip

    return compute


def _missing(name: str) -> Callable[..., Any]:
    def compute(*args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(f"the stand-in does not emulate cupy.{name}")

    return compute


def _check_first(name: str, args: tuple[Any, ...]) -> None:
    """CuPy calls a method of its first argument, and so takes no lists and no numbers there."""
    if name in CREATION or name in PLAIN or not args:
        return
    first = args[0] if not isinstance(args[0], str) or len(args) < 2 else args[1]
    for x in first if isinstance(first, (tuple, list)) and name not in ("broadcast_arrays",) else (first,):
        if not isinstance(x, ndarray):
            raise TypeError(f"Unsupported type {type(x)}")


OUT_TAKEN_FOR_A_DTYPE = names("min amin ptp")
"""CuPy 14.2 hands their `out` on to CUB as the dtype."""
REDUCED = names("sum prod max amax min amin mean any all argmax argmin nansum nanprod nanmax nanmin ptp")
BY_SHAPE = names("var std nanvar nanstd")


def _check_as_cupy(name: str, x: Any, axis: Any, out: Any) -> None:
    """Raise what the real one raises, as a card showed, where NumPy takes what is given."""
    if out is not None and name in OUT_TAKEN_FOR_A_DTYPE:
        raise TypeError(f"Cannot interpret {type(out)} as a data type")
    if axis is not None and getattr(x, "ndim", 1) == 0 and axis != ():
        if name in REDUCED:
            raise numpy.exceptions.AxisError(f"axis {axis} is out of bounds for array of dimension 0")
        if name in BY_SHAPE:
            raise IndexError("tuple index out of range")


# What differs from NumPy


def array(
    obj: Any, dtype: Any = None, copy: Any = True, order: str = "K", subok: bool = False, ndmin: int = 0,
    *, blocking: bool = False,
) -> ndarray:  # fmt: skip
    """An array on the current device, from one of any device, or from the host: that is a transfer."""
    if isinstance(obj, ndarray):
        dtype = obj.dtype if dtype is None else check_dtype(dtype)
        if obj.data.device_id == runtime.getDevice():
            made = obj.astype(dtype, order=order, copy=bool(copy))
        else:
            made = obj.copy(order=order).astype(dtype, copy=False)
        return made if made.ndim >= ndmin else made.reshape((1,) * (ndmin - made.ndim) + made.shape)
    if isinstance(obj, (tuple, list)) and _holds_arrays(obj):
        return _joined(obj, dtype)
    host = numpy.array(obj, dtype=dtype, order=order, ndmin=ndmin)
    check_dtype(host.dtype)
    refuse_copy("H2D")
    transfers.count_to_device(host.nbytes)
    return ndarray._filled(host, keeps_order=True)


def _holds_arrays(value: Any) -> bool:
    return isinstance(value, ndarray) or (isinstance(value, (tuple, list)) and any(map(_holds_arrays, value)))


def _joined(value: Any, dtype: Any) -> ndarray:
    """A nest of arrays as one."""
    if isinstance(value, (tuple, list)):
        made = execute(numpy.stack, ([_joined(item, None) for item in value],))
        return made if dtype is None else made.astype(dtype, copy=False)
    return value if isinstance(value, ndarray) else array(value)


def asarray(a: Any, dtype: Any = None, order: Any = None, *, copy: Any = None, blocking: bool = False) -> ndarray:
    """The array itself, where it is one of the current device and dtype; else as `array`."""
    return array(a, dtype, copy=bool(copy), order=order or "K")


def asnumpy(a: Any, stream: Any = None, order: str = "C", out: Any = None, *, blocking: bool = True) -> Any:
    """A copy on the host."""
    if isinstance(a, ndarray):
        return a.get(stream, order, out)
    return numpy.asarray(a, order=order)


def ascontiguousarray(a: Any, dtype: Any = None) -> ndarray:
    """In row-major order: itself, or a copy."""
    made = array(a, dtype, copy=False, order="C")
    return made if made.ndim else made.reshape(1)


def empty(shape: Any, dtype: Any = float, order: str = "C") -> ndarray:
    """Memory, with rubbish in it."""
    return ndarray(shape, float if dtype is None else dtype, order=order or "C")


def empty_like(prototype: Any, dtype: Any = None, order: str = "K", subok: Any = None, shape: Any = None) -> ndarray:
    """Memory like that of another array, with rubbish in it."""
    if not isinstance(prototype, ndarray):
        raise TypeError(f"Unsupported type {type(prototype)}")
    host = numpy.empty_like(prototype._host, check_dtype(dtype or prototype.dtype), order, shape=shape)
    made = ndarray._filled(host, keeps_order=True)
    made._poison()
    return made


def copyto(dst: Any, src: Any, casting: str = "same_kind", where: Any = None) -> None:
    """dst[where] = src."""
    if not isinstance(dst, ndarray) or isinstance(src, numpy.ndarray):
        raise TypeError(f"Unsupported type {type(src)}: non-scalar numpy.ndarray cannot be used for copyto")

    def copied(dst: Any, src: Any, where: Any) -> None:
        numpy.copyto(dst, src, casting, True if where is None else where)

    execute(copied, (dst, src, where), writes=(dst,))


def take(a: Any, indices: Any, axis: Any = None, out: Any = None) -> ndarray:
    """Elements by index along an axis; what is out of range wraps around."""
    _check_first("take", (a,))
    if not isinstance(indices, (int, numpy.integer)):
        (indices,) = _index.prepared((indices,))
    writes = [] if out is None else [out]
    if out is not None and out.dtype != a.dtype:
        raise TypeError("Output dtype mismatch")
    options = {"axis": axis, "out": out, "mode": "wrap"}
    return execute(numpy.take, (a, indices), options, writes=writes)


def where(condition: Any, x: Any = None, y: Any = None) -> Any:
    """x where the condition holds, else y; with one argument the indices where it holds, which waits."""
    _check_first("where", (condition,))
    if (x is None) != (y is None):
        raise ValueError("Must provide both 'x' and 'y' or neither.")
    if x is None:
        return execute(numpy.nonzero, (condition,), waits=True)
    for value in (x, y):
        if isinstance(value, (tuple, list)):
            raise TypeError(f"Unsupported type {type(value)}")
    return execute(numpy.where, (condition, x, y))


def argmax(a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: bool = False) -> ndarray:
    """Where the greatest is."""
    return _extreme(numpy.argmax, a, axis, dtype, out, keepdims)


def argmin(a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: bool = False) -> ndarray:
    """Where the least is."""
    return _extreme(numpy.argmin, a, axis, dtype, out, keepdims)


def _extreme(host: Any, a: Any, axis: Any, dtype: Any, out: Any, keepdims: bool) -> ndarray:
    _check_first("argmax", (a,))
    _check_as_cupy("argmax", a, axis, out)
    if out is None:
        made = execute(host, (a,), {"axis": axis, "keepdims": keepdims})
        return made if dtype is None else made.astype(dtype)

    def into(a: Any, out: Any) -> Any:
        out[...] = host(a, axis=axis, keepdims=keepdims)
        return out

    return execute(into, (a, out), writes=[out])


def may_share_memory(a: Any, b: Any, max_work: Any = None) -> bool:
    """Whether the bounds of two arrays overlap."""
    if max_work is not None:
        raise NotImplementedError("Only supported for `max_work` is `None`")
    for x in (a, b):
        if not isinstance(x, ndarray):
            raise TypeError(f"Unsupported type {type(x)}")
    (first, end), (second, last) = a._bounds(), b._bounds()
    return bool(a.size and b.size and a.data.device_id == b.data.device_id and first < last and second < end)


def matmul(*args: Any, out: Any = None, **options: Any) -> ndarray:
    """The matrix product; arrays only."""
    if len(args) not in (2, 3):
        raise TypeError(f"matmul takes 2 arrays, got {len(args)}")
    for x in args:
        if not isinstance(x, ndarray):
            raise TypeError(f"Argument has incorrect type (expected cupy._core.core._ndarray_base, got {type(x)})")
    out = args[2] if len(args) == 3 else out
    writes = [] if out is None else [out]
    return execute(_product_by(numpy.matmul), args[:2], {"out": out, **options}, writes=writes, cublas=True)


def dot(a: Any, b: Any, out: Any = None) -> ndarray:
    """The product of matrices or vectors."""
    _check_first("dot", (a,))
    if not isinstance(b, ndarray):
        return a * b
    if out is not None and (out.dtype != numpy.result_type(a.dtype, b.dtype) or not out.flags.c_contiguous):
        raise ValueError("Output array has an invalid type or order")
    return execute(_product_by(numpy.dot), (a, b), {"out": out}, writes=[] if out is None else [out], cublas=True)


def _product_by(host: Callable[..., Any]) -> Callable[..., Any]:
    """Matrices are multiplied as cuBLAS's stand-in does, so that it does not matter by which way."""

    def compute(a: Any, b: Any, out: Any = None, **options: Any) -> Any:
        made = None if options else _native.product(a, b, out)
        return host(a, b, out=out, **options) if made is None else made

    return compute


def einsum(*operands: Any, **kwargs: Any) -> ndarray:
    """Einstein's sum; takes `dtype` and `optimize` only."""
    if kwargs.keys() - {"dtype", "optimize"}:
        raise TypeError(f"Did not understand the following kwargs: {list(kwargs.keys() - {'dtype', 'optimize'})}")
    return execute(numpy.einsum, operands, kwargs, cublas=_is_product(operands))


def _is_product(operands: Any) -> bool:
    """Whether an axis is summed over that two operands share: then cuBLAS is called."""
    if not isinstance(operands[0], str):
        return True
    given, _, result = operands[0].replace(" ", "").partition("->")
    letters = [set(term) for term in given.split(",")]
    shared = {x for n, term in enumerate(letters) for x in term & set().union(*letters[n + 1 :], set())}
    return bool(shared - set(result)) if "->" in operands[0] else len(letters) > 1


def cumsum(a: Any, axis: Any = None, dtype: Any = None, out: Any = None) -> ndarray:
    """The sums so far; without an axis `out` has the shape of the array, though what it gives otherwise is flat."""
    return _accumulated(numpy.cumsum, a, axis, dtype, out)


def cumprod(a: Any, axis: Any = None, dtype: Any = None, out: Any = None) -> ndarray:
    """The products so far; `out` as with `cumsum`."""
    return _accumulated(numpy.cumprod, a, axis, dtype, out)


def _accumulated(host: Any, a: Any, axis: Any, dtype: Any, out: Any) -> ndarray:
    _check_first("cumsum", (a,))
    if out is None:
        return execute(host, (a,), {"axis": axis, "dtype": dtype and check_dtype(dtype)})
    if out.shape != a.shape:
        raise ValueError(f"output array has the wrong shape: {out.shape}, not {a.shape}")

    def into(a: Any, out: Any) -> Any:
        out[...] = host(a, axis=axis, dtype=dtype).reshape(a.shape)
        return out

    return execute(into, (a, out), writes=[out])


def clip(a: Any, a_min: Any, a_max: Any, out: Any = None) -> ndarray:
    """Limited to [a_min, a_max]."""
    _check_first("clip", (a,))
    return execute(numpy.clip, (a, a_min, a_max), {"out": out}, writes=[] if out is None else [out])


def broadcast_to(array: Any, shape: Any) -> ndarray:
    """A view, repeated to a shape."""
    _check_first("broadcast_to", (array,))
    check_device(array)
    return array._view_of(numpy.broadcast_to(array._host, shape))


def get_array_module(*args: Any) -> Any:
    """cupy where there is an array of it, else numpy."""
    import cupy

    return cupy if any(isinstance(x, ndarray) for x in args) else numpy


def _of_host(name: str) -> Callable[..., Any]:
    """A function that looks at shapes and dtypes only."""

    def compute(*args: Any, **kwargs: Any) -> Any:
        arrays_in([x for x in args if not isinstance(x, ndarray)])
        changed = [numpy.empty(x.shape, x.dtype) if isinstance(x, ndarray) else x for x in args]
        if name in ("result_type", "can_cast"):
            changed = [x.dtype if isinstance(x, ndarray) else x for x in args]
        return getattr(numpy, name)(*changed, **kwargs)

    return compute


def capturing() -> bool:
    """Whether the current stream is being captured."""
    return get_current_stream().capture is not None


OWN: dict[str, Callable[..., Any]] = {
    f.__name__: f
    for f in (array, asarray, asnumpy, ascontiguousarray, empty, empty_like, copyto, take, where, argmax, argmin,
              may_share_memory, matmul, dot, einsum, cumsum, cumprod, clip, broadcast_to, get_array_module)
}  # fmt: skip
OWN |= {"asanyarray": asarray} | {name: _of_host(name) for name in ("result_type", "can_cast", "shape", "ndim")}
