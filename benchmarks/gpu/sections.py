"""A run on a GPU: its sections, each measured alone, so that one that fails does not take the others with it."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ...engine import backend
from ...errors import unknown_name
from ..machine import card
from ..speed.contestants import Contestant
from ..speed.problems import make_problem
from ..speed.results import FAILED, GPU, OK, head
from ..speed.runner import Plan, Tell, run_workload
from ..speed.workloads import GPU_CNNS, GPU_WORKLOAD
from .crossover import SWEEPS, measure_crossover
from .energy import measure_energy
from .first import measure_first
from .matmuls import bare_seconds, flops_of, square_rates
from .peaks import PRECISIONS
from .steps import Steps, drawn, free, steps

SECTIONS: Mapping[str, str] = {
    "mnist": "an epoch of MNIST, 784-128-10, batch 128, beside PyTorch and JAX on the same GPU",
    "first": "a first training, with nothing compiled before and again",
    "epoch": "what an epoch moves between host and GPU, and the memory that it takes",
    "launch": "launch time and device time of a step, captured and on the tape",
    "products": "a step of a network 4,096 wide, batch 8,192, against its bare matrix products",
    "crossover": "width × batch of a step, CPU against GPU",
    "cnn": "the same of a small CNN",
    "peers": "a step of a small CNN, batch 128 and 1,024, beside PyTorch's CUDA graphs",
    "energy": "the energy of a step, where NVML tells it",
}
"""What is measured, by name."""
PREPARING = 0.7
"""The part of a section's time after which no further contestant is prepared."""
Seen = Callable[[str, Mapping[str, Any], Mapping[str, Any]], None]
"""Called with a section's name, the section, and all results so far."""


def find_sections(names: Sequence[str]) -> list[str]:
    """These sections, in their order, or all where there are none. Raises UsageError for an unknown name."""
    for name in names:
        if name not in SECTIONS:
            raise unknown_name("section", name, SECTIONS)
    return [name for name in SECTIONS if name in names or not names]


def measure_contestants(device: str, contestants: Sequence[Contestant], plan: Plan, tell: Tell) -> dict[str, Any]:
    """The record of the workload, as the speed benchmarks have it; its bound is the bare matrix products."""
    record = run_workload(GPU_WORKLOAD, contestants, plan, tell)
    task = GPU_WORKLOAD.task(plan.quick)
    seconds, by = bare_seconds(device, task.sizes, task.batch, 1 if plan.quick else 5, 2 if plan.quick else 100)  # type: ignore[attr-defined]
    record["bound"] = {"seconds": seconds * task.count, "what": f"its products by {by}", "for_all": False}
    return record


PEERS = ("captured", "pytorch graphs")


def measure_peers(contestants: Sequence[Contestant], plan: Plan, tell: Tell) -> dict[str, Any]:
    """The records of the small CNN's steps, by batch; losses are held against ours, since NumPy on a CPU takes long."""
    chosen = [contestant for contestant in contestants if contestant.name in PEERS]
    records = {str(w.task(plan.quick).batch): run_workload(w, chosen, plan, tell) for w in GPU_CNNS}  # type: ignore[attr-defined]
    return {"workloads": records}


def measure_epoch(device: str, quick: bool) -> dict[str, Any]:
    """The transfers of a captured epoch, its loss read at the end, and the memory that the training takes at most."""
    problem = make_problem(GPU_WORKLOAD.task(quick))
    free(device)
    before = backend.memory(device)
    training = Steps(
        device, problem.task.sizes, problem.x, problem.labels, problem.task.batch, weights=problem.weights, shuffle=True
    )
    for _ in range(2 if quick else 4):
        training.epoch().read()
    with backend.count_transfers() as count:
        loss = training.epoch().read()["loss"]
    held = backend.memory(device)
    enqueued, done = training.timed()
    standing = training.standing()
    training.close()
    data = problem.x.nbytes + problem.labels.nbytes
    return {
        "data": problem.source, "steps": training.count, "standing": standing, "loss": loss,
        "transfers": vars(count) | {}, "data_bytes": data,
        "peak_bytes": held.used + held.kept - before.used - before.kept,
        "card_bytes": before.free - held.free, "used_bytes": held.used - before.used,
        "enqueued_seconds": enqueued, "done_seconds": done,
    }  # fmt: skip


