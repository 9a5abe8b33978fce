"""Where rounding hides much: a right gradient is never called wrong, and a wrong one is never proven."""

import math

import numpy as np
import pytest

from chalkgrad.proof import Verdict, gradcheck

RNG = np.random.default_rng(0)
X = RNG.standard_normal(6)


def shifted(size):
    return lambda x: np.tanh(x - size), size + X, lambda gy, x: gy / np.cosh(x - size) ** 2


def offset(size):
    return lambda x: (x * x + size) - size, X, lambda gy, x: gy * 2 * x


def waves(size):
    return lambda x: np.sin(size * x), X, lambda gy, x: gy * size * np.cos(size * x)


def at(size):
    return np.sin, size * X, lambda gy, x: gy * np.cos(x)


def of(f, x, vjp):
    return f, np.asarray(x), vjp


def single(x):
    return np.asarray(x, "float32")


def spike(x):
    return np.exp(-(((x - 1) * 1e9) ** 2))


CASES = {
    **{f"sin at 1e{k}": at(10.0**k) for k in (5, 8, 9, 10, 12, 14, 16, 300)},
    **{f"sin(1e{k} x)": waves(10.0**k) for k in (6, 9, 12)},
    **{f"tanh(x - 1e{k})": shifted(10.0**k) for k in (6, 9, 12)},
    **{f"x² + 1e{k} - 1e{k}": offset(10.0**k) for k in (6, 9)},
    "a spike": of(spike, 1 + X * 1e-9, lambda gy, x: gy * -2e18 * (x - 1) * spike(x)),
    "a wave on a slope": of(lambda x: x + 1e-6 * np.sin(1e12 * x), X, lambda gy, x: gy * (1 + 1e6 * np.cos(1e12 * x))),
    "tiny": of(np.log, np.abs(X) * 1e-300, lambda gy, x: gy / x),
    "huge": of(lambda x: 1 / x, X * 1e150, lambda gy, x: -gy / x / x),
    "near a pole": of(lambda x: 1 / (x - 1), 1 + np.array([1e-8, 1e-3]), lambda gy, x: -gy / (x - 1) ** 2),
    "near the end of a domain": of(
        lambda x: np.sqrt(1 - x), 1 - np.array([1e-8, 1e-3]), lambda gy, x: -gy / 2 / np.sqrt(1 - x)
    ),
    "an error outside of the domain": of(
        lambda x: np.array([math.log(v) for v in x]), [0.5, 1.5], lambda gy, x: gy / x
    ),
    "1 - cos": of(lambda x: 1 - np.cos(x), [1e-9, -1e-6, 1e-3], lambda gy, x: gy * np.sin(x)),
    "near a kink": of(lambda x: np.maximum(x, 1), 1 + np.array([1e-9, 1e-6]), lambda gy, x: gy * (x > 1)),
    "teeth": of(lambda x: x % 1e-6, X, lambda gy, x: gy * 1.0),
    "scales side by side": of(np.sin, [1e10, 1.0, 1e-10, 1e5], lambda gy, x: gy * np.cos(x)),
    "float32 inside": of(lambda x: np.sin(x.astype("f")).astype("d"), X, lambda gy, x: gy * np.cos(x)),
    "float32": of(np.sin, single(X * 1e6), lambda gy, x: gy * np.cos(x)),
    "apart at the point alone": of(lambda x: np.where(x == X, x * x * (1 + 1e-9), x * x), X, lambda gy, x: gy * 2 * x),
    "float32, an offset": of(lambda x: (x + single(1e4)) - single(1e4), single(X), lambda gy, x: gy * single(1)),
}
if np.finfo(np.longdouble).eps < np.finfo("float64").eps:  # in extended precision it is seen that this is rounding
    CASES["x + 1e15 - 1e15"] = of(lambda x: (x + 1e15) - 1e15, X, lambda gy, x: gy * 1.0)


@pytest.mark.parametrize("name", CASES)
def test_a_right_gradient_is_proven_or_limited_by_precision(name):
    f, x, vjp = CASES[name]
    report = gradcheck(f, x, vjp=vjp)
    assert report.verdict in (Verdict.PROVEN, Verdict.PRECISION), report


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("factor", [0.0, -1.0, 1.01])
def test_a_wrong_one_is_never_proven(name, factor):
    f, x, vjp = CASES[name]
    report = gradcheck(f, x, vjp=lambda gy, x: vjp(gy, x) * x.dtype.type(factor))
    assert report.verdict in (Verdict.WRONG, Verdict.PRECISION), report


@pytest.mark.parametrize("name", ["sin at 1e8", "sin(1e9 x)", "tanh(x - 1e9)", "a spike", "near a pole", "near a kink"])
def test_a_wrong_one_is_found_where_finer_steps_show_it(name):
    f, x, vjp = CASES[name]
    assert gradcheck(f, x, vjp=lambda gy, x: vjp(gy, x) * 1.01).verdict is Verdict.WRONG


def test_what_passes_elsewhere_is_found():
    for f, vjp in (
        (lambda x: 1e-12 * x**2, lambda gy, x: 1e-12 * gy * x),
        (lambda x: 3 * x, lambda gy, x: np.full_like(x, 3)),
        (np.exp, lambda gy, x: gy * np.exp(x) * (1 + 1e-7)),
        (np.exp, lambda gy, x: gy * np.exp(x) * np.where(abs(x) < 1e-9, 1.5, 1)),
    ):
        assert gradcheck(f, np.array([0.3, -1.2, 1e-12]), vjp=vjp).verdict is Verdict.WRONG
