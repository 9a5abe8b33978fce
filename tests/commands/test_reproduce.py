"""`chalkgrad reproduce`: seeds are run once, kept, and told of; what is wrong is said before anything is trained."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

from chalkgrad import datasets
from chalkgrad.cli import cli
from chalkgrad.commands import experiments, pictures, reproduce_report, reproduce_trials


@pytest.fixture(autouse=True)
def _little_data(monkeypatch):
    rng = np.random.default_rng(0)

    def split(count):
        labels = rng.integers(0, 10, count).astype(np.uint8)
        images = np.zeros((count, 28, 28), np.uint8)
        images[np.arange(count), 4 + 2 * labels, 6:20] = 255  # a line at the label's height
        return images, labels

    data = split(500), split(100)
    monkeypatch.setitem(datasets.LOADERS, "mnist", lambda: data)
    monkeypatch.setattr(experiments, "HELD_BACK", 50)


def call(*arguments):
    return CliRunner().invoke(cli, ["reproduce", *map(str, arguments)])


@pytest.mark.parametrize("name", experiments.EXPERIMENTS)
def test_each_experiment_is_trained_kept_and_told_of(name, tmp_path):
    result = call("--only", name, "--epochs", 2, "--seed", 1, "--out", tmp_path)
    assert result.exit_code == 0, result.output
    kept = json.loads((tmp_path / f"{name}-1.json").read_text())
    assert (kept["seed"], kept["epochs"], kept["judged_by"]) == (1, 2, "test")
    assert len(kept["curves"]["val_loss"]) == 2
    assert sum(kept["confusion"]) == 100
    wrong = 100 - np.reshape(kept["confusion"], (10, 10)).trace()
    assert kept["accuracy"] == pytest.approx(1 - wrong / 100)
    assert len(kept["worst"]) == min(wrong, pictures.WORST)
    text = (tmp_path / "reproduction.md").read_text()
    assert f"| {kept['loss']:.4f} |" in text
    assert ("Why the documented test loss" in text) == (name == "documented")


def test_what_is_done_is_not_done_again(tmp_path, monkeypatch):
    assert call("--only", "documented", "--epochs", 1, "--seed", 0, "--out", tmp_path).exit_code == 0
    runs = []
    real = experiments.run
    monkeypatch.setattr(experiments, "run", lambda e, seed, *rest: runs.append(seed) or real(e, seed, *rest))
    assert call("--only", "documented", "--epochs", 1, "--seed", 0, "--seed", 3, "--out", tmp_path).exit_code == 0
    assert runs == [3]
    assert "± " in (tmp_path / "reproduction.md").read_text()
    assert call("--only", "documented", "--epochs", 2, "--seed", 0, "--out", tmp_path).exit_code == 0
    assert runs == [3, 0]


def test_a_short_run_averages_over_fewer_steps_and_a_long_one_as_told():
    assert experiments.averaged_with(469) == pytest.approx(1 - 10 / 469)
    for experiment in experiments.EXPERIMENTS.values():
        if experiment.distortion:
            model = experiment.compiled((28, 28, 1) if not experiment.flat else (784,), 0, experiment.epochs, 60000)
            assert model.optimizer.ema_momentum == experiments.AVERAGED


def test_the_documented_figures_are_set_beside_what_the_seeds_did(tmp_path):
    def told(losses):
        curves = {"loss": losses, "accuracy": [0.97, 0.98, 0.99], "val_loss": [0.09, 0.0783, 0.08]}
        run = dict.fromkeys(reproduce_report.FIGURES, 0.1) | {
            "curves": curves, "seed": 0, "epochs": 3, "parameters": 1, "cpu_seconds": 1.0, "machine": "",
            "versions": "", "confusion": [1] * 100, "worst": [],
        }  # fmt: skip
        reproduce_report.write_report({"documented": [run]}, "test", False, tmp_path, tmp_path / "report.md")
        return (tmp_path / "report.md").read_text("utf-8")

    text = told([0.1, 0.06, 0.03])
    assert "lowest test loss of any seed after any epoch is 0.0783, 3.0 times" in text
    assert "0.0664 or less, the accuracy is 98.0% on average, not 99.0%" in text
    assert "belong together" not in told([0.1, 0.09, 0.08])


def test_validation_never_looks_at_the_test_images(tmp_path, monkeypatch):
    seen = []
    real = experiments.run

    def watched(experiment, seed, settings, training, judged):
        seen.append((len(training[0]), len(judged[0])))
        return real(experiment, seed, settings, training, judged)

    monkeypatch.setattr(experiments, "run", watched)
    result = call("--only", "documented", "--epochs", 1, "--seed", 0, "--validate", "--out", tmp_path)
    assert result.exit_code == 0
    assert seen == [(450, 50)]
    assert "validation loss" in (tmp_path / "reproduction.md").read_text()


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("--only", "means_"), "unknown experiment 'means_'.*means"),
        (("--seed", 1, "--seed", 1), "each seed is given once"),
        (("--epochs", 0), "'0' is not a whole number of 1 or more"),
        (("--only", "documented", "--epochs", 1, "--seed", 0, "--out", "/dev/null/x"), "cannot"),
    ],
)
def test_what_is_refused(arguments, text):
    result = call(*arguments)
    assert result.exit_code in (1, 2)
    assert "Traceback" not in result.output
    import re

    assert re.search(text, result.output.replace("\n", " "))


def test_a_damaged_result_is_named(tmp_path):
    (tmp_path / "cnn-0.json").write_text("{")
    result = call("--only", "cnn", "--seed", 0, "--out", tmp_path)
    assert result.exit_code == 1
    assert "cnn-0.json is no JSON that can be used" in result.output.replace("\n", " ")


def test_a_result_without_its_figures_is_named(tmp_path):
    asked = ("--only", "documented", "--epochs", 1, "--seed", 0, "--out", tmp_path)
    assert call(*asked).exit_code == 0
    file = tmp_path / "documented-0.json"
    good = json.loads(file.read_text())
    worst = [[10**6, 1, 2, 0.5]]
    for change in ({"loss": "x"}, {"curves": {}}, {"confusion": [1]}, {"worst": worst}, {"machine": None}):
        file.write_text(json.dumps(good | change))
        result = call(*asked)
        assert result.exit_code == 1
        assert "documented-0.json is damaged: it lacks figures" in result.output.replace("\n", " ")


def test_a_trial_is_judged_by_training_images_and_told_of(tmp_path, monkeypatch):
    name, experiment, _ = reproduce_trials.ALL[-2]
    found = reproduce_trials.trial(name, experiment, 1)
    assert found.keys() == {"what", "epochs", "loss", "accuracy"}
    (tmp_path / reproduce_trials.TRIALS).write_text(json.dumps([found]))
    assert call("--only", "documented", "--epochs", 1, "--seed", 0, "--out", tmp_path).exit_code == 0
    text = (tmp_path / "reproduction.md").read_text()
    assert f"| {name} | 1 | {found['loss']:.4f} |" in text
