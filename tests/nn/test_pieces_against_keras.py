"""Losses and metrics beside Keras's, over the tables themselves; skipped where Keras is not installed."""

import os

import numpy as np
import pytest

import chalkgrad as cg
from chalkgrad import losses
from chalkgrad.names import is_ours, snake
from chalkgrad.nn.losses import LOSSES, make_loss
from chalkgrad.nn.metrics import METRICS

pytestmark = [
    pytest.mark.cpu_only("compares with Keras on the CPU"),
    pytest.mark.filterwarnings("ignore"),  # Keras's own
]
SMOOTHED = {"from_logits": True, "label_smoothing": 0.1}
OPTIONS = {
    "huber": {"delta": 0.3}, "tversky": {"alpha": 0.3, "beta": 0.6},
    "categorical_crossentropy": SMOOTHED, "binary_crossentropy": SMOOTHED,
    "binary_focal_crossentropy": {**SMOOTHED, "apply_class_balancing": True, "alpha": 0.3, "gamma": 1.5},
    "categorical_focal_crossentropy": {**SMOOTHED, "alpha": 0.3, "gamma": 1.5},
    "sparse_categorical_crossentropy": {"from_logits": True, "ignore_class": 1},
}  # fmt: skip
WHOLE = ("dice", "tversky")
"""Those of a whole batch, in which no sample can be weighed."""
WEIGHTS = np.array([0.5, 2.0, 0.0, 1.5])


def each(cases):
    """All of them under --deep, else every twelfth: Keras compiles each of its steps."""
    deep = [[] if number % 12 == 5 else [pytest.mark.deep] for number in range(len(cases))]
    return [
        pytest.param(*case, marks=marks, id=f"{case[0]} {case[1]}") for case, marks in zip(cases, deep, strict=True)
    ]


@pytest.fixture(scope="module")
def keras():
    os.environ.setdefault("KERAS_BACKEND", "jax")
    return pytest.importorskip("keras")


def batch(loss):
    """Targets and outputs that it takes, in float32, as Keras has it."""
    rng = np.random.default_rng(len(loss.name))
    y, p = (rng.dirichlet(np.ones(3), 4).astype("float32") for _ in range(2))
    if loss.targets == "labels":
        y = np.array([0, 2, 1, 1])
    if "hinge" in loss.name:
        y = (y > 0.4).astype("float32")
    return y, np.log(p) if loss.from_logits else p


def gradient_of(loss, y, p, weights):
    p = cg.tensor(p, requires_grad=True)
    value = loss(y, p, sample_weight=weights)
    value.sum().backward()
    return value.numpy(), p.grad.numpy()


def jax_gradient(loss, y, p, weights):
    jax = pytest.importorskip("jax")
    function = lambda p: loss(y, p, sample_weight=weights).sum()  # noqa: E731
    return np.asarray(loss(y, p, sample_weight=weights)), np.asarray(jax.grad(function)(p))


CASES = [(name, {}) for name in LOSSES] + [*OPTIONS.items()]


@pytest.mark.parametrize(("name", "options"), each(CASES))
def test_a_loss_and_its_gradient_are_those_of_keras(keras, name, options):
    kind = LOSSES[name]
    y, p = batch(kind(**options))
    theirs = getattr(keras.losses, kind.__name__)
    for reduction, weights in [("sum_over_batch_size", None), ("none", WEIGHTS)][: 1 if name in WHOLE else 2]:
        ours = gradient_of(kind(**options, reduction=reduction), y, p, weights)
        for a, b in zip(ours, jax_gradient(theirs(**options, reduction=reduction), y, p, weights), strict=True):
            np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-6)


@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "sum", "mean", "mean_with_sample_weight", "none", None])
@pytest.mark.parametrize(("weighted", "masked"), [(False, True), (True, True)])
def test_reductions_are_those_of_keras(keras, reduction, weighted, masked):
    y, p = batch(make_loss("huber"))
    weights = WEIGHTS if weighted else None
    ours = losses.Huber(reduction=reduction)(y, p, weights, np.array([1, 1, 0, 1], bool) if masked else None)
    values = keras.losses.huber(y, p)
    theirs = keras.src.losses.loss.reduce_weighted_values(
        values, weights, np.array([1, 1, 0, 1], bool) if masked else None, reduction, "float32"
    )
    np.testing.assert_allclose(ours.numpy(), np.asarray(theirs), rtol=1e-5)


def test_every_loss_has_the_names_that_keras_knows_it_by(keras):
    known = keras.src.losses.ALL_OBJECTS_DICT
    for name in [*LOSSES, *LOSSES.aliases]:
        kind = type(make_loss(name))
        assert type(make_loss(getattr(losses, name))) is type(make_loss(kind.__name__)) is kind
        if name in known:
            assert snake(kind.__name__) == known[name].__name__


