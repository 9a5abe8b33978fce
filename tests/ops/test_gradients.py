"""Every primitive's rules against numbers, in float64, with random cotangents and directions."""

import numpy as np
import pytest
from sampling import CASES, NAMES, draw

import chalkgrad as cg

DIFFERENTIABLE = [pytest.param(p, e, id=name) for (p, e), name in zip(CASES, NAMES, strict=True) if p.differentiable]
ANALYTIC = [case for case in DIFFERENTIABLE if case.values[0].analytic]


def ruled(primitive, operands):
    return [i for i in range(len(operands)) if primitive.operand(i) in primitive.rules]


def directional(f, xs, vs, step=1e-3):
    """d/dt f(x + t v) at 0 by Richardson-extrapolated central differences (error of order step⁶)."""

    def central(h):
        forward, back = (f(*(x + s * h * v for x, v in zip(xs, vs, strict=True))) for s in (1, -1))
        return (forward - back) / (2 * h)

    d = [central(step / 2**k) for k in range(3)]
    d = [(4 * d[k + 1] - d[k]) / 3 for k in range(2)]
    return (16 * d[1] - d[0]) / 15


def close(a, b, tolerance):
    np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(("primitive", "example"), DIFFERENTIABLE)
def test_rules_agree_with_differences(primitive, example):
    operands = draw(primitive, example)
    rng = np.random.default_rng(1)
    for i in ruled(primitive, operands):

        def f(x, i=i):
            return primitive.kernel(np, *operands[:i], x, *operands[i + 1 :], **example.parameters)

        gy, v = rng.standard_normal(np.shape(f(operands[i]))), rng.standard_normal(operands[i].shape)
        tensors = [cg.tensor(x, requires_grad=n == i) for n, x in enumerate(operands)]
        y = primitive.compute(tuple(tensors), example.parameters)
        y.backward(gy)
        close(np.vdot(tensors[i].grad, v), np.vdot(gy, directional(f, [operands[i]], [v])), 1e-8)


@pytest.mark.parametrize(("primitive", "example"), ANALYTIC)
def test_rules_agree_with_the_complex_step(primitive, example):
    operands = draw(primitive, example)
    rng = np.random.default_rng(2)
    for i in ruled(primitive, operands):
        v = rng.standard_normal(operands[i].shape)
        shifted = [x + 1e-20j * v if n == i else x for n, x in enumerate(operands)]
        slope = np.imag(primitive.kernel(np, *shifted, **example.parameters)) / 1e-20
        gy = rng.standard_normal(slope.shape)
        tensors = [cg.tensor(x, requires_grad=n == i) for n, x in enumerate(operands)]
        primitive.compute(tuple(tensors), example.parameters).backward(gy)
        close(np.vdot(tensors[i].grad, v), np.vdot(gy, slope), 1e-12)


@pytest.mark.parametrize(("primitive", "example"), DIFFERENTIABLE)
def test_second_derivatives_agree_with_differences(primitive, example):
    """The rules' own arithmetic is recorded: differentiate ⟨gradient, w⟩ along v, in operands and cotangent."""
    operands = draw(primitive, example)
    rng = np.random.default_rng(3)
    places = ruled(primitive, operands)
    gy = np.asarray(rng.standard_normal(np.shape(primitive.kernel(np, *operands, **example.parameters))))
    ws = [rng.standard_normal(operands[i].shape) for i in places]

    def slope(seed, *values):
        def f(*xs):
            full = [xs[places.index(n)] if n in places else x for n, x in enumerate(operands)]
            return primitive.compute(tuple(full), example.parameters)

        _, pull = cg.vjp(f, *values)
        return sum(((g * w).sum() for g, w in zip(pull(seed), ws, strict=True)), start=cg.tensor(0.0, dtype="float64"))

    xs = [gy, *(operands[i] for i in places)]
    vs = [np.asarray(rng.standard_normal(x.shape)) for x in xs]
    exact = cg.grad(slope, argnums=range(len(xs)))(*xs)
    numeric = directional(lambda *values: slope(*map(cg.tensor, values)).item(), xs, vs)
    close(sum(np.vdot(g, v) for g, v in zip(exact, vs, strict=True)), numeric, 1e-7)


@pytest.mark.parametrize(("primitive", "example"), DIFFERENTIABLE)
def test_float32_stays_float32(primitive, example):
    operands = [x.astype("float32") if x.dtype.kind == "f" else x for x in draw(primitive, example)]
    tensors = [cg.tensor(x, requires_grad=n in ruled(primitive, operands)) for n, x in enumerate(operands)]
    y = primitive.compute(tuple(tensors), example.parameters)
    if primitive.name != "astype":
        assert y.dtype == "float32"
    y.backward(np.ones(y.shape))
    assert all(x.grad.dtype == "float32" for x in tensors if x.requires_grad)


@pytest.mark.parametrize("number", [2, 0.5, 0, True])
@pytest.mark.parametrize("name", ["add", "subtract", "multiply", "divide", "power", "maximum", "minimum"])
def test_a_python_number_takes_the_dtype_of_the_tensor(name, number):
    for exchanged in (False, True):
        if name == "divide" and not number:
            continue
        x = cg.tensor([0.5, 1.5], requires_grad=True)
        f = cg.registry[name]
        (f(number, x) if exchanged and number else f(x, number)).sum().backward()
        assert x.grad.dtype == "float32"


def test_a_constant_array_may_change_after_it_was_used():
    constant = np.array([2.0, 3.0])
    x = cg.tensor(np.array([1.0, 1.0]), requires_grad=True)
    y = (x * constant).sum()
    constant[:] = 100
    y.backward()
    np.testing.assert_array_equal(x.grad, [2.0, 3.0])
