"""cupy.cuda.memory: device memory as blocks of host memory, pools of them, and pointers into them."""

from __future__ import annotations

import contextlib
import ctypes
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any

from .._state import cards
from . import runtime
from .blocks import UNIT, Block, block_at
from .runtime import CUDARuntimeError

_thread = threading.local()


class OutOfMemoryError(MemoryError):
    """The card is full."""

    def __init__(self, size: int, total: int, limit: int = 0) -> None:
        limited = f", limit set to: {limit:,} bytes" if limit else ""
        super().__init__(f"Out of memory allocating {size:,} bytes (allocated so far: {total:,} bytes{limited}).")


class Memory:
    """Device memory that is freed with this object."""

    def __init__(self, size: int) -> None:
        self.size, self.block, self.device_id = size, Block(size) if size else None, runtime.getDevice()
        self.ptr = self.block.ptr if self.block else 0
        if self.block:
            self.block.hand_out()

    def __del__(self) -> None:
        if getattr(self, "block", None):
            self.block.free()

    @property
    def device(self) -> Any:
        """Where it lies."""
        from .device import Device

        return Device(self.device_id)


BaseMemory = Memory


class UnownedMemory(Memory):
    """Device memory that somebody else owns."""

    def __init__(self, ptr: int, size: int, owner: Any, device_id: int = -1) -> None:
        self.ptr, self.size, self.owner = ptr, size, owner
        self.block = block_at(ptr, size) if size else None
        self.device_id = self.block.device_id if self.block else max(device_id, 0)

    def __del__(self) -> None:
        self.block = None


class PooledMemory(Memory):
    """Memory that goes back to its pool."""

    def __init__(self, block: Block, size: int, pool: MemoryPool) -> None:
        self.block, self.size, self.ptr, self.device_id = block, size, block.ptr, block.device_id
        self.pool = weakref.ref(pool)
        block.hand_out()

    def __del__(self) -> None:
        block, self.block = getattr(self, "block", None), None
        if block is not None:
            pool = self.pool()
            if pool is None:
                block.free()
            else:
                pool._give_back(block)


class MemoryPointer:
    """A place within device memory; keeps that alive."""

    def __init__(self, mem: Memory, offset: int) -> None:
        self.mem, self.ptr = mem, mem.ptr + offset

    def __int__(self) -> int:
        return self.ptr

    def __add__(self, offset: int) -> MemoryPointer:
        return MemoryPointer(self.mem, self.ptr - self.mem.ptr + offset)

    __radd__ = __add__

    def __sub__(self, offset: int) -> MemoryPointer:
        return self + -offset

    @property
    def device(self) -> Any:
        """Where it lies."""
        return self.mem.device

    @property
    def device_id(self) -> int:
        """The number of the device."""
        return self.mem.device_id

    def copy_from_device_async(self, src: MemoryPointer, size: int, stream: Any = None) -> None:
        """Copy bytes from device memory."""
        runtime.memcpyAsync(self.ptr, src.ptr, size, runtime.memcpyDeviceToDevice, _pointer(stream))

    def copy_from_host_async(self, mem: Any, size: int, stream: Any = None) -> None:
        """Copy bytes from the host: an address or a c_void_p."""
        refuse_copy("H2D", stream)
        runtime.memcpyAsync(self.ptr, _host_address(mem), size, runtime.memcpyHostToDevice, _pointer(stream))

    def copy_to_host_async(self, mem: Any, size: int, stream: Any = None) -> None:
        """Copy bytes to the host: an address or a c_void_p."""
        refuse_copy("D2H", stream)
        runtime.memcpyAsync(_host_address(mem), self.ptr, size, runtime.memcpyDeviceToHost, _pointer(stream))

    def copy_from_device(self, src: MemoryPointer, size: int) -> None:
        """Copy bytes from device memory."""
        self.copy_from_device_async(src, size)

    def copy_from_host(self, mem: Any, size: int) -> None:
        """Copy bytes from the host, and wait."""
        self.copy_from_host_async(mem, size)

    def copy_to_host(self, mem: Any, size: int) -> None:
        """Copy bytes to the host, and wait."""
        self.copy_to_host_async(mem, size)

    def memset(self, value: int, size: int) -> None:
        """Fill bytes."""
        runtime.memsetAsync(self.ptr, value, size, _pointer(None))

    def memset_async(self, value: int, size: int, stream: Any = None) -> None:
        """Fill bytes."""
        runtime.memsetAsync(self.ptr, value, size, _pointer(stream))


def refuse_copy(direction: str, stream: Any = None) -> None:
    """Raise where the stream is being captured, in CuPy's words."""
    from .stream import get_current_stream

    if (stream or get_current_stream()).capture:
        raise RuntimeError(
            f"the current stream is capturing, so {direction} transfers are disallowed "
            "(cudaErrorStreamCaptureUnsupported: operation not permitted when stream is capturing)"
        )


def _pointer(stream: Any) -> int:
    from .stream import get_current_stream

    return (stream or get_current_stream()).ptr


def _host_address(mem: Any) -> int:
    return mem.value if isinstance(mem, ctypes.c_void_p) else int(mem)


