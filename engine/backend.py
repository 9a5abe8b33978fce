"""Devices: which array library serves a tensor, and moving from one to the other.

The only file that imports cupy. A device is named "cpu", "gpu" (the same as "gpu:0") or "gpu:1"; "auto" is the
first GPU that works, else the CPU. Nothing moves by itself: `to_device` and `fetch` are the ways across, and both
are counted.
"""

from __future__ import annotations

import ctypes
import importlib
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeAlias, cast

import numpy

from ..errors import DeviceError, DeviceMemoryError, UsageError
from ..hints import install_command
from . import forked
from .capturing import capturing

Array: TypeAlias = Any
"""An array of one of the libraries: numpy.ndarray or cupy.ndarray."""

Namespace: TypeAlias = Any
"""An array library (numpy, cupy), or the engine's namespace of primitives."""

REFUSED = (ValueError, IndexError, TypeError, OverflowError, ZeroDivisionError)
"""What array libraries, and Python's numbers, raise where they cannot take their arguments."""


# Which devices there are


class Cupy:
    """CuPy as kernels see it: where one of its functions takes other arguments than NumPy's, as NumPy has it."""

    def __init__(self, cupy: Any) -> None:
        self.cupy = cupy

    def __getattr__(self, name: str) -> Any:
        value = getattr(self.cupy, name)
        if name in REDUCTIONS:
            value = _reduction(name, value)
        setattr(self, name, value)
        return value

    def cumsum(self, a: Array, axis: int | None = None, dtype: Any = None, out: Array = None) -> Array:
        """The sums so far. Without an axis `out` is flat: CuPy's would have the shape of a."""
        return self.cupy.cumsum(*_flat(a, axis), dtype, out)

    def cumprod(self, a: Array, axis: int | None = None, dtype: Any = None, out: Array = None) -> Array:
        """The products so far, as `cumsum`."""
        return self.cupy.cumprod(*_flat(a, axis), dtype, out)

    def dot(self, a: Array, b: Array, out: Array = None) -> Array:
        """The product. Of two vectors it is a sum of products, since no graph takes in CuPy's, which is cuBLAS's."""
        if a.ndim == b.ndim == 1 and a.dtype == b.dtype and a.dtype.kind == "f":
            return self.cupy.sum(a * b, out=out)
        return self.cupy.dot(a, b, out)

    def take(self, a: Array, indices: Array, axis: int | None = None, out: Array = None, mode: str = "raise") -> Array:
        """Elements at indices. mode: what NumPy does with places outside; CuPy wraps them around, since checking
        them would wait for the device.
        """
        return self.cupy.take(a, indices, axis, out)

    def einsum(self, subscripts: str, *operands: Array, optimize: Any = False) -> Array:
        """Einstein summation, in the order that CuPy chooses."""
        return self.cupy.einsum(subscripts, *operands)


REDUCTIONS = {
    **dict.fromkeys(("sum", "prod"), ("dtype", "out", "keepdims")),
    **dict.fromkeys(
        ("max", "amax", "min", "amin", "ptp", "any", "all", "argmax", "argmin"), ("out", "keepdims")
    ),
}  # fmt: skip
"""Functions that NumPy takes over the last axis of a single number, too, and what may follow the axis."""
OUT_IS_BROKEN = ("min", "amin", "ptp")
"""Those of which CuPy 14.2 takes `out` for a dtype."""


