"""Trainings on several ranks, one of which is killed at a random moment: all end with a message, or the others go on.

    python -m chalkgrad.benchmarks.reliability.killed_ranks --kills 50 --out benchmarks/results/killed-ranks.json \\
        --launcher "mpirun --with-ft ulfm"

Where ranks survive (ULFM), the training has to end whole. Else all ranks have to end within 10 s, with a message, and
the run goes on by `--resume`, in every second trial with another number of ranks: with the same number to the last bit.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy

from ...distributed import TIMEOUT
from ...engine.json_files import read_json
from ...errors import ChalkgradError
from ...nn import Sequential
from ..machine import host
from ..peers import command_line, versions, write

SECONDS = 10.0
"""In which all ranks have to end."""
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
RANK = (b"PMI_RANK=", b"OMPI_COMM_WORLD_RANK=")
BEGUN = " ranks, "
ENVIRONMENT = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "PYTHONUTF8": "1", "PYTHONUNBUFFERED": "1"}


class Run:
    """`chalkgrad train` on ranks, as a process; what it says is in a file."""

    def __init__(self, launcher: Sequence[str], ranks: int, folder: Path, *arguments: str) -> None:
        self.said = folder / "said"
        with open(self.said, "wb") as said:
            self.process = subprocess.Popen(
                [*launcher, "-n", str(ranks), sys.executable, "-m", "chalkgrad", "train", *arguments], cwd=folder,
                env={**os.environ, **ENVIRONMENT, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
                stdin=subprocess.DEVNULL, stdout=said, stderr=said, start_new_session=True,
            )  # fmt: skip
        self.ranks = dict[int, int]()

    def text(self) -> str:
        """What it has said so far."""
        return self.said.read_text("utf-8", "replace")

    def begins(self, count: int) -> None:
        """Wait until it trains, and note the process of each rank."""
        end = time.monotonic() + 60
        while BEGUN not in self.text() and self.process.poll() is None and time.monotonic() < end:
            time.sleep(0.01)
        below = {self.process.pid}
        for _ in range(4):  # launcher, proxy, rank
            below |= {pid for pid, parent in _parents() if parent in below}
        for pid in below:
            with contextlib.suppress(OSError):
                told = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
                self.ranks |= {int(each.partition(b"=")[2]): pid for each in told if each.startswith(RANK)}
        if len(self.ranks) != count:
            raise ChalkgradError(f"{len(self.ranks)} of {count} ranks have begun: {self.text()[-2000:]}")

    def left(self) -> list[int]:
        """The ranks that still run."""
        return [rank for rank, pid in self.ranks.items() if _lives(pid)]

    def end(self, seconds: float) -> float:
        """Wait for the end of the launcher and of all ranks; returns how long that took. Nothing is left behind."""
        begin = time.monotonic()
        try:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(seconds)
            while self.left() and time.monotonic() < begin + seconds:
                time.sleep(0.01)
            return time.monotonic() - begin
        finally:
            for pid in (self.process.pid, *(self.ranks[rank] for rank in self.left())):
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
            self.process.wait()


def _parents() -> list[tuple[int, int]]:
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            found.append((int(path.parent.name), int(path.read_text().rpartition(")")[2].split()[1])))
    return found


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


class Suite:
    """Trials with one launcher. survives: whether its ranks outlive one of them."""

    def __init__(self, launcher: str, ranks: int, epochs: int, seed: int) -> None:
        self.launcher, self.count, self.survives = shlex.split(launcher), ranks, "ulfm" in launcher
        self.rng = numpy.random.default_rng(seed)
        self.asked = ("digits", "--hidden", "16", "--verbose", "0", "--out", "run", "--checkpoint-seconds", "0.2",
                      "--epochs", str(epochs))  # fmt: skip
        self.epochs = epochs
        self.seconds, self.trials, self.faults, self.late = list[float](), list[dict[str, Any]](), list[str](), 0
        self.drift = 0.0
        with TemporaryDirectory() as place:
            run = Run(self.launcher, ranks, Path(place), *self.asked)
            run.begins(ranks)
            self.takes = run.end(300)
            self.whole = self._weights(Path(place))
            if self.whole is None:
                raise ChalkgradError(f"it does not work uninterrupted: {run.text()[-2000:]}")

    def _weights(self, place: Path) -> Any:
        """Those of the run, where it is complete, with its history; else None."""
        with contextlib.suppress(ChalkgradError, KeyError):
            model = Sequential.load(place / "run" / "model.safetensors")
            if len(model.history.epoch) == self.epochs:
                values = [
                    numpy.ravel(numpy.asarray(w)) for w in (*model.get_weights(), *model.history.history.values())
                ]
                return numpy.concatenate(values)
        return None

    def trial(self, number: int) -> bool:
        """Kill one rank; returns whether it was in the training."""
        with TemporaryDirectory() as folder:
            place = Path(folder)
            run = Run(self.launcher, self.count, place, *self.asked)
            run.begins(self.count)
            time.sleep(self.rng.uniform(0, 0.6 * self.takes))
            victim = int(self.rng.integers(self.count))
            sent = SIGNALS[0 if self.survives else number % len(SIGNALS)]
            alive = victim in run.left() and self._weights(place) is None
            if alive:
                os.kill(run.ranks[victim], sent)
            took = run.end(120 if self.survives else 2 * SECONDS)
            if not alive:
                self.late += 1
                return False
            said = run.text().partition("products of each.")[2].strip()
            named = f"rank {victim}" in said or str(run.ranks[victim]) in said
            told = {"rank": victim, "signal": sent.name, "seconds": round(took, 2), "named": named}
            self.trials.append(told)
            if self.survives:
                state = read_json(place / "run" / "settings.json").get("state")
                if run.process.returncode or state != "complete" or self._weights(place) is None:
                    self._fault(number, told, f"it is not whole, but {state}: {said[-1500:]}")
                else:
                    self._compare(number, told, place, self.count - 1)
                return True
            if took > SECONDS or not said:
                self._fault(number, told, f"not ended with a message within {SECONDS:g} s: {said[-1500:]}")
            ranks = self.count if number % 2 else int(self.rng.integers(1, self.count))
            again = ("--resume", "run") if (place / "run" / "model.safetensors").exists() else self.asked
            going_on = Run(self.launcher, ranks, place, *again, "--verbose", "0")
            going_on.end(300)
            self._compare(number, told, place, ranks)
            return True

    def _compare(self, number: int, told: dict[str, Any], place: Path, ranks: int) -> None:
        """What came of it, beside the training that was not interrupted."""
        weights = self._weights(place)
        if weights is None:
            self._fault(number, told, f"it does not go on: {(place / 'said').read_text()[-1500:]}")
            return
        difference = float(abs(weights - self.whole).max())
        if ranks != self.count:
            self.drift = max(self.drift, difference)
        if difference > (0 if ranks == self.count else 1e-3):
            self._fault(number, told, f"with {ranks} ranks it ends {difference:g} beside what it was to be")

    def _fault(self, number: int, told: dict[str, Any], what: str) -> None:
        self.faults.append(f"trial {number}, {told}: {what}")
        print(self.faults[-1], file=sys.stderr, flush=True)

    def to_dict(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "launcher": " ".join([Path(self.launcher[0]).name, *self.launcher[1:]]), "ranks": self.count,
            "kills": len(self.trials), "by signal": dict(Counter(each["signal"] for each in self.trials)),
            "by rank": dict(sorted(Counter(str(each["rank"]) for each in self.trials).items())),
            "training ended whole" if self.survives else "all ended in time with a message, and went on exactly":
                len(self.trials) - len({fault.partition(",")[0] for fault in self.faults}),
            "rank or process named": sum(each["named"] for each in self.trials),
            "slowest end in s": max((each["seconds"] for each in self.trials), default=0),
            "largest difference with another number of ranks": self.drift,
            "came after the last epoch, not counted": self.late, "faults": self.faults,
        }  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code: 1 where something was found."""
    parser = command_line("reliability.killed_ranks", __doc__)
    parser.add_argument("--kills", type=int, default=2, metavar="N")
    parser.add_argument("--launcher", default="mpirun", help="with its options, of the MPI that mpi4py here uses")
    parser.add_argument("--ranks", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", metavar="FILE", help="keep the result (JSON), beside those of other launchers")
    options = parser.parse_args(arguments)
    suite, number = Suite(options.launcher, options.ranks, options.epochs, options.seed), 0
    while len(suite.trials) < options.kills and number < 3 * options.kills:
        if suite.trial(number) and options.out:  # each time: what was seen is not lost where this is ended
            _keep(options.out, suite.to_dict())
        number += 1
    print(json.dumps(suite.to_dict(), indent=1))
    return 1 if suite.faults or len(suite.trials) < options.kills else 0


def _keep(file: str, found: dict[str, Any]) -> None:
    known = read_json(Path(file))["launchers"] if Path(file).exists() else {}
    about = {**versions(["numpy", "mpi4py", "mpich", "openmpi"]), "timeout": TIMEOUT}
    write(file, {"host": host(), "launchers": {**known, found["launcher"]: {**found, "versions": about}}})


if __name__ == "__main__":
    sys.exit(main())
