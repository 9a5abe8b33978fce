"""How the cost grows with the work: batch, width, depth, samples, and the length of a chain of tiny operations."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy

from ..processes import Process, StoppedError
from .contestants import CONTESTANTS, Contestant
from .results import GROWTH, head
from .runner import Tell
from .stand import UnavailableError
from .worker import GO, STOP, work
from .workloads import Chain, Task, Training

NAMES = ("numpy", "eager", "captured")
REPETITIONS, QUICK_REPETITIONS = 5, 2
WARMUPS = 4
"""Repetitions before the timed ones; within them a step is recorded twice and compiled."""
LIMIT, QUICK_LIMIT = 120.0, 15.0
"""Seconds that one repetition may take; what is larger still is not tried then."""
QUICK_SIZES = 3
STEPS = 20
BASE = Training("random", 128 * STEPS, (784, 128, 10), 128)


@dataclass(frozen=True)
class Sweep:
    """One size is varied. task: the work at a size. sizes: in the full run; the quick run takes three small ones."""

    title: str
    variable: str
    unit: str
    sizes: tuple[int, ...]
    task: Callable[[int], Task]
    names: tuple[str, ...] = NAMES

    def count(self, size: int) -> int:
        """How many units one repetition holds."""
        return 1 if self.unit == "epoch" else self.task(size).count


SWEEPS: Mapping[str, Sweep] = {
    "batch": Sweep(
        "a training step against the batch size", "samples in a batch", "step",
        (32, 64, 128, 256, 512, 1024), lambda n: replace(BASE, samples=n * STEPS, batch=n),
    ),
    "width": Sweep(
        "a training step against the width of the hidden layer", "units", "step",
        (32, 64, 128, 256, 512, 1024, 2048), lambda n: replace(BASE, sizes=(784, n, 10)),
    ),
    "depth": Sweep(
        "a training step against the number of hidden layers of 128", "hidden layers", "step",
        (1, 2, 4, 8, 16, 32), lambda n: replace(BASE, sizes=(784, *[128] * n, 10), rate=1e-4),
    ),
    "samples": Sweep(
        "an epoch against the number of samples", "samples", "epoch",
        (1_280, 2_560, 5_120, 10_240, 20_480, 40_960), lambda n: replace(BASE, samples=n),
    ),
    "chain": Sweep(
        "a chain of tiny operations, forward and backward, for each operation", "operations", "operation",
        (1_000, 3_160, 10_000, 31_600, 100_000, 316_000, 1_000_000), lambda n: Chain(n // 4),
    ),
}  # fmt: skip


def run_sweep(name: str, quick: bool, tell: Tell) -> dict[str, Any]:
    """Time a sweep; returns its record as plain values. What is not measured is empty, with its reason."""
    sweep = SWEEPS[name]
    sizes = sweep.sizes[::2][:QUICK_SIZES] if quick else sweep.sizes
    lines: dict[str, Any] = {}
    seconds: list[float]
    memory: dict[str, int]
    for contestant in map(CONTESTANTS.__getitem__, sweep.names):
        line: dict[str, Any] = {"seconds": [], "memory": [], "reasons": []}
        for size in sizes:
            tell(f"growth, {name} {size:,}: {contestant.name}")
            if any(line["reasons"]):
                seconds, memory, reason = [], {}, "not tried"
            else:
                seconds, memory, reason = _point(contestant, sweep, size, quick)
            line["seconds"].append([value / sweep.count(size) for value in seconds])
            line["memory"].append(memory)
            line["reasons"].append(reason)
        lines[contestant.name] = line
    return {
        "title": sweep.title, "variable": sweep.variable, "unit": sweep.unit, "sizes": list(sizes), "lines": lines,
    }  # fmt: skip


def measure_growth(quick: bool, tell: Tell, names: Iterable[str] = SWEEPS) -> dict[str, Any]:
    """Measure every sweep."""
    return {**head(GROWTH, quick), "sweeps": {name: run_sweep(name, quick, tell) for name in names}}


def _point(contestant: Contestant, sweep: Sweep, size: int, quick: bool) -> tuple[list[float], dict[str, int], str]:
    limit = QUICK_LIMIT if quick else LIMIT
    with Process(work, contestant.module, contestant.variant, sweep.task(size), "cpu", limit=limit) as process:
        try:
            prepared = process.answer()
            process.answer()
            for _ in range(WARMUPS):
                process.ask(GO)
            seconds = [process.ask(GO)["seconds"] for _ in range(QUICK_REPETITIONS if quick else REPETITIONS)]
            finished = process.ask(STOP)
        except (UnavailableError, StoppedError) as error:
            return [], {}, str(error)
    memory = {
        "used_bytes": finished["peak_bytes"] - prepared["prepared_bytes"],
        "left_bytes": finished["held_bytes"] - prepared["prepared_bytes"],
    }
    return seconds, memory, ""


def medians(sweep: Mapping[str, Any], name: str) -> tuple[list[int], list[float]]:
    """The sizes at which a contestant was measured, and its median seconds there."""
    pairs = zip(sweep["sizes"], sweep["lines"][name]["seconds"], strict=True)
    found = [(size, statistics.median(seconds)) for size, seconds in pairs if seconds]
    return [size for size, _ in found], [value for _, value in found]


def exponent(sizes: Sequence[float], values: Sequence[float]) -> float | None:
    """p of the power law value = c size^p that fits best on logarithmic axes; None for fewer than two sizes."""
    if len(sizes) < 2:
        return None
    x, y = (numpy.array([math.log(value) for value in row]) for row in (sizes, values))
    x -= x.mean()
    return float((x * y).sum() / (x * x).sum())
