"""Ctrl-C at a better moment."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def held_back() -> Iterator[None]:
    """Hold Ctrl-C back while the block runs; it takes effect behind it. For blocks of milliseconds.

    Several files that belong together are so written all or none. In a thread other than the main one nothing is
    held back: Ctrl-C does not reach it.
    """
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGINT) is None:
        yield
        return
    pressed: list[Any] = []
    before = signal.signal(signal.SIGINT, lambda *received: pressed.append(received))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if pressed:
        signal.raise_signal(signal.SIGINT)
