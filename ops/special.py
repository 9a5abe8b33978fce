"""The error function in plain array code, since NumPy has none.

Rational Chebyshev approximations of W. J. Cody, "Rational Chebyshev approximations for the error function",
Mathematics of Computation 23 (1969) 631-637: one for |x| ≤ 0.46875, one up to 4, one beyond.
"""

from __future__ import annotations

import functools
import math

_NEAR = (
    (1.85777706184603153e-1, 3.16112374387056560e0, 1.13864154151050156e2, 3.77485237685302021e2,
     3.20937758913846947e3),
    (1.0, 2.36012909523441209e1, 2.44024637934444173e2, 1.28261652607737228e3, 2.84423683343917062e3),
)  # fmt: skip
_MIDDLE = (
    (2.15311535474403846e-8, 5.64188496988670089e-1, 8.88314979438837594e0, 6.61191906371416295e1,
     2.98635138197400131e2, 8.81952221241769090e2, 1.71204761263407058e3, 2.05107837782607147e3,
     1.23033935479799725e3),
    (1.0, 1.57449261107098347e1, 1.17693950891312499e2, 5.37181101862009858e2, 1.62138957456669019e3,
     3.29079923573345963e3, 4.36261909014324716e3, 3.43936767414372164e3, 1.23033935480374942e3),
)  # fmt: skip
_FAR = (
    (1.63153871373020978e-2, 3.05326634961232344e-1, 3.60344899949804439e-1, 1.25781726111229246e-1,
     1.60837851487422766e-2, 6.58749161529837803e-4),
    (1.0, 2.56852019228982242e0, 1.87295284992346725e0, 5.27905102951428412e-1, 6.05183413124413191e-2,
     2.33520497626869185e-3),
)  # fmt: skip
_TAIL = (
    1.474403693e-4, 1.074185492e-3, -8.669416984e-4, -7.346869455e-3, 2.893626563e-2, -5.830033377e-2, 7.014353959e-2,
    -3.172269824e-2, -6.617814034e-2, 6.284778985e-1,
)  # fmt: skip
_BORDER, _FAR_BORDER = 0.46875, 4.0


def _in_float32(function):
    """float16 is computed in float32: the coefficients and powers go beyond what it holds."""

    @functools.wraps(function)
    def computed(xp, x, *parameters):
        if x.dtype.char == "e":
            return function(xp, x.astype("float32"), *parameters).astype("float16")
        return function(xp, x, *parameters)

    return computed


@_in_float32
def erf_values(xp, x):
    """erf(x) for an array x; float, any shape."""
    t = xp.maximum(xp.abs(x), _BORDER)
    far = xp.where(x < 0, -1.0, 1.0) * (1.0 - gaussian_values(xp, t, 1.0) * _tail(xp, t))
    return xp.where(xp.abs(x) <= _BORDER, _near(xp, x), far).astype(x.dtype)


@_in_float32
def normal_probability_values(xp, x):
    """(1 + erf(x / √2)) / 2 for an array x, with its full relative precision in the left tail.

    In float32 one polynomial does in (a - 4) / (a + 4), a = |x|, in which the tail without its exponential, times
    1 + √2 a, is smooth (Shepherd & Laframboise, Mathematics of Computation 36 (1981) 249-253); fitted to 2.5e-8.
    """
    if x.dtype.itemsize == 4:
        a = xp.minimum(xp.abs(x), 16.0)  # beyond, the tail is below the smallest float32
        tail = gaussian_values(xp, x, 0.5) * (_horner(_TAIL, (a - 4.0) / (a + 4.0)) / (1.0 + 1.4142135623730951 * a))
        return xp.where(x > 0, 1.0 - tail, tail)
    t = x * 0.7071067811865476
    magnitude = xp.maximum(xp.abs(t), _BORDER)
    tail = 0.5 * gaussian_values(xp, x, 0.5) * _tail(xp, magnitude)  # exp(-x²/2) from x itself: t is rounded
    return xp.where(xp.abs(t) <= _BORDER, 0.5 + 0.5 * _near(xp, t), xp.where(x > 0, 1.0 - tail, tail)).astype(x.dtype)


@_in_float32
def gaussian_values(xp, x, scale):
    """exp(-scale x²), where the rounding error of x² is not magnified: t² = s² + (t - s)(t + s) with s² exact.

    t is |x|, or where that is less the number from which on the result is 0: so nothing overflows, and ∞ gives 0.
    """
    t = xp.minimum(xp.abs(x), math.sqrt(1000 / scale) if scale > 0 else 2.0**60)
    s = xp.trunc(t * 16.0) / 16.0
    e = xp.exp(-scale * s * s)
    return e + e * xp.expm1(-scale * (t - s) * (t + s))


def product(xp, factor, x):
    """factor · x, and 0 where the factor is 0, also beside ∞: the limit, where the factor falls as exp(-|x|) does."""
    return xp.where(factor == 0, factor, x) * factor


def _ratio(coefficients, t):
    numerator, denominator = (_horner(c, t) for c in coefficients)
    return numerator / denominator


def _horner(coefficients, t):
    result = coefficients[0] * t + coefficients[1]
    for c in coefficients[2:]:
        result = result * t + c
    return result


def _near(xp, x):
    t = xp.minimum(xp.abs(x), _BORDER)
    return x * _ratio(_NEAR, t * t)


def _tail(xp, t):
    """erfc(t) exp(t²) for t ≥ 0.46875."""
    t = xp.minimum(t, 30.0)  # beyond, erfc is below the smallest float64
    inverse = 1.0 / (t * t)
    far = (0.56418958354775628695 - inverse * _ratio(_FAR, inverse)) / t
    return xp.where(t <= _FAR_BORDER, _ratio(_MIDDLE, xp.minimum(t, _FAR_BORDER)), far)
