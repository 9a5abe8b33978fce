"""cupy.cuda.stream: streams, events, and capture as strict as CUDA's: while a stream captures, work is recorded and not
done. What is not captured is done at once: the stand-in is never late, so a missing synchronisation is not noticed.
"""

from __future__ import annotations

import itertools
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any

from . import runtime
from .runtime import CUDARuntimeError

_thread = threading.local()
_pointers = itertools.count(0x10000, 0x40)
_streams: weakref.WeakValueDictionary[int, BaseStream] = weakref.WeakValueDictionary()
_capturing: list[Capture] = []


class Capture:
    """What one capture has recorded, on the streams that take part."""

    def __init__(self, origin: BaseStream, mode: int) -> None:
        self.origin, self.mode, self.thread, self.device = origin, mode, threading.get_ident(), runtime.getDevice()
        self.work: list[Callable[[], Any]] = []
        self.streams: list[BaseStream] = [origin]
        self.unjoined: set[int] = set()
        self.broken = False

    def record(self, stream: BaseStream, work: Callable[[], Any]) -> None:
        """Add what `stream` does next."""
        self.work.append(work)
        if stream is not self.origin:
            self.unjoined.add(stream.ptr)


class BaseStream:
    """A queue of work."""

    def __init__(self, ptr: int, device_id: int) -> None:
        self.ptr, self.device_id = ptr, device_id
        self.capture: Capture | None = None
        self.done, self.non_blocking = True, False

    def __eq__(self, other: object) -> bool:
        return isinstance(other, BaseStream) and self.ptr == other.ptr

    def __hash__(self) -> int:
        return hash(self.ptr)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.ptr} (device {self.device_id})>"

    @property
    def is_non_blocking(self) -> bool:
        """Whether it goes its way beside the null stream."""
        return self.non_blocking

    def __enter__(self) -> BaseStream:
        self._check_device()
        _thread.__dict__.setdefault("before", []).append((runtime.getDevice(), get_current_stream()))
        return self.use()

    def __exit__(self, *error: Any) -> None:
        device, stream = _thread.before.pop()
        _current()[device] = stream

    def use(self) -> BaseStream:
        """Make it the current stream of this thread, on the current device."""
        self._check_device()
        _current()[runtime.getDevice()] = self
        return self

    def _check_device(self) -> None:
        if self.device_id not in (-1, runtime.getDevice()):
            raise RuntimeError(
                f"This stream was created on device {self.device_id}, which is not the current device "
                f"{runtime.getDevice()}"
            )

    def synchronize(self) -> None:
        """Wait until all is done."""
        if self.capture:
            self.capture.broken = True
            raise CUDARuntimeError(900)
        if self.ptr == 0:
            refuse_legacy()

    def record(self, event: Event | None = None) -> Event:
        """Record an event."""
        event = event or Event()
        event.record(self)
        return event

    def wait_event(self, event: Event) -> None:
        """What comes later waits for the event; from a capture, that takes the stream into it."""
        if event.capture is None:
            return
        if self.capture is None:
            self.capture = event.capture
            event.capture.streams.append(self)
        elif self is event.capture.origin and event.stream is not None:
            event.capture.unjoined.discard(event.stream)

    def launch_host_func(self, callback: Callable[[Any], None], arg: Any) -> None:
        """Call back when all before it is done."""
        enqueue(self, lambda: callback(arg))

    def begin_capture(self, mode: int | None = None) -> None:
        """Record, from now on, instead of doing."""
        if self.ptr == 0:
            raise RuntimeError("cannot capture on the default (legacy) stream")
        if self.capture:
            raise CUDARuntimeError(900)
        self.capture = Capture(self, runtime.streamCaptureModeRelaxed if mode is None else mode)
        _capturing.append(self.capture)

    def end_capture(self) -> Any:
        """The graph of what was recorded."""
        from .graph import Graph

        capture = self.capture
        if capture is None or capture.origin is not self:
            raise CUDARuntimeError(1, "the stream did not begin a capture")
        _capturing.remove(capture)
        for stream in capture.streams:
            stream.capture = None
        if capture.broken:
            raise CUDARuntimeError(901)
        if capture.unjoined:
            raise CUDARuntimeError(904)
        return Graph._made(capture.work, capture.device)

    def is_capturing(self) -> bool:
        """Whether it is."""
        if self.ptr == 0:
            refuse_legacy()
        return self.capture is not None


class Stream(BaseStream):
    """A stream of its own, or the null stream."""

    null: BaseStream
    ptds: BaseStream

    def __init__(
        self, null: bool = False, non_blocking: bool = False, ptds: bool = False, priority: int | None = None
    ) -> None:
        super().__init__(0 if null else 2 if ptds else next(_pointers), runtime.getDevice() if not null else -1)
        self.non_blocking, self.priority = non_blocking, priority or 0
        if not null:
            _streams[self.ptr] = self


Stream.null = Stream(null=True)


def _current() -> dict[int, BaseStream]:
    return _thread.__dict__.setdefault("current", {})


def get_current_stream(device_id: int = -1) -> BaseStream:
    """The current stream of this thread, on the current device."""
    return _current().get(runtime.getDevice() if device_id < 0 else device_id, Stream.null)


def stream_at(ptr: int) -> BaseStream:
    """The stream with this pointer."""
    stream = Stream.null if ptr in (0, runtime.streamLegacy) else _streams.get(ptr)
    if stream is None:
        raise CUDARuntimeError(400)
    return stream


def enqueue(stream: BaseStream, work: Callable[[], Any]) -> None:
    """Do it; while the stream captures, record it."""
    if stream.capture:
        stream.capture.record(stream, work)
    else:
        if stream.ptr == 0:
            refuse_legacy()
        work()


def refuse_legacy() -> None:
    """The null stream may not be used while a stream that it would wait for captures."""
    for capture in _capturing:
        if capture.device == runtime.getDevice() and not capture.origin.non_blocking:
            capture.broken = True
            raise CUDARuntimeError(906)


def refuse_if_any_captures(device: int) -> None:
    """A device of which a stream captures cannot be waited for."""
    for capture in _capturing:
        if capture.device == device:
            capture.broken = True
            raise CUDARuntimeError(900)


def refuse_malloc_in_capture() -> None:
    """cudaMalloc is refused in the strict modes of capture."""
    for capture in _capturing:
        mine = capture.thread == threading.get_ident()
        if capture.mode == runtime.streamCaptureModeGlobal or (
            capture.mode == runtime.streamCaptureModeThreadLocal and mine
        ):
            capture.broken = True
            raise CUDARuntimeError(900)


class Event:
    """A point in a stream."""

    def __init__(self, block: bool = False, disable_timing: bool = False, interprocess: bool = False) -> None:
        self.ptr, self.timed = next(_pointers), not disable_timing
        self.time: float | None = None
        self.stream: int | None = None
        self.capture: Capture | None = None

    @property
    def done(self) -> bool:
        """Whether it was reached."""
        self.synchronize()
        return True

    def record(self, stream: BaseStream | None = None) -> None:
        """Put it at the end of a stream."""
        stream = stream or get_current_stream()
        self.time, self.stream, self.capture = time.perf_counter(), stream.ptr, stream.capture

    def synchronize(self) -> None:
        """Wait for it."""
        if self.capture in _capturing:
            raise CUDARuntimeError(907)


def get_elapsed_time(start_event: Event, end_event: Event) -> float:
    """Milliseconds between two events."""
    if not (start_event.timed and end_event.timed) or start_event.time is None or end_event.time is None:
        raise CUDARuntimeError(400)
    return (end_event.time - start_event.time) * 1000
