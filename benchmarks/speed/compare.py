"""Two runs compared: where a contestant of ours takes longer, in units of hand-written NumPy, than it did."""

from __future__ import annotations

from dataclasses import dataclass

from .contestants import OURS, YARDSTICK
from .results import Results, Spread, finished, ratio

MARGIN = 0.10
"""By how much a ratio must be worse, beyond both quartiles, to count."""


@dataclass(frozen=True)
class Change:
    """A contestant's ratio to the yardstick before and now; None where it has none. worse: whether that counts."""

    workload: str
    contestant: str
    before: Spread | None
    now: Spread | None
    worse: bool
    note: str = ""


def compare(old: Results, new: Results, margin: float = MARGIN) -> list[Change]:
    """What has become of each contestant of ours that the old run has and the new run asked for.

    It is worse where its lower quartile now is beyond the upper quartile then by more than the margin, and the medians
    as well, or where it finished then and does not now. Workloads of another size are not compared.
    """
    changes = []
    for workload, record in new["workloads"].items():
        before = old["workloads"].get(workload)
        if before is None:
            continue
        for name in record["contestants"]:
            if name not in OURS or name not in finished(before):
                continue
            if record["task"] != before["task"]:
                changes.append(Change(workload, name, None, None, False, "of another size, not compared"))
                continue
            then, now = ratio(before, name, YARDSTICK), ratio(record, name, YARDSTICK)
            if then is None or now is None:
                entry = record["contestants"][name]
                lost = name not in finished(record)
                note = f"{entry['status']}: {entry.get('reason', '')}" if lost else f"{YARDSTICK} did not finish"
                changes.append(Change(workload, name, then, now, lost, note))
                continue
            worse = now.low > then.high * (1 + margin) and now.median > then.median * (1 + margin)
            changes.append(Change(workload, name, then, now, worse))
    return changes
