"""Functions as code that, pasted, makes them again: by the name they are imported under, or by their source."""

from __future__ import annotations

import ast
import dis
import functools
import importlib.machinery
import inspect
import sys
import sysconfig
import textwrap
import types
from collections.abc import Iterator, Mapping
from typing import Any

import numpy

from ..engine.tensor import Tensor
from .reproduction import Code, imports, literal, statements
from .subject import Subject, Values

LARGEST = 100_000
"""Arrays of more elements that a function reads from outside are to be put in by the reader."""

NODES = (ast.Lambda, ast.FunctionDef)


def check_as_code(subject: Subject, xs: tuple[Values, ...], options: Mapping[str, Any]) -> str:
    """A program that checks the subject's gradient at xs again and prints the report.

    What has no source that stands alone, nor a name to import, is `...` there, with a comment that says what it was.
    """
    sources = Sources({"np": numpy, "cg": _package(), "gradcheck": None, "report": None, "print": None})
    sources.names |= {f"x{position}": x for position, x in enumerate(xs, 1)}
    f = subject.code or sources.expression(subject.f, "f")
    given = {name: Code(sources.expression(function, name)) for name, function in subject.given.items()}
    call = statements("gradcheck", (Code(f), *xs), {**options, **given})
    before, _, last = call.rpartition("\ngradcheck(")
    call = f"{before}\nreport = gradcheck({last}" if before else f"report = {call}"
    definitions = [line for line in sources.lines if line not in ("import numpy as np", "import chalkgrad as cg")]
    head = [*imports("\n".join([*sources.lines, call])), "from chalkgrad.proof import gradcheck"]
    return "\n".join([*head, "", *definitions, *([""] if definitions else []), call, "print(report)"])


class Sources:
    """The definitions that some functions need, in order. names: what each name stands for in the code."""

    def __init__(self, names: Mapping[str, Any], within: tuple[Any, ...] = ()) -> None:
        self.names = dict(names)
        self.lines: list[str] = []
        self.within = within  # the functions whose definition is being written
        self.whole = True  # whether nothing is left to put in

    def expression(self, function: Any, name: str) -> str:
        """How to write the function: an importable name, or one that `lines` then define, `name` if it is free."""
        public = _public_name(function)
        if public:
            return public
        if hasattr(function, "made_by"):
            adapter, adapted, position = function.made_by
            return f"{self.expression(adapter, 'adapter')}({self.expression(adapted, 'function')})[{position}]"
        if isinstance(function, functools.partial):
            return self.partial(function, name)
        for known, value in self.names.items():
            if value is function and function is not None:
                return known
        imported = _importable(function, installed=True)
        if imported:
            return self.imported(function, *imported)
        tried = Sources(self.names, self.within)
        written = tried.define(function, name)
        imported = None if tried.whole else _importable(function)
        if imported:
            return self.imported(function, *imported)
        self.names, self.whole = tried.names, self.whole and tried.whole
        self.add(*tried.lines)
        return written

    def imported(self, function: Any, module: str, member: str) -> str:
        """Import it, by a name that is free."""
        name = self.free(member, function)
        self.names[name] = function
        self.add(f"from {module} import {member}" + ("" if name == member else f" as {name}"))
        return name

    def partial(self, function: functools.partial[Any], name: str) -> str:
        """functools.partial(f, …)."""
        self.add("import functools")
        parts = [self.expression(function.func, f"{name}_of_all")]
        parts += [self.value(value) for value in function.args]
        parts += [f"{key}={self.value(value)}" for key, value in function.keywords.items()]
        return f"functools.partial({', '.join(parts)})"

    def define(self, function: Any, name: str) -> str:
        """Write the function's definition, and what it reads, under a name that nothing else has."""
        found = None if any(function is outer for outer in self.within) else _source(function)
        if found is None:
            return self.put_in(self.free(name, function), function)
        inner, text = found[0] or name, found[1]
        used = dict(_used(function))
        name = self.free(inner, function)
        self.names[name] = function
        clash = name != inner or any(key in self.names and self.names[key] is not used[key] for key in used)
        if not clash and not function.__code__.co_freevars:
            self.within = (*self.within, function)
            for key, value in used.items():
                self.bind(key, value)
            self.add(text if found[0] else f"{inner} = {text}")
            return name
        # names that mean something else outside, or that belong to one call of an outer function
        inside = Sources({inner: function}, (*self.within, function))
        for key, value in used.items():
            inside.bind(key, value)
        inside.add(text if found[0] else f"{inner} = {text}", f"return {inner}")
        self.whole = self.whole and inside.whole
        self.add(f"def make_{name}():\n" + textwrap.indent("\n".join(inside.lines), "    "), f"{name} = make_{name}()")
        return name

    def bind(self, name: str, value: Any) -> None:
        """Write what a function means by a name."""
        if name in self.names and self.names[name] is value:
            return
        if isinstance(value, types.ModuleType):
            self.add(f"import {value.__name__}" + ("" if name == value.__name__ else f" as {name}"))
        elif _is_plain(value):
            self.add(f"{name} = {literal(value)}")
        elif callable(value):
            written = self.expression(value, name)
            if written != name:
                self.add(f"{name} = {written}")
        else:
            self.put_in(name, value)
        self.names[name] = value

    def value(self, value: Any) -> str:
        """A value as an expression."""
        return literal(value) if _is_plain(value) else self.expression(value, "value")

    def put_in(self, name: str, value: Any) -> str:
        """Say what the reader has to put in."""
        self.names[name], self.whole = value, False
        self.add(f"{name} = ...  # put in: {_described(value)}")
        return name

    def free(self, name: str, value: Any) -> str:
        """The name, or a longer one if it stands for something else."""
        while name in self.names and self.names[name] is not value:
            name += "_"
        return name

    def add(self, *lines: str) -> None:
        """Write lines, each once."""
        self.lines += [line for line in lines if line not in self.lines]


