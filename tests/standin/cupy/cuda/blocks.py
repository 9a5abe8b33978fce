"""Device memory: what cudaMalloc gives, as blocks of host memory, and places in it that nothing keeps alive."""

from __future__ import annotations

import bisect
import threading
import weakref
from typing import Any

import numpy

from .._state import cards
from . import runtime
from .runtime import CUDARuntimeError

UNIT = 512
"""Bytes: what every size is rounded up to, as CuPy does."""
POISON, FREED = 0xCC, 0xDD
_lock = threading.RLock()
_blocks: dict[int, Block] = {}
_addresses: list[int] = []
_allocated: dict[int, int] = {}


class Block:
    """What one cudaMalloc gives.

    freed: it was given back to the card. given: how often it was handed to somebody outside a capture; a graph
    compares that, and so notices when its memory has got another owner.
    """

    def __init__(self, size: int) -> None:
        from .stream import refuse_malloc_in_capture

        self.device_id = runtime.getDevice()
        refuse_malloc_in_capture()
        if allocated(self.device_id) + size > cards.bytes:
            raise CUDARuntimeError(2)
        raw = numpy.empty(size + UNIT, numpy.uint8)
        start = -raw.ctypes.data % UNIT
        self.host = raw[start : start + size].view()
        self.ptr, self.size, self.freed, self.given = raw.ctypes.data + start, size, False, 0
        with _lock:
            _allocated[self.device_id] = allocated(self.device_id) + size
            _blocks[self.ptr] = self
            bisect.insort(_addresses, self.ptr)

    def hand_out(self) -> None:
        """Somebody gets it: with rubbish in it, as on a card."""
        from .stream import get_current_stream

        self.host[...] = POISON
        self.given += get_current_stream().capture is None

    def free(self) -> None:
        """cudaFree."""
        if self.freed or _lock is None:  # at the end of the interpreter
            return
        with _lock:
            self.freed = True
            self.host[...] = FREED
            _allocated[self.device_id] -= self.size
            del _blocks[self.ptr]
            _addresses.remove(self.ptr)


def allocated(device_id: int) -> int:
    """The bytes of a device that are taken."""
    return _allocated.get(device_id, 0)


def block_at(ptr: int, size: int) -> Block:
    """The block that holds these addresses; raises what CUDA would where there is none."""
    with _lock:
        n = bisect.bisect_right(_addresses, ptr) - 1
        block = _blocks[_addresses[n]] if n >= 0 else None
    if block is None or ptr + size > block.ptr + block.size:
        raise CUDARuntimeError(700, f"{size} bytes at {ptr:#x} are not within one allocation")
    return block


class Place:
    """A range of device memory by its address, as a graph keeps it: it keeps nothing alive."""

    def __init__(self, ptr: int, size: int, memory: Any = None) -> None:
        from .memory import pool_in_force
        from .stream import get_current_stream

        block = block_at(ptr, size)
        self.block, self.offset, self.size, self.given = weakref.ref(block), ptr - block.ptr, size, block.given
        pool = getattr(memory, "pool", lambda: None)()
        self.in_force = pool is not None and pool is pool_in_force() and get_current_stream().capture is not None
        self.memory = weakref.ref(memory) if hasattr(memory, "pool") else None

    def resolved(self) -> Block:
        """The block, if it still belongs to who had it."""
        block = self.block()
        dead = self.memory is not None and self.memory() is None
        if block is None or block.freed or block.given != self.given or (dead and not self.in_force):
            raise CUDARuntimeError(
                700, "a graph uses memory that was freed, or given to another array, since its capture"
            )
        return block

    def address(self) -> int:
        """Where it is now."""
        return self.resolved().ptr + self.offset
