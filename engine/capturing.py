"""Captures under way: a thread's own hears of all that is done with arrays and tensors, and lists it for replays.

What a capture is told stands in `replay/trace.py`. The engine asks `capturing()` wherever it does more than compute:
where a tensor is made, read, moved or changed in place, and where the library of an array is looked up.
"""

from __future__ import annotations

import sys
from functools import cached_property
from threading import get_ident
from typing import Any, TypeVar

T = TypeVar("T")

captures: dict[int, Any] = {}
"""By thread. Empty almost always, which is the quick question."""


def capturing() -> Any:
    """The capture under way in this thread; None where there is none."""
    return captures.get(get_ident()) if captures else None


class unfollowed_property(cached_property[T]):
    """A cached property that is no part of a step: code made from an equation at its first use, say.

    Who follows the code of a step, by `sys.setprofile`, looks away meanwhile, since each call seen costs time.
    """

    def __get__(self, instance: Any, owner: Any = None) -> T:  # type: ignore[override]
        follower = sys.getprofile() if captures and instance is not None else None
        looked_at = callable(follower) and capturing()
        if looked_at:
            sys.setprofile(None)
        try:
            value: T = super().__get__(instance, owner)
        finally:
            if looked_at:
                sys.setprofile(follower)
        return value
