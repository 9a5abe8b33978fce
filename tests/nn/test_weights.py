"""Weights of samples, positions and classes: what they do to a loss, beside Keras, and what is refused."""

import os

import numpy as np
import pytest

import chalkgrad as cg
from chalkgrad import Sequential, layers
from chalkgrad.errors import ChalkgradError
from chalkgrad.nn.callbacks import Callback

R = np.random.default_rng(0)
X = R.standard_normal((22, 4)).astype("float32")
LABELS = R.integers(0, 3, 22)
ROWS = np.eye(3, dtype="float32")[LABELS]
W = R.uniform(0, 3, 22)
STEPS = R.standard_normal((22, 5, 4)).astype("float32")


def model(loss="sparse_categorical_crossentropy", last="softmax", units=3, shape=(4,), dropout=0.0, **compiled):
    made = Sequential([layers.Dropout(dropout, input_shape=shape), layers.Dense(units, last)])
    made.compile(**{"optimizer": "sgd", "loss": loss, **compiled})
    made.build()
    return made


CASES = {
    "labels": (X, LABELS, "sparse_categorical_crossentropy", 3, W),
    "rows": (X, ROWS, "categorical_crossentropy", 3, W[:, None]),
    "binary": (X, LABELS % 2, "binary_crossentropy", 1, W),
    "values": (X, ROWS, "mean_squared_error", 3, W),
    "a column": (X, W, "mean_absolute_error", 1, W.astype("int64")),
    "steps": (STEPS, STEPS[:, :, :3], "mean_squared_error", 3, R.random((22, 5))),
    "labels of steps": (STEPS, R.integers(0, 3, (22, 5)), "sparse_categorical_crossentropy", 3, R.random((22, 5))),
    "zero": (X, LABELS, "sparse_categorical_crossentropy", 3, np.zeros(22)),
}


@pytest.fixture(scope="module")
def keras():
    os.environ.setdefault("KERAS_BACKEND", "jax")
    return pytest.importorskip("keras")


def made_for(case):
    x, y, loss, units, w = CASES[case]
    last = {"mean_squared_error": "tanh", "mean_absolute_error": "tanh", "binary_crossentropy": "sigmoid"}.get(
        loss, "softmax"
    )
    return model(loss=loss, units=units, last=last, shape=x.shape[1:]), x, y, loss, units, w


@pytest.mark.deep
@pytest.mark.cpu_only("compares with Keras on the CPU")
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", CASES)
def test_weights_do_what_they_do_in_keras(keras, case):
    made, x, y, loss, units, w = made_for(case)
    kind = getattr(keras.losses, loss.title().replace("_", ""))()
    theirs = float(kind(y if y.ndim > 1 or units > 1 else y[:, None], made.predict(x), sample_weight=w))
    assert made.test_on_batch(x, y, w) == pytest.approx(theirs, rel=1e-5)
    assert made.evaluate(x, y, sample_weight=w, batch_size=11, verbose=0) == pytest.approx(theirs, rel=1e-5)
    assert made.train_on_batch(x, y, w) == pytest.approx(theirs, rel=1e-5)


@pytest.mark.deep
@pytest.mark.cpu_only("compares with Keras on the CPU")
@pytest.mark.filterwarnings("ignore")
def test_a_training_with_weights_is_keras(keras):
    ours, x, y, loss, _, w = made_for("labels of steps")
    theirs, found = keras.Sequential([keras.Input(x.shape[1:]), keras.layers.Dense(3, "softmax")]), []
    theirs.set_weights(ours.get_weights())
    theirs.compile("sgd", loss)
    for each in (ours, theirs):
        history = each.fit(
            x, y, sample_weight=w, batch_size=11, epochs=2, shuffle=False, verbose=0, validation_data=(x, y, w[::-1])
        ).history
        found.append([*history["loss"], *history["val_loss"]])
    np.testing.assert_allclose(*found, rtol=2e-5)
    for a, b in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_the_loss_of_a_batch_is_the_sum_of_the_weighed_over_their_number():
    made = model()
    p = made.predict(X)[np.arange(22), LABELS]
    expected = (W * -np.log(p)).sum() / 22
    assert made.evaluate(X, LABELS, sample_weight=W, verbose=0) == pytest.approx(expected, rel=1e-5)
    assert made.evaluate(X, LABELS, sample_weight=W, batch_size=5, verbose=0) == pytest.approx(expected, rel=1e-5)
    weighed = made.evaluate(X, LABELS, sample_weight=W, verbose=0) - made.evaluate(X, LABELS, verbose=0)
    assert weighed == pytest.approx(((W - 1) * -np.log(p)).mean(), rel=1e-4)


@pytest.mark.parametrize("run_eagerly", [True, False])
def test_each_way_to_give_weights_is_the_same(run_eagerly, same):
    by_class = {0: 1.0, 2: 5.0}
    w = np.array([by_class.get(label, 1.0) for label in LABELS])

    def batches():
        for start in (0, 11):
            yield X[start:][:11], LABELS[start:][:11], w[start:][:11]

    runs = [
        {"x": X, "y": LABELS, "sample_weight": w},
        {"x": X, "y": LABELS, "sample_weight": w.tolist()},
        {"x": X, "y": LABELS, "class_weight": by_class},
        {"x": batches(), "steps_per_epoch": 2},
        {"x": (batch[:2] for batch in batches()), "class_weight": by_class},
    ]
    found = []
    for options in runs:
        made = model(run_eagerly=run_eagerly)
        made.fit(**options, batch_size=11, shuffle=False, verbose=0)
        found.append(made.get_weights())
    for others in found[1:]:
        same(found[0], others)


