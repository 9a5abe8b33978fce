"""How often the checker calls a right rule wrong: the whole registry, proven for many seeds.

    python -m chalkgrad.benchmarks.false_alarms --first-order 1000 --second-order 150 --processes 2 \\
        --out benchmarks/results/false-alarms.json --page docs/false-alarms.md

Each seed draws other inputs, cotangents and directions, for every primitive × example × dtype; the equations are held
to the code at each seed's inputs, too. The file is written after each seed: the same command, given again, goes on
where it was stopped. `--merge A.json B.json` puts what was run apart together.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from itertools import pairwise
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import Any

from ..engine.json_files import read_json
from ..errors import ChalkgradError, DataError
from ..proof.cases import chosen
from ..proof.registry import prove
from .peers import command_line, table, write

DTYPES = ("float64", "float32")
SAMPLES = 1
ALL = "all"


@dataclass(frozen=True)
class Seed:
    """What proving the registry for one seed at one order came to; an alarm is the report of what is not proven."""

    order: int
    seed: int
    proofs: int
    seconds: float
    alarms: list[dict[str, Any]]


@dataclass
class Run:
    """All seeds that are finished at one order. seconds: of proving, summed over the processes."""

    order: int
    seeds: set[int] = field(default_factory=set)
    proofs: int = 0
    seconds: float = 0.0
    alarms: list[dict[str, Any]] = field(default_factory=list)

    def add(self, seeds: Iterable[int], proofs: int, seconds: float, alarms: list[dict[str, Any]]) -> None:
        """Count these seeds, too.

        Raises DataError for a seed that is counted already, and where a seed is now another number of proofs: the
        registry has changed.
        """
        new = set(seeds)
        if twice := new & self.seeds:
            raise DataError(f"order {self.order}: the seeds {_spans(twice)} are counted already: leave one file out.")
        if self.seeds and proofs * len(self.seeds) != self.proofs * len(new):
            raise DataError(
                f"order {self.order}: {proofs / len(new):g} proofs a seed beside {self.proofs / len(self.seeds):g}: "
                "the registry has changed. Write to another file."
            )
        self.seeds |= new
        self.proofs += proofs
        self.seconds += seconds
        self.alarms += alarms

    def to_dict(self) -> dict[str, Any]:
        """As plain values; seeds as ranges, first and last + 1."""
        return {
            "order": self.order,
            "seeds": _spans(self.seeds),
            "proofs": self.proofs,
            "false_alarms": len(self.alarms),
            "seconds": round(self.seconds, 1),
            "alarms": sorted(self.alarms, key=lambda alarm: alarm["seed"]),
        }


@dataclass
class Result:
    """What a file keeps: the settings, and a run for each order. primitives: their names, or "all"."""

    primitives: list[str] | str = ALL
    runs: dict[int, Run] = field(default_factory=dict)

    @property
    def settings(self) -> dict[str, Any]:
        """What has to be the same for counts to be added."""
        return {"primitives": self.primitives, "dtypes": list(DTYPES), "samples": SAMPLES}

    def run(self, order: int) -> Run:
        """The run of this order."""
        return self.runs.setdefault(order, Run(order))

    def add(self, file: Path) -> None:
        """Count what a file keeps, too; raises DataError where it is none of these, or of other settings."""
        for one in _read(file, self.settings):
            if one["seeds"]:
                self.run(one["order"]).add(one["seeds"], one["proofs"], one.get("seconds", 0.0), one["alarms"])

    def save(self, file: Path) -> None:
        """Write the file, whole or not at all."""
        runs = [self.runs[order].to_dict() for order in sorted(self.runs)]
        write(str(file), {"settings": self.settings, "runs": json.loads(json.dumps(runs, default=str))})

    def markdown(self) -> str:
        """The page: how many seeds, proofs and alarms at each order, and the alarms."""
        runs = [self.runs[order] for order in sorted(self.runs)]
        rows = [
            [("", "first", "second")[run.order], f"{len(run.seeds):,}", f"{run.proofs:,}", len(run.alarms)]
            for run in runs
        ]
        alarms = [f"- order {run.order}, seed {alarm['seed']}, {alarm['dtype']}: `{alarm['name']}`, {alarm['detail']}"
                  for run in runs for alarm in run.alarms]  # fmt: skip
        return "\n\n".join(
            [HEAD, table(["order", "seeds", "proofs", "false alarms"], rows), "\n".join(alarms)]
        ).rstrip()


HEAD = """# False alarms

Generated from `benchmarks/results/false-alarms.json` by `python -m chalkgrad.benchmarks.false_alarms`.

How often the checker calls a right rule wrong: every primitive of the registry with each of its examples, in float64
and float32, is proven for many seeds, each with other inputs, cotangents and directions; so is each equation, at 50
digits. Every rule here is right, so that whatever is not *proven* is a false alarm. The bounds in ulp are not among
these: they are tried at points that are the same for every seed, and [a page of their own](accuracy.md) has them.

