"""`chalkgrad prove`: is each gradient the derivative? Of every primitive, or of a function in a file of yours."""

from __future__ import annotations

import contextlib
import importlib.util
import inspect
import json
import math
import os
import platform
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import numpy

from .. import __version__
from ..engine.errors import ChalkgradError, UsageError, unknown_name
from ..engine.files import replacing
from ..engine.primitive import Primitive, registry
from ..engine.tensor import Tensor
from ..proof.report import Report, Verdict
from .finding import first_line

EQUATION_CHECK = "the equation at 50 digits"
SECONDS_A_FUNCTION = 60.0


class FunctionError(ChalkgradError):
    """The reader's file or function failed; the message names the line."""


@dataclass(frozen=True)
class Options:
    """How to prove. order and dtype of None: both for a primitive; for a function 1, and the dtype of its inputs.

    shapes: of a function's arguments, to be drawn. max_seconds: for everything together.
    """

    order: int | None = None
    dtype: str | None = None
    seed: int = 0
    shapes: tuple[tuple[int, ...], ...] = ()
    max_seconds: float | None = None


@dataclass(frozen=True)
class Function:
    """A function of the reader's, with what its check needs; gradient: `vjp` or `gradient` as gradcheck takes them."""

    name: str
    label: str
    path: str
    function: Callable[..., Any]
    inputs: tuple[Any, ...]
    drawn: bool
    gradient: dict[str, Callable[..., Any]]


Target = Primitive | Function


@dataclass
class Proof:
    """What came of one primitive or function."""

    target: Target
    reports: list[Report] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The primitive's name, or the function's as it was asked for."""
        return name_of(self.target)

    @property
    def cases(self) -> list[Report]:
        """The reports of gradients: all but that of the equation, and that time is up."""
        return [report for report in self.reports if report.evaluations]

    @property
    def failures(self) -> list[Report]:
        """The reports that are not PROVEN."""
        return [report for report in self.reports if not report.proven]

    @property
    def worst(self) -> float | None:
        """The largest error in units of its bound; None where nothing was compared."""
        return max((ratio for report in self.reports if (ratio := error_to_bound(report)) is not None), default=None)

    @property
    def verdict(self) -> str:
        """`proven`, or how many of which other verdict."""
        from ..proof.registry import summary

        counts = summary(self.failures)
        return ", ".join(f"{count} {verdict}" for verdict, count in counts.items()) or str(Verdict.PROVEN)

    @property
    def row(self) -> tuple[str, ...]:
        """Name, proven of all, dtypes, orders, worst error relative to its bound, verdict: as they are shown."""
        dtypes = dict.fromkeys(report.dtype for report in self.cases)
        orders = dict.fromkeys(str(report.order) for report in self.cases)
        proven = f"{len(self.reports) - len(self.failures)}/{len(self.reports)}"
        worst = "–" if self.worst is None else f"{self.worst:.2g}"
        return self.name, proven, " ".join(dtypes) or "–", " ".join(orders) or "–", worst, self.verdict


def name_of(target: Target) -> str:
    """The primitive's name, or the function's as it was asked for."""
    return target.name if isinstance(target, Primitive) else target.label


def error_to_bound(report: Report) -> float | None:
    """The worst difference in units of what rounding explains; None where nothing was compared."""
    return None if report.worst is None else report.worst.absolute / report.worst.bound


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


# What is to be proven


def find_targets(what: Sequence[str], options: Options) -> list[Target]:
    """The primitives and functions that `what` names; raises as `prove` does."""
    modules: dict[str, ModuleType] = {}
    targets: list[Target] = [_find(name, options, modules) for name in what] if what else [*registry.values()]
    if options.shapes and not any(isinstance(target, Function) for target in targets):
        raise UsageError("--shape is for a function in a file of yours: a primitive has its own examples.")
    if any(isinstance(target, Primitive) for target in targets):
        _require_mpmath()
    return targets


def _find(what: str, options: Options, modules: dict[str, ModuleType]) -> Target:
    path, colon, name = what.rpartition(":")
    if not colon and what.endswith(".py"):
        raise UsageError(f"{what} names no function: write {what}:FUNCTION.")
    if not colon:
        if what not in registry:
            raise unknown_name("primitive", what, registry)
        return registry[what]
    full = os.path.realpath(path)
    if full not in modules:
        modules[full] = _load(path)
    found = _member(modules[full], path, name)
    return found if isinstance(found, Primitive) else _function(what, path, name, found, modules[full], options)


def _require_mpmath() -> None:
    from ..proof.dual import load_mpmath

    try:
        load_mpmath()
    except UsageError as error:
        raise ChalkgradError(str(error)) from error


def _load(path: str) -> ModuleType:
    """The reader's file as a module, its folder being importable as it is for `python FILE`."""
    if not Path(path).is_file():
        raise UsageError(f"there is no file {path!r}.")
    name = f"_chalkgrad_prove_{abs(hash(os.path.abspath(path)))}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UsageError(f"{path!r} is no Python file: its name should end in .py.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    sys.path.insert(0, os.path.dirname(os.path.abspath(path)))
    writes_bytecode, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise _failure(path, path, error) from error
    finally:
        sys.dont_write_bytecode = writes_bytecode
    return module


