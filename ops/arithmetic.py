"""Arithmetic, comparison and choice, elementwise with broadcasting."""

from __future__ import annotations

from ..engine.incoming import numeric_dtype
from ..engine.primitive import example, primitive


@primitive("y = a + b", analytic=True, operators=("__add__", "__radd__"))
def add(a, b):
    """Sum, elementwise. a, b: shapes that broadcast."""


add.vjp("a", "ga = gy")
add.vjp("b", "gb = gy")


@primitive("y = a - b", analytic=True, operators=("__sub__", "__rsub__"))
def subtract(a, b):
    """Difference, elementwise. a, b: shapes that broadcast."""


subtract.vjp("a", "ga = gy")
subtract.vjp("b", "gb = -gy")


@primitive("y = a * b", saves=("a", "b"), analytic=True, operators=("__mul__", "__rmul__"))
def multiply(a, b):
    """Product, elementwise. a, b: shapes that broadcast."""


multiply.vjp("a", "ga = gy * b")
multiply.vjp("b", "gb = gy * a")


@primitive(
    "y = a / b",
    saves=("a", "b"),
    domain={"a": (-1e3, 1e3), "b": (0.1, 1e3)},
    analytic=True,
    operators=("__truediv__", "__rtruediv__"),
    synonyms=("true_divide",),
)
def divide(a, b):
    """Quotient, elementwise. a, b: shapes that broadcast."""


divide.vjp("a", "ga = gy / b")


@divide.vjp("b", "gb = -gy * a / b**2")
def _(xp, gy, a, b):
    return -gy * (a / b) / b  # b² would overflow where the quotient does not


@primitive("y = -x", analytic=True, method=True, operators=("__neg__",))
def negative(x):
    """Negative, elementwise."""


negative.vjp("x", "gx = -gy")


@primitive("y = x", analytic=True, operators=("__pos__",))
def positive(xp, x):
    """The same values, elementwise."""
    return xp.positive(x)


positive.vjp("x", "gx = gy")


@primitive(
    "y = a**b",
    saves=("a", "b", "y"),
    domain={"a": (0.1, 10), "b": (-3, 3)},
    analytic=True,
    operators=("__pow__", "__rpow__"),
    synonyms=("pow",),
)
def power(a, b):
    """Power, elementwise; a negative a takes an integer b. a, b: shapes that broadcast.

    The gradient of b is not a number where a < 0, since there powers of other b are none.
    """


@power.vjp("a", "ga = gy * b * a**(b - 1)")
def _(xp, gy, a, b):
    below = xp.where(b == 0, b, b - 1)  # a⁰ is constant, also at a = 0, where a⁻¹ is not there
    return gy * (b * a**below)


@power.vjp("b", "gb = gy * (0 if a == 0 and b >= 0 else y * log(a))")
def _(xp, gy, y, a, b):
    ones = xp.ones_like(a)
    return gy * (y * xp.log(xp.where(a == 0, xp.where(b >= 0, ones, a), a)))


@primitive("y = abs(x)", saves=("x",), kink="x", method=True, operators=("__abs__",), synonyms=("abs",))
def absolute(x):
    """Absolute value, elementwise. At 0 the gradient is 0."""


absolute.vjp("x", "gx = gy * sign(x)")


@primitive("y = sign(x)", kink="x", method=True)
def sign(x):
    """-1, 0 or 1, elementwise; constant, so no gradient passes."""


@primitive("y = max(a, b)", saves=("a", "b"), kink="a - b")
def maximum(a, b):
    """The greater of two, elementwise. A tie shares its gradient in halves."""


maximum.vjp("a", "ga = gy if a > b else gy / 2 if a == b else 0")
maximum.vjp("b", "gb = gy if b > a else gy / 2 if a == b else 0")


@primitive("y = min(a, b)", saves=("a", "b"), kink="a - b")
def minimum(a, b):
    """The lesser of two, elementwise. A tie shares its gradient in halves."""


minimum.vjp("a", "ga = gy if a < b else gy / 2 if a == b else 0")
minimum.vjp("b", "gb = gy if b < a else gy / 2 if a == b else 0")


@primitive("y = a if condition else b", saves=("condition",), domain={"condition": range(2)}, analytic=True)
def where(condition, a, b):
    """a where the condition holds, else b, elementwise. condition: bool, no gradient passes through it."""


where.vjp("a", "ga = gy if condition else 0")
where.vjp("b", "gb = 0 if condition else gy")


def _clip_arguments(x, min=None, max=None):
    if not all(limit is None or isinstance(limit, (int, float)) for limit in (min, max)):
        x = x if min is None else maximum(x, min)  # so that a gradient reaches limits, too
        return (x if max is None else minimum(x, max),), {"min": None, "max": None}
    return (x,), {"min": min, "max": max}


@primitive(
    "y = clip(x, min, max)",
    saves=("x",),
    kink="(x - min) * (x - max)",
    method=True,
    examples=(example((3, 4), min=-1.0, max=0.5), example((5,), min=0.0)),
    bind=_clip_arguments,
)
def clip(x, *, min=None, max=None):
    """x limited to [min, max], elementwise; None is no limit. The gradient passes where x is within, ends included.

    min, max: numbers. Tensors and arrays, one limit for each element, go through maximum and minimum.
    """


@clip.onnx
def _(graph, x, min, max):
    return graph.add("Clip", [x, *(limit if limit is None else graph.number(limit, x.dtype) for limit in (min, max))])


clip.vjp("x", "gx = gy if clip(x, min, max) == x else 0")


def _dtype_arguments(x, dtype):
    return (x,), {"dtype": numeric_dtype(dtype)}


@primitive("y = x", method=True, examples=(example((2, 3), dtype="float64"),), bind=_dtype_arguments)
def astype(xp, x, *, dtype):
    """The same values in another dtype; the gradient goes back to x's own."""
    return x.astype(dtype)


astype.vjp("x", "gx = gy")


@primitive("y = a == b", kink="a - b", operators=("__eq__",))
def equal(a, b):
    """Whether a = b, elementwise: bool, without gradient."""


@primitive("y = a != b", kink="a - b", operators=("__ne__",))
def not_equal(a, b):
    """Whether a ≠ b, elementwise: bool, without gradient."""


@primitive("y = a < b", kink="a - b", operators=("__lt__",))
def less(a, b):
    """Whether a < b, elementwise: bool, without gradient."""


@primitive("y = a <= b", kink="a - b", operators=("__le__",))
def less_equal(a, b):
    """Whether a ≤ b, elementwise: bool, without gradient."""


@primitive("y = a > b", kink="a - b", operators=("__gt__",))
def greater(a, b):
    """Whether a > b, elementwise: bool, without gradient."""


@primitive("y = a >= b", kink="a - b", operators=("__ge__",))
def greater_equal(a, b):
    """Whether a ≥ b, elementwise: bool, without gradient."""
