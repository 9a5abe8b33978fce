"""Functions with right and wrong gradients, of NumPy arrays, for comparing gradient checkers.

A gradient that is right must pass, one that is wrong must be caught, and on a kink any slope between those from the
left and from the right is acceptable. The right ones are those of the tape, where nothing else is told.
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


def right(
    name: str, f: Callable[..., Any], *draws: Draw, vjp: Callable[..., Any] | None = None, **options: Any
) -> Case:
    """A case whose gradient is right; without `vjp` it is the tape's."""
    return Case(name, Kind.RIGHT, f, vjp or rule_of(f), draws, **options)


def wrong(name: str, f: Callable[..., Any], vjp: Callable[..., Any], *draws: Draw, **options: Any) -> Case:
    """A case whose gradient is wrong."""
    return Case(name, Kind.WRONG, f, vjp, draws, **options)


def kink(name: str, f: Callable[..., Any], vjp: Callable[..., Any], *draws: Draw) -> Case:
    """A case on a kink."""
    return Case(name, Kind.KINK, f, vjp, draws)


def rule_of(f: Callable[..., Any]) -> Callable[..., Any]:
    """The gradient by the tape of a function that takes tensors as well as arrays."""

    def vjp(gy: Values, *xs: Values) -> Any:
        """Pulled back by its rules."""
        _, pull = transform.vjp(f, *map(Tensor, xs))
        gradients = tuple(g.numpy() for g in pull(Tensor(numpy.asarray(gy))))
        return gradients if len(gradients) > 1 else gradients[0]

    return vjp


def normal(*shape: int, scale: float = 1.0) -> Draw:
    """Normally distributed, with this standard deviation."""
    return lambda rng: scale * rng.standard_normal(shape)


def uniform(low: float, high: float, *shape: int) -> Draw:
    """Uniform between low and high."""
    return lambda rng: rng.uniform(low, high, shape)


def fixed(*numbers: float) -> Draw:
    """These numbers."""
    return lambda rng: numpy.array(numbers, "float64")


# The functions, of arrays and of tensors


def of(name: str) -> Callable[..., Any]:
    """A primitive, which gives an array for arrays."""
    primitive = registry[name]

    def f(*xs: Any) -> Any:
        """The primitive."""
        if isinstance(xs[0], Tensor):
            return primitive(*xs)
        return numpy.asarray(primitive.kernel(numpy, *xs, **primitive.defaults))

    return f


sigmoid, affine, logsumexp = of("sigmoid"), of("affine"), of("logsumexp")
softmax, log_softmax = of("softmax"), of("log_softmax")
PLACES = numpy.array([0, 3, 3, 1, 3, 0, 5])
"""Some repeat: their gradients add up."""
WINDOWS = numpy.arange(9)[:, newaxis] + numpy.arange(4)
"""Of 4 neighbours among 12."""


def cube(x: Any) -> Any:
    """x³, elementwise."""
    return x * x * x


def gathered(x: Any) -> Any:
    """Elements, some of them several times."""
    return x[PLACES]


def layer_norm(x: Any) -> Any:
    """Rows of mean 0 and variance 1."""
    centred = x - x.mean(-1, keepdims=True)
    return centred / sqrt((centred * centred).mean(-1, keepdims=True) + 1e-5)


def convolve(x: Any, w: Any) -> Any:
    """Valid cross-correlation of two vectors."""
    return x[WINDOWS] @ w


def outer_sum(x: Any, b: Any) -> Any:
    """sin(x) + b, b repeated over rows."""
    return sin(x) + b


def relu(x: Any) -> Any:
    """The positive part."""
    return numpy.where(x > 0, x, 0 * x)


def clip(x: Any) -> Any:
    """x, but -1 where it is less and 1 where it is more."""
    return numpy.where(x > 1, 1 + 0 * x, numpy.where(x < -1, 0 * x - 1, x))


