"""Thousands of models, recorded functions, files and failures in one process: memory and time stay what they are.

    OPENBLAS_NUM_THREADS=1 python -m chalkgrad.benchmarks.reliability.leaks --count 5000 \\
        --out benchmarks/results/reliability-leaks.json

Each kind of item is made, used and dropped so many times, one after another. At ten moments garbage is collected, and
the memory of the process and the time an item are noted. What happens for the first time is in the first three.
"""

from __future__ import annotations

import gc
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy

from ...engine.primitive import primitive
from ...engine.tensor import tensor
from ...nn import Sequential, layers
from ...replay.capture import capture
from ..machine import host
from ..peers import command_line, versions, write
from .soak import Planned, Raising, reading

MOMENTS, WARM = 10, 3
X = numpy.random.default_rng(0).random((32, 64), dtype="float32")
Y = numpy.arange(32) % 10


def model(number: int, folder: Path, batch: int = 32, **options: Any) -> Sequential:
    """Made, trained for a step, asked for a prediction."""
    made = Sequential([layers.Dense(64, "relu", input_shape=(64,)), layers.Dense(10, "softmax")], seed=number)
    made.compile("adam", "sparse_categorical_crossentropy", ["accuracy"])
    made.fit(X, Y, batch, verbose=0, **options)
    made.predict(X)
    return made


def recorded(number: int, folder: Path) -> None:
    """Trained for so many steps that they are recorded and replayed."""
    model(number, folder, batch=2)


def failed(number: int, folder: Path) -> None:
    """Its training ended by an exception."""
    try:
        model(number, folder, callbacks=[Raising(0)])
    except Planned:
        return


def file(number: int, folder: Path) -> None:
    """Saved and loaded."""
    path = folder / "model.safetensors"
    model(number, folder).save(path)
    Sequential.load(path).predict(X)


def function(number: int, folder: Path) -> None:
    """A captured function, its code new, as a notebook's is."""
    space: dict[str, Any] = {}
    exec(compile(f"def step(x):\n    return (x * {number} + 1).sum()\n", f"<cell {number}>", "exec"), space)
    step, x = capture(space["step"]), tensor(X)
    for _ in range(4):
        step(x)


def declared(number: int, folder: Path) -> None:
    """A primitive, declared again in its place."""

    @primitive("y = x * exp(-x**2)", saves=("x",))
    def wavelet(x: Any) -> None:
        """A wavelet, elementwise."""

    wavelet.vjp("x", "gx = gy * (1 - 2 * x**2) * exp(-x**2)")
    wavelet(tensor([1.0, 2.0], requires_grad=True)).sum().backward()


KINDS: dict[str, Callable[[int, Path], Any]] = {
    "a model": model,
    "a model whose step is recorded": recorded,
    "a model whose training fails": failed,
    "a model saved and loaded": file,
    "a captured function": function,
    "a primitive, declared again": declared,
}
"""What is made, used and dropped."""


def measured(kind: str, count: int, folder: Path) -> dict[str, Any]:
    """Memory and time at ten moments. growth: bytes an item from the third on; slower: the last third's time an item
    as a multiple of the time of the third before.
    """
    sizes, seconds = [], []
    for moment in range(MOMENTS):
        begin = time.process_time()
        numbers = range(moment * count // MOMENTS, (moment + 1) * count // MOMENTS)
        for number in numbers:
            KINDS[kind](number, folder)
        seconds.append((time.process_time() - begin) / len(numbers))
        gc.collect()
        sizes.append(reading()["bytes"])
    items = numpy.arange(WARM, MOMENTS) * count / MOMENTS
    late, later = (statistics.median(some) for some in (seconds[WARM:-WARM], seconds[-WARM:]))
    return {
        "kind": kind, "count": count, "growth": round(float(numpy.polyfit(items, sizes[WARM:], 1)[0])),
        "slower": round(later / late, 3), "bytes": sizes, "seconds": [round(each, 6) for each in seconds],
    }  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = command_line("reliability.leaks", __doc__)
    parser.add_argument("--count", type=int, default=100, metavar="N", help="of each kind")
    parser.add_argument("--out", metavar="FILE", help="keep the result (JSON)")
    options = parser.parse_args(arguments)
    rows = []
    with TemporaryDirectory() as folder:
        for kind in KINDS:
            rows.append(measured(kind, max(options.count, MOMENTS), Path(folder)))
            print({name: rows[-1][name] for name in ("kind", "count", "growth", "slower")}, flush=True)
    if options.out:
        write(options.out, {"rows": rows, "machine": host(), "versions": versions(("chalkgrad", "numpy"))})
    return 0


if __name__ == "__main__":
    sys.exit(main())