LAUNCHED, QUICK_LAUNCHED, BATCH = (784, 128, 10), (24, 16, 10), 128
COUNTS, QUICK_COUNTS = (16, 128, 512), (16,)
"""Steps at a time. A captured epoch is prepared 64 steps at a time, two such ahead, so that of 512 the host waits."""


def measure_launches(device: str, quick: bool) -> dict[str, Any]:
    """Seconds of a step for each variant and number of steps at a time."""
    sizes = QUICK_LAUNCHED if quick else LAUNCHED
    lines: dict[str, Any] = {}
    for variant in ("captured", "eager"):
        lines[variant] = []
        for count in QUICK_COUNTS if quick else COUNTS:
            x, labels = drawn(count * BATCH, sizes[0], sizes[-1])
            with steps(device, sizes, x, labels, BATCH, captured=variant == "captured") as training:
                for _ in range(2):
                    training.timed()
                times = [training.timed() for _ in range(1 if quick else 7)]
                enqueued, done = (statistics.median(values) / count for values in zip(*times, strict=True))
                line = {"steps": count, "enqueued_seconds": enqueued, "done_seconds": done}
                lines[variant].append(line | ({"standing": training.standing()} if variant == "captured" else {}))
    return {"sizes": list(sizes), "batch": BATCH, "lines": lines}


WIDE, WIDE_BATCH = (784, 4096, 4096, 4096, 10), 8192
QUICK_WIDE, QUICK_WIDE_BATCH = (24, 64, 64, 10), 64
STEPS = 4
"""Steps an epoch."""
ROUNDS, QUICK_ROUNDS = 5, 1


def measure_products(device: str, quick: bool) -> dict[str, Any]:
    """A captured step, the products alone, and the ratio; and the same step with its factors rounded."""
    sizes, batch = (QUICK_WIDE, QUICK_WIDE_BATCH) if quick else (WIDE, WIDE_BATCH)
    rounds = QUICK_ROUNDS if quick else ROUNDS
    x, labels = drawn(STEPS * batch, sizes[0], sizes[-1])
    with steps(device, sizes, x, labels, batch, rate=1e-4) as training:
        step = training.seconds(rounds, 3, 10.0)
        standing = training.standing()
    bare, by = bare_seconds(device, sizes, batch, rounds, STEPS)
    flops = flops_of(sizes, batch)
    rounded = {}
    for precision in PRECISIONS[1:]:
        with steps(device, sizes, x, labels, batch, rate=1e-4, precision=precision) as training:
            seconds = training.seconds(rounds, 3, 5.0)
            rounded[precision] = {"step_seconds": seconds, "step_flops_per_second": flops / seconds}
    return {
        "rounded": rounded, "square": square_rates(device, quick),
        "sizes": list(sizes), "batch": batch, "dtype": "float32", "standing": standing, "by": by, "flops": flops,
        "step_seconds": step, "products_seconds": bare, "ratio": step / bare,
        "step_flops_per_second": flops / step, "products_flops_per_second": flops / bare,
    }  # fmt: skip


def measure_gpu(
    device: str,
    names: Iterable[str],
    contestants: Sequence[Contestant],
    plan: Plan,
    tell: Tell,
    seen: Seen,
    seconds: float = math.inf,
) -> dict[str, Any]:
    """Measure the sections; `seen` is shown each. Raises DeviceError where the device cannot be used.

    seconds: for each section; what a long one then leaves out, it says.
    """
    device = backend.resolve_device(device)

    def until(part: float = 1.0) -> float:
        return time.perf_counter() + part * seconds

    works: dict[str, Callable[[], dict[str, Any]]] = {
        "mnist": lambda: measure_contestants(device, contestants, replace(plan, until=until(PREPARING)), tell),
        "first": lambda: measure_first(device, plan.quick),
        "epoch": lambda: measure_epoch(device, plan.quick),
        "launch": lambda: measure_launches(device, plan.quick),
        "products": lambda: measure_products(device, plan.quick),
        "crossover": lambda: measure_crossover(device, plan.quick, tell, SWEEPS["crossover"], until()),
        "cnn": lambda: measure_crossover(device, plan.quick, tell, SWEEPS["cnn"], until()),
        "peers": lambda: measure_peers(contestants, replace(plan, until=until(PREPARING)), tell),
        "energy": lambda: measure_energy(device, plan.quick),
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
        seen(name, section, results)
    return results
