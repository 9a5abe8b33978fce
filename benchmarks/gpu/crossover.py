"""Width × batch: a captured step on the CPU and on the GPU, and where the GPU begins to win.

Of a network of three dense layers, and of a small CNN: two layers of convolutions, the second twice as wide.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .matmuls import flops_of
from .steps import drawn, steps


@dataclass(frozen=True)
class Sweep:
    """Widths and batches, and their quick ones; convolutional: whether the width is that of convolutions."""

    widths: tuple[int, ...]
    batches: tuple[int, ...]
    quick_widths: tuple[int, ...]
    quick_batches: tuple[int, ...]
    convolutional: bool = False


DENSE = Sweep((32, 128, 512, 2048, 4096), (32, 128, 1024, 8192), (8, 32), (8, 32))
CNN = Sweep((8, 16, 32, 64), (32, 128, 1024), (2, 4), (8,), convolutional=True)
SWEEPS = {"crossover": DENSE, "cnn": CNN}
"""By section."""
INPUTS, CLASSES = 784, 10
STEPS = {"cpu": {8: 2, 32: 64, 128: 32, 1024: 8, 8192: 2}, "gpu": {8: 16, 32: 64, 128: 64, 1024: 32, 8192: 16}}
"""Steps an epoch, by device and batch: many, where a GPU's small ones would be lost in what an epoch takes."""
ROUNDS, QUICK_ROUNDS = 5, 1
LIMIT, QUICK_LIMIT = 10.0, 3.0
"""Seconds that the timed steps of a cell may take on the CPU, their warm-up not counted in."""


def measure_crossover(
    device: str, quick: bool, tell: Callable[[str], None], sweep: Sweep, until: float = math.inf
) -> dict[str, Any]:
    """The seconds of a step for each device, batch and width; None, and a reason, for what takes too long.

    until: of time.perf_counter; what is not begun by then is left out.
    """
    widths, batches = (sweep.quick_widths, sweep.quick_batches) if quick else (sweep.widths, sweep.batches)
    limit = QUICK_LIMIT if quick else LIMIT
    cells = []
    for batch in batches:
        x, labels = drawn(max(STEPS[kind][batch] for kind in STEPS) * batch, INPUTS, CLASSES)
        speed = 0.0  # of the CPU, at the width before
        for width in widths:
            tell(f"width {width}, batch {batch}")
            sizes, filters = network(sweep.convolutional, INPUTS, width, CLASSES)
            flops = flops_of(sizes, batch, filters)
            cell: dict[str, Any] = {"width": width, "batch": batch, "flops": flops}
            expected = flops / speed * 2 * STEPS["cpu"][batch] if speed else 0.0
            for kind, place in (("gpu", device), ("cpu", "cpu")):
                count = STEPS[kind][batch] * batch
                if time.perf_counter() > until:
                    cell |= {kind: None, "reason": "no time was left"}
                    continue
                if kind == "cpu" and expected > limit:
                    cell |= {"cpu": None, "reason": f"the CPU would take about {expected:.0f} s"}
                    continue
                with steps(place, sizes, x[:count], labels[:count], batch, rate=1e-4, filters=filters) as training:
                    rounds = QUICK_ROUNDS if quick else ROUNDS
                    cell[kind] = training.seconds(rounds, 1 if kind == "cpu" else 2, limit / 5)
            if cell["cpu"]:
                speed = flops / cell["cpu"]
            cells.append(cell)
    return {
        "inputs": INPUTS, "classes": CLASSES, "convolutional": sweep.convolutional, "widths": list(widths),
        "batches": list(batches), "cells": cells,
    }  # fmt: skip


def network(convolutional: bool, inputs: int, width: int, classes: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The sizes of the dense layers, and the filters of those of convolutions, at a width."""
    return ((inputs, classes), (width, 2 * width)) if convolutional else ((inputs, width, width, classes), ())


def flops_of_cell(section: Mapping[str, Any], cell: Mapping[str, Any]) -> int:
    """Multiplications and additions in the products of a cell's step."""
    if "flops" in cell:
        return int(cell["flops"])
    sizes, filters = network(section.get("convolutional", False), section["inputs"], cell["width"], section["classes"])
    return flops_of(sizes, cell["batch"], filters)


def speedups(section: Mapping[str, Any], batch: int) -> tuple[list[int], list[float]]:
    """The widths at which both were measured, and how many times as fast the GPU is there."""
    found = [
        (c["width"], c["cpu"] / c["gpu"]) for c in section["cells"] if c["batch"] == batch and c["cpu"] and c["gpu"]
    ]
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
