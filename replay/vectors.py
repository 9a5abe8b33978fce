"""Loops over vectors of the machine, for Numba: products of matrices in registers, and what is computed beside them.

Numba's own loops become vector code only where LLVM finds that nothing overlaps; here the vectors are written out. An
array is an address and strides in bytes. What is computed has the same digits each time, others than NumPy's.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import llvmlite.binding as llvm  # type: ignore[import-untyped]
from llvmlite import ir
from numba import types
from numba.core.extending import intrinsic

LONG, INT = ir.IntType(64), ir.IntType(32)


@functools.cache
def features() -> dict[str, bool]:
    """What LLVM says that this machine has."""
    return dict(llvm.get_host_cpu_features())


def suits() -> bool:
    """Whether the machine multiplies and adds in one operation, which all of this is made for."""
    return features().get("fma", False) or llvm.get_default_triple().startswith(("aarch64", "arm64"))


@functools.cache
def lanes(dtype: str) -> int:
    """Numbers in a vector."""
    bits = 512 if features().get("avx512f") else 256 if features().get("avx2") else 128
    return bits // (32 if dtype == "float32" else 64)


def tile_rows() -> int:
    """Rows of the product that are held in registers at once, each of two vectors."""
    return 4 if features().get("avx2") and not features().get("avx512f") else 8


class Machine:
    """Vectors of so many numbers of a dtype, in the block of code that a builder is at."""

    def __init__(self, builder: Any, dtype: str, count: int) -> None:
        self.builder, self.single, self.count = builder, dtype == "float32", count
        self.number = ir.FloatType() if self.single else ir.DoubleType()
        self.size = 4 if self.single else 8
        self.vector = ir.VectorType(self.number, count)
        self.whole = ir.VectorType(INT if self.single else LONG, count)

    def constant(self, value: float) -> Vector:
        """The number in all places."""
        return Vector(self, ir.Constant(self.vector, [ir.Constant(self.number, value)] * self.count))

    def load(self, address: Any) -> Vector:
        """What lies at an address."""
        found = self.builder.load(self.builder.inttoptr(address, self.vector.as_pointer()))
        found.align = self.size
        return Vector(self, found)

    def everywhere(self, address: Any) -> Vector:
        """The one number at an address, in all places."""
        number = self.builder.load(self.builder.inttoptr(address, self.number.as_pointer()))
        number.align = self.size
        none = ir.Constant(self.vector, ir.Undefined)
        first = self.builder.insert_element(none, number, ir.Constant(INT, 0))
        places = ir.Constant(ir.VectorType(INT, self.count), [0] * self.count)
        return Vector(self, self.builder.shuffle_vector(first, none, places))

    def store(self, value: Vector, address: Any) -> None:
        """Write it to an address."""
        self.builder.store(value.x, self.builder.inttoptr(address, self.vector.as_pointer())).align = self.size

    def call(self, name: str, *values: Vector) -> Vector:
        """One of LLVM's own functions of vectors."""
        of = f"llvm.{name}.v{self.count}f{8 * self.size}"
        known = self.builder.module.globals.get(of)
        made = known or ir.Function(self.builder.module, ir.FunctionType(self.vector, [self.vector] * len(values)), of)
        return Vector(self, self.builder.call(made, [v.x for v in values]))

    def at(self, address: Any, *places: Any) -> Any:
        """An address, so many bytes further on: whole numbers, or values."""
        for place in places:
            address = self.builder.add(address, ir.Constant(LONG, place) if isinstance(place, int) else place)
        return address


