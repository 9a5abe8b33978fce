"""`chalkgrad reproduce`: the documented program, and means that reach what it is documented to, seed by seed."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from ..distributed.sweeps import shared_out
from ..engine.files import write_file
from ..engine.json_files import read_json
from ..errors import DataError, UsageError, unknown_name
from . import experiments
from .experiments import EXPERIMENTS, Experiment
from .reproduce_report import can_be_told, write_report


@dataclass(frozen=True)
class Request:
    """What is asked for. only: experiments by name; seeds: these instead of the first ones; validate: never look at
    the test images, but train without the last of the training images and be judged by those."""

    only: tuple[str, ...] = ()
    seeds: tuple[int, ...] = ()
    epochs: int | None = None
    quick: bool = False
    validate: bool = False

    @property
    def judged(self) -> str:
        """What the images are called that runs are judged by."""
        return "validation" if self.validate else "test"

    def settings(self, experiment: Experiment, seed: int) -> dict[str, Any]:
        """Those of one run."""
        epochs = self.epochs or (experiment.quick if self.quick else experiment.epochs)
        return experiment.settings(seed, epochs, self.judged)

    def runs(self) -> list[tuple[Experiment, int]]:
        """Each experiment with each of its seeds."""
        for name in self.only:
            if name not in EXPERIMENTS:
                raise unknown_name("experiment", name, EXPERIMENTS)
        if len(set(self.seeds)) != len(self.seeds):
            raise UsageError(f"each seed is given once: {list(self.seeds)}.")
        chosen = [e for e in EXPERIMENTS.values() if not self.only or e.name in self.only]
        return [(e, seed) for e in chosen for seed in self.seeds or range(1 if self.quick else e.seeds)]

    def kept(self, out: Path, experiment: Experiment, seed: int) -> dict[str, Any] | None:
        """The result of a run in the folder, if it was of the same settings."""
        path = self.path(out, experiment, seed)
        if not path.exists():
            return None
        try:
            result = read_json(path)
        except DataError as error:
            raise DataError(f"{error} Delete it, and that seed is run again.") from error
        settings = self.settings(experiment, seed)
        if not isinstance(result, dict) or any(result.get(name) != value for name, value in settings.items()):
            return None
        if not can_be_told(result):
            raise DataError(f"{path} is damaged: it lacks figures. Delete it, and that seed is run again.")
        return result

    def path(self, out: Path, experiment: Experiment, seed: int) -> Path:
        """Where the result of a run is kept."""
        kind = ("-quick" if self.quick else "") + ("-validation" if self.validate else "")
        return out / f"{experiment.name}{kind}-{seed}.json"


@dataclass
class Run:
    """One run, by an experiment's name and a seed; the images are read for the first."""

    request: Request

    def __call__(self, task: tuple[str, int]) -> dict[str, Any]:
        """Its result."""
        experiment, seed = EXPERIMENTS[task[0]], task[1]
        settings = self.request.settings(experiment, seed)
        if "data" not in vars(self):
            self.data = experiments.mnist(self.request.validate)
        click.echo(f"{experiment.title}, seed {seed}, {settings['epochs']} epochs …")
        return experiments.run(experiment, seed, settings, *self.data)


def reproduce(request: Request, out: Path, report: Path | None) -> None:
    """Do what has not been done yet, one seed after another, or by the ranks that mpirun has started, and write table
    and pictures of all that is there.

    out: the folder that keeps each seed's results as JSON. report: the Markdown file to write, by default in `out`;
    pictures go beside it. Raises UsageError for unknown names, DataError where data or folder are not to be had.
    """
    if request.quick:
        click.echo("--quick: a few epochs and one seed each; the figures show that it works, not what it reaches.")
    with shared_out() as shared:
        if shared is None:
            return
        missing = [(e.name, seed) for e, seed in request.runs() if request.kept(out, e, seed) is None]
        for number, result in shared(Run(request), missing):
            name, seed = missing[number]
            path = request.path(out, EXPERIMENTS[name], seed)
            write_file(path, json.dumps(result, indent=None, separators=(",", ":")) + "\n")
            click.echo(
                f"  seed {seed}: {result['judged_by']} loss {result['loss']:.4f}, accuracy {result['accuracy']:.2%}, "
                f"{result['cpu_seconds'] / 60:.1f} CPU minutes"
            )
    found = {e.name: [request.kept(out, e, s) for s in request.seeds or range(e.seeds)] for e in EXPERIMENTS.values()}
    results = {name: kept for name, runs in found.items() if (kept := [run for run in runs if run])}
    if results:
        write_report(results, request.judged, request.quick, out, report or out / "reproduction.md")