class FourthPower(losses.Loss):
    def __init__(self, scale=1.0, **options):
        super().__init__(**options)
        self.scale = scale

    def call(self, y_true, y_pred):
        return cg.mean((y_true - y_pred) ** 4, axis=-1) * self.scale

    def get_config(self):
        return {**super().get_config(), "scale": self.scale}


@pytest.mark.parametrize(
    "loss", ["huber", losses.Huber(0.5, reduction="sum"), losses.mse, FourthPower(2.0), FourthPower]
)
def test_a_model_keeps_its_loss(tmp_path, loss):
    x = np.random.default_rng(0).random((12, 3)).astype("float32")
    model = cg.Sequential([cg.layers.Dense(3, input_shape=(3,))])
    model.compile("sgd", loss)
    before = model.evaluate(x, x, verbose=0)
    model.fit(x, x, verbose=0)
    assert model.evaluate(x, x, verbose=0) < before
    model.save(tmp_path / "m.safetensors")
    assert cg.Sequential.load(tmp_path / "m.safetensors").loss == model.loss


def test_weights_need_one_number_a_sample():
    with pytest.raises(cg.ChalkgradError, match="one number for the batch"):
        make_loss(lambda y_true, y_pred: cg.mean(y_pred))(np.ones((2, 1)), np.ones((2, 1)), sample_weight=[1, 2])
    with pytest.raises(cg.ChalkgradError, match=r"sample_weight has shape \(3,\)"):
        make_loss("mse")(np.ones((2, 1)), np.ones((2, 1)), sample_weight=[1, 2, 3])


# Metrics

GIVEN = {
    "SensitivityAtSpecificity": [0.5], "SpecificityAtSensitivity": [0.5], "RecallAtPrecision": [0.5],
    "PrecisionAtRecall": [0.5], "IoU": [3, [0, 2]], "OneHotIoU": [3, [0, 2]], "MeanIoU": [3], "OneHotMeanIoU": [3],
    "TopKCategoricalAccuracy": [2], "SparseTopKCategoricalAccuracy": [2],
}  # fmt: skip
VARIANTS = [
    ("AUC", {"curve": "PR"}), ("AUC", {"summation_method": "majoring", "num_thresholds": 20}),
    ("AUC", {"thresholds": [0.2, 0.7], "curve": "PR", "summation_method": "minoring"}),
    ("AUC", {"from_logits": True}), ("Precision", {"top_k": 2}), ("Recall", {"thresholds": [0.2, 0.6]}),
    ("Precision", {"class_id": 1}), ("F1Score", {"average": "weighted", "threshold": 0.4}),
    ("FBetaScore", {"beta": 2.0, "average": "micro"}), ("R2Score", {"class_aggregation": None}),
    ("R2Score", {"class_aggregation": "variance_weighted_average", "num_regressors": 2}),
    ("BinaryAccuracy", {"threshold": 0.3}), ("MeanIoU", {"ignore_class": 0}),
    ("BinaryCrossentropy", {"from_logits": True, "label_smoothing": 0.2}),
]  # fmt: skip
ONLY_OURS = ("ConfusionMatrix", "Huber", "Dice", "Tversky", "BinaryFocalCrossentropy", "CategoricalFocalCrossentropy")
COUNTED = ("AUC", "Precision", "Recall", "F1Score", "FBetaScore", "BinaryIoU", "BinaryAccuracy")
KINDS = [(kind.__name__, {}) for kind in METRICS.values() if kind.__name__ not in ONLY_OURS and is_ours(kind)]


@pytest.mark.parametrize(("name", "options"), each(KINDS + VARIANTS))
def test_a_metric_over_batches_is_that_of_keras(keras, name, options):
    rng = np.random.default_rng(len(name))
    made = [getattr(kind.metrics, name)(*GIVEN.get(name, ()), **options) for kind in (cg, keras)]
    assert made[0].name == made[1].name.rstrip("0123456789").rstrip("_")
    weights = np.array([0.5, 2.0, 0.0, 1.5], "float32")
    for step in range(2):
        y, p = (rng.dirichlet(np.ones(3), 4).astype("float32") for _ in range(2))
        if (
            name in ("AUC", "Precision", "Recall", "F1Score", "FBetaScore", "BinaryIoU", "BinaryAccuracy")
            or "At" in name
        ):
            y = (y > 0.4).astype("float32")
        if name.startswith("Sparse") or name in ("IoU", "MeanIoU"):
            y = rng.integers(0, 3, 4)
        if name in ("IoU", "MeanIoU"):
            p = rng.integers(0, 3, 4)
        for metric in made:
            given = (y,) if name in ("Mean", "Sum") else (y, p)
            metric.update_state(*given, sample_weight=None if step or "IoU" in name else weights)
    np.testing.assert_allclose(made[0].result().numpy(), np.asarray(made[1].result()), rtol=2e-4, atol=1e-6)
    made[0].reset_state()
    assert not any(v.numpy().any() for v in made[0].variables)


