"""Small data and small models for the tests of `nn`. The shared arrays are read-only: nothing may change them."""

import numpy as np
import pytest

from chalkgrad import Sequential, datasets, layers, utils
from chalkgrad.engine import backend


def frozen(*arrays):
    for a in arrays:
        a.flags.writeable = False
    return arrays


@pytest.fixture(scope="session")
def digits():
    """The shipped digits: x in [0, 1] float32 (n, 8, 8), labels, for training and for testing."""
    (x, y), (x_test, y_test) = datasets.digits.load_data()
    return frozen(x.astype("float32") / 255, y, x_test.astype("float32") / 255, y_test)


@pytest.fixture(scope="session")
def points():
    """Fifty points of four features: x, labels of three classes that depend on x, and the same as one-hot rows."""
    rng = np.random.default_rng(7)
    x = rng.standard_normal((50, 4)).astype("float32")
    labels = np.argmax(x @ rng.standard_normal((4, 3)), axis=1)
    return frozen(x, labels, utils.to_categorical(labels, 3))


@pytest.fixture
def classifier():
    """Makes a small compiled classifier with dropout of the given rate."""

    def make(
        loss="categorical_crossentropy", metrics=("accuracy",), optimizer="adam", dropout=0.0, compiled=True, **options
    ):
        model = Sequential(
            [layers.Dense(6, "tanh", input_shape=(4,)), layers.Dropout(dropout), layers.Dense(3, "softmax")], **options
        )
        if compiled:
            model.compile(optimizer, loss, list(metrics))
        return model

    return make


@pytest.fixture
def same():
    """Asserts that two lists of arrays agree to the last bit."""

    def compare(a, b):
        assert len(a) == len(b)
        for one, other in zip(a, b, strict=True):
            np.testing.assert_array_equal(*[backend.fetch(a) if hasattr(a, "nbytes") else a for a in (one, other)])

    return compare
