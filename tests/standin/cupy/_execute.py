"""How a function is computed: by NumPy, on the host memory behind the arrays; while a stream captures, it is recorded.

Arrays of NumPy and of another device than the current one are refused.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy

from ._state import transfers
from .cuda import runtime
from .cuda.blocks import Place
from .cuda.stream import enqueue, get_current_stream, refuse_legacy

SUPPORTED = frozenset("?bBhHiIlLqQefdFD")
CUBLAS = "calling cuBLAS API during stream capture is currently unsupported"


class Recorded:
    """An array as a graph keeps it: a place, a shape and a dtype."""

    def __init__(self, array: Any) -> None:
        host = array._host
        self.shape, self.strides, self.dtype = host.shape, host.strides, host.dtype
        low, high = array._bounds()
        self.shift = array._ptr - low
        self.place = Place(low, high - low, array.data.mem) if host.size else None

    def resolved(self) -> numpy.ndarray[Any, Any]:
        """The host array, if its memory is still there."""
        if self.place is None:
            return numpy.empty(self.shape, self.dtype)
        block = self.place.resolved()
        return numpy.ndarray(self.shape, self.dtype, block.host, self.place.offset + self.shift, self.strides)


def mapped(value: Any, change: Callable[[Any], Any]) -> Any:
    """The value, with `change` applied to each array in it: within tuples, lists and dicts."""
    from ._array import ndarray

    if isinstance(value, (ndarray, Recorded)):
        return change(value)
    if isinstance(value, (tuple, list)):
        return type(value)([mapped(item, change) for item in value])
    if isinstance(value, dict):
        return {key: mapped(item, change) for key, item in value.items()}
    return value


def arrays_in(value: Any) -> list[Any]:
    """The arrays within; raises TypeError for one of NumPy's."""
    from ._array import ndarray

    found, parts = [], [value]
    while parts:  # no function that calls itself: it would keep the arrays alive
        part = parts.pop()
        if isinstance(part, numpy.ndarray):
            raise TypeError(f"Unsupported type {type(part)}")
        if isinstance(part, ndarray):
            found.append(part)
        elif isinstance(part, (tuple, list)):
            parts.extend(reversed(part))
        elif isinstance(part, dict):
            parts.extend(part.values())
        elif hasattr(part, "__array__") and not isinstance(part, numpy.generic):
            raise TypeError(f"Unsupported type {type(part)}")
    return found


def check_device(array: Any) -> None:
    """Raise ValueError where an array is not on the current device."""
    here, current = array.data.device_id, runtime.getDevice()
    if here != current:
        raise ValueError(
            f"Array device must be same as the current device: array device = {here} while current = {current}. "
            f"The device where the array resides ({here}) is different from the current device ({current}). "
            "Peer access is unavailable between these devices."
        )


def execute(
    function: Callable[..., Any],
    arguments: Sequence[Any],
    options: dict[str, Any] | None = None,
    *,
    writes: Sequence[Any] = (),
    keeps_order: bool = False,
    cublas: bool = False,
    waits: bool = False,
    plain: bool = False,
) -> Any:
    """function(*arguments, **options) on the host arrays, with its result as an array of this library.

    writes: the arrays that the function changes. keeps_order: the result keeps the strides that NumPy gave it.
    cublas: the real one calls cuBLAS. waits: the real one waits for the device, since the shape of the result
    depends on values. plain: the result is none of arrays, and stays as it is.
    """
    options = options or {}
    given = arrays_in((arguments, options))
    stream = get_current_stream()
    for x in given if writes else ():
        check_device(x)
    if stream.capture:
        if cublas:
            raise NotImplementedError(CUBLAS)
        if waits:
            stream.synchronize()
        scratch = {id(x): numpy.empty_like(x._host) for x in writes}
        for x in writes:
            scratch[id(x)][...] = x._host
    else:
        if writes and stream.ptr == 0:
            refuse_legacy()
        scratch = {}
        transfers.waits += waits
    hosts = mapped((tuple(arguments), options), lambda x: scratch.get(id(x), x._host))
    with numpy.errstate(all="ignore"):
        value = function(*hosts[0], **hosts[1])
    if plain:
        return value
    owners = {id(scratch.get(id(x), x._host)): x for x in given}
    made: list[Any] = []
    result = wrapped(value, given, owners, keeps_order, made)
    for x in given if made else ():  # a view is made on any device
        check_device(x)
    if made and stream.ptr == 0:
        refuse_legacy()
    if stream.capture and (made or writes):
        call, results = mapped((tuple(arguments), options), Recorded), [Recorded(x) for x in made]

        def again() -> None:
            (arguments, options) = mapped(call, lambda x: x.resolved())
            with numpy.errstate(all="ignore"):
                value = function(*arguments, **options)
            values = [x for x in value if x is not None] if isinstance(value, (tuple, list)) else [value]
            for place, new in zip(results, values, strict=len(results) == len(values)):
                place.resolved()[...] = new

        enqueue(stream, again)
        for x in made:
            x._poison()
    return result


def wrapped(value: Any, given: Sequence[Any], owners: dict[int, Any], keeps_order: bool, made: list[Any]) -> Any:
    """NumPy's result as this library's: an argument itself, a view of one, or a new array on the device."""
    from ._array import ndarray

    if isinstance(value, (tuple, list)):
        return type(value)([wrapped(item, given, owners, keeps_order, made) for item in value])
    if value is None or isinstance(value, (str, numpy.dtype, type)):
        return value
    if isinstance(value, numpy.ndarray):
        if id(value) in owners:
            return owners[id(value)]
        root = value.base
        while root is not None:
            for x in given:
                if root is x._host or root is x._host.base:
                    return x._view_of(value)
            root = getattr(root, "base", None)
    new = numpy.asarray(value)
    check_dtype(new.dtype)
    array = ndarray._filled(new, keeps_order)
    made.append(array)
    return array


def check_dtype(dtype: Any) -> Any:
    """The dtype, if CuPy has it."""
    dtype = numpy.dtype(float if dtype is None else dtype)
    if dtype.char not in SUPPORTED or not dtype.isnative:
        raise ValueError(f"Unsupported dtype {dtype}")
    return dtype
