"""What a newcomer declares, each in one place and in ten lines: proven to both orders, captured, explained."""

import numpy as np
import pytest

import chalkgrad as cg
from chalkgrad import proof
from chalkgrad.engine.primitive import example

pytestmark = pytest.mark.gpu
X = np.array([[0.5, -1.5, 2.0], [3.0, 0.25, -0.75]])


def squash(primitive):
    @primitive("y = x / sqrt(1 + x**2)", saves=("x",), method=True)
    def squash(x):
        """x, squashed into (-1, 1)."""

    squash.vjp("x", "gx = gy / (1 + x**2) / sqrt(1 + x**2)")
    return squash


def hinge(primitive):
    @primitive("y = max(0, margin - x)", saves=("x",), kink="margin - x")
    def hinge(x, margin=1.0):
        """How much x falls short of a margin."""

    hinge.vjp("x", "gx = -gy if x < margin else 0")
    return hinge


def running_sum(primitive):
    @primitive("y[..., j] = sum(x[..., k] if k <= j else 0, k)", examples=(example((5,)), example((3, 4), axis=0)))
    def running_sum(xp, x, axis=-1):
        """The sums of the first elements along an axis."""
        return xp.cumsum(x, axis=axis)

    @running_sum.vjp("x", "gx[..., j] = sum(gy[..., k] if k >= j else 0, k)")
    def _(xp, gy, axis):
        return xp.flip(xp.cumsum(xp.flip(gy, axis), axis=axis), axis)

    return running_sum


def running_sum_of_the_text(primitive):
    @primitive("y[..., j] = sum(x[..., k] if k <= j else 0, k)", examples=(example((5,)), example((3, 4), axis=0)))
    def running_sum_of_the_text(x, axis=-1):
        """The sums of the first elements along an axis."""

    running_sum_of_the_text.vjp("x", "gx[..., j] = sum(gy[..., k] if k >= j else 0, k)")
    return running_sum_of_the_text


def product_over(primitive):
    @primitive("y[...] = product(x[..., j], j)", saves=("x",), examples=(example((3, 4)), example((2, 3, 2), axis=1)))
    def product_over(x, axis=-1, keepdims=False):
        """The product over an axis."""

    product_over.vjp("x", "gx[..., j] = gy[...] * product(x[..., k] if k != j else 1, k)")
    return product_over


def bilinear(primitive):
    @primitive("y[n] = sum(a[n, i] * w[i, j] * b[n, j], i, j)", saves=("a", "w", "b"),
               examples=(example((2, 3), (3, 4), (2, 4)),))  # fmt: skip
    def bilinear(a, w, b):
        """a W b for each row."""

    bilinear.vjp("a", "ga[n, i] = sum(gy[n] * w[i, j] * b[n, j], j)")
    bilinear.vjp("w", "gw[i, j] = sum(gy[n] * a[n, i] * b[n, j], n)")
    bilinear.vjp("b", "gb[n, j] = sum(gy[n] * a[n, i] * w[i, j], i)")
    return bilinear


DECLARED = {
    squash: ((X,), lambda x: x / np.sqrt(1 + x * x)),
    hinge: ((X,), lambda x: np.maximum(0, 1 - x)),
    running_sum: ((X,), lambda x: np.cumsum(x, -1)),
    running_sum_of_the_text: ((X,), lambda x: np.cumsum(x, -1)),
    product_over: ((X,), lambda x: np.prod(x, -1)),
    bilinear: ((X, X.T @ X, X), lambda a, w, b: np.einsum("ni,ij,nj->n", a, w, b)),
}
CASES = [pytest.param(make, *case, id=make.__name__) for make, case in DECLARED.items()]


@pytest.mark.parametrize(("make", "inputs", "expected"), CASES)
def test_it_computes_everywhere_captured_too(declare, make, inputs, expected, device):
    made = make(declare)
    captured = cg.capture(lambda *xs: made(*xs).sum())
    for n in range(3):
        xs = [cg.tensor(x + n, requires_grad=True, device=device) for x in inputs]
        y = made(*xs)
        np.testing.assert_allclose(y.numpy(), expected(*(x + n for x in inputs)), rtol=1e-12)
        assert captured(*xs).item() == pytest.approx(y.sum().item(), rel=1e-12)
        y.sum().backward()
        assert [x.grad.shape for x in xs] == [x.shape for x in xs]


@pytest.mark.cpu_only("proofs compute on the CPU")
@pytest.mark.parametrize("make", DECLARED, ids=lambda make: make.__name__)
def test_it_is_proven_to_both_orders(declare, make):
    reports = list(proof.prove([make(declare).name]))
    assert reports
    assert {str(report.verdict) for report in reports} == {"proven"}


@pytest.mark.cpu_only("explanations are words")
@pytest.mark.parametrize(("make", "inputs", "expected"), CASES)
def test_it_is_explained(declare, make, inputs, expected):
    made = make(declare)
    explained = cg.explain(lambda *xs: made(*xs).sum(), *inputs)
    assert any(made.name in str(step.primitive) for step in explained.forward)


@pytest.mark.cpu_only("a mistake in the text")
def test_a_wrong_rule_of_the_text_is_found(declare):
    @declare("y = x**3", saves=("x",))
    def third(x):
        """x³."""

    third.vjp("x", "gx = gy * 3 * x")
    assert "wrong" in {str(report.verdict) for report in proof.prove(["third"])}
