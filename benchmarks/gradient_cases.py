"""Functions with right and wrong gradients, of NumPy arrays, for comparing gradient checkers.

A gradient that is right must pass, one that is wrong must be caught, and on a kink any slope between those from the
left and from the right is acceptable.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy
from numpy import cos, exp, log, newaxis, sin, sqrt, tanh, zeros, zeros_like

from .. import registry
from ..engine import transform
from ..engine.tensor import Tensor

Values = Any
"""A NumPy array."""

Draw = Callable[[numpy.random.Generator], Values]
LARGE = 100_000


class Kind(StrEnum):
    """What a checker ought to say of a case."""

    RIGHT = "right"
    WRONG = "wrong"
    KINK = "kink"


@dataclass(frozen=True)
class Case:
    """A function f(*xs) with its gradient vjp(gy, *xs) -> an array an argument, and how its inputs are drawn.

    single: the inputs are float32 (float64 for a checker that is made for float64 only).
    """

    name: str
    kind: Kind
    f: Callable[..., Any]
    vjp: Callable[..., Any]
    draws: tuple[Draw, ...]
    single: bool = False

    def inputs(self, seed: int = 0) -> tuple[Values, ...]:
        """The inputs, fresh arrays, always the same for a seed."""
        rng = numpy.random.default_rng(seed)
        return tuple(numpy.asarray(draw(rng)).astype("float32" if self.single else "float64") for draw in self.draws)

    @property
    def size(self) -> int:
        """How many numbers the inputs hold."""
        return sum(x.size for x in self.inputs())


def normal(*shape: int, scale: float = 1.0) -> Draw:
    """Normally distributed, with this standard deviation."""
    return lambda rng: scale * rng.standard_normal(shape)


def uniform(low: float, high: float, *shape: int) -> Draw:
    """Uniform between low and high."""
    return lambda rng: rng.uniform(low, high, shape)


def fixed(*numbers: float) -> Draw:
    """These numbers."""
    return lambda rng: numpy.array(numbers, "float64")


# The functions, with their right gradients


def of(name: str, **parameters: Any) -> tuple[Callable[..., Values], Callable[..., Any]]:
    """A primitive as a function of NumPy arrays, and its rules as one vjp(gy, *xs)."""
    primitive = registry[name]

    def f(*xs: Values) -> Values:
        """The primitive on arrays."""
        return numpy.asarray(primitive.kernel(numpy, *xs, **{**primitive.defaults, **parameters}))

    def vjp(gy: Values, *xs: Values) -> Any:
        """Its gradients by its rules."""
        _, pull = transform.vjp(lambda *tensors: primitive.compute(tensors, parameters), *map(Tensor, xs))
        gradients = tuple(g.numpy() for g in pull(Tensor(numpy.asarray(gy))))
        return gradients if len(gradients) > 1 else gradients[0]

    return f, vjp


PLACES = numpy.array([0, 3, 3, 1, 3, 0, 5])
"""Some repeat: their gradients add up."""

sine_rule, exp_rule, tanh_rule = of("sin")[1], of("exp")[1], of("tanh")[1]
product_rule, quotient_rule, matmul_rule = of("multiply")[1], of("divide")[1], of("matmul")[1]
mean_rule, cumsum_rule, gathered_rule = of("mean")[1], of("cumsum", axis=-1)[1], of("getitem", index=PLACES)[1]
(sigmoid, sigmoid_rule), (square, square_rule), (affine, affine_rule) = of("sigmoid"), of("square"), of("affine")
(softmax, softmax_rule), (log_softmax, log_softmax_rule) = of("softmax"), of("log_softmax")
logsumexp, logsumexp_rule = of("logsumexp")


def cube(x: Values) -> Values:
    """x³, elementwise."""
    return x * x * x


def cube_rule(gy: Values, x: Values) -> Values:
    """Of x³."""
    return gy * 3 * x * x


def layer_norm(x: Values) -> Values:
    """Rows of mean 0 and variance 1."""
    centred = x - x.mean(-1, keepdims=True)
    return centred / sqrt((centred * centred).mean(-1, keepdims=True) + 1e-5)


def layer_norm_rule(gy: Values, x: Values) -> Values:
    """Of layer_norm."""
    centred = x - x.mean(-1, keepdims=True)
    spread = sqrt((centred * centred).mean(-1, keepdims=True) + 1e-5)
    y = centred / spread
    return (gy - gy.mean(-1, keepdims=True) - y * (gy * y).mean(-1, keepdims=True)) / spread


def convolve(x: Values, w: Values) -> Values:
    """Valid cross-correlation of two vectors."""
    return numpy.lib.stride_tricks.sliding_window_view(x, len(w)) @ w


def convolve_rule(gy: Values, x: Values, w: Values) -> tuple[Values, Values]:
    """Of convolve."""
    return numpy.convolve(gy, w), numpy.lib.stride_tricks.sliding_window_view(x, len(gy)) @ gy


def outer_sum(x: Values, b: Values) -> Values:
    """sin(x) + b, b repeated over rows."""
    return sin(x) + b


def outer_sum_rule(gy: Values, x: Values, b: Values) -> tuple[Values, Values]:
    """Of outer_sum."""
    return gy * cos(x), gy.sum(0)


def both_uses(x: Values, y: Values) -> Values:
    """x exp(y), of which a case uses both arguments as one."""
    return x * exp(y)


def choose_rule(gy: Values, c: Values, x: Values) -> tuple[None, Values]:
    """Of x where c > 0: c has no derivative."""
    return None, numpy.where(c > 0, gy, 0 * gy)


def quadratic_form_rule(gy: Values, x: Values, a: Values) -> tuple[Values, Values]:
    """Of x · A x."""
    return gy * (a + a.T) @ x, gy * numpy.outer(x, x)


def relu(x: Values) -> Values:
    """The positive part."""
    return numpy.where(x > 0, x, 0 * x)


def slope_at_zero(slope: float) -> Callable[[Values, Values], Values]:
    """ReLU's gradient with this slope at 0."""
    return lambda gy, x: gy * numpy.where(x > 0, 1.0, numpy.where(x < 0, 0.0, slope)).astype(x.dtype)


