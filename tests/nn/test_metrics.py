"""Metrics: their values against NumPy, and which accuracy goes with which loss."""

from dataclasses import replace

import numpy as np
import pytest

from chalkgrad import Sequential, losses, metrics
from chalkgrad.errors import ShapeError, UsageError
from chalkgrad.nn.fitting import make_metric
from chalkgrad.nn.layers import Dense
from chalkgrad.nn.losses import LOSSES, make_loss
from chalkgrad.nn.metrics import METRICS

REFERENCES = {
    "categorical_accuracy": lambda y, p: (y.argmax(axis=1) == p.argmax(axis=1)).mean(),
    "sparse_categorical_accuracy": lambda y, p: (y == p.argmax(axis=1)).mean(),
    "binary_accuracy": lambda y, p: ((y > 0.5) == (p > 0.5)).mean(),
    "mean_squared_error": lambda y, p: ((y - p) ** 2).mean(),
    "mean_absolute_error": lambda y, p: np.abs(y - p).mean(),
}
LOSS_FOR = {"sparse_categorical_accuracy": "sparse_categorical_crossentropy", "binary_accuracy": "binary_crossentropy"}
ACTIVATION_FOR = {"binary_crossentropy": "sigmoid", "mse": None}


def outcome(metric, loss, activation, seed=0):
    """evaluate's value of a metric over short batches, the targets, and what the model predicts."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((23, 4))
    y = rng.integers(0, 3, 23) if loss.startswith("sparse") else np.eye(3)[rng.integers(0, 3, 23)]
    model = Sequential([Dense(3, activation, input_shape=(4,))], dtype="float64", seed=seed)
    model.compile("adam", loss, [metric])
    value = model.evaluate(x, y, batch_size=5, verbose=0)[1]
    return value, y, model.predict(x)


@pytest.mark.parametrize("name", REFERENCES)
def test_values(name):
    loss = LOSS_FOR.get(name, "categorical_crossentropy")
    value, y, p = outcome(name, loss, ACTIVATION_FOR.get(loss, "softmax"))
    assert value == pytest.approx(REFERENCES[name](y, p), rel=1e-12)


@pytest.mark.parametrize(
    ("loss", "metric", "activation"),
    [
        ("categorical_crossentropy", "categorical_accuracy", "softmax"),
        ("sparse_categorical_crossentropy", "sparse_categorical_accuracy", "softmax"),
        ("binary_crossentropy", "binary_accuracy", "sigmoid"),
    ],
)
@pytest.mark.parametrize("accuracy", ["accuracy", "acc"])
def test_accuracy_is_the_one_that_fits_the_loss(loss, metric, activation, accuracy):
    value, y, p = outcome(accuracy, loss, activation)
    assert value == pytest.approx(REFERENCES[metric](y, p))
    assert make_metric(accuracy, make_loss(loss)).name == accuracy


@pytest.mark.parametrize("loss", ["categorical_crossentropy", "sparse_categorical_crossentropy", "binary_crossentropy"])
def test_accuracy_from_logits(loss):
    rng = np.random.default_rng(1)
    x, labels = rng.standard_normal((30, 4)), rng.integers(0, 3, 30)
    y = labels if loss.startswith("sparse") else np.eye(3)[labels]
    results = []
    for activation, chosen in (
        (LOSSES[loss].fuses, make_loss(loss)),
        (None, replace(make_loss(loss), from_logits=True)),
    ):
        model = Sequential([Dense(3, activation, input_shape=(4,))], dtype="float64")
        model.compile("adam", chosen, ["accuracy"])
        results.append(model.evaluate(x, y, verbose=0))
    np.testing.assert_allclose(results[0], results[1], rtol=1e-12)


@pytest.mark.parametrize("loss", ["mse", "mae"])
def test_accuracy_has_no_meaning_under_other_losses(loss):
    model = Sequential([Dense(3, input_shape=(4,))])
    with pytest.raises(UsageError, match="accuracy has no meaning under the loss"):
        model.compile("adam", loss, ["accuracy"])


def test_a_metric_of_ones_own_sees_probabilities():
    def surest(xp, y_true, y_pred):
        return xp.mean(xp.max(y_pred, axis=-1))

    value, _, p = outcome(surest, "categorical_crossentropy", "softmax")
    assert value == pytest.approx(p.max(axis=1).mean(), rel=1e-12)
    assert make_metric(surest, make_loss("mse")).name == "surest"


def test_a_metric_of_ones_own_in_python_numbers():
    assert outcome(lambda xp, y_true, y_pred: 0.25, "categorical_crossentropy", "softmax")[0] == 0.25


def test_a_metric_of_ones_own_is_one_number():
    with pytest.raises(UsageError, match="metric"):
        outcome(lambda xp, y_true, y_pred: y_pred[0], "categorical_crossentropy", "softmax")


@pytest.mark.parametrize("metrics", [["accuracy", "accuracy"], ["mse", "mse"]])
def test_a_metric_named_twice_is_refused(metrics):
    model = Sequential([Dense(3, "softmax", input_shape=(4,))])
    with pytest.raises(UsageError, match="each metric is named once"):
        model.compile("adam", "categorical_crossentropy", metrics)


def test_aliases():
    assert make_metric("mse", make_loss("mse")) == metrics.MeanSquaredError(name="mse")
    assert make_metric("mae", make_loss("mse")) == metrics.MeanAbsoluteError(name="mae")
    assert make_metric(METRICS["binary_accuracy"], make_loss("mse")) == metrics.BinaryAccuracy()


def test_unknown_names_get_a_hint():
    with pytest.raises(UsageError, match="unknown metric 'acuracy': did you mean 'accuracy'"):
        make_metric("acuracy", make_loss("mse"))


@pytest.mark.parametrize("kind", ["labels", "rows", "bits"])
def test_beside_a_loss_of_ones_own_accuracy_fits_the_shapes(kind, tmp_path):
    rng = np.random.default_rng(0)
    x, labels = rng.standard_normal((20, 4)), rng.integers(0, 3, 20)
    y = {"labels": labels, "rows": np.eye(3)[labels], "bits": labels > 1}[kind]
    model = Sequential([Dense(1 if kind == "bits" else 3, "sigmoid", input_shape=(4,))], dtype="float64")
    model.compile("adam", squared, ["accuracy"])
    p = model.predict(x)
    expected = {"labels": p.argmax(1) == labels, "rows": p.argmax(1) == labels, "bits": (p[:, 0] > 0.5) == (labels > 1)}
    assert model.evaluate(x, y, verbose=0)[1] == pytest.approx(expected[kind].mean())
    with pytest.warns(UserWarning, match="squared"):
        model.save(tmp_path / "m.safetensors")
    again = Sequential.load(tmp_path / "m.safetensors", custom_objects={"squared": squared})
    assert again.metrics == model.metrics


def squared(y_true, y_pred):
    return (y_pred**2).mean(axis=-1)


def test_r2_keeps_its_digits_and_is_0_of_equal_targets():
    rng = np.random.default_rng(0)
    y = (rng.standard_normal((500, 2)) + 1000).astype("float32")
    p = (y + 0.5 * rng.standard_normal((500, 2))).astype("float32")
    wide, near = y.astype("float64"), p.astype("float64")
    expected = 1 - ((wide - near) ** 2).sum(0) / ((wide - wide.mean(0)) ** 2).sum(0)
    assert float(metrics.R2Score()(y, p)) == pytest.approx(expected.mean(), abs=1e-6)
    assert float(metrics.R2Score()(np.full((7, 1), 0.1), np.zeros((7, 1)))) == 0
    assert float(metrics.R2Score()(y[:1], p[:1])) == 0


def test_weights_of_other_samples_are_named():
    with pytest.raises(ShapeError, match=r"sample_weight has shape \(3,\) beside y_pred \(4, 1\)"):
        metrics.Accuracy()(np.ones((4, 1)), np.ones((4, 1)), sample_weight=np.ones(3))
    for weights in (np.ones(4), np.ones((4, 1)), 1.0):
        assert float(metrics.Accuracy()(np.ones((4, 1)), np.ones((4, 1)), sample_weight=weights)) == 1


def test_what_a_metric_or_a_loss_cannot_be_given_is_named():
    with pytest.raises(ShapeError, match=r"precision: y_true has shape \(3,\), y_pred \(2, 1\)"):
        metrics.Precision()([1, 0, 1], [[0.1], [0.2]])
    with pytest.raises(UsageError, match=r"Huber\(delta='a'\): it is a number"):
        losses.Huber(delta="a")
    with pytest.raises(UsageError, match="unknown curve 'ROX': did you mean 'ROC'"):
        metrics.AUC(curve="ROX")
    with pytest.raises(AttributeError, match="unknown metric 'aux': did you mean 'auc'"):
        metrics.AUX  # noqa: B018
    with pytest.raises(AttributeError, match="unknown loss 'hubr': did you mean 'huber'"):
        losses.Hubr  # noqa: B018
