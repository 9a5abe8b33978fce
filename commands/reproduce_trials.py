"""The trials by which the means of `chalkgrad reproduce` were chosen, on training images alone.

python -m chalkgrad.commands.reproduce_trials --out benchmarks/results/reproduction     # about 20 CPU minutes
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..engine.files import write_file
from . import experiments
from .experiments import DISTORTED, EXPERIMENTS, STRIDED, Experiment, small_cnn
from .reproduce_report import TRIALS

POOLED = ((16, 3, 1, True), (32, 3, 1, False), (32, 3, 1, True), (64, 3, 1, False))
MILDER = replace(DISTORTED, rotation=7, shift=1, scale=0.08, shear=0.08, elastic=1)
STRONGER = replace(DISTORTED, rotation=11, shift=1.5, scale=0.12, shear=0.12, elastic=1.4)
NET, CNN = EXPERIMENTS["means"], EXPERIMENTS["cnn"]

ALL: tuple[tuple[str, Experiment, int], ...] = (
    ("784-128-10, distorted as told", NET, 60),
    ("784-128-10, milder: 7°, 1 pixel, 8 %, elastic 1 pixel", replace(NET, distortion=MILDER), 60),
    ("784-128-10, stronger: 11°, 1.5 pixels, 12 %, elastic 1.4 pixels", replace(NET, distortion=STRONGER), 60),
    ("784-128-10, rate from 0.005", replace(NET, rate=5e-3), 60),
    ("CNN with strides, 16-32-64, no normalisation", replace(CNN, build=small_cnn(STRIDED, False)), 20),
    ("CNN with pooling, 16-32-32-64, normalised", replace(CNN, build=small_cnn(POOLED, True)), 12),
    ("CNN with strides, 16-32-64, normalised", CNN, 20),
)
"""What was tried, with which epochs."""


def trial(what: str, experiment: Experiment, epochs: int) -> dict[str, Any]:
    """Train without the last training images, with seed 0; returns loss and accuracy on those."""
    result = experiments.run(experiment, 0, experiment.settings(0, epochs, "validation"), *experiments.mnist(True))
    return {"what": what, "epochs": epochs, "loss": round(result["loss"], 4), "accuracy": round(result["accuracy"], 4)}


def main() -> None:
    """Do all trials; the file is kept up to date, one trial at a time."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    out: Path = parser.parse_args().out
    done = []
    for each in ALL:
        done.append(trial(*each))
        print(done[-1], flush=True)
        write_file(out / TRIALS, json.dumps(done, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
