"""What the crash suite starts and kills: `chalkgrad train`, or a program of its own, with an ear at its saves.

python -m chalkgrad.benchmarks.reliability.crash_program COUNT FILE command train --out run
python -m chalkgrad.benchmarks.reliability.crash_program COUNT FILE program ema run/model.safetensors

A save is made of moments: before each call that changes a folder or waits for the disk, and with half of a file
written. At moment COUNT of the process the line "here" goes to FILE and the process waits a little, so that the signal
finds it there. At its end the number of all its moments goes there.
"""

from __future__ import annotations

import os
import runpy
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy

from ... import datasets
from ...datasets.augmentation import Augmentation
from ...nn import Sequential
from ...nn import layers as nn
from ...nn.callbacks import Callback, EarlyStopping, ModelCheckpoint
from ...nn.utils import to_categorical
from ...optim import CosineDecay, StepDecay, make_optimizer

WAIT = 0.15
"""Seconds in which the signal comes."""
SAMPLES, BATCH, CLASSES = 512, 64, 10


class Ear:
    """Counts the moments of saves by what this process does to files, and waits at one of them."""

    def __init__(self, count: int, file: str) -> None:
        self.count, self.passed, self.file = count, 0, file
        for owner, name in ((os, "replace"), (os, "fsync"), (os, "unlink"), (os, "rmdir")):
            setattr(owner, name, self._heard(getattr(owner, name)))
        whole = Path.write_bytes

        def write_bytes(path: Path, data: bytes) -> int:
            self.moment()
            whole(path, data[: len(data) // 2])
            self.moment()
            return whole(path, data)

        Path.write_bytes = write_bytes  # type: ignore[assignment,method-assign]

    def _heard(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def heard(*arguments: Any, **options: Any) -> Any:
            self.moment()
            return call(*arguments, **options)

        return heard

    def moment(self) -> None:
        """One more is there."""
        self.passed += 1
        if self.passed == self.count:
            self.say("here")
            time.sleep(WAIT)

    def say(self, line: str) -> None:
        """Tell the suite."""
        with open(self.file, "a", encoding="utf-8") as file:
            file.write(f"{line}\n")


@dataclass(frozen=True)
class Program:
    """A training: how its layers are made, what `compile` and `fit` are given besides. seconds: ModelCheckpoint's."""

    layers: Callable[[], list[nn.Layer]]
    optimizer: Mapping[str, Any]
    epochs: int = 5
    augmentation: Augmentation | None = None
    callbacks: Callable[[], list[Callback]] = list
    seconds: float | None = None


def _dense(*between: nn.Layer) -> list[nn.Layer]:
    return [nn.Flatten(), nn.Dense(16, activation="relu"), *between, nn.Dense(CLASSES, activation="softmax")]


def _convolutions(*between: nn.Layer) -> list[nn.Layer]:
    first = nn.Conv2D(4, 3, padding="same", activation="relu")
    return [first, nn.MaxPooling2D(), *between, nn.Flatten(), nn.Dense(CLASSES, activation="softmax")]


ADAM: Mapping[str, Any] = {"name": "adam", "learning_rate": 0.01}
DISTORTED = Augmentation(rotation=10, shift=1)
PROGRAMS: dict[str, Program] = {
    "ema": Program(_dense, {**ADAM, "use_ema": True, "ema_momentum": 0.9}),
    "dropout": Program(lambda: _dense(nn.Dropout(0.3)), ADAM),
    "augmentation": Program(_dense, ADAM, augmentation=DISTORTED),
    "schedule": Program(_dense, {"name": "momentum", "learning_rate": CosineDecay(0.1, 40)}),
    "patience": Program(
        _dense, ADAM, epochs=9, callbacks=lambda: [EarlyStopping("loss", 0.3, patience=3, restore_best_weights=True)]
    ),
    "cnn": Program(_convolutions, ADAM, epochs=4),
    "all": Program(
        lambda: _convolutions(nn.BatchNormalization(), nn.Dropout(0.2)),
        {**ADAM, "learning_rate": StepDecay(0.01, every=10, factor=0.5), "use_ema": True, "ema_momentum": 0.9},
        epochs=4, augmentation=DISTORTED, callbacks=lambda: [EarlyStopping("loss", patience=5)],
    ),
    "within epochs": Program(
        lambda: _dense(nn.Dropout(0.3)), {**ADAM, "use_ema": True, "ema_momentum": 0.9}, epochs=2,
        augmentation=DISTORTED, seconds=0.0,
    ),
}  # fmt: skip
"""By name."""


def train(name: str, path: str) -> None:
    """Train, or go on from the model that is at `path`; it is saved there after each epoch, and at the end."""
    program = PROGRAMS[name]
    (images, labels), _ = datasets.load("digits")
    x = images[:SAMPLES, ..., numpy.newaxis].astype("float32") / 16
    y = to_categorical(labels[:SAMPLES], CLASSES)
    if os.path.exists(path):
        model = Sequential.load(path)
    else:
        model = Sequential(program.layers(), seed=0)
        model.compile(make_optimizer(dict(program.optimizer)), "categorical_crossentropy", metrics=["accuracy"])
    done = model.history.epoch[-1] + 1 if model.history.epoch else 0
    model.fit(
        x, y, batch_size=BATCH, epochs=program.epochs, initial_epoch=done, seed=1, verbose=0,
        augmentation=program.augmentation,
        callbacks=[*program.callbacks(), ModelCheckpoint(path, seconds=program.seconds)],
    )  # fmt: skip
    model.save(path)


def main() -> None:
    """The process."""
    count, file, kind, *arguments = sys.argv[1:]
    ear = Ear(int(count), file)
    try:
        if kind == "program":
            train(*arguments)
        else:
            sys.modules["matplotlib"] = None  # type: ignore[assignment]  # pictures take longer than the training
            sys.argv = ["chalkgrad", *arguments]
            runpy.run_module("chalkgrad", run_name="__main__")
    finally:
        ear.say(f"moments {ear.passed}")


if __name__ == "__main__":
    main()
