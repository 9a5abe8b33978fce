"""Elementary functions, elementwise."""

from __future__ import annotations

from ..engine.primitive import primitive
from .activation import gaussian, sigmoid_slope
from .special import erf_values


@primitive("y = exp(x)", saves=("y",), domain=(-80, 80), analytic=True, method=True)
def exp(xp, x):
    """Exponential, elementwise."""
    return xp.exp(x)


@exp.vjp("x", "gx = gy * y")
def _(xp, gy, y):
    return gy * y


@primitive("y = expm1(x)", saves=("x",), domain=(-80, 80), analytic=True, method=True)
def expm1(xp, x):
    """exp(x) - 1, elementwise, exact near 0."""
    return xp.expm1(x)


@expm1.vjp("x", "gx = gy * exp(x)")
def _(xp, gy, x):
    return gy * xp.exp(x)


@primitive("y = log(x)", saves=("x",), domain=(1e-3, 1e3), analytic=True, method=True)
def log(xp, x):
    """Natural logarithm, elementwise. x > 0."""
    return xp.log(x)


@log.vjp("x", "gx = gy / x")
def _(xp, gy, x):
    return gy / x


@primitive("y = log1p(x)", saves=("x",), domain=(-0.9, 1e3), analytic=True, method=True)
def log1p(xp, x):
    """log(1 + x), elementwise, exact near 0. x > -1."""
    return xp.log1p(x)


@log1p.vjp("x", "gx = gy / (1 + x)")
def _(xp, gy, x):
    return gy / (1 + x)


@primitive("y = sqrt(x)", saves=("y",), domain=(1e-3, 1e3), analytic=True, method=True)
def sqrt(xp, x):
    """Square root, elementwise. x ≥ 0; at 0 the gradient is infinite."""
    return xp.sqrt(x)


@sqrt.vjp("x", "gx = gy / (2 * y)")
def _(xp, gy, y):
    return gy / (2 * y)


@primitive("y = sin(x)", saves=("x",), domain=(-30, 30), analytic=True, method=True)
def sin(xp, x):
    """Sine, elementwise. x in radians."""
    return xp.sin(x)


@sin.vjp("x", "gx = gy * cos(x)")
def _(xp, gy, x):
    return gy * xp.cos(x)


@primitive("y = cos(x)", saves=("x",), domain=(-30, 30), analytic=True, method=True)
def cos(xp, x):
    """Cosine, elementwise. x in radians."""
    return xp.cos(x)


@cos.vjp("x", "gx = -gy * sin(x)")
def _(xp, gy, x):
    return -gy * xp.sin(x)


@primitive("y = tanh(x)", saves=("x",), domain=(-40, 40), analytic=True, method=True)
def tanh(xp, x):
    """Hyperbolic tangent, elementwise."""
    return xp.tanh(x)


@tanh.vjp("x", "gx = gy * (1 - tanh(x)**2)")
def _(xp, gy, x):
    return gy * (4 * sigmoid_slope(xp, 2 * x))  # 1 - y² without the cancellation


@primitive("y = erf(x)", saves=("x",), domain=(-5, 5), method=True)
def erf(xp, x):
    """Error function, elementwise (Cody 1969)."""
    return erf_values(xp, x)


@erf.vjp("x", "gx = gy * 2 / sqrt(pi) * exp(-x**2)")
def _(xp, gy, x):
    return gy * (1.1283791670955126 * gaussian.apply(xp, x))
