"""What people bring, as an array of the backend: the one place that every door for data asks.

Numbers and lists, arrays of NumPy and CuPy, of PyTorch, JAX and whatever else speaks NumPy's protocol or DLPack,
columns and tables of pandas. What has no exact counterpart here (masks, missing values, sparse arrays, objects, text,
dates, complex numbers, bfloat16, a gradient on another tape) is refused by name, with the way out. No package is
imported for that.
"""

from __future__ import annotations

import sys
from typing import Any, NoReturn

import numpy
from numpy.typing import NDArray

from ..errors import DataError, DeviceError, DtypeError, GraphError, UsageError
from . import backend
from .backend import Array
from .capturing import captures, capturing
from .lent import Lent

CPU = (1, 3)
"""DLPack's numbers of the host's memory, plain and pinned."""
COLUMNS = (("pandas", "Series"), ("pandas", "Index"), ("pandas.api.extensions", "ExtensionArray"))
WAYS_OUT = {
    "c": "take its .real and .imag, or numpy.abs of it",
    "M": "turn dates into numbers first, for instance (x - x.min()) / numpy.timedelta64(1, 'D')",
    "m": "turn durations into numbers first, for instance x / numpy.timedelta64(1, 's')",
    "U": "number its categories with numpy.unique(x, return_inverse=True), or read it with numpy.asarray(x, 'float32')",
    "O": "for instance with numpy.asarray(x, dtype='float32'), once each of its elements is a number",
    "V": "with .astype('float32'), or of a structured array take one field, x['name']",
}
"""By the kind of a dtype, how its values become numbers."""


def as_array(data: Any, what: str) -> Array:
    """The data as an array of real numbers, of NumPy's or CuPy's own class and byte order; a copy only where needed.

    what: the place where it comes in, for errors. Raises DtypeError for what holds no real numbers, DataError for a
    ragged list or missing values, GraphError for what requires a gradient on another tape, and DeviceError where it
    lies on a device that cannot be used.
    """
    if data.__class__ is numpy.ndarray and data.dtype.kind in "biuf" and data.dtype.isnative:
        return data
    array = _converted(data, what)
    if array.dtype.kind not in "biuf":
        _refuse_elements(array, data, what)
    if isinstance(array, numpy.ndarray) and not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    if captures and array is not data and not isinstance(data, (bool, int, float, list, tuple, numpy.generic)):
        trace = capturing()
        if trace:
            trace.refuse(f"{_name(data)} is converted: give a tensor")
    return array


def _converted(data: Any, what: str) -> Array:
    """An array of any dtype."""
    if _is(data, "numpy.ma", "MaskedArray"):
        raise DataError(f"{what} is a masked array: fill it first with .filled(value), or take what is not masked.")
    if isinstance(data, (numpy.ndarray, numpy.generic)):
        return numpy.asarray(data)
    if (hasattr(data, "place") and hasattr(data, "trace")) or _is(data, "cupy", "ndarray"):  # of a capture, of CuPy
        return data
    if isinstance(data, (list, tuple)):
        return _from_list(data, what)
    if _is(data, "torch", "Tensor"):
        return _from_torch(data, what)
    if _is(data, "jax", "Array"):
        return _from_jax(data, what)
    if _is(data, "pandas", "DataFrame"):
        return _from_table(data, what)
    if any(_is(data, *place) for place in COLUMNS):
        return _from_column(data, what)
    if hasattr(data, "toarray") or hasattr(data, "todense"):
        _refuse_sparse(data, what, ".toarray()" if hasattr(data, "toarray") else ".todense()")
    return _by_protocol(data, what)


def _from_list(data: Any, what: str) -> NDArray[Any]:
    try:
        return numpy.asarray(_with_arrays(data, what))
    except ValueError as error:
        raise DataError(f"{what} is no array: cannot make a tensor of this {type(data).__name__}: {error}") from None


