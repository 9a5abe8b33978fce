"""A whole run: limits, workloads and growth, put together into what is written to JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from ... import __version__
from . import limits
from .contestants import Contestant
from .growth import SWEEPS, run_sweep
from .results import FORMAT, GROWTH, KIND, machine
from .runner import Plan, Tell, run_workload
from .workloads import Workload

Seen = Callable[[dict[str, Any]], None]


def _head(kind: str, quick: bool) -> dict[str, Any]:
    return {"kind": kind, "format": FORMAT, "chalkgrad": __version__, "quick": quick, "machine": machine()}


def measure_speed(
    workloads: Sequence[Workload], contestants: Sequence[Contestant], plan: Plan, tell: Tell, seen: Seen
) -> dict[str, Any]:
    """Measure the limits, each workload (`seen` is shown its record), and, in the full run, the limits once more.

    The better figure of both measurements is kept.
    """
    tasks = {workload.name: workload.task(plan.quick).as_dict() for workload in workloads}
    tell("the limits of the machine")
    found = limits.measure(tasks, plan.quick)
    records = {}
    for workload in workloads:
        record = run_workload(workload, contestants, plan, tell)
        record["bound"] = found["bounds"][workload.name]
        records[workload.name] = record
        seen(record)
    if not plan.quick:
        tell("the limits of the machine, again")
        found = limits.better(found, limits.measure(tasks, plan.quick))
        for name, record in records.items():
            record["bound"] = found["bounds"][name]
    run = {"rounds": plan.rounds, "seed": plan.seed, "pause_seconds": plan.pause}
    return {**_head(KIND, plan.quick), **run, "limits": found["figures"], "workloads": records}


def measure_growth(quick: bool, tell: Tell, names: Iterable[str] = SWEEPS) -> dict[str, Any]:
    """Measure every sweep."""
    return {**_head(GROWTH, quick), "sweeps": {name: run_sweep(name, quick, tell) for name in names}}
