"""Trainings killed at random moments, half of them inside saves: no file torn, none of another epoch, each goes on.

    python -m chalkgrad.benchmarks.reliability.crashes --kills 500 --seed 0 \\
        --out benchmarks/results/reliability-crashes.json

Each trial starts a training as a process, ends it up to three times by SIGKILL, SIGTERM or SIGINT, looks at what is in
its folder, goes on each time, and compares what comes of it with the same training uninterrupted, byte for byte.
"""

from __future__ import annotations

import csv
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy

from ...errors import ChalkgradError
from ...nn import Sequential
from ..machine import host
from ..peers import command_line, versions, write
from .crash_program import PROGRAMS

PROGRAM = "chalkgrad.benchmarks.reliability.crash_program"
ROOT, FIRST = str(Path(__file__).parents[2]), "from . import early"
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
MODEL = "model.safetensors"
COMPARED = (MODEL, "history.csv", "history.json", "settings.json")
OVER = 5
PATIENCE = 120.0
"""Seconds that a process may take."""
ENVIRONMENT = {"OPENBLAS_NUM_THREADS": "1", "PYTHONUTF8": "1"}


@dataclass(frozen=True)
class Kind:
    """What is trained, in the folder "run": how it is begun, and how it is gone on with.

    over: the kind of the whole run that is in the folder before, and that this one, with the seed OVER, replaces.
    """

    name: str
    first: tuple[str, ...]
    again: tuple[str, ...]
    over: str = ""

    @property
    def is_command(self) -> bool:
        """Whether it is the command, which answers signals."""
        return self.first[0] == "command"


def _command(name: str, *options: str, seconds: int = 60, over: str = "") -> Kind:
    asked = ("--out", "run", "--hidden", "16", *options)
    call = ("command", "train", "--verbose", "0", "--checkpoint-seconds", str(seconds))
    return Kind(f"train {name}", (*call, *asked), (*call, "--resume", "run"), over)


def _program(name: str) -> Kind:
    call = ("program", name, f"run/{MODEL}")
    return Kind(name, call, call)


KINDS = (
    _command("mlp", "--epochs", "6"),
    _command("wide", "--epochs", "5", "--hidden", "128", "--batch-size", "128"),
    _command("cnn", "--model", "cnn", "--epochs", "2", "--batch-size", "128"),
    _command("watched", "--epochs", "3", "--watch", "--optimizer", "momentum"),
    _command("within epochs", "--epochs", "2", "--batch-size", "256", seconds=0),
    _command("over another", "--epochs", "3", "--overwrite", "--seed", str(OVER), over="train mlp"),
    *map(_program, PROGRAMS),
)


@dataclass
class Reference:
    """A training that nothing has interrupted: what it leaves, its seconds, and the moments of its saves."""

    files: dict[str, bytes]
    seconds: float
    moments: int
    epochs: int


@dataclass
class Found:
    """What came of the kills: how many by kind, signal and moment; and what was wrong, by its sort."""

    kills: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    trials: int = 0
    pairs: int = 0
    early: int = 0
    faults: list[dict[str, Any]] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """As plain values."""
        by = [Counter[str](), Counter[str](), Counter[str]()]
        for key, count in self.kills.items():
            for counter, part in zip(by, key, strict=True):
                counter[part] += count
        sorts = Counter(fault["sort"] for fault in self.faults)
        return {
            "kills": self.kills.total(), "trials": self.trials, "pairs": self.pairs,
            "before our first line": self.early,
            **{f"by {name}": dict(sorted(counter.items())) for name, counter in zip(("kind", "signal", "moment"), by,
                                                                                  strict=True)},
            **{sort: sorts[sort] for sort in ("torn", "mixed", "unusable", "different", "told wrongly")},
            "faults": self.faults,
        }  # fmt: skip


class Process:
    """A training as a process. moment: that of its saves at which it waits; 0 for none."""

    def __init__(self, folder: Path, arguments: Sequence[str], moment: int = 0, real: bool = False) -> None:
        self.log, self.errors = folder / "log", folder / "errors"
        self.log.write_text("")
        called = [PROGRAM, str(moment), str(self.log), *arguments]
        with open(self.errors, "wb") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *(["chalkgrad", *arguments[1:]] if real else called)], cwd=folder,
                env={**os.environ, **ENVIRONMENT, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=errors,
            )  # fmt: skip

    def wait_until(self, seconds: float | None) -> bool:
        """Wait so many seconds; None: until it is at its moment. Returns whether it is still there."""
        end = time.monotonic() + (PATIENCE if seconds is None else seconds)
        while self.process.poll() is None and time.monotonic() < end:
            if seconds is None and self.log.read_text().startswith("here"):
                return True
            time.sleep(0.004)
        return self.process.poll() is None

    def end(self) -> int:
        """Wait for its end; returns the exit code."""
        try:
            return self.process.wait(PATIENCE)
        finally:
            self.process.kill()

    def said(self) -> str:
        """What it has written to stderr."""
        return self.errors.read_text("utf-8", "replace")


