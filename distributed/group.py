"""The processes of one training, its ranks: sums over them, and each one's share of a batch."""

from __future__ import annotations

import contextlib
import functools
import os
import sys
import time
import traceback
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy

from ..engine import backend
from ..engine.capturing import capturing
from ..engine.tape import Node
from ..engine.taping import Alone
from ..engine.tensor import Tensor
from ..errors import ChalkgradError, UsageError
from ..hints import missing_extra

LAUNCHED = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MPI_LOCALNRANKS")
"""What MPICH's and Open MPI's launchers tell each process in its environment."""


def launched() -> int:
    """How many ranks `mpirun` says that it has started; 1 without it. MPI itself is not asked."""
    return max(int(os.environ.get(name, "1") or 1) for name in LAUNCHED)


class Group:
    """The ranks that train one model together, over an MPI communicator.

    rank: this one's number, from 0; size: how many there are. cores: how many cores its products run on; 0 where that
    was not set. Each method but `rows` is called by all ranks, in the
    same order.
    """

    def __init__(self, communicator: Any) -> None:
        self.communicator = communicator
        self.rank, self.size = int(communicator.Get_rank()), int(communicator.Get_size())
        self.cores = 0

    @property
    def leads(self) -> bool:
        """Whether this is the lowest rank: the one that shows the training and writes files."""
        return self.rank == 0

    @contextlib.contextmanager
    def ending_all(self) -> Iterator[None]:
        """While it lasts, an error of ours here ends all ranks, with its message."""
        try:
            yield
        except ChalkgradError as error:
            print(f"rank {self.rank} of {self.size}: {error}", file=sys.stderr, flush=True)
            self.abort()
            raise

    def abort(self) -> None:
        """End all ranks, once what was said has had time to pass through the launcher, which ends with them."""
        sys.stdout.flush()
        sys.stderr.flush()
        time.sleep(0.5)
        self.communicator.Abort(1)

    @functools.cached_property
    def here(self) -> int:
        """How many ranks run on this machine."""
        from mpi4py import MPI

        return int(self.communicator.Split_type(MPI.COMM_TYPE_SHARED).Get_size())

    def rows(self, start: int, stop: int) -> tuple[int, int]:
        """This rank's part of the rows start … stop of a global batch: sizes differ by one at most, and may be 0."""
        count = stop - start
        return start + count * self.rank // self.size, start + count * (self.rank + 1) // self.size

    def allreduce(self, array: backend.Array) -> None:
        """array ← Σ over the ranks, in place, in a recorded step at each replay too."""
        trace = capturing()
        if trace:
            trace.call("allreduce", self._sum, (array,))
        else:
            self._sum(array)

    def _sum(self, array: backend.Array) -> None:
        from mpi4py import MPI

        narrow = array.dtype.itemsize < 4
        if not narrow and isinstance(array, numpy.ndarray) and array.flags.c_contiguous:
            self.communicator.Allreduce(MPI.IN_PLACE, array)
            return
        buffer = numpy.ascontiguousarray(backend.fetch(array), "float32" if narrow else None)
        self.communicator.Allreduce(MPI.IN_PLACE, buffer)
        array[...] = backend.to_device(buffer.astype(array.dtype, copy=False), backend.device_of(array))

    def summed(self, x: Tensor) -> Tensor:
        """y = Σ x over the ranks, on the tape: gx = Σ gy over the ranks."""
        xp = backend.namespace_of(x._data)
        array = xp.array(x._data)
        self.allreduce(array)
        return _Summed(self).result(array, (x._node or x,)) if x._requires_grad else Tensor(array)

    def broadcast(self, array: backend.Array) -> None:
        """array ← that of the lowest rank, in place."""
        buffer = numpy.ascontiguousarray(backend.fetch(array))
        self.communicator.Bcast(buffer.view("uint8").reshape(-1) if buffer.ndim else buffer, 0)
        array[...] = backend.to_device(buffer, backend.device_of(array))

    def gathered(self, value: Any) -> list[Any]:
        """The plain value of each rank, by rank."""
        found: list[Any] = self.communicator.allgather(value)
        return found

    def check_same(self, told: dict[str, str]) -> None:
        """Raise UsageError on each rank where one was given something else. told: what is compared, with its digest."""
        everywhere = self.gathered(told)
        for name, value in everywhere[0].items():
            for rank, other in enumerate(everywhere):
                if other.get(name) != value:
                    raise UsageError(
                        f"distributed: {name} differs between rank 0 ({_short(value)}) and rank {rank} "
                        f"({_short(str(other.get(name)))}): "
                        "start the same program with the same data and versions on each."
                    )


def _short(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:70]}… {zlib.crc32(text.encode()):08x}"


class _Summed(Alone):
    """What stands on the tape for a sum over the ranks."""

    __slots__ = ("group",)

    def __init__(self, group: Group) -> None:
        super().__init__("a sum over the ranks")
        self.group = group

    def each(self, xp: Any, node: Node, gy: Any, useful: set[Any] | None, taped: bool) -> Any:
        """The gradient of its one operand."""
        if taped:
            raise UsageError("a sum over the ranks has no second gradient.")
        gx = xp.array(gy)
        self.group.allreduce(gx)
        yield node.parents[0], gx


@functools.cache
def world() -> Group:
    """All processes that `mpirun` has started. Raises MissingExtraError where mpi4py or its MPI is missing,
    UsageError where `mpirun` is of another MPI.
    """
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:
        raise missing_extra("training on several processes", "mpi4py with an MPI library", "mpi") from error
    group = Group(MPI.COMM_WORLD)
    if group.size == 1 < launched():
        library = MPI.Get_library_version().split("\n")[0].strip()
        raise UsageError(
            f"mpirun has started {launched()} ranks, and this one is alone: its mpi4py uses {library}, and the "
            "mpirun is of another MPI. Start it with the mpirun of the same environment."
        )
    if group.size > 1:
        sys.excepthook = functools.partial(_end_all, group, sys.excepthook)
    return group


def _end_all(group: Group, before: Callable[..., Any], kind: Any, error: Any, trace: Any) -> None:
    """An exception ends all ranks, with this one's message: else the others would wait for it for ever."""
    print(f"rank {group.rank} of {group.size} ends all:", file=sys.stderr)
    if issubclass(kind, KeyboardInterrupt):
        traceback.print_exception(kind, error, trace, limit=1)
    else:
        before(kind, error, trace)
    group.abort()


def here(distributed: bool | Group) -> Group | None:
    """The group that `fit(distributed=…)` asks for; None where it is one process alone."""
    if not distributed:
        return None
    group = distributed if isinstance(distributed, Group) else world()
    return group if group.size > 1 else None
