"""Where threads that run the same compiled code wait for each other: a counter, read until all have come.

It needs no layer of threads and no lock of Python. Who waits gives the processor away after a while, so that on a busy
machine the others come at all.
"""

from __future__ import annotations

import sys
from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]
from numba import njit, types
from numba.extending import intrinsic

SPINS = 2000
"""Looks at the counter before the processor is given away: some 50 microseconds."""
_give_away = types.ExternalFunction("SwitchToThread" if sys.platform == "win32" else "sched_yield", types.int32())


@intrinsic
def _come(typing: Any, counter: Any) -> Any:
    """Count one more at the address."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        place = builder.inttoptr(arguments[0], ir.IntType(64).as_pointer())
        builder.atomic_rmw("add", place, ir.Constant(ir.IntType(64), 1), "seq_cst")
        return context.get_dummy_value()

    return types.void(types.int64), code


@intrinsic
def _count(typing: Any, counter: Any) -> Any:
    """What the counter at the address says."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        place = builder.inttoptr(arguments[0], ir.IntType(64).as_pointer())
        return builder.load_atomic(place, "seq_cst", 8)

    return types.int64(types.int64), code


@intrinsic
def pointer(typing: Any, address: Any) -> Any:
    """An address as a pointer, of which `carray` makes an array."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], ir.IntType(8).as_pointer())

    return types.voidptr(types.int64), code


@njit(nogil=True)
def meet(counter: Any, all_here: int) -> None:
    """Count this thread at the counter, an address, and go on when it says that all are here."""
    _come(counter)  # type: ignore[call-arg]
    spins = 0
    while _count(counter) < all_here:
        spins += 1
        if spins > SPINS:
            _give_away()
