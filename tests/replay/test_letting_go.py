"""A recording lets go of large arrays as soon as nobody needs them, with the bits of the tape all the same."""

import tracemalloc

import numpy as np
import pytest

import chalkgrad as cg
from chalkgrad import layers
from chalkgrad.replay import trace

pytestmark = pytest.mark.cpu_only("arrays of a GPU are kept")
X = np.random.default_rng(0).normal(size=(256, 16)).astype("float32")


def trained(deep=6, **options):
    model = cg.Sequential([*(layers.Dense(256, activation="tanh") for _ in range(deep)), layers.Dense(4)], seed=1)
    model.compile(cg.optim.AdamW(0.01), "mse", **options)
    losses = [model.train_on_batch(X, X[:, :4]) for _ in range(5)]
    return losses, model.get_weights()


def test_the_same_with_everything_let_go(monkeypatch):
    monkeypatch.setattr(trace, "OFTEN", 0)
    monkeypatch.setattr(trace, "LARGE", 1000)
    (losses, weights), (expected, others) = trained(), trained(run_eagerly=True)
    assert losses == expected
    assert all(np.array_equal(a, b) for a, b in zip(weights, others, strict=True))


def test_the_peak_while_it_is_recorded(monkeypatch):
    def peak(often):
        monkeypatch.setattr(trace, "OFTEN", often)
        monkeypatch.setattr(trace, "LARGE", 1 << 16)
        tracemalloc.start()
        try:
            trained(deep=12)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert peak(1 << 18) < 0.85 * peak(1 << 40)


def test_an_update_in_pieces(monkeypatch):
    from chalkgrad.optim import host

    expected, others = trained()
    monkeypatch.setattr(host, "PIECES", (1000, 300))
    losses, weights = trained(deep=6)
    assert losses == expected
    assert all(np.array_equal(a, b) for a, b in zip(weights, others, strict=True))


def test_an_array_that_somebody_holds_stays(monkeypatch):
    monkeypatch.setattr(trace, "OFTEN", 0)
    monkeypatch.setattr(trace, "LARGE", 0)
    x = cg.tensor(X)
    for hold in (lambda array: array, lambda array: array[1:], lambda array: array.reshape(-1)):
        with trace.Trace() as under_way:
            first = x * 2
            held = hold(under_way.plain(first._data))
            del first
            for _ in range(5):
                x + 1
        found = [t.array for t in under_way.traced if t.array is not None]
        assert any(np.shares_memory(held, array) for array in found)
        assert len(found) < len(under_way.traced)