class Vector:
    """Numbers side by side, with Python's operators."""

    def __init__(self, machine: Machine, x: Any) -> None:
        self.machine, self.x = machine, x

    def _with(self, name: str, other: Any) -> Vector:
        other = other if isinstance(other, Vector) else self.machine.constant(other)
        return Vector(self.machine, getattr(self.machine.builder, name)(self.x, other.x))

    __add__ = __radd__ = lambda self, other: self._with("fadd", other)
    __mul__ = __rmul__ = lambda self, other: self._with("fmul", other)
    __sub__ = lambda self, other: self._with("fsub", other)  # noqa: E731
    __truediv__ = lambda self, other: self._with("fdiv", other)  # noqa: E731
    __rsub__ = lambda self, other: self.machine.constant(other)._with("fsub", self)  # noqa: E731
    __rtruediv__ = lambda self, other: self.machine.constant(other)._with("fdiv", self)  # noqa: E731

    def times_plus(self, factor: Any, term: Any) -> Vector:
        """self · factor + term, rounded once."""
        others = [v if isinstance(v, Vector) else self.machine.constant(v) for v in (factor, term)]
        return self.machine.call("fma", self, *others)

    def within(self, low: float, high: float) -> Vector:
        """Itself, or the nearer end; NaN stays."""
        found = self
        for sign, end in (("<", low), (">", high)):
            limit, builder = self.machine.constant(end), self.machine.builder
            found = Vector(self.machine, builder.select(builder.fcmp_ordered(sign, found.x, limit.x), limit.x, found.x))
        return found

    def _power(self) -> tuple[Vector, Vector]:
        """s and p with exp(x) = s (1 + p), s a power of 2, and p exact also where it is small."""
        m = self.machine
        n = m.call("floor", self.times_plus(1 / math.log(2), 0.5))
        high = float.fromhex("0x1.62e43p-1" if m.single else "0x1.62e42fefa39efp-1")
        low = -1.904654299957767878e-09 if m.single else 2.3190468138462996e-17  # log 2 less that
        r = n.times_plus(-low, n.times_plus(-high, self))
        p = m.constant(1 / math.factorial(7 if m.single else 13))
        for k in range(6 if m.single else 12, 0, -1):
            p = p.times_plus(r, 1 / math.factorial(k))
        shift, middle = (23, 127) if m.single else (52, 1023)
        lane = [ir.Constant(m.whole.element, k) for k in (middle, shift)]
        whole = m.builder.add(m.builder.fptosi(n.x, m.whole), ir.Constant(m.whole, [lane[0]] * m.count))
        bits = m.builder.shl(whole, ir.Constant(m.whole, [lane[1]] * m.count))
        return Vector(m, m.builder.bitcast(bits, m.vector)), p * r

    def sigmoid(self) -> Vector:
        """1 / (1 + exp(-x))."""
        least, most = (-87.0, 88.0) if self.machine.single else (-708.0, 709.0)
        s, p = (self * -1.0).within(least, most)._power()
        return self.machine.constant(1.0)._with("fdiv", s.times_plus(p, s) + 1.0)

    def tanh(self) -> Vector:
        """tanh(x), exact also near 0."""
        s, p = (self.machine.call("fabs", self) * -2.0).within(-87.0 if self.machine.single else -708.0, 0.0)._power()
        q = s.times_plus(p, s - 1.0)
        return self.machine.call("copysign", (0.0 - q) / (q + 2.0), self)


def elementwise(arguments: int, body: Callable[..., None], dtype: str, count: int) -> Any:
    """A function for Numba of so many whole numbers: body is given the machine and them, as values."""

    def code(context: Any, builder: Any, signature: Any, given: Sequence[Any]) -> Any:
        body(Machine(builder, dtype, count), *given)
        return context.get_dummy_value()

    return _named(arguments, code)


def tile(rows: int, columns: int, dtype: str, count: int) -> Any:
    """A function for Numba of (k, a, along, down, b, across, c, from, o, to): o ← c + a b, a tile of o in registers.

    The tile has so many rows, and columns vectors. a: element (r, p) lies along · p + down · r bytes behind it; the
    rows of b, c and o are across, from and to bytes apart.
    """

    def code(context: Any, builder: Any, signature: Any, given: Sequence[Any]) -> Any:
        k, a, along, down, b, across, c, begin, o, to = given
        m = Machine(builder, dtype, count)
        width = count * m.size
        far = [ir.Constant(LONG, r) for r in range(rows)]
        cells = [(r, v) for r in range(rows) for v in range(columns)]
        first = [m.load(m.at(c, builder.mul(begin, far[r]), v * width)) for r, v in cells]
        before = builder.block
        loop, end = builder.append_basic_block("products"), builder.append_basic_block("done")
        heads = [m.at(a, builder.mul(down, far[r])) for r in range(rows)]
        builder.branch(loop)
        builder.position_at_end(loop)
        counters = [(builder.phi(LONG), start, step) for start, step in (
            (ir.Constant(LONG, 0), ir.Constant(LONG, 1)), (b, across), (ir.Constant(LONG, 0), along)
        )]  # fmt: skip
        sums = [builder.phi(m.vector) for _ in cells]
        (p, *_), (row, *_), (place, *_) = counters
        right = [m.load(m.at(row, v * width)) for v in range(columns)]
        left = [m.everywhere(m.at(head, place)) for head in heads]
        new = [m.call("fma", left[r], right[v], Vector(m, held)) for (r, v), held in zip(cells, sums, strict=True)]
        for phi, start, step in counters:
            phi.add_incoming(start, before)
            phi.add_incoming(builder.add(phi, step), loop)
        for phi, start, now in zip(sums, first, new, strict=True):
            phi.add_incoming(start.x, before)
            phi.add_incoming(now.x, loop)
        more = builder.icmp_signed("<", builder.add(p, ir.Constant(LONG, 1)), k)
        builder.cbranch(more, loop, end)
        builder.position_at_end(end)
        for (r, v), now in zip(cells, new, strict=True):
            m.store(now, m.at(o, builder.mul(to, far[r]), v * width))
        return context.get_dummy_value()

    return _named(10, code)


def _named(count: int, code: Callable[..., Any]) -> Any:
    """The intrinsic of so many whole numbers; Numba asks for their names."""
    names = ", ".join(f"x{i}" for i in range(count))
    space: dict[str, Any] = {"types": types, "code": code, "count": count}
    exec(f"def made(context, {names}):\n    return types.void(*[types.int64] * count), code", space)
    return intrinsic(space["made"])
