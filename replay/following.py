"""Which code runs while a function is recorded, as deep as it calls, and what it is given.

A recorded step is the step only as long as nothing changes that its Python code reads. So while it is recorded
Python's profiling hook (`sys.setprofile`) tells of each function that is entered. `surroundings` then looks up what
this code reads. A call into C of which nothing is known, a clock for instance, is noted as a reason not to replay.
"""

from __future__ import annotations

import builtins
import dis
import gc
import random
import sys
import threading
import types
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy

from ..engine.tensor import Tensor
from .traced import Library, Traced

PACKAGE = __name__.partition(".")[0]
ROOMS = (
    "errors",
    "names",
    "arguments",
    "hints",
    "equation",
    "engine",
    "replay",
    "ops",
    "optim",
    "distributed",
    "datasets.augmentation",
)
OWN = (
    *(f"{PACKAGE}.{room}" for room in ROOMS),
    f"{PACKAGE}.datasets.augmentation",
    "numpy",
    "cupy",
    "numba",
    "importlib",
)
"""Modules whose code is not followed: what the engine reads it watches itself, the others compute from arguments."""
LAYERS = (f"{PACKAGE}.nn",)
"""Modules whose objects are followed, and whose globals never change."""
HIDING = {"open", "input", "eval", "exec", "compile", "globals", "vars", "__import__", "breakpoint"}
NO_EFFECT = {*dir(builtins)} - HIDING
KNOWN_MODULES = ("math", "cmath", "operator", "_operator", "_functools", "itertools", "_collections", "_abc", "numpy")
"""Modules of C functions that compute from their arguments alone."""
DYNAMIC = {"getattr", "attrgetter", "methodcaller", "__dict__", "__getattribute__"}
LOCKS = (type(threading.Lock()), type(threading.RLock()))
STATEFUL = (numpy.random.Generator, numpy.random.RandomState, random.Random)
"""Generators of random numbers."""
SKIPPED = (Tensor, Traced, Library, numpy.ndarray, numpy.generic, bool, int, float, complex,
           str, bytes, type(None), list, tuple, dict, set, frozenset, type, types.ModuleType)  # fmt: skip


def belongs(module: str, roots: tuple[str, ...]) -> bool:
    """Whether a module is one of these or lies in one of them."""
    return any(module == root or module.startswith(f"{root}.") for root in roots)


@dataclass(frozen=True)
class Names:
    """What a piece of code names: globals, attributes (and strings that may be one), modules that it imports.

    dynamic: it reaches attributes in a way that does not name them.
    """

    globals: tuple[str, ...]
    attributes: frozenset[str]
    imports: tuple[str, ...]
    dynamic: bool


@lru_cache(maxsize=1024)  # a notebook, say, makes new code without end
def names_of(code: types.CodeType) -> Names:
    """The names in a code object, without those of the functions in it."""
    found: dict[str, set[str]] = {"GLOBAL": set(), "ATTR": set(), "IMPORT": set()}
    for instruction in dis.get_instructions(code):
        kind = instruction.opname
        if kind in ("LOAD_GLOBAL", "LOAD_NAME", "STORE_GLOBAL", "DELETE_GLOBAL"):
            found["GLOBAL"].add(instruction.argval)
        elif kind in ("LOAD_ATTR", "LOAD_METHOD", "STORE_ATTR", "DELETE_ATTR", "IMPORT_FROM", "LOAD_SUPER_ATTR"):
            found["ATTR"].add(instruction.argval)
        elif kind == "IMPORT_NAME":
            found["IMPORT"].add(instruction.argval)
    constants = [c for constant in code.co_consts for c in (constant if isinstance(constant, tuple) else (constant,))]
    texts = {text for text in constants if isinstance(text, str) and text.isidentifier()}
    dynamic = bool(DYNAMIC & (found["GLOBAL"] | found["ATTR"] | texts))
    return Names(
        tuple(sorted(found["GLOBAL"])), frozenset(found["ATTR"] | texts), tuple(sorted(found["IMPORT"])), dynamic
    )