sine_rule, exp_rule, square_rule, cube_rule = [rule_of(f) for f in (sin, exp, numpy.square, cube)]


def slope_at_zero(slope: float) -> Callable[[Values, Values], Values]:
    """ReLU's gradient with this slope at 0."""
    return lambda gy, x: gy * numpy.where(x > 0, 1.0, numpy.where(x < 0, 0.0, slope)).astype(x.dtype)


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
    right("sin", sin, normal(3, 4)),
    right("sin of a single number", sin, normal()),
    right("sin of 100000 numbers", sin, normal(LARGE)),
    right("sin of no numbers", sin, normal(0, 3)),
    right("sin of numbers of 1e5", sin, normal(20, scale=1e5)),
    right("tanh, saturated", tanh, uniform(-18, 18, 30)),
    right("sigmoid down to 4e-18", sigmoid, uniform(-40, 40, 30)),
    right("exp from -50 to 50", exp, uniform(-50, 50, 40)),
    right("exp from -300 to 300", exp, uniform(-300, 300, 40)),
    right("log from 1e-9 to 1", log, lambda rng: 10 ** rng.uniform(-9, 0, 30)),
    right("square root from 1e-8 to 1", sqrt, lambda rng: 10 ** rng.uniform(-8, 0, 30)),
    right("a / b", numpy.divide, normal(4, 5), uniform(0.5, 2, 4, 5)),
    right("x³ at 1e-6", cube, normal(20, scale=1e-6)),
    right("x³ at 1e6", cube, normal(20, scale=1e6)),
    right("a · b at 1e-6 and 1e6", numpy.multiply, normal(20, scale=1e-6), normal(20, scale=1e6)),
    right("(x + 1e8) - 1e8", lambda x: (x + 1e8) - 1e8, normal(10)),
    right("sum of cancelling 1e7", numpy.sum,
          lambda rng: 1e7 * numpy.repeat([1, -1], 10) + rng.standard_normal(20)),
    right("matmul", numpy.matmul, normal(5, 6), normal(6, 3)),
    right("matmul of 150 by 150", numpy.matmul, normal(150, 150), normal(150, 150)),
    right("affine", affine, normal(4, 3), normal(3, 5), normal(5)),
    right("softmax", softmax, normal(4, 5)),
    right("softmax of logits of 100", softmax, normal(4, 5, scale=100)),
    right("log_softmax", log_softmax, normal(4, 5)),
    right("logsumexp of 100000 numbers", logsumexp, normal(LARGE)),
    right("mean of 100000 numbers", numpy.mean, normal(LARGE)),
    right("layer normalisation", layer_norm, normal(4, 8)),
    right("gathering with repeats", gathered, normal(6)),
    right("convolution", convolve, normal(12), normal(4)),
    right("running sum", numpy.cumsum, normal(50)),
    right("broadcast addition", outer_sum, normal(6, 3), normal(3)),
    right("x · A x", lambda x, a: x @ a @ x, normal(5), normal(5, 5)),
    right("a choice, no gradient for the condition", lambda c, x: numpy.where(c > 0, x, 0 * x), normal(8), normal(8),
          vjp=lambda gy, c, x: (None, numpy.where(c > 0, gy, 0 * gy))),
    right("ReLU away from 0", relu, lambda rng: rng.choice([-1, 1], 40) * (0.1 + rng.uniform(0, 1, 40))),
    right("sin, float32", sin, normal(3, 4), single=True),
    right("softmax, float32", softmax, normal(4, 5), single=True),
    right("matmul of 64 by 64, float32", numpy.matmul, normal(64, 64), normal(64, 64), single=True),
    right("exp of 100000 numbers, float32", exp, normal(LARGE), single=True),
    right("mean of squares, float32", lambda x: (x * x).mean(), normal(500), single=True),
)  # fmt: skip

