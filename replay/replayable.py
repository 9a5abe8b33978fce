"""Whether what a trace lists can be replayed, and if not, why, in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy

from ..engine import backend
from ..engine.tensor import Tensor
from ..errors import UsageError
from .arguments import leaves
from .listing import Variable, root
from .passes import from_outside
from .program import device_of
from .trace import Trace

KEPT = "a tensor made on the way is kept by somebody else, such as a list outside: return it instead"
"""Which may be so once only, where another thread holds it for a moment."""


def unfit(trace: Trace, box: list[Any], given: Sequence[Tensor]) -> str | None:
    """Why a trace cannot be replayed, apart from what it noted itself. box: holds the result, alone."""
    if trace.escaped(box, given):
        return KEPT
    for x in leaves(box):
        if x is not None and not isinstance(x, Tensor):
            return f"it returns {type(x).__name__}, not tensors alone"
        if x is not None and trace.made(x) and x._node is not None and x._node.saved is not None:
            return "the result still asks for gradients: call backward() inside, or return result.detach()"
        if x is not None and not trace.made(x) and all(x is not t for t in (*given, *(t for t, *_ in trace.lifted))):
            return "it returns a tensor from outside that takes no part, such as a gradient that was there before"
    changed = False
    for instruction in trace.instructions:
        out = instruction.out
        if instruction.kind == "host" and changed:
            return f"{instruction.name} checks values after something was changed"
        if instruction.kind == "write" and out is not None and root(out).kind == "input":
            return "it changes an argument in place"
        changed |= instruction.row.draws or (instruction.kind == "write" and out is not None and from_outside(out))
    return None


def check_that_it_repeats(trace: Trace) -> None:
    """Raise UsageError where a GPU adds to places named by an array: in an order that differs from run to run."""
    adding = next((i for i in trace.instructions if i.name.endswith(".at")), None)
    if adding is not None and device_of(trace) != "cpu":
        raise UsageError(
            f"deterministic=True: the step adds to places named by an array ({adding.name}), which a GPU does in an "
            "order that differs from run to run. Leave deterministic out, or compute it another way (a product with "
            "one-hot rows, say)."
        )


def difference(before: Trace, after: Trace) -> str | None:
    """What differs between two traces of one function, in words; None where they are the same list."""
    for mine, theirs in zip(after.instructions, before.instructions, strict=False):
        if mine.name != theirs.name or mine.kind != theirs.kind:
            return f"one call computed {theirs}, the next {mine}"
        found = _between((theirs.arguments, theirs.options), (mine.arguments, mine.options))
        if found:
            return f"{mine.name} was given {found}"
        if mine.out is not None and theirs.out is not None:
            found = _between(theirs.out, mine.out)
            if found:
                return f"{mine.name} gave {found}"
            if mine.kind == "write" and mine.out.array is not theirs.out.array:
                return f"{mine.name} changed an array of shape {mine.out.shape} that is made anew in each call"
    if len(after.instructions) != len(before.instructions):
        return f"one call made {len(before.instructions)} array calls, the next {len(after.instructions)}"
    return None


def _between(before: Any, after: Any) -> str | None:
    """In what two listed arguments differ: None where a replay may take the one for the other."""
    if before.__class__ is not after.__class__:
        return f"{before!r}, then {after!r}"
    if isinstance(before, Variable):
        if (before.number, before.kind, before.shape, before.dtype) != (
            after.number, after.kind, after.shape, after.dtype,
        ):  # fmt: skip
            return f"an array of shape {before.shape}, then one of shape {after.shape}"
        one: Any = before.array
        two: Any = after.array
        outside = one is not None and two is not None and one is not two
        if outside and not _equal(one, two):
            return (
                f"an array of shape {before.shape} that is made anew in each call, outside the engine, with other "
                "values: give it as an argument"
            )
        return None
    if isinstance(before, (tuple, list, dict)):
        if len(before) != len(after):
            return f"{len(before)} arguments, then {len(after)}"
        keys: Any = before if isinstance(before, dict) else range(len(before))
        return next((d for k in keys if (d := _between(before[k], after[k]))), None)
    same = before is after or before == after or (before != before and after != after)
    return None if same else f"{before!r}, then {after!r}: give what changes as an argument, in a tensor"


def _equal(one: Any, two: Any) -> bool:
    """Whether two arrays hold the same; those of a GPU are fetched."""
    one, two = backend.fetch(one), backend.fetch(two)
    return numpy.array_equal(one, two, equal_nan=one.dtype.kind == "f")
