"""Hostile inputs: whatever is wrong with an equation or a file, the answer is an error of ours, soon, in little memory.

    python -m chalkgrad.benchmarks.reliability.fuzzing --inputs 20000 --seed 0 \\
        --out benchmarks/results/reliability-fuzzing.json

Each target of `targets/` gets its share of the inputs, made of good ones by its own mutator, in a process of its own.
Found is: an error that is none of ours, a crash, more than 2 s of computing, more than 100 MB + 2 × the input's size
above the process after import, and what the target's check calls silently wrong. Each find is known by (target, seed,
index): `--again TARGET INDEX` shows that input and what comes of it. One of each kind is made smaller and kept.
"""

from __future__ import annotations

import base64
import functools
import sys
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue
from tempfile import TemporaryDirectory
from typing import Any

from ...errors import ChalkgradError
from ..machine import host
from ..peers import command_line, versions, write
from ..processes import IMPORTS, LateError, Process, StoppedError
from .fuzz_worker import FINE, Job, Limits, Outcome, run_one, serve
from .targets import TARGETS, Target, find_targets

PACKAGES = ("chalkgrad", "numpy", "safetensors", "click", "pillow", "mpmath")
WARMING = 3
"""Good inputs by which a process is made warm."""
SHOWN = 2_000
"""Characters of an input that are kept."""


@dataclass
class Tally:
    """What came of a target's inputs: how many were taken, refused with an error of ours, and the finds."""

    target: str
    counts: Counter[str] = field(default_factory=Counter)
    slowest: float = 0.0
    peak: int = 0
    finds: list[dict[str, Any]] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """As plain values, without the finds."""
        return {
            "inputs": self.counts.total(),
            **{kind: self.counts[kind] for kind in sorted(self.counts)},
            "slowest_seconds": round(self.slowest, 3),
            "peak_bytes": self.peak,
        }


