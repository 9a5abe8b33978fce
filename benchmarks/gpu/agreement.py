"""CPU against GPU, step by step: how far loss and weights of the same training are apart after each of its steps.

    python -m chalkgrad.benchmarks.gpu.agreement --json FILE [--quick]

MNIST where it is on this machine, else the digits that come with chalkgrad.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy

from ... import datasets
from ...errors import DataError
from ...nn import layers
from ...nn.callbacks import Callback
from ...nn.sequential import Sequential
from ...optim import Adam
from .proving import command

STEPS, QUICK_STEPS = 200, 12
BATCH = 128
BOUNDS = {"float32": {"loss": 1e-3, "weights": 1e-2}, "float64": {"loss": 1e-9, "weights": 1e-8}}
"""How far they may be apart, relative to the largest. Sums are taken in another order; Adam makes more of it, and
float64 shows that this is all there is.
"""


class Follower(Callback):
    """Keeps the running mean of the loss and the weights after each step, and ends the training after so many."""

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self.losses: list[float] = []
        self.weights: list[Any] = []

    def on_train_batch_end(self, batch: int, logs: Mapping[str, float]) -> None:
        """Keep them."""
        self.losses.append(logs["loss"])
        self.weights.append(numpy.concatenate([w.ravel() for w in self.model.get_weights()]))
        self.model.stop_training = len(self.losses) >= self.steps


def samples(steps: int) -> tuple[Any, Any, str]:
    """The images of so many steps in [0, 1], their labels, and where they come from."""
    try:
        (images, labels), _ = datasets.mnist.load_data(mirrors=(), progress=False)
        source = "MNIST"
    except DataError:
        (images, labels), _ = datasets.digits.load_data()
        source = "digits"
    count = min(len(images), steps * BATCH)
    return images[:count].reshape(count, -1) / 255, labels[:count].astype("int64"), source


def trained(device: str, dtype: str, captured: bool, x: Any, y: Any, steps: int) -> Follower:
    """The training, watched."""
    model = Sequential([layers.Dense(128, "relu"), layers.Dense(10, "softmax")], dtype=dtype, device=device, seed=0)
    model.compile(Adam(1e-3), "sparse_categorical_crossentropy", run_eagerly=not captured, jit_compile=False)
    follower = Follower(steps)
    epochs = -(-steps // -(-len(x) // BATCH))
    model.fit(x.astype(dtype), y, batch_size=BATCH, epochs=epochs, verbose=0, callbacks=[follower], seed=0)
    return follower


def apart(own: Sequence[Any], other: Sequence[Any]) -> list[float]:
    """After each step, the largest difference, relative to the largest value; infinite for what is not finite."""
    found = []
    for a, b in zip(own, other, strict=True):
        size = float(numpy.abs(b).max()) or 1.0
        difference = float(numpy.abs(numpy.asarray(a) - b).max()) / size
        found.append(difference if numpy.isfinite(difference) else float("inf"))
    return found


def prove(device: str, quick: bool) -> dict[str, Any]:
    """The differences by dtype and variant, and whether all are within the bounds."""
    steps = QUICK_STEPS if quick else STEPS
    x, y, source = samples(steps)
    lines = []
    for dtype, bounds in BOUNDS.items():
        reference = trained("cpu", dtype, True, x, y, steps)
        for captured in (True, False):
            found = trained(device, dtype, captured, x, y, steps)
            loss, weights = apart(found.losses, reference.losses), apart(found.weights, reference.weights)
            right = max(loss) <= bounds["loss"] and max(weights) <= bounds["weights"]
            lines.append({
                "dtype": dtype, "variant": "captured" if captured else "eager", "right": right, "loss": max(loss),
                "weights": max(weights), "bounds": bounds, "loss_by_step": loss, "weights_by_step": weights,
            })  # fmt: skip
    text = [
        f"{line['dtype']}, {line['variant']}: after {steps} steps on {source} loss at most {line['loss']:.1e}, weights "
        f"at most {line['weights']:.1e} apart"
        for line in lines
    ]
    return {"data": source, "steps": steps, "right": all(line["right"] for line in lines), "text": text, "lines": lines}


if __name__ == "__main__":
    command(prove, __doc__)
