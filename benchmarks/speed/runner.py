"""A run: the limits of the machine, and each workload.

Contestants, each in its process, take turns, round after round, and only one of them works at a time.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ...engine import random
from ..processes import Process, StoppedError
from ..steadiness import unsteady
from . import limits
from .contestants import Contestant
from .results import DISQUALIFIED, FAILED, KIND, OK, UNAVAILABLE, below_limit, finished, head, rates
from .stand import UnavailableError
from .worker import GO, STOP, work
from .workloads import Workload

ROUNDS, QUICK_ROUNDS = 9, 5
PAUSE = 0.1
"""Seconds between two contestants: the threads of the last one's BLAS go to sleep."""
LIMIT, QUICK_LIMIT = 300.0, 60.0
"""Seconds that preparing, compiling, or a repetition may take."""

Tell = Callable[[str], None]
Seen = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class Plan:
    """How a run is done. rounds: timed repetitions of each contestant. pause, limit: in seconds. until: when, by
    time.perf_counter, no further contestant is prepared; the time that is then left serves the rounds.
    """

    quick: bool = False
    rounds: int = ROUNDS
    seed: int = 0
    pause: float = PAUSE
    limit: float = LIMIT
    until: float = math.inf


def measure_speed(
    workloads: Sequence[Workload],
    contestants: Sequence[Contestant],
    plan: Plan,
    tell: Tell,
    seen: Seen,
) -> dict[str, Any]:
    """Measure the limits, each workload (`seen` is shown its record), and, in the full run, the limits once more.

    Where someone is below a limit, the machine was slower when that was measured: it is measured again at once. The
    better figure of all measurements is kept.
    """
    begun = head(KIND, plan.quick)  # before the work, whose own load is not the machine's
    tasks = {workload.name: workload.task(plan.quick) for workload in workloads}
    tell("the limits of the machine")
    found = limits.measure(tasks, plan.quick)
    records = {}
    for workload in workloads:
        record = run_workload(workload, contestants, plan, tell)
        _hold_against(found, workload.name, record)
        if below_limit(record):
            tell(f"{workload.name}: its limit, again")
            found = limits.better(found, limits.measure({workload.name: tasks[workload.name]}, plan.quick))
            _hold_against(found, workload.name, record)
        records[workload.name] = record
        seen(record)
    if not plan.quick:
        tell("the limits of the machine, again")
        found = limits.better(found, limits.measure(tasks, plan.quick))
        for name, record in records.items():
            _hold_against(found, name, record)
    run = {"rounds": plan.rounds, "seed": plan.seed, "pause_seconds": plan.pause}
    return {**begun, **run, "limits": found["figures"], "workloads": records}


def _hold_against(found: dict[str, Any], name: str, record: dict[str, Any]) -> None:
    """Write into a record what the machine can do at best, and the rates of each contestant beside that."""
    record["bound"] = found["bounds"][name]
    record["peak_flops_per_second"] = found["figures"].get("float32_flops")
    for contestant, entry in finished(record).items():
        entry["rates"] = rates(record, contestant)


def run_workload(workload: Workload, contestants: Sequence[Contestant], plan: Plan, tell: Tell) -> dict[str, Any]:
    """Time the contestants that do this kind of work; returns the record of it, as plain values.

    A contestant that is missing, fails, or reaches other figures than hand-written NumPy is recorded as such, and the
    others go on.
    """
    task = workload.task(plan.quick)
    entries = {c.name: _entry(c) for c in contestants if task.kind in c.kinds}
    processes: dict[str, Process] = {}
    sources: set[str] = set()
    with contextlib.ExitStack() as stack:
        for contestant in contestants:
            if contestant.name not in entries or entries[contestant.name]["status"] != OK:
                continue
            tell(f"{workload.name}: preparing {contestant.name}")
            entry = entries[contestant.name]
            if time.perf_counter() > plan.until:
                entry |= {"status": UNAVAILABLE, "reason": "left out: no time was left"}
                continue
            started = time.perf_counter()
            way = contestant.module, contestant.variant, task, contestant.device
            process = processes[contestant.name] = stack.enter_context(Process(work, *way, limit=plan.limit))
            with _noting(entry):
                prepared = process.answer()
                sources.add(prepared["source"])
                entry["memory"] = _bytes(prepared)
                process.answer()
                for number in range(workload.warmups):
                    _keep(entry, process.ask(GO), "warmup_seconds")
                    if not number:
                        entry["until_first_seconds"] = time.perf_counter() - started
        for number in range(plan.rounds):
            order = [name for name in entries if entries[name]["status"] == OK]
            random.generator(plan.seed, f"{workload.name}, round {number}").shuffle(order)
            tell(f"{workload.name}: round {number + 1} of {plan.rounds}")
            for name in order:
                time.sleep(plan.pause)
                with _noting(entries[name]):
                    _keep(entries[name], processes[name].ask(GO), "seconds")
        for name, entry in entries.items():
            if entry["status"] == OK:
                with _noting(entry):
                    entry["memory"] |= _bytes(processes[name].ask(STOP))
    judge(entries, workload.tolerance, task.figures, workload.least)
    return {
        "title": workload.title, "task": task.as_dict(), "unit": workload.unit, "count": task.count,
        "data": ", ".join(sorted(sources)), "tolerance": workload.tolerance, "figures": list(task.figures),
        "warmups": workload.warmups, "work": limits.work_of(task), "contestants": entries,
        "unsteady": unsteady({name: e["seconds"] for name, e in entries.items() if e["status"] == OK}),
    }  # fmt: skip


def _entry(contestant: Contestant) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "status": OK, "setting": contestant.setting, "versions": contestant.versions,
        "warmup_seconds": [], "seconds": [], "figures": [],
    }  # fmt: skip
    if contestant.missing:
        entry |= {"status": UNAVAILABLE, "reason": f"{' and '.join(contestant.missing)} not installed"}
    return entry


def _bytes(answer: dict[str, Any]) -> dict[str, int]:
    return {key: value for key, value in answer.items() if key.endswith("_bytes")}


def _keep(entry: dict[str, Any], answer: dict[str, Any], where: str) -> None:
    entry[where].append(answer["seconds"])
    entry["figures"].append(answer["figures"])


@contextlib.contextmanager
def _noting(entry: dict[str, Any]) -> Iterator[None]:
    """Write into a contestant's entry why it cannot go on."""
    try:
        yield
    except UnavailableError as error:
        entry |= {"status": UNAVAILABLE, "reason": str(error)}
    except StoppedError as error:
        entry |= {"status": FAILED, "reason": str(error)}


def judge(entries: dict[str, dict[str, Any]], tolerance: float, names: Sequence[str], least: float = 0.0) -> None:
    """Disqualify each contestant with a figure that differs by more than the tolerance from the first one's.

    The first is hand-written NumPy, where that does this kind of work. The tolerance is relative to the figure, or to
    `least` where that is more.
    """
    first = next((name for name, entry in entries.items() if entry["status"] == OK), "")
    for entry in entries.values():
        pairs = zip(entry["figures"], entries[first]["figures"], strict=False) if entry["status"] == OK else ()
        for repetition, (own, right) in enumerate(pairs):
            for label, a, b in zip(names, own, right, strict=True):
                if entry["status"] == OK and not abs(a - b) <= tolerance * max(abs(b), least):  # true for NaN as well
                    entry["status"] = DISQUALIFIED
                    entry["reason"] = (
                        f"{label} {a:.6g} in repetition {repetition + 1}, where {first} has {b:.6g}: "
                        f"more than {tolerance:.2g} apart"
                    )
