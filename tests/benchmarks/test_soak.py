"""The run of training and serving under faults, in short: each fault by itself, all at once, and what it finds."""

import numpy as np
import pytest

from chalkgrad.benchmarks.reliability import soak
from chalkgrad.benchmarks.reliability.soak import FAULTS, HOSTILE, Soak

MAY_BE_MISSED = ("Ctrl-C", "a damaged model file", "none", "a fork", soak.IN_USE)
"""What need not raise: it comes too late, changes nothing, or is none."""


@pytest.fixture(scope="module")
def short(tmp_path_factory):
    return Soak(0.5, 0, tmp_path_factory.mktemp("soak"), apart=0.1)


@pytest.fixture
def found(short, monkeypatch):
    monkeypatch.setattr(short, "found", soak.Found())
    return short.found


@pytest.mark.parametrize("kind", FAULTS)
def test_a_training_under_each_fault_ends_as_one_that_nothing_disturbed(short, found, kind, monkeypatch):
    monkeypatch.setattr(soak, "FAULTS", {kind: FAULTS[kind]})
    short._train()
    assert (found.counts["trainings"], found.faults, found.wrong) == (1, {kind: 1}, [])
    assert found.raised[kind] or kind in MAY_BE_MISSED


@pytest.mark.parametrize("kind", HOSTILE)
def test_each_hostile_input_is_refused(short, found, kind, monkeypatch):
    monkeypatch.setattr(soak, "HOSTILE", {kind: HOSTILE[kind]})
    short._hostile(short.served[0], np.random.default_rng(0))
    assert (found.faults, found.wrong) == ({kind: 1}, [])
    assert found.raised[kind] or kind in MAY_BE_MISSED


def test_all_at_once(tmp_path):
    found = Soak(0.5, 1, tmp_path, apart=0.1).run().to_dict()
    assert found["wrong"] == []
    assert found["predictions"] >= 1
    assert found["trainings"] >= 1
    assert [reading["threads"] for reading in found["readings"][1:-1]]


def test_a_wrong_prediction_a_wrong_training_and_a_foreign_error_are_found(short, found, monkeypatch, capsys):
    monkeypatch.setattr(short, "outputs", [[b""] * len(soak.CASES)] * soak.SEEDS)
    monkeypatch.setattr(short, "weights", [[b""]] * soak.SEEDS)
    monkeypatch.setattr(soak, "FAULTS", {"none": FAULTS["none"]})
    monkeypatch.setattr(short, "_hostile", lambda model, rng: 1 / 0)
    short._train()
    with monkeypatch.context() as patched:
        patched.setattr(short.stop, "wait", lambda seconds: len(found.wrong) > 4)
        short._guarded(short._serve, np.random.default_rng(1))
    assert "trained under: none" in found.wrong[0]
    assert "a prediction of model" in found.wrong[1]
    monkeypatch.setattr(short.stop, "wait", lambda seconds: False)
    short._guarded(short._serve, np.random.default_rng(0))
    assert "ZeroDivisionError" in found.wrong[-1]
    assert capsys.readouterr().err


def test_the_slope_is_that_of_the_readings_when_warm():
    found = soak.Found(readings=[{"minute": n, "bytes": 10**9 if n < soak.WARM else 100 + 7 * n} for n in range(9)])
    assert found.to_dict()["slope_bytes_a_minute"] == 7