class Worker:
    """The process that tries a target's inputs; killed where it hangs, and started anew for the next."""

    def __init__(self, package: str, limits: Limits) -> None:
        self.package, self.limits = package, limits
        self.process: Process | None = None

    def turn_to(self, target: Target, seeds: Sequence[Any]) -> None:
        """Try this target from now on."""
        self.warming = Job(target.name, seeds[:: len(seeds) // WARMING + 1], warm=True)
        if self.process is not None:
            self.process.ask(self.warming, IMPORTS)

    def answer(self, job: Job) -> Outcome:
        """What comes of an input."""
        if self.process is None:
            self.process = Process(serve, self.package, self.limits, limit=self.limits.seconds)
            self.process.ask(self.warming, IMPORTS)
        self.process.send(job)
        began, waited = self.process.cpu_seconds(), 0.0
        while True:
            try:
                outcome: Outcome = self.process.answer()
            except LateError as error:
                waited += self.limits.seconds
                if max(self.process.cpu_seconds() - began, waited / 10) > self.limits.seconds:
                    self.close()
                    return Outcome("hang", "", str(error))
            except StoppedError as error:
                self.close()
                return Outcome("crash", "", str(error))
            else:
                return outcome

    def close(self) -> None:
        """End the process, whatever it does."""
        if self.process is not None:
            self.process.close()
            self.process = None


def fuzz(
    inputs: int, seed: int, package: str = TARGETS, only: Sequence[str] = (), limits: Limits | None = None,
    told: Callable[[str], None] | None = None, processes: int = 1,
) -> list[Tally]:  # fmt: skip
    """Try `inputs` inputs, dealt evenly among the targets; returns what came of them. told: hears of each target.

    processes: how many targets are tried at once; the inputs are the same for any number.
    """
    targets = [*find_targets(package, only).values()]
    counts = [inputs // len(targets) + (place < inputs % len(targets)) for place in range(len(targets))]
    workers = [Worker(package, limits or Limits()) for _ in range(processes)]
    idle: SimpleQueue[Worker] = SimpleQueue()
    for worker in workers:
        idle.put(worker)

    def tried(target: Target, seeds: Sequence[Any], count: int) -> Tally:
        worker = idle.get()
        try:
            tally = _tally(target, seeds, count, seed, worker)
        finally:
            idle.put(worker)
        if told:
            told(f"{target.name}: {tally.to_dict()}")
        return tally

    try:
        with ThreadPoolExecutor(processes) as pool:
            seeds = [target.seeds() for target in targets]  # in the main thread: some run commands, which mind signals
            return list(pool.map(tried, targets, seeds, counts))
    finally:
        for worker in workers:
            worker.close()


def _tally(target: Target, seeds: Sequence[Any], count: int, seed: int, worker: Worker) -> Tally:
    tally = Tally(target.name)
    worker.turn_to(target, seeds)
    known: set[tuple[str, str]] = set()
    for value in seeds[:: len(seeds) // (count // 4 + 1) + 1]:
        outcome = worker.answer(Job(target.name, value))
        if outcome.kind != "taken":
            tally.finds.append(
                {"kind": "seed", "why": f"a good input is not taken: {outcome.why}", "input": shown(value)}
            )
    for index in range(count):
        value = target.input(seeds, seed, index)
        outcome = worker.answer(Job(target.name, value))
        tally.counts[outcome.kind] += 1
        tally.slowest, tally.peak = max(tally.slowest, outcome.seconds), max(tally.peak, outcome.peak)
        if outcome.kind not in FINE:
            find = {"target": target.name, "seed": seed, "index": index, "kind": outcome.kind, "why": outcome.why}
            if (outcome.kind, outcome.place) not in known:
                known.add((outcome.kind, outcome.place))
                find |= {"place": outcome.place, "input": shown(minimised(worker, target, value, outcome))}
            tally.finds.append(find)
    return tally


def minimised(worker: Worker, target: Target, value: Any, outcome: Outcome, tries: int = 200) -> Any:
    """A smaller input of which the same comes; what hangs or crashes is tried a few times only."""
    left = 2 if outcome.kind in ("hang", "crash") else tries
    shrinks = True
    while shrinks:
        shrinks = False
        for smaller in pieces(value):
            left -= 1
            if left < 0:
                return value
            found = worker.answer(Job(target.name, smaller))
            if (found.kind, found.place) == (outcome.kind, outcome.place):
                value, shrinks = smaller, True
                break
    return value


def pieces(value: Any) -> Iterator[Any]:
    """Smaller values of the same kind: parts left out, large ones first, then parts made smaller."""
    parts: Any = value
    if isinstance(value, str | bytes | list | tuple):
        size = len(value) // 2
        while size:
            yield from (parts[:start] + parts[start + size :] for start in range(0, len(value), size))
            size //= 2
        if isinstance(value, list | tuple):
            for place, part in enumerate(value):
                yield from (type(value)([*value[:place], smaller, *value[place + 1 :]]) for smaller in pieces(part))
    elif isinstance(value, dict):
        yield from ({k: v for k, v in value.items() if k != key} for key in value)
        for key, part in value.items():
            yield from (value | {key: smaller} for smaller in pieces(part))


def shown(value: Any, most: int = SHOWN) -> str:
    """An input as text: bytes in base64, of long ones the middle left out, of dictionaries of each part."""
    if isinstance(value, dict):
        return ", ".join(f"{key}: {shown(part, most // len(value))}" for key, part in value.items())
    text = "base64:" + base64.b64encode(value).decode() if isinstance(value, bytes) else repr(value)
    return text if len(text) <= most else f"{text[: most // 2]} … {len(text):,} characters … {text[-most // 2 :]}"


def again(target: Target, seed: int, index: int) -> str:
    """An input, and what comes of it, with the traceback; in this process."""
    value = target.input(target.seeds(), seed, index)
    with TemporaryDirectory() as folder:
        outcome, error = run_one(target, value, Path(folder))
    told = "".join(traceback.format_exception(error)) if error else ""
    return f"{shown(value)}\n{told}{outcome.kind}: {outcome.why}"


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code: 1 where something was found."""
    parser = command_line("reliability.fuzzing", __doc__)
    parser.add_argument("--inputs", type=int, default=1000, metavar="N", help="of all targets together")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=1, metavar="N", help="targets at once")
    parser.add_argument("--out", metavar="FILE", help="keep the result (JSON)")
    parser.add_argument("--only", nargs="+", default=(), metavar="TARGET", help="these targets alone")
    parser.add_argument("--again", nargs=2, metavar=("TARGET", "INDEX"), help="one input, in this process")
    options = parser.parse_args(arguments)
    try:
        if options.again:
            name, index = options.again
            print(again(find_targets(only=[name])[name], options.seed, int(index)))
            return 0
        told = functools.partial(print, flush=True)
        tallies = fuzz(options.inputs, options.seed, only=options.only, told=told, processes=options.processes)
        finds = [find for tally in tallies for find in tally.finds]
        for find in finds:
            if "input" in find:  # one of each kind
                print("", *(f"{key}: {value}" for key, value in find.items()), sep="\n  ")
        if options.out:
            write(options.out, {
                "seed": options.seed, "inputs": sum(tally.counts.total() for tally in tallies),
                "limits": vars(Limits()), "machine": host(), "versions": versions(PACKAGES),
                "targets": {tally.target: tally.to_dict() for tally in tallies}, "finds": finds,
            })  # fmt: skip
    except ChalkgradError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return int(bool(finds))


if __name__ == "__main__":
    sys.exit(main())
