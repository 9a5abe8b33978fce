"""Clipping by the global norm, as a function and in an optimiser."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import chalkgrad as cg
from chalkgrad.errors import UsageError
from chalkgrad.optim import Adam, GradientDescent, clip_by_global_norm


def with_gradients(*gradients):
    tensors = [cg.tensor(np.zeros_like(g), requires_grad=True) for g in gradients]
    for x, g in zip(tensors, gradients, strict=True):
        x.grad = cg.tensor(g)
    return tensors


@given(st.integers(0, 1000), st.floats(0.01, 100))
def test_clipping_only_shrinks_and_keeps_the_direction(seed, limit):
    rng = np.random.default_rng(seed)
    gradients = [rng.standard_normal((2, 3)), rng.standard_normal(4)]
    norm = math.sqrt(sum((g**2).sum() for g in gradients))
    tensors = with_gradients(*gradients)
    assert clip_by_global_norm(tensors, limit) == pytest.approx(norm, rel=1e-14)
    for x, g in zip(tensors, gradients, strict=True):
        np.testing.assert_allclose(x.grad.numpy(), g * min(1, limit / norm), rtol=1e-13)
    if norm <= limit:
        assert all(np.array_equal(x.grad, g) for x, g in zip(tensors, gradients, strict=True))


def test_three_four_five():
    tensors = with_gradients(np.array([3.0]), np.array([4.0]))
    assert clip_by_global_norm(tensors, 1.0) == 5.0
    np.testing.assert_allclose([x.grad.item() for x in tensors], [0.6, 0.8], rtol=1e-15)


def test_parameters_without_gradient_are_left_out():
    tensors = [*with_gradients(np.array([3.0, 4.0])), cg.tensor(np.ones(3), requires_grad=True)]
    assert clip_by_global_norm(tensors, 10.0) == 5.0
    assert tensors[1].grad is None


def test_float32_stays_float32_and_does_not_overflow():
    tensors = with_gradients(np.array([3e25, 4e25], "float32"))
    assert clip_by_global_norm(tensors, 1.0) == pytest.approx(5e25, rel=1e-6)
    assert tensors[0].grad.dtype == "float32"
    np.testing.assert_allclose(tensors[0].grad, [0.6, 0.8], rtol=1e-6)


@pytest.mark.parametrize("limit", [0, -1, math.nan])
def test_limits_that_are_none(limit):
    with pytest.raises(UsageError, match="max_norm above 0"):
        clip_by_global_norm([], limit)


@pytest.mark.parametrize("limit", [0.5, 1e6])
@pytest.mark.parametrize("kind", [GradientDescent, Adam])
def test_an_optimizer_clips_like_the_function(kind, limit):
    rng = np.random.default_rng(1)
    gradients = [10 * rng.standard_normal((2, 3)), rng.standard_normal(4)]
    inside, outside = with_gradients(*gradients), with_gradients(*gradients)
    kind(0.1, global_clipnorm=limit).step(inside)
    clip_by_global_norm(outside, limit)
    kind(0.1).step(outside)
    for a, b in zip(inside, outside, strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-12)


def test_an_optimizer_leaves_the_parameters_own_gradients():
    (x,) = with_gradients(np.array([3.0, 4.0]))
    GradientDescent(1.0, global_clipnorm=1.0).step([x])
    np.testing.assert_array_equal(x.grad, [3, 4])
    np.testing.assert_allclose(x.numpy(), [-0.6, -0.8])


def test_a_gradient_of_zero_is_left():
    (x,) = with_gradients(np.zeros(3))
    GradientDescent(1.0, global_clipnorm=1.0).step([x])
    np.testing.assert_array_equal(x.numpy(), 0)


def test_an_optimizer_clips_exploding_gradients():
    (x,) = with_gradients(np.array([3e25, 4e25], "float32"))
    GradientDescent(1.0, global_clipnorm=1.0).step([x])
    np.testing.assert_allclose(x.numpy(), [-0.6, -0.8], rtol=1e-6)
