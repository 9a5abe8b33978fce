"""A mixed policy: float16 is what is computed with, float32 what is kept."""

import contextlib

import numpy as np
import pytest

import chalkgrad as cg
from chalkgrad import Sequential, layers
from chalkgrad.errors import DivergenceError, DtypeError

R = np.random.default_rng(0)
X = R.standard_normal((40, 6)).astype("float32")
LABELS = (X[:, 0] > 0).astype("int64")


def model(dtype="mixed_float16", *middle, **compiled):
    made = Sequential(
        [layers.Dense(8, "relu", input_shape=(6,)), *middle, layers.Dense(2, "softmax")], dtype=dtype
    )  # fmt: skip
    options = {"optimizer": "adam", "loss": "sparse_categorical_crossentropy", "metrics": ["accuracy"]}
    made.compile(**options | compiled)
    return made


def test_weights_are_float32_and_layers_see_float16():
    seen = []

    def note(x):
        seen.append(x.dtype)
        return x

    made = model("mixed_float16", layers.Activation(note))
    made.fit(X, LABELS, verbose=0)
    assert {w.dtype for w in made.weights} == {np.dtype("float32")}
    assert set(seen) == {np.dtype("float16")}
    assert made.predict(X).dtype == "float32"
    assert (made.dtype, made.policy) == ("float32", "mixed_float16")


def test_it_trains_as_float32_but_for_rounding_recorded_or_not(same):
    histories, weights = [], []
    for dtype, run_eagerly in (("float32", False), ("mixed_float16", False), ("mixed_float16", True)):
        made = model(dtype, run_eagerly=run_eagerly)
        histories.append(made.fit(X, LABELS, batch_size=8, epochs=8, verbose=0).history["loss"])
        weights.append(made.get_weights())
    np.testing.assert_allclose(histories[0], histories[1], rtol=5e-3)
    assert histories[0] != histories[1] == histories[2]
    same(weights[1], weights[2])


def test_small_gradients_are_not_lost():
    """Of 1e-6 times a loss: below what float16 holds, were the loss not scaled."""
    small = lambda y_true, y_pred: cg.mean(y_pred**2) * 1e-6  # noqa: E731
    made = Sequential([layers.Dense(64, input_shape=(6,)), layers.Dense(64)], dtype="mixed_float16")
    made.compile(cg.optim.GradientDescent(1e6), small)
    made.build()
    before = made.get_weights()[0]
    made.fit(X[:, :], np.zeros((40, 64)), batch_size=40, verbose=0)
    assert (made.get_weights()[0] != before).mean() > 0.9


@pytest.mark.parametrize("kind", [layers.BatchNormalization, layers.LayerNormalization, lambda: layers.Dropout(0.2)])
def test_layers_with_a_state_keep_it_in_float32(kind):
    made = model("mixed_float16", kind())
    made.fit(X, LABELS, epochs=2, verbose=0)
    assert {w.dtype for w in made.weights} == {np.dtype("float32")}
    assert np.isfinite(made.evaluate(X, LABELS, verbose=0)).all()


def test_a_file_knows_the_policy(tmp_path, same):
    made = model()
    made.fit(X, LABELS, verbose=0)
    made.save(tmp_path / "m")
    again = Sequential.load(tmp_path / "m")
    assert again.policy == "mixed_float16"
    same([again.predict(X)], [made.predict(X)])


def test_what_float16_does_not_hold_ends_the_training():
    made = model()
    with np.errstate(all="ignore"), pytest.raises(DivergenceError):
        made.fit(X * 1e5, LABELS, epochs=2, verbose=0)


@pytest.mark.parametrize("dtype", ["mixed_bfloat16", "mixed", "int8"])
def test_other_policies_are_refused(dtype):
    with pytest.raises(DtypeError, match="mixed_float16"):
        model(dtype)


@pytest.mark.parametrize("precision", ["float16", "bfloat16", "tf32"])
def test_rounded_factors_train_as_float32_and_only_float16_has_too_small_a_range(precision):
    def trained(precision, by=1.0):
        made = Sequential(
            [layers.Dense(16, "relu", precision=precision, input_shape=(6,)), layers.Dense(2, precision=precision)]
        )
        made.compile("adam", cg.losses.SparseCategoricalCrossentropy(from_logits=True))
        history = made.fit(X * by, LABELS, batch_size=8, epochs=3, verbose=0, seed=0).history["loss"]
        assert {w.dtype for w in made.weights} == {np.dtype("float32")}
        return history

    np.testing.assert_allclose(trained(precision), trained("float32"), rtol=2e-2)
    with np.errstate(all="ignore"), contextlib.ExitStack() as stack:
        if precision == "float16":  # its factors beyond 65519 are infinite
            stack.enter_context(pytest.raises(DivergenceError))
        trained(precision, 1e6)
