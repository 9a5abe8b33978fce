"""One contestant in a process of its own: it prepares, and is then told when to work."""

from __future__ import annotations

import contextlib
import gc
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Any

from .problems import data_bytes, make_problem
from .stand import Figures, UnavailableError
from .workloads import Task

GO, STOP = "go", "stop"


class Timed:
    """The stand of a worker: it waits to be told, and tells how long a repetition took."""

    def __init__(self, pipe: Any) -> None:
        self.pipe = pipe
        self._said_ready = False

    def begin(self) -> bool:
        """Wait until a repetition is asked for; then collect garbage and start the clock."""
        if not self._said_ready:
            self._said_ready = True
            self.pipe.send("ready")
        if self.pipe.recv() != GO:
            return False
        gc.collect()
        self._started = time.perf_counter()
        return True

    def end(self, figures: Figures) -> None:
        """Stop the clock and tell the seconds and the figures."""
        seconds = time.perf_counter() - self._started
        self.pipe.send({"seconds": seconds, "figures": [float(value) for value in figures()]})


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


def work(pipe: Any, module: str, variant: str, task: Task, device: str) -> None:
    """Prepare, answer for each repetition, and tell the memory; what stops it is told.

    An adapter is told of a device where that is not the CPU.
    """
    place = () if device == "cpu" else (device,)
    try:
        adapter: Any = import_module(module)
        adapter.start(variant, *place)
        imported = memory()["held_bytes"]
        problem = make_problem(task)
        held = {"imported_bytes": imported, "data_bytes": data_bytes(problem), "prepared_bytes": memory()["held_bytes"]}
        _forget_peak()
        pipe.send({"source": problem.source, **held})
        adapter.ADAPTERS[task.kind](problem, Timed(pipe), variant, *place)
    except (ImportError, UnavailableError) as error:
        pipe.send(UnavailableError(str(error)))
    else:
        gc.collect()
        pipe.send(memory())
