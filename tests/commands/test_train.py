"""`chalkgrad train`: the run's folder, and every way to end."""

import csv
import errno
import itertools
import json
import math
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import chalkgrad as cg
from chalkgrad.commands.settings import Settings
from chalkgrad.commands.train import SaveEachEpoch
from chalkgrad.commands.train_images import make_model
from chalkgrad.commands.words import WORDS
from chalkgrad.hints import install_command
from chalkgrad.nn.notebook import ROWS, shown_epochs

FILES = {"model.safetensors", "history.csv", "history.json", "settings.json", "curves.png", "mistakes.png"}


def figures(model):
    """Loss and accuracy of the model on the test split of digits."""
    _, (x, labels) = cg.datasets.load("digits")
    return model.evaluate(x.reshape(len(x), -1).astype("float32") / 255, cg.utils.to_categorical(labels, 10), verbose=0)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def plain(absent):
    """No matplotlib: the pictures take longer than the training."""
    absent("matplotlib")


def test_the_default_run(chalkgrad, folder):
    output = chalkgrad("train").stdout
    accuracy = float(re.search(r"test accuracy ([\d.]+)%", output)[1]) / 100
    assert accuracy >= 0.96
    (run,) = (folder / "runs").iterdir()
    assert run.name.startswith("digits-")
    assert str(run.relative_to(folder)) in output
    assert {path.name for path in run.iterdir()} == FILES

    model = cg.Sequential.load(run / "model.safetensors")
    loss, found = figures(model)
    assert found == pytest.approx(accuracy, abs=1e-4)
    settings = json.loads((run / "settings.json").read_text("utf-8"))
    assert settings["test"] == {"loss": loss, "accuracy": found}
    assert settings["state"] == "complete"
    assert settings["epochs"] == settings["epochs_done"] == 30
    assert (settings["dataset"], settings["optimizer"], settings["hidden"]) == ("digits", "adam", [128])

    history = json.loads((run / "history.json").read_text("utf-8"))
    with open(run / "history.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(history) == ["epoch", "loss", "accuracy", "val_loss", "val_accuracy"]
    assert {name: [float(row[name]) for row in rows] for name in rows[0]} == history
    assert history["epoch"] == list(range(1, 31))
    assert history["val_accuracy"][-1] == found
    for name in ("curves.png", "mistakes.png"):
        with Image.open(run / name) as image:
            image.load()
            assert min(image.size) > 200
            assert np.asarray(image.convert("L")).std() > 5  # something is drawn


def test_the_output_calls_things_by_their_names(chalkgrad):
    output = chalkgrad("train", "--epochs", 3).stdout
    assert "epoch 3/3" in output
    assert output.count("running mean") > 3
    table = output[output.index("training loss") :]
    assert re.findall(r"^ +(\d+) +[\d.]+ +[\d.]+ +[\d.]+ +[\d.]+ *$", table, re.M) == ["1", "2", "3"]
    assert "9,610 parameters" in output


def test_verbose_0_prints_the_result_alone(chalkgrad):
    lines = chalkgrad("train", "--epochs", 1, "--verbose", 0, "--out", "run").stdout.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("test loss")
    assert lines[1] == "kept in run"


def test_options_arrive(chalkgrad, folder, plain):
    chalkgrad(
        *("train", "digits", "--hidden", "16,8", "--hidden", "4", "--optimizer", "momentum", "--learning-rate", 0.05),
        *("--batch-size", 100, "--seed", 3, "--epochs", 1, "--out", "deep/run", "--verbose", 0),
    )
    model = cg.Sequential.load(folder / "deep" / "run" / "model.safetensors")
    assert [layer.units for layer in model.layers] == [16, 8, 4, 10]
    assert model.seed == 3
    assert type(model.optimizer) is cg.optim.Momentum
    assert model.optimizer.learning_rate == 0.05
    assert model.optimizer.iterations == math.ceil(1437 / 100)


def test_a_seed_is_a_run(chalkgrad, folder):
    for out, seed in (("a", 5), ("b", 5), ("c", 6)):  # its pictures as well
        chalkgrad("train", "--epochs", 1, "--seed", seed, "--out", out, "--verbose", 0)
    a, b, c = (contents(folder / name) for name in "abc")
    assert a == b
    assert a["history.csv"] != c["history.csv"]


@pytest.mark.parametrize("count", [1, 2, 7, 12, 13, 30, 100, 1234])
def test_the_table_shows_first_every_nth_and_last(count):
    shown = shown_epochs(count)
    assert shown[0] == 0
    assert shown[-1] == count - 1
    assert shown == sorted(set(shown))
    assert len(shown) <= ROWS + 2
    assert len({b - a for a, b in itertools.pairwise(shown[1:-1])}) <= 1


def test_without_matplotlib_it_says_so_and_goes_on(chalkgrad, folder, absent):
    absent("matplotlib")
    output = chalkgrad("train", "--epochs", 1, "--out", "run").stdout
    assert install_command("plot") in output
    assert {path.name for path in (folder / "run").iterdir()} == FILES - {"curves.png", "mistakes.png"}


def test_a_run_is_replaced_where_that_is_said_a_folder_of_others_is_not(chalkgrad, folder, absent):
    chalkgrad("train", "--epochs", 1, "--out", "run", "--verbose", 0)
    absent("matplotlib")
    before = contents(folder / "run")
    error = chalkgrad("train", "--epochs", 2, "--out", "run", code=1).stderr
    assert "`chalkgrad train --resume run`, or replace it with --overwrite" in error
    assert contents(folder / "run") == before
    output = chalkgrad("train", "--epochs", 2, "--out", "run", "--overwrite").stdout
    assert "will be replaced" in output
    assert {path.name for path in (folder / "run").iterdir()} == FILES - {"curves.png", "mistakes.png"}

    (folder / "photos").mkdir()
    (folder / "photos" / "settings.json").write_text('{"theme": "dark"}')
    error = chalkgrad("train", "--out", "photos", "--overwrite", code=1).stderr
    assert error.startswith("error: the folder photos is not empty")
    assert [path.name for path in (folder / "photos").iterdir()] == ["settings.json"]
    assert "is no folder" in chalkgrad("train", "--out", "photos/settings.json", code=1).stderr


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.ENOSPC])
def test_a_folder_that_cannot_be_written_to_is_found_out_before_training(chalkgrad, folder, monkeypatch, number):
    def refuse(*_, **__):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    monkeypatch.setattr(cg.Sequential, "fit", lambda *_, **__: pytest.fail("it trained"))
    result = chalkgrad("train", "--out", "new/run", code=1)
    assert result.stderr == (
        f"error: cannot write to new/run: {os.strerror(number)}. Choose another folder with --out.\n"
    )
    assert list(folder.iterdir()) == []