WRONG = (
    wrong("zero", sin, times(0, sine_rule), normal(3, 4)),
    wrong("negated", sin, times(-1, sine_rule), normal(3, 4)),
    wrong("1e-4 too large", sin, times(1.0001, sine_rule), normal(3, 4)),
    wrong("1e-6 too large", exp, times(1.000001, exp_rule), normal(10)),
    wrong("1 / N missing", numpy.mean, lambda gy, x: gy * numpy.ones_like(x), normal(7)),
    wrong("1 / N with the wrong N", lambda x: (x * x).mean(), lambda gy, x: gy * 2 * x / len(x), normal(4, 3)),
    wrong("bias gradient of the first row only", outer_sum, lambda gy, x, b: (gy * cos(x), gy[0]), normal(6, 3),
          normal(3)),
    wrong("weights of a matmul not transposed", numpy.matmul, lambda gy, a, b: (gy @ b, a.T @ gy), normal(4, 4),
          normal(4, 4)),
    wrong("zero at one of 100000", sin, but_at(54_321, sine_rule), uniform(-1, 1, LARGE)),
    wrong("1 % off at one of 100000", sin, but_at(54_321, sine_rule, 1.01), uniform(-1, 1, LARGE)),
    wrong("zero at one of 100000 that are summed", lambda x: (x * x).sum(), but_at(777, lambda gy, x: gy * 2 * x),
          uniform(1, 2, LARGE)),
    wrong("negative inputs only", lambda x: numpy.abs(x) * x, square_rule, normal(12)),
    wrong("softmax: zero", softmax, lambda gy, x: zeros_like(x), normal(4, 5)),
    wrong("softmax: y (1 - y) only", softmax, lambda gy, x: gy * softmax(x) * (1 - softmax(x)), normal(4, 5)),
    wrong("log_softmax: count for sum", log_softmax, lambda gy, x: gy - softmax(x) * x.shape[-1], normal(4, 5)),
    wrong("right for equal gy only", numpy.square, lambda gy, x: 2 * x * gy.mean(), normal(8)),
    wrong("right for positive gy only", sin, lambda gy, x: numpy.abs(gy) * cos(x), normal(5)),
    wrong("assigned instead of added", gathered, assigned_rule, normal(6)),
    wrong("stale saved value", Stale().f, Stale().vjp, normal(6)),
    wrong("one of two uses of f(x, x)", lambda x: x * exp(x), exp_rule, normal(6)),
    wrong("detached branch", lambda x: x * sigmoid(x), lambda gy, x: gy * sigmoid(x), normal(6)),
    wrong("second argument", numpy.divide, lambda gy, a, b: (gy / b, gy * a / (b * b)), normal(5), uniform(0.5, 2, 5)),
    wrong("second argument without gradient", numpy.multiply, lambda gy, a, b: (gy * b, None), normal(5), normal(5)),
    wrong("layer normalisation: variance a constant", layer_norm,
          lambda gy, x: (gy - gy.mean(-1, keepdims=True)) / x.std(-1, keepdims=True), normal(4, 8)),
    wrong("convolution: kernel turned round", convolve,
          lambda gy, x, w: (numpy.convolve(gy, w[::-1]), rule_of(convolve)(gy, x, w)[1]), normal(12), normal(4)),
    wrong("running sum: not turned round", numpy.cumsum, lambda gy, x: numpy.cumsum(gy), normal(50)),
    wrong("clip: passes everything", clip, lambda gy, x: gy * 1.0, uniform(-3, 3, 12)),
    wrong("zero, at 1e-6", numpy.square, times(0, square_rule), normal(10, scale=1e-6)),
    wrong("twice too large, values of 1e-8", lambda x: 1e-8 * sin(x), times(2e-8, sine_rule), normal(10)),
    wrong("1e-4 too large, at 1e6", cube, times(1.0001, cube_rule), normal(10, scale=1e6)),
    wrong("exp from -50 to 50, small ones zero", exp, lambda gy, x: gy * numpy.where(x > 0, exp(x), 0 * x),
          uniform(-50, 50, 40)),
    wrong("float32: 1e-3 too large", sin, times(1.001, sine_rule), normal(20), single=True),
    wrong("float32: zero at one of 1000", exp, but_at(500, exp_rule), normal(1000), single=True),
    wrong("float32: 1 / N missing", numpy.mean, lambda gy, x: gy * numpy.ones_like(x), normal(7), single=True),
    wrong("dtype: float32 for float64", sin, lambda gy, x: (gy * cos(x)).astype("float32"), normal(6)),
    wrong("shape: a single number for all", numpy.sum, lambda gy, x: gy * 1.0, normal(6)),
    wrong("shape: (1, n) for (n,)", sin, lambda gy, x: (gy * cos(x))[newaxis], normal(6)),
    wrong("the function shifts its input in place", shifting_in_place, rows_rule, normal(4, 5)),
    wrong("the rule overwrites its input", exp, restored_late, normal(5)),
    wrong("the rule overwrites gy", sin, scaling_gy, normal(5)),
    wrong("random by 1e-2", sin, noisy_rule(1e-2), normal(6)),
    wrong("random by 1e-9", sin, noisy_rule(1e-9), normal(6)),
    wrong("not a number", lambda x: x * log(numpy.abs(x)), nan_rule, fixed(0.1, 0.7, 1.5, 2.5)),
    wrong("infinite", numpy.square, lambda gy, x: gy * numpy.where(x > 2, numpy.inf, 2 * x), fixed(-1, 1, 3)),
    wrong("ReLU: 2 at 0", relu, slope_at_zero(2.0), fixed(-1, 0, 1.5, 2)),
    wrong("ReLU: -0.1 at 0", relu, slope_at_zero(-0.1), fixed(-1, 0, 1.5, 2)),
    wrong("|x|: 1.5 at 0", numpy.abs, lambda gy, x: gy * numpy.where(x == 0, 1.5, numpy.sign(x)), fixed(-1, 0, 1.5)),
    wrong("ReLU at 0, and zero elsewhere", relu, but_at(3, slope_at_zero(0.5)), fixed(-1, 0, 1.5, 2, 0.7)),
)  # fmt: skip


