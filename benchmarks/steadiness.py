"""Whether the machine held still while something was timed: pyperf tells, from the samples and from the system."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from .peers import version

NOT_KNOWN = "pyperf is not installed, so nothing is known of how steady the machine was."
SYSTEM = ("load_avg_1min", "runnable_threads", "cpu_freq", "cpu_config")
"""What pyperf calls the load, and how the processor is clocked."""
QUIET = 0.5
"""The load of each core up to which a machine counts as quiet."""


def system() -> dict[str, Any]:
    """Load and clock as they are now; empty where pyperf is not installed."""
    if version("pyperf") is None:
        return {}
    found: Mapping[str, Any] = import_module("pyperf").Run([1.0]).get_metadata()
    return {name: found[name] for name in SYSTEM if name in found}


def doubtful(machine: Mapping[str, Any]) -> str:
    """What speaks against a run's times: other work when it began, a BLAS told to be another; "" where nothing does."""
    load, cores, kernels = machine.get("load_avg_1min"), machine.get("cores", 1), machine.get("blas_kernels")
    told = []
    if load is not None and load > QUIET * cores:
        told.append(
            f"The machine was busy: a load of {load:.2f} on {cores} cores when the run began. Its times, and the "
            "ratios, are not those of a quiet machine."
        )
    if kernels:
        told.append(
            f"OPENBLAS_CORETYPE={kernels} is set: NumPy's products are those of that processor, those of other engines "
            "are not."
        )
    return " ".join(told)


def unsteady(samples: Mapping[str, Sequence[float]]) -> dict[str, list[str]] | None:
    """The warnings of `pyperf check` for each series of seconds that has one; None where pyperf is not installed."""
    if version("pyperf") is None:
        return None
    if not samples:
        return {}
    pyperf: Any = import_module("pyperf")
    runs = [pyperf.Run(s, metadata={"name": name}, collect_metadata=False) for name, s in samples.items()]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "samples.json")
        pyperf.BenchmarkSuite([pyperf.Benchmark([run]) for run in runs]).dump(str(file))
        command = [sys.executable, "-m", "pyperf", "check", str(file)]
        told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found: dict[str, list[str]] = {}
    name = next(iter(samples))
    for line in told.splitlines():  # of one series alone it does not tell the name
        name = line if line in samples else name
        if line.startswith("* "):
            found.setdefault(name, []).append(line.removeprefix("* "))
    return found
