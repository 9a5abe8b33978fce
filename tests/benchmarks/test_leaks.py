"""The count of what stays behind, in short: every kind runs, and what stays behind is found."""

import numpy as np
import pytest

from chalkgrad.benchmarks.reliability import leaks


@pytest.fixture(autouse=True)
def quick(monkeypatch, declare):
    """To collect garbage takes long where a suite of tests is held. What is declared is forgotten afterwards."""
    monkeypatch.setattr(leaks.gc, "collect", lambda: 0)


@pytest.mark.parametrize("kind", leaks.KINDS)
def test_each_kind_is_made_and_dropped(kind, tmp_path):
    row = leaks.measured(kind, leaks.MOMENTS, tmp_path)
    assert (row["kind"], row["count"], len(row["bytes"])) == (kind, leaks.MOMENTS, leaks.MOMENTS)


def test_what_stays_behind_is_found(tmp_path, monkeypatch):
    kept = []
    monkeypatch.setattr(leaks, "KINDS", {"kept": lambda number, folder: kept.append(np.ones(200_000))})
    assert leaks.measured("kept", 30, tmp_path)["growth"] > 1_000_000
