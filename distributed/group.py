"""The processes of one training, its ranks: sums over them, and each one's share of a batch."""

from __future__ import annotations

import contextlib
import functools
import os
import sys
import time
import traceback
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import numpy

from ..engine import backend
from ..engine.capturing import capturing
from ..engine.tape import Node
from ..engine.taping import Alone
from ..engine.tensor import Tensor
from ..errors import ChalkgradError, UsageError
from ..hints import missing_extra
from . import common
from .nccl import Nccl
from .watching import Watch, end

LAUNCHED = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MPI_LOCALNRANKS")
"""What MPICH's and Open MPI's launchers tell each process in its environment."""

SURVIVES = "OMPI_MCA_mpi_ft_enable"
"""What `mpirun --with-ft ulfm` of Open MPI tells each process."""


LOCAL = ("MPI_LOCALRANKID", "OMPI_COMM_WORLD_LOCAL_RANK", "SLURM_LOCALID")
"""What MPICH's and Open MPI's launchers, and Slurm, call a rank's number on its machine."""


def launched() -> int:
    """How many ranks `mpirun` says that it has started; 1 without it. MPI itself is not asked."""
    return max(int(os.environ.get(name, "1") or 1) for name in LAUNCHED)


def own_device(name: str) -> str:
    """The full name of a device; "gpu" and "auto" are this rank's own GPU, as `Group.gpu` says, and MPI is not asked.

    Raises UsageError for a name that is none, DeviceError where that GPU cannot be used.
    """
    device = backend.resolve_device(name)
    local = next((os.environ[each] for each in LOCAL if each in os.environ), "0")
    return device if device == "cpu" or ":" in name or launched() == 1 else _gpu(int(local))


def _gpu(number: int) -> str:
    return f"gpu:{number % backend.load_cupy().cuda.runtime.getDeviceCount()}"


R = TypeVar("R")
TIMEOUT = 300.0
"""Seconds after which a rank that does not answer is named, and all are ended."""
COMPARED = 100
"""Steps after which the replicas are compared."""


class Lost(Exception):
    """A rank has died in the midst of what all do together: `Group.whole` does it again with those that are left."""


