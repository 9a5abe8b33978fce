"""The run: contestants, each in its process, take turns, round after round, and only one of them works at a time."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ...engine import random
from .contestants import YARDSTICK, Contestant
from .processes import Process, StoppedError, closing
from .stand import UnavailableError
from .workloads import Workload

ROUNDS, QUICK_ROUNDS = 9, 5
PAUSE = 0.1
"""Seconds between two contestants: the threads of the last one's BLAS go to sleep."""
LIMIT, QUICK_LIMIT = 300.0, 60.0
"""Seconds that preparing, compiling, or a repetition may take."""

OK, UNAVAILABLE, FAILED, DISQUALIFIED = "ok", "unavailable", "failed", "disqualified"
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """How a run is done. rounds: timed repetitions of each contestant. pause, limit: in seconds."""

    quick: bool = False
    rounds: int = ROUNDS
    seed: int = 0
    pause: float = PAUSE
    limit: float = LIMIT


def run_workload(workload: Workload, contestants: Sequence[Contestant], plan: Plan, tell: Tell) -> dict[str, Any]:
    """Time the contestants that do this kind of work; returns the record of it, as plain values.

    A contestant that is missing, fails, or reaches other figures than hand-written NumPy is recorded as such, and the
    others go on.
    """
    task = workload.task(plan.quick)
    entries = {c.name: _entry(c) for c in contestants if task.kind in c.kinds}
    processes: dict[str, Process] = {}
    sources: set[str] = set()
    with closing(processes):
        for contestant in contestants:
            if contestant.name not in entries or entries[contestant.name]["status"] != OK:
                continue
            tell(f"{workload.name}: preparing {contestant.name}")
            entry = entries[contestant.name]
            started = time.perf_counter()
            process = Process(contestant.module, contestant.variant, task.as_dict(), plan.limit, contestant.device)
            processes[contestant.name] = process
            with _Noting(entry):
                prepared = process.answer("prepared")
                sources.add(prepared["source"])
                entry["memory"] = _bytes(prepared)
                process.answer("ready")
                for number in range(workload.warmups):
                    _keep(entry, process.repeat(), "warmup_seconds")
                    if not number:
                        entry["until_first_seconds"] = time.perf_counter() - started
        for number in range(plan.rounds):
            order = [name for name in entries if entries[name]["status"] == OK]
            random.generator(plan.seed, f"{workload.name}, round {number}").shuffle(order)
            tell(f"{workload.name}: round {number + 1} of {plan.rounds}")
            for name in order:
                time.sleep(plan.pause)
                with _Noting(entries[name]):
                    _keep(entries[name], processes[name].repeat(), "seconds")
        for name, entry in entries.items():
            if entry["status"] == OK:
                with _Noting(entry):
                    entry["memory"] |= _bytes(processes[name].finish())
    judge(entries, workload.tolerance, task.figures, workload.least)
    return {
        "title": workload.title, "task": task.as_dict(), "unit": workload.unit, "count": task.count,
        "data": ", ".join(sorted(sources)), "tolerance": workload.tolerance, "figures": list(task.figures),
        "warmups": workload.warmups, "contestants": entries,
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


class _Noting:
    """Writes into a contestant's entry why it cannot go on."""

    def __init__(self, entry: dict[str, Any]) -> None:
        self.entry = entry

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: Any, traceback: Any) -> bool:
        if isinstance(error, UnavailableError):
            self.entry |= {"status": UNAVAILABLE, "reason": str(error)}
        elif isinstance(error, StoppedError):
            self.entry |= {"status": FAILED, "reason": str(error)}
        else:
            return False
        return True


def judge(entries: dict[str, dict[str, Any]], tolerance: float, names: Sequence[str], least: float = 0.0) -> None:
    """Disqualify each contestant with a figure that differs by more than the tolerance from hand-written NumPy's.

    The tolerance is relative to the figure, or to `least` where that is more.
    """
    expected = entries[YARDSTICK]["figures"]
    for name, entry in entries.items():
        if entry["status"] != OK or name == YARDSTICK:
            continue
        for repetition, (own, right) in enumerate(zip(entry["figures"], expected, strict=False)):
            for label, a, b in zip(names, own, right, strict=True):
                if not math.isfinite(a) or abs(a - b) > tolerance * max(abs(b), least):
                    entry["status"] = DISQUALIFIED
                    entry["reason"] = (
                        f"{label} {a:.6g} in repetition {repetition + 1}, where {YARDSTICK} has {b:.6g}: "
                        f"more than {tolerance:.2g} apart"
                    )
                    break
            if entry["status"] != OK:
                break
