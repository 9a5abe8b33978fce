import sys
from pathlib import Path

import numpy as np
import pytest

HERE = str(Path(__file__).parent)


@pytest.fixture(scope="module")
def stand_in():
    """The package; taken away again, so that the engine does not find it."""
    before = sys.modules.get("cupy")
    sys.path.insert(0, HERE)
    import cupy

    yield cupy
    sys.path.remove(HERE)
    if before is None:
        for name in [name for name in sys.modules if name.partition(".")[0] in ("cupy", "cupyx")]:
            del sys.modules[name]


@pytest.fixture
def cp(stand_in):
    """The package, counting from 0, strict."""
    stand_in.transfers.reset()
    stand_in.strict = True
    return stand_in


@pytest.fixture
def x(cp):
    return cp.asarray(np.arange(12, dtype="float32").reshape(3, 4))


@pytest.fixture
def stream(cp):
    return cp.cuda.Stream(non_blocking=True)
