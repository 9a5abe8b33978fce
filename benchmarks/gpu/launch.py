"""Launch time and device time apart: how long the host takes to enqueue steps, and how long until they are done."""

from __future__ import annotations

import statistics
from typing import Any

from .steps import drawn, steps

SIZES, QUICK_SIZES, BATCH = (784, 128, 10), (24, 16, 10), 128
COUNTS, QUICK_COUNTS = (16, 128, 512), (16,)
"""Steps at a time. A captured epoch is prepared 64 steps at a time, two such ahead, so that of 512 the host waits."""
ROUNDS, QUICK_ROUNDS, WARMUPS = 7, 1, 2


def measure_launches(device: str, quick: bool) -> dict[str, Any]:
    """Seconds of a step for each variant and number of steps at a time."""
    sizes = QUICK_SIZES if quick else SIZES
    lines: dict[str, Any] = {}
    for variant in ("captured", "eager"):
        lines[variant] = []
        for count in QUICK_COUNTS if quick else COUNTS:
            x, labels = drawn(count * BATCH, sizes[0], sizes[-1])
            with steps(device, sizes, x, labels, BATCH, captured=variant == "captured") as training:
                for _ in range(WARMUPS):
                    training.timed()
                times = [training.timed() for _ in range(QUICK_ROUNDS if quick else ROUNDS)]
                enqueued, done = (statistics.median(values) / count for values in zip(*times, strict=True))
                line = {"steps": count, "enqueued_seconds": enqueued, "done_seconds": done}
                lines[variant].append(line | ({"standing": training.standing()} if variant == "captured" else {}))
    return {"sizes": list(sizes), "batch": BATCH, "lines": lines}
