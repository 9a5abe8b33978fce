"""Array code that is made from an equation: what it looks like, and what it needs a body for."""

import numpy as np
import pytest

import chalkgrad as cg
from chalkgrad.engine.rule import meaning
from chalkgrad.equation.code import array_code, single_call
from chalkgrad.equation.language import read_equation
from chalkgrad.errors import EquationError


def code(text, arrays=("x",), others=(), **options):
    equation = read_equation(text, (*arrays, *others))
    signature = ", ".join((*arrays, *others))
    return array_code(equation, "made", arrays=arrays, others=others, signature=signature, functions=meaning, **options)


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("y = 1 / (1 + exp(-x))", "1 / (1 + xp.exp(-x))"),
        ("y = x**2 + sqrt(2) * x**3", "xp.square(x) + 1.4142135623730951 * x ** 3"),
        ("y = x if x > 0 else 0", "xp.where(x > 0, x, 0)"),
        ("y = x * (1 if x > 0 else 0)", "x * xp.where(x > 0, 1, 0).astype(x.dtype)"),
        ("y = max(x, 0) if x < 1 and not x < 0 else 2",
         "xp.where(xp.logical_and(x < 1, xp.logical_not(x < 0)), xp.maximum(x, 0), 2)"),
        ("y = clip(x, 0, pi)", "xp.clip(x, 0, 3.141592653589793)"),
        ("y = erf(x) / x.size", "erf_of(xp, x) / math.prod(x.shape)"),
        ("y = 3", "xp.full_like(x, 3)"),
        ("y[...] = sum(x[..., j], j)", "xp.squeeze(xp.sum(x, axis=-1, keepdims=True), -1)"),
        ("loss = mean(x[n]**2, n)", "xp.mean(xp.square(x), axis=None, keepdims=False)"),
    ],
)  # fmt: skip
def test_the_code_reads_as_the_equation(text, source):
    made = code(text)
    if text.startswith("y[...]"):
        source = "xp.sum(x, axis=-1, keepdims=False)"
    assert made.source == f"def made(xp, x):\n    return {source}"


CASES = [
    ("y[..., j] = x[..., j] - mean(x[..., k], k)", lambda x: x - x.mean(-1, keepdims=True)),
    ("m[...] = max(x[..., k], k); y[..., j] = exp(x[..., j] - m[...])", lambda x: np.exp(x - x.max(-1, keepdims=True))),
    ("y[i, j] = x[j, i]", np.transpose),
    ("y[i] = sum(x[i, j] * x[i, j], j)", lambda x: (x * x).sum(1)),
    ("y[i, k] = sum(x[i, j] * x[k, j], j)", lambda x: x @ x.T),
    ("y[j] = product(x[i, j] + i, i)", lambda x: (x + np.arange(2)[:, None]).prod(0)),
    ("y[i, j] = x[i, j] if i == j else -1", lambda x: np.where(np.eye(2, 3) == 1, x, -1)),
    ("y[..., i] = sum(x[..., i, j] / (1 + j), j) / sum(1, j)", lambda x: (x / np.arange(1, 4)).sum(1) / 3),
]


@pytest.mark.parametrize(("text", "expected"), CASES)
def test_indices(text, expected):
    x = np.random.default_rng(0).standard_normal((2, 3))
    np.testing.assert_allclose(code(text)(np, x), expected(x), rtol=1e-14)


@pytest.mark.parametrize(
    "text",
    ["y[i] = x[i + 1]", "y[i] = sum(x[i, *(j * 2)], *j)", "y.flat[i] = x.flat[i]",
     "y[i] = x[x[i]]", "y[i, i] = x[i]"],
)  # fmt: skip
def test_what_does_not_say_all_needs_a_body(text):
    with pytest.raises(EquationError, match="body"):
        code(text)


@pytest.mark.parametrize(
    ("text", "name"),
    [("y = a + b", "add"), ("y = max(a, b)", "maximum"), ("y = a <= b", "less_equal"), ("y = b - a", None),
     ("y = a + 2 * b", None)],
)  # fmt: skip
def test_a_single_call_is_known(text, name):
    assert single_call(read_equation(text, "ab"), ("a", "b")) == name


def test_a_traceback_shows_where_it_was_declared():
    kernel = cg.sin.kernel
    assert kernel.__code__.co_filename.endswith("elementary.py")
    assert kernel.source == "def sin(xp, x):\n    return xp.sin(x)"
    assert (kernel.__module__, kernel.__doc__) == (cg.sin.__module__, cg.sin.__doc__)


def test_an_index_that_runs_over_nothing_is_told():
    equation = read_equation("y = a < x[x]", ["a"])
    with pytest.raises(EquationError, match="nothing tells what the index x runs over"):
        array_code(equation, "made", arrays=["a"], others=[], signature="a", functions=None)
