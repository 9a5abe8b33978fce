"""`chalkgrad sweep`: the training of one data set with several settings and seeds, and what came of each."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import click

from .. import __version__
from ..distributed import launched, sweep
from ..distributed.sweeps import Member
from ..engine.json_files import read_json
from ..engine.streams import plain
from ..errors import DataError, UsageError, unknown_name
from .run_folder import SETTINGS
from .settings import Settings

LAUNCHERS = ("PMI", "OMPI_", "PMIX_", "HYDRA_", "MPI_", "PRTE_")
"""How the variables begin by which a launcher tells a process that it is a rank."""
READ: dict[str, Any] = {
    "epochs": int, "batch_size": int, "learning_rate": float, "hidden": lambda text: [*map(int, text.split("x"))],
}  # fmt: skip
"""What a value's text stands for, by the setting; the others are texts."""


def grid_of(chosen: Sequence[str], dataset: str) -> dict[str, list[Any]]:
    """NAME=VALUE,VALUE,… by name. Raises UsageError for what is no setting, or no value of one."""
    names = [field.name for field in fields(Settings) if field.name not in ("dataset", "seed")]
    grid: dict[str, list[Any]] = {}
    for text in chosen:
        name, sign, values = text.partition("=")
        name = name.strip().replace("-", "_")
        if name not in names:
            raise unknown_name("setting", name, names)
        if name in grid or not sign:
            raise UsageError(f"--set {text}: it is NAME=VALUE,VALUE,…, each name once.")
        try:
            grid[name] = [READ.get(name, str)(value.strip()) for value in values.split(",") if value.strip()]
        except ValueError as error:
            raise UsageError(f"--set {text}: {error}.") from error
        for value in grid[name]:
            _check(dataset, name, value)
    return grid


def _check(dataset: str, name: str, value: Any) -> None:
    try:
        changed: Any = {name: tuple(value) if name == "hidden" else value}
        given = replace(Settings(dataset), **changed)
        Settings.of({**given.complete(), name: value})
    except (DataError, UsageError) as error:
        raise UsageError(f"--set {name}={value}: {str(error).rstrip('.')}.") from error


class Training:
    """Train one member in a process of its own, which no launcher knows of. out: the folder of all runs."""

    def __init__(self, dataset: str, out: str) -> None:
        self.dataset, self.out = dataset, out

    def __call__(self, seed: int, **settings: Any) -> dict[str, Any]:
        """The test figures of a run."""
        run = Path(self.out, "runs", Member(tuple(settings.items()), seed).name)
        options = [f"--{name.replace('_', '-')}={','.join(map(str, v)) if isinstance(v, list) else v}"
                   for name, v in settings.items()]  # fmt: skip
        command = [sys.executable, "-m", __package__.partition(".")[0], "train", self.dataset, *options]
        command += [f"--seed={seed}", "--verbose=0", f"--out={run}", "--overwrite"]
        around = {name: value for name, value in os.environ.items() if not name.startswith(LAUNCHERS)}
        if launched() > 1:
            around = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", **around}
        ended = subprocess.run(command, capture_output=True, text=True, check=False, env=around)
        if ended.returncode:
            last = [line for line in ended.stderr.splitlines() if line.strip()][-1:] or ["no message"]
            raise DataError(f"the training ended with exit code {ended.returncode}: {last[0]}")
        found: dict[str, Any] = read_json(run / SETTINGS)["test"]
        return found


def run_sweep(dataset: str, chosen: Sequence[str], seeds: int, out: str) -> int:
    """Train what is not there yet of each choice of settings with each seed; returns the exit code, 1 for a failure."""
    grid = grid_of(chosen, dataset)
    fixed = {"chalkgrad": __version__, **{k: v for k, v in Settings(dataset).complete().items() if k not in grid}}
    fixed.pop("seed")
    found = sweep(Training(dataset, out), grid, seeds, out, fixed, lambda line: click.echo(plain(line)))
    if found is None:
        return 0
    click.echo(table(found))
    if failed := [each for each in found if "error" in each]:
        click.echo(f"{len(failed)} of {len(found)} failed; called again, these are done again.", err=True)
    return int(bool(failed))


def table(found: Sequence[Mapping[str, Any]]) -> str:
    """The mean of each figure over the seeds, ± their standard deviation, by settings."""
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for each in found:
        told = ", ".join(f"{name} {value}" for name, value in each["settings"].items()) or "as it is"
        groups.setdefault(told, []).append(each.get("figures", {}))
    lines = []
    for told, figures in groups.items():
        whole = [each for each in figures if each]
        parts = [f"{len(whole)} of {len(figures)} seeds"]
        for name in whole[0] if whole else ():
            values = [each[name] for each in whole]
            spread = f" ± {statistics.stdev(values):.4f}" if len(values) > 1 else ""
            parts.append(f"{name} {statistics.fmean(values):.4f}{spread}")
        lines.append(f"{told}: {' · '.join(parts)}")
    return "\n".join(lines)
