"""cupy.ndarray: an array in the memory of an emulated device. It wraps one of NumPy's and is none."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy

from . import _index
from ._execute import check_device, check_dtype, execute
from ._state import transfers
from .cuda import blocks, memory, runtime
from .cuda.device import Device
from .cuda.memory import refuse_copy

IMPLICIT = (
    "Implicit conversion to a NumPy array is not allowed. Please use `.get()` to construct a NumPy array explicitly."
)
SERVED = {"shape", "ndim", "size", "result_type", "can_cast"}
"""NumPy's functions that look at no elements: these CuPy answers too."""


class Flags:
    """How the elements lie."""

    def __init__(self, c: bool, f: bool, own: bool) -> None:
        self.c_contiguous, self.f_contiguous, self.owndata = c, f, own
        self.forc, self.fnc = c or f, f and not c

    def __getitem__(self, name: str) -> bool:
        return getattr(self, name.lower())

    def __repr__(self) -> str:
        return "\n".join(f"  {n.upper()} : {getattr(self, n)}" for n in ("c_contiguous", "f_contiguous", "owndata"))


class ndarray:
    """An n-dimensional array on a device. Methods that are not here are added by `_methods`."""

    __hash__ = None
    __array_priority__ = 100

    def __init__(
        self, shape: Any, dtype: Any = float, memptr: Any = None, strides: Any = None, order: str | None = "C"
    ) -> None:
        shape = tuple(int(n) for n in shape) if isinstance(shape, (tuple, list)) else (int(shape),)
        dtype = check_dtype(dtype)
        if strides is None:
            strides = _packed(shape, dtype, "F" if order in ("F", "f") else "C")
        nbytes = math.prod(shape) * dtype.itemsize
        self._set(memptr or memory.alloc(nbytes), shape, strides, dtype, None)
        if memptr is None and nbytes:
            self._poison()

    def _set(self, data: Any, shape: Any, strides: Any, dtype: Any, base: Any) -> None:
        block = data.mem.block
        if math.prod(shape) == 0 or block is None:
            self._host = numpy.empty(shape, dtype)
        else:
            self._host = numpy.ndarray(shape, dtype, block.host, data.ptr - block.ptr, strides)
        self.data, self._ptr, self._base = data, data.ptr, base

    @classmethod
    def _filled(cls, values: numpy.ndarray[Any, Any], keeps_order: bool = False) -> ndarray:
        """A new array on the current device with these values."""
        strides = numpy.empty_like(values).strides if keeps_order else _packed(values.shape, values.dtype, "C")
        array = cls.__new__(cls)
        array._set(memory.alloc(values.nbytes), values.shape, strides, values.dtype, None)
        array._host[...] = values
        return array

    def _view_of(self, host: numpy.ndarray[Any, Any]) -> ndarray:
        """A view: of this array's memory, as NumPy's view of the host memory has it."""
        view = ndarray.__new__(ndarray)
        offset = host.__array_interface__["data"][0] - self._ptr if host.size and self.size else 0
        view._set(self.data + offset, host.shape, host.strides, host.dtype, self if self._base is None else self._base)
        if not host.size:
            view._host = host
        return view

    def _poison(self) -> None:
        """Values that nobody takes for results: NaN, or bytes of 0xCC."""
        if self.dtype.kind in "fc":
            self._host[...] = math.nan
        elif self.size:
            self._host[...] = numpy.full(self.dtype.itemsize, blocks.POISON, numpy.uint8).view(self.dtype)[0]

    def _bounds(self) -> tuple[int, int]:
        """The first address of the elements, and the one behind the last."""
        if not self.size:
            return self._ptr, self._ptr
        low = high = self._ptr
        for n, stride in zip(self.shape, self.strides, strict=True):
            low, high = low + min((n - 1) * stride, 0), high + max((n - 1) * stride, 0)
        return low, high + self.itemsize

    # What it is

    base = property(lambda self: self._base)
    dtype = property(lambda self: self._host.dtype)
    shape = property(lambda self: self._host.shape)
    strides = property(lambda self: self._host.strides)
    ndim = property(lambda self: self._host.ndim)
    size = property(lambda self: self._host.size)
    itemsize = property(lambda self: self._host.itemsize)
    nbytes = property(lambda self: self._host.nbytes)
    device = property(lambda self: Device(self.data.device_id))
    T = property(lambda self: self._view_of(self._host.T))
    mT = property(lambda self: self._view_of(self._host.mT))
    real = property(lambda self: self._view_of(self._host.real) if self.dtype.kind == "c" else self)
    imag = property(lambda self: execute(numpy.imag, (self,)))

    @shape.setter
    def shape(self, shape: Any) -> None:
        view = self._view_of(self._host.reshape(shape, copy=False))
        self._host = view._host

    @property
    def flags(self) -> Flags:
        """How the elements lie."""
        flags = self._host.flags
        return Flags(flags.c_contiguous, flags.f_contiguous, self._base is None)

    @property
    def cstruct(self) -> Any:
        """How kernels of CuPy get it; here only what it is made of."""
        return SimpleNamespace(data=self._ptr, size=self.size, shape_and_strides=(*self.shape, *self.strides))

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        check_device(self)
        strides = None if self.flags.c_contiguous else self.strides
        return {
            "shape": self.shape, "typestr": self.dtype.str, "descr": self.dtype.descr, "version": 3,
            "strides": strides, "data": (self._ptr, False), "stream": 1,
        }  # fmt: skip

    # What NumPy may ask

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        raise TypeError(IMPLICIT)

    @property
    def __array_interface__(self) -> Any:
        raise TypeError(IMPLICIT)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        number = isinstance(inputs[0], numpy.generic) and not options  # numpy.float32(2) * x
        if method == "__call__" and number and len(inputs) == 2:
            return getattr(library(), ufunc.__name__)(*inputs)
        raise TypeError(IMPLICIT)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        if function.__name__ in SERVED:
            return getattr(library(), function.__name__)(*args, **kwargs)
        raise TypeError(IMPLICIT)

    # To and from the host

    def get(self, stream: Any = None, order: str = "C", out: Any = None, blocking: bool = True) -> Any:
        """A copy on the host."""
        refuse_copy("D2H", stream)
        if self.size:
            transfers.count_to_host(self.nbytes)
        if out is None:
            return self._host.copy(order)
        if out.dtype != self.dtype or out.shape != self.shape:
            raise TypeError(
                f"an array of {self.dtype} and shape {self.shape} cannot be got into {out.dtype}, {out.shape}"
            )
        if not (out.flags.c_contiguous and self.flags.c_contiguous) and not out.flags.f_contiguous:
            raise RuntimeError("`out` must be contiguous")
        out[...] = self._host
        return out

    def set(self, arr: Any, stream: Any = None) -> None:
        """Copy from a NumPy array of the same dtype and shape."""
        if not isinstance(arr, numpy.ndarray):
            raise TypeError("Only numpy.ndarray can be set to cupy.ndarray")
        if arr.dtype != self.dtype:
            raise TypeError(f"{arr.dtype} array cannot be set to {self.dtype} array")
        if arr.shape != self.shape:
            raise ValueError(f"Shape mismatch. Old shape: {self.shape}, new shape: {arr.shape}")
        if not self._host.flags.forc:
            raise RuntimeError("Cannot set to non-contiguous array")
        refuse_copy("H2D", stream)
        check_device(self)
        transfers.count_to_device(arr.nbytes)
        self._host[...] = arr

    def _scalar(self) -> Any:
        refuse_copy("D2H")
        transfers.count_implicit()
        transfers.count_to_host(self.nbytes)
        return self._host.item()

    def item(self) -> Any:
        """The only element, as a Python number."""
        return self._scalar()

    def tolist(self) -> Any:
        """All elements, as nested lists."""
        return self.get().tolist()

    def tobytes(self, order: str = "C") -> bytes:
        """All elements, as bytes."""
        return self.get().tobytes(order)

    def __bool__(self) -> bool:
        if self.size > 1:
            raise ValueError(
                "The truth value of an array with more than one element is ambiguous. Use a.any() or a.all()"
            )
        return bool(self._scalar()) if self.size else False

    def __int__(self) -> int:
        return int(self._scalar())

    def __float__(self) -> float:
        return float(self._scalar())

    def __complex__(self) -> complex:
        return complex(self._scalar())

    def __repr__(self) -> str:
        return repr(self.get())

    def __str__(self) -> str:
        return str(self.get())

    def __format__(self, specification: str) -> str:
        return format(str(self) if self.ndim else self._scalar(), specification)

    def __reduce__(self) -> Any:
        return library().array, (self.get(),)

    # Elements

    def __len__(self) -> int:
        if not self.ndim:
            raise TypeError("len() of unsized object")
        return self.shape[0]

    def __iter__(self) -> Any:
        if not self.ndim:
            raise TypeError("iteration over a 0-d array")
        return (self[i] for i in range(self.shape[0]))

    def __getitem__(self, index: Any) -> ndarray:
        parts = _index.prepared(index)
        if _index.is_basic(parts):
            if not any(p is ... for p in parts):
                parts = (*parts, ...)
            return self._view_of(self._host[parts])
        masked = any(map(_index.is_mask, parts))
        return execute(_index.taken, (self, parts), waits=masked)

    def __setitem__(self, index: Any, value: Any) -> None:
        parts = _index.prepared(index)
        masked = any(map(_index.is_mask, parts))
        value = _number(value)
        execute(_index.put, (self, parts, value), writes=(self,), waits=masked and getattr(value, "size", 1) > 1)

    def __deepcopy__(self, memo: Any) -> ndarray:
        with self.device:
            return self.copy()

    def __copy__(self) -> ndarray:
        return self.copy()

    def copy(self, order: str = "C") -> ndarray:
        """A copy, on the current device."""
        if self.data.device_id == runtime.getDevice():
            return execute(numpy.ndarray.copy, (self, order), keeps_order=True)
        if not self._host.flags.forc:
            raise NotImplementedError("CuPy cannot copy non-contiguous array between devices.")
        return ndarray._filled(self._host, keeps_order=order == "K")

    def astype(
        self, dtype: Any, order: str = "K", casting: Any = None, subok: Any = None, copy: bool = True
    ) -> ndarray:
        """The values in another dtype; itself where it has that and copy is False."""
        if casting is not None or subok is not None:
            raise TypeError("casting and subok are not supported yet")
        dtype = check_dtype(dtype)
        if not copy and dtype == self.dtype and (order in ("K", "A") or self.flags[f"{order}_contiguous"]):
            return self
        return execute(numpy.ndarray.astype, (self, dtype, order), keeps_order=True)

    def view(self, dtype: Any = None, type: Any = None) -> ndarray:
        """The same memory, under another dtype."""
        return self._view_of(self._host.view() if dtype is None else self._host.view(check_dtype(dtype)))

    def fill(self, value: Any) -> None:
        """Set every element."""
        if getattr(value, "ndim", 0) and getattr(value, "size", 1) != 1:
            raise ValueError("non-scalar ndarray cannot be used for fill")
        execute(lambda host, number: host.fill(number), (self, _number(value)), writes=(self,))

    def reshape(self, *shape: Any, order: str = "C", copy: Any = None) -> ndarray:
        """The elements under another shape: a view where that can be."""
        given = shape[0] if len(shape) == 1 else shape
        return execute(numpy.ndarray.reshape, (self, given), {"order": order, "copy": copy})

    def transpose(self, *axes: Any) -> ndarray:
        """A view with the axes in another order."""
        return execute(numpy.ndarray.transpose, (self, *axes))

    def squeeze(self, axis: Any = None) -> ndarray:
        """A view without axes of length 1; itself where there are none."""
        if axis is None and 1 not in self.shape:
            return self
        return execute(numpy.ndarray.squeeze, (self, axis))

    def dot(self, b: Any, out: Any = None) -> ndarray:
        """The matrix product."""
        return library().dot(self, b, out)

    def take(self, indices: Any, axis: Any = None, out: Any = None) -> ndarray:
        """Elements by index, along an axis."""
        return library().take(self, indices, axis, out)

    def scatter_add(self, slices: Any, value: Any) -> None:
        """self[slices] += value, with what is there twice added twice."""
        library().add.at(self, slices, value)


def _number(value: Any) -> Any:
    """What is assigned: an array of this library, or one number; CuPy fills with it."""
    if isinstance(value, (list, tuple)) or (isinstance(value, numpy.ndarray) and value.ndim):
        raise ValueError("non-scalar numpy.ndarray cannot be used for fill")
    return value[()] if isinstance(value, numpy.ndarray) else value


def _packed(shape: tuple[int, ...], dtype: Any, order: str) -> tuple[int, ...]:
    strides, step = [], dtype.itemsize
    for n in shape if order == "F" else reversed(shape):
        strides.append(step)
        step *= max(n, 1)
    return tuple(strides if order == "F" else reversed(strides))


def library() -> Any:
    """This package."""
    import cupy

    return cupy
