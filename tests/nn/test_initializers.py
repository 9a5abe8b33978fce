"""How weights begin: limits, deviations, and the same numbers from the same seed."""

import math

import numpy as np
import pytest

from chalkgrad import Sequential
from chalkgrad.errors import UsageError
from chalkgrad.nn.initializers import INITIALIZERS, fans, make_initializer
from chalkgrad.nn.layers import Dense

SHAPE = (120, 80)
LIMITS = {
    "random_uniform": 0.05,
    "glorot_uniform": math.sqrt(6 / 200),
    "he_uniform": math.sqrt(6 / 120),
    "lecun_uniform": math.sqrt(3 / 120),
}
DEVIATIONS = {
    "random_normal": 0.05,
    "glorot_normal": math.sqrt(2 / 200),
    "he_normal": math.sqrt(2 / 120),
    "lecun_normal": math.sqrt(1 / 120),
}


def draw(name, seed=0, shape=SHAPE):
    return INITIALIZERS[name](np.random.default_rng(seed), shape)


@pytest.mark.parametrize("name", INITIALIZERS)
def test_every_initializer_is_known_here(name):
    assert name in {"zeros", "ones", "orthogonal", *LIMITS, *DEVIATIONS}


@pytest.mark.parametrize("name", INITIALIZERS)
def test_shape_and_repetition(name):
    assert draw(name, shape=(2, 3, 4)).shape == (2, 3, 4)
    np.testing.assert_array_equal(draw(name, 3), draw(name, 3))
    if name not in ("zeros", "ones"):
        assert not np.array_equal(draw(name, 3), draw(name, 4))


@pytest.mark.parametrize("shape", [(5, 3), (3, 5), (2, 3, 4)])
def test_orthogonal_rows_or_columns(shape):
    q = draw("orthogonal", shape=shape).reshape(-1, shape[-1])
    q = q if len(q) > len(q[0]) else q.T
    np.testing.assert_allclose(q.T @ q, np.eye(len(q[0])), atol=1e-12)


@pytest.mark.parametrize(("name", "limit"), LIMITS.items())
def test_uniform_within_its_limits(name, limit):
    values = draw(name)
    assert 0.99 * limit < np.abs(values).max() <= limit
    assert values.std() == pytest.approx(limit / math.sqrt(3), rel=0.03)
    assert abs(values.mean()) < 0.03 * limit


@pytest.mark.parametrize(("name", "deviation"), DEVIATIONS.items())
def test_normal_of_its_deviation(name, deviation):
    values = draw(name)
    assert values.std() == pytest.approx(deviation, rel=0.03)
    assert abs(values.mean()) < 0.05 * deviation
    if name != "random_normal":
        assert np.abs(values).max() <= 2 * deviation / 0.8796
        assert np.abs(values).max() > 2 * deviation


def test_constants():
    np.testing.assert_array_equal(draw("zeros"), 0)
    np.testing.assert_array_equal(draw("ones"), 1)


@pytest.mark.parametrize(
    ("shape", "expected"), [((3, 4), (3, 4)), ((5, 5, 3, 4), (75, 100)), ((7,), (7, 7)), ((), (1, 1))]
)
def test_fans(shape, expected):
    assert fans(shape) == expected


def test_a_model_draws_by_its_seed():
    first, second, other = (Sequential([Dense(3, input_shape=(4,))], seed=s) for s in (1, 1, 2))
    for model in (first, second, other):
        model.build()
    np.testing.assert_array_equal(first.get_weights()[0], second.get_weights()[0])
    assert not np.array_equal(first.get_weights()[0], other.get_weights()[0])


def test_two_layers_of_one_shape_begin_differently():
    model = Sequential([Dense(4, input_shape=(4,)), Dense(4)])
    model.build()
    assert not np.array_equal(model.get_weights()[0], model.get_weights()[2])


def test_a_layer_begins_as_asked():
    layer = Dense(3, kernel_initializer="ones", bias_initializer=lambda generator, shape: np.full(shape, 2.5))
    np.testing.assert_array_equal(layer(np.ones((1, 4), "float32")), 6.5)


def test_unknown_names_get_a_hint():
    with pytest.raises(UsageError, match="unknown initializer 'he_norml': did you mean 'he_normal'"):
        make_initializer("he_norml")
