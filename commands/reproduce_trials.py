"""The trials by which the means of `chalkgrad reproduce` were chosen, on training images alone.

python -m chalkgrad.commands.reproduce_trials --out benchmarks/results/reproduction     # about 20 CPU minutes
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from .. import datasets
from ..engine.files import replacing
from ..nn import Sequential, layers
from . import reproduce
from .reproduce import CLASSES, DISTORTED, EXPERIMENTS, Experiment, Request, run

TRIALS = "trials.json"


def convolutional(filters: tuple[tuple[int, int, int, bool], ...], normalised: bool) -> Callable[..., Sequential]:
    """A small CNN: of each layer filters, kernel, stride, and whether pooling follows; normalised: by batches."""

    def build(shape: tuple[int, ...], seed: int) -> Sequential:
        parts: list[layers.Layer] = []
        for count, size, stride, pooled in filters:
            parts.append(layers.Conv2D(count, size, strides=stride, use_bias=not normalised))
            parts += [layers.BatchNormalization()] if normalised else []
            parts.append(layers.Activation("relu"))
            parts += [layers.MaxPooling2D()] if pooled else []
        parts += [layers.Flatten(), layers.Dense(128, activation="relu"), layers.Dense(CLASSES, activation="softmax")]
        model = Sequential(parts, seed=seed)
        model.build(shape)
        return model

    return build


STRIDED = ((16, 5, 2, False), (32, 3, 1, False), (64, 3, 2, False))
POOLED = ((16, 3, 1, True), (32, 3, 1, False), (32, 3, 1, True), (64, 3, 1, False))
MILDER = replace(DISTORTED, rotation=7, shift=1, scale=0.08, shear=0.08, elastic=1)
STRONGER = replace(DISTORTED, rotation=11, shift=1.5, scale=0.12, shear=0.12, elastic=1.4)
NET, CNN = EXPERIMENTS["means"], EXPERIMENTS["cnn"]

ALL: tuple[tuple[str, Experiment, int], ...] = (
    ("784-128-10, distorted as told", NET, 60),
    ("784-128-10, milder: 7°, 1 pixel, 8 %, elastic 1 pixel", replace(NET, distortion=MILDER), 60),
    ("784-128-10, stronger: 11°, 1.5 pixels, 12 %, elastic 1.4 pixels", replace(NET, distortion=STRONGER), 60),
    ("784-128-10, rate from 0.005", replace(NET, rate=5e-3), 60),
    ("CNN with strides, 16-32-64, no normalisation", replace(CNN, build=convolutional(STRIDED, False)), 20),
    ("CNN with pooling, 16-32-32-64, normalised", replace(CNN, build=convolutional(POOLED, True)), 12),
    ("CNN with strides, 16-32-64, normalised", CNN, 20),
)
"""What was tried, with which epochs."""


def trial(what: str, experiment: Experiment, epochs: int) -> dict[str, Any]:
    """Train without the last training images, with seed 0; returns loss and accuracy on those."""
    (x, labels), _ = datasets.load("mnist")
    settings = Request(epochs=epochs, validate=True).settings(experiment, 0)
    cut = len(x) - reproduce.HELD_BACK
    kept, held = (x[:cut], labels[:cut]), (x[cut:], labels[cut:])
    result = run(experiment, 0, settings, kept, held)
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
        with replacing(out / TRIALS) as temporary:
            temporary.write_text(json.dumps(done, indent=1, ensure_ascii=False) + "\n", "utf-8")


if __name__ == "__main__":
    main()
