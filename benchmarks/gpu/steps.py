"""Steps of training as `fit` takes them, an epoch at a time, without reading what came out: for the clock."""

from __future__ import annotations

import contextlib
import math
import statistics
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy

from ...engine import backend, random
from ...nn.hooks import Hooks
from ...nn.measuring import RunningMeans
from ...nn.samples import Samples
from ...nn.sequential import Sequential
from ...nn.trainer import Trainer
from ...optim import Adam
from ...replay.gpu import GpuProgram
from ..speed.adapters.ours import stacked

LOSS = "sparse_categorical_crossentropy"
DRAWN = 4096
"""Rows that are drawn; more are these again."""


def drawn(count: int, inputs: int, classes: int, dtype: str = "float32") -> tuple[Any, Any]:
    """Samples and labels: `count` rows, of which the first DRAWN are drawn and the others repeat them."""
    generator = random.generator(0, "gpu samples")
    rows = min(count, DRAWN)
    x = generator.standard_normal((rows, inputs), dtype="float32").astype(dtype)
    return numpy.resize(x, (count, inputs)), numpy.resize(generator.integers(classes, size=rows), count)


class Steps:
    """A network of layers with ReLU between them, and Adam, trained on samples that are on the device.

    sizes: of the dense layers, inputs first. filters: of layers of convolutions before them, over square images.
    precision: to which dense layers round what they multiply. captured: replay a recorded step; otherwise each goes
    over the tape. weights: to begin with; None draws them. shuffle: take the samples in a new order in each epoch.
    """

    def __init__(
        self, device: str, sizes: Sequence[int], x: Any, labels: Any, batch: int, *, captured: bool = True,
        weights: Sequence[Any] | None = None, rate: float = 1e-3, shuffle: bool = False, filters: Sequence[int] = (),
        precision: str = "float32",
    ) -> None:  # fmt: skip
        self.device, self.batch, self.count, self.shuffle = device, batch, -(-len(x) // batch), shuffle
        side = math.isqrt(sizes[0])
        x = x.reshape(len(x), side, side, 1) if filters else x
        self.model = Sequential(stacked(sizes, filters, precision), dtype=x.dtype.name, device=device)
        self.model.build(x.shape[1:])
        if weights is not None:
            self.model.set_weights(weights)
        self.model.compile(Adam(rate), LOSS, run_eagerly=not captured, jit_compile=False)
        self.samples = Samples(x, labels, x.dtype, device)
        assert self.model.loss is not None
        self.samples.prepare_targets(self.model.loss, self.model.output_shapes()[0])
        self.trainer = Trainer(self.model, self.samples, captured)
        self.epochs = 0

    def epoch(self) -> RunningMeans:
        """The steps of an epoch, enqueued; whoever reads the means waits for them."""
        means = self.trainer.epoch(self.epochs, self.batch, self.shuffle, Hooks(self.model))
        self.epochs += 1
        return means

    def timed(self) -> tuple[float, float]:
        """Seconds until the steps of an epoch are enqueued, and until they are done."""
        backend.synchronize(self.device)
        start = time.perf_counter()
        self.epoch()
        enqueued = time.perf_counter() - start
        backend.synchronize(self.device)
        return enqueued, time.perf_counter() - start

    def seconds(self, rounds: int, warmups: int, limit: float) -> float:
        """The median time of a step in epochs: `rounds` of them, or fewer where they take longer than the limit."""
        for _ in range(warmups):
            self.timed()
        found: list[float] = []
        begin = time.perf_counter()
        while len(found) < rounds and (not found or time.perf_counter() - begin < limit):
            found.append(self.timed()[1])
        return statistics.median(found) / self.count

    def standing(self) -> str:
        """How the steps of a captured training are done: "graph", "program" (replayed call by call), or why not so."""
        found = "not recorded"
        for step in self.model.recorded_steps:
            for recording in step.recordings.values():
                if recording.reason:
                    return recording.reason
                if isinstance(recording.program, GpuProgram):
                    found = recording.program.not_captured or "graph"
                elif recording.program is not None:
                    found = "program"
        return found

    def close(self) -> None:
        """Let go of what was recorded."""
        self.trainer.forget()


@contextlib.contextmanager
def steps(device: str, *args: Any, **options: Any) -> Iterator[Steps]:
    """`Steps` for as long as they are needed; then what they took of the device is given back."""
    made = Steps(device, *args, **options)
    try:
        yield made
    finally:
        made.close()
        del made
        free(device)


def free(device: str) -> None:
    """Give back to the driver what CuPy keeps of freed memory."""
    if device != "cpu":
        backend.synchronize(device)
        backend.load_cupy().get_default_memory_pool().free_all_blocks()