An alarm stays in the count; how it was mended stands in the changes (`CHANGELOG.md`)."""


def _spans(seeds: Iterable[int]) -> list[list[int]]:
    """Numbers as ranges: [first, last + 1] for each unbroken row of them."""
    ordered = sorted(seeds)
    breaks = [n for n, (a, b) in enumerate(pairwise(ordered), 1) if b != a + 1]
    return [[ordered[a], ordered[b - 1] + 1] for a, b in pairwise([0, *breaks, len(ordered)])] if ordered else []


def _read(file: Path, settings: dict[str, Any]) -> list[dict[str, Any]]:
    """The runs of a file; one without settings is of the earlier program, which knew these alone."""
    try:
        contents = read_json(file)
        if "runs" not in contents:
            (order,) = contents["orders"]
            seeds = contents["seeds"]
            contents["runs"] = [{**contents, "order": order, "seeds": seeds if isinstance(seeds[0], list) else [seeds]}]
            contents["settings"] = Result().settings
        found, runs = contents["settings"], []
        for one in contents["runs"]:
            runs.append({**one, "seeds": [n for first, last in one["seeds"] for n in range(first, last)]})
        missing = [key for run in runs for key in ("order", "proofs", "alarms") if key not in run]
    except DataError:
        raise
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise DataError(f"{file} keeps no false alarms of one order each: {error!r}. Write to another file.") from error
    if missing:
        raise DataError(f"{file} keeps no false alarms: {missing[0]!r} is missing. Write to another file.")
    if found != settings:
        raise DataError(f"{file} is of other settings, {found}, not {settings}: write to another file.")
    return runs


def prove_seed(order: int, seed: int, names: list[str] | None = None) -> Seed:
    """Prove the registry, or the primitives of these names, for one seed at one order."""
    started, proofs, alarms = time.perf_counter(), 0, []
    for report in prove(names, DTYPES, [order], seed, SAMPLES, layouts=False, ulp=False):
        proofs += 1
        if not report.proven:
            alarms.append({**report.to_dict(), "curve": []})
    return Seed(order, seed, proofs, time.perf_counter() - started, alarms)


def run(result: Result, wanted: dict[int, int], file: Path, processes: int = 1) -> None:
    """Prove for the seeds 0 … wanted[order] - 1 of each order those that `result` lacks; `file` is kept up to date."""
    names = result.primitives if isinstance(result.primitives, list) else None
    missing = [(order, n) for order, count in wanted.items() for n in range(count) if n not in result.run(order).seeds]
    for seed in _proven(missing, names, processes):
        result.run(seed.order).add([seed.seed], seed.proofs, seed.seconds, seed.alarms)
        result.save(file)


def _proven(missing: list[tuple[int, int]], names: list[str] | None, processes: int) -> Iterator[Seed]:
    if processes == 1:
        yield from (prove_seed(order, seed, names) for order, seed in missing)
        return
    with ProcessPoolExecutor(processes, get_context("spawn"), _end_with_parent) as pool:
        try:
            futures = [pool.submit(prove_seed, order, seed, names) for order, seed in missing]
            yield from (future.result() for future in as_completed(futures))
        finally:
            pool.shutdown(cancel_futures=True)


def _end_with_parent() -> None:
    """A worker whose parent is killed ends, too, and does not wait for work for ever."""

    def watch() -> None:
        parent = parent_process()
        assert parent is not None
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code: 1 where there was an alarm."""
    parser = command_line("false_alarms", __doc__)
    parser.add_argument("--out", type=Path, required=True, help="keeps the result; an earlier one goes on")
    parser.add_argument("--first-order", type=_count, default=0, metavar="N", help="prove the seeds 0 … N - 1")
    parser.add_argument("--second-order", type=_count, default=0, metavar="N", help="the same at second order")
    parser.add_argument("--processes", type=_count, default=1, metavar="N", help="how many at once")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these primitives alone")
    parser.add_argument("--merge", type=Path, nargs="+", default=(), metavar="FILE",
                        help="make --out anew from the results in these files")  # fmt: skip
    parser.add_argument("--page", metavar="FILE", help="write the result as a page, too (Markdown)")
    options = parser.parse_args(arguments)
    try:
        result = Result(sorted(primitive.name for primitive in chosen(options.only)) if options.only else ALL)
        for file in options.merge or ([options.out] if options.out.exists() else []):
            result.add(file)
        result.save(options.out)
        wanted = {1: options.first_order, 2: options.second_order}
        run(result, {order: n for order, n in wanted.items() if n}, options.out, max(1, options.processes))
        if options.page:
            write(options.page, result.markdown())
    except ChalkgradError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; the same command goes on from here", file=sys.stderr)
        return 130
    for one in result.runs.values():
        print(f"order {one.order}: {len(one.seeds)} seeds, {one.proofs} proofs, {len(one.alarms)} false alarms")
    return int(any(one.alarms for one in result.runs.values()))


def _count(text: str) -> int:
    number = int(text)
    if number < 0:
        raise ValueError
    return number


if __name__ == "__main__":
    sys.exit(main())
