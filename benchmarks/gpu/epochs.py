"""An epoch of MNIST: the contestants' time, and what chalkgrad moves and holds meanwhile."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...engine import backend
from ..speed.contestants import Contestant
from ..speed.problems import make_problem
from ..speed.runner import Plan, Tell, run_workload
from .contestants import WORKLOAD
from .products import bare_seconds
from .steps import Steps, free

WARMUPS = 4


def measure_contestants(device: str, contestants: Sequence[Contestant], plan: Plan, tell: Tell) -> dict[str, Any]:
    """The record of the workload, as the speed benchmarks have it; its bound is the bare matrix products."""
    record = run_workload(WORKLOAD, contestants, plan, tell)
    task = WORKLOAD.task(plan.quick)
    seconds, by = bare_seconds(device, task.sizes, task.batch, 1 if plan.quick else 5, 2 if plan.quick else 100)  # type: ignore[attr-defined]
    record["bound"] = {"seconds": seconds * task.count, "what": f"its products by {by}", "for_all": False}
    return record


def measure_epoch(device: str, quick: bool) -> dict[str, Any]:
    """The transfers of a captured epoch, its loss read at the end, and the memory that the training takes at most."""
    problem = make_problem(WORKLOAD.task(quick))
    free(device)
    before = backend.memory(device)
    training = Steps(
        device, problem.task.sizes, problem.x, problem.labels, problem.task.batch, weights=problem.weights, shuffle=True
    )
    for _ in range(2 if quick else WARMUPS):
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
