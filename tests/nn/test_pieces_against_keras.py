"""Each loss beside Keras's, over the table itself; skipped where Keras is not installed."""

import os

import numpy as np
import pytest

import chalkgrad as cg
from chalkgrad import losses
from chalkgrad.names import snake
from chalkgrad.nn.losses import LOSSES, make_loss

pytestmark = [
    pytest.mark.cpu_only("compares with Keras on the CPU"),
    pytest.mark.filterwarnings("ignore"),  # Keras's own
]
SMOOTHED = {"from_logits": True, "label_smoothing": 0.1}
OPTIONS = {
    "huber": {"delta": 0.3}, "categorical_crossentropy": SMOOTHED, "binary_crossentropy": SMOOTHED,
    "binary_focal_crossentropy": {**SMOOTHED, "apply_class_balancing": True, "alpha": 0.3, "gamma": 1.5},
    "categorical_focal_crossentropy": {**SMOOTHED, "alpha": 0.3, "gamma": 1.5},
    "sparse_categorical_crossentropy": {"from_logits": True, "ignore_class": 1},
}  # fmt: skip
WEIGHTS = np.array([0.5, 2.0, 0.0, 1.5])


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


@pytest.mark.parametrize(("name", "options"), CASES, ids=[f"{name}{' with options' * bool(o)}" for name, o in CASES])
def test_a_loss_and_its_gradient_are_those_of_keras(keras, name, options):
    kind = LOSSES[name]
    y, p = batch(kind(**options))
    theirs = getattr(keras.losses, kind.__name__)
    for reduction, weights in [("sum_over_batch_size", None), ("none", WEIGHTS)]:
        ours = gradient_of(kind(**options, reduction=reduction), y, p, weights)
        for a, b in zip(ours, jax_gradient(theirs(**options, reduction=reduction), y, p, weights), strict=True):
            np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-6)


@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "sum", "mean", "mean_with_sample_weight", "none", None])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("masked", [False, True])
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
