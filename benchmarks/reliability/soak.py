"""Half an hour of training, and of serving predictions from threads, while one fault follows another.

    OPENBLAS_NUM_THREADS=1 python -m chalkgrad.benchmarks.reliability.soak --minutes 30 --seed 0 \\
        --out benchmarks/results/reliability-soak.json

The main thread trains models, each under a fault that is drawn for it, goes on from the file that is left, and hands
over what comes of it. Other threads predict by the model that was handed over last, and give it hostile inputs. Each
prediction and each training is compared with one that nothing disturbed, to the last bit. Memory, threads and open
files are noted each minute.
"""

from __future__ import annotations

import _thread
import contextlib
import json
import os
import signal
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy

from ... import datasets
from ...errors import ChalkgradError, DataError, DivergenceError, UsageError
from ...nn import Sequential, layers
from ...nn.callbacks import Callback, ModelCheckpoint
from ..machine import host
from ..memory import memory
from ..peers import command_line, versions, write
from .disturbing import disturbed_bytes

SERVING = 2
"""Threads that predict."""
SEEDS = 4
"""Models that are trained again and again, so that it is known what comes of them."""
EPOCHS, SAMPLES, BATCH = 3, 256, 32
CASES = ((0, 1, 512), (3, 10, 4), (0, 64, 32), (5, 128, 512), (17, 256, 100))
"""What is predicted: the samples from one to another, in batches of a size."""
SMALL = 2048
"""Bytes that a file may have where the disk is full."""
PAUSE, THOUGHT = 0.05, 0.01
"""Seconds between two trainings, and in the mean between two predictions of a thread."""
WARM = 3
"""Readings of the memory that are left out: until then everything is met for the first time."""


class Planned(Exception):
    """What a callback raises."""


