"""What is done to a list of array calls before it is replayed: less of it, and into fewer arrays.

None of it changes a bit of the result: calls are left out, never reordered or rewritten.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any

import numpy

from ..engine import backend
from .listing import Instruction, Variable, mapped, root, substitute, variables
from .trace import Trace

FEW = 1024
"""Bytes of a result that may be computed earlier."""
FAR = 64
"""Calls by which it is computed earlier, at most: so the time of it all grows as the list."""


def written_storages(instructions: Iterable[Instruction]) -> set[int]:
    """The storages that are changed in place."""
    return {i.out.storage for i in instructions if i.kind == "write" and i.out is not None}


def fold(trace: Trace, instructions: list[Instruction], kept: set[int]) -> list[Instruction]:
    """Without the calls whose result is the same each time: it becomes an array from outside.

    kept: storages that are returned, and so are made anew in each replay.
    """
    written = written_storages(instructions) | kept
    constant: set[int] = set()
    left = []
    for instruction in instructions:
        out = instruction.out
        made = instruction.kind in ("make", "view") and instruction.row.repeats
        by_shape = instruction.row.by_shape and not _computed(instruction)
        known = by_shape or all(v.number in constant for v in instruction.reads())
        array = None if out is None else trace.traced[out.number].array  # a large one was let go of
        if made and known and out is not None and array is not None and out.storage not in written:
            constant.add(out.number)
            out.kind, out.parent, out.array = "outside", None, array
            out.constant = True
            continue
        left.append(instruction)
    return left


def _computed(instruction: Instruction) -> bool:
    """Whether what `full` fills with is computed."""
    values = instruction.arguments[1:] if instruction.name.startswith("full") else ()
    return any(value.__class__ is Variable for value in (*values, instruction.options.get("fill_value")))


def share(instructions: list[Instruction], kept: set[int], returned: Iterable[Variable]) -> list[Instruction]:
    """Without the calls that were made before on the same values, and without products with 1.

    Softmax in a loss and again in its gradient is one softmax.
    """
    written, outputs = written_storages(instructions) | kept, {v.number for v in returned}
    versions: dict[int, int] = {}
    known: dict[Any, Variable] = {}
    instead: dict[int, Variable] = {}

    def replaced(value: Any) -> Any:
        return instead.get(value.number, value) if value.__class__ is Variable else value

    def key(value: Any) -> Any:
        if value.__class__ is Variable:
            return ("v", value.number, versions.get(value.storage, 0))
        return (type(value).__name__, repr(value) if not isinstance(value, numpy.random.Generator) else id(value))

    left = []
    for instruction in instructions:
        out = instruction.out
        substitute(instruction, replaced)
        if instruction.kind == "write" and out is not None:
            versions[out.storage] = versions.get(out.storage, 0) + 1
        if (
            out is not None
            and instruction.kind in ("make", "view")
            and instruction.row.repeats
            and (instruction.kind == "view" or out.storage not in written)
            and out.number not in outputs
        ):
            same = (
                instruction.part,
                instruction.name,
                _frozen(mapped((instruction.arguments, instruction.options), key)),
            )
            earlier = _times_one(instruction, written) or known.setdefault(same, out)
            if earlier is not out:
                instead[out.number] = earlier
                continue
        left.append(instruction)
    return left


def _times_one(instruction: Instruction, written: set[int]) -> Variable | None:
    """The factor beside a 1, such as the gradient that a loss begins with."""
    out, factors = instruction.out, instruction.arguments
    if instruction.name != "multiply" or instruction.options or not all(x.__class__ is Variable for x in factors):
        return None
    for one, x in (factors, factors[::-1]):
        alike = out is not None and (x.shape, x.dtype, x.strides) == (out.shape, out.dtype, out.strides)
        if alike and one.constant and one.storage not in written and one.shape == () and backend.fetch(one.array) == 1:
            return x if x.kind == "made" and x.storage not in written else None
    return None


def _frozen(value: Any) -> Any:
    if isinstance(value, dict):
        return tuple((k, _frozen(v)) for k, v in sorted(value.items()))
    return tuple(_frozen(v) for v in value) if isinstance(value, (tuple, list)) else value


def drop_unused(instructions: list[Instruction], returned: Iterable[Variable]) -> list[Instruction]:
    """Without the calls that nothing comes of: a gradient that nobody asked for."""
    wanted = {v.number for v in returned}
    alive, left = {v.storage for v in returned}, []
    for instruction in reversed(instructions):
        out = instruction.out
        if out is None or instruction.row.draws or (instruction.kind == "write" and from_outside(out)):
            useful = True
        else:
            useful = out.number in wanted if instruction.kind == "view" else out.storage in alive
        if useful:
            left.append(instruction)
            reads = [*instruction.reads(), *([out] if out and instruction.kind == "write" else [])]
            if instruction.kind == "make" and out is not None:
                alive.discard(out.storage)
            alive.update(v.storage for v in reads)
            wanted.update(v.number for v in reads)
    return left[::-1]


def from_outside(variable: Variable) -> bool:
    """Whether the memory was there before."""
    return root(variable).kind in ("outside", "input")


def place(instructions: list[Instruction], kept: set[int]) -> tuple[list[Instruction], Mapping[int, Any]]:
    """Without copies of a new array into one from outside, where it can be computed there at once.

    Returns the instructions left, and for each storage so placed the array that it is computed in.
    """
    placed: dict[int, Any] = {}
    left: list[Instruction] = []
    made_at = {x.out.number: n for n, x in enumerate(instructions) if x.kind == "make" and x.out is not None}
    bounds: dict[int, tuple[int, int]] = {}
    hosts = [n for n, x in enumerate(instructions) if x.kind == "host"]
    touches: dict[int, list[tuple[int, str, Variable]]] = defaultdict(list)  # by storage: when, how, and where
    for n, x in enumerate(instructions):
        for v in x.reads():
            touches[v.storage].append((n, "read", v))
        if x.out is not None:
            touches[x.out.storage].append((n, x.kind, x.out))
    for n, copy in enumerate(instructions):
        made = _copied(copy)
        start = None if made is None else made_at.get(made.number)
        if made is None or start is None or made.storage in kept or made.storage in placed:
            left.append(copy)
            continue
        target = copy.out
        assert target is not None
        if bisect_left(hosts, start) < bisect_left(hosts, n):  # a check that may fail comes first
            left.append(copy)
            continue
        there, own = touches[target.storage], touches[made.storage]
        begin, end, after = (bisect_left(there, m, key=itemgetter(0)) for m in (start, n, n + 1))
        touched = any(_overlaps(v, target, bounds) for _, _, v in there[begin:end])
        rewritten = any(how == "write" for _, how, _ in own)
        read_later = own[-1][0] > n and any(m > n and how == "read" for m, how, _ in own)
        changed_later = read_later and any(
            how == "write" and _overlaps(v, target, bounds) for _, how, v in there[after:]
        )
        if touched or rewritten or changed_later:
            left.append(copy)
        else:
            placed[made.storage] = target.array
    return left, placed


def hoist(
    instructions: list[Instruction], loops: Callable[[Instruction], bool], gathers: Callable[[Instruction], bool]
) -> list[Instruction]:
    """With what is computed of few numbers right after the last call that they follow from, where a loop can take it.

    loops: whether a loop can take a call. gathers: whether it takes single numbers along, too.
    """
    left: list[Instruction] = []
    moved: set[int] = set()
    for instruction in instructions:
        out, at = instruction.out, len(left)
        few = instruction.kind in ("make", "write") and loops(instruction) and not gathers(instruction)
        if out is not None and few and out.nbytes <= FEW:
            own = {v.storage for v in (*instruction.reads(), *([out] if instruction.kind == "write" else []))}
            least = max(0, at - FAR)
            while at > least and not _holds(left[at - 1], own, out.storage):
                at -= 1
            before, after = left[at - 1] if at else None, left[at] if at < len(left) else None
            single = before is not None and (gathers(before) or id(before) in moved)
            if (at > least or not least) and (single if out.shape == () else after is not None and loops(after)):
                moved.add(id(instruction))
            else:
                at = len(left)
        left.insert(at, instruction)
    return left


def ends_of_runs(
    instructions: Sequence[Instruction],
    fits: Callable[[Instruction], bool],
    joins: Callable[[Sequence[Instruction]], bool],
) -> list[int]:
    """For each instruction the end of its run of fitting ones, where these join; else itself."""
    ends = list(range(len(instructions)))
    for fitting, run in groupby(
        range(len(instructions)), lambda n: instructions[n].kind == "view" or fits(instructions[n])
    ):
        numbers = list(run)
        if fitting and joins(instructions[numbers[0] : numbers[-1] + 1]):
            ends[numbers[0] : numbers[-1] + 1] = [numbers[-1]] * len(numbers)
    return ends


def _holds(earlier: Instruction, own: set[int], written: int) -> bool:
    """Whether a call that touches these storages, and writes one of them, has to stay behind an earlier one."""
    fixed = earlier.kind == "host" or earlier.row.by_all
    told = variables(earlier.options)  # some of these it may write to
    made = any(v.storage in own for v in (*told, *([earlier.out] if earlier.out else [])))
    return fixed or made or any(v.storage == written for v in earlier.reads())


def _copied(instruction: Instruction) -> Variable | None:
    """The new array that this instruction copies whole into one from outside of the same layout."""
    target, source = instruction.out, instruction.copied()
    if instruction.kind != "write" or target is None or target.kind != "outside":
        return None
    if source.__class__ is not Variable or source.kind != "made":
        return None
    alike = (source.shape, source.dtype, source.strides) == (target.shape, target.dtype, target.strides)
    return source if alike else None


def _overlaps(a: Variable, b: Variable, bounds: dict[int, tuple[int, int]]) -> bool:
    """Whether two variables may share memory. bounds: of arrays that lie in one piece, as far as they are known."""
    if a.storage != b.storage:
        return False
    if a.array is None or b.array is None:
        return True
    for v in (a, b):
        if v.number not in bounds and v.array is not None:
            begin = backend.address_of(v.array) if v.array.flags.c_contiguous else -1
            bounds[v.number] = begin, begin + v.nbytes
    (a_begin, a_end), (b_begin, b_end) = bounds[a.number], bounds[b.number]
    if a_begin >= 0 and b_begin >= 0:
        return a_begin < b_end and b_begin < a_end
    return backend.overlap(a.array, b.array)