def first_of_equals_rule(gy: Values, x: Values) -> Values:
    """Of the maximum: all of it to the first."""
    gx = zeros(x.shape)
    gx[numpy.argmax(x)] = gy
    return gx


KINKS = (
    kink("ReLU: 0 at 0", relu, slope_at_zero(0.0), fixed(-1, 0, 1.5, 2)),
    kink("ReLU: 0.5 at 0", relu, slope_at_zero(0.5), fixed(-1, 0, 1.5, 2)),
    kink("ReLU: 0.3 at 0", relu, slope_at_zero(0.3), fixed(-1, 0, 1.5, 2)),
    kink("ReLU: 0 at 10 zeros among 1000", relu, slope_at_zero(0.0), lambda rng: rng.choice([-1, 1], 1000) * (
        0.1 + rng.uniform(0, 1, 1000)) * (numpy.arange(1000) % 100 != 7)),
    kink("|x|: 0 at 0", numpy.abs, lambda gy, x: gy * numpy.sign(x), fixed(-1, 0, 1.5)),
    kink("|x|: 1 at 0", numpy.abs, lambda gy, x: gy * numpy.where(x >= 0, 1.0, -1.0), fixed(-1, 0, 1.5)),
    kink("max: equal shares of a tie", numpy.max, rule_of(numpy.max), fixed(1, 3, 2, 3)),
    kink("max: the first of a tie", numpy.max, first_of_equals_rule, fixed(1, 3, 2, 3)),
    kink("clip: 0 at its bound", clip, lambda gy, x: gy * ((x > -1) & (x < 1)), fixed(-2, -1, 0.5, 1)),
)  # fmt: skip

CASES = RIGHT + WRONG + KINKS
