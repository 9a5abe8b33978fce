"""Whole numbers on their way into a model, and numbers that its dtype does not hold."""

import numpy as np
import pytest

import chalkgrad as cg
from chalkgrad import layers
from chalkgrad.errors import DataError, UsageError

LARGE = np.array([[2**24 + 1, 5], [2**24 + 3, 2**31 + 1]])


@pytest.fixture
def kinds():
    """Layer classes of a user's own; forgotten afterwards."""
    known = layers.base.LAYERS
    before = dict(known)

    class Spy(layers.Layer):
        def apply(self, weights, x, *, training, generator):
            type(self).seen.append(x.numpy().copy())
            return (x % 7) * 1.0

    class Lookup(Spy):
        takes_integers = True

        def make_weights(self, input_shape, generator):
            return {"table": generator.normal(size=7)}

        def apply(self, weights, x, *, training, generator):
            super().apply(weights, x, training=training, generator=generator)
            return weights["table"][x % 7]

    Spy.seen, Lookup.seen = [], []
    yield Spy, Lookup
    known.clear()
    known.update(before)


@pytest.mark.parametrize("dtype", ["int64", "uint32", "int32", "uint64"])
def test_a_layer_that_takes_integers_gets_them_exactly(kinds, dtype):
    _, lookup = kinds
    ids = np.minimum(LARGE, 2**31 - 1 if dtype == "int32" else LARGE.max()).astype(dtype)
    model = cg.Sequential([layers.Flatten(input_shape=(2,)), layers.Reshape((2,)), lookup(), layers.Dense(1)], seed=1)
    model.compile("adam", "mse", run_eagerly=True)
    y = np.ones((2, 1))
    model.fit(ids, y, epochs=2, batch_size=2, shuffle=False, verbose=0)
    model.evaluate(ids, y, verbose=0)
    predicted = model.predict(ids)
    np.testing.assert_allclose(model(ids), predicted, rtol=1e-6)
    model.fit(ids, y, batch_size=2, shuffle=False, verbose=0, augmentation=lambda x, generator: x)
    assert all(x.dtype == dtype and np.array_equal(x, ids) for x in lookup.seen)
    assert len(lookup.seen) >= 6


def test_they_are_replayed_exactly(kinds):
    _, lookup = kinds
    ids = 2**24 + np.arange(60).reshape(30, 2)
    weights = []
    for eagerly in (False, True):
        model = cg.Sequential([lookup(input_shape=(2,)), layers.Dense(1)])
        model.compile("adam", "mse", run_eagerly=eagerly)
        model.fit(ids, np.arange(30.0)[:, None], epochs=3, batch_size=8, verbose=0)
        weights.append(model.get_weights())
        np.testing.assert_array_equal(model.predict(ids), model.predict(ids % 7))
    assert all(np.array_equal(a, b) for a, b in zip(*weights, strict=True))


def test_another_layer_of_one_s_own_gets_no_rounded_integers(kinds):
    spy, _ = kinds
    model = cg.Sequential([spy(input_shape=(2,))])
    model.compile("adam", "mse")
    for call in (lambda: model.predict(LARGE), lambda: model.evaluate(LARGE, LARGE), lambda: model.fit(LARGE, LARGE)):
        with pytest.raises(DataError, match=r"x holds 16777217 in row 0, .*float32 does not: .*takes_integers = True"):
            call()
    assert model.predict(np.array([[3, 200]], "uint8")).dtype == "float32"
    assert spy.seen[-1].dtype == "float32"


def test_bytes_and_large_numbers_reach_a_dense_layer_in_the_model_s_dtype():
    model = cg.Sequential([layers.Dense(1, input_shape=(2,))])
    for x in (LARGE, np.array([[200, 255]], "uint8"), np.array([[True, False]])):
        assert model.predict(x).dtype == "float32"
        np.testing.assert_allclose(model.predict(x), model.predict(x.astype("float64")), rtol=1e-6)


def net():
    model = cg.Sequential([layers.Dense(1, input_shape=(2,))])
    model.compile("adam", "mse")
    model.build()
    return model


@pytest.mark.cpu_only("a GPU's data are looked at by other means")
@pytest.mark.parametrize("call", ["fit", "evaluate", "predict", "y", "set_weights", "assign", "item"])
def test_a_number_that_float32_does_not_hold_is_refused_before_anything_is_changed(call):
    model, before = net(), net().get_weights()
    x, y = np.ones((5, 2)), np.ones((5, 1))
    large, targets = x.copy(), y.copy()
    large[3, 1] = targets[3] = -1e39
    calls = {
        "fit": lambda: model.fit(large, y, verbose=0),
        "y": lambda: model.fit(x, targets, verbose=0),
        "evaluate": lambda: model.evaluate(large, y, verbose=0),
        "predict": lambda: model.predict(large),
        "set_weights": lambda: model.set_weights([before[0] + 1, np.array([1e39])]),
        "assign": lambda: model.weights[0].assign(np.full((2, 1), 1e39)),
        "item": lambda: model.weights[0].assign(1e39),
    }
    with pytest.raises(DataError, match=r"holds -?1e\+39.*float32 does not"):
        calls[call]()
    assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), before, strict=True))


def test_half_precision_holds_less():
    model = cg.Sequential([layers.Dense(1, input_shape=(2,))], dtype="float16")
    with pytest.raises(DataError, match="x holds 70000 in row 1"):
        model.predict(np.array([[1, 2], [3, 70000]]))


@pytest.mark.parametrize("shape", [5, "ab", (2.5,), (-3,), (0,), (3, None, 0)])
def test_build_of_no_shape(shape):
    for build in (cg.Sequential([layers.Dense(1)]).build, lambda s: layers.Dense(1).build(s, np.random.default_rng(0))):
        with pytest.raises(UsageError, match="input_shape="):
            build(shape)


def test_half_precision_statistics():
    x = np.random.default_rng(0).normal(3, 2, (100_000, 2)).astype("float16")
    layer = layers.BatchNormalization(momentum=0)
    layer(cg.tensor(x), training=True)
    np.testing.assert_allclose(layer.state["moving_mean"], [3, 3], rtol=2e-2)
    np.testing.assert_allclose(layer.state["moving_variance"], [4, 4], rtol=2e-2)
