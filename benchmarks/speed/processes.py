"""The processes of the contestants, seen from the runner."""

from __future__ import annotations

import contextlib
import json
import queue
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from typing import Any

from .stand import UnavailableError
from .worker import GO

MODULE = f"{__package__}.worker"


class StoppedError(Exception):
    """A worker can give no further answer, and why."""


class Process:
    """A worker. limit: seconds that any one answer may take. device: where it computes, "cpu" or "gpu"."""

    def __init__(
        self, module: str, variant: str, task: Mapping[str, Any], limit: float, device: str = "cpu"
    ) -> None:  # fmt: skip
        self.limit = limit
        self.errors = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115
        self.process = subprocess.Popen(
            [sys.executable, "-m", MODULE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors,
            encoding="utf-8",
        )  # fmt: skip
        self.answers: queue.Queue[str | None] = queue.Queue()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        self.send(json.dumps({"module": module, "variant": variant, "task": task, "device": device}))

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.answers.put(line)
        self.answers.put(None)

    def send(self, line: str) -> None:
        """Write a line to it; one that is gone is found out by its answer."""
        assert self.process.stdin is not None
        with contextlib.suppress(OSError):
            print(line, file=self.process.stdin, flush=True)

    def answer(self, event: str) -> dict[str, Any]:
        """Its next answer, which is this event. Raises UnavailableError or StoppedError, with the reason."""
        try:
            line = self.answers.get(timeout=self.limit)
        except queue.Empty:
            raise StoppedError(f"no answer within {self.limit:g} s") from None
        if line is None:
            raise StoppedError(self.last_words())
        found: dict[str, Any] = json.loads(line)
        if found["event"] == "unavailable":
            raise UnavailableError(found["reason"])
        if found["event"] != event:
            raise StoppedError(f"it stopped early: {found['event']} for {event}")
        return found

    def repeat(self) -> dict[str, Any]:
        """One repetition."""
        self.send(GO)
        return self.answer("done")

    def finish(self) -> dict[str, Any]:
        """Let it end, and return its last answer."""
        self.send("stop")
        return self.answer("finished")

    def last_words(self) -> str:
        """The last line that it printed to stderr, or its exit code."""
        code = self.process.wait(10)
        self.errors.seek(0)
        lines = [line.strip() for line in self.errors if line.strip()]
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        return f"it ended with {how}" + (f": {lines[-1][:200]}" if lines else "")

    def close(self) -> None:
        """End the process, whatever it does."""
        self.process.kill()
        self.process.wait()
        self.reader.join()
        for pipe in (self.process.stdin, self.process.stdout, self.errors):
            with contextlib.suppress(OSError):
                pipe.close()  # type: ignore[union-attr]


@contextlib.contextmanager
def closing(processes: dict[str, Process]) -> Iterator[None]:
    """End all of them when the block ends."""
    try:
        yield
    finally:
        for process in processes.values():
            process.close()