class Group:
    """The ranks that train one model together, over an MPI communicator.

    rank: this one's number, from 0; size: how many there are. Both change where a rank dies and `survives` is set: the
    launcher lets the others live (Open MPI with ULFM). cores: how many cores its products run on; 0 where that
    was not set. timeout: seconds that a rank waits for the others before it ends all, and names who does not answer.
    compared: every how many steps the replicas are compared; 0 for never. shrunk: functions that are called where the
    ranks have become fewer. Each method but `rows` is called by all ranks, in the same order.
    """

    def __init__(
        self, communicator: Any, timeout: float = TIMEOUT, compared: int = COMPARED, survives: bool = False
    ) -> None:
        self.survives, self.compared, self.cores = survives, compared, 0
        self.watch: Watch | None = None
        self.cards: Nccl | None = None  # what adds up arrays on GPUs
        self._common: common.Common | None = None
        self.shrunk: list[Callable[[], None]] = []
        self._open = False  # whether `whole` is at work
        self._timeout = timeout
        self._take(communicator)

    def _take(self, communicator: Any) -> None:
        """Be the ranks of this communicator, and nothing else knows of it."""
        self.communicator = communicator
        self.rank, self.size = int(communicator.Get_rank()), int(communicator.Get_size())
        vars(self).pop("machine", None)
        if self.watch:
            self.watch.take(communicator)

    def watched(self) -> None:
        """From now on a thread looks after the other ranks while this one waits."""
        from mpi4py import MPI

        if not self.watch and MPI.Query_thread() == MPI.THREAD_MULTIPLE:
            self.watch = Watch(self.communicator, self._timeout, self.survives)

    @property
    def timeout(self) -> float:
        """Seconds that a rank waits for the others."""
        return self._timeout

    @timeout.setter
    def timeout(self, seconds: float) -> None:
        self._timeout = seconds
        if self.watch:
            self.watch.timeout = seconds

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

    @contextlib.contextmanager
    def training(self) -> Iterator[None]:
        """While it lasts, the ranks train: what ends it here is what the others are told if this one leaves then."""
        if self.watch:
            self.watch.why = ""
        try:
            yield
        except BaseException as error:
            if self.watch:
                self.watch.why = f"{type(error).__name__}: {error}".removesuffix(": ")
            raise

    @contextlib.contextmanager
    def calling(self, changed: Callable[[], None]) -> Iterator[None]:
        """While it lasts, call this where the ranks have become fewer."""
        self.shrunk.append(changed)
        try:
            yield
        finally:
            self.shrunk.remove(changed)

    def abort(self) -> None:
        """End all ranks, once what was said has had time to pass through the launcher, which ends with them."""
        end(self.communicator)

    @functools.cached_property
    def machine(self) -> tuple[int, int]:
        """This rank's number among those on its machine, and how many they are."""
        from mpi4py import MPI

        found = self.meet(lambda: self.communicator.Split_type(MPI.COMM_TYPE_SHARED))
        return int(found.Get_rank()), int(found.Get_size())

    @property
    def gpu(self) -> str:
        """A GPU for this rank: the one with its number among the ranks of this machine, from 0 on again if too few."""
        return _gpu(self.machine[0])

    def meet(self, call: Callable[[], R]) -> R:
        """Carry out a call of MPI that waits for the others. Raises Lost where one has died that need not end all."""
        try:
            return self._waiting(call)
        except Exception as error:
            if not self.survives or not _may_be_loss(error):
                raise
            self.communicator.Revoke()  # so that those who wait in it hear of it, too
            raise Lost from error

    def _waiting(self, call: Callable[[], R]) -> R:
        watch = self.watch
        if watch is None:
            return call()
        watch.calls += 1
        watch.since = time.monotonic()
        try:
            return call()
        finally:
            watch.since = None

    def whole(self, work: Callable[[], R], undo: Callable[[], None] | None = None) -> R:
        """What all ranks do together, done by all of them or by none; where one dies, again by those that are left.

        work: the same meetings in the same order on each rank. undo: makes what it has changed what it was.
        All agree, behind it, that it is done (ULFM's agreement: each survivor hears the same), so none is ahead.
        """
        if not self.survives or self._open:
            return work()
        while True:
            self._open, size, failed = True, self.size, Lost()
            try:
                done = work()
                lost = not self._agreed(True)
            except Lost as error:
                lost, failed = True, error
                self._agreed(False)
            finally:
                self._open = False
            if not lost:
                return done
            if undo:
                undo()
            self._shrink()
            if self.size == size and failed.__cause__:  # nobody has died
                raise failed.__cause__

    def _agreed(self, done: bool) -> bool:
        try:
            return bool(self._waiting(lambda: self.communicator.Agree(int(done))))
        except Exception as error:
            if not _is_loss(error):
                raise
            return False

    def _shrink(self) -> None:
        """Go on with those that are left; a death meanwhile is one more."""
        before, own, left = self.size, self.rank, [self.rank]
        for attempt in range(before + 3):
            with contextlib.suppress(Exception):
                self.communicator.Revoke()
            communicator = self.communicator.Shrink()
            try:
                self._take(communicator)
                left = communicator.allgather(own)
                done = True
            except Exception as error:
                if not _may_be_loss(error) or attempt > before:
                    raise
                done = False
                communicator.Revoke()
            if self._agreed(done):
                break
        if self.leads:
            died = ", ".join(f"rank {rank} of {before}" for rank in range(before) if rank not in left)
            print(f"{died} has died: {self.size} of them go on.", file=sys.stderr, flush=True)
        for changed in self.shrunk:
            changed()

    def rows(self, start: int, stop: int) -> tuple[int, int]:
        """This rank's part of the rows start … stop of a global batch: sizes differ by one at most, and may be 0."""
        count = stop - start
        return start + count * self.rank // self.size, start + count * (self.rank + 1) // self.size

    def room(self, count: int, dtype: Any, device: str) -> backend.Array:
        """So many zeros, to be summed again and again: on one machine they lie where all ranks see them, and whoever
        asks for as many gets the same. Where a rank may be lost, and on several machines, they are this rank's alone.
        """
        nbytes, held = count * numpy.dtype(dtype).itemsize, self._common.nbytes if self._common else 0
        if self.survives or device != "cpu" or self.machine[1] < self.size:
            return backend.to_device(numpy.zeros(count, dtype), device)
        if nbytes > held:
            if 2 * nbytes * self.size > self.gathered(common.room())[0]:
                return numpy.zeros(count, dtype)
            self._common = self.meet(lambda: common.Common(self.communicator, nbytes))
        assert self._common
        found = self._common.array(count, dtype)
        found[...] = 0
        return found

    def allreduce(self, array: backend.Array, heed: Callable[[], None] | None = None) -> None:
        """array ← Σ over the ranks, in place, in a recorded step at each replay too. heed: is called behind it then."""
        trace, work = capturing(), functools.partial(self._sum_and, heed) if heed else self._sum
        if trace:
            trace.call("allreduce", work, (array,))
        else:
            work(array)

    def _sum_and(self, heed: Callable[[], None], array: backend.Array) -> None:
        self._sum(array)
        heed()

    def _sum(self, array: backend.Array) -> None:
        if self.cards is not None and not isinstance(array, numpy.ndarray):
            self.cards.allreduce(array)
            return
        if self._common and self._common.holds(array):
            self.meet(functools.partial(self._common.sum, array))
            return
        from mpi4py import MPI

        narrow = array.dtype.itemsize < 4
        if not narrow and isinstance(array, numpy.ndarray) and array.flags.c_contiguous:
            self.meet(lambda: self.communicator.Allreduce(MPI.IN_PLACE, array))
            return
        buffer = numpy.ascontiguousarray(backend.fetch(array), "float32" if narrow else None)
        self.meet(lambda: self.communicator.Allreduce(MPI.IN_PLACE, buffer))
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
        sent = buffer.view("uint8").reshape(-1) if buffer.ndim else buffer
        self.whole(lambda: self.meet(lambda: self.communicator.Bcast(sent, 0)))
        array[...] = backend.to_device(buffer, backend.device_of(array))

    def gathered(self, value: Any) -> list[Any]:
        """The plain value of each rank, by rank."""
        return self.whole(lambda: self.meet(lambda: list(self.communicator.allgather(value))))

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

    def check_replicas(self, arrays: Mapping[str, backend.Array], when: str) -> None:
        """Raise UsageError, on each rank, where an array is not the one of the lowest rank, to the bit."""
        digests = {name: digest(array) for name, array in arrays.items()}
        if len({*self.gathered(zlib.crc32(repr(digests).encode()))}) == 1:
            return
        everywhere = self.gathered(digests)
        found = [
            f"{name} on rank {rank}" for rank, other in enumerate(everywhere) for name in digests
            if other.get(name) != everywhere[0].get(name)
        ]  # fmt: skip
        raise UsageError(
            f"the replicas differ from rank 0 {when}: {', '.join(found[:8])}{' …' if found[8:] else ''}. Each rank "
            "has to do the same: look for a callback that changes weights on one, or a machine that computes wrongly."
        )


