"""CUDA sources: which there are, and how they become modules of a device: at first use, or before it in the background.

What CuPy compiles it keeps on disk (CUPY_CACHE_DIR), so that a machine compiles each source once. Beside that lies an
empty file for each module, so that one can tell what is still to be compiled.
"""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import os
import re
import threading
from collections import deque
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy

from .. import backend, forked

TYPES = {
    "float32": "float", "float64": "double", "int64": "long long", "int32": "int", "uint8": "unsigned char",
    "int8": "signed char", "int16": "short", "uint16": "unsigned short", "uint32": "unsigned", "bool": "bool",
}  # fmt: skip
"""What a dtype is called in CUDA C."""
REAL = "real"
"""Stands in a declaration for the dtype of a model."""
INCLUDE = re.compile(r'^#include "(.+)"$', re.MULTILINE)
background = min(4, os.cpu_count() or 1)
"""Threads that compile in the background; with 0 everything is compiled when it is first used."""

_declared: list[tuple[Path, bool, tuple[Mapping[str, str], ...]]] = []


def source(path: Path, *variants: Mapping[str, str], contracted: bool = True) -> Path:
    """Declare a .cu file, so that it is compiled ahead; returns its path. Nothing is read or compiled by that.

    variants: the macros that it is launched with, each a dtype, or REAL; {"REAL": REAL} by default. contracted: as it
    is launched.
    """
    _declared.append((path, contracted, variants or ({"REAL": REAL},)))
    return path


def text_of(path: Path) -> str:
    """The text of a source, with the files beside it that it includes in their place."""
    return INCLUDE.sub(lambda found: text_of(path.with_name(found[1])), path.read_text(encoding="utf-8"))


def options_of(contracted: bool, macros: Mapping[str, Any]) -> tuple[str, ...]:
    """The compiler's options. contracted: a product and a sum may be rounded once."""
    given = [f"-D{k}={TYPES[v.name] if isinstance(v, numpy.dtype) else v}" for k, v in macros.items()]
    return ("-std=c++17", f"--fmad={str(contracted).lower()}", *given)


def declared(dtype: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Code and options of the declared sources, for a model of a dtype; the shortest first, as the soonest done."""
    texts = [(text_of(path), contracted, variants) for path, contracted, variants in _declared]
    for text, contracted, variants in sorted(texts, key=lambda each: len(each[0])):
        for macros in variants:
            kinds = {name: numpy.dtype(dtype if kind == REAL else kind) for name, kind in macros.items()}
            yield text, options_of(contracted, kinds)


class Pending:
    """A module that is compiled, or will be."""

    def __init__(self) -> None:
        self.module: Any = None
        self.error: BaseException | None = None
        self.done = threading.Event()

    def result(self) -> Any:
        """The module, once it is there. Raises what the compiler did."""
        self.done.wait()
        if self.error is not None:
            raise self.error
        return self.module


class Modules:
    """The compiled sources of one device."""

    def __init__(self, number: int) -> None:
        self.number, self.xp = number, backend.load_cupy()
        self.architecture = f"sm_{self.xp.cuda.Device(number).compute_capability}"
        self.new = self._closes = False
        self._made: dict[Any, Pending] = {}
        self._waiting: deque[Any] = deque()
        self._threads: list[threading.Thread] = []
        self._lock = forked.lock()

    def missing(self) -> tuple[int, int]:
        """How many modules of the declared sources this machine has not compiled yet, and how many there are."""
        every = {each for dtype in ("float32", "float64") for each in declared(dtype)}
        return sum(not self.is_kept(*each) for each in every), len(every)

    def get(self, code: str, options: tuple[str, ...]) -> Any:
        """The module: compiled now, unless another thread has it, or is at it. Raises what the compiler does."""
        key = code, options
        with self._lock:
            found = self._made.get(key)
            mine = found is None or key in self._waiting
            if mine:
                if found is None:
                    found = self._made[key] = Pending()
                else:
                    self._waiting.remove(key)
        assert found is not None
        if mine:
            self._compile(key, found)
        try:
            return found.result()
        except BaseException:
            with self._lock:
                self._made.pop(key, None)  # whoever asks again, tries again
            raise

    def soon(self, code: str, options: tuple[str, ...], first: bool = True) -> None:
        """Compile it in the background, before what else waits or after it."""
        key = code, options
        with self._lock:
            if not background or key in self._made:
                return
            self._made[key] = Pending()
            (self._waiting.appendleft if first else self._waiting.append)(key)
            if not self._closes:
                self._closes = True
                atexit.register(self.close)
            if len(self._threads) < background:
                thread = threading.Thread(target=self._work, daemon=True, name=f"compiling for gpu:{self.number}")
                self._threads.append(thread)
                thread.start()

    def ahead(self, dtype: str) -> None:
        """Compile the declared sources in the background, for a model of a dtype."""
        for code, options in declared(dtype):
            self.new = self.new or not self.is_kept(code, options)
            self.soon(code, options, first=False)

    def finish(self) -> None:
        """Wait for the background. Raises what a compiler did."""
        for pending in tuple(self._made.values()):
            pending.result()

    @property
    def busy(self) -> bool:
        """Whether the background compiles something that this machine has not compiled before."""
        return self.new and any(not pending.done.is_set() for pending in tuple(self._made.values()))

    def is_kept(self, code: str, options: tuple[str, ...]) -> bool:
        """Whether this machine has compiled it before, as far as one can tell."""
        mark = self._mark((code, options))
        return mark is not None and mark.exists()

    def close(self) -> None:
        """Compile nothing further in the background, and wait for what is under way: CUDA is about to end."""
        with self._lock:
            for key in self._waiting:
                del self._made[key]
            self._waiting.clear()
        for thread in tuple(self._threads):
            thread.join()

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    self._threads.remove(threading.current_thread())
                    return
                key = self._waiting.popleft()
                pending = self._made[key]
            self._compile(key, pending)

    def _compile(self, key: Any, pending: Pending) -> None:
        """Compile it; an error is raised by whoever asks for the module."""
        code, options = key
        try:
            with self.xp.cuda.Device(self.number):
                module = self.xp.RawModule(code=code, options=options)
                module.compile()
            if mark := self._mark(key):
                with contextlib.suppress(OSError):  # a cache is an offer
                    mark.parent.mkdir(parents=True, exist_ok=True)
                    mark.touch()
            pending.module = module
        except BaseException as error:
            pending.error = error
        pending.done.set()

    def _mark(self, key: Any) -> Path | None:
        """The file that says that it was compiled, beside CuPy's own; None where CuPy keeps nothing on disk."""
        if os.environ.get("CUPY_CACHE_IN_MEMORY") == "1":
            return None
        by = self.architecture, self.xp.__version__, self.xp.cuda.runtime.runtimeGetVersion()
        name = hashlib.sha256(repr((key, by)).encode()).hexdigest()[:32]
        folder = os.environ.get("CUPY_CACHE_DIR") or os.path.expanduser("~/.cupy/kernel_cache")
        return Path(folder, f"chalkgrad-{name}")
