"""Losses: their values against NumPy, and the fused ones against the plain ones."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import chalkgrad as cg
from chalkgrad import Sequential, losses
from chalkgrad.errors import ShapeError, UsageError
from chalkgrad.nn.layers import Activation, Dense
from chalkgrad.nn.losses import LOSSES, Loss, make_loss
from chalkgrad.optim import GradientDescent

LOGITS = [name for name, loss in LOSSES.items() if loss.on_logits]


def softmax(z):
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


REFERENCES = {
    "mean_squared_error": lambda y, p: ((p - y) ** 2).mean(),
    "mean_absolute_error": lambda y, p: np.abs(p - y).mean(),
    "categorical_crossentropy": lambda y, p: -(y * np.log(p)).sum(axis=-1).mean(),
    "sparse_categorical_crossentropy": lambda y, p: -np.log(p[np.arange(len(y)), y]).mean(),
    "binary_crossentropy": lambda y, p: -(y * np.log(p) + (1 - y) * np.log(1 - p)).mean(),
}


def targets_for(loss, n, classes, rng):
    if loss.targets == "labels":
        return rng.integers(0, classes, n)
    if loss.targets == "classes":
        return softmax(rng.standard_normal((n, classes)))
    return rng.random((n, classes))


@pytest.mark.parametrize("name", REFERENCES)
@given(st.integers(0, 10_000), st.integers(1, 6), st.integers(2, 4))
def test_values(name, seed, n, classes):
    rng = np.random.default_rng(seed)
    y, z = targets_for(make_loss(name), n, classes, rng), rng.standard_normal((n, classes))
    p = 1 / (1 + np.exp(-z)) if name.startswith("binary") else softmax(z)
    value = make_loss(name)(cg.tensor(y), cg.tensor(p))
    assert value.shape == ()
    np.testing.assert_allclose(value.item(), REFERENCES[name](y, p), rtol=1e-12)
    if name in LOGITS:
        np.testing.assert_allclose(
            make_loss(name)(cg.tensor(y), cg.tensor(z), logits=True).item(), value.item(), rtol=1e-9
        )


def trained(loss, last, x, y, weights=None):
    """The loss of a float64 model before its only update, and the gradients that this update followed."""
    model = Sequential([Dense(5, "tanh", input_shape=(4,)), *last], dtype="float64", seed=3)
    model.compile(GradientDescent(1.0), loss)
    model.build()
    before = model.get_weights()
    history = model.fit(x, y, batch_size=len(x), shuffle=False, verbose=0)
    return history.history["loss"][0], [b - a for b, a in zip(before, model.get_weights(), strict=True)]


def agree(a, b, tolerance=1e-12):
    np.testing.assert_allclose(a[0], b[0], rtol=tolerance)
    for one, other in zip(a[1], b[1], strict=True):
        np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", LOGITS)
def test_the_fused_loss_is_the_plain_one(name):
    rng = np.random.default_rng(0)
    loss, x = make_loss(name), rng.standard_normal((7, 4))
    y = targets_for(loss, 7, 3, rng)
    fused = trained(name, [Dense(3, loss.fuses)], x, y)
    agree(fused, trained(lambda y_true, y_pred: loss(y_true, y_pred), [Dense(3, loss.fuses)], x, y))
    agree(fused, trained(replace(loss, from_logits=True), [Dense(3)], x, y))


@pytest.mark.parametrize("name", LOGITS)
def test_a_last_activation_layer_is_fused_too(name):
    rng = np.random.default_rng(0)
    loss, x = make_loss(name), rng.standard_normal((7, 4))
    y = targets_for(loss, 7, 3, rng)
    agree(trained(name, [Dense(3, loss.fuses)], x, y), trained(name, [Dense(3), Activation(loss.fuses)], x, y))


@pytest.mark.parametrize("function", ["primitive", "name"])
def test_fusing_sees_the_primitive_as_well_as_its_name(function):
    model = Sequential([Dense(3, cg.softmax if function == "primitive" else "softmax", input_shape=(4,))])
    model.compile("adam", "categorical_crossentropy")
    assert model.fuses_loss


def test_fusing_needs_the_fitting_activation():
    model = Sequential([Dense(3, "sigmoid", input_shape=(4,))])
    model.compile("adam", "categorical_crossentropy")
    assert not model.fuses_loss


def test_sparse_labels_are_one_hot_rows():
    rng = np.random.default_rng(1)
    x, labels = rng.standard_normal((9, 4)), rng.integers(0, 3, 9)
    rows = cg.utils.to_categorical(labels, 3)
    one = trained("sparse_categorical_crossentropy", [Dense(3, "softmax")], x, labels)
    agree(one, trained("categorical_crossentropy", [Dense(3, "softmax")], x, rows))


@pytest.mark.parametrize("name", LOGITS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_enormous_logits(name, dtype):
    model = Sequential([Dense(2, LOSSES[name].fuses, input_shape=(1,))], dtype=dtype)
    model.compile(GradientDescent(1e-3), name)
    model.build()
    model.set_weights([np.array([[1e4, -1e4]]), np.zeros(2)])
    y = {"labels": np.array([1]), "classes": np.array([[0.0, 1.0]]), "probabilities": np.array([[0.0, 1.0]])}
    wrong, right = (x * np.ones((1, 1)) for x in (1.0, -1.0))
    targets = y[LOSSES[name].targets]
    expected = 1e4 if name.startswith("binary") else 2e4
    assert model.evaluate(wrong, targets, verbose=0) == pytest.approx(expected, rel=1e-6)
    assert model.evaluate(right, targets, verbose=0) == pytest.approx(0, abs=1e-12)
    model.fit(wrong, targets, verbose=0)
    assert all(np.isfinite(w).all() for w in model.get_weights())
    assert model.get_weights()[1][0] < 0 < model.get_weights()[1][1]


def test_a_loss_of_ones_own():
    def cubed(y_true, y_pred):
        return cg.mean(cg.absolute(y_pred - y_true) ** 3)

    rng = np.random.default_rng(2)
    x, y = rng.standard_normal((6, 4)), rng.standard_normal((6, 2))
    model = Sequential([Dense(2, input_shape=(4,))], dtype="float64")
    model.compile("adam", cubed)
    model.build()
    assert model.loss.name == "cubed"
    expected = (np.abs(model.predict(x) - y) ** 3).mean()
    assert model.evaluate(x, y, verbose=0) == pytest.approx(expected, rel=1e-12)
    model.fit(x, y, epochs=3, verbose=0)
    assert model.evaluate(x, y, verbose=0) < expected


def test_a_loss_of_ones_own_is_one_number():
    model = Sequential([Dense(2, input_shape=(4,))])
    model.compile("adam", lambda y_true, y_pred: y_pred - y_true)
    with pytest.raises(UsageError, match=r"returned shape \(3, 2\): it is a tensor of one number"):
        model.fit(np.ones((3, 4)), np.ones((3, 2)), verbose=0)


def test_a_loss_of_ones_own_is_a_tensor():
    model = Sequential([Dense(2, input_shape=(4,))])
    model.compile("adam", lambda y_true, y_pred: np.float32(1))
    with pytest.raises(UsageError, match="tensor"):
        model.fit(np.ones((3, 4)), np.ones((3, 2)), verbose=0)


def test_names_aliases_and_classes():
    assert {make_loss(name).name for name in LOSSES} == set(LOSSES)
    assert {alias: make_loss(alias).name for alias in LOSSES.aliases} == LOSSES.aliases
    assert losses.MeanSquaredError() == make_loss("mse")
    for make in (losses.CategoricalCrossentropy, losses.SparseCategoricalCrossentropy, losses.BinaryCrossentropy):
        assert isinstance(make(), Loss)
        assert make(from_logits=True).from_logits
        assert not make().from_logits


def test_unknown_names_get_a_hint():
    with pytest.raises(UsageError, match="unknown loss 'categorical_crosentropy': did you mean 'categorical_cross"):
        make_loss("categorical_crosentropy")


@pytest.mark.parametrize(
    "name", ["mean_squared_error", "mean_absolute_error", "categorical_crossentropy", "binary_crossentropy"]
)
def test_row_against_column_is_refused_by_the_loss_itself(name):
    with pytest.raises(ShapeError, match=r"\(3, 1\).*\(3,\)|\(3,\).*\(3, 1\)"):
        make_loss(name)(cg.tensor(np.ones(3)), cg.tensor(np.full((3, 1), 0.5)))


@pytest.mark.parametrize("name", LOGITS)
def test_rows_of_another_length_are_refused_by_the_fused_loss(name):
    targets = np.zeros(4, int) if LOSSES[name].targets == "labels" else np.ones((4, 3))
    with pytest.raises(ShapeError, match="2, 3"):
        make_loss(name)(cg.tensor(targets), cg.tensor(np.ones((2, 3))), logits=True)


@pytest.mark.parametrize(
    ("loss", "size"),
    [(losses.MeanAbsoluteError(reduction="sum"), 4), (losses.MeanAbsoluteError(), 512)],
)
def test_what_depends_on_the_batches_is_measured_by_those_of_fit(loss, size):
    """As in Keras: of a sum the mean over the batches."""
    x, y = np.arange(11.0)[:, None], np.zeros((11, 1))
    model = Sequential([Dense(1, kernel_initializer="ones", input_shape=(1,))])
    model.compile(GradientDescent(0.0), loss)
    found = model.fit(x, y, batch_size=4, validation_data=(x, y), verbose=0).history["val_loss"][0]
    assert found == pytest.approx(model.evaluate(x, y, batch_size=size, verbose=0))
    parts = [x[at : at + size] for at in range(0, 11, size)]
    whole = [part.sum() if loss.reduction == "sum" else part.mean() for part in parts]
    assert found == pytest.approx(np.average(whole, weights=[len(part) for part in parts]))
