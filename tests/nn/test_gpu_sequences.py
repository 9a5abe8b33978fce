"""Models of sequences on a GPU, or the stand-in for it: as on the CPU."""

import numpy as np
import pytest

from chalkgrad import Sequential, layers

pytestmark = pytest.mark.gpu
IDS = np.array([[3, 5, 2], [4, 6, 0], [2, 0, 0], [1, 8, 9]])


def test_a_training_is_the_cpus(device):
    losses = []
    for where in ("cpu", device):
        model = Sequential([
            layers.Embedding(10, 3, mask_zero=True, input_shape=(3,)),
            layers.LSTM(3, dropout=0.2),
            layers.Dense(1),
        ], seed=1, device=where)  # fmt: skip
        model.compile("adam", "mse")
        losses.append(model.fit(IDS, np.ones((4, 1)), epochs=2, batch_size=2, verbose=0).history["loss"])
    np.testing.assert_allclose(*losses, rtol=1e-4)
