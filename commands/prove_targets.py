"""What `chalkgrad prove` is to prove: primitives by name, and functions in files with their inputs and gradients."""

from __future__ import annotations

import contextlib
import importlib.util
import inspect
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy

from ..engine.primitive import Primitive, registry
from ..engine.tensor import Tensor
from ..errors import ChalkgradError, UsageError, first_line, unknown_name


class FunctionError(ChalkgradError):
    """The reader's file or function failed; the message names the line."""


@dataclass(frozen=True)
class Options:
    """How to prove. order and dtype of None: both for a primitive; for a function 1, and the dtype of its inputs.

    shapes: of a function's arguments, to be drawn. kinks: of functions, as gradcheck takes it.
    max_seconds: for everything together. device: where what is proven computes.
    """

    order: int | None = None
    dtype: str | None = None
    seed: int = 0
    shapes: tuple[tuple[int, ...], ...] = ()
    max_seconds: float | None = None
    kinks: str = "report"
    device: str = "cpu"


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


def find_targets(what: Sequence[str], options: Options) -> list[Target]:
    """The primitives and functions that `what` names; raises as `prove` does."""
    modules: dict[str, ModuleType] = {}
    targets: list[Target] = [_find(name, options, modules) for name in what] if what else [*registry.values()]
    given = [
        name for name, is_given in (("--shape", options.shapes), ("--kinks", options.kinks == "accept")) if is_given
    ]
    if given and not any(isinstance(target, Function) for target in targets):
        raise UsageError(f"{given[0]} is for a function in a file of yours: a primitive has its own examples.")
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
    with running(what, path):
        found = _member(modules[full], path, name)
    return found if isinstance(found, Primitive) else _function(what, path, name, found, modules[full], options)


def _require_mpmath() -> None:
    from ..equation.dual import load_mpmath

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
        with running(path, path):
            spec.loader.exec_module(module)
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
    with running(label, path):
        gradient = _gradient(function, module, name)
        if gradient and options.order == 2:
            raise UsageError(f"--order 2 is for chalkgrad functions; {label} is one of NumPy arrays.")
        if gradient and options.device != "cpu":
            raise UsageError(f"--device is for chalkgrad functions; {label} is one of NumPy arrays.")
        given, drawn = _inputs(label, name, function, module, options)
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


def no_gradient(target: Function) -> UsageError:
    """What to say of a function whose gradient neither the tape nor the file gives."""
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


@contextlib.contextmanager
def running(label: str, path: str) -> Iterator[None]:
    """Run code of the reader's file: whatever it raises, but Ctrl-C, becomes an error of ours in one line."""
    try:
        yield
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        if isinstance(error, UsageError) and not _passed(path, error):
            raise
        raise failure(label, path, error) from error


def _passed(path: str, error: BaseException) -> list[traceback.FrameSummary]:
    """The lines of the reader's file that an error came by."""
    return [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == os.path.abspath(path)]


def failure(label: str, path: str, error: BaseException) -> ChalkgradError:
    """The error of the reader's code in one line, with the last line of theirs that it passed."""
    what = f"{type(error).__name__}: {first_line(error)}"
    full = os.path.abspath(path)
    if isinstance(error, SyntaxError) and error.filename == full and error.lineno:
        line = (error.text or "").strip()
        return FunctionError(f"{path}, line {error.lineno}: {line}: {type(error).__name__}: {error.msg}")
    if lines := _passed(path, error):
        return FunctionError(f"{path}, line {lines[-1].lineno}, in {lines[-1].name}: {lines[-1].line}: {what}")
    return FunctionError(f"{label}: {first_line(error) if isinstance(error, ChalkgradError) else what}")
