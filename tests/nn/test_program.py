"""The documented program (D20) runs, learns, and repeats itself to the last bit."""

import importlib
import os

import numpy as np
import pytest

from chalkgrad import datasets, layers, models, utils


def documented(load_data, epochs, inputs):
    """D20 as it is written in Keras's calls; returns the history, what evaluate gives, and the model."""
    (x_train, y_train), (x_test, y_test) = load_data()
    x_train = x_train.reshape((-1, inputs)).astype("float32") / 255
    x_test = x_test.reshape((-1, inputs)).astype("float32") / 255
    y_train = utils.to_categorical(y_train, 10)
    y_test = utils.to_categorical(y_test, 10)

    model = models.Sequential(
        [layers.Dense(128, activation="relu", input_shape=(inputs,)), layers.Dense(10, activation="softmax")]
    )
    model.compile(optimizer="adam", loss="categorical_crossentropy", metrics=["accuracy"])
    history = model.fit(x_train, y_train, epochs=epochs, batch_size=128, validation_data=(x_test, y_test))
    return history, model.evaluate(x_test, y_test), model


def test_the_documented_program_in_small(capsys):
    history, (loss, accuracy), model = documented(datasets.digits.load_data, epochs=25, inputs=64)
    assert accuracy > 0.95
    assert loss < 0.2
    assert list(history.history) == ["loss", "accuracy", "val_loss", "val_accuracy"]
    assert [history.history["val_loss"][-1], history.history["val_accuracy"][-1]] == [loss, accuracy]
    assert history.history["loss"][-1] < history.history["loss"][0] / 8
    assert model.count_params() == 64 * 128 + 128 + 1290
    assert len(capsys.readouterr().out.splitlines()) == 26


def test_images_go_in_through_flatten(digits):
    x, y, x_test, y_test = digits
    model = models.Sequential([layers.Flatten(input_shape=(8, 8)), layers.Dense(10, "softmax")])
    model.compile("adam", "sparse_categorical_crossentropy", ["accuracy"])
    model.fit(x, y, epochs=30, batch_size=64, verbose=0)
    assert model.evaluate(x_test, y_test, verbose=0)[1] > 0.9


@pytest.mark.parametrize("module", ["layers", "models", "utils", "callbacks", "losses", "metrics", "optimizers"])
def test_keras_import_lines_need_another_package_name_only(module):
    importlib.import_module(f"chalkgrad.{module}")


@pytest.mark.skipif("CHALKGRAD_DATA" not in os.environ, reason="MNIST is not at hand: set CHALKGRAD_DATA to its folder")
def test_the_documented_program_on_mnist(capsys):
    first, second = (documented(datasets.mnist.load_data, epochs=2, inputs=784) for _ in range(2))
    assert first[1][1] >= 0.95
    assert first[0].history == second[0].history
    assert first[1] == second[1]
    for a, b in zip(first[2].get_weights(), second[2].get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
