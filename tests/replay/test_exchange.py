"""A recorded step takes ReLU behind a max-pooling rather than before it, and gives the bits of the tape."""

import numpy as np
import pytest
from replaying import agree

import chalkgrad as cg

on_cpu = pytest.mark.cpu_only("the list gives the tape's bits on the CPU")
SHAPE = (3, 7, 6, 2)
FINITE = [-2.0, -1.0, -0.0, 0.0, 1.0, 1.0, 2.0]
APART = [{}, {"size": 3}, {"size": 2, "stride": 3}, {"size": (1, 2)}, {"size": (7, 1), "stride": (7, 2)}]
AS_THEY_ARE = [{"size": 3, "stride": 1}, {"size": 3, "stride": 2, "padding": "same"}, {"size": 1}]


def drawn(shape, call, numbers):
    """Few different numbers, so that many are equal."""
    return np.random.default_rng(call).choice(numbers, shape).astype("float32")


def pooled(size=2, backward=True, between=None, **options):
    """A function of z and of the gradient of y."""

    def step(z, gy):
        h = cg.relu(z * 2.0)
        y = cg.max_pool(h, size=size, **options)
        if backward:
            (y * gy).sum().backward()
        return (y, between(h).detach()) if between else y

    return step


def held(numbers=FINITE, backward=True, **options):
    """The step captured, held to the tape on many inputs."""
    step = pooled(backward=backward, **options)
    count = pooled(backward=False, **options)(cg.tensor(np.zeros(SHAPE)), 1.0)
    shape = (count[0] if options.get("between") else count).shape

    def inputs(call):
        z = cg.tensor(drawn(SHAPE, call, numbers), requires_grad=backward)
        return z, cg.tensor(drawn(shape, call + 100, numbers))

    with np.errstate(invalid="ignore"):
        return agree(lambda: (step, []), inputs, calls=12)


def ahead(captured):
    """Whether max(·, 0) is taken of all elements, before the pooling."""
    with np.errstate(invalid="ignore"):
        lines = captured.explain().splitlines()
    return any("maximum(" in line and ", 0) " in line and str(SHAPE) in line for line in lines)


@on_cpu
@pytest.mark.parametrize("backward", [True, False])
@pytest.mark.parametrize("options", APART, ids=str)
def test_relu_comes_behind_the_pooling(options, backward):
    assert not ahead(held(backward=backward, **options))


@on_cpu
@pytest.mark.parametrize("options", AS_THEY_ARE, ids=str)
def test_other_windows_are_left_as_they_are(options):
    assert ahead(held(**options))


@on_cpu
def test_what_is_not_finite_goes_through():
    assert not ahead(held([*FINITE, np.inf, -np.inf, np.nan]))


@on_cpu
@pytest.mark.parametrize("between", [lambda h: h, lambda h: h + 1, lambda h: cg.sum(h[:, 0])], ids=["h", "+1", "sum"])
def test_a_relu_that_is_read_elsewhere_stays(between):
    assert ahead(held(between=between))


@on_cpu
def test_a_second_derivative_goes_through_the_relu_as_it_was():
    def step(z, gy):
        slope = cg.grad(lambda x: (cg.max_pool(cg.relu(x), size=2) ** 3 * gy).sum())
        return cg.grad(lambda x: (slope(x) ** 2).sum())(z).detach()

    agree(lambda: (step, []), lambda call: (cg.tensor(drawn(SHAPE, call, FINITE), requires_grad=True),
                                            cg.tensor(drawn((3, 3, 3, 2), call + 100, FINITE))))  # fmt: skip


@pytest.mark.parametrize("options", [*APART, *AS_THEY_ARE[:2]], ids=str)
def test_on_a_device_values_are_equal(options, device):
    if device == "cpu":
        pytest.skip("for a device: there zeros may have another sign, so windows may overlap")
    step = pooled(**options)
    captured = cg.capture(step)
    for call in range(4):
        found = []
        for function in (step, captured):
            z = cg.tensor(drawn(SHAPE, call, FINITE), requires_grad=True)
            y = function(z, 1.5)
            found += [y.numpy(), z.grad.numpy()]
        np.testing.assert_array_equal(found[0], found[2])
        np.testing.assert_array_equal(found[1], found[3])
    assert not ahead(captured)
