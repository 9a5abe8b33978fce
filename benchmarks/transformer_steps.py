"""A step of training of two transformers beside a copy in PyTorch: the time of the processors, and the peak of memory.

    python -m chalkgrad.benchmarks.transformer_steps --out FILE

Each contestant is a process of its own with so many threads, and they take turns. "baby" is the net of
`chalkgrad train shakespeare`, 12 windows of 64 at a time; "gpt2" has GPT-2's 124 million weights, 4 windows of 64, and
three steps from a fresh process, with the peak of memory above what there was after the imports. AdamW, no dropout.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy

from ..replay.blas import VARIABLES
from .machine import host
from .memory import memory
from .peers import command_line, table, versions, write
from .processes import Process

CONTESTANTS = ("chalkgrad", "PyTorch")
CASES: dict[str, dict[str, Any]] = {
    "baby": {"sizes": {"vocabulary": 65, "positions": 64, "width": 128, "depth": 4, "heads": 4}, "batch": 12,
             "steps": 40, "first": 40, "rounds": 5},
    "gpt2": {"sizes": {"vocabulary": 50257, "positions": 1024, "width": 768, "depth": 12, "heads": 12}, "batch": 4,
             "steps": 3, "first": 0, "rounds": 1},
}  # fmt: skip
"""steps: that are timed at a time; first: steps before that; rounds: how often a process is asked for them."""
LENGTH, RATE = 64, 1e-3
PAUSE, LIMIT = 1.0, 600.0
"""Seconds between two turns, in which threads that wait go to sleep; and those that an answer may take."""


def ours(sizes: dict[str, Any], batch: int, threads: int) -> Callable[[Any, Any], Any]:
    """chalkgrad's training on given samples, one epoch; as PyTorch's it does not ask whether numbers are finite."""
    from ..models import GPT
    from ..nn.losses import SparseCategoricalCrossentropy
    from ..optim import AdamW

    model = GPT(**sizes, dropout=0.0, activation="gelu", use_bias=False)
    model.begin()
    model.compile(AdamW(RATE), SparseCategoricalCrossentropy(from_logits=True), check_finite=False)
    return lambda x, y: model.fit(x, y, batch_size=batch, verbose=0)


def theirs(sizes: dict[str, Any], batch: int, threads: int) -> Callable[[Any, Any], Any]:
    """The same in PyTorch."""
    from .shakespeare import network

    torch = import_module("torch")
    torch.set_num_threads(threads)
    net = network(sizes)
    update = torch.optim.AdamW(net.parameters(), lr=RATE)

    def epoch(x: Any, y: Any) -> None:
        for at in range(0, len(x), batch):
            rows, wanted = (torch.from_numpy(each[at : at + batch]) for each in (x, y))
            logits = net(rows)
            loss = torch.nn.functional.cross_entropy(logits.view(-1, logits.shape[-1]), wanted.view(-1))
            update.zero_grad(set_to_none=True)
            loss.backward()
            update.step()

    return epoch


def work(pipe: Any, contestant: str, case: str, threads: int) -> None:
    """Train by turns: answer each request with the seconds of processors and clock a step, and the peak of memory."""
    if contestant == "PyTorch":
        import_module("torch")
    plan = CASES[case]
    draw, base = numpy.random.default_rng(0), memory()["held_bytes"]
    train = (ours if contestant == "chalkgrad" else theirs)(plan["sizes"], plan["batch"], threads)

    def samples(steps: int) -> tuple[Any, Any]:
        ids = draw.integers(0, plan["sizes"]["vocabulary"], (steps * plan["batch"], LENGTH + 1))
        return ids[:, :-1].copy(), ids[:, 1:].copy()

    if plan["first"]:
        train(*samples(plan["first"]))
    while pipe.recv():
        given = samples(plan["steps"])
        used, begin = time.process_time(), time.perf_counter()
        train(*given)
        taken = time.process_time() - used, time.perf_counter() - begin
        pipe.send((*(each / plan["steps"] for each in taken), memory()["peak_bytes"] - base))


def compare(case: str, threads: int, repeats: int = 1) -> dict[str, dict[str, float]]:
    """Medians for each contestant: seconds a step of processors (cpu) and clock (wall), and the peak in bytes."""
    found: dict[str, list[Any]] = {name: [] for name in CONTESTANTS}
    before = {name: os.environ.get(name) for name in VARIABLES}
    os.environ.update(dict.fromkeys(VARIABLES, str(threads)))
    try:
        for _ in range(repeats):
            processes = {name: Process(work, name, case, threads, limit=LIMIT) for name in CONTESTANTS}
            try:
                for _ in range(CASES[case]["rounds"]):
                    for name, process in processes.items():
                        found[name].append(process.ask(True))
                        time.sleep(PAUSE)
            finally:
                for process in processes.values():
                    process.close()
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value
    parts = ("cpu", "wall", "peak")
    return {
        name: dict(zip(parts, map(statistics.median, zip(*turns, strict=True)), strict=True))
        for name, turns in found.items()
    }


def main(arguments: list[str] | None = None) -> int:
    """The command; 1 where ours takes more than is allowed: 1.1 (baby) or 1.15 of PyTorch's processors, its memory."""
    parser = command_line("transformer_steps", __doc__)
    parser.add_argument("--only", choices=CASES, action="append", help="a case; both by default")
    parser.add_argument("--threads", type=int, action="append", help="so many; 1 and 2 by default, for gpt2 one")
    parser.add_argument("--repeats", type=int, default=3, help="fresh processes of each, by turns")
    parser.add_argument("--out", help="a JSON file for all figures")
    given = parser.parse_args(arguments)
    found, rows, above = [], [], False
    for case in given.only or CASES:
        for threads in given.threads or ([1, 2] if case == "baby" else [1]):
            figures = compare(case, threads, given.repeats)
            found.append({"case": case, "threads": threads, **figures})
            ratios = {part: figures["chalkgrad"][part] / figures["PyTorch"][part] for part in ("cpu", "wall", "peak")}
            above |= ratios["cpu"] > (1.1 if case == "baby" else 1.15) or (case == "gpt2" and ratios["peak"] > 1)
            for name, each in {**figures, "ratio": ratios}.items():
                one = name == "ratio"
                shown = [f"{each[p]:.2f}" if one else f"{1e3 * each[p]:.1f} ms" for p in ("cpu", "wall")]
                peak = f"{each['peak']:.2f}" if one else f"{each['peak'] / 1e9:.2f} GB"
                rows.append((f"{case}, {threads} thread{'s' * (threads > 1)}", name, *shown, peak))
    print(table(("", "", "processors a step", "clock a step", "peak above imports"), rows))
    if given.out:
        told = {"format": "chalkgrad transformer steps 1", "machine": host(), "versions": versions(["numpy", "torch"])}
        write(given.out, {**told, "found": found})
    return int(above)


if __name__ == "__main__":
    sys.exit(main())
