"""What runs on GPUs left in benchmarks/results/gpu: a folder a machine, as `python3 benchmarks/gpu --out` fills it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...engine.json_files import read_json
from ..speed.results import GPU, Results, read

PROOFS = ("agreement", "replays", "proofs")
"""What else such a folder may hold: each has `right` and `text`."""
PROBES = "probes"
"""Figures that were written down by hand."""


@dataclass(frozen=True)
class Run:
    """One run. found: what lay beside gpu.json, by name."""

    results: Results
    found: Mapping[str, Any] = field(default_factory=dict)


def runs(folder: Path) -> list[Run]:
    """All runs in the folders of a folder, the newest first. Raises DataError for a damaged report."""
    found = []
    for path in sorted(folder.glob("*/gpu.json")):
        beside = {name: path.with_name(f"{name}.json") for name in (*PROOFS, PROBES)}
        others = {name: read_json(str(other)) for name, other in beside.items() if other.is_file()}
        found.append(Run(read(str(path), GPU), others))
    return sorted(found, key=lambda run: str(run.results["machine"]["date"]), reverse=True)
