"""`chalkgrad bench`: how fast, beside hand-written NumPy, the peers that are installed, and the machine's limits."""

from __future__ import annotations

import contextlib
import importlib.util
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click

from ..benchmarks import charts
from ..benchmarks.gpu import prose
from ..benchmarks.gpu.sections import SECTIONS, find_sections, measure_gpu
from ..benchmarks.peers import write
from ..benchmarks.speed import performance
from ..benchmarks.speed.compare import compare
from ..benchmarks.speed.contestants import CONTESTANTS, GPU_CONTESTANTS, YARDSTICK, find_contestants
from ..benchmarks.speed.growth import measure_growth
from ..benchmarks.speed.machines import side_by_side
from ..benchmarks.speed.results import MADE_BY, OK, Results, absent, ratio_text, read, steadiness, unfinished
from ..benchmarks.speed.rows import as_csv
from ..benchmarks.speed.runner import LIMIT, QUICK_LIMIT, QUICK_ROUNDS, ROUNDS, Plan, Tell, measure_speed
from ..benchmarks.speed.workloads import WORKLOADS, find_workloads
from ..benchmarks.steadiness import doubtful
from ..engine import streams
from ..engine.files import replacing, write_file
from ..errors import UsageError
from ..hints import missing_extra

RESULTS = Path("benchmarks", "results")
"""Where --json writes to without a file's name, from where the command is run."""


@dataclass(frozen=True)
class Request:
    """What was asked for. only, contestants: names; all of the run where there are none. json_file: "" is the usual."""

    only: tuple[str, ...] = ()
    contestants: tuple[str, ...] = ()
    quick: bool = False
    rounds: int | None = None
    seed: int = 0
    growth: bool = False
    device: str = "cpu"
    max_seconds: float | None = None
    json_file: str | None = None
    svg_file: str | None = None
    csv_file: str | None = None
    roofline_file: str | None = None
    old_file: str | None = None


def bench(request: Request) -> int:
    """Run, show and write; returns the exit code: 1 where something became slower, or on a GPU a section failed."""
    kind = "gpu" if request.device != "cpu" else "growth" if request.growth else "speed"
    _refuse(request, kind)
    if request.json_file == "":
        request = replace(request, json_file=str(RESULTS / f"{kind}.json"))
    work = {"growth": _growth, "speed": _speed, "gpu": _gpu}[kind](request)
    draw: Mapping[str, Callable[[Results], bytes]] = {
        "growth": charts.curves, "speed": charts.bars, "gpu": charts.speedup,
    }  # fmt: skip
    old = read(request.old_file) if request.old_file else None
    if (request.svg_file or request.roofline_file) and importlib.util.find_spec("matplotlib") is None:
        raise missing_extra("--svg" if request.svg_file else "--roofline", "matplotlib", "plot")
    with contextlib.ExitStack() as stack:  # paths that cannot be written to are refused before the work, not after it
        asked = request.json_file, request.svg_file, request.csv_file, request.roofline_file
        names = [name for name in asked if name]
        files = {name: stack.enter_context(replacing(name)) for name in names}
        tell, show = stack.enter_context(_console())
        results = work(tell, show)
        if told := doubtful(results["machine"]):
            show(f"**{told}**")
        if request.json_file:
            write(str(files[request.json_file]), results)
        if request.svg_file:
            files[request.svg_file].write_bytes(draw[kind](results))
        if request.roofline_file:
            files[request.roofline_file].write_bytes(charts.roofline(results))
        if request.csv_file:
            files[request.csv_file].write_bytes(as_csv(results))
    if kind == "gpu":
        return int(any(section["status"] != OK for section in results["sections"].values()))
    return _compared(old, results, request) if old else 0


def show_reports(files: Sequence[str], csv_file: str | None) -> None:
    """Show what --json wrote, side by side, and write its rows; nothing is run."""
    reports = [read(name, *MADE_BY) for name in files]
    with _console() as (_, show):
        show(*side_by_side(reports))
    if csv_file:
        write_file(Path(csv_file), as_csv(*reports))


Show = Callable[..., None]
Work = Callable[[Tell, Show], dict[str, Any]]


def _speed(request: Request) -> Work:
    workloads = find_workloads(request.only, request.quick)
    contestants = find_contestants(request.contestants, request.quick)

    def work(tell: Tell, show: Show) -> dict[str, Any]:
        show(absent({contestant.name: contestant.versions for contestant in contestants}))

        def seen(record: Mapping[str, Any]) -> None:
            notes = unfinished(record), steadiness(record), performance.says(record)
            show(f"## {record['title']}", *performance.workload(record), *notes)

        return measure_speed(workloads, contestants, _plan(request), tell, seen)

    return work