def _package() -> types.ModuleType:
    return sys.modules[__name__.split(".")[0]]


def _public_name(function: Any) -> str | None:
    """`np.sin`, `cg.exp`: a function of NumPy or of ours; None where it is neither."""
    name = str(getattr(function, "__name__", None) or getattr(function, "name", ""))
    if not name.isidentifier():
        return None
    places = {"cg": _package(), "np": numpy, "np.linalg": numpy.linalg}
    return next((f"{place}.{name}" for place, of in places.items() if getattr(of, name, None) is function), None)


def _importable(function: Any, installed: bool = False) -> tuple[str, str] | None:
    """(module, name) of what a module that can be imported defines; installed: only of packages, not of a reader's."""
    module, name = getattr(function, "__module__", None), str(getattr(function, "__qualname__", ""))
    if not module or module == "__main__" or not name.isidentifier():
        return None
    loaded = sys.modules.get(module)
    if loaded is None or getattr(loaded, name, None) is not function:
        return None
    file = str(getattr(loaded, "__file__", None) or "")
    places = tuple(sysconfig.get_path(place) for place in ("stdlib", "platstdlib", "purelib", "platlib"))
    if not file or file.startswith(places) or module.split(".")[0] == _package().__name__:
        return module, name
    there = not installed and importlib.machinery.PathFinder.find_spec(module.split(".")[0]) is not None
    return (module, name) if there else None


def _is_plain(value: Any, depth: int = 4) -> bool:
    """Whether `literal` writes the value in full."""
    if type(value) in (list, tuple, dict):
        parts = [*value, *value.values()] if type(value) is dict else value
        return depth > 0 and len(parts) <= LARGEST and all(_is_plain(part, depth - 1) for part in parts)
    if type(value) is Tensor:
        return value.device == "cpu" and value.size <= LARGEST
    if type(value) is numpy.ndarray or isinstance(value, numpy.generic):
        return value.dtype.kind in "biuf" and value.size <= LARGEST
    return type(value) in (bool, int, float, complex, str, bytes, type(None), slice) or isinstance(value, numpy.dtype)


@functools.lru_cache(maxsize=8)
def _nodes(text: str) -> list[Any]:
    return [node for node in ast.walk(ast.parse(text)) if isinstance(node, NODES)]


@functools.lru_cache(maxsize=8)
def _codes(text: str) -> list[types.CodeType]:
    """The code of all functions of a text."""
    found = [compile(text, "", "exec", dont_inherit=True)]
    for code in found:
        found += [constant for constant in code.co_consts if isinstance(constant, types.CodeType)]
    return found


