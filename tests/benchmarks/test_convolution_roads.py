"""The roads to a convolution give the same, and all of them are in the table."""

import numpy as np
import pytest

from chalkgrad.benchmarks import convolution_roads
from chalkgrad.replay import blas, fuse


def test_the_table_has_every_road(monkeypatch):
    monkeypatch.setattr(convolution_roads, "CASES", {"little": (6, 2, 3)})
    monkeypatch.setattr(convolution_roads, "BATCH", 2)
    lines = convolution_roads.compared(rounds=1).splitlines()
    assert len(lines) == 2 + 10 + 3 * (fuse.available() and blas.library() is not None)
    assert sum(line.endswith("| 1.00 |") for line in lines) >= 3


def test_a_road_that_leads_elsewhere_is_noticed():
    with pytest.raises(AssertionError):
        convolution_roads.timed({"one": lambda: np.ones(3), "two": lambda: np.zeros(3)}, rounds=1)
