"""The command itself: help, names, exit codes."""

import os
import subprocess
import sys

import pytest

import chalkgrad as cg


def test_version_and_help(chalkgrad):
    assert chalkgrad("--version").stdout.split()[-1] == cg.__version__
    output = chalkgrad("--help").stdout
    assert all(name in output for name in ("train", "predict", "doctor"))
    for name in ("train", "predict", "generate", "doctor"):
        assert "Examples:" in chalkgrad(name, "--help").stdout
    output = " ".join(chalkgrad("train", "--help").stdout.split())
    assert "[default: 30 for digits, 10 for mnist, 8 for shakespeare]" in output
    assert "[default: adam]" in output


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("{}", 2), ("--{}", 2), ("train {}", 2), ("train --{}", 2), ("train --epochs {}", 2), ("train digits {}", 2),
        ("predict {} x.png", 1), ("explain {}", 1), ("explain {}.py:f", 1), ("prove {}", 2), ("prove {}.py:{}", 2),
        ("bench --only {}", 2), ("bench --compare {}", 1), ("reproduce --only {}", 1), ("doctor {}", 2),
        ("generate {}", 1), ("embed {} x", 1),
    ],
)  # fmt: skip
def test_what_was_typed_is_shown_not_sent(chalkgrad, command, code):
    words = (word.replace("{}", "\x1b]0;x\x07\u202e") for word in command.split())
    output = chalkgrad(*words, code=code).output
    assert "x1b]0;x\\x07\\u202e" in output
    assert not set("\x1b\x07\u202e") & set(output)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["trane"], "did you mean 'train'?"),
        (["train", "mnits"], "unknown data set 'mnits': did you mean 'mnist'?"),
        (["train", "--optimizer", "adaam"], "unknown optimizer 'adaam': did you mean 'adam"),
        (["train", "--device", "tpu"], "unknown device 'tpu'"),
        (["train", "--device", "gpu:x"], "unknown device 'gpu:x'"),
        (["train", "--batch-size", "0"], "'0' is not a whole number of 1 or more"),
        (["train", "--epochs", "-1"], "'-1' is not a whole number of 1 or more"),
        (["train", "--epochs", "0"], "'0' is not a whole number of 1 or more"),
        (["train", "--epochs", "1.5"], "'1.5' is not a whole number"),
        (["train", "--seed", "-1"], "'-1' is not a whole number of 0 or more"),
        (["train", "--hidden", "0"], "'0' is not a whole number of 1 or more"),
        (["train", "--hidden", "12,x"], "'x' is not a whole number"),
        (["train", "--learning-rate", "0"], "not a number greater than 0"),
        (["train", "--learning-rate", "nan"], "not a number greater than 0"),
        (["train", "--learning-rate", "inf"], "not a number greater than 0"),
        (["train", "--verbose", "3"], "unknown verbosity '3'"),
        (["train", "--epoch", "3"], "--epochs"),
        (["predict"], "Missing argument"),
        (["predict", "run"], "Missing argument"),
    ],
)
def test_wrong_usage(chalkgrad, folder, arguments, message):
    result = chalkgrad(*arguments, code=2)
    assert message in " ".join(result.stderr.split())
    assert list(folder.iterdir()) == []


def test_a_gpu_that_is_not_there(chalkgrad, monkeypatch, absent):
    def fail():
        raise cg.errors.DeviceError("no CUDA device is visible")

    monkeypatch.setattr(cg.engine.backend, "load_cupy", fail)
    assert chalkgrad("train", "--device", "gpu", code=1).stderr == "error: no CUDA device is visible\n"
    absent("matplotlib")
    chalkgrad("train", "--device", "auto", "--epochs", 1, "--verbose", 0)


def test_as_a_process(folder):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "PYTHONIOENCODING": "ascii"}

    def run(*arguments):
        command = [sys.executable, "-m", "chalkgrad", *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)

    done = run("train", "--epochs", "1", "--out", "run")  # the terminal knows ASCII alone
    assert (done.returncode, done.stderr) == (0, "")
    failed = run("predict", "nothing", "image.png")
    assert failed.returncode == 1
    assert failed.stderr.startswith("error: nothing does not exist")
    assert failed.stderr.count("\n") == 1
    assert run("train", "--batch-size", "no").returncode == 2
