"""The checker: right gradients are proven, each kind of wrong one gets its verdict, and bad input an error."""

import time
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import chalkgrad as cg
from chalkgrad.errors import UsageError
from chalkgrad.proof import GradientError, Verdict, assert_gradients, gradcheck

RNG = np.random.default_rng(0)
X = RNG.standard_normal((3, 4))
BIG = RNG.standard_normal(100_000)


def sine(gy, x):
    return gy * np.cos(x)


def wrong_at(index, factor):
    def vjp(gy, x):
        gradient = sine(gy, x)
        gradient[index] *= factor
        return gradient

    return vjp


def rectify(x):
    return np.maximum(x, 0)


RIGHT = {
    "sigmoid": (cg.sigmoid, (X,), {"order": 2}),
    "softmax in float32": (cg.softmax, (X.astype("float32"),), {"order": 2}),
    "a function of two": (lambda a, b: (a @ b).tanh(), (X, X.T.copy()), {"order": 2}),
    "numpy with vjp": (np.sin, (X,), {"vjp": sine}),
    "numpy with gradient": (lambda x: (x**2).sum(), (X,), {"gradient": lambda x: 2 * x}),
    "a pair": ((np.sin, sine), (X,), {}),
    "an argument without gradient": (lambda a, b: a + 0 * b, (X, X), {"vjp": lambda gy, a, b: (gy, None)}),
    "large": (np.sin, (BIG,), {"vjp": sine}),
    "ill-scaled": (np.log, (np.array([1e-6, 1.0, 1e6]),), {"vjp": lambda gy, x: gy / x}),
    "huge and tiny": (np.exp, (np.array([700.0, -700.0, 1.0]),), {"vjp": lambda gy, x: gy * np.exp(x)}),
    "a number": (cg.exp, (0.5,), {}),
    "nothing": (cg.exp, (np.zeros((0, 3)),), {"order": 2}),
    "float32": (np.sin, (X.astype("float32"),), {"vjp": sine}),
    "columns": (cg.exp, (np.asfortranarray(X),), {}),
    "read-only": (cg.exp, (np.broadcast_to(1.5, (2, 3)),), {}),
}


@pytest.mark.parametrize("name", RIGHT)
def test_right_gradients_are_proven(name):
    f, inputs, options = RIGHT[name]
    report = gradcheck(f, *inputs, **options)
    assert report.proven, report
    assert report
    assert report.dtype == str(np.asarray(inputs[0]).dtype)


def changes_input(gy, x):
    result = sine(gy, x)
    x += 1
    return result


def changes_gy(gy, x):
    result = sine(gy, x)
    gy *= 2
    return result


