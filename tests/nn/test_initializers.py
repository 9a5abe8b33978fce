"""How weights begin: limits, deviations, and the same numbers from the same seed."""

import math

import numpy as np
import pytest

from chalkgrad import Sequential, initializers
from chalkgrad.errors import UsageError
from chalkgrad.names import is_ours
from chalkgrad.nn.initializers import INITIALIZERS, Initializer, fans, make_initializer
from chalkgrad.nn.layers import Dense

SHAPE = (120, 80)
FURTHER = "constant", "identity", "truncated_normal", "variance_scaling"
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
    return make_initializer(name)(np.random.default_rng(seed), shape)


@pytest.mark.parametrize("name", [name for name, kind in INITIALIZERS.items() if is_ours(kind)])
def test_every_initializer_is_known_here(name):
    assert name in {"zeros", "ones", "orthogonal", *FURTHER, *LIMITS, *DEVIATIONS}


@pytest.mark.parametrize("name", [name for name, kind in INITIALIZERS.items() if name != "identity" and is_ours(kind)])
def test_shape_and_repetition(name):
    assert draw(name, shape=(2, 3, 4)).shape == (2, 3, 4)
    np.testing.assert_array_equal(draw(name, 3), draw(name, 3))
    if name not in ("zeros", "ones", "constant"):
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


class BegunKeras(Initializer):
    """In Keras's way."""

    def __call__(self, shape, dtype=None):
        return np.full(shape, 0.5)


class BegunOurs(Initializer):
    """In ours."""

    offset: float = 0.0

    def draw(self, generator, shape):
        return np.full(shape, 1 / 3 + self.offset)


@pytest.mark.parametrize(
    ("given", "begins"),
    [
        (initializers.Constant(2.0), 2.0), (BegunKeras(), 0.5), (BegunOurs(1.0), 4 / 3), ("begun_ours", 1 / 3),
        (lambda shape, dtype=None: np.full(shape, 3.0), 3.0), (initializers.RandomUniform(1, 1, seed=3), 1.0),
    ],
)  # fmt: skip
def test_a_model_begins_with_it_and_keeps_it(tmp_path, given, begins):
    model = Sequential([Dense(3, kernel_initializer=given, input_shape=(2,))])
    model.build()
    np.testing.assert_allclose(model.get_weights()[0], begins)
    if isinstance(given, Initializer):
        model.save(tmp_path / "m.safetensors")
        assert Sequential.load(tmp_path / "m.safetensors").layers[0].config() == model.layers[0].config()


def test_a_seed_draws_the_same_each_time_and_by_hand():
    seeded = initializers.HeNormal(seed=5)
    models = [Sequential([Dense(3, kernel_initializer=seeded, input_shape=(4,))], seed=seed) for seed in (0, 1)]
    for model in models:
        model.build()
    np.testing.assert_array_equal(models[0].get_weights()[0], models[1].get_weights()[0])
    np.testing.assert_array_equal(models[0].get_weights()[0], seeded(shape=(4, 3)).numpy())
    np.testing.assert_array_equal(initializers.Identity(2.0)((2, 3)).numpy(), [[2, 0, 0], [0, 2, 0]])
    assert abs(initializers.TruncatedNormal(1.0, 0.1)((500,)).numpy() - 1).max() <= 0.2
    with pytest.raises(UsageError, match="unknown mode 'fan_inn': did you mean 'fan_in'"):
        initializers.VarianceScaling(mode="fan_inn")


def test_a_name_with_a_different_spelling_is_keras_own():
    assert isinstance(initializers.get("HeNormal"), initializers.HeNormal)
    assert initializers.get({"class_name": "GlorotUniform", "config": {"seed": 1}}) == initializers.GlorotUniform(1)
