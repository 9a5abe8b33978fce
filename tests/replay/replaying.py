"""How tests of capture compare a function with the captured one: all bits of all that there is to see."""

import sys

import numpy as np
import pytest

import chalkgrad as cg
from chalkgrad import layers
from chalkgrad.engine import backend, blocks
from chalkgrad.replay import fuse, spread, team

CALLS = 5
RECORDED = 2
"""How many calls a function that is the same each time takes to be recorded."""
JIT = [False, pytest.param(True, marks=pytest.mark.skipif(not fuse.available(), reason="Numba is not installed"))]


def few_are_large(monkeypatch, large, part, block, note):
    """Let so few elements be large, a part, and a block; each call on all cores notes how many parts it has."""
    monkeypatch.setattr(spread, "LARGE", large)
    monkeypatch.setattr(spread, "PART", part)
    monkeypatch.setattr(blocks, "BLOCK", block)
    each = team.each
    monkeypatch.setattr(team, "each", lambda do, count: (note(count), each(do, count)))


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


SUMMED = {"matmul", "einsum", "dot", "inner", "tensordot", "sum", "mean", "var", "std", "prod"}
"""Calls that a GPU's libraries may sum in another order in a graph than on the tape (docs/gpu.md)."""


def promised_to_the_bit(captured):
    """Whether what is replayed has the tape's bits: always, but on a real GPU where a library sums."""
    cupy = sys.modules.get("cupy")
    if cupy is None or hasattr(cupy, "strict"):
        return True
    programs = [recording.program for recording in captured.recordings.values() if recording.program]
    return not any(step.instruction.name in SUMMED for program in programs for step in program.steps)


def same(one, two, exactly=True):
    """Whether two nests are the same, in all bits; else floats within some roundings of the greatest."""
    if exactly:
        return bits(one) == bits(two)
    pairs = list(zip(_arrays(bits(one)), _arrays(bits(two)), strict=True))
    return all(a[:2] == b[:2] and (_near(a, b) if a[1].kind == "f" else a[2] == b[2]) for a, b in pairs)


def _arrays(told):
    """The arrays in what `bits` tells."""
    if isinstance(told, tuple) and len(told) == 3 and isinstance(told[2], bytes):
        return [told]
    return [x for part in told for x in _arrays(part)] if isinstance(told, (tuple, list)) else []


def _near(a, b):
    one, two = (np.frombuffer(x[2], x[1]) for x in (a, b))
    greatest = np.abs(one[np.isfinite(one)]).max(initial=0)
    return np.allclose(one, two, 0, 64 * np.finfo(a[1]).eps * greatest, equal_nan=True)


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
        exactly = promised_to_the_bit(captured)
        assert same(result, expected, exactly), f"the result of call {call}"
        assert same(captured_given, given, exactly), f"the arguments after call {call}"
        assert same(captured_outside, outside, exactly), f"what is outside after call {call}"
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
