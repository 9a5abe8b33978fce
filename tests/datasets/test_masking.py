"""Tokens that are hidden from a model, and what it is to guess."""

import numpy as np
import pytest

import chalkgrad as cg
from chalkgrad.datasets.masking import IGNORED, Masked
from chalkgrad.errors import DataError, UsageError
from chalkgrad.models import BERT
from chalkgrad.nn.losses import SparseCategoricalCrossentropy

MASK, PAD, COUNT = 50, 0, 60
IDS = np.random.default_rng(0).integers(1, 50, (400, 64))
IDS[:, -5:] = PAD


def test_what_is_hidden():
    """Of 23,600 tokens the parts lie within five standard deviations of what they are meant to be."""
    batches = Masked(IDS, MASK, COUNT, special=[PAD], batch_size=400, seed=1)
    x, y = batches[0]
    chosen, spared = y != IGNORED, IDS[0, -1]
    assert not chosen[x == spared].any()
    n = (IDS != PAD).sum()
    for part, of, share in (
        (chosen, n, 0.15), (x == MASK, chosen.sum(), 0.8), (chosen & (x == y), chosen.sum(), 0.1 * (1 + 1 / 58)),
    ):  # fmt: skip
        assert abs(part.sum() - of * share) < 5 * np.sqrt(of * share * (1 - share))
    others = x[chosen & (x != y) & (x != MASK)]
    assert {MASK, PAD}.isdisjoint(others)
    whole = np.where(chosen, y, x)
    assert sorted(map(tuple, whole)) == sorted(map(tuple, IDS))


def test_each_epoch_hides_others_and_a_seed_the_same():
    first, again = (Masked(IDS, MASK, COUNT, batch_size=150, seed=3) for _ in range(2))
    before = [first[at] for at in range(len(first))]
    assert [len(x) for x, _ in before] == [150, 150, 100]
    for (x, y), (x2, y2) in zip(before, (again[at] for at in range(3)), strict=True):
        np.testing.assert_array_equal([x, y], [x2, y2])
    first.on_epoch_end()
    assert (first[0][1] != before[0][1]).any()
    with pytest.raises(IndexError, match="there are 3 batches, none at 3"):
        first[3]


def test_a_bert_learns_to_guess():
    ids = np.repeat(np.arange(112) % 7, 8).reshape(112, 8)  # each row is of one token
    model = BERT(vocabulary=8, positions=8, width=32, depth=1, heads=2, hidden=32, dropout=0.0, head="tokens", seed=0)
    model.compile(cg.optim.AdamW(0.01), SparseCategoricalCrossentropy(from_logits=True, ignore_class=IGNORED))
    losses = model.fit(Masked(ids, 7, 8, share=0.3, batch_size=16), epochs=12, verbose=0).history["loss"]
    assert losses[-1] < 0.3 * losses[0]


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"ids": IDS[0]}, DataError, r"takes numbers \(rows, steps\), not int64 of shape \(64,\)"),
        ({"ids": IDS / 2}, DataError, "not float64"),
        ({"ids": IDS[:0]}, DataError, r"of shape \(0, 64\)"),
        ({"ids": IDS - 1}, DataError, r"Masked\(ids=…\): the 60 tokens are 0 … 59; -1 is none"),
        ({"mask": 60}, DataError, r"Masked\(mask=…\): the 60 tokens are 0 … 59; 60 is none"),
        ({"special": [99]}, DataError, r"Masked\(special=…\): .* 99 is none"),
        ({"special": range(60)}, UsageError, "all 60 tokens are special"),
        ({"share": 0}, UsageError, r"Masked\(share=0\): it lies in \(0, 1\]"),
        ({"batch_size": 0}, UsageError, r"Masked\(batch_size=0\)"),
    ],
)
def test_what_is_refused(given, error, message):
    with pytest.raises(error, match=message):
        Masked(**{"ids": IDS, "mask": MASK, "vocabulary": COUNT, **given})
