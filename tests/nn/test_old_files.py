"""What docs/versions.md promises: a model file of an earlier version is read, and its training goes on."""

from pathlib import Path

import numpy as np
import pytest

from chalkgrad import Sequential

FILES = sorted((Path(__file__).parent / "files").glob("*.safetensors"))
X = np.linspace(0, 1, 4 * 6 * 6, dtype="float32").reshape(4, 6, 6, 1)
PREDICTED = [
    [0.357209, 0.308645, 0.334146],
    [0.371290, 0.290985, 0.337725],
    [0.385307, 0.273897, 0.340796],
    [0.399231, 0.257410, 0.343360],
]
"""By the version that wrote the file."""


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_file_of_an_earlier_version_is_read(file):
    model = Sequential.load(file)
    np.testing.assert_allclose(model.predict(X), PREDICTED, rtol=1e-4)
    assert model.optimizer.iterations == 4
    model.fit(X, np.array([0, 1, 2, 0]), epochs=1, batch_size=2, verbose=0)
    assert model.optimizer.iterations == 6
