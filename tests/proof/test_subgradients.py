"""On a kink: subgradients pass as such, and what is none is wrong, also where it passes element by element."""

import numpy as np
import pytest

import chalkgrad as cg
from chalkgrad.errors import UsageError
from chalkgrad.proof import Verdict, assert_gradients, gradcheck


def at_largest(share):
    """A rule of the maximum that gives this share to each of the largest: a number, or one for each of them."""

    def vjp(gy, x):
        gradient, largest = np.zeros_like(x), x == x.max()
        gradient[largest] = share if largest.sum() > 1 else 1
        return gy * gradient

    return vjp


def pooled(x):
    return x.reshape(-1, 2).max(axis=1)


def pooled_rule(share):
    def vjp(gy, x):
        rows = x.reshape(-1, 2)
        return (gy[:, None] * (rows == rows.max(1, keepdims=True)) * np.array(share)).reshape(x.shape)

    return vjp


def both(left, right):
    return lambda gy, a, b: (gy * np.where(a > b, 1.0, left * (a == b)), gy * np.where(b > a, 1.0, right * (a == b)))


def of_median(gy, x):
    gradient = np.zeros_like(x)
    gradient[np.argsort(x)[1]] = gy
    return gradient


def sorting_rule(gy, x):
    gradient = np.zeros_like(x)
    gradient[np.argsort(x, kind="stable")] = gy
    return gradient


TIE = np.array([2.0, 5.0, 5.0, -1.0])
EQUAL = np.array([1.0, 2.0]), np.array([1.0, 3.0])
AT_ZERO = np.array([0.0, 0.0, 1.5])
PAIRS = np.array([1.0, 1.0, 3.0, 3.0, 2.0, 4.0])


def length(x):
    return np.sqrt((x * x).sum())


def steeper(x):
    return np.maximum(2 * x[0], x[1])


SUBGRADIENTS = {
    "max, the first": (np.max, [TIE], at_largest([1, 0])),
    "max, equal shares": (np.max, [TIE], at_largest(0.5)),
    "max, other shares": (np.max, [TIE], at_largest([0.2, 0.8])),
    "min": (np.min, [-TIE], lambda gy, x: at_largest(0.5)(gy, -x)),
    "maximum": (np.maximum, EQUAL, both(1.0, 0.0)),
    "maximum, halves": (np.maximum, EQUAL, both(0.5, 0.5)),
    "pooling": (pooled, [PAIRS], lambda gy, x: pooled_rule([[1, 0]] * 2 + [[1, 1]])(gy, x)),
    "relu": (lambda x: np.maximum(x, 0), [AT_ZERO], lambda gy, x: gy * (x > 0)),
    "relu and its mirror, one beside the other": (
        lambda x: np.concatenate([np.maximum(x, 0), np.maximum(-x, 0)]),
        [AT_ZERO],
        lambda gy, x: gy[:3] * (x > 0) - gy[3:] * (x < 0),
    ),
    "a sum of relus of either sign": (
        lambda x: (np.maximum(x, 0) * [1, -1, 2]).sum(), [AT_ZERO], lambda gy, x: gy * (x > 0) * [1, -1, 2],
    ),
    "abs": (np.abs, [AT_ZERO], lambda gy, x: gy * np.sign(x)),
    "a distance": (lambda a, b: np.abs(a - b), EQUAL, lambda gy, a, b: (gy * np.sign(a - b), -gy * np.sign(a - b))),
    "a length": (length, [np.zeros(2)], lambda gy, x: 0 * x),
    "clip at its bound": (lambda x: np.clip(x, -1, 1), [np.array([1.0, -1.0])], lambda gy, x: gy * 1.0),
    "median": (np.median, [np.array([2.0, 2.0, 5.0])], of_median),
    "sort": (np.sort, [np.array([2.0, 1.0, 2.0])], sorting_rule),
    "of two scales": (steeper, [np.array([1.0, 2.0])], lambda gy, x: gy * np.array([2, 0])),
    "floor at a whole number": (np.floor, [np.array([2.0, 3.5])], lambda gy, x: 0 * gy),
}  # fmt: skip

