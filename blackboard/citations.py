"""Which code is which documented equation: found in the docstrings, which cite the D numbers."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from ..engine.primitive import registry
from ..nn import layers
from ..nn.model import Model
from ..optim import updates
from . import worked
from .documented import documented


@dataclass(frozen=True)
class Code:
    """A place in the code that says which documented equation it is: what it is called, its file, its line."""

    name: str
    file: str
    line: int


@cache
def code_of(number: str) -> tuple[Code, ...]:
    """The primitives, updates, layers and methods whose docstrings cite this D number."""
    documented(number)
    found = {}
    for name, thing, docstring in _told():
        if re.search(rf"\b{number}\b", _spelled_out(docstring)):
            code = _place(name, thing)
            found[code.file, code.line] = code
    return tuple(sorted(found.values(), key=lambda code: (code.file, code.line)))


def _told() -> Iterator[tuple[str, Any, str]]:
    """What may cite a D number: name, code, docstring."""
    for name, primitive in registry.items():
        yield name, primitive.kernel, primitive.__doc__ or ""
    for update in updates.values():
        yield update.kernel.__name__, update.kernel, update.__doc__ or ""
    classes = [*(c for c in vars(layers).values() if isinstance(c, type)), Model]
    things: list[Any] = [*classes, worked.worked_model, worked.worked_example, worked.convolution_example]
    for thing in dict.fromkeys(things):
        yield thing.__name__, thing, thing.__doc__ or ""


def _spelled_out(docstring: str) -> str:
    """The docstring with `D4-D6` as D4, D5, D6."""

    def numbers(match: re.Match[str]) -> str:
        return ", ".join(f"D{n}" for n in range(int(match[1]), int(match[2]) + 1))

    return re.sub(r"\bD(\d+)[-–]D(\d+)\b", numbers, docstring)


def _place(name: str, thing: Callable[..., Any]) -> Code:
    root = Path(__file__).resolve().parent.parent
    file = Path(inspect.getsourcefile(thing) or "").resolve()
    return Code(name, file.relative_to(root).as_posix(), inspect.getsourcelines(thing)[1])