def _member(module: ModuleType, path: str, name: str) -> Callable[..., Any]:
    if not hasattr(module, name):
        known = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        if not known:
            raise UsageError(f"{path} has no function {name!r}, nor any other.")
        raise UsageError(f"in {path}: {unknown_name('function', name, known)}")
    found = getattr(module, name)
    if not callable(found):
        raise UsageError(f"{name} in {path} is no function but of type {type(found).__name__}.")
    return found  # type: ignore[no-any-return]


def _function(
    label: str, path: str, name: str, function: Callable[..., Any], module: ModuleType, options: Options
) -> Function:
    gradient = _gradient(function, module, name)
    if gradient and options.order == 2:
        raise UsageError(f"--order 2 is for chalkgrad functions; {label} is one of NumPy arrays.")
    try:
        given, drawn = _inputs(label, name, function, module, options)
    except UsageError:
        raise
    except Exception as error:
        raise _failure(label, path, error) from error
    inputs = tuple(_of_dtype(x, options.dtype) for x in given)
    return Function(name, label, path, function, inputs, drawn, gradient)


def _gradient(function: Callable[..., Any], module: ModuleType, name: str) -> dict[str, Callable[..., Any]]:
    """The gradient that comes with the function, by attribute or by the name beside it; {} where none does."""
    for kind in ("vjp", "gradient"):
        found = getattr(function, kind, None) or getattr(module, f"{name}_{kind}", None)
        if callable(found):
            return {kind: found}
    return {}


def _inputs(
    label: str, name: str, function: Callable[..., Any], module: ModuleType, options: Options
) -> tuple[Sequence[Any], bool]:
    """The arguments to check the function at, and whether any was drawn."""
    rng = numpy.random.default_rng(options.seed)
    if options.shapes:
        return [rng.standard_normal(shape) for shape in options.shapes], True
    given = getattr(function, "inputs", None)
    given = getattr(module, f"{name}_inputs", None) if given is None else given
    if given is not None:
        given = given() if callable(given) else given
        return (given if isinstance(given, (tuple, list)) else (given,)), False
    return _from_signature(label, name, function, rng)


def _from_signature(
    label: str, name: str, function: Callable[..., Any], rng: numpy.random.Generator
) -> tuple[list[Any], bool]:
    """The leading parameters' defaults where they are floating point; a number for one annotated `float`."""
    found: list[Any] = []
    drawn = False
    for parameter in _positional(function):
        if _is_floating(parameter.default):
            found.append(parameter.default)
        elif parameter.default is parameter.empty and parameter.annotation in (float, "float"):
            found.append(float(rng.standard_normal()))
            drawn = True
        elif parameter.default is parameter.empty:
            raise _no_inputs(label, name, parameter.name)
        else:
            break
    if not found:
        raise _no_inputs(label, name, None)
    return found, drawn


def _positional(function: Callable[..., Any]) -> list[inspect.Parameter]:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # written in C, without a signature
        return []
    return [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]


