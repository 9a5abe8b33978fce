"""Functions of functions: grad, vjp, jvp, jacobian, hessian, to any order and inside one another."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import chalkgrad as cg
from chalkgrad.errors import DtypeError, ShapeError, UsageError


def draw(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).standard_normal(shape)


def close(actual, expected, tolerance=1e-12):
    np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance)


def central(f, x, v, step=1e-3):
    """d/dt f(x + t v) at 0, with an error of order step⁴."""
    d = [(f(x + h * v) - f(x - h * v)) / (2 * h) for h in (step, step / 2)]
    return (4 * d[1] - d[0]) / 3


def network(x, w, b):
    """A small smooth network with two outputs a row, and an axis that is broadcast."""
    hidden = (x @ w + b).tanh()
    return cg.softmax(hidden * x.sum(axis=-1, keepdims=True)) @ cg.tensor(draw(4, 2, seed=9))


NETWORK = (draw(3, 2), draw(2, 4), draw(4))


# grad and value_and_grad


def test_gradient_of_one_argument():
    x = draw(2, 3)
    close(cg.grad(lambda x: (x**3 + x.exp()).sum())(x), 3 * x**2 + np.exp(x))


def test_value_and_gradient():
    y, gradient = cg.value_and_grad(lambda x: (x * x).sum())(np.array([1.0, 2.0]))
    assert y.item() == 5
    assert not y.requires_grad
    assert gradient.tolist() == [2, 4]


@pytest.mark.parametrize(("argnums", "expected"), [(0, 12), (1, 8), (-1, 6), (-3, 12)])
def test_argument_by_number(argnums, expected):
    assert cg.grad(lambda a, b, c: a * b * c, argnums)(2.0, 3.0, 4.0 * np.float64(1)).item() == expected


@pytest.mark.parametrize(
    ("argnums", "expected"), [((0,), [12]), ((2, 0), [6, 12]), ([1, -1], [8, 6]), (range(3), [12, 8, 6])]
)
def test_arguments_by_a_sequence_give_a_tuple(argnums, expected):
    gradients = cg.grad(lambda a, b, c: a * b * c, argnums)(2.0, 3.0, 4.0)
    assert type(gradients) is tuple
    assert [g.item() for g in gradients] == expected


@pytest.mark.parametrize("argnums", [2, -3, (0, 5)])
def test_an_argument_that_is_not_there(argnums):
    with pytest.raises(UsageError, match=r"names an argument that is not there: 2 were given"):
        cg.grad(lambda a, b: a * b, argnums)(1.0, 2.0)
    if isinstance(argnums, int):
        with pytest.raises(UsageError, match=f"argnums={argnums} names an argument that is not there: 2 were given"):
            cg.jacobian(lambda a, b: a * b, argnums)(1.0, 2.0)


def test_the_other_arguments_may_be_anything():
    def f(x, labels, power=1):
        assert labels == ["a"]
        return (x**power).sum()

    close(cg.grad(f)(np.array([2.0, 3.0]), ["a"], power=3), [12, 27])


def test_an_argument_that_is_not_used_has_a_gradient_of_zeros():
    ga, gb = cg.grad(lambda a, b: (a * a).sum(), argnums=(0, 1))(draw(2), draw(3, 4))
    assert gb.shape == (3, 4)
    assert gb.dtype == "float64"
    assert not gb.numpy().any()
    assert ga.numpy().all()


@pytest.mark.parametrize(
    "f",
    [lambda x: cg.tensor(3.0), lambda x: (x > 0).sum(), lambda x: x.detach().sum(), lambda x: x.argmax()],
    ids=["constant", "comparison", "detached", "argmax"],
)
def test_a_value_that_does_not_depend_on_the_argument(f):
    assert cg.grad(f)(np.ones(2)).tolist() == [0, 0]


def test_the_argument_itself():
    assert cg.grad(lambda x: x)(2.0).item() == 1
    assert cg.jacobian(lambda x: x)(np.ones(2)).tolist() == [[1, 0], [0, 1]]
    assert cg.grad(lambda x, y: y, argnums=1)(1.0, 2.0).item() == 1


def test_several_numbers_have_no_gradient():
    for function in (cg.grad, cg.hessian):
        with pytest.raises(ShapeError, match=r"one number; this one has shape \(2,\).*vjp, jacobian"):
            function(lambda x: x * 2)(np.ones(2))


@pytest.mark.parametrize("result", [None, 1.0, (1, 2), np.ones(2)], ids=repr)
def test_a_function_that_returns_no_tensor(result):
    for function in (cg.grad, cg.vjp, cg.jacobian):
        with pytest.raises(UsageError, match=f"returned {type(result).__name__}, not a tensor"):
            cg.vjp(lambda x: result, 1.0) if function is cg.vjp else function(lambda x: result)(1.0)


def test_an_integer_has_no_gradient():
    with pytest.raises(DtypeError, match=r"int64 cannot require a gradient.*1\.0, not 1"):
        cg.grad(lambda x: x * x)(2)


def test_what_is_differentiated_is_left_as_it_was():
    x = cg.tensor([1.0, 2.0], requires_grad=True)
    plain = cg.tensor([1.0, 2.0])
    cg.grad(lambda a, b: (a * b).sum(), argnums=(0, 1))(x, plain)
    assert x.grad is plain.grad is None
    assert not plain.requires_grad
    assert plain.is_leaf


def test_gradients_have_the_dtype_of_their_arguments():
    ga, gb = cg.grad(lambda a, b: (a * b).sum(), argnums=(0, 1))(np.ones(2, "float32"), np.ones(2))
    assert (ga.dtype, gb.dtype) == ("float32", "float64")


# vjp and jvp


def test_a_pullback_serves_several_times():
    x, w = draw(2, 3), draw(3, 2)
    y, pull = cg.vjp(lambda x, w: x @ w, x, w)
    close(y, x @ w)
    for seed in (1, 2):
        gy = draw(2, 2, seed=seed)
        gx, gw = pull(gy)
        close(gx, gy @ w.T)
        close(gw, x.T @ gy)


def test_a_cotangent_of_another_shape():
    _, pull = cg.vjp(lambda x: x * 2, np.ones(2))
    with pytest.raises(ShapeError, match=r"value of shape \(2,\) got shape \(3,\)"):
        pull(np.ones(3))


@pytest.mark.parametrize("n", [0, 1, 2])
def test_jvp_agrees_with_differences(n):
    vs = [draw(*x.shape, seed=5) if i == n else np.zeros(x.shape) for i, x in enumerate(NETWORK)]
    y, forward = cg.jvp(network, NETWORK, vs)
    close(y, network(*map(cg.tensor, NETWORK)))
    arguments = list(map(cg.tensor, NETWORK))

    def f(x):
        return network(*arguments[:n], cg.tensor(x), *arguments[n + 1 :]).numpy()

    close(forward, central(f, NETWORK[n], vs[n]), 1e-9)


@given(st.integers(0, 999))
def test_forward_and_reverse_are_adjoint(seed):
    vs = [draw(*x.shape, seed=seed) for x in NETWORK]
    y, forward = cg.jvp(network, NETWORK, vs)
    u = draw(*y.shape, seed=seed + 1)
    _, pull = cg.vjp(network, *NETWORK)
    close(np.vdot(u, forward), sum(np.vdot(g, v) for g, v in zip(pull(u), vs, strict=True)))


def test_a_product_with_a_direction_requires_no_gradient():
    _, forward = cg.jvp(network, NETWORK, NETWORK)
    assert not forward.requires_grad
    w = cg.tensor(np.ones(2), requires_grad=True)
    _, forward = cg.jvp(lambda x: (x * x * w).sum(), [np.ones(2)], [np.ones(2)])
    forward.backward()
    assert w.grad.tolist() == [2, 2]


def test_jvp_of_a_constant_is_zero():
    y, forward = cg.jvp(lambda x: cg.tensor([1.0, 2.0]), [np.ones(3)], [np.ones(3)])
    assert y.tolist() == [1, 2]
    assert forward.tolist() == [0, 0]


def test_jvp_wants_one_direction_of_the_same_shape_for_each_argument():
    with pytest.raises(UsageError, match="2 arguments and 1 directions"):
        cg.jvp(lambda a, b: a * b, [1.0, 2.0], [1.0])
    with pytest.raises(ShapeError, match=r"argument of shape \(2,\) with a direction of shape \(1, 2\)"):
        cg.jvp(lambda a: a * 2, [np.ones(2)], [np.ones((1, 2))])


def test_jvp_is_differentiable():
    def slope(x):
        return cg.jvp(lambda x: x.sin(), [x], [cg.tensor(1.0, dtype="float64")])[1]

    close(slope(np.array(0.3)), np.cos(0.3))
    close(cg.grad(slope)(np.array(0.3)), -np.sin(0.3))


# jacobian and hessian


def test_jacobian_of_a_linear_map():
    a = draw(3, 2)
    close(cg.jacobian(lambda x: cg.tensor(a) @ x)(draw(2)), a)
    jacobian = cg.jacobian(lambda x, y: x * y, argnums=-1)(draw(2, 3), draw(3))
    assert jacobian.shape == (2, 3, 3)
    close(jacobian, np.einsum("ij,jk->ijk", draw(2, 3), np.eye(3)))


def test_jacobian_of_a_network_agrees_with_differences():
    jacobian = cg.jacobian(network, argnums=1)(*NETWORK)
    assert jacobian.shape == (3, 2, 2, 4)
    v = draw(2, 4, seed=3)
    slope = central(lambda w: network(cg.tensor(NETWORK[0]), cg.tensor(w), NETWORK[2]).numpy(), NETWORK[1], v)
    close(np.tensordot(jacobian, v, 2), slope, 1e-9)


@pytest.mark.parametrize("shape", [(0,), (2, 0)])
def test_jacobian_of_no_elements(shape):
    assert cg.jacobian(lambda x: x * 2)(np.zeros(shape)).shape == shape * 2


@pytest.mark.parametrize(
    ("f", "x"),
    [(lambda x: x.T * 2, draw(2, 3)), (cg.grad(lambda w: ((draw(4, 3) @ w.T) ** 3).sum()), draw(2, 3))],
    ids=["transposed", "weight"],
)
def test_jacobian_of_a_value_in_another_layout(f, x):
    v = draw(*x.shape, seed=4)
    slope = central(lambda x: f(cg.tensor(x)).numpy(), x, v)
    close(np.tensordot(cg.jacobian(f)(x), v, 2), slope, 1e-8)


def test_hessian_of_cubes():
    x = draw(4)
    close(cg.hessian(lambda x: (x**3).sum())(x), np.diag(6 * x))


def test_hessian_of_a_quadratic_form():
    a = draw(3, 3)
    close(cg.hessian(lambda x: x @ cg.tensor(a) @ x)(draw(3)), a + a.T)


@pytest.mark.parametrize("n", [0, 1, 2])
def test_hessian_of_a_network_is_symmetric(n):
    hessian = cg.hessian(lambda *xs: (network(*xs) ** 2).sum(), n)(*NETWORK).numpy()
    size = NETWORK[n].size
    assert hessian.shape == NETWORK[n].shape * 2
    matrix = hessian.reshape(size, size)
    close(matrix, matrix.T)
    assert np.abs(matrix).max() > 0.1


def test_forward_over_reverse_is_the_hessian_times_a_direction():
    def f(w):
        return (network(cg.tensor(NETWORK[0]), w, cg.tensor(NETWORK[2])) ** 2).sum()

    w, v = NETWORK[1], draw(2, 4, seed=2)
    gradient, product = cg.jvp(cg.grad(f), [w], [v])
    close(gradient, cg.grad(f)(w))
    close(product, np.tensordot(cg.hessian(f)(w), v, 2))
    close(product, central(lambda w: cg.grad(f)(w).numpy(), w, v), 1e-8)


# Nesting


def test_four_derivatives_of_the_sine():
    f, x = cg.sin, np.array(0.7)
    for expected in (np.sin(0.7), np.cos(0.7), -np.sin(0.7), -np.cos(0.7), np.sin(0.7)):
        close(f(x), expected)
        f = cg.grad(f)


@pytest.mark.parametrize("x", [0.5, -1.5])
@pytest.mark.parametrize(
    ("f", "third"),
    [
        (cg.exp, np.exp),
        (lambda x: 1 / x, lambda x: -6 / x**4),
        (lambda x: x**5, lambda x: 60 * x**2),
        (cg.tanh, lambda x: (4 * np.tanh(x) ** 2 - 2 * (1 - np.tanh(x) ** 2)) * (1 - np.tanh(x) ** 2)),
        (lambda x: cg.log(x * x), lambda x: 4 / x**3),
    ],
    ids=["exp", "reciprocal", "power", "tanh", "log"],
)
def test_third_derivatives(f, third, x):
    close(cg.grad(cg.grad(cg.grad(f)))(np.array(x)), third(x), 1e-11)


@pytest.mark.parametrize("base", [2.0, np.array([2.0, 3.0])], ids=["number", "array"])
def test_second_derivative_of_a_power_with_a_constant_base(base):
    x = np.array([0.5, 1.5])
    close(cg.hessian(lambda x: (base**x).sum())(x), np.diag(np.log(base) ** 2 * base**x))


SIGMOID_AT_0 = [0.5, 0.25, 0, -0.125, 0]


@pytest.mark.parametrize(
    ("f", "derivatives"),
    [
        (cg.sigmoid, SIGMOID_AT_0),
        (cg.softplus, [np.log(2), *SIGMOID_AT_0[:4]]),
        (cg.silu, [0, 0.5, 0.5, 0, -0.5]),
        (cg.tanh, [0, 1, 0, -2, 0]),
        (lambda x: cg.binary_cross_entropy(x, cg.zeros_like(x)), [np.log(2), *SIGMOID_AT_0[:4]]),
    ],
    ids=["sigmoid", "softplus", "silu", "tanh", "binary_cross_entropy"],
)
def test_derivatives_at_zero_of_smooth_functions_that_split_there(f, derivatives):
    for expected in derivatives:
        close(f(np.array(0.0)), expected)
        f = cg.grad(f)


def test_mixed_partial_derivatives():
    x, y = np.array(2.0), np.array(3.0)
    mixed = cg.grad(lambda x: cg.grad(lambda y: x * y * y)(y))(x)
    close(mixed, 6.0)
    close(cg.grad(lambda y: cg.grad(lambda x: x * y * y)(x))(y), 6.0)


def test_perturbations_are_not_confused():
    inner = cg.grad(lambda x: x * cg.grad(lambda y: x + y)(1.0))(1.0)
    assert inner.item() == 1
    inner = cg.grad(lambda x: x * cg.grad(lambda y: x * y)(5.0))(3.0)
    assert inner.item() == 6


def test_an_inner_function_at_the_outer_argument():
    close(cg.grad(lambda x: x * cg.grad(lambda y: x * y * y)(x))(np.array(2.0)), 3 * 2 * 2.0**2)


def test_an_inner_value_at_the_outer_argument():
    def f(x):
        y, slope = cg.value_and_grad(lambda v: v**3)(x)
        return y * slope  # 3 x⁵

    close(cg.grad(f)(np.array(1.5)), 15 * 1.5**4)


def test_an_inner_jacobian_and_hessian_are_differentiated():
    x = draw(3)
    close(cg.grad(lambda x: (cg.jacobian(lambda v: v * v)(x) ** 2).sum())(x), 8 * x)
    close(cg.grad(lambda x: cg.hessian(lambda v: (v**4).sum())(x).sum())(x), 24 * x)


def test_backward_through_a_gradient_reaches_what_it_was_computed_from():
    """A penalty on the gradient's size: differentiated in the weights that the function closes over."""
    w = cg.tensor(draw(3), requires_grad=True)
    x = draw(3, seed=1)
    slope = cg.grad(lambda x: (w * x * x).sum())(x)
    (slope * slope).sum().backward()
    close(w.grad, 8 * w.numpy() * x * x)


