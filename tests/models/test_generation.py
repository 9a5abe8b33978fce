"""Tokens that go on after others: with and without what is kept, and how they are drawn."""

import numpy as np
import pytest

from chalkgrad.errors import DataError, ShapeError, UsageError
from chalkgrad.models import GPT
from chalkgrad.models.generation import drawn
from chalkgrad.nn import ahead
from chalkgrad.replay import blas


@pytest.fixture(scope="module")
def model():
    made = GPT(vocabulary=20, positions=16, width=12, depth=2, heads=3, dropout=0.1, seed=3)
    made.begin()
    for w in made.weights:
        w.assign(w * 8.0)
    return made


@pytest.mark.parametrize("options", [{}, {"top_k": 3, "seed": 1}, {"top_p": 0.8, "temperature": 1.7}])
def test_with_what_is_kept_and_without(model, options):
    """Past the positions of the model, too."""
    kept = list(model.generate([1, 2, 3], 60, **options))
    assert kept == list(model.generate([1, 2, 3], 60, cache=False, **options))
    assert len(set(kept)) > 3
    assert kept[:9] == list(model.generate([1, 2, 3], 9, **options))


@pytest.mark.deep
def test_a_thousand_tokens():
    made = GPT(**{**GPT.configurations["baby"], "positions": 1024}, seed=1)
    made.begin()
    for w in made.weights:
        w.assign(w * 8.0)
    kept = list(made.generate([1, 2, 3], 1000, seed=5))
    assert kept == list(made.generate([1, 2, 3], 1000, seed=5, cache=False))
    assert len(set(kept)) > 30


def test_the_most_probable_token_and_the_end(model):
    greedy = list(model.generate([1], 12, temperature=0))
    assert greedy == list(model.generate([1], 12, top_k=1, seed=7))
    assert list(model.generate([1], 12, temperature=0, stop=greedy[4])) == greedy[: greedy.index(greedy[4]) + 1]


def test_they_are_drawn_by_their_probabilities():
    logits = np.log(np.array([0.5, 0.3, 0.15, 0.05]))
    generator = np.random.default_rng(0)

    def shares(**options):
        given = {"temperature": 1.0, "top_k": None, "top_p": None, **options}
        found = [drawn(logits, drawing=generator, **given) for _ in range(4000)]
        return np.bincount(found, minlength=4) / 4000

    np.testing.assert_allclose(shares(), [0.5, 0.3, 0.15, 0.05], atol=0.03)
    np.testing.assert_allclose(shares(top_k=2), [0.625, 0.375, 0, 0], atol=0.03)
    np.testing.assert_allclose(shares(top_p=0.7), [0.625, 0.375, 0, 0], atol=0.03)
    cold = np.array([0.25, 0.09, 0.0225, 0.0025])
    assert shares(temperature=1e-310)[0] == 1
    with pytest.raises(DataError, match="not finite"):
        drawn(np.array([0.0, np.nan]), 0.0, None, None, generator)
    np.testing.assert_allclose(shares(temperature=0.5), cold / cold.sum(), atol=0.03)


@pytest.mark.parametrize(
    ("ids", "options", "error", "text"),
    [
        ([], {}, DataError, "the prompt is empty"),
        ([1.5], {}, DataError, "whole numbers"),
        ("to be", {}, DataError, "'to be'"),
        ([[1, 2]], {}, DataError, "one sequence"),
        ([3, 20], {}, DataError, "the token 20 in place 1 is none of the model's 0 … 19"),
        ([1], {"temperature": -1}, UsageError, "temperature"),
        ([1], {"top_k": 0}, UsageError, "top_k"),
        ([1], {"top_p": 1.5}, UsageError, "top_p"),
    ],
)
def test_what_is_refused(model, ids, options, error, text):
    with pytest.raises(error, match=text):
        model.generate(ids, 3, **options)


def test_small_products_are_on_one_thread(model):
    """By the places of all sequences, not by the sequences."""
    if blas.library() is None or model.device != "cpu":
        pytest.skip("NumPy's BLAS is another")
    assert ahead.alone(model, (12, 16)) is not ahead.NOTHING
    assert ahead.alone(model, (1 << 17, 16)) is ahead.NOTHING


def test_one_text_without_a_batch_is_named(model):
    with pytest.raises(ShapeError, match=r"\(batch, steps\), not \(2,\)"):
        model(np.array([1, 2]))
