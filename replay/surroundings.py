"""What the code of a recorded step reads from outside, and whether it is still the same.

Read are: the globals that the code names, the cells of closures, default arguments, and of each object that can be
reached from these the attributes that the code names. A number or a string counts by its value, a container by what it
holds, an array by its elements, anything else by its identity. What has hidden state, such as an iterator or a
file, cannot be followed, and is a reason not to replay.
"""

from __future__ import annotations

import operator
import types
from collections.abc import Iterable
from typing import Any

from .arguments import PLAIN
from .following import Following
from .reached import Reached


class Surroundings:
    """What was read in one run of a function, as it is when this is made: when the run has ended.

    tensors: those that the user's code can reach. reason: what cannot be followed; None where all can be.
    generators: those of random numbers that can be reached. codes: the code that ran.
    """

    def __init__(self, seen: Following) -> None:
        found = Reached(seen)
        self.reason, self.tensors, self.generators = found.reason, found.tensors, found.generators
        self.codes = {*seen.codes, *seen.layers}
        self._items, self._attributes, self._sizes = found.items, found.attributes, found.sizes
        self._held, self._absent, self._arrays = found.held, found.absent, found.arrays
        self._pack()

    def unchanged(self) -> bool:
        """Whether all of it is what it was when this was made."""
        try:
            same = (
                all(map(operator.is_, map(operator.getitem, self._owners, self._keys), self._values))
                and all(map(operator.is_, map(getattr, self._objects, self._attribute_names), self._attribute_values))
                and all(map(operator.eq, map(len, self._containers), self._lengths))
            )
            if same:
                for container, held in self._held:
                    if len(container) != len(held) or not all(map(operator.is_, container, held)):
                        same = False
                        break
        except Exception:  # something is gone
            same = False
        if not same and not self._same_by_value():
            return False
        if self._absent and any(name in owner for owner, name in self._absent):
            return False
        return not self._arrays or all(
            array.shape == before.shape and array.dtype == before.dtype and array.tobytes() == before.tobytes()
            for array, before in self._arrays
        )

    def _same_by_value(self) -> bool:
        """The same question, where a number may have been replaced by one that is equal; that is then what is known."""
        try:
            items = [(owner, key, owner[key], value) for owner, key, value in self._items]
            attributes = [(owner, name, getattr(owner, name), value) for owner, name, value in self._attributes]
            if any(len(owner) != size for owner, size in self._sizes):
                return False
            held = [(container, list(container), before) for container, before in self._held]
        except Exception:
            return False
        if any(len(now) != len(before) or not all(map(alike, before, now)) for _, now, before in held):
            return False
        if not all(alike(value, now) for _, _, now, value in (*items, *attributes)):
            return False
        self._items = [(owner, key, now) for owner, key, now, _ in items]
        self._attributes = [(owner, name, now) for owner, name, now, _ in attributes]
        self._held = [(container, now) for container, now, _ in held]
        self._pack()
        return True

    def _pack(self) -> None:
        """The same in columns, so that looking through them needs no Python code."""
        self._owners, self._keys, self._values = _columns(self._items, 3)
        self._objects, self._attribute_names, self._attribute_values = _columns(self._attributes, 3)
        self._containers, self._lengths = _columns(self._sizes, 2)

    def differs_from(self, before: Surroundings) -> str | None:
        """What a run has changed that an earlier run has read, in words; None where that is nothing."""
        if not before.unchanged():
            return "it changes what it reads from outside"
        more = self.codes - before.codes
        return f"it calls {min(code.co_name for code in more)}, which it did not before" if more else None


def alike(before: Any, after: Any) -> bool:
    """Whether one is the other, or both are plain values and equal, tuples of such included."""
    if before is after:
        return True
    if before.__class__ is not after.__class__:
        return False
    if isinstance(before, tuple):
        return len(before) == len(after) and all(map(alike, before, after))
    if isinstance(before, types.MethodType):
        return before.__self__ is after.__self__ and before.__func__ is after.__func__
    return isinstance(before, PLAIN) and repr(before) == repr(after)  # 0.0 and -0.0 are equal, and not the same


def _columns(rows: Iterable[tuple[Any, ...]], count: int) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)] or [[] for _ in range(count)]
