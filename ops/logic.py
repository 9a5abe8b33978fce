"""Logic, elementwise: bit by bit (on bools how masks combine), of truth values, and which numbers are finite. Without
gradient.
"""

from __future__ import annotations

from ..engine.primitive import primitive


@primitive("y = a & b", domain=range(8), operators=("__and__", "__rand__"))
def bitwise_and(a, b):
    """Whether both hold, elementwise. a, b: bool or integers, shapes that broadcast."""


@primitive("y = a | b", domain=range(8), operators=("__or__", "__ror__"))
def bitwise_or(a, b):
    """Whether one of them holds, or both, elementwise. a, b: bool or integers, shapes that broadcast."""


@primitive("y = a ^ b", domain=range(8), operators=("__xor__", "__rxor__"))
def bitwise_xor(a, b):
    """Whether one of them holds and not both, elementwise. a, b: bool or integers, shapes that broadcast."""


@primitive("y = ~x", domain=range(8), operators=("__invert__",), synonyms=("bitwise_not", "bitwise_invert"))
def invert(x):
    """Whether it does not hold, elementwise; of an integer every bit. x: bool or integers."""


@primitive("y = a and b", domain=range(2))
def logical_and(a, b):
    """Whether both hold (are not 0), elementwise: bool. a, b: shapes that broadcast."""


@primitive("y = a or b", domain=range(2))
def logical_or(a, b):
    """Whether one of them holds, or both, elementwise: bool. a, b: shapes that broadcast."""


@primitive("y = not x", domain=range(2))
def logical_not(x):
    """Whether x is 0, elementwise: bool."""


@primitive("y = x != x")
def isnan(xp, x):
    """Whether x is no number, elementwise: bool."""
    return xp.isnan(x)


@primitive("y = abs(x) == inf")
def isinf(xp, x):
    """Whether x is infinite, elementwise: bool."""
    return xp.isinf(x)


@primitive("y = abs(x) < inf")
def isfinite(xp, x):
    """Whether x is a number and finite, elementwise: bool."""
    return xp.isfinite(x)