SINGLE = np.sin, X.astype("float32")
WRONG = {
    "zero": (np.sin, X, lambda gy, x: 0 * x, Verdict.WRONG),
    "negated": (np.sin, X, lambda gy, x: -sine(gy, x), Verdict.WRONG),
    "off by 1e-4": (np.sin, X, lambda gy, x: sine(gy, x) * (1 + 1e-4), Verdict.WRONG),
    "off by 1e-4 in float32": (*SINGLE, lambda gy, x: sine(gy, x) * np.float32(1.0001), Verdict.WRONG),
    "float32 computed badly": (
        *SINGLE, lambda gy, x: gy * (np.cos(x) + x.dtype.type(1e4) - x.dtype.type(1e4)), Verdict.WRONG,
    ),
    "one of many": (np.sin, BIG, wrong_at(77_777, 1.001), Verdict.WRONG),
    "for all ones only": (np.sin, X, lambda gy, x: gy.mean() * np.cos(x), Verdict.WRONG),
    "not linear": (np.sin, X, lambda gy, x: gy * np.abs(gy) * np.cos(x), Verdict.WRONG),
    "a small one beside a huge one": (
        np.exp, np.array([700.0, -700.0]), lambda gy, x: gy * np.exp(x) * np.array([1, 1.01]), Verdict.WRONG,
    ),
    "kink outside": (rectify, np.array([-1.0, 0, 2]), lambda gy, x: gy * np.where(x == 0, 2.0, x > 0), Verdict.WRONG),
    "kink hides nothing": (rectify, np.array([-1.0, 0, 2]), lambda gy, x: gy * (x > 0) * 1.01, Verdict.WRONG),
    "kink": (rectify, np.array([-1.0, 0, 2]), lambda gy, x: gy * (x > 0), Verdict.KINK),
    "random value": (lambda x: x * RNG.random(), X, lambda gy, x: gy, Verdict.RANDOM),
    "random gradient": (np.sin, X, lambda gy, x: sine(gy, x) * (1 + 1e-6 * RNG.random()), Verdict.RANDOM),
    "changes its input": (np.sin, X, changes_input, Verdict.MUTATES),
    "changes gy": (np.sin, X, changes_gy, Verdict.MUTATES),
    "wrong shape": (np.sin, X, lambda gy, x: sine(gy, x)[0], Verdict.SHAPE),
    "wrong dtype": (np.sin, X.astype("float32"), lambda gy, x: sine(gy, x).astype("float64"), Verdict.SHAPE),
    "infinite value": (np.log, np.array([0.0, 1.0]), lambda gy, x: gy / x, Verdict.NOT_FINITE),
    "nan gradient": (np.sqrt, np.array([1.0, 2.0]), lambda gy, x: gy * np.nan, Verdict.NOT_FINITE),
    "rounded inside": (lambda x: np.sin(x.astype("float32")), X, sine, Verdict.PRECISION),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_each_fault_gets_its_verdict(name):
    f, x, vjp, verdict = WRONG[name]
    report = gradcheck(f, x.copy(), vjp=vjp)
    assert report.verdict is verdict, report
    assert not report


def test_a_function_that_takes_too_long_is_undecided():
    started = time.perf_counter()
    report = gradcheck(lambda x: time.sleep(5) or x, X, vjp=lambda gy, x: gy, max_seconds=0.2)
    assert report.verdict is Verdict.UNDECIDED
    assert time.perf_counter() - started < 2


def test_the_worst_element_is_found_and_told():
    report = gradcheck(np.sin, BIG, vjp=wrong_at(77_777, 1.001), name="sine")
    assert report.worst.index == (77_777,)
    assert report.worst.argument == 0
    assert report.worst.relative == pytest.approx(1e-3, rel=1e-3)
    assert "argument 0 at [77777]" in str(report)
    assert report.curve
    assert report.evaluations < 2000


def test_kinks_are_listed_with_their_one_sided_derivatives():
    x = np.array([-1.0, 0.0, 2.0, 0.0])
    report = gradcheck(rectify, x, vjp=lambda gy, x: gy * np.where(x == 0, 0.3, x > 0))
    assert [kink.index for kink in report.kinks] == [(1,), (3,)]
    for kink in report.kinks:
        assert min(kink.one_sided) <= kink.analytic <= max(kink.one_sided)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_single_number_on_a_kink(dtype):
    report = gradcheck(cg.relu, np.array(0.0, dtype))
    assert report.verdict is Verdict.KINK
    assert [kink.index for kink in report.kinks] == [()]


def test_a_wrong_second_derivative_is_found():
    def leaky(x):
        return cg.where(x.detach() > 0, x, x)  # right in value and slope

    assert gradcheck(leaky, X, order=2).proven

    @cg.primitive("y = x**3", saves=("x",))
    def cube_cut_off(xp, x):
        return x**3

    @cube_cut_off.vjp("x", "gx = gy * 3 * x**2")
    def _(xp, gy, x):
        return gy * (3 * x.detach() * x) if isinstance(x, cg.Tensor) else gy * (3 * x * x)

    try:
        assert gradcheck(cube_cut_off, X).verdict in (Verdict.PROVEN, Verdict.WRONG)
        assert gradcheck(cube_cut_off, X, order=2).verdict is Verdict.WRONG
    finally:
        del cg.registry["cube_cut_off"]


def test_a_gradient_whose_sum_cancels_is_still_deterministic_at_second_order():
    x = np.array([-1.4804815, -0.5568169, -0.9517945], dtype="float32")
    assert gradcheck(cg.sigmoid, x, seed=3, order=2, samples=1).proven  # arrays and the tape round differently


def test_a_rule_that_gives_another_value_when_it_is_recorded_itself_is_found(declare):
    @declare("y = x**3", saves=("x",))
    def cube_apart(xp, x):
        return x**3

    @cube_apart.vjp("x", "gx = gy * 3 * x**2")
    def _(xp, gy, x):
        return gy * 3 * x * x if xp is np else gy * 3 * x * x + 1e-6

    assert gradcheck(cube_apart, X).proven
    assert not gradcheck(cube_apart, X, order=2).proven


def test_assert_gradients_raises_with_the_report():
    with pytest.raises(GradientError, match=r"(?s)sine: WRONG.*argument 0.*h = 1e-20") as error:
        assert_gradients(np.sin, X, vjp=lambda gy, x: -sine(gy, x), name="sine")
    assert error.value.report.verdict is Verdict.WRONG
    assert isinstance(error.value, AssertionError)
    assert assert_gradients(np.sin, X, vjp=sine).proven


def test_a_seed_gives_one_report():
    first, second = (gradcheck(np.sin, X, vjp=wrong_at((1, 2), 1.1), seed=5) for _ in range(2))
    assert first.worst == second.worst


def test_proofs_in_several_threads_say_what_they_say_alone():
    def proof(seed):
        report = gradcheck(np.sin, X, vjp=wrong_at((1, 2), 1.1) if seed % 2 else sine, seed=seed)
        return {**report.to_dict(), "seconds": 0}

    filters = list(warnings.filters)
    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(proof, range(6))) == [proof(seed) for seed in range(6)]
    assert warnings.filters == filters