def _is_floating(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        value = numpy.asarray(value) if _is_regular(value) else None
    return isinstance(value, float) or getattr(getattr(value, "dtype", None), "kind", None) == "f"


def _is_regular(value: Any) -> bool:
    try:
        numpy.asarray(value)
    except ValueError:
        return False
    return True


def _no_inputs(label: str, name: str, parameter: str | None) -> UsageError:
    ways = {
        "--shape 3x4": "once for each argument: drawn with --seed",
        f"{name}.inputs = (x, y)": "in the file: a tuple, or a function that returns one",
        f"def {name}(x=np.ones(3)):": "a default of floats, or the annotation `x: float`",
    }
    width = max(map(len, ways))
    lines = "".join(f"\n  {way:<{width}}  {what}" for way, what in ways.items())
    of = f"the argument {parameter!r} of " if parameter else ""
    return UsageError(f"no input is told for {of}{label}. Write one of these:{lines}")


def _no_gradient(target: Function) -> UsageError:
    name = target.name
    return UsageError(
        f"{target.label} computes with NumPy, and no gradient stands beside it. Write one of these in the file:\n"
        f"  def {name}_vjp(gy, *inputs):    one gradient for each input, of the incoming gradient gy\n"
        f"  def {name}_gradient(*inputs):   the same where the value of {name} is one number\n"
        f"  {name}.vjp = … or {name}.gradient = …"
    )


def _of_dtype(x: Any, dtype: str | None) -> Any:
    if dtype is None or not _is_floating(x):
        return x
    return numpy.asarray(x.numpy() if isinstance(x, Tensor) else x).astype(dtype)


def _failure(label: str, path: str, error: BaseException) -> ChalkgradError:
    """The error of the reader's code in one line, with the last line of theirs that it passed."""
    what = f"{type(error).__name__}: {first_line(error)}"
    full = os.path.abspath(path)
    if isinstance(error, SyntaxError) and error.filename == full:
        line = (error.text or "").strip()
        return FunctionError(f"{path}, line {error.lineno}: {line}: {type(error).__name__}: {error.msg}")
    lines = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == full]
    if lines:
        return FunctionError(f"{path}, line {lines[-1].lineno}, in {lines[-1].name}: {lines[-1].line}: {what}")
    return FunctionError(f"{label}: {first_line(error) if isinstance(error, ChalkgradError) else what}")


# Proving


def _run(targets: Sequence[Target], options: Options) -> list[Proof]:
    """Prove each target and show it: a live line and then a table on a terminal, else a line for each."""
    from rich.console import Console

    console = Console()
    deadline = time.perf_counter() + (options.max_seconds or math.inf)
    if not console.is_terminal:
        proofs = []
        _say_line(("primitive", "proven", "dtypes", "orders", "error/bound", "verdict"), targets)
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
    settings |= target.gradient
    try:
        return gradcheck(target.function, *target.inputs, name=target.name, **settings)
    except (Exception, SystemExit) as error:
        if not target.gradient and _computes_with_arrays(target):
            raise _no_gradient(target) from error
        raise _failure(target.label, target.path, error) from error


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
    for title in ("\nproven", "\ndtypes", "\norders", "worst error\n/ its bound"):
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
        name, proven, dtypes, orders, worst, verdict = row
        width = max(len("primitive"), *map(len, names))
        click.echo(f"{name:<{width}}  {proven:>7}  {dtypes:<15}  {orders:<6}  {worst:>11}  {verdict}")


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


def headline(proofs: Sequence[Proof]) -> str:
    """How many proofs of what, and whether all hold."""
    reports = [report for proof in proofs for report in proof.reports]
    failures = sum(not report.proven for report in reports)
    primitives = sum(isinstance(proof.target, Primitive) for proof in proofs)
    kinds = ((primitives, "primitive"), (len(proofs) - primitives, "function"))
    subjects = " and ".join(_count(number, kind) for number, kind in kinds if number)
    held = "all proven" if not failures else f"{failures:,} NOT proven"
    return f"{_count(len(reports), 'proof')} of {subjects}, {'proven' if len(reports) == 1 and not failures else held}"


def _count(number: int, kind: str) -> str:
    return f"{number:,} {kind}{'' if number == 1 else 's'}"


def versions() -> dict[str, str]:
    """The versions that a proof was made with."""
    found = {"chalkgrad": __version__, "python": platform.python_version(), "numpy": numpy.__version__}
    with contextlib.suppress(metadata.PackageNotFoundError):
        found["mpmath"] = metadata.version("mpmath")
    return found


def as_json(proofs: Sequence[Proof], options: Options, seconds: float) -> str:
    """Everything as one JSON object; a number that is not finite is null."""
    from ..proof.registry import summary

    reports = [report for proof in proofs for report in proof.reports]
    contents = {
        "versions": versions(),
        "seed": options.seed,
        "seconds": round(seconds, 3),
        "proven": all(report.proven for report in reports),
        "verdicts": {str(verdict): count for verdict, count in summary(reports).items()},
        "reports": [{"of": proof.name, **report.to_dict()} for proof in proofs for report in proof.reports],
    }
    return json.dumps(_finite(contents), indent=1, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(one) for one in value]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    return value
