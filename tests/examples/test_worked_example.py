"""D7-D17: hand-derived gradients, the tape's and numerical ones agree, and the update lowers the loss."""

import runpy
from pathlib import Path

import numpy as np
import pytest

WORKED = runpy.run_path(str(Path(__file__).parents[2] / "examples" / "worked_example.py"))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("samples", [1, 6])
def test_three_witnesses_agree(samples, seed):
    values, target = WORKED["example"](samples, seed)
    hand = WORKED["gradients_by_hand"](values, target)
    assert set(hand) == {"W1", "b1", "W2", "b2", "h", "a"}
    for other in ("gradients_by_tape", "gradients_by_numbers"):
        for name, gradient in WORKED[other](values, target).items():
            np.testing.assert_allclose(gradient, hand[name], rtol=1e-12, atol=1e-12, err_msg=f"{other}: {name}")


@pytest.mark.parametrize("samples", [1, 6])
def test_the_example_shows_something(samples):
    values, target = WORKED["example"](samples)
    assert all(np.abs(g).max() > 1e-3 for g in WORKED["gradients_by_hand"](values, target).values())
    assert 0 < (WORKED["forward"](values, target)["z1"] > 0).mean() < 1  # some units are on, some are off


@pytest.mark.parametrize("samples", [1, 6])
def test_the_update_lowers_the_loss(samples):
    values, target = WORKED["example"](samples)
    after = WORKED["descend"](values, target)
    assert WORKED["forward"](after, target)["J"] < 0.99 * WORKED["forward"](values, target)["J"]


def test_it_runs_as_a_program(capsys):
    WORKED["main"]()
    assert "∇W1" in capsys.readouterr().out