def _with_arrays(data: Any, what: str) -> Any:
    """Nested lists with what other packages made as arrays; the list itself where there is none."""
    if not any(issubclass(kind, (list, tuple)) or hasattr(kind, "__array__") for kind in set(map(type, data))):
        return data
    items = []
    for item in data:
        if isinstance(item, (list, tuple)):
            item = _with_arrays(item, what)
        elif hasattr(item, "__array__") and not isinstance(item, numpy.generic):
            item = as_array(item, what)
            if not isinstance(item, numpy.ndarray):
                raise DeviceError(
                    f"{what} is a list with an array on {backend.device_of(item)}: stack them there first."
                )
        items.append(item)
    return items


def _from_torch(data: Any, what: str) -> Array:
    if data.requires_grad:
        raise GraphError(
            f"{what} is a torch tensor that requires a gradient, which cannot go on from PyTorch's tape to this one: "
            "give its values, .detach()."
        )
    if data.is_sparse or str(data.layout) != "torch.strided" or getattr(data, "is_nested", False):
        _refuse_sparse(data, what, ".to_dense()")
    kind = str(data.dtype).removeprefix("torch.")
    if data.is_quantized or kind in ("bfloat16",) or kind.startswith(("float8", "float4", "bits")):
        raise DtypeError(f"{what} is a torch tensor of {kind}, which NumPy does not have: give .float().")
    if data.device.type == "cpu":
        return _by_protocol(data.resolve_conj().resolve_neg(), what)
    return _by_dlpack(data, what, f"a torch tensor on {data.device}", ".cpu()")


def _from_jax(data: Any, what: str) -> Array:
    if _is(data, "jax.core", "Tracer"):
        raise DtypeError(
            f"{what} is a traced JAX value (inside jit, grad or vmap), which has no numbers yet: call it outside."
        )
    if not isinstance(data.dtype, numpy.dtype):
        raise DtypeError(f"{what} is a JAX array of {data.dtype}: give jax.random.key_data(x).")
    if all(device.platform == "cpu" for device in data.devices()):
        return _by_protocol(data, what)
    return _by_dlpack(data, what, f"a JAX array on {', '.join(map(str, data.devices()))}", "numpy.asarray(x)")


def _from_table(data: Any, what: str) -> NDArray[Any]:
    """A DataFrame: every column is numbers; they get the dtype that NumPy gives all of them together."""
    columns = [_from_column(data.iloc[:, i], f"{what}, column {name!r},") for i, name in enumerate(data.columns)]
    if len({column.dtype for column in columns}) == 1 and all(isinstance(kind, numpy.dtype) for kind in data.dtypes):
        return numpy.asarray(data)  # without a copy, where it is one block
    return numpy.stack(columns, axis=1) if columns else numpy.empty((len(data), 0))


def _from_column(data: Any, what: str) -> NDArray[Any]:
    """A Series, an Index or an array of pandas."""
    kind = data.dtype
    label = getattr(kind, "name", str(kind))
    if label == "category":
        raise DtypeError(f"{what} holds categories (pandas), not numbers: give their codes, .cat.codes.")
    if str(label).startswith("Sparse"):
        _refuse_sparse(data, what, ".sparse.to_dense()")
    if not isinstance(kind, numpy.dtype):  # pandas' own, which knows missing values of whole numbers, too
        missing = numpy.asarray(data.isna())
        if missing.any():
            raise DataError(
                f"{what} has no value in row {int(missing.argmax())} (dtype {label}), the first such: fill it in with "
                ".fillna(value), or leave it out with .dropna()."
            )
    array = numpy.asarray(data)
    if array.dtype.kind == "O" and getattr(kind, "kind", "O") in "biuf":
        array = numpy.asarray(data, dtype=getattr(kind, "numpy_dtype", None))
    if array.dtype.kind not in "biuf":
        _refuse_elements(array, data, what)
    return array


def _by_protocol(data: Any, what: str) -> Array:
    """Whatever else: NumPy's protocol first, then DLPack, then what NumPy makes of a Python object."""
    if not hasattr(data, "__array__"):
        if hasattr(data, "__dlpack_device__"):
            device = data.__dlpack_device__()[0]
            return numpy.from_dlpack(data) if device in CPU else _by_dlpack(data, what, _name(data), "its own way")
        if hasattr(data, "__cuda_array_interface__"):
            return backend.load_cupy().asarray(data)
    try:
        return numpy.asarray(data)
    except (TypeError, ValueError, RuntimeError) as error:
        raise DataError(f"{what} is no array: cannot make a tensor of this {type(data).__name__}: {error}") from None


