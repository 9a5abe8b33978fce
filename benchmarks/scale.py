"""How training scales over ranks: weak and strong, the time in communication, and what a model of it says of 1,024.

    python -m chalkgrad.benchmarks.scale --out benchmarks/results/scale.json --page docs/scale.md
    python -m chalkgrad.benchmarks.scale --from benchmarks/results/scale.json --page docs/scale.md

Each rank has one thread and one core. One rank alone, two trainings of one rank at once that know nothing of each other
(apart), two ranks with as many rows each (weak) and two that share its rows (strong) take turns, so that what else the
machine does meets all alike; of each kind the fastest round counts, and in it the median step. What two apart lose is
the machine's: its cores share more than they seem to. The sum of a gradient is timed by itself. --page: rewrite what
stands between `<!-- measured -->` and `<!-- end -->` of that file.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy

from .. import optim
from ..distributed import world
from ..engine.files import write_file
from ..errors import ChalkgradError, UsageError
from ..models import GPT
from ..nn import Sequential, layers
from ..nn.callbacks import Callback
from ..nn.losses import SparseCategoricalCrossentropy
from ..replay.blas import VARIABLES
from .machine import host
from .peers import command_line, table, write
from .scaling_model import ASSUMED, HOROVOD, Network, fitted

RANKS = (2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
SIZES = (8, 1 << 10, 1 << 14, 1 << 17, 1 << 20, 1 << 22, 1 << 24, 1 << 26)
"""Bytes of the all-reduces that α and β are fitted to."""
WARM = 5
"""Steps that do not count: they are recorded."""
CORE = "CHALKGRAD_SCALE_CORE"
"""Says which core the first rank has."""
SUMS = 30
"""Sums of the gradient that are timed by themselves."""
LEAST = 0.85
"""Weak scaling at two ranks that is asked for."""
SECONDS = 300.0


def mlp(rows: int) -> tuple[Any, Any, Any]:
    """784 → 512 → 256 → 10."""
    draw = numpy.random.default_rng(0)
    model = Sequential([layers.Dense(512, "relu"), layers.Dense(256, "relu"), layers.Dense(10, "softmax")], seed=1)
    model.compile(optim.Adam(1e-3), loss="sparse_categorical_crossentropy")
    return model, draw.random((rows, 784), "float32"), draw.integers(0, 10, rows)


def cnn(rows: int) -> tuple[Any, Any, Any]:
    """Two convolutions of 3 × 3 with 16 and 32 channels on 28 × 28, and a layer of 10."""
    draw = numpy.random.default_rng(0)
    parts = [
        layers.Conv2D(16, 3, activation="relu"), layers.MaxPooling2D(), layers.Conv2D(32, 3, activation="relu"),
        layers.MaxPooling2D(), layers.Flatten(), layers.Dense(10, "softmax"),
    ]  # fmt: skip
    model = Sequential(parts, seed=1)
    model.compile(optim.SGD(0.01, momentum=0.9), loss="sparse_categorical_crossentropy")
    return model, draw.random((rows, 28, 28, 1), "float32"), draw.integers(0, 10, rows)


def gpt(rows: int) -> tuple[Any, Any, Any]:
    """Four blocks, 128 wide, 64 tokens."""
    tokens = numpy.random.default_rng(0).integers(0, 65, (rows, 65))
    model = GPT(vocabulary=65, positions=64, width=128, depth=4, heads=4, seed=1)
    model.compile(optim.AdamW(1e-3), loss=SparseCategoricalCrossentropy(from_logits=True))
    return model, tokens[:, :-1], tokens[:, 1:]


NETS: dict[str, tuple[Callable[[int], tuple[Any, Any, Any]], int]] = {
    "MLP": (mlp, 256),
    "CNN": (cnn, 64),
    "GPT": (gpt, 16),
}
"""Each with its rows a rank."""


class Timed(Callback):
    """When each step has ended."""

    def __init__(self) -> None:
        super().__init__()
        self.ends = list[tuple[float, float]]()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """A step has ended."""
        self.ends.append((time.perf_counter(), time.process_time()))


def worker(name: str, share: int, steps: int, out: str) -> None:
    """What each rank runs. share: rows a rank; 0: time all-reduces instead."""
    group = world()
    if hasattr(os, "sched_setaffinity"):
        there = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {there[(group.rank + int(os.environ.get(CORE, "0"))) % len(there)]})
    found = allreduces(group) if not share else trained(group, name, share, steps)
    if group.leads:
        Path(out).write_text(json.dumps(found), encoding="utf-8")


def trained(group: Any, name: str, share: int, steps: int) -> dict[str, Any]:
    """Medians of a step: seconds, of the processor, and of the sum of its gradient, which is timed by itself: a clock
    within the step would be a part of what is recorded.
    """
    rows = share * group.size
    model, x, y = NETS[name][0](rows * 4)
    seen = Timed()
    model.fit(x, y, batch_size=rows, epochs=-(-(steps + WARM) // 4), verbose=0, callbacks=[seen], distributed=True)
    ends = numpy.array([each for at, each in enumerate(seen.ends[WARM:]) if at < steps])
    within = [at for at in range(1, len(ends)) if (WARM + at) % 4]  # not over the end of an epoch
    seconds, processor = numpy.median(numpy.diff(ends, axis=0)[numpy.array(within) - 1], axis=0)
    gradient, sums = group.room(sum(w.size for w in model.trainable_weights), "float32", "cpu"), []
    for _ in range(SUMS):
        begin = time.perf_counter()
        group.allreduce(gradient)
        sums.append(time.perf_counter() - begin)
        gradient[...] = 1
    return {
        "seconds": float(seconds), "cpu_seconds": float(processor), "communication": float(numpy.median(sums)),
        "gradient_bytes": gradient.nbytes,
    }  # fmt: skip


def allreduces(group: Any) -> dict[str, Any]:
    """Seconds of an all-reduce of each size: the least mean of several runs."""
    found = []
    for nbytes in SIZES:
        array = numpy.ones(max(2, nbytes // 4), "float32")
        count = max(3, min(200, (1 << 24) // nbytes))
        means = []
        for _ in range(5):
            group.allreduce(array)
            array[...] = 1
            begin = time.perf_counter()
            for _ in range(count):
                group.allreduce(array)
                array[:2] = 1
            means.append((time.perf_counter() - begin) / count)
            array[...] = 1
        found.append(min(means))
    return {"sizes": SIZES, "seconds": found}


def launcher() -> str:
    """The `mpirun` beside this Python, or the first in the path."""
    spec = importlib.util.find_spec("mpi4py")
    beside = shutil.which("mpirun", path=str(Path(sys.executable).parent))
    found = beside or shutil.which("mpirun")
    if spec is None or found is None:
        raise UsageError("benchmarks.scale starts ranks: it needs mpi4py and its mpirun in the path, the extra mpi.")
    return found


def ranks(count: int, name: str, share: int, steps: int, core: int = 0) -> dict[str, Any]:
    """Run the worker on so many ranks, with one thread each, on the cores from this one on."""
    mpirun = launcher()
    libraries = [str(Path(mpirun).resolve().parents[1] / "lib"), *filter(None, [os.environ.get("LD_LIBRARY_PATH")])]
    environment = {
        **os.environ, **dict.fromkeys((*VARIABLES, "NUMBA_NUM_THREADS"), "1"), CORE: str(core),
        "LD_LIBRARY_PATH": os.pathsep.join(libraries),
    }  # fmt: skip
    with TemporaryDirectory() as folder:
        out = Path(folder, "found.json")
        command = [mpirun, "-n", str(count), sys.executable, "-m", "chalkgrad.benchmarks.scale", "--worker", name]
        ended = subprocess.run(
            [*command, "--share", str(share), "--steps", str(steps), "--out", str(out)], env=environment,
            capture_output=True, text=True, timeout=SECONDS, check=False,
        )  # fmt: skip
        if ended.returncode or not out.exists():
            raise ChalkgradError(f"{count} ranks of {name} failed ({ended.returncode}): {ended.stderr.strip()[-600:]}")
        found: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
    return found


def apart(name: str, share: int, steps: int) -> dict[str, Any]:
    """Two trainings of one rank each at once: the slower one."""
    with ThreadPoolExecutor(2) as both:
        found = both.map(lambda core: ranks(1, name, share, steps, core), range(2))
        return max(found, key=lambda each: each["seconds"])


def measured(rounds: int, steps: int) -> dict[str, Any]:
    """All figures; progress is printed."""
    kinds = {"alone": 1, "weak": 2, "strong": 2}
    nets: dict[str, Any] = {}
    for name, (_, rows) in NETS.items():
        tries: dict[str, list[dict[str, Any]]] = {kind: [] for kind in kinds}
        for _ in range(rounds):
            for kind, count in kinds.items():
                tries[kind].append(ranks(count, name, rows // 2 if kind == "strong" else rows, steps))
            tries.setdefault("apart", []).append(apart(name, rows, steps))
        best = {kind: min(found, key=lambda each: each["seconds"]) for kind, found in tries.items()}
        alone = best["alone"]["seconds"]
        each = [a["seconds"] / w["seconds"] for a, w in zip(tries["alone"], tries["weak"], strict=True)]
        nets[name] = {
            "rows": rows, **best, "weak_scaling": alone / best["weak"]["seconds"],
            "weak_scaling_by_round": each, "strong_scaling": alone / best["strong"]["seconds"],
        }  # fmt: skip
        print(f"{name}: weak {nets[name]['weak_scaling']:.2f} (rounds {statistics.median(each):.2f}), "
              f"strong {nets[name]['strong_scaling']:.2f} times", flush=True)  # fmt: skip
    return {"nets": nets, "allreduce": ranks(2, "allreduce", 0, 0)}


def page(found: dict[str, Any]) -> Iterator[str]:
    """What docs/scale.md shows of the figures."""
    told = found["allreduce"]
    network = fitted("this machine", told["sizes"], told["seconds"])
    machine = found["machine"]
    yield (
        f"{machine['processor']}, {machine['cores']} cores, {machine['date']}; {found['rounds']} rounds of "
        f"{found['steps']} steps.\n"
    )
    head = (
        "step",
        "rows a rank",
        "gradient",
        "one rank",
        "two, weak",
        "two, apart",
        "its sum alone",
        "weak scaling",
        "of apart",
        "by processor time",
        "strong scaling",
    )
    yield table(head, (
        (name, net["rows"], f"{net['alone']['gradient_bytes'] / 1e6:.2f} MB", _ms(net["alone"]["seconds"]),
         _ms(net["weak"]["seconds"]), _ms(net["apart"]["seconds"]), _ms(net["weak"]["communication"]),
         f"{net['weak_scaling']:.2f}", f"{net['apart']['seconds'] / net['weak']['seconds']:.2f}",
         f"{net['alone']['cpu_seconds'] / net['weak']['cpu_seconds']:.2f}", f"{net['strong_scaling']:.2f} ×")
        for name, net in found["nets"].items()
    ))  # fmt: skip
    yield (
        f"\nThe fit to all-reduces between two ranks: α = {network.alpha * 1e6:.1f} µs, β = "
        f"{network.beta * 1e9:.3f} ns a byte ({1e-9 / network.beta:.1f} GB/s).\n"
    )
    yield table(("bytes", "measured", "model"), (
        (f"{size:,}", _ms(seconds), _ms(network.allreduce(2, size)))
        for size, seconds in zip(told["sizes"], told["seconds"], strict=True)
    ))  # fmt: skip
    yield "\nThe same formulas beside Horovod's figures, 512 GPUs and 25 Gb/s:\n"
    line = ASSUMED[1]
    yield table(("net", "nothing overlapped", "all of the reverse pass overlapped", "published"), (
        (net.net, *(f"{net.predicted(line, 512, hidden):.0%}" for hidden in (False, True)), f"{net.measured:.0%}")
        for net in HOROVOD
    ))  # fmt: skip
    for what, way in (("Weak scaling", Network.weak), ("Strong scaling, times as fast", Network.strong)):
        yield f"\n{what}, as predicted with this machine's ranks, one on each machine of a network:\n"
        rows = []
        for name, net in found["nets"].items():
            for each in (network, *ASSUMED):
                values = [way(each, p, net["alone"]["seconds"], net["alone"]["gradient_bytes"]) for p in RANKS]
                rows.append((f"{name}, {each.name}", *(f"{v:.2f}" if v < 10 else f"{v:.0f}" for v in values)))
        yield table(("ranks", *(f"{p:,}" for p in RANKS)), rows)


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:.3g} ms" if seconds >= 1e-3 else f"{seconds * 1e6:.3g} µs"


def rewrite(path: Path, text: str) -> None:
    """Put the text between the two marks of a page."""
    before, begin, rest = path.read_text(encoding="utf-8").partition("<!-- measured -->\n")
    _, end, after = rest.partition("<!-- end -->")
    if not (begin and end):
        raise UsageError(f"{path} has no lines `<!-- measured -->` and `<!-- end -->`.")
    write_file(path, f"{before}{begin}\n{text.strip()}\n\n{end}{after}")


def main(arguments: list[str] | None = None) -> int:
    """The command; 1 where a net's weak scaling is below 0.85."""
    parser = command_line("scale", __doc__)
    parser.add_argument("--rounds", type=int, default=5, help="of one rank, two weak, two strong")
    parser.add_argument("--steps", type=int, default=60, help="a round")
    parser.add_argument("--out", help="a JSON file for all figures")
    parser.add_argument("--from", dest="kept", type=Path, help="show these figures, and measure nothing")
    parser.add_argument("--page", type=Path, help="the page that is rewritten")
    parser.add_argument("--worker", help="what mpirun starts")
    parser.add_argument("--share", type=int, default=0, help="the worker's rows")
    given = parser.parse_args(arguments)
    if given.worker:
        worker(given.worker, given.share, given.steps, given.out)
        return 0
    if given.kept:
        found = json.loads(given.kept.read_text(encoding="utf-8"))
    else:
        settings = {"format": "chalkgrad scale 1", "machine": host(), "rounds": given.rounds, "steps": given.steps}
        found = {**settings, **measured(given.rounds, given.steps)}
        if given.out:
            write(given.out, found)
    text = "\n".join(page(found))
    print(text)
    if given.page:
        rewrite(given.page, text)
    return int(any(net["weak_scaling"] < LEAST for net in found["nets"].values()))


if __name__ == "__main__":
    sys.exit(main())
