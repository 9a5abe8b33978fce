"""Elementary functions, elementwise."""

from __future__ import annotations

from ..engine.primitive import primitive
from .activation import gaussian, sigmoid_slope
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


@primitive("y = tanh(x)", saves=("x",), domain=(-40, 40), analytic=True, method=True)
def tanh(x):
    """Hyperbolic tangent, elementwise."""


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