def test_a_weighed_step_is_recorded_and_shuffled_with_its_samples(same):
    found = []
    for run_eagerly in (True, False):
        made = model(dropout=0.1, run_eagerly=run_eagerly)
        history = made.fit(X, LABELS, sample_weight=W, batch_size=4, epochs=4, verbose=0, validation_split=0.3).history
        found.append([*history.values(), *made.get_weights()])
    same(*found)
    assert any("replayed" in step.explain() for step in made.recorded_steps)


@pytest.mark.parametrize("y", [ROWS, LABELS, LABELS[:, None].astype("float32")])
def test_weights_of_classes_take_rows_and_labels(y, same):
    loss = "categorical_crossentropy" if y is ROWS else "sparse_categorical_crossentropy"
    found = [model(loss=loss), model(loss=loss)]
    found[0].fit(X, y, class_weight={1: 3}, verbose=0)
    found[1].fit(X, y, sample_weight=np.where(LABELS == 1, 3, 1), verbose=0)
    same(*[each.get_weights() for each in found])


def test_weights_of_two_classes_with_one_output(same):
    y = (LABELS > 0).astype("float32")
    found = [model(loss=loss, units=1, last="sigmoid") for loss in ("binary_crossentropy", "mse") for _ in range(2)]
    for number, each in enumerate(found):
        each.fit(X, y, **({"class_weight": {0: 2.0}} if number % 2 else {"sample_weight": 2 - y}), verbose=0)
    same(found[0].get_weights(), found[1].get_weights())
    same(found[2].get_weights(), found[3].get_weights())


def test_a_loss_of_ones_own_is_weighed_where_it_gives_one_number_a_sample():
    each = lambda y_true, y_pred: cg.mean((y_true - y_pred) ** 2, axis=-1)  # noqa: E731
    ours, theirs = model(loss=each), model(loss="mse")
    given = {"x": X, "y": ROWS, "sample_weight": W, "verbose": 0}
    assert ours.evaluate(**given) == pytest.approx(theirs.evaluate(**given), rel=1e-6)
    with pytest.raises(ChalkgradError, match="one number for the batch"):
        model(loss=lambda y_true, y_pred: cg.mean((y_true - y_pred) ** 2)).fit(**given)


WRONG = {
    "another length": ({"sample_weight": W[:5]}, r"sample_weight has shape \(5,\) beside 22 samples: .*\(22,\)"),
    "rows": ({"sample_weight": np.ones((22, 3))}, r"sample_weight has shape \(22, 3\)"),
    "a number": ({"sample_weight": 2.0}, r"sample_weight has shape \(\)"),
    "negative": ({"sample_weight": W - 1}, r"sample_weight is -0.\d+ in row \d+, the first such: a weight is"),
    "NaN": ({"sample_weight": np.where(np.arange(22) > 2, np.nan, 1)}, "sample_weight is nan in row 3"),
    "too large": ({"sample_weight": np.full(22, 1e300)}, "sample_weight holds 1e\\+300 in row 0"),
    "text": ({"sample_weight": ["a"] * 22}, "sample_weight"),
    "both": ({"sample_weight": W, "class_weight": {0: 1.0}}, "both given"),
    "no dict": ({"class_weight": "balanced"}, r"class_weight is a dict .*'balanced'"),
    "no class": ({"class_weight": {3: 1.0}}, r"class_weight has a weight for 3, which is no class: they are 0 … 2"),
    "a name": ({"class_weight": {"cat": 1.0}}, "weight for 'cat', which is no class"),
    "negative class": ({"class_weight": {0: -1.0}}, r"class_weight\[0\] is -1.0"),
    "validation": ({"validation_data": (X, LABELS, W[:3])}, r"validation sample_weight has shape \(3,\)"),
    "four": ({"validation_data": (X, LABELS, W, W)}, r"\(x, y\), or \(x, y, sample_weight\)"),
    "split": ({"validation_split": 0.5, "sample_weight": W[:21]}, "x has 22 samples, sample_weight has 21"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_no_weights_are_is_refused_before_anything_changes(name, same):
    options, named = WRONG[name]
    made = model()
    before = made.get_weights()
    with pytest.raises(ChalkgradError, match=named):
        made.fit(X, LABELS, verbose=0, **options)
    same(before, made.get_weights())


def test_classes_are_weighed_and_values_are_none():
    with pytest.raises(ChalkgradError, match=r"class_weight weighs classes, and y is .* in row 0: no class"):
        model(loss="mse", units=1, last="linear").fit(X, W, class_weight={0: 1.0}, verbose=0)


def test_a_training_with_weights_goes_on_within_an_epoch(tmp_path, same):
    class Saves(Callback):
        def on_train_batch_begin(self, batch):
            if batch == 3 and not (tmp_path / "m").exists():
                self.model.save(tmp_path / "m")

    whole, given = model(), {"x": X, "y": LABELS, "sample_weight": W, "batch_size": 4, "epochs": 2, "verbose": 0}
    whole.fit(**given, callbacks=[Saves()])
    for weights, alike in ((W, True), (W + 1, False)):  # with other weights the epoch begins anew
        other = Sequential.load(tmp_path / "m")
        other.fit(**given | {"sample_weight": weights})
        assert alike is all((a == b).all() for a, b in zip(whole.get_weights(), other.get_weights(), strict=True))
