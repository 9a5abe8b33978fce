"""Equations: texts are read, or refused."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from numpy.random import Generator

from ....engine.primitive import registry
from ....equation.functions import FUNCTIONS
from ....equation.language import read_equation
from ..disturbing import TEXTS, disturbed_text, one_of
from . import Target

SIGNS = """+ - * / // ** & | ^ ~ < <= > >= == != = += ( ) [ ] , ; : . ... and or not if else lambda for in await :=
# @ -> 9**9**9 1e400 1j 0x f'' x[10**9] x.flat[i] x.shape[-1] x.size x[...,j] *i sum(x[j],j)"""
WORDS = (
    *FUNCTIONS,
    *SIGNS.split(),
    "(" * 300,
    "-" * 5000,
    "x" + "[0" * 200,
    "+x" * 5000,
    "**2" * 100,
    "\t",
    "\n",
    *TEXTS,
)


@cache
def _equations() -> list[list[str]]:
    """The equations of the registry, each with the names that it may use."""
    return [
        [primitive.equation.text, *sorted(primitive.equation.values)]
        for primitive in registry.values()
        if primitive.equation is not None
    ]


def _mutated(rng: Generator, seed: list[str]) -> list[str]:
    text, *names = seed
    other = one_of(rng, _equations())[0]
    return [disturbed_text(rng, text, (*WORDS, other)), *names]


def _read(value: list[str], folder: Path) -> Any:
    text, *names = value
    return read_equation(text, names)


reading = Target("equation read", _equations, _mutated, _read)
