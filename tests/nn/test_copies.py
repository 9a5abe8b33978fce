"""A copied model is a model of its own, which trains on as the original would, to the last bit."""

import copy
import pickle

import numpy as np
import pytest

import chalkgrad as cg
from chalkgrad import Sequential, layers
from chalkgrad.nn.initializers import INITIALIZERS
from chalkgrad.nn.layers.base import LAYERS
from chalkgrad.nn.losses import LOSSES, make_loss
from chalkgrad.nn.metrics import METRICS

COPIES = {"copy": copy.copy, "deepcopy": copy.deepcopy, "pickle": lambda x: pickle.loads(pickle.dumps(x))}
copies = pytest.mark.parametrize("copied", COPIES.values(), ids=COPIES)
X = np.random.default_rng(0).normal(size=(32, 4)).astype("float32")
Y = np.random.default_rng(1).integers(0, 3, 32)


def classifier(optimizer="adam", **options):
    model = Sequential(
        [
            layers.Dense(8, activation="relu", input_shape=(4,)),
            layers.BatchNormalization(),
            layers.Dropout(0.2),
            layers.Dense(3, activation="softmax"),
        ]
    )
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"], **options)
    return model


def same(a, b):
    return all(np.array_equal(p, q) for p, q in zip(a.get_weights(), b.get_weights(), strict=True))


def going_on(model, since=3):
    return model.fit(X, Y, batch_size=4, epochs=since + 2, initial_epoch=since, validation_data=(X, Y), verbose=0)


@copies
@pytest.mark.parametrize("eager", [False, True])
def test_a_copy_trains_on_as_the_original_would_and_leaves_it_alone(copied, eager):
    model = classifier(cg.optim.Adam(use_ema=True), run_eagerly=eager)
    model.fit(X, Y, batch_size=4, epochs=3, validation_data=(X, Y), verbose=0)
    model.predict(X)
    before, other = model.get_weights(), copied(model)
    assert same(model, other)
    assert other.optimizer.iterations == 24
    assert not other.recorded_steps
    mine = going_on(other)
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))
    assert not any(np.array_equal(a, b) for a, b in zip(before, other.get_weights(), strict=True))
    assert mine.history == going_on(model).history
    assert same(model, other)
    assert np.array_equal(model.predict(X), other.predict(X))


@copies
def test_a_model_is_copied_before_it_is_built_or_compiled(copied):
    model = Sequential([layers.Dense(3)])
    other = copied(model)
    model.build((4,))
    assert not other.built
    other.build((4,))
    assert same(model, other)


@copies
def test_histories_losses_metrics_and_layers_are_equal_and_independent(copied):
    model = classifier()
    history = model.fit(X, Y, verbose=0)
    other = copied(history)
    assert (other.epoch, other.history) == (history.epoch, history.history)
    other.history["loss"].append(0)
    assert len(history.history["loss"]) == 1
    assert not hasattr(other, "model")
    assert copied(model.loss) == model.loss
    assert copied(model.metrics[0]) == model.metrics[0]
    layer = copied(model.layers[0])
    assert np.array_equal(layer(X).numpy(), model.layers[0](X).numpy())
    layer.weights["kernel"].assign(0)
    assert model.get_weights()[0].any()


@copies
def test_everything_with_a_name_is_copied(copied):
    named = [*map(make_loss, LOSSES), METRICS["auc"](), *INITIALIZERS.values()]
    assert [copied(one) for one in named] == named
    for make in (layers.Conv2D, layers.DepthwiseConv2D, layers.Conv2DTranspose):
        arguments = (3,) if make is layers.DepthwiseConv2D else (2, 3)
        assert copied(make(*arguments, activation="relu")).config()["activation"] == "relu"
    assert LAYERS["Dense"] is layers.Dense
    schedule = cg.optim.WarmUp(cg.optim.CosineDecay(0.1, 10), 5)
    assert copied(schedule) == schedule


def squared(y_true, y_pred):
    return ((y_true - y_pred) ** 2).mean()


def test_a_loss_of_ones_own_is_pickled_by_its_name_and_a_lambda_is_named_in_the_error():
    model = Sequential([layers.Dense(1, input_shape=(4,))])
    model.compile("sgd", squared)
    model.fit(X, X[:, :1], verbose=0)
    assert pickle.loads(pickle.dumps(model)).loss.function is squared
    model.compile("sgd", lambda t, p: ((t - p) ** 2).mean())
    with pytest.raises((pickle.PicklingError, AttributeError), match="lambda"):
        pickle.dumps(model)


def test_a_training_by_hand_beside_fit_reaches_the_same_weights():
    """An optimiser that is handed the weights in another order lays them into a buffer of its own."""
    model = classifier()
    model.build()
    adam = cg.optim.Adam()
    model(X).sum().backward()
    adam.step(model.trainable_weights[::-1])
    before = model.get_weights()
    model.fit(X, Y, verbose=0)
    assert all((a != b).any() for a, b in zip(before, model.get_weights(), strict=True))