def test_a_function_of_a_closed_over_leaf_leaves_its_gradient_alone():
    w = cg.tensor([2.0], requires_grad=True)
    y, slope = cg.value_and_grad(lambda x: (w * x).sum())(np.array([3.0], "float32"))
    assert slope.tolist() == [2]
    assert w.grad is None
    y.backward()
    assert w.grad.tolist() == [3]


@pytest.mark.parametrize("seed", range(3))
def test_gradient_descent_on_the_starting_point(seed):
    """Unrolled: the gradient of what three steps reach, in the starting point."""

    def after_three_steps(x):
        for _ in range(3):
            x = x - 0.1 * cg.grad(lambda v: (v**4).sum())(x)
        return x.sum()

    x, v = draw(2, seed=seed), draw(2, seed=seed + 10)
    slope = central(lambda x: after_three_steps(cg.tensor(x)).item(), x, v)
    close(np.vdot(cg.grad(after_three_steps)(x), v), slope, 1e-7)


def test_keyword_arguments_are_handed_on():
    f = lambda x, k=1.0, *, power=1: k * (x**power).sum()  # noqa: E731
    x = np.array([1.0, 2.0])
    np.testing.assert_allclose(cg.grad(f)(x, k=2.0, power=3), 6 * x**2)
    np.testing.assert_allclose(cg.jacobian(lambda x, k=1.0: x * k)(x, k=2.0), 2 * np.eye(2))
    np.testing.assert_allclose(cg.hessian(f)(x, 3.0, power=3), np.diag(18 * x))


def test_blocks_of_several_arguments():
    f = lambda x, y: (x * x * y[0]).sum() + y[1] ** 3  # noqa: E731
    x, y = np.array([1.0, 2.0]), np.array([3.0, 4.0])
    first, second = cg.jacobian(lambda x, y: x * y, argnums=(0, -1))(x, y)
    np.testing.assert_allclose(first, np.diag(y))
    np.testing.assert_allclose(second, np.diag(x))
    blocks = cg.hessian(f, argnums=(0, 1))(x, y)
    for row, expected in zip(
        blocks, [[np.diag([6, 6]), [[2, 0], [4, 0]]], [[[2, 4], [0, 0]], [[0, 0], [0, 24]]]], strict=True
    ):
        for block, values in zip(row, expected, strict=True):
            np.testing.assert_allclose(block, values)
    with pytest.raises(UsageError, match=r"argnums=2 names an argument that is not there: 2 were given"):
        cg.hessian(f, argnums=(0, 2))(x, y)
    with pytest.raises(UsageError, match="returned tuple, not a tensor"):
        cg.jacobian(lambda x: (x, x))(x)
