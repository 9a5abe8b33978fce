"""`chalkgrad generate` and `chalkgrad embed`: runs and folders, and what does not fit."""

import json

import numpy as np
import pytest

from chalkgrad.commands.run_folder import RunFolder
from chalkgrad.commands.train_text import ALPHABET
from chalkgrad.datasets.windows import Characters
from chalkgrad.models import BERT, GPT

SIZES = {"vocabulary": 8, "positions": 16, "width": 8, "depth": 1, "heads": 2}
WORDS = ["[UNK]", "<|endoftext|>", "red", "green", "blue", "cold", "warm", "hot"]


def tokenized(folder, words=WORDS):
    tokenizers = pytest.importorskip("tokenizers", reason="reads tokenizer.json")
    made = tokenizers.Tokenizer(
        tokenizers.models.WordLevel({word: n for n, word in enumerate(words)}, unk_token="[UNK]")
    )
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    made.save(str(folder / "tokenizer.json"))


@pytest.fixture
def run(folder):
    """The folder of a run, with letters a … h."""
    with RunFolder(folder / "run", {"dataset": "shakespeare", ALPHABET: "abcdefgh"}) as made:
        model = GPT(**SIZES, seed=1)
        model.begin()
        made.save(model)
    return "run"


def test_a_run_writes_on(chalkgrad, run):
    model, letters = GPT.load("run/model.safetensors"), Characters(alphabet="abcdefgh")
    options = {"temperature": 0.5, "top_k": 4, "top_p": 0.9, "seed": 3}
    written = letters.decode([*model.generate(letters.encode("bad"), 30, **options)])
    given = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
    for where in (run, "run/model.safetensors"):
        assert chalkgrad("generate", where, "--prompt", "bad", "--tokens", 30, *given).stdout == f"bad{written}\n"


def test_a_folder_of_the_world_writes_on(chalkgrad, folder):
    model = GPT(**SIZES, seed=1)
    model.save("gpt2")
    tokenized(folder / "gpt2")
    output = chalkgrad("generate", "gpt2", "--prompt", "red hot", "--tokens", 200).stdout
    words = output.split()
    assert words[:2] == ["red", "hot"]
    assert {*words} <= {*WORDS}
    assert 2 < len(words) < 200  # it ends where the text does


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--prompt", ""], 1, "the prompt is empty"),
        (["--prompt", "abc?"], 1, "the character '?' in place 3 is none of the alphabet's 8"),
        (["--temperature", "-1"], 2, "'--temperature'"),
        (["--top-p", "0"], 2, "'--top-p'"),
        (["--top-k", "0"], 2, "'0' is not a whole number of 1 or more"),
    ],
)
def test_what_cannot_be_gone_on_with(chalkgrad, run, options, code, message):
    assert message in chalkgrad("generate", run, *options, code=code).stderr


def test_models_that_write_nothing(chalkgrad, folder, run):
    assert "does not exist" in chalkgrad("generate", "nowhere", code=1).stderr
    with RunFolder(folder / "digits", {"dataset": "digits"}) as made:
        made.save(GPT.load("run/model.safetensors"))
    assert "is no run of a text: give one of" in chalkgrad("generate", "digits", code=1).stderr
    GPT(**{**SIZES, "vocabulary": 200}).save("gpt2")
    assert "there is no gpt2/tokenizer.json" in chalkgrad("generate", "gpt2", code=1).stderr
    tokenized(folder / "gpt2")
    assert "does not fit the model: it has 8 tokens, the model 200" in chalkgrad("generate", "gpt2", code=1).stderr
    BERT(**SIZES, hidden=8).save("bert")
    assert "GPT reads 'gpt2'" in chalkgrad("generate", "bert", code=1).stderr


def test_texts_are_ranked_by_meaning(chalkgrad, folder):
    BERT(**SIZES, hidden=8, seed=2).save("bert")
    tokenized(folder / "bert")
    texts = ["red hot", "cold blue", "hot red", "warm green red"]
    rows = json.loads(chalkgrad("embed", "bert", *texts, "--json").stdout)
    vectors = np.array([row["vector"] for row in rows])
    assert [row["text"] for row in rows] == texts
    np.testing.assert_allclose(vectors @ vectors[0], [row["likeness"] for row in rows], atol=1e-6)
    order = np.argsort(-(vectors @ vectors[0]))
    lines = chalkgrad("embed", "bert", *texts).stdout.splitlines()
    assert [line[9:] for line in lines] == [texts[at] for at in order]
    assert lines[0] == " 1.0000  red hot"
    assert "has 17 tokens; the model takes 1 to 16" in chalkgrad("embed", "bert", "red " * 17, code=1).stderr
    assert "there is no such file" in chalkgrad("embed", "nowhere", "red", code=1).stderr
    (folder / "bert/config.json").unlink()
    assert "config.json" in chalkgrad("embed", "bert", "red", code=1).stderr


def test_what_its_heads_look_at(chalkgrad, run):
    told = chalkgrad("explain", run, "--text", "bad", "--head", 2, "--token", 2).stdout
    assert "layer 1, head 2" in told
    assert "What token 2, a, looks at" in told
    chalkgrad("explain", run, "--text", "bad", "--format", "html", "--out", "heads.html")
    chalkgrad("explain", run, "--text", "bad", "--format", "markdown", "--out", "heads.md")


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--text", "a" * 17], 1, "the text has 17 tokens; run takes 1 to 16"),
        (["--text", ""], 1, "the text has 0 tokens"),
        (["--text", "bad!"], 1, "the character '!' in place 3"),
        (["--text", "bad", "--layer", "2"], 1, "--layer 2: run has the layers 1 to 1"),
        (["--text", "bad", "--step", "3"], 1, "--step is for a training of images"),
    ],
)
def test_heads_that_are_not_there(chalkgrad, run, options, code, message):
    assert message in chalkgrad("explain", run, *options, code=code).stderr


def test_a_bert_is_explained(chalkgrad, folder):
    BERT(**SIZES, hidden=16, seed=1).save("bert")
    tokenized(folder / "bert")
    assert "What token 2, hot, looks at" in chalkgrad("explain", "bert", "--text", "red hot").stdout
    assert "the text ' ' has no tokens" in chalkgrad("explain", "bert", "--text", " ", code=1).stderr


def test_heads_are_of_texts(chalkgrad):
    assert "are for a model of texts" in chalkgrad("explain", "--head", "2", code=1).stderr
