"""cupy.cuda.runtime: the calls of the CUDA runtime that CuPy passes on, on host memory."""

from __future__ import annotations

import ctypes
import threading
from typing import Any

from .._state import cards, transfers

NAMES = {
    1: ("cudaErrorInvalidValue", "invalid argument"),
    2: ("cudaErrorMemoryAllocation", "out of memory"),
    100: ("cudaErrorNoDevice", "no CUDA-capable device is detected"),
    101: ("cudaErrorInvalidDevice", "invalid device ordinal"),
    400: ("cudaErrorInvalidResourceHandle", "invalid resource handle"),
    700: ("cudaErrorIllegalAddress", "an illegal memory access was encountered"),
    900: ("cudaErrorStreamCaptureUnsupported", "operation not permitted when stream is capturing"),
    901: ("cudaErrorStreamCaptureInvalidated", "operation failed due to a previous error during capture"),
    904: ("cudaErrorStreamCaptureUnjoined", "capturing stream has unjoined work"),
    906: ("cudaErrorStreamCaptureImplicit", "operation would make the legacy stream depend on a capturing "
          "blocking stream"),
    907: ("cudaErrorCapturedEvent", "operation not permitted on an event last recorded in a capturing stream"),
}  # fmt: skip

memcpyHostToHost, memcpyHostToDevice, memcpyDeviceToHost, memcpyDeviceToDevice, memcpyDefault = range(5)
streamCaptureModeGlobal, streamCaptureModeThreadLocal, streamCaptureModeRelaxed = range(3)
streamCaptureStatusNone, streamCaptureStatusActive, streamCaptureStatusInvalidated = range(3)
streamDefault, streamNonBlocking, streamLegacy, streamPerThread = 0, 1, 1, 2
eventDefault, eventBlockingSync, eventDisableTiming, eventInterprocess = 0, 1, 2, 4
hostAllocDefault, hostAllocPortable, hostAllocMapped, hostAllocWriteCombined = 0, 1, 2, 4
is_hip = False
_thread = threading.local()


class CUDARuntimeError(RuntimeError):
    """An error of CUDA, by its number."""

    def __init__(self, status: int, detail: str = "") -> None:
        self.status = status
        super().__init__(": ".join(NAMES[status]) + (f" ({detail})" if detail else ""))


def getDeviceCount() -> int:
    """How many devices there are."""
    return cards.count


def getDevice() -> int:
    """The current device of this thread."""
    return getattr(_thread, "device", 0)


def setDevice(device: int) -> None:
    """Make a device the current one of this thread."""
    if not 0 <= device < cards.count:
        raise CUDARuntimeError(101)
    _thread.device = device


def getDeviceProperties(device: int) -> dict[str, Any]:
    """What a program may want to know of a card: an invented one, of compute capability 9.0."""
    if not 0 <= device < cards.count:
        raise CUDARuntimeError(101)
    return {
        "name": b"Stand-in", "major": 9, "minor": 0, "multiProcessorCount": 4, "totalGlobalMem": cards.bytes,
        "warpSize": 32, "maxThreadsPerBlock": 1024, "sharedMemPerBlock": 49152, "sharedMemPerBlockOptin": 232448,
        "sharedMemPerMultiprocessor": 233472, "regsPerBlock": 65536, "regsPerMultiprocessor": 65536, "clockRate": 10**6,
        "memoryClockRate": 10**6, "memoryBusWidth": 5120, "l2CacheSize": 50 << 20, "maxThreadsPerMultiProcessor": 2048,
        "maxThreadsDim": (1024, 1024, 64), "maxGridSize": (2**31 - 1, 65535, 65535), "totalConstMem": 65536,
        "pciBusID": device, "pciDeviceID": 0, "pciDomainID": 0, "concurrentKernels": 1, "unifiedAddressing": 1,
        "integrated": 0, "canMapHostMemory": 1, "ECCEnabled": 1, "computeMode": 0, "asyncEngineCount": 3,
    }  # fmt: skip


def deviceGetAttribute(attribute: int, device: int) -> int:
    """A few attributes, by CUDA's numbers."""
    known = {1: 1024, 8: 49152, 10: 32, 16: 4, 39: 2048, 75: 9, 76: 0, 81: 233472, 97: 232448, 115: 1}
    return known.get(attribute, 0)


def memGetInfo() -> tuple[int, int]:
    """The free and the whole memory of the current device, in bytes."""
    from .blocks import allocated

    return cards.bytes - allocated(getDevice()), cards.bytes


def driverGetVersion() -> int:
    """As a driver for CUDA 13.2 has it."""
    return 13020


def runtimeGetVersion() -> int:
    """As CuPy 14.2 for CUDA 13 has it."""
    return 13020


def memcpyAsync(dst: int, src: int, size: int, kind: int, stream: int) -> None:
    """Copy bytes; recorded while the stream captures."""
    from .blocks import Place
    from .stream import enqueue, stream_at

    if kind in (memcpyHostToDevice, memcpyDeviceToHost):
        if stream_at(stream).capture:
            raise CUDARuntimeError(900, "the stand-in does not capture copies between host and device")
        counts = transfers.count_to_device if kind == memcpyHostToDevice else transfers.count_to_host
        counts(size)
    to = dst if kind == memcpyDeviceToHost else Place(dst, size)
    origin = src if kind == memcpyHostToDevice else Place(src, size)
    enqueue(stream_at(stream), lambda: ctypes.memmove(address(to), address(origin), size))


def memcpy(dst: int, src: int, size: int, kind: int) -> None:
    """Copy bytes, and wait."""
    memcpyAsync(dst, src, size, kind, 0)


def memsetAsync(ptr: int, value: int, size: int, stream: int) -> None:
    """Fill bytes; recorded while the stream captures."""
    from .blocks import Place
    from .stream import enqueue, stream_at

    place = Place(ptr, size)
    enqueue(stream_at(stream), lambda: ctypes.memset(place.address(), value, size))


def memset(ptr: int, value: int, size: int) -> None:
    """Fill bytes."""
    memsetAsync(ptr, value, size, 0)


def address(place: Any) -> int:
    """The address of a place on a device, or a host address itself."""
    return place if isinstance(place, int) else place.address()


def deviceSynchronize() -> None:
    """Wait for the current device."""
    from .stream import refuse_if_any_captures

    refuse_if_any_captures(getDevice())


def streamSynchronize(stream: int) -> None:
    """Wait for a stream."""
    from .stream import stream_at

    stream_at(stream).synchronize()


def streamIsCapturing(stream: int) -> bool:
    """Whether a stream is being captured."""
    from .stream import stream_at

    return stream_at(stream).is_capturing()
