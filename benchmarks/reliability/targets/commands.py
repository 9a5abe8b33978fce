"""The command: odd words on its line; and run folders and results in which anything may be wrong."""

from __future__ import annotations

import io
import json
import os
import signal
import sys
import tempfile
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import click
import numpy
from numpy.random import Generator

from .... import early
from ....errors import UsageError
from ....nn import Sequential, layers
from ...speed import results
from ...speed.compare import compare
from ..disturbing import NUMBERS, TEXTS, disturbed_bytes, disturbed_json, json_bytes, one_of
from . import Target

LINES = """
train
train digits --model cnn --epochs 3 --batch-size 8 --learning-rate 0.1 --optimizer sgd --hidden 8,4 --seed 1
train mnist --device auto --out runs/a --verbose 2 --watch --open --lang zh
predict run one.png two.png
doctor --json
prove sigmoid exp --order 2 --dtype float32 --max-seconds 3 --kinks accept --json -
prove a.py:f --shape 3x4 --shape 1 --html a.html
explain digits --step 3 --format html --lang zh --out a --seed 4
explain a.py:f --shape 3 --step-by-step
reproduce --only cnn --seed 0 --epochs 3 --quick --validate --out a --report b
bench --only mnist --contestants numpy,captured --rounds 2 --json a --svg b --compare c --growth --list
"""


@cache
def _main() -> Any:
    """The function behind the installed command: benchmarks import no command."""
    (script,) = entry_points(group="console_scripts", name="chalkgrad")
    return script.load()


def _called(folder: Path, *words: str) -> None:
    """Run the command in a folder; raises UsageError where it ends with an error; it may not command a terminal."""
    said = io.StringIO()
    before = sys.argv, sys.stdout, sys.stderr, os.getcwd()
    handlers = {number: signal.getsignal(number) for number in early.NUMBERS}  # the command takes them for good
    os.chdir(folder)
    sys.argv, sys.stdout, sys.stderr = ["chalkgrad", *words], said, said
    try:
        _main()()
    except SystemExit as ended:
        if sent := sorted({*said.getvalue()} & {*"\x1b\x07\x9b\r\u202e\u2066\ud800"}):
            raise AssertionError(f"sent to the terminal: {sent}") from None
        if ended.code:
            raise UsageError(said.getvalue()) from None
    finally:
        sys.argv, sys.stdout, sys.stderr, place = before
        os.chdir(place)
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _parsed(value: list[str], folder: Path) -> Any:
    """The words as the command and then its sub-command reads them; nothing is run."""
    cli = vars(sys.modules[_main().__module__])["cli"]
    whole = cli.make_context("chalkgrad", list(value))
    name, command, words = cli.resolve_command(whole, [*whole._protected_args, *whole.args])
    return command.make_context(name, words, parent=whole).params


def _lines() -> list[list[str]]:
    _main()
    return [line.split() for line in LINES.strip().splitlines()]


def _other_words(rng: Generator, seed: list[str]) -> list[str]:
    words = list(seed)
    for _ in range(int(one_of(rng, (1, 1, 2, 4)))):
        place = int(rng.integers(len(words) + 1))
        odd = str(one_of(rng, [*TEXTS, "--help", "gpu:9", *LINES.split(), *NUMBERS]))
        kind = rng.integers(4)
        words[place : place + int(kind < 2)] = [] if kind == 3 else [odd.replace("\0", "")]
    return words


parsing = Target("command line", _lines, _other_words, _parsed, allowed=(click.ClickException, click.exceptions.Exit))


# Run folders

MODEL, PLAIN = "model.safetensors", "plain.safetensors"
"""The model of a run; and one that does not tell what it was trained as, so that settings.json is asked."""


@cache
def _run() -> dict[str, bytes]:
    """The files of a good run, and an image."""
    from PIL import Image

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _called(folder, "train", "--epochs", "1", "--hidden", "4", "--out", "run", "--verbose", "0")
        Image.fromarray(numpy.eye(8, dtype="uint8") * 255).save(folder / "run" / "one.png")
        plain = Sequential([layers.Dense(4, "relu"), layers.Dense(10, "softmax")])
        plain.compile("adam", "categorical_crossentropy")
        plain.build((64,))
        plain.save(folder / "run" / PLAIN)
        return {path.name: path.read_bytes() for path in sorted((folder / "run").iterdir()) if path.suffix != ".lock"}


