"""no_grad, checkpoint and vmap: what is not noted, what is computed again, and what is called for each example."""

import threading
import tracemalloc

import numpy as np
import pytest

import chalkgrad as cg
from chalkgrad.engine import random
from chalkgrad.errors import GraphError, ShapeError, UsageError

X = np.array([[0.5, -1.5, 2.0], [3.0, 0.25, -0.75]])


def leaf(values=X):
    return cg.tensor(values, requires_grad=True)


# no_grad


def test_nothing_is_noted_inside_and_all_of_it_outside():
    w = leaf()
    with cg.no_grad():
        y = w * 2
        with cg.no_grad():
            assert not cg.exp(w).requires_grad
        assert not np.exp(w).requires_grad
    assert not y.requires_grad
    assert (w * 2).requires_grad


def test_as_a_decorator_and_after_an_error():
    @cg.no_grad
    def bare(x):
        return x * 2

    @cg.no_grad()
    def called(x):
        if x.size == 1:
            raise ValueError("one")
        return bare(x) + x

    assert not called(leaf()).requires_grad
    with pytest.raises(ValueError, match="one"):
        called(leaf([1.0]))
    assert (leaf() * 2).requires_grad


def test_another_thread_notes_meanwhile():
    found = []
    with cg.no_grad():
        thread = threading.Thread(target=lambda: found.append((leaf() * 2).requires_grad))
        thread.start()
        thread.join()
    assert found == [True]


def test_grad_inside_differentiates_and_outside_takes_it_for_constant():
    with cg.no_grad():
        w = leaf()
        g = cg.grad(lambda x: (x * w).sum())(w)
    assert g.tolist() == X.tolist()
    assert not g.requires_grad

    def half_constant(x):
        with cg.no_grad():
            scale = x.sum()
        return (scale * x).sum()

    np.testing.assert_allclose(cg.grad(half_constant)(X), np.full(X.shape, X.sum()))


def test_in_a_captured_step_it_is_part_of_it_and_around_one_of_its_signature():
    w = leaf([2.0, 3.0])

    @cg.capture
    def step(x):
        with cg.no_grad():
            scale = (w * w).sum()
        y = (scale * w * x).sum()
        if y.requires_grad:
            y.backward()
        return y

    for around in (False, False, False, True, True, True, False):
        w.grad = None
        x = cg.tensor([1.0, 2.0])
        if around:
            with cg.no_grad():
                y = step(x)
            assert w.grad is None
        else:
            y = step(x)
            assert w.grad.tolist() == [13, 26]
        assert y.item() == 13 * 8
    assert "replayed" in step.explain() or "calls" in step.explain()


# checkpoint


def block(x, w):
    return cg.tanh(x @ w) * 2 + x


def test_values_and_both_derivatives_are_those_without():
    w, xs = leaf(np.arange(9.0).reshape(3, 3) / 10), X

    def of(step):
        return lambda x: (step(step(x)) ** 2).sum()

    plain, lean = of(lambda x: block(x, w)), of(cg.checkpoint(lambda x: block(x, w)))
    results = []
    for f in (plain, lean):
        w.grad = None
        x = leaf(xs)
        y = f(x)
        y.backward()
        second = cg.grad(lambda x, f=f: (cg.grad(f)(x) * xs).sum())(xs)
        results.append([y.numpy(), x.grad.numpy(), w.grad.numpy(), second.numpy()])
    for one, other in zip(*results, strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-12)


@pytest.mark.cpu_only("the memory that NumPy takes is counted")
def test_it_takes_less_memory():
    x, sizes = leaf(np.ones(20_000)), []

    def many(x):
        for _ in range(20):
            x = cg.sin(x)
        return x

    for step in (many, cg.checkpoint(many)):
        tracemalloc.start()
        y = x
        for _ in range(5):
            y = step(y)
        y.sum().backward()
        sizes.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert sizes[1] < sizes[0] / 2.5


def test_drawn_numbers_are_kept():
    generator = random.generator(0, "dropout")

    @cg.checkpoint
    def dropped(x):
        return x * (random.uniform(generator, x) < 0.5) * x

    x = leaf(np.ones(100))
    y = dropped(x)
    y.sum().backward()
    np.testing.assert_array_equal(x.grad, 2 * y.detach().numpy())


def test_what_it_does_not_read_and_what_it_hands_on():
    x, unused = leaf(), leaf([1.0])
    cg.checkpoint(lambda x, u: (u * 2, x * 3)[1])(x, unused).sum().backward()
    assert x.grad.tolist() == [[3, 3, 3]] * 2
    assert unused.grad.tolist() == [0]
    assert cg.checkpoint(lambda x: x)(x) is x
    assert not cg.checkpoint(lambda x: x * 2)(x.detach()).requires_grad
    with cg.no_grad():
        assert not cg.checkpoint(lambda x: x * 2)(x).requires_grad


def test_another_value_or_a_changed_argument_is_an_error():
    count = iter(range(10))
    y = cg.checkpoint(lambda x: x * next(count))(leaf())
    if y.device == "cpu":
        with pytest.raises(GraphError, match="computed again, its value is another"):
            y.sum().backward()
    x = leaf()
    y = cg.checkpoint(cg.sin)(x)
    x[0, 0] = 9.0
    with pytest.raises(GraphError, match="checkpoint of sin saved its operand"):
        y.sum().backward()
    with pytest.raises(UsageError, match="returns one tensor, not tuple"):
        cg.checkpoint(lambda x: (x, x))(x)


# vmap


def test_each_example_by_itself():
    pairs = cg.vmap(lambda x, w: (x * w).sum(), in_axes=(0, None))(X, X[0])
    np.testing.assert_allclose(pairs, (X * X[0]).sum(1))
    turned, doubled = cg.vmap(lambda x: (cg.sort(x), 2 * x), in_axes=1, out_axes=1)(X)
    np.testing.assert_allclose(turned, np.sort(X, 0))
    np.testing.assert_allclose(doubled, 2 * X)


def test_it_composes_with_grad_and_itself():
    per_example = cg.vmap(cg.grad(lambda x: (x**3).sum()))
    np.testing.assert_allclose(per_example(X), 3 * X**2)
    table = cg.vmap(cg.vmap(lambda a, b: a * b, (None, 0)), (0, None))
    np.testing.assert_allclose(table(X[0], X[1]), np.outer(X[0], X[1]))
    w = leaf(X)
    cg.vmap(lambda x: x.sum() ** 2)(w).sum().backward()
    np.testing.assert_allclose(w.grad, 2 * X.sum(1, keepdims=True) * np.ones(3))


def test_batches_that_do_not_fit():
    for arguments, words in (((X, X[0]), r"one length.*\(2, 3\), \(3,\)"), ((X[:0], X[:0]), r"\(0, 3\)")):
        with pytest.raises(ShapeError, match=words):
            cg.vmap(lambda a, b: a + b)(*arguments)
    with pytest.raises(UsageError, match="2 axes for 1 arguments"):
        cg.vmap(cg.sin, in_axes=(0, 0))(X)
