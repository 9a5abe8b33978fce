"""The process that tries hostile inputs, one after another, and says what came of each."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
import traceback
import warnings
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ...errors import ChalkgradError
from ..memory import forget_peak, limit_memory, memory
from .targets import Target, find_targets

FINE = ("taken", "refused")
"""The kinds of outcome that are as they should be."""
ROOM = 1 << 30
"""Bytes of address space above the process after import: what asks for more is refused, lest the machine suffer."""


@dataclass(frozen=True)
class Limits:
    """What an input may cost. megabytes: beside `sizes` times the input's own size."""

    seconds: float = 2.0
    megabytes: float = 100.0
    sizes: float = 2.0

    def bytes_for(self, value: Any) -> float:
        """The memory that an input may take."""
        return self.megabytes * 1e6 + self.sizes * size_of(value)


@dataclass(frozen=True)
class Job:
    """An input to try; with `warm` good ones, by which everything is imported that is imported late."""

    target: str
    value: Any
    warm: bool = False


@dataclass(frozen=True)
class Outcome:
    """What came of an input.

    kind: "taken", "refused" (an error of ours), "foreign" (another error), "slow", "hang", "memory", "wrong", "crash".
    place: the line at which a foreign error was raised, else "". peak: bytes above the process after import.
    """

    kind: str
    place: str = ""
    why: str = ""
    seconds: float = 0.0
    peak: int = 0


def size_of(value: Any) -> int:
    """The bytes of an input: of its texts and bytes."""
    if isinstance(value, dict):
        return sum(map(size_of, (*value, *value.values())))
    if isinstance(value, list | tuple):
        return sum(map(size_of, value))
    return len(value) if isinstance(value, str | bytes) else 0


def run_one(target: Target, value: Any, folder: Path) -> tuple[Outcome, BaseException | None]:
    """Try an input; returns what came of it, with the error."""
    ours: tuple[type[BaseException], ...] = (ChalkgradError, *target.allowed)
    try:
        result = target.run(value, folder)
        wrong = target.check(value, result)
        return (Outcome("wrong", "", wrong) if wrong else Outcome("taken")), None
    except ours as error:
        return Outcome("refused", "", type(error).__name__), error
    except BaseException as error:  # whatever it is, it is found
        return Outcome("foreign", _place(error), f"{type(error).__name__}: {str(error)[:500]}"), error


def _place(error: BaseException) -> str:
    """Where it was raised: the innermost line that is the package's."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "chalkgrad" in frame.filename or "site-packages" not in frame.filename]
    frame = (ours or frames)[-1]
    return f"{type(error).__name__} at {Path(frame.filename).name}:{frame.lineno}"


def serve(pipe: Any, package: str, limits: Limits) -> None:
    """Answer each job that comes through the pipe, until it is closed."""
    warnings.simplefilter("ignore")
    silent = os.open(os.devnull, os.O_WRONLY)  # what inputs print would fill the log
    for stream in (1, 2):
        os.dup2(silent, stream)
    targets = find_targets(package)
    base = 0
    with TemporaryDirectory(prefix="fuzzing-") as folder, contextlib.suppress(EOFError, KeyboardInterrupt):
        while True:
            job: Job = pipe.recv()
            target = targets[job.target]
            if job.warm:
                for value in job.value:
                    run_one(target, value, Path(folder))
                    _empty(folder)
                base = memory()["held_bytes"]
                limit_memory(ROOM)
                forget_peak()
                pipe.send(None)
                continue
            began = time.process_time()
            outcome, error = run_one(target, job.value, Path(folder))
            seconds, peak = time.process_time() - began, memory()["peak_bytes"] - base
            if error is not None:  # its frames hold what they worked on
                traceback.clear_frames(error.__traceback__)
                del error
            kind, why = outcome.kind, outcome.why
            if kind in FINE and seconds > limits.seconds:
                kind, why = "slow", f"{seconds:.1f} s of computing"
            if kind in FINE and peak > limits.bytes_for(job.value):
                kind, why = "memory", f"{peak / 1e6:.0f} MB for an input of {size_of(job.value):,} bytes"
            _empty(folder)
            if peak > limits.megabytes * 1e6 / 2:
                forget_peak()
            pipe.send(Outcome(kind, outcome.place, why, seconds, max(peak, 0)))


def _empty(folder: str) -> None:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path, ignore_errors=True)
            else:
                os.unlink(entry.path)