def clip(x: Values) -> Values:
    """x, but -1 where it is less and 1 where it is more."""
    return numpy.where(x > 1, 1 + 0 * x, numpy.where(x < -1, 0 * x - 1, x))


def clip_rule(gy: Values, x: Values) -> Values:
    """Of clip(x, -1, 1)."""
    return gy * ((x > -1) & (x < 1))


# What makes a gradient wrong


def times(factor: float, rule: Callable[..., Any]) -> Callable[..., Any]:
    """A rule that is off by a factor."""
    return lambda gy, *xs: factor * rule(gy, *xs)


def but_at(place: int, rule: Callable[..., Any], factor: float = 0.0) -> Callable[..., Any]:
    """A rule that is off by a factor at one place."""

    def wrong(gy: Values, *xs: Values) -> Values:
        gx: Values = rule(gy, *xs).copy()
        gx[place] *= factor
        return gx

    return wrong


def assigned_rule(gy: Values, x: Values) -> Values:
    """Of x[PLACES], assigning where it should add."""
    gx = zeros_like(x)
    gx[PLACES] = gy
    return gx


class Stale:
    """x ↦ s(x) + s(2x) with s = sin, whose rule sees only what s saved the last time that it ran."""

    def f(self, x: Values) -> Values:
        """The value."""
        return sin(x) + sin(2 * x)

    def vjp(self, gy: Values, x: Values) -> Values:
        """cos(2x), saved last, stands in for cos(x) too."""
        return gy * (cos(2 * x) + 2 * cos(2 * x))


def noisy_rule(size: float) -> Callable[[Values, Values], Values]:
    """Of sin x, with noise of this size that is new at every call."""
    rng = numpy.random.default_rng(1)
    return lambda gy, x: gy * cos(x) * (1 + size * rng.standard_normal(x.shape))


