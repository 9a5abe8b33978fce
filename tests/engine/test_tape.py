"""The reverse pass: values used twice, deep graphs, what is kept, what is freed, what is refused."""

import copy
import gc
import itertools
import math
import re
import sys
import weakref

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, mutually_broadcastable_shapes

import chalkgrad as cg
from chalkgrad.engine import tape
from chalkgrad.errors import GraphError, ShapeError

DEEP = 1_000_000
COUNTS = pytest.mark.parametrize("count", [DEEP // 10, pytest.param(DEEP, marks=pytest.mark.deep)])


def leaf(*shape, seed=0, dtype="float64", name=None):
    x = cg.tensor(np.random.default_rng(seed).standard_normal(shape), requires_grad=True, dtype=dtype)
    x.name = name
    return x


def cotangent(y, seed=1):
    return np.random.default_rng(seed).standard_normal(y.shape)


def close(actual, expected):
    np.testing.assert_allclose(actual, expected, rtol=1e-12, atol=1e-12)


@pytest.fixture
def shallow_stack():
    """Room for some forty more calls only."""
    depth, frame, limit = 0, sys._getframe(), sys.getrecursionlimit()
    while frame:
        depth, frame = depth + 1, frame.f_back
    sys.setrecursionlimit(depth + 60)
    yield
    sys.setrecursionlimit(limit)


# A value used more than once


def test_sum_of_a_value_with_itself_twice_over():
    x = cg.tensor(3.0, requires_grad=True)
    a = x + x
    c = a + a
    c.backward()
    assert x.grad.item() == 4


@given(array_shapes(max_dims=3, max_side=3), st.integers(0, 99))
def test_diamond(shape, seed):
    x = leaf(*shape, seed=seed)
    a = x.sin()
    y = a * x + a.exp() - a
    gy = cotangent(y, seed)
    y.backward(gy)
    v = x.numpy()
    close(x.grad, gy * (np.sin(v) + np.cos(v) * (v + np.exp(np.sin(v)) - 1)))


@given(mutually_broadcastable_shapes(num_shapes=2, max_dims=3, max_side=3), st.integers(0, 99))
def test_diamond_of_broadcast_operands(shapes, seed):
    a, b = (leaf(*shape, seed=seed + i) for i, shape in enumerate(shapes.input_shapes))
    y = a * b + b
    gy = cotangent(y, seed)
    y.backward(gy)
    for x, slope in ((a, b.numpy() + 0 * gy), (b, a.numpy() + 1 + 0 * gy)):
        basis = np.eye(x.size).reshape(x.size, *x.shape)
        close(x.grad.numpy().reshape(-1), [np.vdot(gy * slope, np.broadcast_to(e, y.shape)) for e in basis])


@pytest.mark.parametrize("shape", [(), (3,)])
def test_what_is_added_up_changes_neither_the_given_gradient_nor_another_leaf(shape):
    a, b = leaf(*shape), leaf(*shape, seed=1)
    gradient = cg.tensor(np.full(shape, 2.0))
    a.backward(gradient)
    a.grad.assign(0.0)
    (a + b + a + a + a).backward(gradient)
    assert (gradient.numpy() == 2).all()
    assert (a.grad.numpy() == 8).all()
    assert (b.grad.numpy() == 2).all()


@pytest.mark.parametrize("depth", [1, 30])
def test_doubling_takes_one_rule_a_node_and_not_one_a_path(depth):
    x = cg.tensor(1.0, requires_grad=True, dtype="float64")
    y = x
    for _ in range(depth):
        y = y + y
    y.backward()
    assert x.grad.item() == 2**depth


def test_square_by_one_product():
    x = leaf(2, 3)
    y = x * x
    gy = cotangent(y)
    y.backward(gy)
    close(x.grad, 2 * x.numpy() * gy)


def test_matrix_times_its_own_transpose():
    x = leaf(2, 3)
    y = x @ x.T
    gy = cotangent(y)
    y.backward(gy)
    close(x.grad, (gy + gy.T) @ x.numpy())


def test_quotient_of_a_value_by_itself_is_flat():
    x = cg.tensor([2.0, 4.0], requires_grad=True)
    (x / x).backward([3.0, 5.0])
    assert x.grad.tolist() == [0, 0]


def test_same_tensor_at_several_places_of_one_operation():
    x = leaf(2)
    y = cg.concatenate([x, x, x])
    gy = cotangent(y)
    y.backward(gy)
    close(x.grad, gy.reshape(3, 2).sum(axis=0))


def test_an_intermediate_value_used_after_the_result_was_made():
    x = leaf(3)
    a = x.exp()
    first, second = a.sum(), (a * a).sum()
    (first + second).backward()
    close(x.grad, np.exp(x.numpy()) + 2 * np.exp(2 * x.numpy()))


# Deep graphs


def chain_of_additions(x, length):
    """The nodes that `y = y + 1.0` records, without the work of computing the values."""
    node = (x + 1.0)._node
    for _ in range(length - 1):
        node, before = copy.copy(node), node
        node.parents = (before,)
    return node


@COUNTS
def test_a_million_additions_go_backward_and_are_freed(shallow_stack, count):
    x = leaf()
    root = chain_of_additions(x, count)
    gradients = tape.reverse(root, np.asarray(1.5), np)
    assert gradients == {x: 1.5}
    assert root.parents == ()


@COUNTS
def test_a_million_additions_are_freed_when_dropped(shallow_stack, count):
    x = leaf()
    root = chain_of_additions(x, count)
    count = sys.getrefcount(x)
    del root
    assert sys.getrefcount(x) == count - 1


@pytest.mark.parametrize(
    ("step", "slope"), [(lambda y, x: y + 1.0, 1), (lambda y, x: y * x, 20_001)], ids=["sums", "products"]
)
def test_deep_graphs_of_tensors_go_backward(shallow_stack, step, slope):
    x = cg.tensor(1.0, requires_grad=True)
    y = x
    for _ in range(20_000):
        y = step(y, x)
    y.backward()
    assert x.grad.item() == slope


def test_deep_graphs_of_tensors_are_freed_when_dropped(shallow_stack):
    x = cg.tensor(1.0, requires_grad=True)
    y = x
    for _ in range(50_000):
        y = y * x  # each node holds the tensor before it, and that one its node
    held = weakref.ref(y)
    del y
    assert held() is None


def test_deep_graphs_can_be_differentiated_by_the_functions(shallow_stack):
    def f(x):
        for _ in range(2_000):
            x = x + x.sin() * 0.0
        return x

    assert cg.grad(f)(0.5).item() == 1
    assert cg.grad(cg.grad(f))(0.5).item() == 0


# What is kept and what is freed


def test_what_a_node_saved_is_freed_as_soon_as_its_rule_has_run(declare):
    saved, alive = [], []

    @declare("y = 2 * x", saves=("y",))
    def doubled(xp, x):
        y = 2 * x
        saved.append(weakref.ref(y))
        return y

    @doubled.vjp("x", "gx = 2 * gy")
    def _(xp, gy, y):
        alive.append(sum(reference() is not None for reference in saved))
        return 2 * gy

    x = leaf(3)
    y = x
    for _ in range(10):
        y = doubled(y)
    y = y.sum()
    y.backward()
    assert alive == list(range(10, 0, -1))


def test_nothing_is_held_in_cycles():
    gc.collect()
    gc.disable()
    try:
        x = leaf(3)
        a = x.exp()
        held = [weakref.ref(a), weakref.ref(a._data)]
        y = (a * a).sum()
        del a
        assert all(reference() is not None for reference in held)
        y.backward()
        assert all(reference() is None for reference in held)
    finally:
        gc.enable()


def test_an_operation_without_gradients_records_nothing():
    y = cg.tensor([1.0]) * cg.tensor([2.0]) + 3
    assert y.is_leaf
    assert not y.requires_grad


def test_only_what_the_needed_rules_ask_for_is_saved():
    w, x = leaf(2).exp(), cg.tensor(np.ones(2))
    held = weakref.ref(w)
    y = w * x
    del w
    assert held() is None  # w is wanted by the gradient of x only
    y.sum().backward()


def test_a_second_backward_is_refused():
    x = leaf(2)
    y = x.exp().sum()
    y.backward()
    with pytest.raises(GraphError, match=r"behind sum was walked before.*retain_graph=True"):
        y.backward()


def test_a_second_backward_through_a_shared_part_is_refused():
    x = leaf(2)
    a = x.exp()
    first, second = a.sum(), (a * a).sum()
    first.backward()
    before = x.grad.tolist()
    with pytest.raises(GraphError, match="behind exp was walked before"):
        second.backward()
    assert x.grad.tolist() == before


def test_a_retained_graph_accumulates_in_leaves_only():
    x = leaf(2, 3)
    a = x.exp()
    y = (a * a).sum()
    y.backward(retain_graph=True)
    once = x.grad.numpy().copy()
    y.backward(retain_graph=True)
    close(x.grad, 2 * once)
    assert a.grad is None
    assert y.grad is None
    y.backward()
    close(x.grad, 3 * once)
    with pytest.raises(GraphError, match="released"):
        y.backward()


def test_gradients_of_several_results_add_up():
    x = cg.tensor([1.0, 2.0], requires_grad=True)
    (x * 3).backward([1, 10])
    (x * 4).backward([100, 1000])
    assert x.grad.tolist() == [403, 4030]


# What is not asked for


def test_a_leaf_that_requires_nothing_costs_nothing(declare):
    calls = []

    @declare("y = a * b", saves=("a", "b"))
    def product(xp, a, b):
        return a * b

    @product.vjp("a", "ga = gy * b")
    def _(xp, gy, b):
        calls.append("a")
        return gy * b

    @product.vjp("b", "gb = gy * a")
    def _(xp, gy, a):
        calls.append("b")
        return gy * a

    product(leaf(2), cg.tensor([1.0, 2.0])).sum().backward()
    assert calls == ["a"]
    product(np.ones(2), leaf(2)).sum().backward()
    assert calls == ["a", "b"]
    calls.clear()
    b = leaf(2)
    cg.grad(lambda a: product(a, product(b, b)).sum())(np.ones(2))
    assert calls == ["a"]
    assert b.grad is None


def test_a_leaf_itself_takes_the_gradient():
    x = leaf(2)
    x.backward([3, 4])
    x.backward([1, 1])
    assert x.grad.tolist() == [4, 5]


# What is refused


def test_several_numbers_need_a_gradient():
    with pytest.raises(ShapeError, match=r"shape \(2, 3\) needs gradient=.*mean or sum"):
        leaf(2, 3).exp().backward()


@pytest.mark.parametrize("shape", [(), (1,), (1, 1)])
def test_one_number_of_any_shape_needs_none(shape):
    x = leaf(*shape)
    x.exp().backward()
    close(x.grad, np.exp(x.numpy()))


@pytest.mark.parametrize("shape", [(3,), (3, 2), (2, 3, 1), ()])
def test_a_gradient_of_another_shape_is_refused(shape):
    x = leaf(2, 3)
    with pytest.raises(ShapeError, match=re.escape(f"shape (2, 3) got a gradient of shape {shape}")):
        x.exp().backward(np.ones(shape))
    assert x.grad is None


def test_a_tensor_that_depends_on_nothing_is_refused():
    y = cg.tensor([1.0, 2.0]).sum()
    with pytest.raises(GraphError, match=r"does not depend on any tensor with requires_grad=True"):
        y.backward()


def test_no_gradient_passes_through_detach():
    x = cg.tensor([3.0], requires_grad=True)
    (x * x.detach()).backward()
    assert x.grad.tolist() == [3]
    with pytest.raises(GraphError, match="nothing to differentiate"):
        x.detach().sum().backward()


def test_no_gradient_passes_through_integers_and_comparisons():
    x = cg.tensor([3.0, -1.0], requires_grad=True)
    for y in (x > 0, x.astype("int64"), x.argmax(), x == x):
        assert not y.requires_grad
    (x * (x > 0)).sum().backward()
    assert x.grad.tolist() == [1, 0]


@pytest.mark.parametrize("whole", [*itertools.product([1, 2], repeat=3), (1, 1), (2, 1), (1, 2)])
def test_every_operand_has_a_gradient_of_its_shape(whole):
    for shape in itertools.product(*[{1, n} for n in whole]):
        for left in range(len(whole) + 1):
            if all(n == 1 for n in shape[:left]):
                x = leaf(*shape[left:], dtype="float64")
                (x * cg.tensor(np.ones(whole))).backward(cg.tensor(np.ones(whole)))
                assert x.grad.shape == x.shape
                np.testing.assert_array_equal(x.grad.numpy(), np.full(x.shape, math.prod(whole) / x.size))


@pytest.mark.cpu_only("arrays of NumPy")
@pytest.mark.parametrize("shape", [(3,), (1, 3), (4, 1), (1, 1), (), (2, 4, 3), (2, 1, 3), (1, 4, 1)])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_what_was_repeated_is_summed_as_in_a_recorded_step(shape, dtype):
    """By few calls: a product with ones has the operand's shape, where that has an axis of length 1, too."""
    whole = (2, 4, 3) if len(shape) == 3 else (4, 3)
    x, g = leaf(*shape, dtype=dtype), cg.tensor(np.random.default_rng(3).standard_normal((3, *whole)).astype(dtype))

    def step(g):
        x.grad = None
        (x * g[0] + x * g[1:]).backward(g[1:])
        return x.grad

    recorded, right = cg.capture(step), step(g).numpy()
    bound = {"float16": 2e-2, "float32": 1e-5, "float64": 1e-13}[dtype]
    wide = leaf(*shape)
    (wide * g[0].astype("float64") + wide * g[1:].astype("float64")).backward(g[1:].astype("float64"))
    np.testing.assert_allclose(right, wide.grad.numpy(), rtol=bound, atol=bound)
    for _ in range(4):
        assert recorded(g).numpy().tobytes() == right.tobytes()