def _by_dlpack(data: Any, what: str, name: str, way: str) -> Array:
    """An array of CuPy on the memory of an array on a GPU."""
    try:
        return backend.load_cupy().from_dlpack(data)
    except (DeviceError, BufferError, RuntimeError, TypeError) as error:
        raise DeviceError(
            f"{what} is {name}, which CuPy cannot take over: give it on the host, {way} ({error})."
        ) from None


def held(array: Array, dtype: numpy.dtype[Any], what: str) -> Array:
    """The array in that dtype; raises DataError for a number beyond it, rather than wrap around or make it infinite.

    What lies on a GPU is not looked at, since that would wait for it.
    """
    if array.dtype == dtype:
        return array
    looked_at = array.__class__ is numpy.ndarray and array.dtype.kind in "biuf" and dtype.kind != "b"
    if not looked_at or numpy.can_cast(array.dtype, dtype):
        return array.astype(dtype)
    with numpy.errstate(over="ignore", invalid="ignore"):
        made = array.astype(dtype)
    if dtype.kind == "f":
        wrong = numpy.isinf(made) & numpy.isfinite(array)
    else:
        limits = numpy.iinfo(dtype)
        below = array < limits.max + 1.0 if array.dtype.kind == "f" else array <= limits.max
        wrong = ~((array >= limits.min) & below)
    if wrong.any():
        first = array.reshape(-1)[int(wrong.argmax())]
        raise DataError(f"{what} holds {first}, and {dtype} does not: give a wider dtype, or numbers within it.")
    return made


def numeric_dtype(dtype: Any) -> numpy.dtype[Any]:
    """The dtype of that name, if it is one of real numbers; raises UsageError or DtypeError."""
    try:
        result: numpy.dtype[Any] = numpy.dtype(dtype)
    except TypeError:
        raise UsageError(f"unknown dtype {dtype!r}: use 'float32', 'float64', 'int64' or 'bool'.") from None
    if result.kind not in "biuf":
        raise DtypeError(f"a tensor holds numbers, not dtype {result}.")
    return result


def as_index(part: Any) -> Any:
    """One part of an index as the backend takes it: what is no slice, number, list or None is an array."""
    if isinstance(part, Lent):
        return part._data  # type: ignore[attr-defined]
    if part is None or part is Ellipsis or isinstance(part, (int, slice, list, tuple, numpy.integer)):
        return part
    return as_array(part, "an index")


# Refusing


def _refuse_sparse(data: Any, what: str, way: str) -> NoReturn:
    raise DtypeError(f"{what} is sparse ({_name(data)}), and tensors are dense: give {way}, where it fits into memory.")


def _refuse_elements(array: Array, data: Any, what: str) -> NoReturn:
    kind = "U" if array.dtype.kind in "ST" else array.dtype.kind
    if not array.ndim and kind == "O":
        way = "give a list of numbers" if hasattr(data, "__iter__") else "give a number, a list of numbers or an array"
    else:
        way = "convert it first, " + WAYS_OUT.get(kind, WAYS_OUT["O"])
    flat = array.reshape(-1)
    first = 0
    if kind == "O":
        first = next((i for i, x in enumerate(flat) if not isinstance(x, (bool, int, float, numpy.number))), 0)
    place = f" in row {first // max(1, array[0].size)}" if first and array.ndim > 1 else f" at {first}" if first else ""
    found = repr(backend.fetch(flat[first : first + 1]).tolist()[0])[:60] if array.size else "none"
    by = f", being {_name(data)}" if not isinstance(data, (list, tuple, numpy.ndarray)) and array.ndim else ""
    raise DtypeError(f"{what} holds {array.dtype} (first{place}: {found}){by}, not numbers: {way}.")


def _is(data: Any, module: str, name: str) -> bool:
    """Whether it is of that class of a package, which is not imported for asking."""
    kind = getattr(sys.modules.get(module), name, None)
    return isinstance(kind, type) and isinstance(data, kind)


def _name(data: Any) -> str:
    kind = type(data)
    return kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__.partition('.')[0]}.{kind.__name__}"