def shifting_in_place(x: Values) -> Any:
    """logsumexp of rows, that shifts its argument in place."""
    largest = x.max(-1)
    x -= largest[:, newaxis]
    return largest + log(exp(x).sum(-1))


def rows_rule(gy: Values, x: Values) -> Values:
    """Of logsumexp of rows."""
    return gy[:, newaxis] * softmax(x)


def scaling_gy(gy: Values, x: Values) -> Values:
    """Of sin x; right, but it overwrites the incoming gradient, which another branch still needs."""
    gy *= cos(x)
    return gy


def restored_late(gy: Values, x: Values) -> Values:
    """Of exp x; right, but it leaves its exponential in the input."""
    exp(x, out=x)
    return gy * x


def nan_rule(gy: Values, x: Values) -> Values:
    """Of x log x with the limit at 0 forgotten: 0 · ∞."""
    return gy * numpy.where(x > 0.5, log(numpy.abs(x)) + 1, numpy.nan)


RIGHT = (
    Case("sin", Kind.RIGHT, sin, sine_rule, (normal(3, 4),)),
    Case("sin of a single number", Kind.RIGHT, sin, sine_rule, (normal(),)),
    Case("sin of 100000 numbers", Kind.RIGHT, sin, sine_rule, (normal(LARGE),)),
    Case("sin of no numbers", Kind.RIGHT, sin, sine_rule, (normal(0, 3),)),
    Case("sin of numbers of 1e5", Kind.RIGHT, sin, sine_rule, (normal(20, scale=1e5),)),
    Case("tanh, saturated", Kind.RIGHT, tanh, tanh_rule, (uniform(-18, 18, 30),)),
    Case("sigmoid down to 4e-18", Kind.RIGHT, sigmoid, sigmoid_rule, (uniform(-40, 40, 30),)),
    Case("exp from -50 to 50", Kind.RIGHT, exp, exp_rule, (uniform(-50, 50, 40),)),
    Case("exp from -300 to 300", Kind.RIGHT, exp, exp_rule, (uniform(-300, 300, 40),)),
    Case("log from 1e-9 to 1", Kind.RIGHT, log, lambda gy, x: gy / x, (lambda rng: 10 ** rng.uniform(-9, 0, 30),)),
    Case("square root from 1e-8 to 1", Kind.RIGHT, sqrt, lambda gy, x: gy / (2 * sqrt(x)),
         (lambda rng: 10 ** rng.uniform(-8, 0, 30),)),
    Case("a / b", Kind.RIGHT, lambda a, b: a / b, quotient_rule, (normal(4, 5), uniform(0.5, 2, 4, 5))),
    Case("x³ at 1e-6", Kind.RIGHT, cube, cube_rule, (normal(20, scale=1e-6),)),
    Case("x³ at 1e6", Kind.RIGHT, cube, cube_rule, (normal(20, scale=1e6),)),
    Case("a · b at 1e-6 and 1e6", Kind.RIGHT, lambda a, b: a * b, product_rule,
         (normal(20, scale=1e-6), normal(20, scale=1e6))),
    Case("(x + 1e8) - 1e8", Kind.RIGHT, lambda x: (x + 1e8) - 1e8, lambda gy, x: gy * 1.0, (normal(10),)),
    Case("sum of cancelling 1e7", Kind.RIGHT, lambda x: x.sum(), lambda gy, x: gy * numpy.ones_like(x),
         (lambda rng: 1e7 * numpy.repeat([1, -1], 10) + rng.standard_normal(20),)),
    Case("matmul", Kind.RIGHT, lambda a, b: a @ b, matmul_rule, (normal(5, 6), normal(6, 3))),
    Case("matmul of 150 by 150", Kind.RIGHT, lambda a, b: a @ b, matmul_rule, (normal(150, 150), normal(150, 150))),
    Case("affine", Kind.RIGHT, affine, affine_rule, (normal(4, 3), normal(3, 5), normal(5))),
    Case("softmax", Kind.RIGHT, softmax, softmax_rule, (normal(4, 5),)),
    Case("softmax of logits of 100", Kind.RIGHT, softmax, softmax_rule, (normal(4, 5, scale=100),)),
    Case("log_softmax", Kind.RIGHT, log_softmax, log_softmax_rule, (normal(4, 5),)),
    Case("logsumexp of 100000 numbers", Kind.RIGHT, logsumexp, logsumexp_rule, (normal(LARGE),)),
    Case("mean of 100000 numbers", Kind.RIGHT, lambda x: x.mean(), mean_rule, (normal(LARGE),)),
    Case("layer normalisation", Kind.RIGHT, layer_norm, layer_norm_rule, (normal(4, 8),)),
    Case("gathering with repeats", Kind.RIGHT, lambda x: x[PLACES], gathered_rule, (normal(6),)),
    Case("convolution", Kind.RIGHT, convolve, convolve_rule, (normal(12), normal(4))),
    Case("running sum", Kind.RIGHT, numpy.cumsum, cumsum_rule, (normal(50),)),
    Case("broadcast addition", Kind.RIGHT, outer_sum, outer_sum_rule, (normal(6, 3), normal(3))),
    Case("x · A x", Kind.RIGHT, lambda x, a: x @ a @ x, quadratic_form_rule, (normal(5), normal(5, 5))),
    Case("a choice, no gradient for the condition", Kind.RIGHT, lambda c, x: numpy.where(c > 0, x, 0 * x), choose_rule,
         (normal(8), normal(8))),
    Case("ReLU away from 0", Kind.RIGHT, relu, slope_at_zero(0), (lambda rng: rng.choice([-1, 1], 40) * (
        0.1 + rng.uniform(0, 1, 40)),)),
    Case("sin, float32", Kind.RIGHT, sin, sine_rule, (normal(3, 4),), single=True),
    Case("softmax, float32", Kind.RIGHT, softmax, softmax_rule, (normal(4, 5),), single=True),
    Case("matmul of 64 by 64, float32", Kind.RIGHT, lambda a, b: a @ b, matmul_rule, (normal(64, 64), normal(64, 64)),
         single=True),
    Case("exp of 100000 numbers, float32", Kind.RIGHT, exp, exp_rule, (normal(LARGE),), single=True),
    Case("mean of squares, float32", Kind.RIGHT, lambda x: (x * x).mean(), lambda gy, x: gy * x * (2 / x.size),
         (normal(500),), single=True),
)  # fmt: skip

