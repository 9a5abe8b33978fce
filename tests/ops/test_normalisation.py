"""Batch and layer normalisation: values against formulas and PyTorch, far from zero, and what they refuse."""

import numpy as np
import pytest

import chalkgrad as cg
from chalkgrad.errors import ShapeError, UsageError

BOTH = pytest.mark.parametrize("normalize", [cg.batch_normalization, cg.layer_normalization], ids=["batch", "layer"])


def drawn(*shape, dtype="float64", seed=0):
    rng = np.random.default_rng([seed, *shape])
    return [(rng.standard_normal(s) * 2 + 1).astype(dtype) for s in (shape, shape[-1:], shape[-1:])]


def formula(x, gamma, beta, axes, epsilon):
    mean, variance = x.mean(axes, keepdims=True), x.var(axes, keepdims=True)
    return gamma * (x - mean) / np.sqrt(variance + epsilon) + beta


@pytest.mark.parametrize("shape", [(5, 3), (2, 4, 3), (2, 3, 4, 5)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_values(shape, dtype):
    x, gamma, beta = drawn(*shape, dtype=dtype)
    tolerance = {"rtol": 1e-5, "atol": 1e-5} if dtype == "float32" else {"rtol": 1e-12, "atol": 1e-13}
    for normalize, axes in ((cg.batch_normalization, tuple(range(len(shape) - 1))), (cg.layer_normalization, -1)):
        y = normalize(x, gamma, beta, epsilon=0.01)
        assert (y.shape, y.dtype) == (shape, dtype)
        np.testing.assert_allclose(y, formula(x, gamma, beta, axes, 0.01), **tolerance)


@BOTH
def test_the_variance_keeps_its_digits_far_from_zero(normalize):
    x, gamma, beta = drawn(64, 64, dtype="float32")
    far = (x + 4096).astype("float32")
    expected = normalize((far - np.float32(4096)).astype("float64"), gamma.astype("float64"), beta.astype("float64"))
    np.testing.assert_allclose(normalize(far, gamma, beta), expected.numpy(), rtol=1e-2, atol=3e-2)


@BOTH
def test_the_gradient_in_x_is_orthogonal_to_what_it_is_blind_to(normalize):
    x, gamma, beta = drawn(6, 4)
    leaf = cg.tensor(x, requires_grad=True)
    normalize(leaf, gamma, beta, epsilon=1e-12).backward(np.random.default_rng(1).standard_normal(x.shape))
    axis = 0 if normalize is cg.batch_normalization else 1
    gradient = leaf.grad.numpy()
    np.testing.assert_allclose(gradient.sum(axis), 0, atol=1e-12)  # a shift
    np.testing.assert_allclose((gradient * x).sum(axis), 0, atol=1e-10)  # a scale
    assert np.abs(gradient).max() > 0.1


@BOTH
def test_a_constant_channel_gives_beta(normalize):
    x, gamma, beta = np.full((3, 3), 7.0), np.ones(3), np.arange(3.0)
    np.testing.assert_array_equal(normalize(x, gamma, beta), np.broadcast_to(beta, (3, 3)))


@pytest.mark.cpu_only("compares with PyTorch on the CPU")
def test_values_and_gradients_against_pytorch():
    torch = pytest.importorskip("torch")
    arrays = drawn(4, 5, 6, 3)
    gy = np.random.default_rng(2).standard_normal(arrays[0].shape)
    for normalize in (cg.batch_normalization, cg.layer_normalization):
        ours = [cg.tensor(a, requires_grad=True) for a in arrays]
        y = normalize(*ours, epsilon=1e-3)
        y.backward(gy)
        theirs = [torch.tensor(a, requires_grad=True) for a in arrays]
        if normalize is cg.layer_normalization:
            z = torch.nn.functional.layer_norm(theirs[0], (3,), *theirs[1:], eps=1e-3)
        else:
            moved = theirs[0].permute(0, 3, 1, 2)
            moved = torch.nn.functional.batch_norm(moved, None, None, *theirs[1:], training=True, eps=1e-3)
            z = moved.permute(0, 2, 3, 1)
        z.backward(torch.tensor(gy))
        np.testing.assert_allclose(y, z.detach().numpy(), rtol=1e-12, atol=1e-12)
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(a.grad, b.grad.numpy(), rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("shape", [(1, 4), (1, 1, 1, 4)])
def test_one_value_a_channel_has_the_variance_0(shape):
    rng = np.random.default_rng(0)
    x, gamma, beta = (cg.tensor(rng.normal(size=n), requires_grad=True) for n in (shape, 4, 4))
    y = cg.batch_normalization(x, gamma, beta)
    np.testing.assert_array_equal(y, np.broadcast_to(beta, shape))
    y.backward(rng.normal(size=shape))
    np.testing.assert_array_equal(x.grad, np.zeros(shape))
    np.testing.assert_array_equal(gamma.grad, np.zeros(4))


@pytest.mark.parametrize("shape", [(4,), (0, 4), (2, 0, 4)])
def test_a_batch_of_nothing_is_refused(shape):
    with pytest.raises(ShapeError, match=r"batch_normalization takes a batch .* of one or more"):
        cg.batch_normalization(np.ones(shape), np.ones(4), np.ones(4))


@BOTH
@pytest.mark.parametrize(("gamma", "beta"), [((3,), (4,)), ((4,), (1,)), ((1, 4), (4,))])
def test_parameters_of_another_shape(normalize, gamma, beta):
    with pytest.raises(ShapeError, match=r"x of shape \(5, 4\), gamma of shape .* gamma and beta are \(channels,\)"):
        normalize(np.ones((5, 4)), np.ones(gamma), np.ones(beta))


@BOTH
@pytest.mark.parametrize("epsilon", [0, -1.0, float("nan")])
def test_epsilons_that_are_none(normalize, epsilon):
    with pytest.raises(UsageError, match="greater than 0, since a variance may be 0"):
        normalize(np.ones((5, 4)), np.ones(4), np.ones(4), epsilon=epsilon)
