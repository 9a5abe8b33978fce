"""Captures under way: a thread's own hears of all that is done with arrays and tensors, and lists it for replays.

What a capture is told stands in `replay/trace.py`. The engine asks `capturing()` wherever it does more than compute:
where a tensor is made, read, moved or changed in place, and where the library of an array is looked up.
"""

from __future__ import annotations

from threading import get_ident
from typing import Any

captures: dict[int, Any] = {}
"""By thread. Empty almost always, which is the quick question."""


def capturing() -> Any:
    """The capture under way in this thread; None where there is none."""
    return captures.get(get_ident()) if captures else None
