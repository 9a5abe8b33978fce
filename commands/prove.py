"""`chalkgrad prove`: is each gradient the derivative? Of every primitive, or of a function in a file of yours."""

from __future__ import annotations

import contextlib
import math
import sys
import time
from collections.abc import Sequence
from typing import Any

import click
import numpy

from ..engine import streams
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
        _tell(proofs, seconds, options.device)
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
    """Prove each target and show it by a line; on a terminal below them a live one of what is proven now."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    console = streams.console()
    deadline = time.perf_counter() + (options.max_seconds or math.inf)
    width = max([len(target.name) for target in targets if isinstance(target, Primitive)], default=0)
    columns = (TextColumn("proving {task.fields[name]:<32}", markup=False), BarColumn(), MofNCompleteColumn())
    proofs = []
    if width:
        _say_row(console, ("primitive", "proven", "dtypes", "orders", "error/bound", "ulp/bound", "verdict"), width)
    with Progress(
        *columns, TimeElapsedColumn(), console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task("", total=len(targets), name="")
        for target in targets:
            bar.update(task, name=name_of(target))
            proof = _prove(target, options, deadline)
            proofs.append(proof)
            if proof.primitive:
                _say_row(console, proof.row, width, "red" if proof.failures else "green")
            else:
                _say_function(console, proof)
            bar.advance(task)
    return proofs


def _prove(target: Target, options: Options, deadline: float) -> Proof:
    if isinstance(target, Function):
        return Proof(target, [_prove_function(target, options, deadline)])
    return Proof(target, _prove_primitive(target, options, deadline))


def _prove_function(target: Function, options: Options, deadline: float) -> Report:
    from ..proof import gradcheck

    seconds = SECONDS_A_FUNCTION if math.isinf(deadline) else max(deadline - time.perf_counter(), 0.001)
    settings: dict[str, Any] = {"order": options.order or 1, "seed": options.seed, "max_seconds": seconds}
    settings |= {"kinks": options.kinks, "device": options.device}
    settings |= target.gradient
    try:
        return gradcheck(target.function, *target.inputs, name=target.name, **settings)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        if not target.gradient and _computes_with_arrays(target):
            raise no_gradient(target) from error
        raise failure(target.label, target.path, error) from error


def _computes_with_arrays(target: Function) -> bool:
    """Whether the function makes NumPy values of NumPy arrays, and so is none that the tape differentiates."""
    try:
        y = target.function(*(x if hasattr(x, "dtype") else numpy.asarray(x) for x in target.inputs))
    except KeyboardInterrupt:
        raise
    except BaseException:
        return False
    return isinstance(y, (float, numpy.ndarray, numpy.generic))


def _prove_primitive(primitive: Primitive, options: Options, deadline: float) -> list[Report]:
    from ..proof import registry as proofs

    dtypes = (options.dtype,) if options.dtype else ("float64", "float32")
    orders = (options.order,) if options.order else (1, 2)
    found: list[Report] = []
    if time.perf_counter() < deadline:
        for report in proofs.prove([primitive.name], dtypes, orders, options.seed, device=options.device):
            if time.perf_counter() > deadline:
                break
            if report.checks == (EQUATION_CHECK,) or (report.dtype in dtypes and report.order in orders):
                found.append(report)
        else:
            return found
    detail = f"not finished after {options.max_seconds:g} s of all together, so the rest is not proven"
    return [*found, Report(primitive.name, Verdict.UNDECIDED, detail, seed=options.seed)]


# Telling


def _say_row(console: Any, row: Sequence[str], width: int, style: str = "") -> None:
    name, proven, dtypes, orders, worst, ulp, verdict = row
    width = max(len("primitive"), width)
    line = f"{name:<{width}}  {proven:>7}  {dtypes:<15}  {orders:<6}  {worst:>11}  {ulp:>9}  {verdict}"
    _print(console, line, style)


def _print(console: Any, text: str, style: str = "") -> None:
    from rich.text import Text

    console.print(Text(text, style), soft_wrap=True)


def _say_function(console: Any, proof: Proof) -> None:
    (report,) = proof.reports
    assert isinstance(proof.target, Function)
    _print(console, str(report), "" if report.proven else "red")
    if report.verdict is Verdict.NOT_FINITE and proof.target.drawn:
        _print(console, f"  its inputs were drawn: set {proof.target.name}.inputs to points where it is defined.")


def _tell(proofs: Sequence[Proof], seconds: float, device: str) -> None:
    """The closing line, and in full what is not proven of primitives (a function's report stands above)."""
    failures = [report for proof in proofs for report in proof.failures]
    untold = [report for proof in proofs if isinstance(proof.target, Primitive) for report in proof.failures]
    where = "" if device == "cpu" else f", computed on {device}"
    line = f"{headline(proofs)}{where}, in {seconds:.1f} s{':' if untold else ''}"
    click.secho(line, fg="red" if failures else None, bold=True)
    for report in untold:
        click.echo(f"\n{streams.plain(report)}")
