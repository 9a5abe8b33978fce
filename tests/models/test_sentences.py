"""What sentences mean: by hand, and a real BERT beside transformers."""

import os

import numpy as np
import pytest

from chalkgrad.commands.explain_heads import Chosen, heads_in
from chalkgrad.errors import DataError
from chalkgrad.models import BERT
from chalkgrad.models.sentences import sentence_vectors

pytestmark = pytest.mark.cpu_only("compares with transformers on the CPU")
TEXTS = [
    "A man is eating food.",
    "Shares fell sharply in London today, after oil had become dearer.",
    "Someone has a meal.",
]


class Letters:
    """Characters as tokens, in place of a tokenizer."""

    def batch(self, texts):
        mask = np.array([[at < len(text) for at in range(max(map(len, texts)))] for text in texts])
        ids = np.zeros(mask.shape, int)
        ids[mask] = [ord(letter) - 96 for text in texts for letter in text]
        return ids, mask * 1


def test_a_vector_is_the_mean_of_length_1_whatever_stands_beside():
    model = BERT(vocabulary=27, positions=5, width=8, depth=1, heads=2, hidden=8)
    vectors = sentence_vectors(model, Letters(), ["ab", "abcde"] * 20)
    alone = model(np.array([[1, 2]])).numpy()[0].mean(0)
    np.testing.assert_allclose(vectors[0], alone / np.linalg.norm(alone), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose((vectors**2).sum(1), 1, rtol=1e-6)
    np.testing.assert_allclose(vectors[-1], vectors[1], rtol=1e-6)
    with pytest.raises(DataError, match="the text 'abcdef' has 6 tokens; the model takes 1 to 5"):
        sentence_vectors(model, Letters(), ["a", "abcdef"])
    with pytest.raises(DataError, match="the text '' has 0 tokens"):
        sentence_vectors(model, Letters(), ["", "a"])


@pytest.fixture(scope="module")
def minilm():
    folder = os.environ.get("CHALKGRAD_MINILM")
    if not folder:
        pytest.skip("CHALKGRAD_MINILM names no folder of all-MiniLM-L6-v2")
    return folder


def test_what_minilm_looks_at(minilm):
    pytest.importorskip("tokenizers", reason="reads tokenizer.json")
    heads = heads_in(minilm, Chosen("The chalk writes."))
    assert (heads.tokens[0], len(heads.layers), len(heads.layers[0])) == ("[CLS]", 6, 12)
    for one in (one for layer in heads.layers for one in layer):
        np.testing.assert_allclose(one.weights.sum(-1), 1, atol=1e-6)
        np.testing.assert_allclose(one.weights @ one.values, one.outputs, atol=2e-6)


@pytest.mark.filterwarnings("ignore")  # of transformers
def test_minilm_beside_transformers(minilm):
    pytest.importorskip("tokenizers", reason="reads tokenizer.json")
    torch = pytest.importorskip("torch", reason="a test beside transformers")
    theirs = pytest.importorskip("transformers", reason="a test beside transformers").BertModel.from_pretrained(minilm)
    from chalkgrad.datasets.tokens import Tokens

    model = BERT.load(minilm)
    tokens = Tokens(minilm, model.vocabulary)
    ids, mask = tokens.batch(TEXTS)
    with torch.no_grad():
        hidden = theirs.eval()(torch.tensor(ids), attention_mask=torch.tensor(mask)).last_hidden_state.numpy()
    there = mask.astype(bool)
    assert np.abs(model(ids, attention_mask=mask).numpy() - hidden)[there].max() < 5e-6
    means = (hidden * mask[..., None]).sum(1) / mask.sum(1)[:, None]
    vectors = sentence_vectors(model, tokens, TEXTS)
    assert np.abs(vectors - means / np.linalg.norm(means, axis=1)[:, None]).max() < 1e-6
    likeness = vectors @ vectors[0]
    assert likeness[2] > 0.6 > 0.1 > likeness[1]
