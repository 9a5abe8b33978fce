"""Logic bit by bit, elementwise: on bools, how masks combine; on integers, on each of their bits. Without gradient."""

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
