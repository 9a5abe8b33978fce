"""A run's folder: one thing, in use by one training at a time, usable again whatever it was killed in."""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

import chalkgrad as cg
from chalkgrad.commands import run_folder
from chalkgrad.commands.run_folder import MODEL, SETTINGS, VIEWS, RunFolder, is_run, settings_of
from chalkgrad.errors import DataError

ASKED = {"dataset": "digits", "seed": 3}


@pytest.fixture
def model():
    made = cg.Sequential([cg.layers.Dense(2, input_shape=(3,))], seed=0)
    made.compile("sgd", "mse")
    made.fit(np.ones((4, 3)), np.ones((4, 2)), epochs=2, verbose=0)
    return made


@pytest.fixture
def path(folder):
    return folder / "deep" / "run"


def run(path, model, state="complete", **options):
    with RunFolder(path, ASKED, **options) as kept:
        kept.save(model)
        kept.finish(model.history, state, {"loss": 1.0})


def test_one_file_is_the_run(path, model):
    run(path, model)
    assert set(os.listdir(path)) == {MODEL, SETTINGS, "history.csv", "history.json"}
    said = json.loads((path / SETTINGS).read_text())
    assert (said["state"], said["epochs_done"], said["test"], said["seed"]) == ("complete", 2, {"loss": 1.0}, 3)
    for view in VIEWS:
        (path / view).unlink(missing_ok=True)
    assert is_run(path)
    assert settings_of(path).items() >= ASKED.items()


def test_what_shows_another_epoch_is_gone_before_the_model_is_replaced(path, model, monkeypatch):
    run(path, model)
    for name in VIEWS:
        (path / name).touch()
    genuine, seen = os.replace, []

    def replace(source, target):
        seen.append(set(os.listdir(path)) - {source.name, ".lock"})
        genuine(source, target)

    with RunFolder(path, ASKED, resume=True) as kept:
        assert set(os.listdir(path)) == {MODEL, *VIEWS, ".lock"}  # nothing is known of this training yet
        monkeypatch.setattr(os, "replace", replace)
        kept.save(model)
        kept.save(model)
        assert set(os.listdir(path)) == {MODEL, SETTINGS, ".lock"}
        assert "epochs_done" not in json.loads((path / SETTINGS).read_text())
    assert seen == [{MODEL}, {MODEL}, {MODEL, SETTINGS}]  # the model's, settings.json's, the model's


def test_a_run_is_not_replaced_without_being_told(path, model):
    run(path, model)
    for damaged in (False, True):
        if damaged:
            (path / SETTINGS).unlink()
        with pytest.raises(DataError, match=r"--resume .*deep/run`, or replace it with --overwrite"):
            RunFolder(path, ASKED)
        assert ".lock" not in os.listdir(path)
    with RunFolder(path, ASKED, overwrite=True) as kept:
        assert kept.replaces
        kept.save(model)
        assert not kept.replaces
    with RunFolder(path, ASKED, resume=True) as kept:
        assert not kept.replaces


def test_what_was_made_for_nothing_is_removed(path, folder):
    with RunFolder(path, ASKED):
        assert set(os.listdir(path)) == {SETTINGS, ".lock"}
    assert os.listdir(folder) == []
    path.mkdir(parents=True)
    with RunFolder(path, ASKED):
        pass
    assert os.listdir(path) == []


@pytest.mark.parametrize(
    "left",
    [
        [], [".lock"], [".lock", ".settings.json.0123456789abcdef"], [SETTINGS],
        [".lock", SETTINGS, ".model.safetensors.0123456789abcdef"],
    ],
)  # fmt: skip
@pytest.mark.parametrize("options", [{}, {"overwrite": True}, {"resume": True}])
def test_a_folder_killed_before_its_first_model_is_usable(left, options, path, model):
    path.mkdir(parents=True)
    for name in left:
        (path / name).write_text(json.dumps({"format": "chalkgrad run 1", **ASKED}) if name == SETTINGS else "")
    with RunFolder(path, ASKED, **options):
        pass
    assert os.listdir(path) == [name for name in left if name == SETTINGS]
    run(path, model, **options)
    assert set(os.listdir(path)) == {MODEL, SETTINGS, "history.csv", "history.json"}


@pytest.mark.parametrize(
    ("name", "text"), [("notes.txt", ""), (SETTINGS, "{}"), (MODEL, "weights"), ("history.csv", "mine"), (".model", "")]
)
def test_a_folder_of_others_is_left_alone(name, text, path):
    path.mkdir(parents=True)
    (path / name).write_text(text)
    for options in ({}, {"overwrite": True}, {"resume": True}):
        with pytest.raises(DataError, match="is not empty and holds no run"):
            RunFolder(path, ASKED, **options)
    assert os.listdir(path) == [name]
    assert (path / name).read_text() == text


def test_a_model_alone_is_a_run_of_which_the_settings_are_not_known(path, model):
    path.mkdir(parents=True)
    model.save(path / MODEL)
    with pytest.raises(DataError, match="--overwrite"):
        RunFolder(path, ASKED)
    with pytest.raises(DataError, match=r"settings\.json"):
        settings_of(path)
    run(path, model, overwrite=True)


def test_one_training_at_a_time(path, model):
    with RunFolder(path, ASKED) as kept:
        with pytest.raises(DataError, match="another training is writing into"):
            RunFolder(path, ASKED)
        code = "import pathlib; from chalkgrad.commands.run_folder import RunFolder; "
        code += f"RunFolder(pathlib.Path({str(path)!r}), {{}})"
        other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert "another training is writing into" in other.stderr
        kept.save(model)
    run(path, model, overwrite=True)


def test_each_run_has_a_folder_of_its_own(folder, model, monkeypatch):
    monkeypatch.setattr("time.strftime", lambda _: "20260101-000000")
    runs = [RunFolder(None, ASKED) for _ in range(3)]
    assert [str(run.path) for run in runs] == [f"runs/digits-20260101-000000{end}" for end in ("", "-2", "-3")]
    for run in reversed(runs):
        run.close()
    assert os.listdir(folder) == []
    for name in ("digits-20260101-000000", "digits-20260101-000000-2"):  # in the second in which another has ended
        with RunFolder(None, ASKED) as run:
            run.save(model)
        assert run.path.name == name
    shutil.rmtree("runs")
    monkeypatch.setattr(run_folder.os.path, "exists", lambda _: False)  # as where another makes it just now
    (folder / "runs" / "digits-20260101-000000").mkdir(parents=True)
    with RunFolder(None, ASKED) as run:
        assert run.path.name == "digits-20260101-000000-2"
