"""Errors on the way, and capture itself."""

import contextlib
import itertools
import types

import numpy as np
import pytest
from replaying import agree, assert_plain, batch, bits, given_tensor, leaf, one, pure, replays

import chalkgrad as cg
from chalkgrad import layers
from chalkgrad.errors import ChalkgradError, DataError, GraphError, ShapeError, UsageError

# Errors


ERRORS = [KeyError("mine"), KeyboardInterrupt(), StopIteration(), ShapeError("ours")]


@pytest.mark.parametrize("error", ERRORS, ids=lambda e: type(e).__name__)
@pytest.mark.parametrize("at", [0, 1, 2, 3])
def test_an_error_leaves_everything_usable(error, at):
    w, b, made = leaf(3), given_tensor(3, seed=4), []
    calls = itertools.count()

    def f(x):
        y = w * x + b
        y.sum().backward()
        b.assign(x.detach())
        made[:] = [y]
        if next(calls) == at:
            raise error
        made.clear()
        w.grad = None
        return y.detach()

    captured, x = cg.capture(f), leaf(3, seed=7)
    for call in range(4):
        if call == at:
            with contextlib.suppress(type(error)):
                captured(x)
        else:
            captured(x)
        assert_plain(w, b, x, *made)
        assert bits((w * x).detach()) == bits(cg.tensor(w.numpy() * x.numpy()))
        w.grad = x.grad = None


def test_an_error_of_a_shape_is_the_tapes():
    w = given_tensor(3, 4)
    captured = cg.capture(lambda x: x @ w)
    for _ in range(2):
        with pytest.raises(ShapeError, match="matmul cannot take"):
            captured(given_tensor(2, 5))
        assert_plain(w)
    for call in range(4):
        assert bits(captured(given_tensor(2, 3, seed=call))) == bits(given_tensor(2, 3, seed=call) @ w)


def test_an_error_caught_inside():
    def f(x):
        with contextlib.suppress(ChalkgradError):
            return x @ cg.ones_like(x)
        return x * 2

    agree(pure(f), one(2, 3))


def labelled(effect=None):
    """A step over labels, recorded; returns it, its weight, and what makes its arguments."""
    w = leaf(4, 3, seed=9)

    def f(x, labels):
        w.grad = None
        loss = cg.sparse_categorical_cross_entropy(x @ w, labels)
        loss.backward()
        return loss

    captured = cg.capture(f)
    for call in range(4):
        captured(*batch(call, "float64", labels=True))
    return captured, w


@pytest.mark.parametrize("bad", [-1, 3, 99])
@pytest.mark.cpu_only("labels on a GPU are not looked at, since that would wait for it")
def test_bad_labels_are_refused_in_a_replay_too(bad):
    captured, w = labelled()
    before = bits(w)
    x, labels = batch(7, "float64", labels=True)
    labels[2] = bad
    with pytest.raises(DataError, match=f"label {bad} in row 2"):
        captured(x, labels)
    assert_plain(w, x, labels)
    assert bits(w._data) == before[1]
    assert captured(*batch(8, "float64", labels=True)).item() > 0
    assert replays(captured) == [4]


def interrupted(f, outside):
    """The function on the tape and in a replay, both stopped by a bad label: what is outside agrees."""
    good, bad = cg.tensor(np.array([0, 1, 2])), cg.tensor(np.array([0, 1, 9]))
    states = []
    for captured in (False, True):
        state = outside()
        g = cg.capture(lambda x, y, state=state: f(x, y, *state)) if captured else lambda x, y, s=state: f(x, y, *s)
        for call in range(4):
            g(given_tensor(3, 3, seed=call), good)
        stale = (leaf(3, 3) * state[0].detach()).sum()
        with pytest.raises(DataError):
            g(given_tensor(3, 3, seed=9), bad)
        with contextlib.suppress(GraphError):
            stale.backward()
            stale = None
        states.append((bits(list(state)), stale is None))
    assert states[1] == states[0]


def assigns_later(x, labels, b):
    h = x * 2 + 1
    loss = cg.sparse_categorical_cross_entropy(h, labels)
    b.assign(h)
    return loss


def assigns_before(x, labels, b):
    b.assign(x + b)
    return cg.sparse_categorical_cross_entropy(x, labels)


def walks_before(x, labels, w):
    w.grad = None
    (w * x).sum().backward()
    return cg.sparse_categorical_cross_entropy(x, labels)


@pytest.mark.parametrize(
    ("f", "outside"),
    [
        pytest.param(
            assigns_later, lambda: [given_tensor(3, 3)],
        ),
        pytest.param(
            assigns_before, lambda: [given_tensor(3, 3)],
        ),
        pytest.param(
            walks_before, lambda: [leaf(3, 3)],
        ),
    ],
)  # fmt: skip
@pytest.mark.cpu_only("labels on a GPU are not looked at, since that would wait for it")
def test_a_replay_that_fails_has_done_what_the_tape_did(f, outside):
    interrupted(f, outside)


# Capture itself


def test_a_decorator_keeps_the_name_and_takes_options():
    @cg.capture(jit=False)
    def named(x):
        """Its text."""
        return x * 2

    assert named.__name__ == "named"
    assert named.__doc__ == "Its text."
    assert named.jit is False
    assert named.explain() == "named: not called yet."
    assert bits(named(given_tensor(3))) == bits(given_tensor(3) * 2)


def test_a_method():
    class Model:
        scale = 2.0

        @cg.capture
        def step(self, x):
            return x * self.scale

    assert bits(Model().step(given_tensor(3))) == bits(given_tensor(3) * 2.0)


def test_one_captured_function_within_another():
    inner = cg.capture(lambda x: x.exp() * 2)
    for _ in range(4):
        inner(given_tensor(3))
    outer = cg.capture(lambda x: inner(x) + inner(x * 2))
    for call in range(5):
        x = given_tensor(3, seed=call)
        assert bits(outer(x)) == bits(x.exp() * 2 + (x * 2).exp() * 2)
    assert (replays(inner), replays(outer)) == ([2], [3])


def test_callables_that_are_no_functions():
    model = cg.Sequential([layers.Dense(3, input_shape=(4,))])
    for f in (cg.exp, model, types.MethodType(lambda self, x: x * 2, object())):
        captured = cg.capture(f)
        for call in range(4):
            x = given_tensor(5, 4, seed=call, dtype="float32")
            assert bits(captured(x).detach()) == bits(f(x).detach())


@pytest.mark.parametrize("jit", [None, "yes", "True", 0, 1, 1.0, 2, []])
def test_what_is_no_choice_of_jit_is_refused(jit):
    with pytest.raises(UsageError, match="True, False or 'auto'"):
        cg.capture(lambda x: x, jit=jit)
