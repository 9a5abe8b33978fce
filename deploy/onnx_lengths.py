"""Lengths that vary from pass to pass of a model that is watched: with the batch, and with the steps of a sequence."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import zip_longest
from typing import Any

import numpy

BATCHES = 2, 3
"""The sizes of the two batches that are watched."""
BATCH, STEPS = "batch", "steps"
"""What the open lengths are called."""


def sizes_of(steps: Sequence[int] = ()) -> list[tuple[int, int]]:
    """Batch and steps of each pass; steps: two numbers of them, where they are open, then others to compare with."""
    return [(batch, count) for count in steps[:2] or (0,) for batch in BATCHES] + [(1, count) for count in steps[2:]]


class Varying(int):
    """A length that belongs to the batch or the steps: what it was in the first pass; `values`: in each."""

    values: tuple[int, ...]

    def __new__(cls, values: Sequence[int]) -> Varying:
        made = super().__new__(cls, values[0])
        made.values = tuple(values)
        return made


def terms(n: Varying, sizes: Sequence[tuple[int, int]]) -> tuple[int, int, int, int]:
    """A length as rest + of the batch · batch + of the steps · steps + of both · batch · steps.

    Raises NotImplementedError where it is something else.
    """
    (batch, steps), (_, more) = sizes[0], sizes[:4][-1]
    apart = max(more - steps, 1)
    first, second, third, fourth = n.values[:4] if len(n.values) > 2 else (*n.values, *n.values)
    both, left = divmod(fourth - third - second + first, apart)
    of_steps, over = divmod(third - first - both * batch * (more - steps), apart)
    of_batch = second - first - both * steps
    rest = first - of_batch * batch - of_steps * steps - both * batch * steps
    least = min(0, 1 - steps) if of_steps else 0
    right = all(
        rest + of_batch * b + of_steps * t + both * b * t == found
        for found, (b, t) in zip(n.values, sizes, strict=True)
    )
    if left or over or min(of_batch, of_steps, both) < 0 or rest < least or not right:
        what = zip(n.values, sizes, strict=True)
        said = (f"{count} for {b} samples{f' of {t} steps' if t else ''}" for count, (b, t) in what)
        raise NotImplementedError(f"a length is {', '.join(said)}")
    return rest, of_batch, of_steps, both


def name_of(n: int, sizes: Sequence[tuple[int, int]]) -> int | str | None:
    """A length as a file declares it: its number, its name where it is the batch's or the steps', or None."""
    if not isinstance(n, Varying):
        return n
    try:
        return {(0, 1, 0, 0): BATCH, (0, 0, 1, 0): STEPS}.get(terms(n, sizes))
    except NotImplementedError:
        return None


def merged(*given: Any) -> Any:
    """What all passes agree on; an integer in which they do not is Varying."""
    a = given[0]
    if isinstance(a, tuple | list) and len({len(b) for b in given}) == 1:
        return type(a)(merged(*each) for each in zip(*given, strict=True))
    if isinstance(a, dict):
        return {key: merged(*(b[key] for b in given)) for key in a}
    if all(isinstance(b, slice) for b in given):
        return slice(*(merged(*(getattr(b, end) for b in given)) for end in ("start", "stop", "step")))
    if all(b is a or (alike(a, b) if isinstance(a, numpy.ndarray) else a == b) for b in given):
        return a
    if all(isinstance(b, int) for b in given):
        return Varying(given)
    raise NotImplementedError("a parameter of it was computed from the batch outside of all primitives")


def alike(a: Any, b: Any) -> bool:
    """Whether two arrays hold the same numbers."""
    return a.shape == b.shape and numpy.array_equal(a, b, equal_nan=a.dtype.kind in "fc")


def broadcast(shapes: Iterable[tuple[int, ...]]) -> tuple[int, ...]:
    """The shape that these make together; of lengths, those of the batch are kept."""
    lengths = zip_longest(*(shape[::-1] for shape in shapes), fillvalue=1)
    return tuple(next((n for n in each if n != 1), 1) for each in lengths)[::-1]
