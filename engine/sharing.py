"""Which threads are at work with an object: any number that read it, or one that changes it.

Nobody waits: who cannot be let in is told so, and which thread is in the way.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from ..errors import UsageError

P = ParamSpec("P")
R = TypeVar("R")
Work = tuple[threading.Thread, str]
"""A thread, and the name of the method that it is in."""


class Sharing:
    """The threads at work with one object. A copy begins with none."""

    def __init__(self) -> None:
        self.changing: dict[None, Work] = {}  # at most one: `setdefault` lets in one thread of several
        self.reading: dict[threading.Thread, Work] = {}
        self.flags: set[tuple[str, int]] = set()

    def __reduce__(self) -> Any:
        return Sharing, ()

    def begin_changing(self, work: Work) -> None:
        """Let a thread in that changes the object; raises UsageError where another is at work with it."""
        thread, what = work
        other = self.changing.setdefault(None, work)
        if other[0] is thread:
            readers = [reader for reader in self.reading.copy().values() if reader[0] is not thread]
            other = next(filter(_goes_on, readers), work)
        if other[0] is not thread:
            raise _in_the_way(other, what)

    def check(self, what: str) -> None:
        """Raise UsageError where another thread changes the object."""
        if self.changing:
            other = self.changing.get(None)
            if other and other[0] is not threading.current_thread():
                raise _in_the_way(other, what)


def _goes_on(work: Work) -> bool:
    return work[0].is_alive()  # else it was left behind by a fork


def _in_the_way(other: Work, what: str) -> UsageError:
    thread, method = other
    here = threading.current_thread().name
    if not _goes_on(other):
        return UsageError(
            f"{what}: when this process was forked the thread {thread.name!r} was in {method} of this model, which it "
            "left half done. Load the model, or make a copy of it (copy.deepcopy) before that begins."
        )
    return UsageError(
        f"{what} in the thread {here!r}: the thread {thread.name!r} is in {method} of this model, and who changes a "
        "model is alone with it. Wait until that has ended, or give each thread a model of its own: "
        "copy.deepcopy(model), made before, or Sequential.load(path)."
    )


def changing(method: Callable[P, R]) -> Callable[P, R]:
    """A method that changes its object (which has a `sharing`): while it runs, no other thread is at work with it."""
    name = method.__name__

    @functools.wraps(method)
    def entered(*args: P.args, **kwargs: P.kwargs) -> R:
        sharing: Sharing = args[0].sharing  # type: ignore[attr-defined]
        work = threading.current_thread(), name
        try:
            sharing.begin_changing(work)
            return method(*args, **kwargs)
        finally:
            if sharing.changing.get(None) is work:  # and it was neither refused, nor within other work of this thread
                del sharing.changing[None]

    return entered


def reading(method: Callable[P, R]) -> Callable[P, R]:
    """A method that reads its object: while it runs, others may read it, too, and none changes it."""
    name = method.__name__

    @functools.wraps(method)
    def entered(*args: P.args, **kwargs: P.kwargs) -> R:
        sharing: Sharing = args[0].sharing  # type: ignore[attr-defined]
        thread = threading.current_thread()
        work = thread, name
        try:
            sharing.reading.setdefault(thread, work)
            if sharing.changing:
                sharing.check(name)
            return method(*args, **kwargs)
        finally:
            if sharing.reading.get(thread) is work:
                del sharing.reading[thread]

    return entered


class OfThread:
    """A flag of an object (which has a `sharing`) that each thread has for itself, off at first."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, instance: Any, owner: type | None = None) -> bool:
        flags = instance.sharing.flags if instance is not None else ()
        return bool(flags) and (self.name, threading.get_ident()) in flags

    def __set__(self, instance: Any, value: bool) -> None:
        flags, flag = instance.sharing.flags, (self.name, threading.get_ident())
        if value:
            flags.add(flag)
        else:
            flags.discard(flag)
