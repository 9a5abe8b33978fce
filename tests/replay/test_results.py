"""What a captured function returns."""

import collections

import pytest
from replaying import agree, bits, given_tensor, leaf, one, pure, values

import chalkgrad as cg

VIEWS = {
    "of the argument": lambda x, w: (x.T, x[0], x.reshape(6)),
    "of a weight": lambda x, w: (w.T, w[0] * 1, w.detach()),
    "of what was made": lambda x, w: (x * 2).T,
    "broadcast": lambda x, w: cg.broadcast_to(x[:1], (4, 3)),
    "itself": lambda x, w: x.detach(),
}


@pytest.mark.parametrize("name", VIEWS)
def test_views_returned(name):
    w = given_tensor(2, 3, seed=9)
    agree(pure(lambda x: VIEWS[name](x, w)), one(2, 3))


TWICE = {
    "returned and used": lambda x: ((x.reshape(6) * 2).sum(), x.reshape(6)),
    "returned twice": lambda x: (x.T, x.T),
    "of what was made": lambda x: (lambda h: (h.T.sum(axis=0), h.T))(x * 2),
}


@pytest.mark.parametrize("name", TWICE)
def test_a_view_taken_twice(name):
    agree(pure(TWICE[name]), one(2, 3))


def test_results_have_memory_of_their_own():
    captured = cg.capture(lambda x: (x * 2, x.T, x.detach()))
    xs = [given_tensor(2, 3, seed=call) for call in range(6)]
    results = [captured(x) for x in xs]
    for x, (a, b, c) in zip(xs, results, strict=True):
        assert bits(a) == bits(x * 2)
        assert bits(b) == bits(x.T)
        assert bits(c) == bits(x)
    results[-1][0].assign(0.0)
    assert bits(captured(xs[0])[0]) == bits(xs[0] * 2)


def test_what_it_returns_asks_for_no_gradient():
    w = leaf(3)

    def f(x):
        y = (w * x).sum()
        y.backward()
        w.grad = None
        return y

    captured = cg.capture(f)
    for _ in range(4):
        y = captured(given_tensor(3))
        assert y.is_leaf
        assert not y.requires_grad


@pytest.mark.parametrize("which", [0, 1])
def test_a_weight_returned_goes_on_asking_for_gradients(which):
    pair = leaf(3), leaf(3, seed=1)
    captured = cg.capture(lambda x: (pair[0], x)[which])
    captured(pair[1])
    assert pair[which].requires_grad


POINT = collections.namedtuple("Point", "x y")


@pytest.mark.parametrize("f", [lambda p: p.x + p.y, lambda p: POINT(p[0] * 2, p[1])], ids=["argument", "result"])
def test_named_tuples(f):
    agree(pure(f), lambda call: [POINT(given_tensor(3, seed=call), given_tensor(3, seed=call + 9))])


def test_a_kind_of_dict_stays_what_it_is():
    agree(pure(lambda x: collections.OrderedDict(a=x * 2)), one(3))


def test_the_layout_of_results_is_the_tapes():
    captured = cg.capture(lambda x: (x * 2).T)
    x = given_tensor(2, 3)
    assert {captured(x)._data.strides for _ in range(4)} == {(x * 2).T._data.strides}


@pytest.mark.parametrize("f", [lambda a: a * 2, lambda a: (cg.exp(a), a)], ids=["computed", "given"])
def test_arrays_returned(f):
    agree(pure(f), lambda call: [values(3, seed=call)], replayed=False)
