"""Devices: which array library serves a tensor, and moving from one to the other.

The only file that imports cupy. A device is named "cpu", "gpu" (the same as "gpu:0") or "gpu:1"; "auto" is the
first GPU that works, else the CPU. Nothing moves by itself: `to_device` is the one way across.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterable
from functools import cache
from threading import get_ident
from types import ModuleType
from typing import Any, TypeAlias, cast

import numpy

from .errors import DeviceError, UsageError

Array: TypeAlias = Any
"""An array of one of the libraries: numpy.ndarray or cupy.ndarray."""

Namespace: TypeAlias = Any
"""An array library (numpy, cupy), or the engine's namespace of primitives."""

traces: list[Any] = []
"""The capture under way, if there is one: it hears of every operation on arrays, and of every value that is read."""


def under_way() -> Any:
    """The capture under way in this thread; None where there is none."""
    thread = get_ident()
    return next((trace for trace in reversed(traces) if trace.thread == thread), None)


@cache
def load_cupy() -> ModuleType:
    """Import cupy and see that it has a device; raises DeviceError that says what is missing and what to do."""
    try:
        cupy = importlib.import_module("cupy")
    except Exception as error:  # a broken installation raises what it likes: ImportError, OSError, AttributeError
        raise DeviceError(
            f"the GPU needs CuPy, which could not be imported ({type(error).__name__}: {error}): "
            "pip install 'chalkgrad[gpu]' for CUDA 13, 'chalkgrad[gpu-cuda12]' for CUDA 12; then `chalkgrad doctor`."
        ) from error
    try:
        devices = cupy.cuda.runtime.getDeviceCount()
    except Exception as error:
        raise DeviceError(
            f"CuPy {cupy.__version__} is installed, but CUDA cannot be used ({error}): "
            "install or update the NVIDIA driver; then `chalkgrad doctor`."
        ) from error
    if not devices:
        raise DeviceError("CuPy and the driver work, but no CUDA device is visible: see CUDA_VISIBLE_DEVICES.")
    return cupy


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


def device_of(array: Array) -> str:
    """The device an array lives on."""
    if isinstance(array, (numpy.ndarray, numpy.generic)):
        return "cpu"
    return array.place if hasattr(array, "place") else f"gpu:{array.device.id}"


def namespace_of(array: Array) -> Namespace:
    """The library an array belongs to: numpy or cupy; while a step is captured, the same, recording."""
    if traces and (trace := under_way()):
        return trace.library_of(array)
    return library_of(array)


def library_of(array: Array) -> Namespace:
    """The library itself, also while a step is captured: for what is set up once and then kept."""
    if isinstance(array, (numpy.ndarray, numpy.generic)):
        return numpy
    return library_of(array.array) if hasattr(array, "place") else load_cupy()


def plain(array: Array) -> Array:
    """The array itself, also while a step is captured."""
    trace = under_way() if traces else None
    return trace.plain(array) if trace else array


def common_namespace(arrays: Iterable[Array], operation: str) -> Namespace:
    """The one library that all the arrays among `arrays` (Python scalars go with any) belong to.

    Raises DeviceError that names both devices where they differ: nothing is moved silently.
    """
    device, first = None, cast(Array, None)
    for array in arrays:
        if hasattr(array, "dtype"):
            here = "cpu" if array.__class__ is numpy.ndarray else device_of(array)
            if device is None:
                device, first = here, array
            elif here != device:
                raise DeviceError(
                    f"{operation} got a tensor on {device} (shape {first.shape}) and one on {here} "
                    f"(shape {array.shape}): move one of them with .to({here!r}) or .to({device!r})."
                )
    return numpy if first is None else namespace_of(first)


def to_device(array: Array, device: str) -> Array:
    """The array on `device`: itself where it is there already, else a copy."""
    device = resolve_device(device)
    if device_of(array) == device:
        return array
    if traces and (trace := under_way()):
        array = trace.read(array, f"a tensor is moved to {device}")
    if device == "cpu":
        return load_cupy().asnumpy(array)
    cupy = load_cupy()
    with cupy.cuda.Device(int(device.partition(":")[2])):
        return cupy.asarray(array)


def set_items(array: Array, index: Any, value: Any) -> None:
    """array[index] ← value, in place."""
    if traces and (trace := under_way()):
        trace.set_items(array, index, value)
    else:
        own: Any = getattr(array, "array", array)  # lent to a capture in another thread, perhaps
        own[index] = value


def read(array: Array, what: str) -> Array:
    """The array, of which a value is about to be read on the host; a capture under way hears of it."""
    trace = under_way() if traces else None
    return trace.read(array, what) if trace else array


def overlap(a: Array, b: Array) -> bool:
    """Whether two arrays may share memory: their bounds do."""
    library = library_of(a)
    return library is library_of(b) and bool(library.may_share_memory(a, b))


def synchronize(device: str) -> None:
    """Wait until everything enqueued on the device is done (a no-op on the CPU)."""
    if resolve_device(device) != "cpu":
        with load_cupy().cuda.Device(int(device.partition(":")[2] or 0)):
            load_cupy().cuda.get_current_stream().synchronize()
