"""Where the buffers of a program lie: one arena, in which those that are not needed at the same time share a place."""

from __future__ import annotations

from collections.abc import Sequence, Set
from typing import Any

from .calls import is_elementwise
from .listing import Instruction, Variable
from .lowering import lower

ALIGNMENT = 64
"""Bytes: a cache line, and the widest vector register."""
SMALL = 1 << 20
"""Bytes of a buffer whose place is free later."""


def planned(
    instructions: list[Instruction],
    elsewhere: Set[int],
    xp: Any,
    to_the_end: Set[int] = frozenset(),
    held: Sequence[int] = (),
) -> tuple[dict[int, int], int]:
    """The offset of each new storage in the arena, and the arena's size: the best fitting gap, by lifetime.

    elsewhere: storages that do not lie in the arena. to_the_end: those that are read after the last. The result of an
    elementwise call takes over the place of an argument that is needed no longer. held: for each call, after which
    one the places are free that are needed no longer, since what is to be one launch shares none; of small arrays.
    """
    last: dict[int, int] = {}
    for n, instruction in enumerate(instructions):
        for v in (*instruction.reads(), *([instruction.out] if instruction.out else [])):
            last[v.storage] = n
    last |= dict.fromkeys(to_the_end, len(instructions))
    places: dict[int, int] = {}
    sizes: dict[int, int] = {}
    free: list[tuple[int, int]] = []  # (offset, size), by offset
    waiting: list[tuple[int, int]] = []  # when a place is free, and whose it was
    end = 0
    owner: dict[int, Variable] = {}
    for n, instruction in enumerate(instructions):
        out, new = instruction.out, instruction.kind == "make"
        touched = [*instruction.reads(), *([out] if out is not None and not new else [])]
        dying = {v.storage for v in touched if last[v.storage] == n and v.storage in places}
        if new and out is not None and out.storage not in elsewhere and lower(instruction, xp) is not None:
            heir = next((s for s in dying if _may_take_over(instruction, owner[s])), None)
            if heir is not None:
                places[out.storage], sizes[out.storage] = places[heir], sizes[heir]
                dying.discard(heir)
            else:
                size = -(-max(out.nbytes, 1) // ALIGNMENT) * ALIGNMENT
                offset, free, end = _take(free, size, end)
                places[out.storage], sizes[out.storage] = offset, size
            owner[out.storage] = out
            if last[out.storage] == n:
                dying.add(out.storage)
        waiting += [(held[n] if held and sizes[s] <= SMALL else n, s) for s in dying]
        for _, storage in [each for each in waiting if each[0] <= n]:
            free = _give(free, places[storage], sizes[storage])
        waiting = [each for each in waiting if each[0] > n]
    return places, end


def _may_take_over(instruction: Instruction, old: Variable) -> bool:
    """Whether the result may lie where an argument lies that is not needed afterwards."""
    out = instruction.out
    assert out is not None
    if not is_elementwise(instruction.function):
        return False
    alike = (old.shape, old.strides, old.dtype.itemsize) == (out.shape, out.strides, out.dtype.itemsize)
    same_place = all(
        (v.shape, v.strides) == (old.shape, old.strides) for v in instruction.reads() if v.storage == old.storage
    )
    return alike and same_place


def _take(free: list[tuple[int, int]], size: int, end: int) -> tuple[int, list[tuple[int, int]], int]:
    """A place of `size` bytes: the smallest gap that it fits into, else at the end."""
    fitting = [gap for gap in free if gap[1] >= size]
    if not fitting:
        if free and sum(free[-1]) == end:  # the last gap reaches to the end: grow it
            offset = free[-1][0]
            return offset, free[:-1], offset + size
        return end, free, end + size
    gap = min(fitting, key=lambda g: g[1])
    rest = [g for g in free if g is not gap]
    if gap[1] > size:
        rest = sorted([*rest, (gap[0] + size, gap[1] - size)])
    return gap[0], rest, end


def _give(free: list[tuple[int, int]], offset: int, size: int) -> list[tuple[int, int]]:
    """The free places with one more, neighbours joined."""
    joined: list[tuple[int, int]] = []
    for gap in sorted([*free, (offset, size)]):
        if joined and sum(joined[-1]) == gap[0]:
            joined[-1] = (joined[-1][0], joined[-1][1] + gap[1])
        else:
            joined.append(gap)
    return joined
