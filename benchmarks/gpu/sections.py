"""A run on a GPU: its sections, each measured alone, so that one that fails does not take the others with it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ...engine import backend
from ...errors import unknown_name
from ..machine import card
from ..speed.contestants import Contestant
from ..speed.results import FAILED, GPU, OK, head
from ..speed.runner import Plan, Tell
from .crossover import measure_crossover
from .epochs import measure_contestants, measure_epoch
from .launch import measure_launches
from .products import measure_products

SECTIONS: Mapping[str, str] = {
    "mnist": "an epoch of MNIST, 784-128-10, batch 128, beside PyTorch and JAX on the same GPU",
    "epoch": "what an epoch moves between host and GPU, and the memory that it takes",
    "launch": "launch time and device time of a step, captured and on the tape",
    "products": "a step of a network 4,096 wide, batch 8,192, against its bare matrix products",
    "crossover": "width × batch of a step, CPU against GPU",
}
"""What is measured, by name."""
Seen = Callable[[str, Mapping[str, Any]], None]


def find_sections(names: Sequence[str]) -> list[str]:
    """These sections, in their order, or all where there are none. Raises UsageError for an unknown name."""
    for name in names:
        if name not in SECTIONS:
            raise unknown_name("section", name, SECTIONS)
    return [name for name in SECTIONS if name in names or not names]


def measure_gpu(
    device: str, names: Iterable[str], contestants: Sequence[Contestant], plan: Plan, tell: Tell, seen: Seen
) -> dict[str, Any]:
    """Measure the sections; `seen` is shown each. Raises DeviceError where the device cannot be used."""
    device = backend.resolve_device(device)
    works: dict[str, Callable[[], dict[str, Any]]] = {
        "mnist": lambda: measure_contestants(device, contestants, plan, tell),
        "epoch": lambda: measure_epoch(device, plan.quick),
        "launch": lambda: measure_launches(device, plan.quick),
        "products": lambda: measure_products(device, plan.quick),
        "crossover": lambda: measure_crossover(device, plan.quick, tell),
    }
    run = head(GPU, plan.quick)
    results: dict[str, Any] = {
        **run, "machine": run["machine"] | card(device),
        "rounds": plan.rounds, "seed": plan.seed, "pause_seconds": plan.pause, "sections": {},
    }  # fmt: skip
    for name in names:
        tell(SECTIONS[name])
        begin = time.perf_counter()
        try:
            section = {"status": OK, **works[name]()}
        except Exception as error:  # what a driver or a library raises; the other sections may work all the same
            section = {"status": FAILED, "reason": f"{type(error).__name__}: {error}"}
        section["took_seconds"] = time.perf_counter() - begin
        results["sections"][name] = section
        seen(name, section)
    return results
