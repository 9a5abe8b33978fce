"""One training step of a small CNN, `fit` beside PyTorch's eager loop: processes of their own, one at a time, in turns.

python -m chalkgrad.benchmarks.cnn_step --threads 1        # prints a table in Markdown; needs PyTorch

Convolutions of 16 and 32 filters, 3×3, each with ReLU and pooled by 2×2, a dense layer, softmax cross-entropy and Adam,
on batches of 128 images of 28×28, float32. The images are random: neither engine looks at what is on them.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from importlib import import_module
from typing import Any

import numpy

from ..engine import random
from ..nn import Sequential, layers
from ..nn.callbacks import Callback, Logs
from .peers import version

BATCH, WARM_UPS, STEPS = 128, 30, 60
CONTESTANTS = ("captured", "jit", "pytorch")


class Watch(Callback):
    """The moment at which each step ended."""

    def __init__(self) -> None:
        self.moments: list[float] = []

    def on_train_batch_end(self, batch: int, logs: Logs) -> None:
        self.moments.append(time.perf_counter())


def ours(images: Any, labels: Any, compiled: bool) -> list[float]:
    """When each step of `fit` ended."""
    model = Sequential([
        layers.Conv2D(16, 3, activation="relu", input_shape=(28, 28, 1)), layers.MaxPooling2D(),
        layers.Conv2D(32, 3, activation="relu"), layers.MaxPooling2D(),
        layers.Flatten(), layers.Dense(10, activation="softmax"),
    ])  # fmt: skip
    model.compile("adam", loss="sparse_categorical_crossentropy", jit_compile=compiled)
    watch = Watch()
    model.fit(images[..., None], labels, batch_size=BATCH, verbose=0, callbacks=[watch])
    return watch.moments


def pytorch(images: Any, labels: Any, threads: int) -> list[float]:
    """When each step of the usual loop ended; batches by slices, which costs less than ours by index."""
    torch = import_module("torch")
    torch.set_num_threads(threads)
    nn = torch.nn
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 32, 3), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(800, 10),
    )  # fmt: skip
    optimizer, loss_of = torch.optim.Adam(model.parameters(), fused=True), nn.CrossEntropyLoss()
    x, y = torch.from_numpy(images[:, None]), torch.from_numpy(labels)
    moments = []
    for start in range(0, len(x), BATCH):
        optimizer.zero_grad()
        loss_of(model(x[start : start + BATCH]), y[start : start + BATCH]).backward()
        optimizer.step()
        moments.append(time.perf_counter())
    return moments


def measure(contestant: str, threads: int) -> float:
    """The median milliseconds of a step, in this process."""
    rng = random.generator(0, "cnn step")
    images = rng.random((BATCH * (WARM_UPS + STEPS), 28, 28), dtype="float32")
    labels = rng.integers(0, 10, len(images))
    moments = pytorch(images, labels, threads) if contestant == "pytorch" else ours(images, labels, contestant == "jit")
    return float(1e3 * numpy.median(numpy.diff(moments)[WARM_UPS - 1 :]))


def in_turns(threads: int, rounds: int) -> dict[str, list[float]]:
    """The medians of each contestant that can take part, from processes with that many threads, round by round."""
    needs = {"captured": "numpy", "jit": "numba", "pytorch": "torch"}
    found: dict[str, list[float]] = {name: [] for name in CONTESTANTS if version(needs[name])}
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": str(threads), "OMP_NUM_THREADS": str(threads)}
    for _ in range(rounds):
        for name, medians in found.items():
            command = [sys.executable, "-m", __spec__.name, "--contestant", name, "--threads", str(threads)]
            done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
            medians.append(float(done.stdout))
    return found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--contestant", choices=CONTESTANTS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.contestant:
        print(measure(options.contestant, options.threads))
        return
    found = in_turns(options.threads, options.rounds)
    print(f"| threads: {options.threads} | ms a step | × PyTorch |\n|---|---|---|")
    for name, medians in found.items():
        ratios = [a / b for a, b in zip(medians, found.get("pytorch", []), strict=False)]
        ratio = f"{numpy.median(ratios):.2f}" if ratios else "PyTorch is not installed"
        print(f"| {name} | {numpy.median(medians):.1f} | {ratio} |")


if __name__ == "__main__":
    main()
