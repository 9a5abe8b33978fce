"""`chalkgrad prove`: is each gradient the derivative? Of every primitive, or of a function in a file of yours."""

from __future__ import annotations

import contextlib
import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import click
import numpy

from ..engine.files import replacing
from ..engine.primitive import Primitive
from ..proof.report import Report, Verdict
from .prove_results import EQUATION_CHECK, Proof, as_json, headline, name_of, versions
from .prove_targets import Function, Options, Target, failure, find_targets, no_gradient

SECONDS_A_FUNCTION = 60.0


def prove(what: Sequence[str], options: Options, json_file: str | None = None, html_file: str | None = None) -> int:
    """Prove all of `what` (every primitive where it is empty) and say so; returns 1 if not all is proven, else 0.

    Raises UsageError for a name that is none and for a function whose inputs or gradient are not told,
    FunctionError where the reader's own code fails, DataError where a file cannot be written.
    """
    started = time.perf_counter()
    with contextlib.ExitStack() as stack:
        stdout = sys.stdout
        stack.callback(sys.path.__setitem__, slice(None), list(sys.path))
        if json_file == "-":  # the JSON alone goes there, whatever the reader's function prints
            stack.enter_context(contextlib.redirect_stdout(sys.stderr))
        files = {name: stack.enter_context(replacing(name)) for name in (json_file, html_file) if name and name != "-"}
        targets = find_targets(what, options)
        proofs = _run(targets, options)
        seconds = time.perf_counter() - started
        _tell(proofs, seconds)
        if json_file is not None:
            text = as_json(proofs, options, seconds)
            if json_file == "-":
                click.echo(text, file=stdout)
            else:
                files[json_file].write_text(text + "\n", encoding="utf-8")
        if html_file is not None:
            from .prove_page import page

            files[html_file].write_text(page(proofs, versions(), options.seed, seconds), encoding="utf-8")
    return int(any(proof.failures for proof in proofs))


# Proving


def _run(targets: Sequence[Target], options: Options) -> list[Proof]:
    """Prove each target and show it: a live line and then a table on a terminal, else a line for each."""
    from rich.console import Console

    console = Console()
    deadline = time.perf_counter() + (options.max_seconds or math.inf)
    if not console.is_terminal:
        proofs = []
        _say_line(("primitive", "proven", "dtypes", "orders", "error/bound", "ulp/bound", "verdict"), targets)
        for target in targets:
            proofs.append(_prove(target, options, deadline))
            _say_line(proofs[-1].row, targets) if isinstance(target, Primitive) else _say_function(proofs[-1])
        return proofs
    with _live_line(console, len(targets)) as show:
        proofs = [_prove(target, options, deadline) for target in show(targets)]
    if any(isinstance(target, Primitive) for target in targets):
        _print_table(console, proofs)
    for proof in proofs:
        if isinstance(proof.target, Function):
            _say_function(proof)
    return proofs


def _prove(target: Target, options: Options, deadline: float) -> Proof:
    if isinstance(target, Function):
        return Proof(target, [_prove_function(target, options, deadline)])
    return Proof(target, _prove_primitive(target, options, deadline))


def _prove_function(target: Function, options: Options, deadline: float) -> Report:
    from ..proof import gradcheck

    seconds = SECONDS_A_FUNCTION if math.isinf(deadline) else max(deadline - time.perf_counter(), 0.001)
    settings: dict[str, Any] = {"order": options.order or 1, "seed": options.seed, "max_seconds": seconds}
    settings["kinks"] = options.kinks
    settings |= target.gradient
    try:
        return gradcheck(target.function, *target.inputs, name=target.name, **settings)
    except (Exception, SystemExit) as error:
        if not target.gradient and _computes_with_arrays(target):
            raise no_gradient(target) from error
        raise failure(target.label, target.path, error) from error


def _computes_with_arrays(target: Function) -> bool:
    """Whether the function makes NumPy values of NumPy arrays, and so is none that the tape differentiates."""
    try:
        y = target.function(*(x if hasattr(x, "dtype") else numpy.asarray(x) for x in target.inputs))
    except (Exception, SystemExit):
        return False
    return isinstance(y, (float, numpy.ndarray, numpy.generic))


def _prove_primitive(primitive: Primitive, options: Options, deadline: float) -> list[Report]:
    from ..proof import registry as proofs

    dtypes = (options.dtype,) if options.dtype else ("float64", "float32")
    orders = (options.order,) if options.order else (1, 2)
    found: list[Report] = []
    if time.perf_counter() < deadline:
        for report in proofs.prove([primitive.name], dtypes, orders, options.seed):
            if time.perf_counter() > deadline:
                break
            if report.checks == (EQUATION_CHECK,) or (report.dtype in dtypes and report.order in orders):
                found.append(report)
        else:
            return found
    detail = f"not finished after {options.max_seconds:g} s of all together, so the rest is not proven"
    return [*found, Report(primitive.name, Verdict.UNDECIDED, detail, seed=options.seed)]


# Telling


@contextlib.contextmanager
def _live_line(console: Any, total: int) -> Iterator[Callable[[Sequence[Target]], Iterator[Target]]]:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("proving {task.fields[name]:<32}", markup=False), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), console=console, transient=True) as bar:
        task = bar.add_task("", total=total, name="")

        def show(targets: Sequence[Target]) -> Iterator[Target]:
            for target in targets:
                bar.update(task, name=name_of(target))
                yield target
                bar.advance(task)

        yield show


def _print_table(console: Any, proofs: Sequence[Proof]) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("\nprimitive")
    for title in ("\nproven", "\ndtypes", "\norders", "worst error\n/ its bound", "worst ulp\n/ bound"):
        table.add_column(title, justify="left" if "dtypes" in title else "right")
    table.add_column("\nverdict")
    for proof in proofs:
        if isinstance(proof.target, Primitive):
            style = "bold red" if proof.failures else "green"
            table.add_row(*map(Text, proof.row[:-1]), Text(proof.row[-1], style=style))
    console.print(table)


def _say_line(row: Sequence[str], targets: Sequence[Target]) -> None:
    """One line of the plain table; nothing where no primitive is proven."""
    names = [target.name for target in targets if isinstance(target, Primitive)]
    if names:
        name, proven, dtypes, orders, worst, ulp, verdict = row
        width = max(len("primitive"), *map(len, names))
        click.echo(f"{name:<{width}}  {proven:>7}  {dtypes:<15}  {orders:<6}  {worst:>11}  {ulp:>9}  {verdict}")


def _say_function(proof: Proof) -> None:
    (report,) = proof.reports
    assert isinstance(proof.target, Function)
    click.echo(click.style(str(report), fg=None if report.proven else "red"))
    if report.verdict is Verdict.NOT_FINITE and proof.target.drawn:
        click.echo(f"  its inputs were drawn: set {proof.target.name}.inputs to points where it is defined.")


def _tell(proofs: Sequence[Proof], seconds: float) -> None:
    """The closing line, and in full what is not proven of primitives (a function's report stands above)."""
    failures = [report for proof in proofs for report in proof.failures]
    untold = [report for proof in proofs if isinstance(proof.target, Primitive) for report in proof.failures]
    line = f"{headline(proofs)}, in {seconds:.1f} s{':' if untold else ''}"
    click.secho(line, fg="red" if failures else None, bold=True)
    for report in untold:
        click.echo(f"\n{report}")
