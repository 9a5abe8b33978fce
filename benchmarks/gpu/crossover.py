"""Width × batch: a captured step of a 3-layer network on the CPU and on the GPU, and where the GPU begins to win."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .matmuls import flops_of
from .steps import drawn, steps

WIDTHS, QUICK_WIDTHS = (32, 128, 512, 2048, 4096), (8, 32)
BATCHES, QUICK_BATCHES = (32, 128, 1024, 8192), (8, 32)
INPUTS, CLASSES = 784, 10
STEPS = {"cpu": {8: 2, 32: 64, 128: 32, 1024: 8, 8192: 2}, "gpu": {8: 16, 32: 64, 128: 64, 1024: 32, 8192: 16}}
"""Steps an epoch, by device and batch: many, where a GPU's small ones would be lost in what an epoch takes."""
ROUNDS, QUICK_ROUNDS = 5, 1
LIMIT, QUICK_LIMIT = 10.0, 3.0
"""Seconds that the timed steps of a cell may take on the CPU, their warm-up not counted in."""


def measure_crossover(device: str, quick: bool, tell: Callable[[str], None]) -> dict[str, Any]:
    """The seconds of a step for each device, batch and width; None, and a reason, for what takes too long."""
    widths, batches = (QUICK_WIDTHS, QUICK_BATCHES) if quick else (WIDTHS, BATCHES)
    limit = QUICK_LIMIT if quick else LIMIT
    cells = []
    for batch in batches:
        x, labels = drawn(max(STEPS[kind][batch] for kind in STEPS) * batch, INPUTS, CLASSES)
        speed = 0.0  # of the CPU, at the width before
        for width in widths:
            tell(f"width {width}, batch {batch}")
            sizes = (INPUTS, width, width, CLASSES)
            cell: dict[str, Any] = {"width": width, "batch": batch}
            expected = flops_of(sizes, batch) / speed * 2 * STEPS["cpu"][batch] if speed else 0.0
            for kind, place in (("cpu", "cpu"), ("gpu", device)):
                count = STEPS[kind][batch] * batch
                if kind == "cpu" and expected > limit:
                    cell |= {"cpu": None, "reason": f"the CPU would take about {expected:.0f} s"}
                    continue
                with steps(place, sizes, x[:count], labels[:count], batch, rate=1e-4) as training:
                    rounds = QUICK_ROUNDS if quick else ROUNDS
                    cell[kind] = training.seconds(rounds, 1 if kind == "cpu" else 2, limit / 5)
            if cell["cpu"]:
                speed = flops_of(sizes, batch) / cell["cpu"]
            cells.append(cell)
    return {"inputs": INPUTS, "classes": CLASSES, "widths": list(widths), "batches": list(batches), "cells": cells}


def speedups(section: Mapping[str, Any], batch: int) -> tuple[list[int], list[float]]:
    """The widths at which both were measured, and how many times as fast the GPU is there."""
    found = [(c["width"], c["cpu"] / c["gpu"]) for c in section["cells"] if c["batch"] == batch and c["cpu"]]
    return [width for width, _ in found], [value for _, value in found]


def crossing(widths: Sequence[float], values: Sequence[float]) -> float | None:
    """The width from which on the GPU is faster, on logarithmic axes; None where it never is.

    Where it is faster at the least width already, that is it.
    """
    slower = [n for n, value in enumerate(values) if value < 1]
    if not values or (slower and slower[-1] == len(values) - 1):
        return None
    if not slower:
        return float(widths[0])
    n = slower[-1]
    (x, y), (x1, y1) = ((math.log(widths[i]), math.log(values[i])) for i in (n, n + 1))
    return math.exp(x - y * (x1 - x) / (y1 - y))
