"""How a signal ends the command: Ctrl-C, SIGTERM and SIGHUP alike, with the exit code 128 + its number."""

from __future__ import annotations

import contextlib
import os
import signal
import stat
import threading
from collections.abc import Iterator
from typing import Any

from .early import NUMBERS, leave


class Stopped(KeyboardInterrupt):
    """A signal has asked to end. code: the exit code that says so."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.code = 128 + number


@contextlib.contextmanager
def stoppable() -> Iterator[None]:
    """While the block runs the first signal raises Stopped in it; then a Ctrl-C ends at once.

    Signals that are ignored (as `nohup` has it) stay so. In a thread other than the main one nothing is changed.
    """

    def stop(number: int, frame: Any) -> None:
        for each in before:
            signal.signal(each, _at_once if each == signal.SIGINT else _ending)
        if number == getattr(signal, "SIGHUP", None):
            _let_go_of_terminal()
        raise Stopped(number)

    before = {number: signal.getsignal(number) for number in _ours()}
    try:
        for number in before:
            signal.signal(number, stop)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def held_back() -> Iterator[None]:
    """Hold the signals back while the block runs; the first takes effect behind it. For blocks of milliseconds.

    What belongs together is so done all or not at all. A second Ctrl-C does not wait.
    """
    received: list[int] = []

    def note(number: int, frame: Any) -> None:
        if received and number == signal.SIGINT:
            _at_once(number, frame)
        received.append(number)

    before = {number: signal.signal(number, note) for number in _ours()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if received:
        signal.raise_signal(received[0])


def _ours() -> list[int]:
    """The signals that are there and not ignored, in the thread that can receive them."""
    if threading.current_thread() is not threading.main_thread():
        return []
    return [number for number in NUMBERS if signal.getsignal(number) not in (None, signal.SIG_IGN)]


def _at_once(number: int, frame: Any) -> None:
    """Leave, with the terminal's cursor shown again, which a live bar hides."""
    with contextlib.suppress(OSError):
        if os.isatty(1):
            os.write(1, b"\x1b[?25h")
    leave(number)


def _ending(number: int, frame: Any) -> None:
    """It is ending already: who closes a terminal sends SIGHUP twice."""


def _let_go_of_terminal() -> None:
    """Print into nothing instead of a terminal that may be gone, where printing would fail."""
    for number in (1, 2):
        with contextlib.suppress(OSError):
            if stat.S_ISCHR(os.fstat(number).st_mode):
                nothing = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nothing, number)
                os.close(nothing)
