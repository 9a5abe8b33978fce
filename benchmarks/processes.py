"""Work in a fresh process, spoken with through a pipe; what it prints is kept for its last words."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

IMPORTS = 600.0
"""Seconds that a process may take to begin, with all that it imports and compiles."""


class StoppedError(Exception):
    """A process can give no further answer, and why."""


class LateError(StoppedError):
    """It has given none in time."""


class Process:
    """`work(pipe, *arguments)` in a process of its own, as long as the block lasts.

    limit: seconds that any one answer may take.
    """

    def __init__(self, work: Callable[..., None], *arguments: Any, limit: float) -> None:
        self.limit = limit
        self._folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        self._log = Path(self._folder.name, "printed")
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self.process = context.Process(target=_begin, args=(str(self._log), work, theirs, *arguments))
        self.process.start()
        theirs.close()

    def ask(self, request: Any, limit: float | None = None) -> Any:
        """Send a request; its answer."""
        self.send(request)
        return self.answer(limit)

    def send(self, request: Any) -> None:
        """Send a request; a process that is gone is found out by its answer."""
        with contextlib.suppress(OSError):
            self._pipe.send(request)

    def answer(self, limit: float | None = None) -> Any:
        """Its next answer; an exception that it sent is raised. Raises StoppedError, with the reason.

        limit: other seconds than usual.
        """
        seconds = self.limit if limit is None else limit
        try:
            if not self._pipe.poll(seconds):
                raise LateError(f"no answer within {seconds:g} s")
            found = self._pipe.recv()
        except (EOFError, OSError):
            raise StoppedError(self._last_words()) from None
        if isinstance(found, Exception):
            raise found
        return found

    def cpu_seconds(self) -> float:
        """The seconds that it has computed; where the system does not tell, those of the clock."""
        try:
            fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return time.monotonic()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def _last_words(self) -> str:
        """The last line that it printed, and its exit code."""
        self.process.join(10)
        code = self.process.exitcode or 0
        lines = [line.strip() for line in self._log.read_text("utf-8", "replace").splitlines() if line.strip()]
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        return f"it ended with {how}" + (f": {lines[-1][:200]}" if lines else "")

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """End the process, whatever it does."""
        self.process.kill()
        self.process.join()
        self._pipe.close()
        self._folder.cleanup()


def _begin(log: str, work: Callable[..., None], *arguments: Any) -> None:
    with open(log, "wb") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    work(*arguments)