def _runs() -> list[dict[str, Any]]:
    kept = {name: data for name, data in _run().items() if name.endswith((".json", ".csv", "one.png"))}
    models = [_run()[MODEL], _run()[PLAIN]]
    return [{"do": do, MODEL: model, **kept} for do in ("explain", "explain 3", "predict") for model in models]


def _other_run(rng: Generator, seed: dict[str, Any]) -> dict[str, Any]:
    """The run with other settings or history, in its views and in the model's file, or with files of another kind."""
    run = dict(seed)
    for _ in range(int(one_of(rng, (1, 1, 2)))):
        name = str(one_of(rng, ["settings.json", "settings.json", MODEL, *[n for n in run if n != "do"]]))
        data = seed[name]
        kind = rng.random()
        if kind < 0.15:
            run[name] = one_of(rng, ("none", "folder", "pipe", "sparse", "loop", "closed"))
        elif name.endswith(".json") and kind < 0.9:
            run[name] = json_bytes(rng, disturbed_json(rng, json.loads(_run()[name])))
        elif name == MODEL and kind < 0.9:
            run[name] = _with_other_head(rng, data)
        else:
            run[name] = disturbed_bytes(rng, data)
    return run


def _with_other_head(rng: Generator, data: bytes) -> bytes:
    """A model file of which something is changed in what it says of itself, with the lengths that belong to it."""
    size = int.from_bytes(data[:8], "little")
    head = json.loads(data[8 : 8 + size])
    said = head["__metadata__"]
    key = str(one_of(rng, sorted(said)))
    try:
        said[key] = json_bytes(rng, disturbed_json(rng, json.loads(said[key]))).decode("utf-8", "replace")
    except ValueError:
        said[key] = str(one_of(rng, TEXTS))
    written = json.dumps(head).encode()
    return len(written).to_bytes(8, "little") + written + data[8 + size :]


def _made(folder: Path, run: dict[str, Any]) -> None:
    """The run's folder, with what stands for files of another kind made."""
    (folder / "run").mkdir()
    for name, data in run.items():
        path = folder / "run" / name
        if isinstance(data, bytes):
            path.write_bytes(data)
        elif data == "folder":
            path.mkdir()
        elif data == "pipe":
            os.mkfifo(path)
        elif data == "sparse":
            with open(path, "wb") as file:
                file.truncate(10 << 30)
        elif data == "loop":
            path.symlink_to(path)
        elif data == "closed":
            path.touch(0)


def _used(value: dict[str, Any], folder: Path) -> Any:
    run = dict(value)
    do, *more = run.pop("do", "explain").split()
    _made(folder, run)
    if do == "predict":
        return _called(folder, "predict", "run", "run/one.png")
    step = ["--step", *more] if more else []
    return _called(folder, "explain", "run", *step, "--format", "markdown", "--out", "told.md")


using = Target("run folder", _runs, _other_run, _used)


# Results


@cache
def _record() -> dict[str, Any]:
    """A small report of `bench`, as it is written."""
    entry = {"status": "ok", "seconds": [0.5, 0.25, 0.75], "reason": "", "versions": {"numpy": "2"}, "memory": {}}
    record = {"title": "A chain", "unit": "step", "count": 100, "task": {},
              "bound": {"seconds": 0.1, "what": "all", "for_all": True},
              "contestants": {name: dict(entry) for name in ("numpy", "captured", "eager", "pytorch")}}  # fmt: skip
    machine = {"processor": "one", "cores": 2, "date": "2026-01-01"}
    return {"kind": results.KIND, "format": results.FORMAT, "chalkgrad": "0.1.0", "quick": False, "machine": machine,
            "workloads": {"chain": record}}  # fmt: skip


def _compared(value: bytes, folder: Path) -> Any:
    path = folder / "old.json"
    path.write_bytes(value)
    return [(change.note, change.worse) for change in compare(results.read(str(path)), _record())]


def _other_record(rng: Generator, seed: bytes) -> bytes:
    return json_bytes(rng, disturbed_json(rng, json.loads(seed)))


comparing = Target("bench --compare", lambda: [json.dumps(_record()).encode()], _other_record, _compared)
