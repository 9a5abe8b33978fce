"""What a forked child finds of its parent's threads: of all of them only the one that forked goes on in it.

A lock that another thread holds would be held in the child for ever, and what that thread was about stays half done.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any

process = [object()]
"""Holds another object in each child: what is kept beside it tells whether it is of this process."""


def in_child(function: Callable[[], None]) -> Callable[[], None]:
    """Have a function called in each child as soon as it is forked. Also a decorator."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=function)
    return function


@in_child
def _another_process() -> None:
    process[0] = object()


def lock() -> Any:
    """A lock for work that takes no time and waits for nothing: who forks waits for it, so that a child finds it free
    and the work done. A thread may take it again while it holds it.
    """
    made = threading.RLock()
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(before=made.acquire, after_in_parent=made.release, after_in_child=made.release)
    return made
