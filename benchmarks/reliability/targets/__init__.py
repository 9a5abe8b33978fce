"""What is fuzzed: every `Target` that a module of this folder has at its top is found by itself."""

from __future__ import annotations

import importlib
import pkgutil
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy

from ....errors import unknown_name

TARGETS = __name__


def fine(value: Any, result: Any) -> str | None:
    """The check of a target that has none."""
    return None


@dataclass(frozen=True)
class Target:
    """What is fuzzed.

    seeds: makes the good inputs: str, bytes, or lists and dictionaries of such. mutate: makes of one of them another,
    by a generator's draws alone. run: what is tried, given the input and an empty folder. check: called with input and
    result where no error came; says what is silently wrong with the result. allowed: other errors than ours that are
    documented.
    """

    name: str
    seeds: Callable[[], Sequence[Any]]
    mutate: Callable[[numpy.random.Generator, Any], Any]
    run: Callable[[Any, Path], Any]
    check: Callable[[Any, Any], str | None] = fine
    allowed: tuple[type[BaseException], ...] = ()

    def input(self, seeds: Sequence[Any], seed: int, index: int) -> Any:
        """The input of this index: the same for the same seed."""
        rng = numpy.random.default_rng([seed, zlib.crc32(self.name.encode()), index])
        return self.mutate(rng, seeds[int(rng.integers(len(seeds)))])


def find_targets(package: str = TARGETS, only: Sequence[str] = ()) -> dict[str, Target]:
    """The targets at the top of a package's modules, by name; raises UsageError for an unknown one of `only`."""
    folder = importlib.import_module(package)
    modules = [importlib.import_module(f"{package}.{info.name}") for info in pkgutil.iter_modules(folder.__path__)]
    found = {value.name: value for module in modules for value in vars(module).values() if isinstance(value, Target)}
    for name in only:
        if name not in found:
            raise unknown_name("target", name, found)
    return {name: target for name, target in sorted(found.items()) if not only or name in only}
