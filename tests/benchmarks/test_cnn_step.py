"""The step of the small CNN is timed, of whoever is installed."""

from chalkgrad.benchmarks import cnn_step


def test_a_step_takes_time(monkeypatch):
    monkeypatch.setattr(cnn_step, "BATCH", 8)
    monkeypatch.setattr(cnn_step, "WARM_UPS", 4)
    monkeypatch.setattr(cnn_step, "STEPS", 4)
    assert 0.01 < cnn_step.measure("captured", 1) < 1e4
