"""The energy of a step, as the card counts it: by NVML, where nvidia-ml-py is installed and the card tells it."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable
from typing import Any

from ...engine import backend
from .steps import drawn, steps

NETS = ((784, 128, 10), 128, 128), ((784, 2048, 2048, 10), 1024, 32)
"""Sizes, batch, and steps an epoch."""
QUICK_NETS = (((24, 16, 10), 16, 4),)
SECONDS, QUICK_SECONDS = 2.0, 0.05
"""How long each is trained: NVML's counter moves some ten times a second."""
IDLE = 0.5


def meter(device: str) -> Callable[[], float] | str:
    """What reads the joules that the card has taken so far; or why there is none."""
    try:
        nvml: Any = importlib.import_module("pynvml")
    except ImportError:
        return "nvidia-ml-py is not installed"
    try:
        nvml.nvmlInit()
        handle = nvml.nvmlDeviceGetHandleByPciBusId(backend.card_of(device).encode())
        nvml.nvmlDeviceGetTotalEnergyConsumption(handle)
    except Exception as error:  # NVMLError: no such counter, no permission, a virtual card
        return f"NVML does not tell it ({type(error).__name__}: {error})"
    return lambda: nvml.nvmlDeviceGetTotalEnergyConsumption(handle) / 1000


def measure_energy(device: str, quick: bool) -> dict[str, Any]:
    """Joules a step and watts of each net while it is trained, beside the watts of the card before."""
    read = meter(device)
    if isinstance(read, str):
        return {"absent": read}
    before = read()
    time.sleep(QUICK_SECONDS if quick else IDLE)
    found: dict[str, Any] = {"idle_watts": (read() - before) / (QUICK_SECONDS if quick else IDLE), "nets": {}}
    for sizes, batch, count in QUICK_NETS if quick else NETS:
        x, labels = drawn(count * batch, sizes[0], sizes[-1])
        with steps(device, sizes, x, labels, batch, rate=1e-4) as training:
            for _ in range(3):
                training.timed()
            before, begin, epochs = read(), time.perf_counter(), 0
            while time.perf_counter() - begin < (QUICK_SECONDS if quick else SECONDS):
                training.timed()
                epochs += 1
            joules, seconds = read() - before, time.perf_counter() - begin
            taken = epochs * training.count
            name = f"{'-'.join(map(str, sizes))}, batch {batch:,}"
            found["nets"][name] = {"joules": joules / taken, "watts": joules / seconds, "seconds": seconds / taken}
    return found
