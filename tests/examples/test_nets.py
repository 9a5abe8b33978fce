"""The examples of both documented nets train, offline, and the convolution is the sum that D2 says."""

import runpy
from pathlib import Path

import numpy as np
import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.parametrize("name", ["mlp", "cnn"])
def test_it_learns_digits(name, capsys):
    loss, accuracy = runpy.run_path(str(EXAMPLES / f"{name}.py"))["main"]()
    assert accuracy > 0.94
    assert loss < 0.3
    assert "softmax" not in capsys.readouterr().err


def test_the_first_layer_is_a_sum_over_a_window():
    cnn = runpy.run_path(str(EXAMPLES / "cnn.py"))
    keras, layers = cnn["keras"], cnn["layers"]
    model = keras.Sequential([layers.Conv2D(16, 3, padding="same", activation="relu", bias_initializer="ones")])
    model.build((8, 8, 1))
    x = np.random.default_rng(0).random((2, 8, 8, 1), dtype=np.float32)
    assert cnn["by_the_sum"](model, x) == pytest.approx(cnn["first_layer"](model, x), rel=1e-6)
