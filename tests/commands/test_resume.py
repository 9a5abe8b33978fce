"""`chalkgrad train --resume`: what was stopped anywhere ends as what was not, to the last byte of its files."""

import json

import numpy as np
import pytest

from chalkgrad.commands.train import SaveEachEpoch
from chalkgrad.nn import Sequential, ahead
from chalkgrad.signals import Stopped

MLP = ("--hidden", "8", "--batch-size", 128, "--optimizer", "rmsprop", "--seed", 3)
CNN = ("--model", "cnn", "--hidden", "4", "--batch-size", 512)


@pytest.fixture(autouse=True)
def _plain(absent):
    absent("matplotlib")


@pytest.fixture
def stopped(chalkgrad, monkeypatch):
    """Runs the command until a signal comes at a batch of an epoch."""

    def run(*arguments, epoch, batch=None):
        now = [0]

        class Keeper(SaveEachEpoch):
            def on_epoch_begin(self, number, logs=None):
                now[0] = number
                if batch is None and number == epoch:
                    raise Stopped(15)

            def on_train_batch_end(self, number, logs):
                if (now[0], number) == (epoch, batch):
                    raise Stopped(15)

        with monkeypatch.context() as patch:
            patch.setattr("chalkgrad.commands.train.SaveEachEpoch", Keeper)
            return chalkgrad("train", "--verbose", 0, *arguments, code=143).stderr

    return run


def contents(folder, name):
    """The run's files, but for the pictures."""
    files = (folder / name / file for file in ("model.safetensors", "history.csv", "history.json", "settings.json"))
    return [file.read_bytes() for file in files]


PLACES = {"epoch": 0, "batch": 1}, {"epoch": 1}, {"epoch": 1, "batch": 1}


@pytest.mark.parametrize(
    ("options", "seconds", "places"), [(MLP, 60, PLACES), (MLP, 0, PLACES), (CNN, 0, PLACES[2:])], ids=str
)
def test_a_run_that_was_stopped_goes_on(chalkgrad, folder, stopped, options, seconds, places):
    chalkgrad("train", "--verbose", 0, "--out", "whole", "--epochs", 3, *options)
    saves = "--checkpoint-seconds", seconds
    for place in places:
        told = stopped("--out", "run", "--overwrite", "--epochs", 3, *options, *saves, **place)
        begun = place["epoch"] or seconds == 0
        assert ("`chalkgrad train --resume run` goes on" if begun else "nothing was saved") in told
        if not begun:
            continue
        model = Sequential.load(folder / "run" / "model.safetensors")
        assert (model.standing.within is None) == (seconds == 60 or "batch" not in place)
        if options is MLP:
            stopped("--resume", "run", *saves, epoch=2, batch=0)
        told = chalkgrad("train", "--resume", "run", "--verbose", 2).stdout
        assert f"run is gone on with, after epoch {2 if options is MLP else 1}" in told
        assert contents(folder, "run") == contents(folder, "whole")


def test_a_complete_run_says_so_and_may_get_more_epochs(chalkgrad, folder):
    chalkgrad("train", "--verbose", 0, "--out", "run", "--epochs", 2, *MLP)
    before = contents(folder, "run")
    told = chalkgrad("train", "--resume", "run").stdout
    assert told == "the run in run is complete, with 2 epochs: --epochs 3 would go on\n"
    assert contents(folder, "run") == before
    assert "共 2 轮" in chalkgrad("train", "--resume", "run", "--lang", "zh").stdout
    chalkgrad("train", "--resume", "run", "--epochs", 3, "--verbose", 0)
    chalkgrad("train", "--verbose", 0, "--out", "whole", "--epochs", 3, *MLP)
    assert contents(folder, "run") == contents(folder, "whole")


def test_a_run_killed_before_its_views_were_written_gets_them(chalkgrad, folder):
    chalkgrad("train", "--verbose", 0, "--out", "run", "--epochs", 2, *MLP)
    whole = contents(folder, "run")
    (folder / "run" / "history.csv").unlink()
    settings = json.loads((folder / "run" / "settings.json").read_text())
    (folder / "run" / "settings.json").write_text(json.dumps({**settings, "state": "training"}))
    chalkgrad("train", "--verbose", 0, "--resume", "run")
    assert contents(folder, "run") == whole


@pytest.mark.parametrize(
    ("given", "named"),
    [
        (["mnist"], "DATASET mnist contradicts the run in run, which has digits"),
        (["--model", "cnn"], "--model cnn contradicts"),
        (["--batch-size", 64], "--batch-size 64 contradicts the run in run, which has 128"),
        (["--hidden", "16,8"], "--hidden 16,8 contradicts the run in run, which has 8"),
        (["--optimizer", "adam"], "--optimizer adam contradicts"),
        (["--learning-rate", 0.5], "--learning-rate 0.5 contradicts"),
        (["--seed", 0], "--seed 0 contradicts the run in run, which has 3"),
        (["--epochs", 1], "--epochs 1: the run in run was to have 2"),
        (["--out", "other"], "takes no --out"),
        (["--overwrite"], "takes no --overwrite"),
    ],
)
def test_what_contradicts_is_refused_by_name(chalkgrad, folder, given, named):
    chalkgrad("train", "--verbose", 0, "--out", "run", "--epochs", 2, *MLP)
    before = contents(folder, "run")
    assert named in " ".join(chalkgrad("train", "--resume", "run", *given, code=2).stderr.split())
    assert contents(folder, "run") == before
    chalkgrad("train", "--resume", "run", "digits", *MLP)  # what says the same is no contradiction


def test_what_cannot_be_gone_on_with(chalkgrad, folder):
    assert "nowhere holds no run" in chalkgrad("train", "--resume", "nowhere", code=1).stderr
    chalkgrad("train", "--verbose", 0, "--out", "run", "--epochs", 2, *MLP)
    place = folder / "run" / "model.safetensors"
    model = Sequential.load(place)
    run = model.facts["run"]
    for name, value in {"dataset": ["digits"], "epochs": 0, "hidden": [8.5], "learning_rate": "fast"}.items():
        model.facts["run"] = {**run, name: value}
        model.save(place)
        told = chalkgrad("train", "--resume", "run", code=1).stderr
        assert f"run does not tell how the model was trained (its {name} is {value!r})" in told
    model.facts["run"] = {**run, "hidden": [9], "epochs": 3}
    model.save(place)
    assert "its model is another than its settings say" in chalkgrad("train", "--resume", "run", code=1).stderr


def test_other_versions_are_told(chalkgrad, folder, monkeypatch):
    chalkgrad("train", "--verbose", 0, "--out", "run", "--epochs", 2, *MLP)
    monkeypatch.setattr(np, "__version__", "9.9")
    told = chalkgrad("train", "--resume", "run", "--epochs", 3, "--verbose", 0).stdout
    assert "and goes on with chalkgrad" in told
    assert "numpy 9.9" in told


def test_that_epochs_are_compiled_here_and_were_not_there_is_told(chalkgrad, folder, monkeypatch):
    chalkgrad("train", "--verbose", 0, "--out", "run", "--epochs", 2, *MLP)
    monkeypatch.setattr(ahead, "runs_epochs", lambda *samples: True)
    monkeypatch.setattr(ahead, "version", lambda name: "1.2")
    told = chalkgrad("train", "--resume", "run", "--epochs", 3, "--verbose", 0).stdout
    assert ", numba 1.2" in told