def _source(function: Any) -> tuple[str, str] | None:
    """("", "lambda x: …") or (name, "def name(x): …"), where the source can be had; else None."""
    if not isinstance(function, types.FunctionType):
        return None
    try:
        text = "".join(inspect.findsource(function.__code__)[0])
        found = [node for node in _nodes(text) if _is_of(node, function.__code__)]
        # the text may have changed since; pytest compiles its files otherwise
        current = "@pytest_ar" in function.__globals__ or function.__code__ in _codes(text)
    except Exception:  # no text, none that can be parsed, or an error of what stands in for the files (doctest does)
        return None
    if not found or not current:
        return None
    node, lines = found[-1], text.splitlines()  # ast.walk goes inwards: the innermost
    defaults = _with_defaults(node, function)
    if defaults is None:
        return None
    if defaults is not node:  # written anew, since these names may mean something else where the code is pasted
        return getattr(node, "name", ""), ast.unparse(defaults)
    if isinstance(node, ast.Lambda):
        segment = ast.get_source_segment(text, node) or ""
        return "", f"({segment})" if "\n" in segment else segment
    return node.name, textwrap.dedent("\n".join(lines[node.lineno - 1 : node.end_lineno]))  # without its decorators


def _is_of(node: Any, code: types.CodeType) -> bool:
    """Whether this piece of source is the function's: it begins where its code does and holds all of it."""
    if isinstance(node, ast.FunctionDef):
        first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
        return node.name == code.co_name and first == code.co_firstlineno
    if code.co_name != "<lambda>" or node.lineno != code.co_firstlineno:
        return False
    spans: list[Any] = [p for p in code.co_positions() if None not in p and (p[0], p[2]) != (p[1], p[3])]
    start, end = (node.body.lineno, node.body.col_offset), (node.body.end_lineno, node.body.end_col_offset)
    return bool(spans) and all(start <= (p[0], p[2]) and (p[1], p[3]) <= end for p in spans)


def _with_defaults(node: Any, function: types.FunctionType) -> Any:
    """The node with the values of its defaults and without annotations; itself where it has neither; None: cannot."""
    arguments = node.args
    every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
    annotated = getattr(node, "returns", None) or any(a and a.annotation for a in every)
    values = [*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]
    if not annotated and not values:
        return node
    if not all(map(_is_plain, values)):
        return None
    copy: Any = ast.parse(ast.unparse(node)).body[0]
    copy = copy.value if isinstance(copy, ast.Expr) else copy
    assert isinstance(copy, NODES)
    if isinstance(copy, ast.FunctionDef):
        copy.returns, copy.decorator_list = None, []
    inside = copy.args
    for argument in [*inside.posonlyargs, *inside.args, *inside.kwonlyargs, inside.vararg, inside.kwarg]:
        if argument is not None:
            argument.annotation = None
    inside.defaults = [_expression(value) for value in function.__defaults__ or ()]
    named = function.__kwdefaults__ or {}
    inside.kw_defaults = [_expression(named[a.arg]) if a.arg in named else None for a in inside.kwonlyargs]
    return copy


def _expression(value: Any) -> ast.expr:
    return ast.parse(literal(value), mode="eval").body


def _used(function: types.FunctionType) -> Iterator[tuple[str, Any]]:
    """The names outside of it that a function reads, with what they are."""
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            value = cell.cell_contents
        except ValueError:  # not assigned yet
            continue
        if value is not function:
            yield name, value
    for name in dict.fromkeys(_global_names(function.__code__)):
        if name in function.__globals__ and function.__globals__[name] is not function:
            yield name, function.__globals__[name]


def _global_names(code: types.CodeType) -> Iterator[str]:
    """The global names of a function's code and of the functions within."""
    for instruction in dis.get_instructions(code):
        if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            yield str(instruction.argval)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _global_names(constant)


def _described(value: Any) -> str:
    """The kind of thing, its name, and where it is defined."""
    code = getattr(value, "__code__", None)
    name = getattr(value, "__qualname__", None) or getattr(value, "__name__", "")
    place = f" ({code.co_filename}, line {code.co_firstlineno})" if code is not None else ""
    return " ".join(f"{type(value).__name__} {name}{place}".split())