def _growth(request: Request) -> Work:
    def work(tell: Tell, show: Show) -> dict[str, Any]:
        results = measure_growth(request.quick, tell)
        for found in results["sweeps"].values():
            show(*performance.sweep(found))
        return results

    return work


def _gpu(request: Request) -> Work:
    sections = find_sections(request.only)
    contestants = find_contestants(request.contestants, request.quick, GPU_CONTESTANTS)
    if request.svg_file and "crossover" not in sections:
        raise UsageError("--svg draws the crossover: with --only, ask for that too.")
    if request.csv_file and "mnist" not in sections:
        raise UsageError("--csv has who took part in mnist: with --only, ask for that too.")
    plan = replace(_plan(request), limit=QUICK_LIMIT)

    def work(tell: Tell, show: Show) -> dict[str, Any]:
        def seen(name: str, section: Mapping[str, Any], results: Results) -> None:
            show(*prose.part(name, section, results))

        seconds = request.max_seconds or math.inf
        return measure_gpu(request.device, sections, contestants, plan, tell, seen, seconds)

    return work


def _plan(request: Request) -> Plan:
    rounds = request.rounds or (QUICK_ROUNDS if request.quick else ROUNDS)
    return Plan(request.quick, rounds, request.seed, limit=QUICK_LIMIT if request.quick else LIMIT)


def _refuse(request: Request, kind: str) -> None:
    """Raise UsageError for options that do not go together."""
    given = {"--only": request.only, "--contestants": request.contestants, "--rounds": request.rounds,
             "--compare": request.old_file, "--roofline": request.roofline_file}  # fmt: skip
    if kind == "gpu":
        given = {"--growth": request.growth, "--compare": request.old_file, "--roofline": request.roofline_file}
    if kind != "gpu" and request.max_seconds:
        raise UsageError("--max-seconds goes with --device gpu alone.")
    for name, value in given.items():
        if value and kind == "growth":
            raise UsageError(f"{name} does not go with --growth, which has sizes and contestants of its own.")
        if value and kind == "gpu":
            raise UsageError(f"{name} does not go with --device gpu.")


def _compared(old: Results, results: Results, request: Request) -> int:
    changes = compare(old, results)
    for change in changes:
        told = change.note
        if change.before and change.now:
            told = f"{ratio_text(change.before.median)} → {ratio_text(change.now.median)} × {YARDSTICK}"
        mark = "WORSE" if change.worse else "as it was" if change.now else "–"
        click.secho(
            streams.plain(f"{change.workload}, {change.contestant}: {told}  {mark}"), fg="red" if change.worse else None
        )
    if not changes:
        click.echo(
            f"nothing to compare: {streams.plain(request.old_file)} has no contestant of ours in common with this."
        )
    return int(any(change.worse for change in changes))


@contextlib.contextmanager
def _console() -> Iterator[tuple[Tell, Show]]:
    """What tells, on a terminal, what is going on, where it does not stay; and what shows paragraphs of Markdown."""
    from rich.markdown import Markdown

    console = streams.console()

    def show(*paragraphs: str) -> None:
        if any(paragraphs):
            console.print(Markdown("\n\n".join(paragraphs)))

    if console.is_terminal:
        with console.status("") as status:
            yield status.update, show
    else:
        console.width = 120
        yield lambda text: None, show


def show_list(device: str = "cpu") -> None:
    """Print the workloads and the contestants of this device, with what is missing for them."""
    contestants = CONTESTANTS if device == "cpu" else GPU_CONTESTANTS
    works = {w.name: f"{w.title}{'' if w.in_quick else '  [not in --quick]'}" for w in WORKLOADS.values()}
    works = works if device == "cpu" else dict(SECTIONS)
    width = max(map(len, (*works, *contestants)))
    click.secho("workloads", bold=True)
    for name, title in works.items():
        click.echo(f"  {name:<{width}}  {title}")
    click.secho("contestants", bold=True)
    for contestant in contestants.values():
        if contestant.missing:
            state = f"not installed: {', '.join(contestant.missing)}"
        else:
            state = ", ".join(f"{package} {version}" for package, version in contestant.versions.items())
        quick = "" if contestant.in_quick else "  [not in --quick]"
        click.echo(f"  {contestant.name:<{width}}  {state}{quick}")
        click.echo(f"  {'':<{width}}  {contestant.setting}")
