"""Calls over large arrays on all cores: the tape's bits."""

import numpy as np
import pytest

import chalkgrad as cg
from chalkgrad import optim
from chalkgrad.replay import spread

from .replaying import JIT, agree, few_are_large, given_tensor, leaf

pytestmark = pytest.mark.cpu_only("a GPU has cores of its own")


@pytest.fixture(autouse=True)
def parts(monkeypatch):
    """What few elements are large, and how many parts there were in each call."""
    found = set()
    few_are_large(monkeypatch, 1000, 300, 400, found.add)
    return found


@pytest.mark.parametrize("jit", JIT)
def test_a_loss_with_its_gradient_and_an_update(jit, parts):
    labels = cg.tensor(np.arange(50) % 40)

    def build():
        w, v, optimizer = leaf(50, 40, seed=1), leaf(40, seed=2), optim.Adam(global_clipnorm=1.0)

        def step(x):
            z = x * w + v
            loss = cg.sparse_categorical_cross_entropy(z, labels) + (z.exp().max(axis=-1) - x.sum(axis=1)).mean()
            loss.backward()
            optimizer.step([w, v])
            w.grad = v.grad = None
            return loss.detach(), w.detach() * 1

        return step, [w, v]

    agree(build, lambda call: [given_tensor(50, 40, seed=call)], replayed=None, jit=jit)
    assert 6 in parts


@pytest.mark.parametrize("jit", JIT)
def test_warnings_are_kept_as_the_caller_has_it(jit):
    x = cg.tensor(np.full((50, 40), 1e3, "float32"))
    step = cg.capture(lambda x: x.exp() * x * x, jit=jit)
    with np.errstate(over="ignore"):
        for _ in range(5):
            assert np.isinf(step(x).numpy()).all()


def test_what_is_read_beside_where_it_is_written_goes_whole(parts):
    x = np.arange(2000.0)
    expected = x[1:] + x[:-1]
    function, given, _ = spread.spread((np.add, (x[1:], x[:-1]), {"out": x[1:]}))
    function(*given)
    assert np.array_equal(x[1:], expected)
    assert not parts


def test_small_ones_are_left():
    call = np.add, (np.ones(999), 1.0), {"out": np.ones(999)}
    assert spread.spread(call) is call


@pytest.mark.parametrize("jit", JIT)
def test_many_calls_over_fewer_elements_are_as_much_work(jit, parts):
    """GELU of a transformer's layer: 25 calls over 400,000 elements."""
    step = cg.capture(lambda x: cg.gelu(x) * 1.0, jit=jit)
    x = given_tensor(45, 20)
    expected = (cg.gelu(x) * 1.0).numpy()
    for _ in range(4):
        assert np.array_equal(step(x).numpy(), expected)
    assert parts