class MemoryPool:
    """Freed blocks, kept for the next who asks for that size."""

    def __init__(self, allocator: Any = None) -> None:
        self._free: dict[tuple[int, int], list[Block]] = {}
        self._used: dict[int, int] = {}
        self._limit: dict[int, int] = {}
        self._lock = threading.RLock()

    def malloc(self, size: int) -> MemoryPointer:
        """Memory on the current device, rounded up to 512 bytes."""
        if size == 0:
            return MemoryPointer(Memory(0), 0)
        size, device = -(-size // UNIT) * UNIT, runtime.getDevice()
        with self._lock:
            free = self._free.get((device, size))
            block = free.pop() if free else self._new(size, device)
            self._used[device] = self._used.get(device, 0) + size
        return MemoryPointer(PooledMemory(block, size, self), 0)

    def _new(self, size: int, device: int) -> Block:
        limit = self.get_limit()
        if limit and self.total_bytes() + size > limit:
            self.free_all_blocks()
            if self.total_bytes() + size > limit:
                raise OutOfMemoryError(size, self.total_bytes(), limit)
        for last in (False, True):
            try:
                return Block(size)
            except CUDARuntimeError as error:
                if error.status != 2:
                    raise
                if last:
                    raise OutOfMemoryError(size, self.total_bytes(), limit) from None
                self.free_all_blocks()
        raise AssertionError

    def _give_back(self, block: Block) -> None:
        with self._lock:
            self._used[block.device_id] -= block.size
            self._free.setdefault((block.device_id, block.size), []).append(block)

    def free_all_blocks(self, stream: Any = None) -> None:
        """Give what nobody uses back to the card."""
        with self._lock:
            for key in [key for key in self._free if key[0] == runtime.getDevice()]:
                for block in self._free.pop(key):
                    block.free()

    def n_free_blocks(self) -> int:
        """How many blocks wait for the next who asks."""
        return sum(len(blocks) for key, blocks in self._free.items() if key[0] == runtime.getDevice())

    def used_bytes(self) -> int:
        """Bytes that somebody has."""
        return self._used.get(runtime.getDevice(), 0)

    def free_bytes(self) -> int:
        """Bytes that wait for the next who asks."""
        return sum(key[1] * len(blocks) for key, blocks in self._free.items() if key[0] == runtime.getDevice())

    def total_bytes(self) -> int:
        """Both."""
        return self.used_bytes() + self.free_bytes()

    def set_limit(self, size: int | None = None, fraction: float | None = None) -> None:
        """The most that the pool takes from the current device, in bytes or as a fraction of the card; 0 is all."""
        if size is not None and fraction is not None:
            raise ValueError("size and fraction cannot be specified at one time")
        self._limit[runtime.getDevice()] = int(cards.bytes * fraction) if fraction is not None else size or 0

    def get_limit(self) -> int:
        """The limit on the current device."""
        return self._limit.get(runtime.getDevice(), 0)

    def __del__(self) -> None:
        for blocks in getattr(self, "_free", {}).values():
            for block in blocks:
                block.free()


class PinnedMemoryPool:
    """Where pinned memory comes from; nothing is kept."""

    def malloc(self, size: int) -> Any:
        """Pinned memory, as a buffer."""
        return alloc_pinned_memory(size)

    def free_all_blocks(self) -> None:
        """Nothing is kept."""

    def n_free_blocks(self) -> int:
        """Nothing is kept."""
        return 0


def alloc_pinned_memory(size: int) -> Any:
    """Host memory as a buffer that NumPy takes; has `ptr`, `size` and `mem` as CuPy's pointer has."""
    buffer: Any = type("PinnedMemoryPointer", (ctypes.c_ubyte * max(size, 1),), {})()
    buffer.ptr, buffer.size = ctypes.addressof(buffer), size
    return buffer


_pool, _pinned_pool = MemoryPool(), PinnedMemoryPool()
_allocator: list[Callable[[int], MemoryPointer]] = [_pool.malloc]


def get_default_memory_pool() -> MemoryPool:
    """The pool that arrays come from."""
    return _pool


def get_default_pinned_memory_pool() -> PinnedMemoryPool:
    """The pool that pinned memory comes from."""
    return _pinned_pool


def set_allocator(allocator: Callable[[int], MemoryPointer] | None = None) -> None:
    """What arrays are allocated by from now on."""
    if getattr(_thread, "allocators", None):
        raise ValueError("Can't change the global allocator inside `using_allocator` context manager")
    _allocator[0] = allocator or _from_card


def _from_card(size: int) -> MemoryPointer:
    """Straight from the card."""
    return MemoryPointer(Memory(size), 0)


@contextlib.contextmanager
def using_allocator(allocator: Callable[[int], MemoryPointer] | None = None) -> Iterator[None]:
    """What arrays are allocated by in this thread, within the block."""
    stack = _thread.__dict__.setdefault("allocators", [])
    stack.append(allocator or _from_card)
    try:
        yield
    finally:
        stack.pop()


def get_allocator() -> Callable[[int], MemoryPointer]:
    """What arrays are allocated by."""
    stack = getattr(_thread, "allocators", None)
    return stack[-1] if stack else _allocator[0]


def pool_in_force() -> Any:
    """The pool whose `malloc` arrays are allocated by; None where it is another function."""
    return getattr(get_allocator(), "__self__", None)


def alloc(size: int) -> MemoryPointer:
    """Memory for an array."""
    return get_allocator()(size)