def digest(array: backend.Array) -> str:
    """A digest of its bits."""
    array = numpy.ascontiguousarray(backend.fetch(array))
    return f"{zlib.crc32(array.reshape(-1).view('uint8').data):08x}" if array.size else "none"


def _may_be_loss(error: Exception) -> bool:
    """The same, or what was gathered cannot be read: there Open MPI may report no error, but give what nobody sent."""
    from mpi4py import MPI

    return _is_loss(error) or not isinstance(error, MPI.Exception)


def _is_loss(error: Exception) -> bool:
    """Whether MPI says that a rank has died, or that another has heard so."""
    from mpi4py import MPI

    losses = (MPI.ERR_PROC_FAILED, MPI.ERR_PROC_FAILED_PENDING, MPI.ERR_REVOKED)
    return isinstance(error, MPI.Exception) and error.Get_error_class() in losses


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
    group = Group(MPI.COMM_WORLD, survives=os.environ.get(SURVIVES) == "1")
    if group.size == 1 < launched():
        library = MPI.Get_library_version().split("\n")[0].strip()
        raise UsageError(
            f"mpirun has started {launched()} ranks, and this one is alone: its mpi4py uses {library}, and the "
            "mpirun is of another MPI. Start it with the mpirun of the same environment."
        )
    if group.size > 1:
        sys.excepthook = functools.partial(_end_all, group, sys.excepthook)
        group.watched()
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
