"""Memory that the ranks of one machine have in common: a sum over them is made in place there, by each a part of it."""

from __future__ import annotations

import shutil
from typing import Any

import numpy

from ..engine import backend, blocks

PAGE = 4096
PLACE = "/dev/shm"
"""Where the memory comes from on Linux: containers often have little of it, and writing beyond that kills a process."""


def room() -> float:
    """How many bytes there are for it here."""
    try:
        return float(shutil.disk_usage(PLACE).free)
    except OSError:  # not on Linux
        return float("inf")


class Common:
    """So many bytes of each rank, which all see: a shared window of MPI. Made by all ranks of a machine together.

    An Allreduce hands numbers from one process to the other by way of a third place, four copies of half of them; here
    each reads where the others have written.
    """

    def __init__(self, communicator: Any, nbytes: int) -> None:
        from mpi4py import MPI

        self.communicator, self.nbytes = communicator, -(-nbytes // PAGE) * PAGE
        self.rank, self.size = communicator.Get_rank(), communicator.Get_size()
        self._window: Any = MPI.Win.Allocate_shared(self.nbytes, 1, comm=communicator)
        self._window.Lock_all(MPI.MODE_NOCHECK)
        seen: list[Any] = [self._window.Shared_query(r)[0] for r in range(self.size)]
        self._bytes = [numpy.frombuffer(each, "uint8") for each in seen]
        self._known: dict[tuple[int, str], tuple[backend.Array, list[backend.Array]]] = {}

    def array(self, count: int, dtype: Any) -> backend.Array:
        """So many numbers of this rank, the first ones of its bytes."""
        dtype = numpy.dtype(dtype)
        if (count, dtype.name) not in self._known:
            every = [each[: count * dtype.itemsize].view(dtype) for each in self._bytes]
            part = slice(count * self.rank // self.size, count * (self.rank + 1) // self.size)
            parts = [array[part] for array in every]
            self._known[count, dtype.name] = every[self.rank], [parts.pop(self.rank), *parts]
        return self._known[count, dtype.name][0]

    def holds(self, array: backend.Array) -> bool:
        """Whether that is one of its arrays."""
        known = self._known.get((array.size, array.dtype.name))
        return known is not None and known[0] is array

    def sum(self, array: backend.Array) -> None:
        """array ← Σ over the ranks, in place: each adds up one part for all."""
        self._meet()
        for own, *others in blocks.in_blocks(numpy, *self._known[array.size, array.dtype.name][1]):
            for other in others:
                numpy.add(own, other, out=own)
            for other in others:
                other[...] = own
        self._meet()

    def _meet(self) -> None:
        """What each has written is there for all."""
        self._window.Sync()
        self.communicator.Barrier()
        self._window.Sync()
