"""cupy.cuda.nccl: sums over the devices of several processes, by MPI; of one process alone without it.

As strict as NCCL: the ranks and the device are those of the communicator, and pointers lie on that device. Work on a
stream that captures is recorded, and done at each launch.
"""

from __future__ import annotations

import ctypes
import itertools
import os
from typing import Any

import numpy

from . import runtime
from .stream import enqueue, stream_at

available = True
NCCL_SUM = 0
NCCL_INT32, NCCL_INT64, NCCL_FLOAT16, NCCL_FLOAT32, NCCL_FLOAT64 = 2, 4, 6, 7, 8
_TYPES = {2: numpy.int32, 4: numpy.int64, 6: numpy.float16, 7: numpy.float32, 8: numpy.float64}
_numbers = itertools.count(1)


class NcclError(RuntimeError):
    """An error of NCCL."""


def get_version() -> int:
    """As of NCCL 2.27."""
    return 22703


def get_unique_id() -> tuple[int, ...]:
    """128 numbers, by which ranks find each other."""
    return (os.getpid(), next(_numbers), *([0] * 126))


class NcclCommunicator:
    """One rank of ndev; made by all of them, with the same id."""

    def __init__(self, ndev: int, commId: tuple[int, ...], rank: int) -> None:
        if not 0 <= rank < ndev or len(commId) != 128:
            raise NcclError("NCCL_ERROR_INVALID_ARGUMENT: invalid argument")
        self.device, self.ranks, self._rank, self._mpi = runtime.getDevice(), ndev, rank, None
        self.calls = self.sums = 0  # what was asked for, and what was done: more, by graphs
        if ndev > 1:
            from mpi4py import MPI

            self._mpi = MPI.COMM_WORLD.Dup()
            if self._mpi.Get_size() != ndev or len({*self._mpi.allgather(commId)}) != 1:
                raise NcclError("NCCL_ERROR_INVALID_USAGE: invalid usage")

    def allReduce(self, sendbuf: int, recvbuf: int, count: int, datatype: int, op: int, stream: int) -> None:
        """recvbuf ← the sum over the ranks of sendbuf."""
        from .blocks import Place

        if datatype not in _TYPES or op != NCCL_SUM:
            raise NcclError("NCCL_ERROR_INVALID_ARGUMENT: invalid argument")
        if runtime.getDevice() != self.device:
            raise NcclError(f"the communicator is of device {self.device}, the current one is {runtime.getDevice()}")
        dtype = numpy.dtype(_TYPES[datatype])
        places = [Place(each, count * dtype.itemsize) for each in (sendbuf, recvbuf)]
        if any(place.resolved().device_id != self.device for place in places):
            raise NcclError("NCCL_ERROR_INVALID_ARGUMENT: a pointer of another device")

        def work() -> None:
            self.sums += 1
            given, result = (_host(place, count, dtype) for place in places)
            if self._mpi:
                result[...] = sum(self._gathered(given))
            else:
                result[...] = given

        self.calls += 1
        enqueue(stream_at(stream), work)

    def _gathered(self, values: Any) -> Any:
        """Each rank's, by rank, so that all add them in the same order."""
        return self._mpi.allgather(values.copy())

    def rank_id(self) -> int:
        """This rank."""
        return self._rank


def _host(place: Any, count: int, dtype: numpy.dtype[Any]) -> Any:
    raw = (ctypes.c_char * (count * dtype.itemsize)).from_address(place.address())
    return numpy.frombuffer(raw, dtype, count)
