"""Whole numbers from real ones: rounding, and division with remainder, elementwise."""

from __future__ import annotations

from ..engine.primitive import example, primitive
from ..engine.tensor import Tensor


@primitive("y = floor(x)", domain=(-4, 4), kink="x - (2 * x + 1) // 2", method=True)
def floor(x):
    """The greatest whole number that is not above x, elementwise; constant, so no gradient passes."""


@primitive("y = -floor(-x)", domain=(-4, 4), kink="x - (2 * x + 1) // 2")
def ceil(xp, x):
    """The least whole number that is not below x, elementwise; constant, so no gradient passes."""
    return xp.ceil(x)


@primitive("y = floor(x) if x > 0 else -floor(-x)", domain=(-4, 4), kink="x - (2 * x + 1) // 2")
def trunc(xp, x):
    """The whole number next to x on the side of 0, elementwise; constant, so no gradient passes."""
    return xp.trunc(x)


@primitive(
    "y = round(x * 10**decimals) / 10**decimals",
    whole=True,
    domain=(-4, 4),
    kink="x * 10**decimals - x * 10**decimals // 1 - 0.5",
    method=True,
    operators=("__round__",),
    synonyms=("around",),
    examples=(example((3,)), example((2, 3)), example((2, 3), decimals=1)),
)
def round(xp, x, decimals=0):
    """x to so many decimals, elementwise, half to even as NumPy and IEEE 754 have it; no gradient passes."""
    return xp.round(x, decimals)


@primitive(
    "y = a // b",
    domain={"a": (-4, 4), "b": (0.5, 4)},
    kink="a / b - (2 * a / b + 1) // 2",
    operators=("__floordiv__", "__rfloordiv__"),
)
def floor_divide(a, b):
    """The quotient rounded down, elementwise; constant, so no gradient passes. a, b: shapes that broadcast."""


@primitive(
    "y = a - b * (a // b)",
    saves=("a", "b"),
    domain={"a": (-4, 4), "b": (0.5, 4)},
    kink="a / b - (2 * a / b + 1) // 2",
    operators=("__mod__", "__rmod__"),
    synonyms=("mod",),
)
def remainder(xp, a, b):
    """What division of a by b leaves, with the sign of b, elementwise. a, b: shapes that broadcast."""
    return xp.remainder(a, b)


remainder.vjp("a", "ga = gy")
remainder.vjp("b", "gb = -gy * (a // b)")


def _quotient_and_remainder(a, b):
    return floor_divide(a, b), remainder(a, b)


setattr(Tensor, "__divmod__", _quotient_and_remainder)  # noqa: B010 (lent, as operators are)
setattr(Tensor, "__rdivmod__", lambda a, b: _quotient_and_remainder(b, a))  # noqa: B010
