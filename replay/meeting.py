"""What compiled code calls; and where threads that run it wait for each other: a counter, read until all have come.

That needs no layer of threads and no lock of Python. Who waits gives the processor away after a while, so that on a
busy machine the others come at all.
"""

from __future__ import annotations

import sys
from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]
from numba import njit, types
from numba.core import cgutils
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


def pointer_to(dtype: Any) -> Any:
    """What makes of an address a pointer to elements of a dtype."""

    @intrinsic
    def pointer(typing: Any, address: Any) -> Any:
        def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))

        kind: Any = types.CPointer
        return kind(types.uint8 if dtype is types.bool_ else dtype)(types.int64), code

    return pointer


@njit(nogil=True)
def meet(counter: Any, all_here: int) -> None:
    """Count this thread at the counter, an address, and go on when it says that all are here."""
    _come(counter)  # type: ignore[call-arg]
    spins = 0
    while _count(counter) < all_here:
        spins += 1
        if spins > SPINS:
            _give_away()


def _caller(inputs: int) -> Any:
    """How one of NumPy's loops with so many inputs is called: by its address and that of its data, over how many
    elements, and for each array its address and how far two elements are apart.
    """
    long, byte = ir.IntType(64), ir.IntType(8).as_pointer()

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        function, data, count, *arrays = arguments
        once: Any = cgutils.alloca_once  # at the begin of the function, not in each turn of a loop
        where, steps, size = once(builder, byte, inputs + 1), once(builder, long, inputs + 1), once(builder, long)
        builder.store(count, size)
        for n in range(inputs + 1):
            place = ir.Constant(ir.IntType(32), n)
            builder.store(builder.inttoptr(arrays[2 * n], byte), builder.gep(where, [place]))
            builder.store(arrays[2 * n + 1], builder.gep(steps, [place]))
        kind = ir.FunctionType(ir.VoidType(), [byte.as_pointer(), long.as_pointer(), long.as_pointer(), byte])
        given = [where, size, steps, builder.inttoptr(data, byte)]
        builder.call(builder.inttoptr(function, kind.as_pointer()), given)
        return context.get_dummy_value()

    return lambda *given: (types.void(*[types.int64] * (3 + 2 * (inputs + 1))), codegen)


@intrinsic
def call1(typing: Any, function: Any, data: Any, count: Any, x: Any, step: Any, out: Any, apart: Any) -> Any:
    """Call a loop of one input."""
    return _caller(1)()


@intrinsic
def call2(
    typing: Any, function: Any, data: Any, count: Any, x: Any, a: Any, y: Any, b: Any, out: Any, apart: Any
) -> Any:
    """Call a loop of two inputs."""
    return _caller(2)()
