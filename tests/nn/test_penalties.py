"""Regularisers and constraints: what they compute beside Keras, in a training, in files, and of one's own."""

import os

import numpy as np
import pytest

import chalkgrad as cg
from chalkgrad import Sequential, constraints, layers, regularizers
from chalkgrad.errors import UsageError
from chalkgrad.names import is_ours

RNG = np.random.default_rng(0)
X, Y = RNG.random((24, 4)).astype("float32"), RNG.random((24, 2)).astype("float32")
WEIGHT = RNG.standard_normal((4, 3)).astype("float32")
VARIANTS = {
    "MaxNorm": [{}, {"max_value": 0.5, "axis": 1}], "MinMaxNorm": [{"min_value": 1.5, "max_value": 2.0, "rate": 0.5}],
    "OrthogonalRegularizer": [{"factor": 0.3}], "L1L2": [{"l1": 0.1, "l2": 0.2}],
}  # fmt: skip
KINDS = [
    (module, kind.__name__, options)
    for module, base in (("regularizers", regularizers.Regularizer), ("constraints", constraints.Constraint))
    for kind in [*base.kinds.values()]
    if is_ours(kind)
    for options in VARIANTS.get(kind.__name__, [{}])
]


@pytest.fixture(scope="module")
def keras():
    os.environ.setdefault("KERAS_BACKEND", "jax")
    return pytest.importorskip("keras")


@pytest.mark.cpu_only("compares with Keras on the CPU")
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("module", "name", "options"),
    [pytest.param(*case, marks=[] if n % 4 == 2 else [pytest.mark.deep]) for n, case in enumerate(KINDS)],
)
def test_each_is_that_of_keras(keras, module, name, options):
    ours, theirs = (getattr(getattr(kind, module), name)(**options) for kind in (cg, keras))
    np.testing.assert_allclose(ours(cg.tensor(WEIGHT)).numpy(), np.asarray(theirs(WEIGHT)), rtol=1e-4, atol=1e-6)
    assert type(ours).of(ours.config()) == ours


def test_orthogonal_columns_are_the_rows_of_the_transpose():
    columns, rows = (regularizers.OrthogonalRegularizer(mode=mode) for mode in ("columns", "rows"))
    assert columns(cg.tensor(WEIGHT)).item() == rows(cg.tensor(WEIGHT.T.copy())).item()


def halves(w):
    return w * 0.5


class Fourth(regularizers.Regularizer):
    """In Keras's way."""

    def __init__(self, strength=0.1):
        self.strength = strength

    def __call__(self, x):
        return self.strength * cg.sum(x**4)

    def get_config(self):
        return {"strength": self.strength}


def net(kind, own=False):
    parts = kind.layers
    given = {"bias_regularizer": kind.regularizers.L1(0.1), "activity_regularizer": kind.regularizers.L2(0.01)}
    if own:
        given["kernel_constraint"] = halves
    first = parts.Dense(6, "tanh", kernel_regularizer=Fourth(0.2) if own else "l2", **given)
    rest = [parts.BatchNormalization(gamma_regularizer="l1"), parts.Dense(2, kernel_constraint="non_neg")]
    return kind.Sequential([first, *rest] if kind is cg else [kind.Input((4,)), first, *rest])


@pytest.mark.cpu_only("compares with Keras on the CPU")
@pytest.mark.filterwarnings("ignore")
def test_a_training_has_the_losses_of_keras(keras):
    losses, theirs = [], net(keras)
    ours = net(cg)
    ours.build((4,))
    values = [w + 0.1 for w in theirs.get_weights()]  # at 0 the slope of |x| is 1 in JAX
    ours.set_weights(values)
    theirs.set_weights(values)
    for kind, model in ((cg, ours), (keras, theirs)):
        model.compile(kind.optimizers.SGD(0.1), "mse")
        history = model.fit(X, Y, epochs=3, batch_size=8, shuffle=False, verbose=0).history["loss"]
        losses.append([*history, model.evaluate(X, Y, verbose=0)])
    np.testing.assert_allclose(*losses, rtol=1e-4)
    for a, b in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)


@pytest.mark.cpu_only("on a GPU a recorded step is for the samples of one fit")
@pytest.mark.parametrize("own", [False, True])
def test_they_are_replayed_to_the_last_bit_and_kept_in_the_file(tmp_path, own):
    models = []
    for eager in (True, False):
        model = net(cg, own)
        model.compile("adam", "mse", run_eagerly=eager)
        model.fit(X, Y, epochs=4, batch_size=4, verbose=0)
        models.append(model)
    assert models[0].history.history == models[1].history.history
    assert models[1].recorded["train"].recordings
    path = tmp_path / "m.safetensors"
    if own:
        with pytest.warns(UserWarning, match="'halves': halves"):
            models[1].save(path)
    else:
        models[1].save(path)
    again = Sequential.load(path, custom_objects={"halves": halves})
    assert [layer.config() for layer in again.layers] == [layer.config() for layer in models[1].layers]
    assert again.evaluate(X, Y, verbose=0) == models[1].evaluate(X, Y, verbose=0)
    kernel = again.layers[2].weights["kernel"].numpy()
    assert kernel.min() == 0


def test_a_frozen_layer_has_no_penalty_and_is_not_constrained():
    model = Sequential([layers.Dense(2, kernel_regularizer="l2", kernel_constraint="non_neg", trainable=False)])
    model.compile("sgd", "mse")
    model.build((4,))
    model.set_weights([-np.ones((4, 2)), np.zeros(2)])
    assert model.evaluate(X, Y, verbose=0) == pytest.approx(((model.predict(X) - Y) ** 2).mean(), rel=1e-5)


def test_what_a_layer_has_not_is_refused():
    with pytest.raises(UsageError, match=r"Flatten.*kernel_regularizer"):
        layers.Flatten(kernel_regularizer="l2")
    with pytest.raises(UsageError, match="unknown regularizer 'l3': did you mean 'l2'"):
        layers.Dense(2, kernel_regularizer="l3")
    with pytest.raises(UsageError, match="unknown constraint 'non_neq': did you mean 'non_neg'"):
        layers.Dense(2, bias_constraint="non_neq")
    assert layers.Dense(2).kernel_regularizer is None
    assert layers.Dense(2, kernel_regularizer=regularizers.l2(0.5)).kernel_regularizer == regularizers.L2(0.5)