class Remotest(cg.metrics.Metric):
    """In Keras's way."""

    def __init__(self, name="remotest", **options):
        super().__init__(name=name, **options)
        self.most = self.add_weight(name="most", initializer="zeros")

    def update_state(self, y_true, y_pred, sample_weight=None):
        self.most.assign(cg.maximum(self.most, cg.max(cg.absolute(y_true - y_pred))))

    def result(self):
        return self.most


class Energy(cg.metrics.Metric):
    """In ours."""

    mode = "min"

    def state(self, output_shape):
        return {"total": output_shape}

    def sums(self, xp, y_true, y_pred, weights=None):
        return (xp.sum(y_pred**2, axis=0),)

    def value(self, total):
        return total.sum() ** 0.5


def test_a_model_adds_up_its_metrics_in_the_recorded_step_and_keeps_them(tmp_path):
    rng = np.random.default_rng(0)
    x, y = rng.random((40, 3)).astype("float32"), np.eye(2)[rng.integers(0, 2, 40)]
    taken = ["auc", cg.metrics.F1Score(), Remotest(), Energy(), cg.metrics.RootMeanSquaredError(name="rmse"), "acc"]
    models = []
    for eager in (False, True):
        model = cg.Sequential([cg.layers.Dense(2, "softmax", input_shape=(3,))], dtype="float64")
        model.compile(cg.optim.GradientDescent(0.0), "categorical_crossentropy", taken, run_eagerly=eager)
        model.fit(x, y, batch_size=8, epochs=3, verbose=0, validation_data=(x, y))
        models.append(model)
    assert models[0].history.history == models[1].history.history
    assert models[0].recorded["train"].recordings
    p = models[0].predict(x)
    found = models[0].evaluate(x, y, verbose=0, return_dict=True)
    assert found["remotest"] == pytest.approx(abs(y - p).max())
    assert found["energy"] == pytest.approx((p**2).sum() ** 0.5)
    assert found["rmse"] == pytest.approx(((p - y) ** 2).mean() ** 0.5)
    assert found["acc"] == (p.argmax(1) == y.argmax(1)).mean()
    assert len(found["f1_score"]) == 2
    for name, value in found.items():
        np.testing.assert_allclose(models[0].history.history[name][-1], value, rtol=1e-9)
    models[0].save(tmp_path / "m.safetensors")
    again = cg.Sequential.load(tmp_path / "m.safetensors")
    assert again.metrics == models[0].metrics
    assert again.history.history == models[0].history.history


def test_a_training_taken_up_within_an_epoch_goes_on_with_the_state_of_its_metrics(tmp_path):
    path, rng = tmp_path / "m.safetensors", np.random.default_rng(0)
    x, y = rng.random((32, 3)).astype("float32"), rng.integers(0, 2, 32)

    class Keep(cg.callbacks.Callback):
        def on_train_batch_end(self, batch, logs):
            if batch == 2 and len(self.model.history.epoch) == 1 and not path.exists():
                self.model.save(path)

    model = cg.Sequential([cg.layers.Dense(1, "sigmoid", kernel_constraint="max_norm", input_shape=(3,))])
    measured = ["auc", Remotest(), cg.metrics.F1Score()]
    model.compile(cg.optim.Nadam(0.1, weight_decay=0.1), "binary_crossentropy", measured)
    whole = model.fit(x, y, batch_size=4, epochs=3, verbose=0, callbacks=[Keep()])
    again = cg.Sequential.load(path)
    assert again.fit(x, y, batch_size=4, epochs=3, initial_epoch=1, verbose=0).history == whole.history
    assert [a.tobytes() for a in again.get_weights()] == [a.tobytes() for a in model.get_weights()]
    assert "f1_score" not in whole.numbers
    assert "auc" in whole._repr_markdown_()
    assert "f1_score" not in whole._repr_html_()


def test_one_of_ones_own_may_be_called_as_ours_is(tmp_path):
    def declared():
        class F1Score(cg.metrics.MeanMetric):
            mode = "max"

            def values(self, xp, y_true, y_pred):
                return y_pred[:, 0] * 0 + 2

        return F1Score

    kind = declared()
    assert METRICS["f1_score"] is cg.metrics.F1Score is not kind
    x = np.ones((8, 2), "float32")
    model = cg.Sequential(
        [cg.layers.Dense(2, kernel_initializer=cg.initializers.Constant(np.eye(2)), input_shape=(2,))]
    )
    model.compile("sgd", "mse", [kind()])
    assert model.evaluate(x, x, verbose=0) == [0, 2]
    with pytest.warns(UserWarning, match="custom_objects"):
        model.save(tmp_path / "m.safetensors")
    again = cg.Sequential.load(tmp_path / "m.safetensors", custom_objects={"F1Score": kind})
    assert again.metrics == model.metrics
    assert type(again.metrics[0]) is kind
    with pytest.raises(cg.ChalkgradError, match="'F1Score' is not known here"):
        cg.Sequential.load(tmp_path / "m.safetensors")
