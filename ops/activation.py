"""Activation functions (the σ of D1 and D2), each exact in value and slope as far as the dtype goes."""

from __future__ import annotations

from ..engine.primitive import example, primitive
from .special import gaussian_values, normal_probability_values, product

ALONG_AXIS = (example((3, 4)), example((2, 3, 4), axis=1), example((5,)))


@primitive("y = 1 / (1 + exp(-x))", saves=("x",), domain=(-40, 40), method=True)
def sigmoid(xp, x):
    """Logistic function, elementwise (D1)."""
    e = xp.exp(-xp.abs(x))  # never overflows, and exact to the last digits on both sides
    return xp.where(x >= 0, xp.ones_like(e), e) / (1 + e)


sigmoid.onnx("Sigmoid")


@sigmoid.vjp("x", "gx = gy * y * (1 - y)")
def _(xp, gy, x):
    return gy * logistic_density.apply(xp, x)


@primitive("y = exp(-x) / (1 + exp(-x))**2", saves=("x", "y"), domain=(-40, 40))
def logistic_density(xp, x):
    """The slope of the logistic function, σ(x) σ(-x), elementwise: y (1 - y) without the cancellation in 1 - y."""
    e = xp.exp(-xp.abs(x))
    return e / ((1 + e) * (1 + e))


logistic_density.onnx("e = exp(-abs(x)); y = e / ((1 + e) * (1 + e))")
logistic_density.vjp("x", "gx = -gy * y * tanh(x / 2)")


@primitive("y = max(x, 0)", saves=("y",), kink="x", method=True)
def relu(x):
    """Rectified linear unit, elementwise (D1, D8, D9). At 0 the gradient is 0."""


relu.onnx("Relu")


@relu.vjp("x", "gx = gy if x > 0 else 0")
def _(xp, gy, y):
    return gy * (y > 0)


@primitive("y = x if x > 0 else negative_slope * x", saves=("x",), kink="x")
def leaky_relu(x, negative_slope=0.2):
    """ReLU with a slope for x < 0, elementwise (Maas et al. 2013; 0.2 is Keras's). At 0 the gradient is that slope."""


leaky_relu.vjp("x", "gx = gy if x > 0 else negative_slope * gy")


@primitive("y = x if x > 0 else alpha * (exp(x) - 1)", saves=("x",), kink="x", domain=(-40, 40))
def elu(xp, x, alpha=1.0):
    """Exponential linear unit, elementwise (Clevert et al. 2016)."""
    return xp.where(x > 0, x, alpha * xp.expm1(xp.minimum(x, 0)))


@elu.vjp("x", "gx = gy if x > 0 else gy * alpha * exp(x)")
def _(xp, gy, x, alpha):
    return xp.where(x > 0, gy, gy * (alpha * xp.exp(xp.where(x > 0, xp.zeros_like(x), x))))


@primitive("y = log(1 + exp(x))", saves=("x",), domain=(-80, 80))
def softplus(xp, x):
    """Smooth ReLU, elementwise (Dugas et al. 2001)."""
    return xp.maximum(x, 0) + xp.log1p(xp.exp(-xp.abs(x)))


softplus.onnx("Softplus")


@softplus.vjp("x", "gx = gy / (1 + exp(-x))")
def _(xp, gy, x):
    return gy * sigmoid.apply(xp, x)


@primitive("y = x / (1 + exp(-x))", saves=("x",), domain=(-40, 40))
def silu(xp, x):
    """x times its own sigmoid, elementwise; "swish" (Elfwing et al. 2018)."""
    return product(xp, sigmoid.apply(xp, x), x)


@silu.vjp("x", "s = 1 / (1 + exp(-x)); gx = gy * (s + x * s * (1 - s))")
def _(xp, gy, x):
    return gy * (sigmoid.apply(xp, x) + product(xp, logistic_density.apply(xp, x), x))


@primitive("y = exp(-scale * x**2)", saves=("x", "y"), domain=(-8, 8))
def gaussian(xp, x, scale=1.0):
    """The bell curve exp(-scale x²), elementwise, exact to the last digits also where it is small."""
    return gaussian_values(xp, x, scale)


