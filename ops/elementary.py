"""Elementary functions, elementwise."""

from __future__ import annotations

from ..engine.primitive import primitive
from .activation import gaussian, logistic_density
from .special import erf_values


@primitive("y = exp(x)", saves=("y",), domain=(-80, 80), analytic=True, method=True)
def exp(x):
    """Exponential, elementwise."""


exp.vjp("x", "gx = gy * y")


@primitive("y = expm1(x)", saves=("x",), domain=(-80, 80), analytic=True, method=True)
def expm1(x):
    """exp(x) - 1, elementwise, exact near 0."""


expm1.vjp("x", "gx = gy * exp(x)")


@primitive("y = log(x)", saves=("x",), domain=(1e-3, 1e3), analytic=True, method=True)
def log(x):
    """Natural logarithm, elementwise. x > 0."""


log.vjp("x", "gx = gy / x")


@primitive("y = log1p(x)", saves=("x",), domain=(-0.9, 1e3), analytic=True, method=True)
def log1p(x):
    """log(1 + x), elementwise, exact near 0. x > -1."""


log1p.vjp("x", "gx = gy / (1 + x)")


@primitive("y = x**2", saves=("x",), domain=(-1e3, 1e3), analytic=True, method=True)
def square(x):
    """x times itself, elementwise."""


square.vjp("x", "gx = gy * 2 * x")


@primitive("y = 1 / x", saves=("y",), domain=(0.1, 1e3), analytic=True)
def reciprocal(x):
    """1 / x, elementwise."""


reciprocal.vjp("x", "gx = -gy * y**2")


@primitive("y = 2**x", saves=("y",), whole=False, domain=(-100, 100), analytic=True)
def exp2(xp, x):
    """2 to the power of x, elementwise."""
    return xp.exp2(x)


exp2.vjp("x", "gx = gy * y * log(2)")


@primitive("y = log(x) / log(2)", saves=("x",), domain=(1e-3, 1e3), analytic=True)
def log2(xp, x):
    """Logarithm to base 2, elementwise. x > 0."""
    return xp.log2(x)


log2.vjp("x", "gx = gy / (x * log(2))")


@primitive("y = log(x) / log(10)", saves=("x",), domain=(1e-3, 1e3), analytic=True)
def log10(xp, x):
    """Logarithm to base 10, elementwise. x > 0."""
    return xp.log10(x)


log10.vjp("x", "gx = gy / (x * log(10))")


@primitive("y = sqrt(a**2 + b**2)", saves=("a", "b", "y"), domain={"a": (0.1, 1e3), "b": (-1e3, 1e3)})
def hypot(xp, a, b):
    """Length of a right triangle's longest side, elementwise. a, b: shapes that broadcast."""
    return xp.hypot(a, b)


hypot.vjp("a", "ga = gy * (a / y)")
hypot.vjp("b", "gb = gy * (b / y)")


@primitive("y = sqrt(x)", saves=("y",), domain=(1e-3, 1e3), analytic=True, method=True)
def sqrt(x):
    """Square root, elementwise. x ≥ 0; at 0 the gradient is infinite."""


sqrt.vjp("x", "gx = gy / (2 * y)")


@primitive("y = sin(x)", saves=("x",), domain=(-30, 30), analytic=True, method=True)
def sin(x):
    """Sine, elementwise. x in radians."""


sin.vjp("x", "gx = gy * cos(x)")


@primitive("y = cos(x)", saves=("x",), domain=(-30, 30), analytic=True, method=True)
def cos(x):
    """Cosine, elementwise. x in radians."""


cos.vjp("x", "gx = -gy * sin(x)")


@primitive("y = tan(x)", saves=("y",), domain=(-1.5, 1.5), analytic=True, method=True)
def tan(x):
    """Tangent, elementwise. x in radians."""


tan.vjp("x", "gx = gy * (1 + y**2)")


@primitive("y = arcsin(x)", saves=("x",), domain=(-0.99, 0.99), synonyms=("asin",))
def arcsin(x):
    """Angle in [-π/2, π/2] whose sine is x, elementwise. |x| ≤ 1; at the ends the gradient is infinite."""


@arcsin.vjp("x", "gx = gy / sqrt(1 - x**2)")
def _(xp, gy, x):
    return gy / xp.sqrt(_one_less_square(xp, x))


