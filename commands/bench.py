"""`chalkgrad bench`: how fast, beside hand-written NumPy, the peers that are installed, and the machine's limits."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click

from ..benchmarks.gpu import report
from ..benchmarks.gpu.contestants import GPU_CONTESTANTS
from ..benchmarks.gpu.sections import SECTIONS, find_sections, measure_gpu
from ..benchmarks.peers import write
from ..benchmarks.speed import table
from ..benchmarks.speed.compare import compare
from ..benchmarks.speed.contestants import CONTESTANTS, find_contestants
from ..benchmarks.speed.growth import exponent, medians
from ..benchmarks.speed.measure import measure_growth, measure_speed
from ..benchmarks.speed.results import read, seconds_text
from ..benchmarks.speed.runner import LIMIT, OK, QUICK_LIMIT, QUICK_ROUNDS, ROUNDS, Plan
from ..benchmarks.speed.workloads import WORKLOADS, find_workloads
from ..engine.files import replacing
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
    json_file: str | None = None
    svg_file: str | None = None
    old_file: str | None = None


def bench(request: Request) -> int:
    """Run, show and write; returns the exit code: 1 where something became slower than in the old run."""
    if request.growth:
        _refuse_with_growth(request)
    if request.json_file == "":
        name = "growth" if request.growth else "speed" if request.device == "cpu" else "gpu"
        request = replace(request, json_file=str(RESULTS / f"{name}.json"))
    if request.device != "cpu":
        return _bench_gpu(request)
    workloads = find_workloads(request.only, request.quick)
    contestants = find_contestants(request.contestants, request.quick)
    old = read(request.old_file) if request.old_file else None
    if request.svg_file:
        _check_matplotlib()
    with contextlib.ExitStack() as stack:  # paths that cannot be written to are refused before the work, not after it
        names = [name for name in (request.json_file, request.svg_file) if name]
        files = {name: stack.enter_context(replacing(name)) for name in names}
        console, tell = stack.enter_context(_telling())
        if request.growth:
            results = measure_growth(request.quick, tell)
        else:
            plan = _plan(request)
            results = measure_speed(workloads, contestants, plan, tell, lambda record: table.show(console, record))
        if request.growth:
            _show_growth(results)
        if request.json_file:
            write(str(files[request.json_file]), results)
        if request.svg_file:
            from ..benchmarks.speed.pictures import bars, curves

            files[request.svg_file].write_bytes((curves if request.growth else bars)(results))
    if old is None:
        return 0
    changes = compare(old, results)
    if not changes:
        click.echo(
            f"nothing to compare: {request.old_file} has no workload and contestant of ours in common with this."
        )
    table.show_changes(console, changes)
    return int(any(change.worse for change in changes))


def _plan(request: Request) -> Plan:
    rounds = request.rounds or (QUICK_ROUNDS if request.quick else ROUNDS)
    return Plan(request.quick, rounds, request.seed, limit=QUICK_LIMIT if request.quick else LIMIT)


def _bench_gpu(request: Request) -> int:
    """Run on a GPU; returns the exit code: 1 where a section failed."""
    for name, value in {"--growth": request.growth, "--compare": request.old_file}.items():
        if value:
            raise UsageError(f"{name} does not go with --device gpu.")
    sections = find_sections(request.only)
    contestants = find_contestants(request.contestants, request.quick, GPU_CONTESTANTS)
    if request.svg_file:
        _check_matplotlib()
        if "crossover" not in sections:
            raise UsageError("--svg draws the crossover: with --only, ask for that too.")
    plan = replace(_plan(request), limit=QUICK_LIMIT)

    def show(name: str, section: Any) -> None:
        click.secho(SECTIONS[name], bold=True)
        for line in report.lines(name, section):
            click.echo(f"  {line}")

    with contextlib.ExitStack() as stack:
        file = stack.enter_context(replacing(request.json_file)) if request.json_file else None
        _, tell = stack.enter_context(_telling())
        results = measure_gpu(request.device, sections, contestants, plan, tell, show)
        if file:
            write(str(file), results)
    if request.svg_file and results["sections"]["crossover"]["status"] == OK:
        from ..benchmarks.gpu.pictures import speedup

        with replacing(request.svg_file) as temporary:
            temporary.write_bytes(speedup(results))
    return int(any(section["status"] != OK for section in results["sections"].values()))


def _refuse_with_growth(request: Request) -> None:
    given = {
        "--only": request.only, "--contestants": request.contestants, "--rounds": request.rounds,
        "--compare": request.old_file,
    }  # fmt: skip
    for name, value in given.items():
        if value:
            raise UsageError(f"{name} does not go with --growth, which has sizes and contestants of its own.")


def _check_matplotlib() -> None:
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise missing_extra("--svg", "matplotlib", "plot") from None


@contextlib.contextmanager
def _telling() -> Iterator[tuple[Any, Any]]:
    """A console, and a function that shows what is going on: on a terminal, where it does not stay."""
    from rich.console import Console

    console = Console()
    if not console.is_terminal:
        console.width = 120
        yield console, lambda text: None
        return
    with console.status("") as status:
        yield console, status.update


def _show_growth(results: dict[str, Any]) -> None:
    for sweep in results["sweeps"].values():
        click.secho(sweep["title"], bold=True)
        for name in sweep["lines"]:
            sizes, values = medians(sweep, name)
            if not sizes:
                click.echo(f"  {name:<9} not measured: {sweep['lines'][name]['reasons'][0]}")
                continue
            power = exponent(sizes, values)
            fit = "" if power is None else f", exponent {power:.2f}"
            ends = f"{seconds_text(values[0])} at {sizes[0]:,}, {seconds_text(values[-1])} at {sizes[-1]:,}"
            click.echo(f"  {name:<9} {ends}{fit}")


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
