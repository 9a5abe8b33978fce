"""Products of rounded factors, recorded: each operand is rounded once for all products that it is in."""

import numpy as np
import pytest
from replaying import agree, given_tensor, leaf

import chalkgrad as cg

LAYERS = 3


def step_of(precision):
    """A step of dense layers, and its weights."""

    def build():
        weights = [leaf(6, 6, seed=n, dtype="float32") for n in range(LAYERS)] + [leaf(6, dtype="float32")]

        def f(x):
            for w in weights:
                w.grad = None
            for n, w in enumerate(weights[:-1]):
                made = cg.affine if n == LAYERS - 1 else cg.affine_relu
                x = made(x, w, weights[-1], precision=precision)
            loss = (x * x).mean()
            loss.backward()
            return loss

        return f, weights

    return build


@pytest.mark.parametrize("precision", ["tf32", "float16", "bfloat16"])
def test_a_recorded_step_rounds_each_operand_once(precision, device):
    captured = agree(step_of(precision), lambda call: [given_tensor(5, 6, seed=call, dtype="float32")])
    (recording,) = captured.recordings.values()
    names = [step.instruction.name for step in recording.program.steps]
    what = f"rounded_to_{precision}" if device == "cpu" else f"{precision}_bits"
    rounded = 0 if (device, precision) == ("gpu", "tf32") else 3 * LAYERS  # input, weights and gradient of each layer
    in_one = names.count(f"passed_as_{precision}")  # with the mask and the sums for a bias
    assert in_one == (0 if device == "cpu" else LAYERS - 1)
    assert names.count(what) + in_one * (precision != "tf32") == rounded
    assert names.count("product_of_factors") == (0 if device == "cpu" else 3 * LAYERS - 1)
    if device == "gpu":
        assert recording.program.standing == "replayed as a CUDA graph."
        alone = [s for s in recording.program.steps if s.instruction.name == what and s.calls and not s.fused]
        assert not alone  # they are in loops


@pytest.mark.parametrize(("precision", "bits"), [("tf32", 11), ("float16", 11), ("bfloat16", 8)])
def test_cpu_and_gpu_agree_within_the_bound_of_rounding(precision, bits, device):
    a, w, gy = (np.random.default_rng(n).standard_normal((40, 40)).astype("float32") for n in range(3))

    def made(place, precision):
        tensors = [cg.tensor(x, device=place, requires_grad=True) for x in (a, w, np.zeros(40, "float32"))]
        y = cg.affine(*tensors, precision=precision)
        y.backward(cg.tensor(gy, device=place))
        return [x.numpy().astype("float64") for x in (y.detach(), tensors[0].grad, tensors[1].grad)]

    exact = [a.astype("f8") @ w, gy.astype("f8") @ w.T, a.T.astype("f8") @ gy]
    greatest = [np.abs(x) @ np.abs(y) for x, y in ((a, w), (gy, w.T), (a.T, gy))]
    for one, other, true, most in zip(made("cpu", precision), made(device, precision), exact, greatest, strict=True):
        assert (np.abs(one - other) <= 2.0**-20 * most).all()  # sums alone
        assert (np.abs(other - true) <= 2.0 ** (1 - bits) * most).all()
        assert (np.abs(other - true) > 2.0 ** (-6 - bits) * most).any()  # they are rounded so far


@pytest.mark.parametrize(("of_a", "of_w"), [("float32", "float64"), ("float64", "float32")])
def test_factors_that_are_not_both_float32_are_not_rounded(of_a, of_w):
    rng = np.random.default_rng(0)
    a, w, b = rng.standard_normal((6, 5)).astype(of_a), rng.standard_normal((5, 4)).astype(of_w), np.zeros(4, of_w)
    found = []
    for precision in ("float32", "bfloat16"):
        tensors = [cg.tensor(x, dtype=x.dtype, requires_grad=True) for x in (a, w, b)]
        y = cg.affine_relu(*tensors, precision=precision)
        y.sum().backward()
        found.append([y.detach().numpy(), *(x.grad.numpy() for x in tensors)])
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
