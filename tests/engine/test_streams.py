"""What is printed on any code page, and the commands that hints name."""

import contextlib
import io
import os
import shlex
import subprocess
import sys

import numpy as np
import pytest
from rich.table import Table

import chalkgrad as cg
from chalkgrad import hints
from chalkgrad.engine.streams import Readable, console, plain, readable, say


@pytest.mark.parametrize(
    ("text", "ascii_text"),
    [
        ("epoch 1/3 · 0.1 s", "epoch 1/3 - 0.1 s"),
        ("∇W₁[0, 3] = 1·0.3825", "grad W_1[0, 3] = 1*0.3825"),
        ("σ(x) ≤ Σₙ x² → ∞ …", "sigma(x) <= Sigma_n x^2 -> inf ..."),
        ("10⁻¹²", "10^-12"),
        ("28×28, ŷ", "28x28, y"),
        ("┌─┐│█", "+-+|#"),
        ("前", "?"),
    ],
)
def test_what_a_stream_cannot_hold_becomes_ascii(text, ascii_text):
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    assert readable(text, stream) == ascii_text
    assert readable(text, io.StringIO()) == text
    assert readable("8×8 · α", io.TextIOWrapper(io.BytesIO(), encoding="cp1252")) == "8×8 · alpha"


@pytest.mark.cpu_only("explain reads every value")
@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "cp437", "utf-8"])
def test_a_training_shows_itself_on_any_code_page(encoding):
    x, y = np.ones((8, 4), "float32"), np.arange(8) % 3
    out = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    model = cg.Sequential([cg.layers.Dense(3, activation="softmax", input_shape=(4,))], name="modèle → σ")
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    with contextlib.redirect_stdout(out):
        model.summary()
        for verbose in (1, 2, "auto"):
            model.fit(x, y, verbose=verbose)
        model.evaluate(x, y)
        cg.explain(model, x[:2], y[:2]).show()
    out.flush()
    assert out.buffer.getvalue().decode(encoding)


def test_a_stream_takes_any_text_and_is_itself_otherwise():
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    wrapped = Readable(stream)
    with contextlib.redirect_stdout(wrapped):
        print("α")
        say("β")
    wrapped.flush()
    assert stream.buffer.getvalue() == b"alpha\nbeta\n"
    assert wrapped.isatty() is False


@pytest.mark.parametrize(
    "arguments", [["train", "--help"], ["doctor"], ["bench", "--list"], ["explain", "--lang", "zh"]]
)
def test_the_command_on_ascii(arguments, tmp_path):
    command = [sys.executable, "-c", "from chalkgrad.cli import main; main()", *arguments]
    done = subprocess.run(
        command, cwd=tmp_path, env={**os.environ, "PYTHONIOENCODING": "ascii"}, capture_output=True, check=True
    )
    assert done.stdout.decode("ascii")
    assert done.stderr == b""


HOSTILE = "a\x1b[31m\x07\x9b2J\r\u202e\u2066\ud800[red]"
SHOWN = r"a\x1b[31m\x07\x9b2J\r\u202e\u2066\ud800[red]"


def test_what_commands_a_terminal_is_shown(capsys):
    assert plain(HOSTILE) == SHOWN
    assert plain("é 中文 \u3000\xa0😀\tx\n👨\u200d👩") == "é 中文 \u3000\xa0😀\tx\n👨\u200d👩", (
        "what is seen is as it was"
    )
    say(HOSTILE)
    assert capsys.readouterr().out == f"{SHOWN}\n"


def test_a_console_shows_names_and_keeps_its_own_colours():
    stream = io.StringIO()
    shown = console(file=stream, width=200, force_terminal=True, color_system="standard")
    table = Table(title=HOSTILE)
    table.add_column(HOSTILE)
    table.add_row(HOSTILE)
    shown.print(HOSTILE, style="red")
    shown.print(table)
    text = stream.getvalue()
    assert text.startswith("\x1b[31ma\\x1b[31m")
    assert text.count(SHOWN) == 4
    assert not any(sign in text for sign in "\x07\x9b\r\u202e\u2066\ud800")


def test_the_names_of_layers_and_metrics_are_shown(capsys):
    def metric(xp, y_true, y_pred):
        return abs(y_true - y_pred).mean()

    metric.__name__ = HOSTILE
    model = cg.Sequential([cg.layers.Dense(1, name=HOSTILE)])
    model.compile("adam", "mse", [metric])
    x, y = np.ones((4, 2), "float32"), np.ones((4, 1), "float32")
    model.fit(x, y, verbose=2)
    model.evaluate(x, y)
    model.summary()
    out = capsys.readouterr().out
    assert out.count(SHOWN) == 3
    assert "\x1b" not in out


def test_a_hint_names_the_running_python_and_what_is_there(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert shlex.split(hints.install_command("plot")) == [
        sys.executable, "-m", "pip", "install", "--editable", f"{hints.ROOT}[plot]"
    ]  # fmt: skip
    monkeypatch.chdir(hints.ROOT)
    assert hints.install_command("plot").endswith("--editable '.[plot]'")
    monkeypatch.setattr(sys, "executable", "/a path/bin/python")
    assert hints.pip("install", "torch") == "'/a path/bin/python' -m pip install torch"
    monkeypatch.setattr(hints, "ROOT", tmp_path)  # no checkout: by the names of the packages
    found = shlex.split(hints.install_command("bench"))
    assert any(word.startswith("matplotlib") for word in found)
    assert any(word.startswith("torch") for word in found)
    assert not any(word.startswith("chalkgrad") for word in found)