@gaussian.vjp("x", "gx = gy * y * (-2 * scale * x)")
def _(xp, gy, x, y, scale):
    return gy * (-2 * scale * product(xp, y, x))


@primitive("y = x * (1 + erf(x / sqrt(2))) / 2", saves=("x",), domain=(-8, 8))
def gelu(xp, x):
    """x times the normal distribution's probability of less than x, elementwise (Hendrycks & Gimpel 2016); exact."""
    return product(xp, normal_probability_values(xp, x), x)


@gelu.vjp("x", "gx = gy * ((1 + erf(x / sqrt(2))) / 2 + x * exp(-x**2 / 2) / sqrt(2 * pi))")
def _(xp, gy, x):
    bell = gaussian.apply(xp, x, scale=0.5)
    return gy * (normal_probability.apply(xp, x) + 0.3989422804014327 * product(xp, bell, x))


@primitive("y = x * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x**3))) / 2", saves=("x",), domain=(-8, 8))
def gelu_tanh(xp, x):
    """`gelu` as many transformers have it, by tanh, elementwise (Hendrycks & Gimpel 2016)."""
    return product(xp, sigmoid.apply(xp, _argument(xp, x)), x)


@gelu_tanh.vjp(
    "x",
    "t = tanh(sqrt(2 / pi) * (x + 0.044715 * x**3)); "
    "gx = gy * ((1 + t) / 2 + x * (1 - t**2) / 2 * sqrt(2 / pi) * (1 + 0.044715 * (3 * x**2)))",
)
def _(xp, gy, x):
    z = _argument(xp, x)
    slope = 1.5957691216057308 + 0.21406444881780073 * (x * x)
    return gy * (sigmoid.apply(xp, z) + product(xp, logistic_density.apply(xp, z), x * slope))


def _argument(xp, x):
    """2 √(2/π) (x + 0.044715 x³), of which σ is (1 + tanh(…)) / 2 without its cancellation."""
    return x * (1.5957691216057308 + 0.07135481627260025 * (x * x))


@primitive("y = (1 + erf(x / sqrt(2))) / 2", saves=("x",), domain=(-8, 8))
def normal_probability(xp, x):
    """The standard normal distribution's probability of less than x, elementwise."""
    return normal_probability_values(xp, x)


@normal_probability.vjp("x", "gx = gy * exp(-x**2 / 2) / sqrt(2 * pi)")
def _(xp, gy, x):
    return gy * (0.3989422804014327 * gaussian.apply(xp, x, scale=0.5))


def softmax_values(xp, x, axis):
    """exp(x) / Σ exp(x) along `axis` of an array, shifted so that it never overflows."""
    e = xp.exp(x - xp.max(x, axis=axis, keepdims=True))
    return e / xp.sum(e, axis=axis, keepdims=True)


@primitive(
    "y[..., j] = exp(x[..., j]) / sum(exp(x[..., k]), k)", saves=("y",), domain=(-700, 700), method=True,
    examples=ALONG_AXIS,
)  # fmt: skip
def softmax(xp, x, axis=-1):
    """Positive numbers that sum to 1 along `axis`, in the ratio of their exponentials."""
    return softmax_values(xp, x, axis)


softmax.onnx("Softmax")


softmax.vjp("x", "gx[..., j] = y[..., j] * (gy[..., j] - sum(gy[..., k] * y[..., k], k))")


@primitive("y[..., j] = x[..., j] - log(sum(exp(x[..., k]), k))", saves=("y",), domain=(-700, 700), examples=ALONG_AXIS)
def log_softmax(xp, x, axis=-1):
    """Logarithm of softmax along `axis`, without taking the logarithm of a rounded 0."""
    shifted = x - xp.max(x, axis=axis, keepdims=True)
    return shifted - xp.log(xp.sum(xp.exp(shifted), axis=axis, keepdims=True))


log_softmax.onnx("LogSoftmax")


log_softmax.vjp("x", "gx[..., j] = gy[..., j] - exp(y[..., j]) * sum(gy[..., k], k)")
