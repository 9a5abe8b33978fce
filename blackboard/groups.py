"""A computation too long to write out: its steps by layers or by runs, each step in one line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

from .explanation import Quantity, Step
from .plain import short

RUN = 100
"""Steps of a run, where no layer tells where one ends."""
LISTED = 20_000
"""Steps that are listed one by one; of more only the runs are told."""
FEW = 4
"""Elements of an array up to which each is told."""


def groups_of(steps: Sequence[Step]) -> list[dict[str, Any]]:
    """The steps of each layer, or of a run of RUN: what is applied how often, and every step in one line."""
    groups = []
    for layer, run in _runs(steps):
        counts = Counter(step.primitive.name for step in run)
        groups.append(
            {
                "layer": layer,
                "first": run[0].number,
                "last": run[-1].number,
                "primitives": [[name, count] for name, count in counts.most_common(4)],
                "steps": [_line(step) for step in run if step.number <= LISTED],
            }
        )
    return groups


def _runs(steps: Sequence[Step]) -> Iterator[tuple[str, list[Step]]]:
    for layer, same in groupby(steps, lambda step: step.result.layer):
        members = list(same)
        size = len(members) if layer else max(RUN, len(steps) // RUN)
        for start in range(0, len(members), size):
            yield layer, members[start : start + size]


def _line(step: Step) -> list[Any]:
    """Equation, shape, value and gradient."""
    result: Quantity = step.result
    value, gradient = (_told(x) for x in (result.value, result.gradient))
    return [step.symbols("unicode"), list(result.shape), value, gradient]


def _told(array: Any) -> list[Any] | None:
    """The elements of a small array; least, mean and greatest of a larger one; None where there is none."""
    if array is None:
        return None
    if array.size <= FEW:
        return [short(x) for x in array.reshape(-1).astype(float).tolist()]
    return [short(float(x)) for x in (array.min(), array.mean(), array.max())]