def _reduction(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """One of CuPy's, as NumPy has it."""

    def reduced(a: Array, axis: Any = None, *others: Any, **options: Any) -> Array:
        options |= dict(zip(REDUCTIONS[name], others, strict=False))
        if not a.ndim and axis in (0, -1):
            axis = None
        if name not in OUT_IS_BROKEN or options.get("out") is None:
            return function(a, axis=axis, **options)
        out = options.pop("out")
        out[...] = function(a, axis=axis, **options)
        return out

    reduced.__name__ = name
    return reduced


def _flat(a: Array, axis: int | None) -> tuple[Array, int]:
    """The array and the axis to go along: without one, or of a single number, the elements in a row."""
    return (a, axis) if axis is not None and a.ndim else (a.ravel(), 0)


@cache
def load_cupy() -> Cupy:
    """Import cupy and see that it has a device; raises DeviceError that says what is missing and what to do."""
    if _left_behind:
        raise DeviceError(
            "this process was forked from one that has used a GPU, and CUDA does not survive that: start it by "
            "multiprocessing.get_context('spawn'), or fork before the first use of a GPU."
        )
    try:
        cupy = importlib.import_module("cupy")
    except Exception as error:  # a broken installation raises what it likes: ImportError, OSError, AttributeError
        raise DeviceError(
            f"the GPU needs CuPy, which could not be imported ({type(error).__name__}: {error}): "
            f"{install_command('gpu')} for CUDA 13, with gpu-cuda12 for CUDA 12; then `chalkgrad doctor`."
        ) from error
    try:
        devices = cupy.cuda.runtime.getDeviceCount()
    except Exception as error:
        raise DeviceError(
            f"CuPy {cupy.__version__} is installed, but CUDA cannot be used ({error}): "
            "install or update the NVIDIA driver, or take the CuPy for the CUDA that the driver knows "
            f"({install_command('gpu')} for CUDA 13, with gpu-cuda12 for CUDA 12); then `chalkgrad doctor`."
        ) from error
    if not devices:
        raise DeviceError("CuPy and the driver work, but no CUDA device is visible: see CUDA_VISIBLE_DEVICES.")
    return Cupy(cupy)


_left_behind: list[Cupy] = []
"""CuPy as a forked child finds it, where its parent had loaded it."""


@forked.in_child
def _leave_cuda_behind(load: Any = load_cupy) -> None:
    if load.cache_info().currsize:
        _left_behind.append(load())
        load.cache_clear()


@cache
def load_cublas() -> Any:
    """cuBLAS, the library that CuPy itself has loaded, to be called on a handle of our own; None where it is hidden."""
    cupy = load_cupy()
    cupy.cuda.get_cublas_handle()  # so that it is loaded
    try:
        return ctypes.CDLL(f"libcublas.so.{cupy.cuda.runtime.runtimeGetVersion() // 1000}")
    except OSError:
        return None


@cache
def load_nccl() -> Any:
    """CuPy's NCCL, which adds up arrays of several GPUs; raises DeviceError where this CuPy has none."""
    load_cupy()
    try:
        nccl = importlib.import_module("cupy.cuda.nccl")
        if getattr(nccl, "available", True):
            nccl.get_version()
            return nccl
        told: Exception = ImportError("CuPy was built without it")
    except Exception as error:  # its library is another package's, and may be missing or broken
        told = error
    raise DeviceError(
        f"training over ranks on GPUs needs NCCL, which this CuPy cannot use ({type(told).__name__}: {told}): install "
        "nvidia-nccl-cu13 (nvidia-nccl-cu12 for CUDA 12), or train on CPUs, device='cpu'."
    ) from told


def card_of(device: str) -> str:
    """Which card a GPU is: its PCI bus id, which does not depend on CUDA_VISIBLE_DEVICES."""
    return str(load_cupy().cuda.Device(number_of(device)).pci_bus_id)


def resolve_device(name: str) -> str:
    """The full name of a device: "cpu" or "gpu:N". "auto" is a GPU where one works, else "cpu".

    Raises UsageError for a name that is none, DeviceError where that GPU cannot be used.
    """
    if name == "cpu":
        return name
    if name == "auto":
        try:
            load_cupy()
        except DeviceError:
            return "cpu"
        return "gpu:0"
    match = re.fullmatch(r"gpu(?::(\d+))?", name) if isinstance(name, str) else None
    if not match:
        raise UsageError(f"unknown device {name!r}: it is 'cpu', 'gpu', 'gpu:N' or 'auto'.")
    number, count = int(match[1] or 0), load_cupy().cuda.runtime.getDeviceCount()
    if number >= count:
        raise DeviceError(f"there is no device 'gpu:{number}': this machine has {count}, counted from 0.")
    return f"gpu:{number}"


def number_of(device: str) -> int:
    """The number of a GPU: 1 for "gpu:1"."""
    return int(device.partition(":")[2] or 0)


def working(device: str, what: str) -> AbstractContextManager[None]:
    """Work on a device: that GPU is the current one. On the CPU it changes nothing.

    what: names the work, where the device has not the memory for it; then DeviceMemoryError is raised, with sizes,
    and what CuPy keeps of freed memory is given back, so that a smaller try can succeed.
    """
    return _anywhere if device == "cpu" else _working(device, what)


_anywhere = nullcontext()


@contextmanager
def _working(device: str, what: str) -> Iterator[None]:
    cupy = load_cupy()
    with cupy.cuda.Device(number_of(device)):
        try:
            yield
        except cupy.cuda.memory.OutOfMemoryError as error:
            cupy.get_default_memory_pool().free_all_blocks()
            figures = memory(device)
            raise DeviceMemoryError(
                f"{what}: {device} has not the memory for it ({str(error).rstrip('.')}): {figures}. Take smaller "
                "batches or a smaller model, delete tensors that are no longer needed, or keep the data on the CPU."
            ) from None


# Which device and library an array has


def device_of(array: Array) -> str:
    """The device an array lives on."""
    if isinstance(array, (numpy.ndarray, numpy.generic)):
        return "cpu"
    return array.place if hasattr(array, "place") else f"gpu:{array.device.id}"


def namespace_of(array: Array) -> Namespace:
    """The library an array belongs to: numpy or cupy; while a step is captured, the same, recording."""
    capture = capturing()
    return capture.library_of(array) if capture else library_of(array)


def library_of(array: Array) -> Namespace:
    """The library itself, also while a step is captured: for what is set up once and then kept."""
    if isinstance(array, (numpy.ndarray, numpy.generic)):
        return numpy
    return library_of(array.array) if hasattr(array, "place") else load_cupy()


def library_for(device: str) -> Namespace:
    """The library that serves a device."""
    return numpy if device == "cpu" else load_cupy()


def plain(array: Array) -> Array:
    """The array itself, also while a step is captured, in this thread or in another that has borrowed it."""
    return array if array.__class__ is numpy.ndarray else getattr(array, "array", array)


def strided(array: Array, shape: tuple[int, ...], strides: tuple[int, ...]) -> Array:
    """A view of other shape and strides (in bytes) from the array's first element on; the caller keeps it inside."""
    if array.__class__ is not numpy.ndarray and (capture := capturing()):
        return capture.call("as_strided", _strided, (array, shape, strides))
    return _strided(array, shape, strides)


def _strided(array: Array, shape: tuple[int, ...], strides: tuple[int, ...]) -> Array:
    return library_of(array).lib.stride_tricks.as_strided(array, shape, strides)


def common_namespace(arrays: Iterable[Array], operation: str) -> Namespace:
    """The one library that all the arrays among `arrays` (numbers, also NumPy's, go with any) belong to.

    Raises DeviceError that names both devices where they differ: nothing is moved silently.
    """
    device, first = None, cast(Array, None)
    for array in arrays:
        if hasattr(array, "dtype") and not isinstance(array, numpy.generic):
            here = "cpu" if array.__class__ is numpy.ndarray else device_of(array)
            if device is None:
                device, first = here, array
            elif here != device:
                raise DeviceError(
                    f"{operation} got a tensor on {device} (shape {first.shape}) and one on {here} "
                    f"(shape {array.shape}): move one of them with .to({here!r}) or .to({device!r})."
                )
    return numpy if first is None else namespace_of(first)


# Across


@dataclass
class Transfers:
    """What went from the host to a GPU and back while it was counted: how often, and how many bytes."""

    to_device: int = 0
    to_host: int = 0
    bytes_to_device: int = 0
    bytes_to_host: int = 0


_counts: list[Transfers] = []


@contextmanager
def count_transfers() -> Iterator[Transfers]:
    """Count what is moved between host and GPU inside the `with`: `to_device`, `to_host`, and the bytes of both."""
    count = Transfers()
    _counts.append(count)
    try:
        yield count
    finally:
        _counts[:] = [c for c in _counts if c is not count]


def note_transfer(nbytes: int, to_host: bool = False) -> None:
    """Enter a transfer into the counts that are under way."""
    for count in _counts:
        if to_host:
            count.to_host += 1
            count.bytes_to_host += nbytes
        else:
            count.to_device += 1
            count.bytes_to_device += nbytes


def to_device(array: Array, device: str) -> Array:
    """The array on `device`: itself where it is there already, else a copy."""
    device = resolve_device(device)
    if device_of(array) == device:
        return array
    array = read(array, f"a tensor is moved to {device}")
    return fetch(array) if device == "cpu" else send(array, device)


def send(array: Array, device: str) -> Array:
    """A copy of the array on a GPU, also while a step is captured, which does not hear of it."""
    if device == "cpu":
        return array
    with working(device, f"moving an array of shape {array.shape}, {array.nbytes:,} bytes"):
        if isinstance(array, (numpy.ndarray, numpy.generic)):
            note_transfer(array.nbytes)
        return load_cupy().asarray(array)


def fetch(array: Array) -> Any:
    """The values on the host, as a NumPy array; waits for the device."""
    if isinstance(array, (numpy.ndarray, numpy.generic)):
        return numpy.asarray(array)
    note_transfer(array.nbytes, to_host=True)
    with working(device_of(array), "reading values"):
        return load_cupy().asnumpy(array)


def pinned(shape: tuple[int, ...], dtype: Any) -> numpy.ndarray[Any, Any]:
    """Memory of the host from which a GPU takes copies while the host goes on; its values are arbitrary at first."""
    made: numpy.ndarray[Any, Any] = importlib.import_module("cupyx").empty_pinned(shape, dtype)
    return made


def set_items(array: Array, index: Any, value: Any) -> None:
    """array[index] ← value, in place."""
    if capture := capturing():
        capture.set_items(array, index, value)
    else:
        own = array if array.__class__ is numpy.ndarray else plain(array)
        own[index] = plain(value)


def read(array: Array, what: str) -> Array:
    """The array, of which a value is about to be read on the host; a capture under way hears of it."""
    capture = capturing()
    return capture.read(array, what) if capture else plain(array)


def overlap(a: Array, b: Array) -> bool:
    """Whether two arrays may share memory: their bounds do."""
    library = library_of(a)
    return library is library_of(b) and bool(library.may_share_memory(a, b))


def address_of(array: Array) -> int:
    """Where the first element of an array lies in its device's memory."""
    return int(array.ctypes.data if isinstance(array, numpy.ndarray) else array.data.ptr)


def owner_of(array: Any) -> Any:
    """The array that owns the memory, as far as views tell of what they are."""
    while getattr(array, "base", None) is not None and hasattr(array.base, "strides"):
        array = array.base
    return array


# What a device is doing


@dataclass(frozen=True)
class Memory:
    """The memory of a GPU in bytes. used: by arrays; kept: freed, but kept by CuPy for the next ones; free: at the
    driver, for any process; total: of the card.
    """

    used: int
    kept: int
    free: int
    total: int

    def __str__(self) -> str:
        return (
            f"{self.used:,} bytes are in arrays, {self.kept:,} kept for the next ones, {self.free:,} of "
            f"{self.total:,} free"
        )


def memory(device: str) -> Memory:
    """How much memory a GPU has, and what it is in use for. Raises UsageError for the CPU."""
    device = resolve_device(device)
    if device == "cpu":
        raise UsageError("memory figures are a GPU's: device is 'gpu' or 'gpu:N'.")
    cupy = load_cupy()
    with cupy.cuda.Device(number_of(device)) as current:
        pool = cupy.get_default_memory_pool()
        free, total = current.mem_info
        return Memory(pool.used_bytes(), pool.total_bytes() - pool.used_bytes(), free, total)


def synchronize(device: str) -> None:
    """Wait until everything enqueued on the device is done (a no-op on the CPU)."""
    if resolve_device(device) != "cpu":
        with load_cupy().cuda.Device(number_of(device)):
            load_cupy().cuda.get_current_stream().synchronize()
