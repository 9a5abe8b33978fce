"""Numbers at 50 digits that carry their derivatives: forward differentiation of an equation as it is written.

A dual number is a value with the partial derivatives in the variables it depends on (Clifford 1873; Wengert 1964).
No step size, so nothing to argue about: what comes out is the derivative of the text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache, lru_cache
from typing import Any

import numpy

from ..errors import UsageError
from ..hints import install_command

DIGITS = 50


@cache
def load_mpmath() -> Any:
    """mpmath, set to 50 digits in a context of its own; raises UsageError that says how to get it."""
    try:
        import mpmath  # type: ignore[import-untyped]
    except ImportError as error:
        raise UsageError(f"proofs at 50 digits need mpmath: {install_command('proof')}") from error
    context = mpmath.MPContext()
    context.dps = DIGITS
    return context


class Dual:
    """A value and its partial derivatives, `slopes[variable]`; a variable that is not there has slope 0.

    It is never changed in place.
    """

    __slots__ = ("slopes", "value")

    def __init__(self, value: Any, slopes: dict[Any, Any] | None = None) -> None:
        self.value = value
        self.slopes = slopes or {}

    def chain(self, value: Any, slope: Any) -> Dual:
        """f(self), whose value and derivative at self.value are given."""
        return Dual(value, {k: slope * d for k, d in self.slopes.items()})

    def __add__(self, other: Any) -> Dual:
        other = lift(other)
        return Dual(self.value + other.value, _sum(self.slopes, other.slopes))

    def __mul__(self, other: Any) -> Dual:
        other = lift(other)
        a, b = self.value, other.value
        if not other.slopes:
            return Dual(a * b, {k: d * b for k, d in self.slopes.items()})
        right = {k: d * a for k, d in other.slopes.items()}
        return Dual(a * b, _sum({k: d * b for k, d in self.slopes.items()}, right))

    def __neg__(self) -> Dual:
        return self.chain(-self.value, -1)

    def __sub__(self, other: Any) -> Dual:
        return self + (-lift(other))

    def __rsub__(self, other: Any) -> Dual:
        return lift(other) - self

    def __truediv__(self, other: Any) -> Dual:
        divisor: Dual = lift(other)
        return self * divisor.chain(1 / divisor.value, -1 / divisor.value**2 if divisor.slopes else 0)

    def __rtruediv__(self, other: Any) -> Dual:
        return lift(other) / self

    def __floordiv__(self, other: Any) -> Dual:
        return Dual(load_mpmath().floor(self.value / lift(other).value))

    def __rfloordiv__(self, other: Any) -> Dual:
        result: Dual = lift(other) // self
        return result

    def __pow__(self, other: Any) -> Dual:
        other = lift(other)
        a, b = self.value, other.value
        whole = self.chain(a**b, b * a ** (b - 1) if b and self.slopes else b)
        if not other.slopes:
            return whole
        log = load_mpmath().log(a) if a > 0 else 0
        return Dual(whole.value, _sum(whole.slopes, {k: whole.value * log * d for k, d in other.slopes.items()}))

    def __rpow__(self, other: Any) -> Dual:
        result: Dual = lift(other) ** self
        return result

    __radd__, __rmul__ = __add__, __mul__

    def __lt__(self, other: Any) -> bool:
        return bool(self.value < lift(other).value)

    def __le__(self, other: Any) -> bool:
        return bool(self.value <= lift(other).value)

    def __gt__(self, other: Any) -> bool:
        return bool(self.value > lift(other).value)

    def __ge__(self, other: Any) -> bool:
        return bool(self.value >= lift(other).value)

    def __eq__(self, other: object) -> bool:
        return bool(self.value == lift(other).value)

    def __bool__(self) -> bool:
        return bool(self.value)

    def __index__(self) -> int:
        return int(self.value)

    def __hash__(self) -> int:
        return hash(self.value)


def lift(x: Any) -> Dual:
    """A number as a dual number that depends on nothing."""
    if x.__class__ is Dual:
        return x
    if isinstance(x, numpy.generic):  # mpmath before 1.4 knows no integers of NumPy
        x = x.item()
    return _constant(x) if x.__class__ in (int, float) else Dual(load_mpmath().mpf(x))


@lru_cache(maxsize=256)
def _constant(x: float) -> Dual:
    return Dual(load_mpmath().mpf(x))


def total(values: Iterable[Any]) -> Dual:
    """The sum of numbers."""
    value, slopes = load_mpmath().zero, dict[Any, Any]()
    for x in map(lift, values):
        value += x.value
        for variable, slope in x.slopes.items():
            slopes[variable] = slopes[variable] + slope if variable in slopes else slope
    return Dual(value, slopes)


def on_duals(value: Callable[[Any, Any], Any], slope: Callable[[Any, Any], Any]) -> Callable[[Any], Dual]:
    """A function of one number, with its derivative, both of (mpmath, x), on dual numbers."""

    def at(x: Any) -> Dual:
        dual, mp = lift(x), load_mpmath()
        return dual.chain(value(mp, dual.value), slope(mp, dual.value) if dual.slopes else 0)

    return at


def _sum(a: dict[Any, Any], b: dict[Any, Any]) -> dict[Any, Any]:
    if not a or not b:
        return a or b
    return a | {k: a[k] + d if k in a else d for k, d in b.items()}
