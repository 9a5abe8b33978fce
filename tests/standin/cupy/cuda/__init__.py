"""cupy.cuda of the stand-in."""

from __future__ import annotations

import contextlib

from . import device, graph, memory, runtime, stream
from .device import Device, get_cublas_handle, get_device_id
from .graph import Graph
from .memory import (
    BaseMemory,
    Memory,
    MemoryPointer,
    MemoryPool,
    PinnedMemoryPool,
    UnownedMemory,
    alloc,
    alloc_pinned_memory,
    get_allocator,
    set_allocator,
    using_allocator,
)
from .stream import Event, Stream, get_current_stream, get_elapsed_time


def is_available() -> bool:
    """Whether a device is there."""
    return runtime.getDeviceCount() > 0


def get_local_runtime_version() -> int:
    """The version of the CUDA runtime."""
    return runtime.runtimeGetVersion()


@contextlib.contextmanager
def profile():
    """Nothing is profiled."""
    yield