def _one_less_square(xp, x):
    """1 - x²: near |x| = 1 as a product, which keeps its digits; near 0 as it stands, whose slope keeps them."""
    return xp.where(xp.abs(x) < 0.5, 1 - x * x, (1 - x) * (1 + x))


@primitive("y = arccos(x)", saves=("x",), domain=(-0.99, 0.9), synonyms=("acos",))
def arccos(x):
    """Angle in [0, π] whose cosine is x, elementwise. |x| ≤ 1; at the ends the gradient is infinite."""


@arccos.vjp("x", "gx = -gy / sqrt(1 - x**2)")
def _(xp, gy, x):
    return -gy / xp.sqrt(_one_less_square(xp, x))


@primitive("y = arctan(x)", saves=("x",), domain=(-1e3, 1e3), analytic=True, synonyms=("atan",))
def arctan(x):
    """Angle in (-π/2, π/2) whose tangent is x, elementwise."""


arctan.vjp("x", "gx = gy / (1 + x**2)")


@primitive("y = sinh(x)", saves=("x",), domain=(-80, 80), analytic=True)
def sinh(x):
    """Hyperbolic sine, elementwise."""


sinh.vjp("x", "gx = gy * cosh(x)")


@primitive("y = cosh(x)", saves=("x",), domain=(-80, 80), analytic=True)
def cosh(x):
    """Hyperbolic cosine, elementwise."""


cosh.vjp("x", "gx = gy * sinh(x)")


@primitive("y = arcsinh(x)", saves=("x",), domain=(-1e3, 1e3), analytic=True, synonyms=("asinh",))
def arcsinh(x):
    """Number whose hyperbolic sine is x, elementwise."""


arcsinh.vjp("x", "gx = gy / sqrt(1 + x**2)")


@primitive("y = arccosh(x)", saves=("x",), domain=(1.01, 1e3), synonyms=("acosh",))
def arccosh(x):
    """Number of 0 or more whose hyperbolic cosine is x, elementwise. x ≥ 1; at 1 the gradient is infinite."""


@arccosh.vjp("x", "gx = gy / sqrt(x**2 - 1)")
def _(xp, gy, x):
    return gy / xp.sqrt((x - 1) * (x + 1))


@primitive("y = arctanh(x)", saves=("x",), domain=(-0.99, 0.99), synonyms=("atanh",))
def arctanh(x):
    """Number whose hyperbolic tangent is x, elementwise. |x| ≤ 1; at the ends it and its gradient are infinite."""


@arctanh.vjp("x", "gx = gy / (1 - x**2)")
def _(xp, gy, x):
    return gy / _one_less_square(xp, x)


@primitive("y = 2 * arctan(a / (sqrt(a**2 + b**2) + b))", saves=("a", "b"), whole=False, synonyms=("atan2",),
           domain={"a": (0.01, 1e3), "b": (-1e3, 1e3)})  # fmt: skip
def arctan2(xp, a, b):
    """Angle in [-π, π] of the point that lies b to the right and a above, elementwise. a, b: shapes that broadcast."""
    return xp.arctan2(a, b)


arctan2.onnx("t = arctan(a / b); y = t if b > 0 else sign(a) * pi / 2 if b == 0 else t + pi if a >= 0 else t - pi")
arctan2.vjp("a", "ga = gy * b / (a**2 + b**2)")
arctan2.vjp("b", "gb = -gy * a / (a**2 + b**2)")


@primitive("y = sign(x) * abs(x)**(1 / 3)", saves=("y",), domain=(0.01, 1e3), whole=False)
def cbrt(xp, x):
    """Cube root, elementwise; at 0 the gradient is infinite."""
    return xp.cbrt(x)


cbrt.vjp("x", "gx = gy / (3 * y**2)")


@primitive("y = tanh(x)", saves=("x",), domain=(-40, 40), analytic=True, method=True)
def tanh(x):
    """Hyperbolic tangent, elementwise."""


@tanh.vjp("x", "gx = gy * (1 - tanh(x)**2)")
def _(xp, gy, x):
    return gy * (4 * logistic_density.apply(xp, 2 * x))  # 1 - y² without the cancellation


@primitive("y = erf(x)", saves=("x",), domain=(-5, 5), method=True)
def erf(xp, x):
    """Error function, elementwise (Cody 1969)."""
    return erf_values(xp, x)


@erf.vjp("x", "gx = gy * 2 / sqrt(pi) * exp(-x**2)")
def _(xp, gy, x):
    return gy * (1.1283791670955126 * gaussian.apply(xp, x))
