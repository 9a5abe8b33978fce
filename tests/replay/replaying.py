"""How tests of capture compare a function with the captured one: all bits of all that there is to see."""

import numpy as np

import chalkgrad as cg
from chalkgrad import layers
from chalkgrad.engine import backend

CALLS = 5
RECORDED = 2
"""How many calls a function that is the same each time takes to be recorded."""


def values(*shape, seed=0, dtype="float64"):
    return np.random.default_rng([seed, len(shape)]).standard_normal(shape).astype(dtype)


def given_tensor(*shape, seed=0, dtype="float64", **options):
    return cg.tensor(values(*shape, seed=seed, dtype=dtype), **options)


def leaf(*shape, seed=0, dtype="float64"):
    return given_tensor(*shape, seed=seed, dtype=dtype, requires_grad=True)


def bits(value):
    """What there is to compare in a nest of tensors and arrays: kind, shape, dtype, every bit, and the gradients."""
    if isinstance(value, cg.Tensor):
        return ("tensor", bits(value._data), bits(value.grad))
    if hasattr(value, "nbytes") and not isinstance(value, np.generic):
        value = backend.fetch(value)
        return (value.shape, value.dtype, value.tobytes())
    if isinstance(value, dict):
        return (type(value), [(k, bits(v)) for k, v in value.items()])
    if isinstance(value, (list, tuple)):
        return (type(value), [bits(v) for v in value])
    return value


def replays(captured):
    return [recording.replays for recording in captured.recordings.values() if recording.program is not None]


def reasons(captured):
    return [recording.reason for recording in captured.recordings.values()]


def agree(build, inputs, calls=CALLS, replayed=True, **options):
    """Assert that function and captured function do the same, call by call: results, arguments, and what is outside.

    build: makes the function and a list of what it may change; twice, so that neither sees the other's changes.
    """
    (plain, outside), (function, captured_outside) = build(), build()
    captured = cg.capture(function, **options)
    for call in range(calls):
        given, captured_given = inputs(call), inputs(call)
        expected, result = plain(*given), captured(*captured_given)
        assert bits(result) == bits(expected), f"the result of call {call}"
        assert bits(captured_given) == bits(given), f"the arguments after call {call}"
        assert bits(captured_outside) == bits(outside), f"what is outside after call {call}"
    if replayed is True:
        assert replays(captured) == [calls - RECORDED], captured.explain()
    elif replayed is False:
        assert replays(captured) == [], captured.explain()
    return captured


def pure(function):
    """A function with nothing outside, for `agree`."""
    return lambda: (function, [])


def one(*shape, **options):
    """One tensor of that shape, another in each call."""
    return lambda call: [given_tensor(*shape, seed=call, **options)]


def mlp(activation, loss, dtype="float32", update=None):
    """Makes a step of a small net with the loss; the weights keep their gradients where nothing updates them."""

    def build():
        w = [leaf(4, 6, seed=1, dtype=dtype), leaf(6, seed=2, dtype=dtype), leaf(6, 3, seed=3, dtype=dtype)]
        sigma = layers.make_activation(activation) or (lambda x: x)

        def f(x, y):
            for p in w:
                p.grad = None
            value = loss(cg.affine(x, w[0], w[1]), y) if loss is None else loss(sigma(cg.affine(x, *w[:2])) @ w[2], y)
            value.backward()
            if update:
                update(w)
            return value

        return f, w

    return build


def batch(call, dtype="float32", labels=False):
    chosen = np.random.default_rng(call).integers(0, 3, 5)
    return [given_tensor(5, 4, seed=call, dtype=dtype), cg.tensor(chosen if labels else np.eye(3, dtype=dtype)[chosen])]


def assert_plain(*tensors):
    assert not any(hasattr(x._data, "place") for x in tensors)
    assert not any(x.grad is not None and hasattr(x.grad._data, "place") for x in tensors)
