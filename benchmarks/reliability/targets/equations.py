"""Equations: a text is read, computed, proven and printed as what it says, or refused; updates likewise."""

from __future__ import annotations

import ast
import math
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy
from numpy.random import Generator

from ....blackboard.explain import explain
from ....engine.primitive import Example, Primitive, registry
from ....engine.tensor import Tensor, tensor
from ....equation.functions import FUNCTIONS
from ....equation.language import read_equation
from ....optim.declaration import Update, updates
from ....proof import gradcheck
from ....proof.cases import draw, examples
from ....proof.exactness import equation_holds
from ..disturbing import TEXTS, disturbed_text, one_of
from . import Target

SIGNS = """+ - * / // ** & | ^ ~ < <= > >= == != = += ( ) [ ] , ; : . ... and or not if else lambda for in await :=
@ -> 9**9**9 1e400 1j 0x f'' x[10**9] x.flat[i] x.shape[-1] x.size x[...,j] *i sum(x[j],j) sum(1,j<10**9) pi inf"""
ODD = [
    "9**9**9", "1e300", "x[10**9]",
    "x[-1]", "x.size", "sum(1, j < 10**9)", "0", "-1", "1 / x", "x**-0.5", "2**x", "inf",
    "sum(x[..., j], j)", "max(x, x)", "x if x else 0", "x[x]", "log(-1)", "...", "10**200 * 10**200", "x < x < x",
]  # fmt: skip
WORDS = (*FUNCTIONS, *SIGNS.split(), "(" * 300, "-" * 5000, "[0" * 200, "+x" * 5000, "**2" * 100, "\t", "\n", *TEXTS)


@cache
def _primitives() -> list[list[str]]:
    """Each primitive's name and text, and a rule's operand and text; those of integers are left out."""
    found = []
    for name, primitive in registry.items():
        if any(isinstance(domain, range) for domain in primitive.domain.values()):
            continue
        rules = [[operand, rule.text] for operand, rule in primitive.rules.items()]
        found += [[name, primitive.text, *rule] for rule in rules or [["", ""]]]
    return found


def _mutated(rng: Generator, seed: list[str]) -> list[str]:
    """The text or the rule's with something changed."""
    name, text, operand, rule = seed
    made = registry[name]
    names = [*made.operands, *made.parameters, made.equation.target, f"g{made.equation.target}"]
    _, other, _, other_rule = one_of(rng, _primitives())
    if operand and rng.random() < 0.4:
        return [name, text, operand, _changed(rng, rule, other_rule or other, names)]
    return [name, _changed(rng, text, other, names), operand, rule]


def _changed(rng: Generator, text: str, other: str, names: Sequence[str]) -> str:
    """The text with some parts exchanged for parts of another, or for odd ones; or with odd words in it."""
    if rng.random() < 0.3:
        return disturbed_text(rng, text, (*WORDS, *names, *names, other))
    tree = ast.parse(text)
    for _ in range(int(one_of(rng, (1, 1, 2, 3)))):
        places = [node for node in ast.walk(tree) if isinstance(node, ast.expr)]
        parts = [node for node in ast.walk(ast.parse(other)) if isinstance(node, ast.expr)]
        graft = one_of(rng, parts) if rng.random() < 0.7 else ast.parse(one_of(rng, ODD), mode="eval").body
        for node in ast.walk(graft):
            if isinstance(node, ast.Name) and len(node.id) > 1 and node.id not in FUNCTIONS:
                node.id = one_of(rng, names)
        tree = _Graft(one_of(rng, places), graft).visit(tree)
    return ast.unparse(tree).replace("\n", "; ")


class _Graft(ast.NodeTransformer):
    def __init__(self, place: ast.AST, graft: ast.AST) -> None:
        self.place, self.graft = place, graft

    def visit(self, node: ast.AST) -> Any:
        return self.graft if node is self.place else self.generic_visit(node)


def _read(value: list[str], folder: Path) -> Any:
    name, text, _, rule = value
    made = registry[name]
    names = {*made.operands, *made.parameters}
    read_equation(text, names)
    return read_equation(rule, names | {made.equation.target, f"g{made.equation.target}", "position"}) if rule else None


def _used(value: list[str], folder: Path) -> Any:
    """Everything that a user's own primitive of that text goes through."""
    name, text, operand, rule = value
    base = registry[name]
    example = min(examples(base), key=lambda one: sum(map(math.prod, one.shapes)) or math.inf)
    made = _declared(base, text, example)
    if operand:
        declare, body = made.vjp(operand, rule), base.rules[operand].body
        if body is not None:
            declare(body)
    xs = [tensor(x, requires_grad=x.dtype.kind == "f") for x in draw(base, example)]

    def function(*xs: Any) -> Tensor:
        return made.compute(xs, example.parameters).sum()

    y = function(*xs)
    if y.requires_grad:
        y.backward()
        gradcheck(function, *xs, max_seconds=0.3)
        explained = explain(function, *xs)
        for written in (explained.markdown, explained.latex, explained.html):
            written()
    return equation_holds(made)


def _declared(base: Primitive, text: str, example: Example) -> Primitive:
    """A primitive of another's signature, and body if it has one, that says what its text says; not registered."""
    made = Primitive(
        base.declared, text, saves=base.saves, kink=None, analytic=False, whole=None, examples=(example,), bind=None,
        domain=base.domain, method=None, operators=(), synonyms=(), without=None,
    )  # fmt: skip
    made.__module__ = "fuzzed"
    made.check_text()
    return made


def _updates() -> list[list[str]]:
    return [[name, update.text] for name, update in updates.items()]


def _mutated_update(rng: Generator, seed: list[str]) -> list[str]:
    name, text = seed
    other = one_of(rng, _updates())[1]
    return [name, _changed(rng, text, other, ["theta", "g", "t", "m", "learning_rate"])]


def _stepped(value: list[str], folder: Path) -> Any:
    """An update that its text declares, used three times."""
    name, text = value
    declared = updates[name].defaults
    numbers = {key: value if isinstance(value, float) else 0.5 for key, value in declared.items()}
    scope: dict[str, Any] = {}
    exec(f"def fuzzed(*, {', '.join(f'{key}={number!r}' for key, number in numbers.items())}): 'Fuzzed.'", scope)
    made = Update(name, text, scope["fuzzed"])
    theta, g, scratch = numpy.ones(3), numpy.arange(3.0), numpy.zeros(3)
    state = {slot: numpy.zeros(3) for slot in made.slots}
    for t in (1, 2, 10_000):
        made(numpy, theta, g, scratch, state, **{**numbers, "t": t})
    return made.statements


reading = Target("equation read", _primitives, _mutated, _read)
using = Target("equation used", _primitives, _mutated, _used)
updating = Target("update's equation", _updates, _mutated_update, _stepped)
