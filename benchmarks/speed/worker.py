"""One contestant in a process of its own: it prepares, and is then told when to work."""

from __future__ import annotations

import gc
import time
from importlib import import_module
from typing import Any

from ..memory import forget_peak, memory
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
        forget_peak()
        pipe.send({"source": problem.source, **held})
        adapter.ADAPTERS[task.kind](problem, Timed(pipe), variant, *place)
    except (ImportError, UnavailableError) as error:
        pipe.send(UnavailableError(str(error)))
    else:
        gc.collect()
        pipe.send(memory())
