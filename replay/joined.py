"""What one launch on a GPU does together: which calls a loop may take, what rides along, and what goes on side by side.

`array` gives the array that a variable stands for, None where that is another one in each replay.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import product
from typing import Any

from ..engine import backend
from ..engine.cuda.launch import CudaKernel, Together, Work
from .calls import BESIDE
from .cuda_loop import reduction_of
from .listing import Instruction, variables
from .lowering import Step


def may_be_in_a_loop(instruction: Instruction) -> bool:
    """Whether a loop can take it."""
    return bool(instruction.row.c) or instruction.copied() is not None or gathers(instruction)


def may_join(run: Sequence[Instruction]) -> bool:
    """Whether calls over different shapes may be one launch."""
    shapes = {i.out.shape for i in run if i.kind != "view" and i.out is not None}
    return len(shapes) > 1 or any(map(gathers, run))


def gathers(instruction: Instruction) -> bool:
    """Whether its launch may do what is computed beside it as well."""
    return bool(reduction_of(instruction)) or is_by_row(instruction.function)


def is_by_row(function: Any) -> bool:
    """Whether it is a kernel that has a form for a row."""
    return isinstance(function, CudaKernel) and function.by_row is not None


def beside(steps: Sequence[Step], array: Callable[[Any], Any], exact: bool) -> list[Step]:
    """The steps without the launches that the one just before them does as well: a bias's gradient."""
    left: list[Step] = []
    before = -1
    for step in steps:
        left.append(step)
        if not step.calls:
            continue
        earlier, own = left[before] if before >= 0 else step, step.instruction
        option, places, same = BESIDE.get(own.name, {}).get(earlier.instruction.name, ("", (), bool))
        (function, arguments, options), *more = earlier.calls
        given = option and tuple(own.arguments) == tuple([arguments[i] for i in places])
        if given and not more and isinstance(function, CudaKernel) and (not exact or same(*own.arguments)):
            target, *taken = map(array, (own.out, *earlier.instruction.reads(), earlier.instruction.out))
            known = not any(x is None for x in (target, *taken))  # each is in its place, the same each time
            if known and not any(backend.overlap(target, x) for x in taken):
                left[before] = replace(earlier, calls=((function, arguments, {**options, option: own.out}),))
                left[-1] = replace(step, calls=())
                continue
        before = len(left) - 1
    return left


def together(steps: list[Step], array: Callable[[Any], Any]) -> list[Step]:
    """The steps with neighbouring products that do not follow from one another as one launch."""
    first = -1
    for n, step in enumerate(steps):
        if not step.calls:
            continue
        calls = [*(steps[first].calls if first >= 0 else ()), *step.calls]
        if len(calls) == 2 and all(isinstance(f, CudaKernel) and f.joins for f, _, _ in calls):
            reads, writes = zip(*[[variables(x) for x in (a, o)] for _, a, o in calls], strict=True)
            arrays = [[array(v) for v in x] for x in (*writes, *reads)]
            (one, other, read, also_read) = arrays
            pairs = [*product(one, (*other, *also_read)), *product(other, read)]
            if not any(x is None or y is None or backend.overlap(x, y) for x, y in pairs):
                given = tuple((arguments, options) for _, arguments, options in calls)
                steps[first] = replace(steps[first], calls=((Together(calls[0][0], calls[1][0]), given, {}),))
                steps[n], first = replace(step, calls=()), -1
                continue
        first = n
    return steps


def beginning(steps: Sequence[Step], array: Callable[[Any], Any]) -> tuple[list[Work], list[Step]]:
    """What the steps begin with that may go on beside the feed, and the steps without it."""
    works: list[Work] = []
    rest, written = list(steps), list[Any]()
    for n, step in enumerate(steps):
        if not step.calls:
            continue
        (function, arguments, options), *more = step.calls
        if more or not isinstance(function, CudaKernel) or function.work is None or options.keys() != {"out"}:
            break
        *given, out = map(array, (*arguments, options["out"]))
        whole = all(hasattr(x, "flags") and x.flags.c_contiguous for x in (*given, out)) and out.size
        if not whole or any(backend.overlap(x, y) for x in (*given, out) for y in written):
            break
        works.append(function.work(*given, out))
        written.append(out)
        rest[n] = replace(step, calls=())
    return works, rest