WRONG = (
    Case("zero", Kind.WRONG, sin, times(0, sine_rule), (normal(3, 4),)),
    Case("negated", Kind.WRONG, sin, times(-1, sine_rule), (normal(3, 4),)),
    Case("1e-4 too large", Kind.WRONG, sin, times(1.0001, sine_rule), (normal(3, 4),)),
    Case("1e-6 too large", Kind.WRONG, exp, times(1.000001, exp_rule), (normal(10),)),
    Case("1 / N missing", Kind.WRONG, lambda x: x.mean(), lambda gy, x: gy * numpy.ones_like(x), (normal(7),)),
    Case("1 / N with the wrong N", Kind.WRONG, lambda x: (x * x).mean(), lambda gy, x: gy * 2 * x / len(x),
         (normal(4, 3),)),
    Case("bias gradient of the first row only", Kind.WRONG, outer_sum, lambda gy, x, b: (gy * cos(x), gy[0]),
         (normal(6, 3), normal(3))),
    Case("weights of a matmul not transposed", Kind.WRONG, lambda a, b: a @ b, lambda gy, a, b: (gy @ b, a.T @ gy),
         (normal(4, 4), normal(4, 4))),
    Case("zero at one of 100000", Kind.WRONG, sin, but_at(54_321, sine_rule), (uniform(-1, 1, LARGE),)),
    Case("1 % off at one of 100000", Kind.WRONG, sin, but_at(54_321, sine_rule, 1.01), (uniform(-1, 1, LARGE),)),
    Case("zero at one of 100000 that are summed", Kind.WRONG, lambda x: (x * x).sum(),
         but_at(777, lambda gy, x: gy * 2 * x), (uniform(1, 2, LARGE),)),
    Case("negative inputs only", Kind.WRONG, lambda x: numpy.abs(x) * x, square_rule, (normal(12),)),
    Case("softmax: zero", Kind.WRONG, softmax, lambda gy, x: zeros_like(x), (normal(4, 5),)),
    Case("softmax: y (1 - y) only", Kind.WRONG, softmax, lambda gy, x: gy * softmax(x) * (1 - softmax(x)),
         (normal(4, 5),)),
    Case("log_softmax: count for sum", Kind.WRONG, log_softmax, lambda gy, x: gy - softmax(x) * x.shape[-1],
         (normal(4, 5),)),
    Case("right for equal gy only", Kind.WRONG, square, lambda gy, x: 2 * x * gy.mean(), (normal(8),)),
    Case("right for positive gy only", Kind.WRONG, sin, lambda gy, x: numpy.abs(gy) * cos(x), (normal(5),)),
    Case("assigned instead of added", Kind.WRONG, lambda x: x[PLACES], assigned_rule, (normal(6),)),
    Case("stale saved value", Kind.WRONG, Stale().f, Stale().vjp, (normal(6),)),
    Case("one of two uses of f(x, x)", Kind.WRONG, lambda x: both_uses(x, x), exp_rule, (normal(6),)),
    Case("detached branch", Kind.WRONG, lambda x: x * sigmoid(x), lambda gy, x: gy * sigmoid(x), (normal(6),)),
    Case("second argument", Kind.WRONG, lambda a, b: a / b, lambda gy, a, b: (gy / b, gy * a / (b * b)),
         (normal(5), uniform(0.5, 2, 5))),
    Case("second argument without gradient", Kind.WRONG, lambda a, b: a * b, lambda gy, a, b: (gy * b, None),
         (normal(5), normal(5))),
    Case("layer normalisation: variance a constant", Kind.WRONG, layer_norm,
         lambda gy, x: (gy - gy.mean(-1, keepdims=True)) / x.std(-1, keepdims=True), (normal(4, 8),)),
    Case("convolution: kernel turned round", Kind.WRONG, convolve,
         lambda gy, x, w: (numpy.convolve(gy, w[::-1]), convolve_rule(gy, x, w)[1]), (normal(12), normal(4))),
    Case("running sum: not turned round", Kind.WRONG, numpy.cumsum, lambda gy, x: numpy.cumsum(gy), (normal(50),)),
    Case("clip: passes everything", Kind.WRONG, clip, lambda gy, x: gy * 1.0, (uniform(-3, 3, 12),)),
    Case("zero, at 1e-6", Kind.WRONG, square, times(0, square_rule), (normal(10, scale=1e-6),)),
    Case("twice too large, values of 1e-8", Kind.WRONG, lambda x: 1e-8 * sin(x), times(2e-8, sine_rule), (normal(10),)),
    Case("1e-4 too large, at 1e6", Kind.WRONG, cube, times(1.0001, cube_rule), (normal(10, scale=1e6),)),
    Case("exp from -50 to 50, small ones zero", Kind.WRONG, exp, lambda gy, x: gy * numpy.where(x > 0, exp(x), 0 * x),
         (uniform(-50, 50, 40),)),
    Case("float32: 1e-3 too large", Kind.WRONG, sin, times(1.001, sine_rule), (normal(20),), single=True),
    Case("float32: zero at one of 1000", Kind.WRONG, exp, but_at(500, exp_rule), (normal(1000),), single=True),
    Case("float32: 1 / N missing", Kind.WRONG, lambda x: x.mean(), lambda gy, x: gy * numpy.ones_like(x), (normal(7),),
         single=True),
    Case("dtype: float32 for float64", Kind.WRONG, sin, lambda gy, x: (gy * cos(x)).astype("float32"), (normal(6),)),
    Case("shape: a single number for all", Kind.WRONG, lambda x: x.sum(), lambda gy, x: gy * 1.0, (normal(6),)),
    Case("shape: (1, n) for (n,)", Kind.WRONG, sin, lambda gy, x: (gy * cos(x))[newaxis], (normal(6),)),
    Case("the function shifts its input in place", Kind.WRONG, shifting_in_place, rows_rule, (normal(4, 5),)),
    Case("the rule overwrites its input", Kind.WRONG, exp, restored_late, (normal(5),)),
    Case("the rule overwrites gy", Kind.WRONG, sin, scaling_gy, (normal(5),)),
    Case("random by 1e-2", Kind.WRONG, sin, noisy_rule(1e-2), (normal(6),)),
    Case("random by 1e-9", Kind.WRONG, sin, noisy_rule(1e-9), (normal(6),)),
    Case("not a number", Kind.WRONG, lambda x: x * log(numpy.abs(x)), nan_rule, (fixed(0.1, 0.7, 1.5, 2.5),)),
    Case("infinite", Kind.WRONG, square, lambda gy, x: gy * numpy.where(x > 2, numpy.inf, 2 * x), (fixed(-1, 1, 3),)),
    Case("ReLU: 2 at 0", Kind.WRONG, relu, slope_at_zero(2.0), (fixed(-1, 0, 1.5, 2),)),
    Case("ReLU: -0.1 at 0", Kind.WRONG, relu, slope_at_zero(-0.1), (fixed(-1, 0, 1.5, 2),)),
    Case("|x|: 1.5 at 0", Kind.WRONG, numpy.abs, lambda gy, x: gy * numpy.where(x == 0, 1.5, numpy.sign(x)),
         (fixed(-1, 0, 1.5),)),
    Case("ReLU at 0, and zero elsewhere", Kind.WRONG, relu, but_at(3, slope_at_zero(0.5)),
         (fixed(-1, 0, 1.5, 2, 0.7),)),
)  # fmt: skip


