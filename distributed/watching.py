"""A thread on each rank that looks after the others while they wait: who has left, died, or stopped answering."""

from __future__ import annotations

import atexit
import contextlib
import faulthandler
import os
import select
import socket
import sys
import threading
import time
from typing import Any

TURN = 0.25
"""Seconds between two looks."""
ANSWER = 3.0
"""Seconds in which a rank that is asked what it does has to answer."""
APART = 0.7
"""Seconds by which a higher rank ends all later than a lower one, which then has done so."""


class Watch:
    """What a rank knows of the others, over a communicator of its own, so that no sum is disturbed.

    timeout: seconds that this rank waits for the others before it asks who does not answer, and ends all. survives:
    whether the death of a rank is mended elsewhere. why: what has ended the training here, as others are told when this
    rank leaves. A call of MPI waits without Python, so a thread looks; between calls it costs a question a TURN.
    """

    def __init__(self, communicator: Any, timeout: float, survives: bool) -> None:
        self.timeout, self.survives, self.why = timeout, survives, ""
        self.since: float | None = None  # when this rank began to wait
        self.calls = 0
        self._changing, self._over = threading.Lock(), threading.Event()
        self._poll: Any = None
        self.take(communicator)
        atexit.register(self.leave)
        self._thread = threading.Thread(target=self._run, name="chalkgrad-ranks", daemon=True)
        self._thread.start()

    def take(self, communicator: Any) -> None:
        """These are the ranks from now on; called by all of them."""
        places = communicator.allgather((socket.gethostname(), os.getpid()))
        with self._changing:
            self.communicator, self.notes = communicator, communicator.Dup()
            self.rank, self.size = communicator.Get_rank(), communicator.Get_size()
            self.left: dict[int, str] = {}
            self.processes = [pid for _, pid in places]
            self._watch_processes([pid if host == places[self.rank][0] else 0 for host, pid in places])

    def _watch_processes(self, here: list[int]) -> None:
        """Be woken by the death of a rank on this machine, where the system has that."""
        self._close()
        if not hasattr(os, "pidfd_open"):
            return
        self._poll, self._files = select.poll(), dict[int, int]()
        for rank, pid in enumerate(here):
            if pid and rank != self.rank:
                with contextlib.suppress(OSError):
                    file = os.pidfd_open(pid)
                    self._files[file] = rank
                    self._poll.register(file, select.POLLIN)

    def _close(self) -> None:
        for file in self._files if self._poll else ():
            os.close(file)
        self._poll = None

    def leave(self) -> None:
        """Python ends here: tell the others, who else would wait for ever if they still wait."""
        if self._over.is_set():
            return
        self._over.set()
        self._thread.join(5 * TURN)
        with self._changing, contextlib.suppress(Exception):
            for rank in range(self.size):
                if rank != self.rank:
                    self.notes.isend(("left", self.why or "its program has ended"), rank)
        if self.survives:  # MPI_Finalize waits for ever there, once a rank has died
            _flush()
            os._exit(1 if self.why else 0)

    def _run(self) -> None:
        while not self._over.is_set():
            died = self._next()
            if self._over.is_set():
                return
            since, calls = self.since, self.calls
            if died is None or since is None:
                with self._changing, contextlib.suppress(Exception):  # MPI's, where a rank has died
                    self._read({})
            if died is not None and not self.survives and died not in self.left:  # at once: the launcher ends all, too
                self._end(f"{self._named(died)} has died", since, calls, always=True)
            if since is None:
                continue
            for rank, why in sorted(self.left.items()):
                self._end(f"{self._named(rank)} has left ({why}), and the others wait for it", since, calls)
            if time.monotonic() - since > self.timeout:
                self._ask(since, calls)

    def _next(self) -> int | None:
        """Wait a TURN; returns the rank that has died meanwhile."""
        poll = self._poll
        if poll is None:
            time.sleep(TURN)
            return None
        for file, _ in poll.poll(1000 * TURN):
            with self._changing:
                if poll is self._poll:
                    poll.unregister(file)
                    return self._files[file]
        return None

    def _named(self, rank: int) -> str:
        return f"rank {rank} of {self.size} (process {self.processes[rank]})"

    def _read(self, answers: dict[int, Any]) -> None:
        """Take what others have told, and answer what they ask."""
        from mpi4py import MPI

        status = MPI.Status()
        while self.notes.Iprobe(MPI.ANY_SOURCE, MPI.ANY_TAG, status):
            rank = status.Get_source()
            kind, value = self.notes.recv(source=rank)
            if kind == "left":
                self.left[rank] = value
            elif kind == "asked":
                self.notes.isend(("answer", (self.since is not None, self.calls, self.why)), rank)
            else:
                answers[rank] = value

    def _ask(self, since: float, calls: int) -> None:
        """End all with the name of who does not answer, or does something else than wait."""
        answers: dict[int, Any] = {}
        with contextlib.suppress(Exception):
            with self._changing:
                for rank in range(self.size):
                    if rank != self.rank:
                        self.notes.isend(("asked", None), rank)
            end = time.monotonic() + ANSWER
            while time.monotonic() < end and len(answers) < self.size - 1:
                with self._changing:
                    self._read(answers)
                time.sleep(0.05)
        told = []
        for rank in range(self.size):
            waits, its_calls, why = answers.get(rank, (False, 0, ""))
            if rank == self.rank:
                continue
            if rank not in answers:
                told.append(f"{self._named(rank)} does not answer")
            elif not waits or its_calls != calls:
                told.append(f"{self._named(rank)} does something else{f' since {why}' if why else ''}")
        waited = f"after {time.monotonic() - since:.0f} s of waiting"
        self._end(f"{' and '.join(told) or 'no rank goes on'}, {waited} (timeout={self.timeout:g})", since, calls)

    def _end(self, why: str, since: float | None, calls: int, always: bool = False) -> None:
        """End all ranks, unless things went on meanwhile."""
        time.sleep(APART * min(self.rank, 5))
        if self._over.is_set() or (not always and (self.since, self.calls) != (since, calls)):
            return
        say(f"rank {self.rank} of {self.size} ends all: {why}.")
        end(self.communicator)


def say(text: str) -> None:
    """Write a line, at once, also where Python's own streams are in use by a thread that waits."""
    with contextlib.suppress(OSError):
        os.write(2, (text + "\n").encode())


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()


def end(communicator: Any) -> None:
    """End all ranks, once what was said has had time to pass through the launcher, which ends with them."""
    _flush()
    # where MPI hangs in Abort, in which no other thread gets to run, the launcher ends all once this process is gone
    faulthandler.dump_traceback_later(4, exit=True, file=os.open(os.devnull, os.O_WRONLY))
    time.sleep(0.5)
    communicator.Abort(1)