class Raising(Callback):
    """A callback that raises in some batch."""

    def __init__(self, batch: int) -> None:
        super().__init__()
        self.left = batch

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Count down, and raise."""
        self.left -= 1
        if self.left < 0:
            raise Planned


@dataclass
class Found:
    """What came of it. faults: by kind, how many were met and how many raised. wrong: what was not as expected."""

    counts: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    raised: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    readings: list[dict[str, float]] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """As plain values. slope: bytes a minute, of the straight line through the readings after the first few."""
        used = self.readings[min(WARM, len(self.readings) // 2) :]
        minutes, sizes = [[reading[name] for reading in used] for name in ("minute", "bytes")]
        slope = float(numpy.polyfit(minutes, sizes, 1)[0]) if len(used) > 2 else None
        return {
            **self.counts,
            "faults": {kind: {"met": n, "raised": self.raised[kind]} for kind, n in sorted(self.faults.items())},
            "wrong": self.wrong,
            "slope_bytes_a_minute": slope and round(slope),
            "readings": self.readings,
        }


class Soak:
    """The run: `seconds` long, its readings so many seconds apart."""

    def __init__(self, seconds: float, seed: int, folder: Path, apart: float = 60.0) -> None:
        self.seconds, self.apart, self.path = seconds, apart, folder / "model.safetensors"
        self.rng = numpy.random.default_rng(seed)
        self.found, self.stop = Found(), threading.Event()
        self.armed = self.sent = False
        (x, y), _ = datasets.digits.load_data()
        self.x = x[:SAMPLES].reshape(SAMPLES, -1).astype("float32") / 255
        self.y = y[:SAMPLES]
        self.weights: list[list[bytes]] = []
        self.outputs: list[list[bytes]] = []
        for which in range(SEEDS):
            model = self.made(which)
            self.fit(model)
            self.weights.append(_bits(model))
            model.run_eagerly = True
            self.outputs.append([self.predicted(model, case) for case in range(len(CASES))])
        self.trained, self.served = model, (model, which)

    # What is done

    def made(self, which: int, learning_rate: float = 1e-2) -> Sequential:
        """A new model."""
        model = Sequential(
            [layers.Dense(32, "relu", input_shape=(64,)), layers.Dropout(0.2), layers.Dense(10, "softmax")], seed=which
        )
        model.compile("adam", "sparse_categorical_crossentropy", ["accuracy"])
        assert model.optimizer is not None
        model.optimizer.learning_rate = learning_rate
        return model

    def fit(self, model: Sequential, *callbacks: Callback) -> None:
        """Train it up to the last epoch."""
        done = len(model.history.epoch)
        model.fit(
            self.x, self.y, BATCH, EPOCHS, 0, list(callbacks), initial_epoch=done, validation_data=(self.x, self.y)
        )

    def predicted(self, model: Sequential, case: int) -> bytes:
        """The bits of a prediction."""
        start, stop, size = CASES[case]
        return bytes(model.predict(self.x[start:stop], batch_size=size).tobytes())

    def run(self) -> Found:
        """All of it."""
        threads = [
            threading.Thread(target=self._guarded, args=(self._serve, child), name=f"serving {n}", daemon=True)
            for n, child in enumerate(self.rng.spawn(SERVING))
        ]
        before = signal.signal(signal.SIGINT, self._interrupted)
        try:
            for thread in threads:
                thread.start()
            begin = time.monotonic()
            while (now := time.monotonic() - begin) < self.seconds and not self.stop.is_set():
                if now >= len(self.found.readings) * self.apart:
                    self.found.readings.append({"minute": round(now / 60, 3), **reading()})
                self._guarded(self._train)
                self.stop.wait(PAUSE)
            self.found.readings.append({"minute": round(self.seconds / 60, 3), **reading()})
        finally:
            self.stop.set()
            for thread in threads:
                thread.join()
            signal.signal(signal.SIGINT, before)
        return self.found

    def _guarded(self, work: Callable[..., None], *arguments: Any) -> None:
        try:
            work(*arguments)
        except BaseException:
            self._wrong(traceback.format_exc())

    def _wrong(self, what: str) -> None:
        self.found.wrong.append(f"{threading.current_thread().name}: {what}")
        print(self.found.wrong[-1], file=sys.stderr, flush=True)
        if len(self.found.wrong) > 100:
            self.stop.set()

    # Serving

    def _serve(self, rng: numpy.random.Generator) -> None:
        while not self.stop.wait(rng.exponential(THOUGHT)):
            (model, which), case = self.served, int(rng.integers(len(CASES)))
            if rng.random() < 0.05:
                self._hostile(model, rng)
            elif self.predicted(model, case) == self.outputs[which][case]:
                self._count("predictions")
            else:
                self._wrong(f"a prediction of model {which}, case {case}")

    def _hostile(self, model: Sequential, rng: numpy.random.Generator) -> None:
        kind = list(HOSTILE)[int(rng.integers(len(HOSTILE)))]
        self.found.faults[kind] += 1
        try:
            HOSTILE[kind](self, model)
        except ChalkgradError:
            self.found.raised[kind] += 1
        else:
            if kind != IN_USE:  # there it may just have come between two trainings
                self._wrong(f"{kind} is taken")

    def _count(self, what: str) -> None:
        self.found.counts[what] += 1

    # Training

    def _train(self) -> None:
        """Train a model under a fault, go on from what is left until it is done, hand it over."""
        which, kind = int(self.rng.integers(SEEDS)), list(FAULTS)[int(self.rng.integers(len(FAULTS)))]
        self.path.unlink(missing_ok=True)
        fault, expected = FAULTS[kind]
        self.found.faults[kind] += 1
        try:
            fault(self, which)
        except expected:
            self.found.raised[kind] += 1
        for _ in range(100):
            try:
                model = Sequential.load(self.path) if self.path.exists() else self.made(which)
                self.trained = model
                self.fit(model)
                break
            except UsageError as error:  # a thread that serves is just looking at it
                if "is in predict of this model" not in str(error):
                    raise
        if _bits(model) != self.weights[which]:
            self._wrong(f"model {which}, trained under: {kind}")
            return
        model.save(self.path)
        self.served = Sequential.load(self.path), which
        self._count("trainings")

    def _disturbed(self, which: int, *callbacks: Callback) -> None:
        model = self.trained = self.made(which)
        often = 0.005 if self.rng.integers(2) else None
        self.fit(model, ModelCheckpoint(self.path, seconds=often), *callbacks)

    def _raising(self, which: int) -> None:
        self._disturbed(which, Raising(int(self.rng.integers(EPOCHS * SAMPLES // BATCH))))

    def _interrupt(self, which: int) -> None:
        """Ctrl-C at a random moment of a training that keeps a file."""

        def send() -> None:
            if not done.wait(moment):
                self.sent = True
                _thread.interrupt_main()

        done, moment = threading.Event(), float(self.rng.uniform(0, 0.1))
        sender = threading.Thread(target=send)
        try:
            self.armed = True
            sender.start()
            self._disturbed(which)
        finally:
            self.armed = False
            done.set()
            sender.join()

    def _interrupted(self, number: int, frame: Any) -> None:
        if not self.sent:  # it is meant for the run
            self.stop.set()
        elif self.armed:  # else it comes late
            self.armed = self.sent = False
            raise KeyboardInterrupt
        self.sent = False

    def _full(self, which: int) -> None:
        """No file may become larger than a few bytes, as on a full disk."""
        import resource  # not on Windows

        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (SMALL, before[1]))
        try:
            self._disturbed(which)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    def _in_the_way(self, which: int) -> None:
        self.path.mkdir()
        try:
            self._disturbed(which)
        finally:
            self.path.rmdir()

    def _damaged(self, which: int) -> None:
        """A file with something changed in it."""
        self._disturbed(which)
        whole = self.path.read_bytes()
        self.path.write_bytes(disturbed_bytes(self.rng, whole))
        try:
            model = Sequential.load(self.path)
            if _bits(model) != self.weights[which]:
                self._wrong(f"a damaged file of model {which} is taken")
        finally:
            self.path.write_bytes(whole)

    def _diverging(self, which: int) -> None:
        model = self.made(which, 1e30)
        model.build()
        before = _bits(model)
        try:
            with numpy.errstate(all="ignore"):
                self.fit(model)
        finally:
            if _bits(model) != before:
                self._wrong("a diverged training has left other weights")

    def _forked(self, which: int) -> None:
        """A child of this process with its threads predicts, and trains."""
        (model, served), child = self.served, os.fork()
        if not child:
            signal.alarm(60)  # ends it, should it hang
            new = self.made(which)
            self.fit(new)
            right = [self.predicted(model, case) for case in range(len(CASES))] == self.outputs[served]
            os._exit(0 if right and _bits(new) == self.weights[which] else 1)
        code = os.waitpid(child, 0)[1]
        if code:
            self._wrong(f"a forked child ended with {code}")


Fault = tuple[Callable[[Soak, int], None], tuple[type[BaseException], ...]]
FAULTS: dict[str, Fault] = {
    "none": (Soak._disturbed, ()),
    "a callback raises": (Soak._raising, (Planned,)),
    "Ctrl-C": (Soak._interrupt, (KeyboardInterrupt,)),
    "a folder where the file shall be": (Soak._in_the_way, (DataError,)),
    "a damaged model file": (Soak._damaged, (DataError,)),
    "a training that diverges": (Soak._diverging, (DivergenceError,)),
}
if sys.platform != "win32":
    FAULTS |= {"a full disk": (Soak._full, (DataError,)), "a fork": (Soak._forked, ())}
"""What a training is done under, and what that may raise."""
IN_USE = "a model that is being trained"
HOSTILE: dict[str, Callable[[Soak, Sequential], Any]] = {
    IN_USE: lambda soak, model: soak.trained.predict(soak.x),
    "too few columns": lambda soak, model: model.predict(soak.x[:, :5]),
    "a text": lambda soak, model: model.predict("digits"),
    "objects": lambda soak, model: model.predict(numpy.array([[None] * 64])),
    "ragged lists": lambda soak, model: model.predict([[0.0] * 64, [0.0]]),
    "a batch size of 0": lambda soak, model: model.predict(soak.x, batch_size=0),
    "a label that there is not": lambda soak, model: model.evaluate(soak.x[:2], numpy.array([0, 10]), verbose=0),
    "a file that is not there": lambda soak, model: Sequential.load(soak.path.with_name("absent")),
}
"""What the threads that serve are asked besides; each is refused."""


def _bits(model: Sequential) -> list[bytes]:
    return [w.tobytes() for w in model.get_weights()]


def reading() -> dict[str, int]:
    """What the process holds: bytes of memory, threads, open files; the last two where the system tells."""
    found = {"bytes": memory()["held_bytes"], "threads": threading.active_count()}
    with contextlib.suppress(OSError):
        found["files"] = len(os.listdir("/proc/self/fd"))
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code: 1 where something was not as expected."""
    parser = command_line("reliability.soak", __doc__)
    parser.add_argument("--minutes", type=float, default=1.0, metavar="N")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", metavar="FILE", help="keep the result (JSON)")
    options = parser.parse_args(arguments)
    with TemporaryDirectory() as folder:
        found = Soak(options.minutes * 60, options.seed, Path(folder)).run().to_dict()
    print(json.dumps(found, indent=1))
    if options.out:
        write(options.out, {
            "seed": options.seed, "minutes": options.minutes, "serving_threads": SERVING, "models": SEEDS, **found,
            "machine": host(), "versions": versions(("chalkgrad", "numpy", "safetensors")),
        })  # fmt: skip
    return int(bool(found["wrong"]))


if __name__ == "__main__":
    sys.exit(main())
