"""Work timed side by side in one process."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

from ..engine import backend


def in_turns(
    works: Mapping[str, Callable[[], Any]], rounds: int, times: int = 1, device: str = "cpu"
) -> dict[str, float]:
    """The median seconds of each work. They take turns in rounds of so many repetitions; a first round warms up."""
    found: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds + 1):
        for name, work in works.items():
            backend.synchronize(device)
            start = time.perf_counter()
            for _ in range(times):
                work()
            backend.synchronize(device)
            found[name].append((time.perf_counter() - start) / times)
    return {name: statistics.median(seconds[1:]) for name, seconds in found.items()}
