"""The entries of a list of array calls, which `trace` writes and `program` replays, and how to look through them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy

from .arguments import leaves
from .calls import CALLS, UNKNOWN, ArrayCall


class Variable:
    """An array of the list, known by its number.

    kind: "input" (another array in each call), "outside" (made before, such as a weight), "made" by an instruction,
    or "view" of `parent`. strides: as the array had them. storage: what it shares with all that share its memory.
    array: the array itself where it is from outside. constant: that is the same in each call.
    """

    __slots__ = ("array", "constant", "dtype", "kind", "nbytes", "number", "parent", "shape", "storage", "strides")

    def __init__(self, number: int, array: Any, kind: str, storage: int, parent: Variable | None = None) -> None:
        self.number, self.kind, self.storage, self.parent = number, kind, storage, parent
        self.shape, self.dtype, self.strides, self.nbytes = array.shape, array.dtype, array.strides, array.nbytes
        self.array = array if kind == "outside" else None
        self.constant = False

    def __repr__(self) -> str:
        return f"v{self.number}"


def new_variable(instructions: Iterable[Instruction], shape: Any, dtype: Any, number: int = 1) -> Variable:
    """A variable that none of them has, of its own memory, row by row. number: of several, which one."""
    known = [v for i in instructions for v in (*i.reads(), *([i.out] if i.out else []))]
    most = max(max(v.number, v.storage) for v in known) + number
    return Variable(most, numpy.empty(shape, dtype), "made", most)


def root(variable: Variable) -> Variable:
    """The variable that this one is a view of, at the beginning of the chain; itself, where it is none."""
    while variable.parent is not None:
        variable = variable.parent
    return variable


class Instruction:
    """One array call. kind: "make" (`out` is new), "view", "write" (changes `out`, which was there) or "host".

    part: calls of one part of a step are made once on the same values; 0 but for what is computed again on purpose.
    """

    __slots__ = ("arguments", "function", "kind", "name", "options", "out", "part")

    def __init__(
        self, kind: str, name: str, function: Callable[..., Any], arguments: Any, options: Any, out: Variable | None
    ) -> None:
        self.kind, self.name, self.function = kind, name, function
        self.arguments, self.options, self.out = arguments, options, out
        self.part = 0

    @property
    def row(self) -> ArrayCall:
        """What is known of the function."""
        return CALLS.get(self.name, UNKNOWN)

    def copied(self) -> Any:
        """What it copies, cast to the dtype of its result, into all of that; None where it does something else."""
        row, given = self.row, self.arguments
        if row.fills is not None:
            return row.fills
        if self.name in ("full", "full_like"):
            return given[1] if len(given) > 1 else None
        if self.name == "setitem":
            return given[2] if given[1] is Ellipsis else None
        if self.name == "copyto":
            return None if self.options else given[1]
        alone = self.name in ("astype", "copy") or (len(given) == 1 and not self.options)
        return given[0] if row.copies and alone else None

    def reads(self) -> list[Variable]:
        """The variables among its arguments."""
        return variables((self.arguments, self.options))

    def __repr__(self) -> str:
        arguments = [*map(_shown, self.arguments), *(f"{k}={_shown(v)}" for k, v in self.options.items())]
        target = {"write": f"{self.out} ← ", "host": ""}.get(self.kind, f"{self.out} = ")
        return f"{target}{self.name}({', '.join(arguments)})"


def variables(value: Any) -> list[Variable]:
    """The variables in a nest of tuples, lists and dicts."""
    return [item for item in leaves(value) if item.__class__ is Variable]


def mapped(value: Any, change: Callable[[Any], Any]) -> Any:
    """The same nest with every leaf changed."""
    if isinstance(value, (tuple, list)):
        return type(value)([mapped(item, change) for item in value])
    if isinstance(value, dict):
        return {key: mapped(item, change) for key, item in value.items()}
    return change(value)


def substituted(instructions: list[Instruction], instead: dict[int, Variable]) -> list[Instruction]:
    """The list with other variables, by number; views of what is replaced are views of what stands for it."""

    def replaced(value: Any) -> Any:
        return instead.get(value.number, value) if value.__class__ is Variable else value

    for instruction in instructions:
        substitute(instruction, replaced)
    return instructions


def substitute(instruction: Instruction, replaced: Callable[[Any], Any]) -> None:
    """Have an instruction take, write into and look at other variables."""
    instruction.arguments = mapped(instruction.arguments, replaced)
    instruction.options = mapped(instruction.options, replaced)
    out = instruction.out
    if out is not None and instruction.kind == "write":
        instruction.out = replaced(out)
    elif out is not None and instruction.kind == "view" and out.parent is not None:
        out.parent = replaced(out.parent)
        out.storage = out.parent.storage


def _shown(value: Any) -> str:
    return value.__name__ if isinstance(value, type) else repr(value)