def reference(kind: Kind) -> Reference:
    """The training without interruption."""
    with TemporaryDirectory() as place:
        begin = time.monotonic()
        process = Process(Path(place), kind.first)
        if process.end():
            raise ChalkgradError(f"{kind.name} does not work uninterrupted: {process.said()[-2000:]}")
        run = Path(place, "run")
        files = {name: (run / name).read_bytes() for name in COMPARED if (run / name).exists()}
        moments = int(process.log.read_text().split()[-1])
        epochs = len(Sequential.load(run / MODEL).history.epoch)
        return Reference(files, time.monotonic() - begin, moments, epochs)


def wrong_in(run: Path) -> list[tuple[str, str]]:
    """What is wrong in a run's folder, as (sort, what). What has a temporary name does not count."""
    faults, epochs = [], []
    for path in sorted(run.iterdir()) if run.exists() else ():
        try:
            if path.name == MODEL:
                epochs.append((path.name, len(Sequential.load(path).history.epoch)))
            elif path.name == "history.csv":
                epochs.append((path.name, len(list(csv.DictReader(path.read_text().splitlines())))))
            elif path.name == "history.json":
                epochs.append((path.name, len(json.loads(path.read_bytes())["epoch"])))
            elif path.name == "settings.json":
                done = json.loads(path.read_bytes()).get("epochs_done")
                epochs += [(path.name, done)] if done is not None else []
            elif path.suffix == ".png" and not path.read_bytes().endswith(b"IEND\xaeB`\x82"):
                raise ValueError("it is cut off")
        except (ValueError, KeyError) as error:
            faults.append(("torn", f"{path.name}: {error}"))
    if len({count for _, count in epochs}) > 1:
        faults.append(("mixed", f"of epochs {epochs}"))
    if epochs and MODEL not in dict(epochs):
        faults.append(("mixed", f"no model, but {epochs}"))
    return faults


