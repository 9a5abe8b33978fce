"""Every fused update is held to its own equation, evaluated as it is written."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chalkgrad.equation.functions import on_arrays
from chalkgrad.optim import updates
from chalkgrad.optim.declaration import Computed

NUMPY = on_arrays(np)
KERNELS = {name: update for name, update in updates.items() if not isinstance(update.kernel, Computed)}


def drawn(update, rng):
    """Random hyper-parameters for any update; what is called `t` counts the updates instead."""
    return {name: rng.uniform(0.1, 0.9) for name in update.hyperparameters if name != "t"}


@pytest.mark.parametrize("update", updates.values(), ids=updates)
@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=20, deadline=None)
def test_the_kernel_is_its_equation(update, seed):
    rng = np.random.default_rng(seed)
    theta, state = rng.standard_normal(7), {slot: np.zeros(7) for slot in update.slots}
    expected = {"theta": theta.copy(), **{slot: np.zeros(7) for slot in update.slots}}
    hyperparameters = drawn(update, rng)
    for t in range(1, 6):
        g, values = rng.standard_normal(7), {**hyperparameters, "t": t}
        update(np, theta, g, np.full(7, np.nan), state, **values)
        expected |= update.equation.evaluate(NUMPY, {**expected, "g": g, **values})
        for name, array in {"theta": theta, **state}.items():
            np.testing.assert_allclose(array, expected[name], rtol=1e-11, atol=1e-13, err_msg=f"{name}, update {t}")


@pytest.mark.parametrize("update", updates.values(), ids=updates)
def test_the_equation_names_all_that_the_kernel_changes(update):
    targets = [statement.target for statement in update.statements]
    assert {target for target in targets if update.keeps(target)} == {"theta", *update.slots}
    assert update.equation.target == "theta"
    assert update.__doc__


@pytest.mark.parametrize("update", KERNELS.values(), ids=KERNELS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_an_update_keeps_dtype_and_gradient_and_allocates_no_buffer(update, dtype):
    rng = np.random.default_rng(0)
    theta, g = rng.standard_normal((2, 50_000)).astype(dtype)
    kept, scratch, state = g.copy(), np.empty_like(theta), {slot: np.zeros_like(theta) for slot in update.slots}
    before, values = theta.copy(), {**drawn(update, rng), "t": 1}
    tracemalloc.start()
    update(np, theta, g, scratch, state, **values)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < theta.nbytes / 10
    assert {a.dtype.name for a in (theta, scratch, *state.values())} == {dtype}
    np.testing.assert_array_equal(g, kept)
    assert not np.array_equal(theta, before)
