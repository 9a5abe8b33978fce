"""One contestant in a process of its own: it prepares, and is then told when to work.

    python -m chalkgrad.benchmarks.speed.worker

It is sent its job as one line of JSON, {"module", "variant", "task", "device"}, and then a line for each repetition;
it answers each with a line. An adapter is told of a device where that is not the CPU. What
the engine itself prints goes to stderr.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import sys
import time
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import IO, Any

from .problems import data_bytes, make_problem
from .stand import Figures, UnavailableError
from .workloads import task_from

GO = "go"


class Pipe:
    """The stand of a worker: it waits for a line, and writes one."""

    def __init__(self, requests: IO[str], answers: IO[str]) -> None:
        self.requests, self.answers = requests, answers
        self._said_ready = False

    def say(self, event: str, **values: Any) -> None:
        """Write a line."""
        print(json.dumps({"event": event, **values}), file=self.answers, flush=True)

    def begin(self) -> bool:
        """Wait for the line that asks for a repetition; then collect garbage and start the clock."""
        if not self._said_ready:
            self._said_ready = True
            self.say("ready")
        if self.requests.readline().strip() != GO:
            return False
        gc.collect()
        self._started = time.perf_counter()
        return True

    def end(self, figures: Figures) -> None:
        """Stop the clock and tell the seconds and the figures."""
        seconds = time.perf_counter() - self._started
        self.say("done", seconds=seconds, figures=[float(value) for value in figures()])


def memory() -> dict[str, int]:
    """How much memory this process holds, and the most that it has held, in bytes; 0 where that cannot be told."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return _memory_elsewhere()
    sizes = {line.partition(":")[0]: line.split()[1] for line in lines if line.startswith("Vm")}
    return {"held_bytes": 1024 * int(sizes["VmRSS"]), "peak_bytes": 1024 * int(sizes["VmHWM"])}


def _memory_elsewhere() -> dict[str, int]:
    try:
        import resource
    except ImportError:
        return {"held_bytes": 0, "peak_bytes": 0}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return {"held_bytes": peak, "peak_bytes": peak}


def _forget_peak() -> None:
    """Let the peak begin anew, so that what making the data took does not count; not possible everywhere."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def work(job: Mapping[str, Any], pipe: Pipe) -> None:
    """Do the job; what stops it is told."""
    place = () if job["device"] == "cpu" else (job["device"],)
    try:
        adapter: Any = import_module(job["module"])
        adapter.start(job["variant"], *place)
    except (ImportError, UnavailableError) as error:
        pipe.say("unavailable", reason=str(error))
        return
    imported = memory()["held_bytes"]
    problem = make_problem(task_from(job["task"]))
    held = {"imported_bytes": imported, "data_bytes": data_bytes(problem), "prepared_bytes": memory()["held_bytes"]}
    _forget_peak()
    pipe.say("prepared", source=problem.source, **held)
    try:
        adapter.ADAPTERS[job["task"]["kind"]](problem, pipe, job["variant"], *place)
    except UnavailableError as error:
        pipe.say("unavailable", reason=str(error))
        return
    gc.collect()
    pipe.say("finished", **memory())


def main() -> int:
    """The command; stdout is kept for the answers, so that no engine can print into them."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    work(json.loads(sys.stdin.readline()), Pipe(sys.stdin, answers))
    return 0


if __name__ == "__main__":
    sys.exit(main())
