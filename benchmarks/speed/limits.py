"""What this machine can do at best, measured in the same run, and the least time that this leaves for each task.

Each figure is the best of many: a limit is what nothing was faster than.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy

from ...errors import ChalkgradError
from ...replay.epoch import cores
from ..processes import Process, StoppedError
from .workloads import Attention, Chain, CrossEntropy, Task, Training, Tree, Update

SECONDS, QUICK_SECONDS = 0.6, 0.15
"""How long each figure is looked for."""
LARGE = 1536
"""The side of the square matrices whose product tells the peak rate."""
FAR = 512 << 20
"""Bytes that no cache holds."""
ADAM_FLOPS, ADAM_BYTES = 12, 28
"""Of one parameter's update: m, v and θ are read and written, g is read."""

Measure = Callable[[Callable[[], Any]], float]


def best_of(seconds: float) -> Measure:
    """A clock: the least time that one call of a function takes, tried for so many seconds."""

    def measure(f: Callable[[], Any]) -> float:
        f()
        started = time.perf_counter()
        f()
        calls = max(1, int(1e-3 / max(time.perf_counter() - started, 1e-7)))
        best, end = float("inf"), time.perf_counter() + seconds
        while time.perf_counter() < end:
            started = time.perf_counter()
            for _ in range(calls):
                f()
            best = min(best, (time.perf_counter() - started) / calls)
        return best

    return measure


def product_seconds(n: int, k: int, m: int, left: bool, right: bool, dtype: str, best: Measure) -> float:
    """The time of a product of (n, k) by (k, m); left, right: whether a factor is given transposed."""
    generator = numpy.random.default_rng(0)
    a = generator.standard_normal((k, n) if left else (n, k)).astype(dtype)
    b = generator.standard_normal((m, k) if right else (k, m)).astype(dtype)
    y, a, b = numpy.empty((n, m), dtype), a.T if left else a, b.T if right else b
    return best(lambda: numpy.matmul(a, b, out=y))