class Suite:
    """Trials until so many kills are done."""

    def __init__(self, kills: int, seed: int, kinds: Sequence[Kind] = KINDS) -> None:
        self.wanted, self.seed, self.kinds, self.found = kills, seed, kinds, Found()
        self.references: dict[str, Reference] = {}
        self._numbers, self._lock = itertools.count(), threading.Lock()

    def run(self, at_once: int = 2) -> Found:
        """Do all."""
        signal.signal(signal.SIGINT, signal.default_int_handler)  # what is ignored here is ignored there
        with ThreadPoolExecutor(at_once) as pool:
            for kind, result in zip(self.kinds, pool.map(reference, self.kinds), strict=True):
                self.references[kind.name] = result
            for done in [pool.submit(self._work) for _ in range(at_once)]:
                done.result()
        for number in range(self.wanted // 25):
            with TemporaryDirectory() as folder:
                self.pair(number, Path(folder))
        return self.found

    def _work(self) -> None:
        while True:
            with self._lock:
                if self.found.kills.total() >= self.wanted:
                    return
                number = next(self._numbers)
            with TemporaryDirectory() as folder:
                self.trial(number, Path(folder))

    def trial(self, number: int, folder: Path) -> None:
        """Start, kill, look, go on, compare."""
        rng = numpy.random.default_rng([self.seed, number])
        kind = self.kinds[number % len(self.kinds)]
        whole, run = self.references[kind.name], folder / "run"
        if kind.over:
            run.mkdir()
            for name, data in self.references[kind.over].files.items():
                (run / name).write_bytes(data)
        for _ in range(int(rng.integers(1, 4))):
            number_of_signal, inside = SIGNALS[rng.integers(3)], bool(rng.integers(2))
            left = 1 - self._done(kind, run) / whole.epochs
            moment = int(rng.integers(1, max(2, round(whole.moments * left)))) if inside else 0
            process = Process(folder, self._call(kind, run, rng), moment, real=kind.is_command and not inside)
            alive = process.wait_until(None if inside else float(rng.uniform(0, whole.seconds)))
            if alive:
                process.process.send_signal(number_of_signal)
            code = process.end()
            self._judge(number, kind, process, code, number_of_signal if alive else None, inside)
            for sort, what in wrong_in(run):
                self._fault(number, kind, sort, what)
            if code == 0:
                break
        process = Process(folder, self._call(kind, run, rng))
        if code := process.end():
            self._fault(number, kind, "unusable", f"going on ends with {code}: {process.said()[-1000:]}")
            return
        for name, data in whole.files.items():
            if (run / name).read_bytes() != data:
                self._fault(number, kind, "different", name)
        if left_over := [path.name for path in run.iterdir() if path.name.startswith(".") and kind.is_command]:
            self._fault(number, kind, "unusable", f"not swept: {left_over}")
        with self._lock:
            self.found.trials += 1

    def pair(self, number: int, folder: Path) -> None:
        """Two trainings into one folder at once: one works, the other is refused, and what is there is the one's."""
        kind, other = self.kinds[0], folder / "other"
        for made in (other, folder / "run"):
            made.mkdir()
        (other / "run").symlink_to(folder / "run")
        both = [Process(place, kind.first) for place in (folder, other)]
        codes = sorted(process.end() for process in both)
        whole = self.references[kind.name]
        if codes != [0, 1]:
            self._fault(number, kind, "mixed", f"two at once end with {codes}")
        elif any((folder / "run" / name).read_bytes() != data for name, data in whole.files.items()):
            self._fault(number, kind, "mixed", "two at once make another run")
        self.found.pairs += 1

    def _done(self, kind: Kind, run: Path) -> int:
        """How many epochs are done of the training, 0 where the folder has no model of it."""
        try:
            model = Sequential.load(run / MODEL)
        except ChalkgradError:
            return 0
        return 0 if kind.over and model.facts["run"]["seed"] != OVER else len(model.history.epoch)

    def _call(self, kind: Kind, run: Path, rng: numpy.random.Generator) -> tuple[str, ...]:
        """How to go on: a folder without a model may be begun anew as well."""
        if self._done(kind, run) or (not kind.over and (run / "settings.json").exists() and rng.integers(2)):
            return kind.again
        if kind.name.endswith("within epochs") and (run / MODEL).exists():
            return kind.again
        if not kind.is_command and run.exists():
            shutil.rmtree(run)
        return kind.first

    def _judge(
        self, number: int, kind: Kind, process: Process, code: int, sent: signal.Signals | None, inside: bool
    ) -> None:  # fmt: skip
        """Count the kill, and note an end that is not as promised."""
        said = process.said()
        ours = ROOT in said and FIRST not in said  # else Python itself starts, or our first line is not done yet
        at_start = kind.is_command and not inside and not ours
        early = sent in (signal.SIGTERM, signal.SIGINT) and code in (1, -sent) and at_start
        if sent is None and code:
            self._fault(number, kind, "unusable", f"it ends with {code}: {said[-1000:]}")
        if sent is not None and code != 0:
            with self._lock:
                self.found.kills[kind.name, sent.name, "in a save" if inside else "anywhere"] += 1
                self.found.early += early
                if self.found.kills.total() % 50 == 0:
                    print(f"{self.found.kills.total()} kills, {len(self.found.faults)} faults", flush=True)
            if kind.is_command and sent != signal.SIGKILL and not early and (code != 128 + sent or "Traceback" in said):
                self._fault(number, kind, "told wrongly", f"after {sent.name} it ends with {code}: {said[-1000:]}")

    def _fault(self, number: int, kind: Kind, sort: str, what: str) -> None:
        with self._lock:
            self.found.faults.append({"trial": number, "kind": kind.name, "sort": sort, "what": what})
            print(f"trial {number}, {kind.name}: {sort}: {what}", file=sys.stderr, flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code: 1 where something was found."""
    parser = command_line("reliability.crashes", __doc__)
    parser.add_argument("--kills", type=int, default=20, metavar="N")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", default=(), metavar="KIND", help=", ".join(kind.name for kind in KINDS))
    parser.add_argument("--out", metavar="FILE", help="keep the result (JSON)")
    options = parser.parse_args(arguments)
    kinds = [kind for kind in KINDS if not options.only or kind.name in options.only]
    begin = time.monotonic()
    found = Suite(options.kills, options.seed, kinds).run().to_dict()
    result = {
        "seed": options.seed, **found, "seconds": round(time.monotonic() - begin), "machine": host(),
        "versions": versions(("chalkgrad", "numpy", "safetensors", "filelock")),
    }  # fmt: skip
    print(json.dumps({**result, "faults": len(found["faults"])}, indent=1))
    if options.out:
        write(options.out, result)
    return int(bool(found["faults"]))


if __name__ == "__main__":
    sys.exit(main())