class Following:
    """The code that runs within `with`, in this thread.

    codes: the code of the user's functions (and of what these call), each with its globals and with what the variables
    of its closure stood for, when it was entered. layers: the code of layers, models and losses. objects: what both
    were given that is neither array nor container, with whether a function of the user's was given it.
    generators: those of random numbers among these. reason: why this cannot be replayed; None where it can.
    """

    def __init__(self, function: Any) -> None:
        self.function = function
        self.codes: dict[types.CodeType, tuple[dict[str, Any], set[tuple[int, ...]]]] = {}
        self.layers: set[types.CodeType] = set()
        self.objects: dict[int, tuple[Any, bool]] = {}
        self.generators: list[Any] = []
        self.reason: str | None = None
        self._before: Any = None
        self._kinds: dict[types.CodeType, str] = {}
        self._callers: dict[types.FrameType, str] = {}  # whose code the standard library's frames stand for

    def __enter__(self) -> Following:
        self._collecting = gc.isenabled()
        gc.disable()  # what it calls when it collects is no part of the function
        self._before = sys.getprofile()
        if self._before is not None and not callable(self._before):
            self.reason = "a profiler is at work, and only one can look on"
        else:
            sys.setprofile(self._event)
        return self

    def __exit__(self, *error: object) -> None:
        if sys.getprofile() == self._event:
            sys.setprofile(self._before)
        self._callers.clear()
        if self._collecting:
            gc.enable()

    def _event(self, frame: types.FrameType, event: str, argument: Any) -> None:
        if self._before is not None:
            self._before(frame, event, argument)
        kind = self._kinds.get(frame.f_code)
        if kind == "own":
            return
        if event == "call":
            kind = self._kind(frame)
            if kind != "own":
                self._entered(frame, kind == "user")
        elif event == "return":
            self._callers.pop(frame, None)
        elif event == "c_call" and self.reason is None and not _is_known(argument) and self._kind(frame) == "user":
            name = getattr(argument, "__qualname__", repr(argument))
            module = getattr(argument, "__module__", None)
            self.reason = (
                f"{f'{module}.' if module else ''}{name} is called, which may give something else in each call"
                f" ({frame.f_code.co_filename.rpartition('/')[2]}:{frame.f_lineno})"
            )

    def _kind(self, frame: types.FrameType) -> str:
        """Whose code it is: "own", "layers" or "user". The standard library counts as the one who calls it."""
        kind = self._kinds.get(frame.f_code)
        if kind is None:
            kind = self._kinds[frame.f_code] = _kind_of(frame.f_globals.get("__name__") or "")
        if kind == "library":
            kind = self._callers.get(frame)
            if kind is None:
                kind = self._callers[frame] = "user" if frame.f_back is None else self._kind(frame.f_back)
        return kind

    def _entered(self, frame: types.FrameType, by_user: bool) -> None:
        code = frame.f_code
        if by_user:
            inside = frame.f_locals if code.co_freevars or code.co_argcount or code.co_kwonlyargcount else {}
            closed = tuple(id(inside.get(name)) for name in code.co_freevars)
            self.codes.setdefault(code, (frame.f_globals, set()))[1].add(closed)
        else:
            self.layers.add(code)
            inside = frame.f_locals if code.co_argcount else {}
        count = code.co_argcount + code.co_kwonlyargcount
        for name in code.co_varnames[:count]:
            value = inside.get(name)
            if by_user and isinstance(value, STATEFUL):
                self.generators.append(value)
            elif not isinstance(value, SKIPPED):
                key = id(value)
                self.objects[key] = value, by_user or self.objects.get(key, (None, False))[1]

    def seen(self) -> Iterator[tuple[Any, bool]]:
        """The objects that are there still, now that the function has returned; the others it made itself."""
        module = getattr(self.function, "__module__", None) or ""
        yield self.function, not belongs(module, LAYERS)
        entries, self.objects = list(self.objects.values()), {}
        while entries:
            value, by_user = entries.pop()
            if sys.getrefcount(value) > 2:
                yield value, by_user


def _kind_of(module: str) -> str:
    if belongs(module, OWN) or module.startswith("_frozen_importlib"):
        return "own"
    if belongs(module, LAYERS):
        return "layers"
    return "library" if module.partition(".")[0] in sys.stdlib_module_names else "user"


def _is_known(function: Any) -> bool:
    """Whether a C function computes from its arguments and what it is a method of, and that can be followed."""
    owner, module = getattr(function, "__self__", None), getattr(function, "__module__", None)
    if owner is not None and not isinstance(owner, types.ModuleType):
        kind = owner if isinstance(owner, type) else type(owner)
        return belongs(kind.__module__, ("builtins", "numpy", "collections", PACKAGE)) or any(
            base in (*SKIPPED, *LOCKS) for base in kind.__mro__
        )
    if module is None:  # a method of a type, by its descriptor
        return True
    if module == "builtins":
        return function.__name__ in NO_EFFECT
    return belongs(module, KNOWN_MODULES) and not belongs(module, ("numpy.random",))
