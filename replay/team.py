"""Parts of one piece of work, done by this thread and by helpers that stand ready: who is free takes the next part.

How many parts there are is the caller's to say, from shapes alone. BLAS has one thread for each part, so no bit depends
on how many threads there are, or how busy the machine is.
"""

from __future__ import annotations

import contextvars
import functools
import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any

import numpy

from ..engine import forked
from . import blas

_room = threading.local()


class _Helper(threading.Thread):
    """A thread that waits for work."""

    def __init__(self) -> None:
        super().__init__(daemon=True, name="chalkgrad helper")
        self.given: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self.ended: SimpleQueue[BaseException | None] = SimpleQueue()
        self.start()

    def run(self) -> None:
        """Do what is given, until it is nothing."""
        while (work := self.given.get()) is not None:
            error = None
            try:
                work()
            except BaseException as raised:  # raised again where the work is waited for
                error = raised
            del work
            self.ended.put(error)

    def end(self) -> BaseException | None:
        """Take the work back where it has not begun, else wait for it; returns what it raised."""
        try:
            self.given.get_nowait()
        except Empty:
            return self.ended.get()
        return None


class _Team:
    """The helpers of a process: one piece of work at a time has them."""

    def __init__(self) -> None:
        self.process, self.free, self.helpers = forked.process[0], threading.Lock(), list[_Helper]()

    def join(self, work: Callable[[], None], stop: Callable[[], None], helpers: int) -> None:
        """Work with so many of them. stop: leaves nothing to do, where this thread is interrupted."""
        while len(self.helpers) < helpers:
            self.helpers.append(_Helper())
        try:
            for helper in self.helpers[:helpers]:
                helper.given.put(functools.partial(contextvars.copy_context().run, work))  # with numpy.errstate
            work()
            errors = [helper.end() for helper in self.helpers[:helpers]]
        except BaseException:
            stop()
            for helper in self.helpers:
                helper.given.put(None)
            while self.helpers:
                self.helpers.pop().join()
            raise
        for error in filter(None, errors):
            raise error


_team = [_Team()]


def each(part: Callable[[int], None], count: int) -> None:
    """part(0), …, part(count - 1), in any order; raises what one of them raises."""
    numbers, lock = iter(range(count)), threading.Lock()

    def take() -> int:
        with lock:
            return next(numbers, count)

    def work() -> None:
        while (n := take()) < count:
            part(n)

    _work(work, lambda: [None for _ in iter(take, count)], count)


def each_compiled(function: Callable[..., None], count: int, size: int, *arguments: Any) -> None:
    """The same by a compiled function of a counter, `count`, so many bytes to work in, and the arguments.

    It takes the next number from the counter until there is none.
    """
    counter = numpy.zeros(8, "int64")

    def work() -> None:
        function(counter, count, room(size), *arguments)

    _work(work, lambda: counter.fill(count), count)


def _work(work: Callable[[], None], stop: Callable[[], Any], count: int) -> None:
    if blas.library() is None:  # another BLAS, with threads of its own
        work()
        return
    with blas.one_thread() as before:
        if _team[0].process is not forked.process[0]:
            _team[0] = _Team()
        team, helpers = _team[0], min(before, count) - 1
        if helpers < 1 or not team.free.acquire(blocking=False):
            work()
            return
        try:
            team.join(work, stop, helpers)
        finally:
            team.free.release()


def room(size: int, purpose: str = "work") -> Any:
    """So many bytes for this thread to work in, for each purpose always the same."""
    held = vars(_room).get(purpose)
    if held is None or held.size < size:
        least = 0 if held is None else 2 * held.size  # programs that have the one before are few then
        held = vars(_room)[purpose] = numpy.empty(-(-max(size, least, 1) // 64) * 64, "uint8")
    return held
