"""A tokenizer's numbers: there and back, in pieces, in batches; what is none, and what does not fit."""

import numpy as np
import pytest

from chalkgrad.datasets.tokens import Tokens
from chalkgrad.errors import DataError, MissingExtraError

tokenizers = pytest.importorskip("tokenizers", reason="reads tokenizer.json")
TEXT = "héllo wörld, 王 says hello to the world"


@pytest.fixture
def file(tmp_path):
    """Bytes, and nothing put together; with a special token, and with padding and truncation that are not wanted."""
    names = {name: n for n, name in enumerate(sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet()))}
    made = tokenizers.Tokenizer(tokenizers.models.BPE(names, []))
    made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = tokenizers.decoders.ByteLevel()
    made.add_special_tokens(["<|endoftext|>"])
    made.enable_padding(length=50)
    made.enable_truncation(3)
    made.save(str(tmp_path / "tokenizer.json"))
    return tmp_path / "tokenizer.json"


def test_there_and_back(file):
    tokens = Tokens(file.parent, vocabulary=257)
    ids = tokens.encode(TEXT)
    assert len(ids) == len(TEXT.encode())
    assert tokens.decode(ids) == TEXT
    assert len(tokens) == 257


def test_pieces_come_as_soon_as_they_are_characters(file):
    tokens = Tokens(file)
    pieces = list(tokens.pieces([*tokens.encode(TEXT), 256]))
    assert pieces[:3] == ["h", "", "é"]
    assert "".join(pieces) == TEXT
    assert list(tokens.pieces(tokens.encode("é")[1:], before=tokens.encode("hé")[:2])) == ["é"]


def test_a_batch_is_filled_up(file):
    tokens = Tokens(file)
    ids, mask = tokens.batch(["ab", "abcd"])
    assert mask.tolist() == [[1, 1, 0, 0], [1, 1, 1, 1]]
    assert ids[0].tolist() == [*tokens.encode("ab"), 0, 0]
    assert ids.dtype == np.int64
    assert tokens.batch([])[0].shape[0] == 0


@pytest.mark.parametrize("vocabulary", [256, 257 + 128])
def test_a_tokenizer_of_another_model(file, vocabulary):
    with pytest.raises(DataError, match=f"does not fit the model: it has 257 tokens, the model {vocabulary}"):
        Tokens(file, vocabulary)
    Tokens(file, 300)  # a table with rows to spare


def test_what_is_no_tokenizer(tmp_path):
    with pytest.raises(DataError, match=r"there is no .*tokenizer\.json"):
        Tokens(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(DataError, match="is no tokenizer"):
        Tokens(tmp_path)


def test_without_the_library(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "tokenizers", None)
    with pytest.raises(MissingExtraError, match=r"tokenizers, which is not installed: .*text"):
        Tokens(tmp_path)
