"""`chalkgrad train shakespeare`: the run's folder, how it goes on, and what it takes for the text."""

import json

import numpy as np
import pytest

from chalkgrad.commands import train_text
from chalkgrad.datasets import shakespeare
from chalkgrad.datasets.windows import Characters, Windows, split
from chalkgrad.errors import DataError
from chalkgrad.models import GPT

TEXT = "To be, or not to be: that is the question.\n" * 40
QUICK = ("train", "shakespeare", "--verbose", 0)


@pytest.fixture(autouse=True)
def small(monkeypatch, absent):
    """A short text, a small model, three updates an epoch, no pictures."""
    monkeypatch.setattr(shakespeare, "load_text", lambda: TEXT)
    monkeypatch.setitem(GPT.configurations, "baby", {**GPT.configurations["baby"], "width": 8, "depth": 1, "heads": 2})
    monkeypatch.setattr(train_text, "STEPS", 3)
    monkeypatch.setattr(train_text, "LONG", 10)
    absent("matplotlib")


def test_a_run(chalkgrad, folder):
    output = chalkgrad(*QUICK, "--epochs", 2, "--out", "run").stdout
    model, settings = GPT.load("run/model.safetensors"), json.loads((folder / "run/settings.json").read_text("utf-8"))
    letters = Characters(alphabet=settings["alphabet"])
    assert letters.alphabet == Characters(TEXT).alphabet
    assert (settings["state"], settings["epochs_done"], settings["model"]) == ("complete", 2, "gpt")
    x, y = zip(*Windows(split(np.array(letters.encode(TEXT)))[1], 64), strict=True)
    logits = model.predict(np.concatenate(x), verbose=0).astype(np.float64)
    chosen = np.take_along_axis(logits, np.concatenate(y)[..., None], -1)[..., 0]
    loss = (np.log(np.exp(logits).sum(-1)) - chosen).mean()  # over the whole of the validation split
    assert settings["test"]["loss"] == pytest.approx(loss, rel=1e-5)
    assert f"validation loss {loss:.4f}" in output
    sample = (folder / "run/sample.txt").read_text("utf-8")
    assert len(sample) == 10
    assert sample in output
    assert "--prompt" in chalkgrad("train", "shakespeare", "--epochs", 1, "--out", "other").stdout


def test_the_optimizer_is_nanogpts():
    model = train_text.Text({"seed": 0, "batch_size": 12, "dataset": "shakespeare"}, "en", 0).make(
        {"dataset": "shakespeare", "learning_rate": 1e-3, "epochs": 100, "device": "cpu"}
    )
    rates = [model.optimizer.schedule(step) for step in (0, 99, 100, 299, 300, 1000)]
    np.testing.assert_allclose(rates, [1e-5, 1e-3, 1e-3, 1e-4, 1e-4, 1e-4], rtol=1e-3)
    own = model.optimizer
    assert (own.beta_2, own.weight_decay, own.global_clipnorm) == (0.99, 0.1, 1.0)
    still = [w for w in model.trainable_weights if any(name in w.name for name in own.undecayed)]
    assert {w.ndim for w in still} == {1}
    assert all(w.ndim > 1 for w in model.trainable_weights if not any(w is each for each in still))


def test_interrupted_it_goes_on_to_the_same_end(chalkgrad, folder, monkeypatch):
    chalkgrad(*QUICK, "--epochs", 2, "--out", "whole")
    genuine, taken = Windows.__getitem__, []

    def interrupted(self, at):
        taken.append(self.steps)
        if taken.count(3) == 5:
            raise KeyboardInterrupt
        return genuine(self, at)

    monkeypatch.setattr(Windows, "__getitem__", interrupted)
    chalkgrad(*QUICK, "--epochs", 2, "--out", "parts", "--checkpoint-seconds", 0, code=130)
    chalkgrad("train", "--resume", "parts", "--verbose", 0)
    whole, parts = ({path.name: path.read_bytes() for path in (folder / name).iterdir()} for name in ("whole", "parts"))
    assert parts == whole
    monkeypatch.setattr(shakespeare, "load_text", lambda: TEXT.replace("q", "k"))
    message = chalkgrad("train", "--resume", "parts", "--epochs", 3, code=1).stderr
    assert "cannot be gone on with" in message


@pytest.mark.parametrize("option", ["--hidden=3", "--model=cnn", "--optimizer=sgd", "--watch", "--open"])
def test_options_of_images_are_refused(chalkgrad, option):
    assert f"{option.split('=')[0]} is for images" in chalkgrad(*QUICK, option, code=2).stderr


def test_without_the_text_an_extract_serves(chalkgrad, monkeypatch):
    def none():
        raise DataError("no network")

    monkeypatch.setattr(shakespeare, "load_text", none)
    monkeypatch.setattr(shakespeare, "extract", lambda: TEXT)
    assert "an extract of it" in chalkgrad(*QUICK, "--epochs", 1).stderr
    monkeypatch.setenv("CHALKGRAD_DATA", "elsewhere")  # who names a folder means it
    assert "no network" in chalkgrad(*QUICK, code=1).stderr


def test_the_extract_is_the_texts_beginning():
    assert shakespeare.extract().startswith("First Citizen:\nBefore we proceed any further")
    assert len(shakespeare.extract()) == 59_804