def first_of_equals_rule(gy: Values, x: Values) -> Values:
    """Of the maximum: all of it to the first."""
    gx = zeros(x.shape)
    gx[numpy.argmax(x)] = gy
    return gx


def shared_rule(gy: Values, x: Values) -> Values:
    """Of the maximum: equal shares."""
    return gy * (x == x.max()) / (x == x.max()).sum()


KINKS = (
    Case("ReLU: 0 at 0", Kind.KINK, relu, slope_at_zero(0.0), (fixed(-1, 0, 1.5, 2),)),
    Case("ReLU: 0.5 at 0", Kind.KINK, relu, slope_at_zero(0.5), (fixed(-1, 0, 1.5, 2),)),
    Case("ReLU: 0.3 at 0", Kind.KINK, relu, slope_at_zero(0.3), (fixed(-1, 0, 1.5, 2),)),
    Case("ReLU: 0 at 10 zeros among 1000", Kind.KINK, relu, slope_at_zero(0.0),
         (lambda rng: rng.choice([-1, 1], 1000) * (0.1 + rng.uniform(0, 1, 1000)) * (numpy.arange(1000) % 100 != 7),)),
    Case("|x|: 0 at 0", Kind.KINK, numpy.abs, lambda gy, x: gy * numpy.sign(x), (fixed(-1, 0, 1.5),)),
    Case("|x|: 1 at 0", Kind.KINK, numpy.abs, lambda gy, x: gy * numpy.where(x >= 0, 1.0, -1.0), (fixed(-1, 0, 1.5),)),
    Case("max: equal shares of a tie", Kind.KINK, lambda x: x.max(), shared_rule, (fixed(1, 3, 2, 3),)),
    Case("max: the first of a tie", Kind.KINK, lambda x: x.max(), first_of_equals_rule, (fixed(1, 3, 2, 3),)),
    Case("clip: 0 at its bound", Kind.KINK, clip, clip_rule, (fixed(-2, -1, 0.5, 1),)),
)  # fmt: skip

CASES = RIGHT + WRONG + KINKS