def copy_rate(size: int, best: Measure) -> float:
    """Bytes a second, read and written, of a copy or a pass in place within `size` bytes, by one thread or by all.

    The most of these: what a copy writes to is fetched first, unseen, what is written in place was fetched anyway.
    """
    source, target = numpy.ones(size // 8, "float32"), numpy.empty(size // 8, "float32")
    whole = numpy.ones(size // 4, "float32")
    count = cores()
    pairs = list(zip(numpy.array_split(target, count), numpy.array_split(source, count), strict=True))
    parts = numpy.array_split(whole, count)
    times = max(1, (64 << 20) // size)  # so often at a time that waking the threads does not count

    def copy(pair: Sequence[Any]) -> None:
        for _ in range(times):
            numpy.copyto(*pair)

    def in_place(part: Any) -> None:
        for _ in range(times):
            numpy.multiply(part, 1.0, out=part)

    copied, scaled = best(lambda: copy((target, source))), best(lambda: in_place(whole))
    with ThreadPoolExecutor(count) as pool:
        copied = min(copied, best(lambda: list(pool.map(copy, pairs))))
        scaled = min(scaled, best(lambda: list(pool.map(in_place, parts))))
    return max(size / copied, 2 * size / scaled) * times


def triad_rate(size: int, best: Measure) -> float:
    """Bytes a second of a = b + s c in NumPy's two passes: 2 arrays are touched in the one, 3 in the other."""
    a, b, c = (numpy.ones(size // 12, "float32") for _ in range(3))

    def triad() -> None:
        numpy.multiply(c, 0.5, out=a)
        numpy.add(a, b, out=a)

    return 5 * a.nbytes / best(triad)


def smallest_call(best: Measure) -> float:
    """The time of a NumPy operation on so few numbers that the call is all that counts."""
    x, y, add = numpy.ones(8, "float32"), numpy.empty(8, "float32"), numpy.add

    def calls() -> None:
        for _ in range(100):
            add(x, x, y)

    return best(calls) / 100


# The least time of a task


def products_of(task: Training) -> Counter[tuple[int, int, int, bool, bool]]:
    """How often which product is taken in an epoch: forward and, in a training, for the weights and the layer below."""
    found: Counter[tuple[int, int, int, bool, bool]] = Counter()
    sizes = Counter({task.batch: task.samples // task.batch, task.samples % task.batch: 1})
    for batch, times in sizes.items():
        for number, (rows, n, m) in enumerate(task.products if batch else ()):
            rows *= batch
            found[rows, n, m, False, False] += times
            if task.trains:
                found[n, rows, m, True, False] += times
            if task.trains and number:
                found[rows, m, n, False, True] += times
    return found


def work_of(task: Task) -> dict[str, int]:
    """What a repetition has to do at least: its samples, its floating-point operations, the bytes that these touch.

    A product of (n, k) by (k, m) has 2 n k m operations, and touches its three matrices once; an update of Adam has 12
    a parameter, and touches 28 bytes. Empty for other tasks.
    """
    if isinstance(task, Update):
        updated = task.parameters * task.updates
        return {"flops": ADAM_FLOPS * updated, "bytes": ADAM_BYTES * updated}
    if not isinstance(task, Training):
        return {}
    products = [(n, k, m, times) for (n, k, m, _, _), times in products_of(task).items()]
    return {
        "samples": task.samples,
        "flops": sum(2 * n * k * m * times for n, k, m, times in products),
        "bytes": sum(4 * (n * k + k * m + n * m) * times for n, k, m, times in products),
    }


def bound_of(task: Task, best: Measure, figures: Mapping[str, float]) -> dict[str, Any]:
    """The least seconds of one repetition, what they are, and whether code without NumPy is bound by them, too."""
    if isinstance(task, Training):
        seconds = sum(n * product_seconds(*key, "float32", best) for key, n in products_of(task).items())
        return {"seconds": seconds, "what": "the matrix products alone", "for_all": task.trains}
    if isinstance(task, Update):
        rate = copy_rate(16 * task.parameters, best)
        seconds = ADAM_BYTES * task.parameters * task.updates / rate
        return {"seconds": seconds, "what": f"{ADAM_BYTES} bytes a parameter at {rate / 1e9:.1f} GB/s", "for_all": True}
    if isinstance(task, CrossEntropy):
        size = 8 * task.rows * task.classes
        rate = copy_rate(size, best)
        return {"seconds": size / rate, "what": f"8 bytes a logit at {rate / 1e9:.1f} GB/s", "for_all": True}
    if isinstance(task, Attention):
        t, c = task.steps, task.width
        each = [(t, c, t, False, True), (t, t, c, False, False), (t, t, c, True, False)]  # forward and back alike
        seconds = task.samples * task.heads * sum(product_seconds(*key, "float32", best) for key in each)
        return {"seconds": seconds, "what": "of the matrix products those halves that count", "for_all": True}
    calls = calls_of(task)
    what = f"{calls:,} of the smallest NumPy calls"
    return {"seconds": calls * figures["smallest_call_seconds"], "what": what, "for_all": False}


def calls_of(task: Task) -> int:
    """NumPy calls of a task whose operations are taken one by one: forward, and what the gradient needs."""
    if isinstance(task, Chain):
        return 9 * task.links
    assert isinstance(task, Tree)
    products, level, multiplies = 0, task.leaves // 2, True
    while level:
        products += level * multiplies
        level, multiplies = level // 2, not multiplies
    return task.count + 2 * products


# In a process of its own


LIMIT = 600.0
"""Seconds that all of it may take."""


def measure(tasks: Mapping[str, Task], quick: bool) -> dict[str, Any]:
    """The limits, and the bounds of the tasks by name, measured in a fresh process."""
    try:
        with Process(_work, tasks, quick, limit=LIMIT) as process:
            found: dict[str, Any] = process.answer()
    except StoppedError as error:
        raise ChalkgradError(f"the machine's limits could not be measured: {error}") from error
    return found


def better(a: dict[str, Any], b: dict[str, Any]) -> dict[str, Any]:
    """Of two measurements the better of each figure: the greater rate, the lesser time. b may have fewer bounds."""
    figures = {
        name: (min if name.endswith("_seconds") else max)(value, b["figures"][name])
        for name, value in a["figures"].items()
    }
    bounds = {
        name: min(bound, b["bounds"].get(name, bound), key=lambda x: x["seconds"])
        for name, bound in a["bounds"].items()
    }
    return {"figures": figures, "bounds": bounds}


def _work(pipe: Any, tasks: Mapping[str, Task], quick: bool) -> None:
    best, far = best_of(QUICK_SECONDS if quick else SECONDS), FAR // 4 if quick else FAR
    figures = {
        f"{dtype}_flops": 2 * LARGE**3 / product_seconds(LARGE, LARGE, LARGE, False, False, dtype, best)
        for dtype in ("float32", "float64")
    }
    figures |= {
        "copy_bytes_per_second": copy_rate(far, best),
        "triad_bytes_per_second": triad_rate(far, best),
        "smallest_call_seconds": smallest_call(best),
    }
    bounds = {name: bound_of(task, best, figures) for name, task in tasks.items()}
    pipe.send({"figures": figures, "bounds": bounds})
