"""Whether less traffic would pay between ranks: sums of 16-bit numbers, and a sum that goes on while a rank computes.

    mpirun -n 2 python -m chalkgrad.benchmarks.traffic --out benchmarks/results/traffic.json

Each way sums the same numbers by turns; the least time of each counts. "as it is": one Allreduce of float32, in place.
"float16": numbers are rounded, exchanged in parts (Alltoall), added up in float32, rounded, and collected (Allgather):
half the bytes, the same bits on each rank. "apart": computing, about as long as the sum, then the sum. "at once": the
sum is begun (Iallreduce), and waited for after the computing; "asked between": and asked for, now and then, meanwhile.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import numpy

from ..distributed import world
from .machine import host
from .peers import command_line, table, write

SIZES = {"0.4 MB": 100_000, "4 MB": 1_000_000, "40 MB": 10_000_000}
"""Numbers of float32: of the documented net, of a small GPT, and of one of ten million weights."""
ROUNDS, PIECES = 9, 8


def as_halves(communicator: Any, array: Any) -> None:
    """array ← Σ over the ranks, by numbers of 16 bits."""
    size = communicator.Get_size()
    each = -(-array.size // size)
    sent = numpy.zeros((size, each), "float16")
    sent.reshape(-1)[: array.size] = array
    parts = numpy.empty_like(sent)
    communicator.Alltoall(sent.view("uint16"), parts.view("uint16"))
    own = parts.astype("float32").sum(0).astype("float16")
    communicator.Allgather(own.view("uint16"), sent.view("uint16"))
    array[...] = sent.reshape(-1)[: array.size]


def least(communicator: Any, *ways: Callable[[], Any]) -> list[float]:
    """The least seconds of each way, which take turns; all ranks begin each at once."""
    found = [float("inf")] * len(ways)
    for _ in range(ROUNDS):
        for number, way in enumerate(ways):
            communicator.Barrier()
            begin = time.perf_counter()
            way()
            found[number] = min(
                found[number], communicator.allreduce(time.perf_counter() - begin) / communicator.Get_size()
            )
    return found


def measured(communicator: Any, count: int) -> dict[str, float]:
    """Seconds of all ways for so many numbers, and how far float16 is from float32, of the greatest of them."""
    from mpi4py import MPI

    rank = communicator.Get_rank()
    given = numpy.random.default_rng(rank).normal(0, 1e-3, count).astype("float32")
    array = given.copy()

    def whole() -> None:
        communicator.Allreduce(MPI.IN_PLACE, array)

    plain, halves = least(communicator, whole, lambda: as_halves(communicator, array))
    exact, rounded = given.copy(), given.copy()
    communicator.Allreduce(MPI.IN_PLACE, exact)
    as_halves(communicator, rounded)
    side = numpy.random.default_rng(0).random((256, 256), "float32")
    once = min(least(communicator, lambda: side @ side))
    times = max(1, int(plain / once))

    def compute() -> None:
        for _ in range(times):
            side @ side

    def in_turn() -> None:
        compute()
        whole()

    def at_once() -> None:
        request = communicator.Iallreduce(MPI.IN_PLACE, array)
        compute()
        request.Wait()

    def asked() -> None:
        request = communicator.Iallreduce(MPI.IN_PLACE, array)
        for at in range(times):
            side @ side
            if at % max(1, times // PIECES) == 0:
                request.Test()
        request.Wait()

    alone, apart, together, between = least(communicator, compute, in_turn, at_once, asked)
    far = float(abs(rounded - exact).max() / abs(exact).max())
    return {"as it is": plain, "float16": halves, "its error": far, "computing": alone, "apart": apart,
            "at once": together, "asked between": between}  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    """The command."""
    parser = command_line("traffic", __doc__)
    parser.add_argument("--out", help="a JSON file for all figures")
    given = parser.parse_args(arguments)
    group = world()
    found = {name: measured(group.communicator, count) for name, count in SIZES.items()}
    if group.leads:
        head = ["", *next(iter(found.values()))]
        rows = [[name, *(f"{v:.1e}" if k == "its error" else f"{1e3 * v:.2f} ms" for k, v in each.items())]
                for name, each in found.items()]  # fmt: skip
        print(table(head, rows))
        if given.out:
            write(given.out, {"format": "chalkgrad traffic 1", "machine": host(), "ranks": group.size, "found": found})
    return 0


if __name__ == "__main__":
    sys.exit(main())
