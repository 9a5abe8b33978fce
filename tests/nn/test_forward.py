"""ReLU behind a max-pooling rather than before it: the same values and gradients, to the last bit, ties included."""

import numpy as np
import pytest

from chalkgrad.nn import Sequential, layers
from chalkgrad.nn.forward import relu_may_wait

RNG = np.random.default_rng(0)
WINDOWS = [{}, {"pool_size": 3, "strides": 1}, {"pool_size": 3, "strides": 2, "padding": "same"}]


def net(options, device, **conv):
    parts = [
        layers.Conv2D(4, 3, activation="relu", input_shape=(8, 7, 2), **conv),
        layers.MaxPooling2D(**options),
        layers.Flatten(),
        layers.Dense(3, activation="softmax"),
    ]
    return Sequential(parts, device=device)


@pytest.mark.parametrize("options", WINDOWS)
@pytest.mark.parametrize("kernel", ["glorot_uniform", "zeros"])  # zeros: everything is tied, at 0
def test_the_order_changes_nothing(options, kernel, device, monkeypatch):
    x = RNG.standard_normal((5, 8, 7, 2)).round(0).astype("float32")
    found = []
    for waits in (True, False):
        if not waits:
            monkeypatch.setattr("chalkgrad.nn.forward.relu_may_wait", lambda layer, following: False)
        model = net(options, device, kernel_initializer=kernel)
        y = model(x)
        (y * y).sum().backward()
        found.append([y.numpy(), *(w.grad.numpy() for w in model.weights)])
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)


class Own(layers.MaxPooling2D):
    """A pooling of the user's own, which may want to see what ReLU gives."""

    def apply(self, weights, x, *, training, generator):
        return super().apply(weights, x, training=training, generator=generator)


@pytest.mark.parametrize(
    ("first", "second", "waits"),
    [
        (layers.Conv2D(2, 3, activation="relu"), layers.MaxPooling2D(), True),
        (layers.Conv2D(2, 3, activation="tanh"), layers.MaxPooling2D(), False),
        (layers.Conv2D(2, 3, activation="relu"), layers.AveragePooling2D(), False),
        (layers.Conv2D(2, 3, activation="relu"), Own(), False),
        (layers.Conv2D(2, 3, activation="relu"), layers.Flatten(), False),
    ],
)
def test_when_it_waits(first, second, waits):
    assert relu_may_wait(first, second) == waits