@pytest.mark.parametrize(
    ("f", "inputs", "options", "named"),
    [
        (lambda x: None, (X,), {}, "returned nothing"),
        (lambda x: (x, x), (X,), {}, "returned 2 values"),
        (lambda x: x.numpy(), (X,), {}, "computes with NumPy.*none is given.*returned ndarray.*Give one: vjp="),
        (lambda x: np.i0(x), (X,), {}, "computes with NumPy.*returned ndarray.*vjp=.*gradient=.*on tensors"),
        (lambda x: np.i0(x) * x, (X,), {}, "computes with NumPy.*numpy.i0 knows of no gradient.*vjp="),
        (lambda x: x.view() * 2, (X,), {}, "computes with NumPy.*AttributeError.*view.*vjp="),
        (lambda x: float(np.linalg.norm(x)), (X,), {}, "computes with NumPy.*returned float.*vjp="),
        (lambda x: "text", (X,), {"vjp": sine}, "returned str"),
        (lambda x: 1, (X,), {"vjp": sine}, "returned int"),
        (lambda x: x > 0, (X,), {"vjp": sine}, "returned dtype bool"),
        (lambda x: x > 0, (X,), {}, "returned dtype bool"),
        (lambda x: x * 1j, (X,), {"vjp": sine}, "returned dtype complex128"),
        (cg.exp, (np.array([1, 2]),), {}, "argument 0 has dtype int64"),
        (cg.exp, (X * 1j,), {}, "argument 0 holds complex128"),
        (cg.exp, (X.astype("float16"),), {}, "argument 0 has dtype float16"),
        (np.add, (X, X), {"vjp": lambda gy, a, b: gy}, "returned 1 arrays for 2 arguments"),
        (np.sin, (X,), {"gradient": np.cos}, "whose value is one number"),
        (np.sin, (X,), {"gradient": np.cos, "vjp": sine}, "at most one of"),
        ("sin", (X,), {}, "takes a function"),
    ],
)
def test_what_cannot_be_checked_is_an_error(f, inputs, options, named):
    with pytest.raises(UsageError, match=named):
        gradcheck(f, *inputs, **options)


def test_an_error_of_the_function_itself_comes_through():
    def broken(x):
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        gradcheck(broken, X)


def test_a_function_of_numpy_as_it_stands():
    def ripple(x):
        radius = np.hypot(x, np.roll(x, 1))
        return np.sum(np.sinc(radius) * np.linspace(0, 1, x.size))

    assert gradcheck(ripple, X[0], order=2).proven