def test_a_disk_that_fills_up_leaves_whole_files(chalkgrad, folder, monkeypatch):
    chalkgrad("train", "--epochs", 1, "--out", "run", "--verbose", 0)
    before = contents(folder / "run")
    monkeypatch.setattr("pathlib.Path.write_bytes", lambda *_: (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space")))
    error = chalkgrad("train", "--epochs", 2, "--out", "run", "--overwrite", code=1).stderr
    assert "model.safetensors: No space" in error
    assert contents(folder / "run") == before
    chalkgrad("train", "--epochs", 2, "--out", "another", code=1)
    assert not (folder / "another").exists()


def test_a_disk_that_fills_up_later_keeps_the_model(chalkgrad, folder, monkeypatch):
    genuine, saves = Path.write_bytes, []

    def write(path, data):
        saves.append("model" in path.name)
        if sum(saves) > 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        return genuine(path, data)

    monkeypatch.setattr("pathlib.Path.write_bytes", write)
    assert "No space" in chalkgrad("train", "--epochs", 9, "--out", "run", code=1).stderr
    assert cg.Sequential.load(folder / "run" / "model.safetensors").history.epoch == [0, 1]
    assert {path.name for path in (folder / "run").iterdir()} == {"model.safetensors", "settings.json"}
    settings = json.loads((folder / "run" / "settings.json").read_text("utf-8"))
    assert settings["state"] == "training"  # there was no room to say more
    assert "epochs_done" not in settings


def test_a_loss_that_is_not_finite(chalkgrad, folder):
    error = chalkgrad("train", "--learning-rate", 1e30, "--out", "run", code=1).stderr
    assert error.startswith("error: the loss became NaN or infinite in epoch 1")
    assert "--learning-rate" in error
    assert not (folder / "run").exists()


def test_a_loss_that_goes_wrong_later_keeps_the_last_good_model(chalkgrad, folder, monkeypatch):
    def poison(self, epoch):
        if epoch == 1:
            self.model.set_weights([np.full(w.shape, np.nan) for w in self.model.weights])

    monkeypatch.setattr(SaveEachEpoch, "on_epoch_begin", poison)
    error = chalkgrad("train", "--out", "run", code=1).stderr
    assert "in epoch 2" in error
    assert "run holds the model after epoch 1" in error
    settings = json.loads((folder / "run" / "settings.json").read_text("utf-8"))
    assert (settings["state"], settings["epochs_done"]) == ("diverged", 1)
    assert figures(cg.Sequential.load(folder / "run" / "model.safetensors"))[1] == settings["test"]["accuracy"]


def test_ctrl_c_leaves_the_last_whole_epoch(folder):
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a child would inherit that it is ignored
    command = [sys.executable, "-m", "chalkgrad", "train", "--epochs", "100000", "--out", "run"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "PYTHONUTF8": "1"}
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8"
    ) as process:
        try:
            while not process.stdout.readline().startswith("epoch 3/"):
                assert process.poll() is None, process.stderr.read()
            process.send_signal(signal.SIGINT)
            output, error = process.communicate(timeout=20)
        finally:
            process.kill()
            signal.signal(signal.SIGINT, before)
    assert process.returncode == 130, error
    assert "Traceback" not in output + error
    done = int(re.search(r"interrupted: run holds the model after epoch (\d+)", error)[1])
    assert done >= 2
    settings = json.loads((folder / "run" / "settings.json").read_text("utf-8"))
    assert (settings["state"], settings["epochs_done"]) == ("stopped", done)
    model = cg.Sequential.load(folder / "run" / "model.safetensors")
    assert len(model.history.epoch) == done
    assert figures(model) == [settings["test"]["loss"], settings["test"]["accuracy"]]
    assert (folder / "run" / "history.csv").read_text().count("\n") == done + 1


def test_ctrl_c_before_the_first_epoch(chalkgrad, folder, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(cg.Sequential, "fit", interrupt)
    assert "nothing was saved" in chalkgrad("train", "--out", "run", code=130).stderr
    assert not (folder / "run").exists()
    monkeypatch.setattr("chalkgrad.datasets.load", interrupt)
    assert "interrupted" in chalkgrad("train", "--out", "run", code=130).stderr
    assert not (folder / "run").exists()


def test_the_network_is_the_documented_one():
    model = make_model((28, 28), Settings(dataset="mnist"), "cpu")
    assert [(layer.units, layer.activation) for layer in model.layers] == [(128, "relu"), (10, "softmax")]
    assert model.loss.name == "categorical_crossentropy"
    plan = Settings(dataset="mnist").complete()
    assert (plan["epochs"], plan["batch_size"], plan["optimizer"], plan["seed"]) == (10, 128, "adam", 0)


def test_a_convolutional_net_is_trained_and_read_again(chalkgrad, folder):
    output = chalkgrad("train", "--model", "cnn", "--epochs", 3, "--hidden", "32", "--out", "run").stdout
    assert "8×8, convolutions of 16 and 32, 128-32-10" in output
    model = cg.Sequential.load(folder / "run" / "model.safetensors")
    assert model.shapes[0] == (8, 8, 1)
    assert model.count_params() == 160 + 4640 + 128 * 32 + 32 + 330
    assert json.loads((folder / "run" / "settings.json").read_text("utf-8"))["model"] == "cnn"
    assert "unknown model 'cmm'" in chalkgrad("train", "--model", "cmm", code=2).stderr


def test_it_is_watched(chalkgrad, folder, absent):
    absent("matplotlib")
    told = chalkgrad("train", "--out", "run", "--epochs", "2", "--watch", "--lang", "zh", "--verbose", "0").stdout
    page = folder / "run" / "watch.html"
    assert f"观看训练：{page.resolve().as_uri()}" in told
    assert "64-128-10" in page.read_text(encoding="utf-8")
    assert not (folder / "run" / "watch.js").exists()
    chalkgrad("train", "--out", "run", "--epochs", "1", "--verbose", "0", "--overwrite")
    assert not page.exists()  # it showed the run before


def test_the_page_is_opened_once(chalkgrad, folder, monkeypatch):
    opened = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    chalkgrad("train", "--out", "run", "--epochs", "2", "--open", "--verbose", "0")
    assert opened == [(folder / "run" / "watch.html").resolve().as_uri()]


def test_it_speaks_chinese(chalkgrad):
    told = chalkgrad("train", "--out", "run", "--epochs", "2", "--lang", "zh", "--verbose", "2").stdout
    for words in ("张图像用于训练", "（累计平均）", "测试准确率", "保存在 run", "下一步："):
        assert words in told


@pytest.mark.parametrize("key", WORDS)
def test_both_languages_say_the_same(key):
    english, chinese = (sorted(re.findall(r"{[^}]*}", words)) for words in WORDS[key])
    assert english == chinese
