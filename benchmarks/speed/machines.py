"""Several reports side by side: other machines, CPU and GPU, or the same machine on other days."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..peers import table
from ..steadiness import doubtful
from .results import OK, Results, a_unit, ratio_text, seconds_text
from .rows import rows


def side_by_side(reports: Sequence[Results]) -> list[str]:
    """Paragraphs: the machines by letter, then a table for each workload, of growth for each size."""
    letters = [chr(ord("A") + number) if number < 26 else str(number + 1) for number in range(len(reports))]
    parts = ["\n".join(f"- {letter}: {_machine(report)}" for letter, report in zip(letters, reports, strict=True))]
    found: dict[tuple[str, str], dict[str, dict[str, Any]]] = {}
    for letter, report in zip(letters, reports, strict=True):
        for row in rows(report):
            what = f"{row['workload']}, {row['size']:,}" if "size" in row else row["workload"]
            found.setdefault((what, row["unit"]), {}).setdefault(row["contestant"], {})[letter] = row
    for (what, unit), contestants in found.items():
        lines = [[name, *(_cell(of.get(letter)) for letter in letters)] for name, of in contestants.items()]
        parts.append(table([f"{a_unit(unit)} of {what}", *letters], lines))
    return parts


def _machine(report: Results) -> str:
    machine = report["machine"]
    card = f"{machine['gpu']}; " if "gpu" in machine else ""
    size = ", quick run" if report["quick"] else ""
    where = f"{card}{machine['processor']}, {machine['cores']} cores"
    told = f"{where}, {machine['date']}, chalkgrad {report['chalkgrad']}{size}"
    return f"{told}. {doubtful(machine)}".strip()


def _cell(row: dict[str, Any] | None) -> str:
    if row is None:
        return "–"
    if row["status"] != OK:
        return str(row["status"])
    share = f" ({ratio_text(row['times_numpy'])} × numpy)" if "times_numpy" in row else ""
    rate = f", {row['samples_per_second']:,.0f} samples/s" if "samples_per_second" in row else ""
    return f"{seconds_text(row['median_seconds'])}{share}{rate}" + (" (unsteady)" if row.get("remark") else "")
