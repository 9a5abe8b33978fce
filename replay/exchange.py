"""A pass: ReLU after the greatest of windows rather than before it, where there are fewer elements.

    a = max(z, 0); y = greatest of windows of a        becomes        y = greatest of windows of z; y = max(y, 0)

and in the reverse pass what comes in is multiplied by (y > 0), rather than what goes out by (a > 0). Both give the same
bits. Where a window has an element above 0, nothing differs. Else y is 0, and each element of the window gets 0 with
the sign of what comes in, whichever elements count as the greatest.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

import numpy

from ..engine.kernels import CpuKernel, OwnKernel
from . import calls
from .listing import Instruction, Variable, new_variable, root, substituted


def exchange(instructions: list[Instruction], kept: set[int]) -> list[Instruction]:
    """The list with each ReLU behind the pooling that follows it. kept: storages that are returned."""
    readers = _readers(instructions)
    for relu in [i for i in instructions if i.kind == "make" and i.name == "maximum" and _with_zero(i)]:
        found = _Pooled(instructions, readers, relu, kept)
        if found.fits():
            instructions = found.exchanged()
            readers = _readers(instructions)
    return instructions


def _readers(instructions: list[Instruction]) -> dict[int, list[Instruction]]:
    """The instructions that read each storage, in order."""
    found: dict[int, list[Instruction]] = {}
    for i in instructions:
        for storage in {v.storage for v in i.reads()}:
            found.setdefault(storage, []).append(i)
    return found


class _Pooled:
    """A ReLU, a = max(z, 0), and what reads its result.

    greatest: what makes y of a, in order. With a reverse pass, gate: (a > 0); entry: what takes the gradient that comes
    in, as its first argument; outgoing: the gradient that goes out; product: what multiplies that by the gate.
    """

    def __init__(
        self, instructions: list[Instruction], readers: dict[int, list[Instruction]], relu: Instruction, kept: set[int]
    ) -> None:
        self.instructions, self.relu, self.kept, self._of = instructions, relu, kept, readers
        self.z: Variable = relu.arguments[0]
        self.a: Any = relu.out
        takers = self._readers(self.a)
        self.views = [i for i in takers if i.kind == "view" and i.name == "getitem"]
        places = [i.out for i in self.views]
        self.greatest = [i for i in takers if i.name in calls.GREATEST or _is_greatest_of(i, places)]
        self.y: Any = self.greatest[0].out if self.greatest else None
        gates = [i for i in takers if i.name == "greater" and _with_zero(i)]
        masks = [i for i in takers if i.name == "equal" and i.arguments[0] in places and i.arguments[1] is self.y]
        back = [i for i in takers if i.name in calls.TO_GREATEST and tuple(i.arguments[1:]) == (self.a, self.y)]
        self.known = len(takers) == len({*map(id, (*self.views, *self.greatest, *gates, *masks, *back))})
        self.forward_only = not (gates or masks or back)
        self.entry: Instruction | None = None
        self.outgoing: Any = None
        self.product: Instruction | None = None
        self._shares: list[Instruction] = []
        if len(gates) == 1 and len(back) + bool(masks) == 1:
            self.gate = gates[0]
            if back and not _overlaps(back[0]):
                self.entry, self.outgoing = back[0], back[0].out
            elif masks and self._are_handed_out(masks):
                self.outgoing = root(self._shares[0].out)  # type: ignore[arg-type]
            self.product = self._product() if self.outgoing else None

    def _readers(self, variable: Any) -> list[Instruction]:
        """The instructions that read the memory of a variable."""
        return self._of.get(variable.storage, [])

    def _are_handed_out(self, masks: Sequence[Instruction]) -> bool:
        """Whether array code divides what comes in among the greatest, and writes each share into one array.

        The masks tell the greatest at each place of a window. They may have no other use: they are others afterwards.
        """
        place_of: dict[Any, Any] = {m.out: m.arguments[0] for m in masks}
        index_of = {i.out: i.arguments[1] for i in self.instructions if i.kind == "view" and i.name == "getitem"}
        touched = {m.storage for m in place_of}
        share: Any = None
        for i in self.instructions:
            if not any(v.storage in touched for v in i.reads()):
                continue
            counts = i.name in ("astype", "add", "equal") and share not in i.reads()  # how many are the greatest
            divides = i.name in ("divide", "true_divide") and not share
            if share and i.kind == "write" and i.name == "multiply" and i.arguments[0] is share:
                place = place_of.get(i.arguments[1])
                if place is None or i.out not in index_of or index_of[i.out] != index_of[place]:
                    return False
                self._shares.append(i)
            elif i.kind == "write" and counts and i.out is not None and i.out.storage in touched:
                continue
            elif i.kind == "make" and i.out is not None and (counts or divides):
                touched.add(i.out.storage)
                if not counts:
                    self.entry, share = i, i.out
            else:
                return False
        targets = {root(i.out).number for i in self._shares if i.out is not None}
        gy = self.entry.arguments[0] if self.entry else None
        plain = gy.__class__ is Variable and gy.shape == self.y.shape and gy.storage not in touched
        return plain and len(self._shares) == len(masks) and len(targets) == 1 and not touched & self.kept

    def _product(self) -> Instruction | None:
        """What multiplies the gradient that goes out by the gate, where both serve for nothing else."""
        places = [i.out for i in self._shares]
        users = [i for i in self._readers(self.outgoing) if i.kind != "view" or i.out not in places]
        if len(users) != 1 or self._readers(self.gate.out) != users:
            return None
        product, out = users[0], users[0].out
        if out is None or product.kind != "make":
            return None
        plain = product.name == "multiply" and len(product.arguments) == 2 and not product.options
        alike = all(getattr(out, what) == getattr(self.outgoing, what) for what in ("shape", "dtype", "strides"))
        return product if plain and alike and not {out.storage, self.outgoing.storage} & self.kept else None

    def fits(self) -> bool:
        """Whether the two can change places."""
        if not self.known or self.y is None or self.a.storage in self.kept:
            return False
        if not (self.forward_only or self.product):
            return False
        made, *rest = self.greatest
        first, last = (self.instructions.index(i) for i in (self.relu, self.greatest[-1]))
        in_order = made.kind == "make" and all(i.kind == "write" and i.out is self.y for i in rest)
        early = any(self.instructions.index(i) < last and i not in rest for i in self._readers(self.y))
        own = [*rest, *self._shares]
        changed = {i.out.storage for i in self.instructions[first:] if i.kind == "write" and i.out and i not in own}
        held = [self.z, self.a, self.y] + ([self.outgoing, self.product.out] if self.product else [])
        return (
            in_order
            and not early
            and not changed & {v.storage for v in held}
            and _is_row_major(self.z)
            and _is_row_major(self.y)
            and _zero_is_positive(self.z.dtype)
        )

    def exchanged(self) -> list[Instruction]:
        """The list, with the ReLU after the pooling."""
        relu, y = self.relu, self.y
        gone, instead = [relu], {self.a.number: self.z}
        after, before = {}, {}
        if not _with_relu(self.greatest[0]):
            after[id(self.greatest[-1])] = [Instruction("write", relu.name, relu.function, (y, 0), {}, y)]
        if self.entry and self.product and self.outgoing and self.product.out:
            gone += [self.gate, self.product]
            instead[self.product.out.number] = self.outgoing
        if self.entry and self.product and not _with_relu(self.entry):
            gy, *others = self.entry.arguments
            gate, product = self.gate, self.product
            passes = new_variable(self.instructions, y.shape, "bool")
            passed = new_variable(self.instructions, y.shape, gy.dtype, 2)
            before[id(self.entry)] = [
                Instruction("make", gate.name, gate.function, (y, 0), {}, passes),
                Instruction("make", product.name, product.function, (gy, passes), {}, passed),
            ]
            self.entry.arguments = (passed, *others)
        left: list[Instruction] = []
        for i in self.instructions:
            left += [] if i in gone else [*before.get(id(i), ()), i, *after.get(id(i), ())]
        return substituted(left, instead)


def _overlaps(i: Instruction) -> bool:
    """Whether windows overlap, on a CPU: there shares are added to 0, which takes the sign from a zero."""
    pairs = zip(i.options["stride"], i.options["size"], strict=True)
    return isinstance(i.function, CpuKernel) and any(s < k for s, k in pairs)


def _with_relu(i: Instruction) -> bool:
    """Have a kernel of our own do the ReLU as well; False where it is something else."""
    if isinstance(i.function, OwnKernel):
        i.options = {**i.options, "relu": True}
    return isinstance(i.function, OwnKernel)


def _with_zero(i: Instruction) -> bool:
    """Whether its arguments are an array and the number 0, and nothing else."""
    if len(i.arguments) != 2 or i.options:
        return False
    x, zero = i.arguments
    return x.__class__ is Variable and zero.__class__ in (int, float) and zero == 0


def _is_greatest_of(i: Instruction, places: Iterable[Any]) -> bool:
    """Whether it takes the greater of elements at two places, or of one and those found so far."""
    known = [*places, i.out]
    return i.name == "maximum" and len(i.arguments) == 2 and not i.options and all(x in known for x in i.arguments)


def _is_row_major(v: Variable) -> bool:
    return bool(v.strides == numpy.empty(v.shape, v.dtype).strides)


@cache
def _zero_is_positive(dtype: Any) -> bool:
    """Whether NumPy's max(-0, 0) is +0, however many there are of it; the bits are the same only then."""
    x = numpy.full(131, -0.0, dtype)
    return all(not numpy.signbit(numpy.maximum(x[:n], 0)).any() for n in (1, 2, 3, 5, 8, 13, 31, 131))