NONE = {
    "max, all to each": (np.max, [TIE], at_largest(1)),
    "max, nothing": (np.max, [TIE], at_largest(0)),
    "max, shares of 0.9": (np.max, [TIE], at_largest([0.5, 0.4])),
    "max at zeros": (np.max, [np.zeros(2)], lambda gy, x: gy * (x == x.max())),
    "max in float32": (np.max, [TIE.astype("f")], lambda gy, x: gy * (x == x.max())),
    "min, all to each": (np.min, [-TIE], lambda gy, x: at_largest(1)(gy, -x)),
    "min, nothing": (np.min, [-TIE], lambda gy, x: at_largest(0)(gy, -x)),
    "maximum, to both": (np.maximum, EQUAL, both(1.0, 1.0)),
    "maximum, to neither": (np.maximum, EQUAL, both(0.0, 0.0)),
    "minimum, to both": (
        lambda a, b: -np.maximum(-a, -b), EQUAL, lambda gy, a, b: (gy * (a <= b), gy * (b <= a)),
    ),
    "pooling, to both": (pooled, [PAIRS], pooled_rule([1, 1])),
    "pooling, to both of one pair": (pooled, [PAIRS], pooled_rule([[0.5, 0.5], [1, 1], [1, 1]])),
    "abs of a difference, alike": (lambda a, b: np.abs(a - b), EQUAL, lambda gy, a, b: (gy * (a >= b), gy * (b >= a))),
    "a length, too long": (length, [np.zeros(2)], lambda gy, x: gy * np.array([0.9, -0.9])),
    "of two scales": (steeper, [np.array([1.0, 2.0])], lambda gy, x: gy * np.array([1, 1])),
    "relu outside": (lambda x: np.maximum(x, 0), [AT_ZERO], lambda gy, x: gy * np.where(x == 0, 1.2, x > 0)),
    "floor with a slope": (np.floor, [np.array([2.0, 3.5])], lambda gy, x: gy),
}  # fmt: skip


@pytest.mark.parametrize(("slope", "verdict"), [(0.0, Verdict.KINK), (1.2, Verdict.WRONG)])
def test_many_elements_on_kinks_are_told(slope, verdict):
    report = gradcheck(lambda x: np.maximum(x, 0), np.zeros(100), vjp=lambda gy, x: gy * slope, samples=1)
    assert report.verdict is verdict
    assert len(report.kinks) == (100 if verdict is Verdict.KINK else 0)


@pytest.mark.parametrize("name", SUBGRADIENTS)
@pytest.mark.parametrize("seed", [0, 1])
def test_a_subgradient_is_named_as_one(name, seed):
    f, xs, vjp = SUBGRADIENTS[name]
    report = gradcheck(f, *xs, vjp=vjp, seed=seed)
    assert report.verdict is Verdict.KINK, report


@pytest.mark.parametrize("name", SUBGRADIENTS)
def test_a_subgradient_is_accepted_where_kinks_are(name):
    f, xs, vjp = SUBGRADIENTS[name]
    report = gradcheck(f, *xs, vjp=vjp, kinks="accept")
    assert report, report
    assert (report.verdict, bool(report.kinks)) == (Verdict.KINK, True)
    assert "KINK, accepted" in str(report)
    assert not gradcheck(f, *xs, vjp=vjp)


@pytest.mark.parametrize("name", NONE)
def test_what_is_no_subgradient_is_not_accepted(name):
    f, xs, vjp = NONE[name]
    assert gradcheck(f, *xs, vjp=vjp, kinks="accept").verdict is Verdict.WRONG


def test_a_wrong_slope_beside_an_accepted_kink_is_wrong():
    report = gradcheck(SUBGRADIENTS["relu"][0], AT_ZERO, vjp=lambda gy, x: gy * 1.01 * (x > 0), kinks="accept")
    assert (report.verdict, report.worst.index) == (Verdict.WRONG, (2,))
    assert "kinks='accept'" in report.reproduce


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_kinks_of_our_functions_are_accepted(order, dtype):
    x = AT_ZERO.astype(dtype)
    assert assert_gradients(lambda x: cg.relu(x) * x.sum(), x, order=order, kinks="accept").verdict is Verdict.KINK
    assert assert_gradients(cg.exp, x, order=order, kinks="accept").verdict is Verdict.PROVEN


def test_ways_with_kinks_are_two():
    with pytest.raises(UsageError, match='kinks=True: it is "report", or "accept"'):
        gradcheck(cg.relu, AT_ZERO, kinks=True)


@pytest.mark.parametrize("name", NONE)
@pytest.mark.parametrize("seed", [0, 1])
def test_what_is_no_subgradient_is_wrong(name, seed):
    f, xs, vjp = NONE[name]
    report = gradcheck(f, *xs, vjp=vjp, seed=seed)
    assert report.verdict is Verdict.WRONG, report
    assert report.worst


@pytest.mark.parametrize(
    ("name", "operands", "parameters"),
    [
        ("max", (np.array([[1.0, 1.0], [2.0, 3.0]]),), {"axis": 1}),
        ("maximum", EQUAL, {}),
        ("minimum", EQUAL, {}),
        ("relu", (AT_ZERO,), {}),
        ("abs", (AT_ZERO,), {}),
        ("clip", (np.array([1.0, -1.0]),), {"min": -1.0, "max": 1.0}),
    ],
)
def test_ours_are_subgradients(name, operands, parameters):
    if name in cg.registry:
        report = gradcheck(lambda *xs: cg.registry[name].compute(xs, parameters), *operands)
        assert report.verdict is Verdict.KINK, report
