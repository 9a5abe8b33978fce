"""Which documented equations stand in a computation: found by comparing equations, not by where they stand.

Each documented equation says in parts what it is (`documented`). A part is the equation of a step, of a rule or of an
update's statement if the two are the same once their names are those of the computation, and their indices are renamed
one for one. σ stands for any function of one element, σ′ for its slope.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy

from ..equation.functions import REDUCTIONS
from ..equation.language import Equation, Statement, elements, is_ellipsis
from ..equation.simplify import simplified
from ..equation.styles import STYLES, Style
from .documented import DOCUMENTED, Documented, Part
from .explanation import Assignment, Explanation, Quantity, Return, Revision, Step

Owner: TypeAlias = Step | Return | Assignment
IDS = {"yhat": "ŷ"}
"""What names of the documented equations are called in a computation, where that is something else."""


@dataclass(frozen=True, eq=False)
class Piece:
    """A part of a documented equation, what computes it here, and whether that is the same."""

    part: Part
    owner: Owner
    same: bool


@dataclass(frozen=True, eq=False)
class Cited:
    """A documented equation in a computation, part by part. names: the quantities that its variables stand for."""

    entry: Documented
    pieces: tuple[Piece, ...]
    names: Mapping[str, str]

    @property
    def marked(self) -> list[Owner]:
        """What it is the equation of; what else computes it leads there."""
        return [piece.owner for piece in self.pieces if not piece.part.leads]

    @property
    def differs(self) -> list[Piece]:
        """Where the document has something else than this computation."""
        return [piece for piece in self.pieces if not piece.same]

    def here(self, style: Style | str) -> str:
        """The equation as this computation has it, by the engine's own equations."""
        chosen = STYLES[style] if isinstance(style, str) else style
        return chosen.lines([piece.owner.symbols(chosen) for piece in self.pieces])

    def missing(self, lang: str = "en") -> str:
        """What the document leaves out, of all that is the same here."""
        return self.entry.missing(lang, [piece.part.target for piece in self.pieces if piece.same])


def citations(explanation: Explanation) -> tuple[Cited, ...]:
    """Every documented equation that stands in the computation, forward, backward, then each weight's update."""
    made = _Computation(explanation)
    found: list[Cited] = []
    for entry in sorted(DOCUMENTED, key=lambda entry: bool(entry.unless)):  # special cases first
        if not entry.updates and entry.parts:
            taken = {id(owner) for cited in found for owner in cited.marked if cited.entry.number in entry.unless}
            known = {cited.entry.number for cited in found}
            found += [c for c in made.all_of(entry, known) if not taken & {id(owner) for owner in c.marked}]
    for revision in explanation.update:
        own: list[Cited] = []
        for entry in DOCUMENTED:
            if entry.updates:
                own += _of_update(entry, revision, {cited.entry.number for cited in own})
        found += own
    return tuple(found)


def by_owner(cited: Iterable[Cited]) -> dict[int, list[Cited]]:
    """The documented equations of each step, rule and assignment, by its `id`."""
    found: dict[int, list[Cited]] = {}
    for one in cited:
        for owner in one.marked:
            found.setdefault(id(owner), []).append(one)
    return found


class _Computation:
    """Steps and rules by what they give."""

    def __init__(self, explanation: Explanation) -> None:
        self.steps = explanation.forward
        self.last = explanation.forward[-1] if explanation.forward else None
        self.by_id: dict[str, Owner] = {step.result.id: step for step in explanation.forward}
        self.by_id |= {
            f"∇{b.operand.id}": b for b in explanation.backward if b.turns == 1
        }  # else it is a term of a sum
        self.readers: dict[str, list[Step]] = {}
        for step in explanation.forward:
            for operand in step.operands:
                if isinstance(operand, Quantity):
                    self.readers.setdefault(operand.id, []).append(step)

    def all_of(self, entry: Documented, known: set[str]) -> Iterator[Cited]:
        """An entry of named quantities once; one of variables at each step that begins it."""
        starts: Iterable[Step | None] = [None]
        if entry.variables:
            starts = [step for step in self.steps if not step.equation.elementwise]
        for start in starts:
            ways = (self.one_of(entry, form, start, known) for form in entry.forms)
            cited = next((found for found in ways if found), None)
            if cited:
                yield cited

    def one_of(self, entry: Documented, form: Sequence[Part], start: Step | None, known: set[str]) -> Cited | None:
        match, found = Match(entry.variables), []
        for number, part in enumerate(form):
            owner = start if start and not number else self.owner(part, match)
            if owner is None:
                return None
            same = match.part(part, owner)
            if not same and not (
                entry.may_vary(part) and known.issuperset(entry.after) and _may_stand_for(part, owner)
            ):
                return None
            found.append(Piece(part, owner, same))
        return Cited(entry, tuple(found), match.names)

    def owner(self, part: Part, match: Match) -> Owner | None:
        """What gives the part's target, or, where that can be anything, what reads what it reads."""
        if part.target not in match.variables:
            return self.by_id.get(match.id_of(part.target))
        readers = self.readers.get(match.names.get(part.argument, ""), ())
        return next((step for step in readers if step is not self.last), None)


def _of_update(entry: Documented, revision: Revision, known: set[str]) -> Iterator[Cited]:
    for form in entry.forms:
        match = Match(entry.variables)
        found = [Piece(part, one, True) for part in form for one in revision.assignments if match.part(part, one)]
        if len(found) == len(form):
            yield Cited(entry, tuple(found), match.names)
            return
    for part in entry.forms[0]:
        if entry.may_vary(part) and known.issuperset(entry.after):
            own = (one for one in revision.assignments if one.target == part.target)
            yield from (Cited(entry, (Piece(part, one, False),), {}) for one in own)


def _may_stand_for(part: Part, owner: Owner) -> bool:
    """Whether it does here what σ does there: softmax is no function of one element, and an activation all the same."""
    return not part.sigma or (isinstance(owner, Step) and owner.primitive.kernel.__module__.endswith(".activation"))


class Match:
    """Comparing parts with what computes; what the names of the document stand for is kept from part to part."""

    def __init__(self, variables: frozenset[str]) -> None:
        self.variables = variables
        self.names: dict[str, str] = {}
        self.indices: dict[str, str] = {}

    def id_of(self, name: str) -> str:
        """What a name of the document is called in the computation; "" for a variable that stands for nothing yet."""
        if name.startswith("g") and len(name) > 1:
            inner = self.id_of(name[1:])
            return inner and f"∇{inner}"
        return self.names.get(name, "") if name in self.variables else IDS.get(name, name)

    def part(self, part: Part, owner: Owner) -> bool:
        """Whether the part is what the owner computes; then its variables are bound."""
        kept = dict(self.names)
        self.indices = {}
        if part.sigma:
            same = isinstance(owner, Step) and self.sigma(part, owner)
        elif part.slope:
            same = isinstance(owner, Return) and self.slope(part, owner)
        else:
            same = self.equations(part, owner)
        if not same:
            self.names = kept
        return same

    def sigma(self, part: Part, step: Step) -> bool:
        """Whether the step is a function of one element of what σ is taken of."""
        operands = [o.id for o in step.operands if isinstance(o, Quantity)]
        alone = step.equation.elementwise and len(operands) == 1
        return alone and self.name(part.argument, operands[0]) and self.name(part.target, step.result.id)

    def slope(self, part: Part, back: Return) -> bool:
        """Whether it is the rule of such a function."""
        operands = [o.id for o in back.step.operands if isinstance(o, Quantity)]
        alone = back.step.equation.elementwise and len(operands) == 1
        return alone and self.name(part.argument, operands[0]) and self.name(part.incoming[1:], back.step.result.id)

    def name(self, name: str, found: str) -> bool:
        """Whether a name of the document is that of the computation; a variable is from now on."""
        known = self.id_of(name)
        if known or name not in self.variables:
            return known == found
        if found in self.names.values():
            return False
        self.names[name] = found
        return True

    def equations(self, part: Part, owner: Owner) -> bool:
        """Whether the part's equation is the owner's."""
        equation, arrays, ids, parameters = _parts_of(owner)
        wanted = simplified(part.equation, parameters, set(part.equation.values)) if parameters else part.equation
        if _kinds(wanted) != _kinds(equation):
            return False
        shape = numpy.shape(arrays[equation.target])
        theirs, local = _Spelled(equation, {k: numpy.ndim(v) for k, v in arrays.items()}, len(shape)), {}
        ours = _Spelled(wanted, _axes_of(wanted, len(shape)), len(shape))
        for a, b in zip(wanted.statements, equation.statements, strict=True):
            last = a is wanted.statements[-1]
            if not last:
                local[a.target] = b.target
            if not self.same(ours.read(a), theirs.read(b), ids, local, wanted.indices):
                return False
        return True

    def same(self, a: Any, b: Any, ids: Mapping[str, str], local: Mapping[str, str], indices: frozenset[str]) -> bool:
        """Whether two trees are the same, names taken for what they stand for."""
        if isinstance(a, ast.Name) and isinstance(b, ast.Name):
            if a.id in local:
                return local[a.id] == b.id
            if a.id.rstrip("′") in indices:
                return self.indices.setdefault(a.id, b.id) == b.id and list(self.indices.values()).count(b.id) == 1
            return self.name(a.id, ids[b.id]) if b.id in ids else a.id == b.id
        if type(a) is not type(b):
            return False
        if isinstance(a, ast.Constant):
            return bool(a.value == b.value)
        if isinstance(a, list):
            return len(a) == len(b) and all(self.same(x, y, ids, local, indices) for x, y in zip(a, b, strict=True))
        if not isinstance(a, ast.AST):
            return bool(a == b)
        fields = (f for f in a._fields if f not in ("ctx", "kind"))
        return all(self.same(getattr(a, f), getattr(b, f), ids, local, indices) for f in fields)


def _parts_of(owner: Owner) -> tuple[Equation, dict[str, Any], dict[str, str], Mapping[str, Any]]:
    """The equation of an owner, its arrays and their ids by their names in it, and the parameters."""
    equation = owner.equation
    if isinstance(owner, Assignment):
        arrays, ids = {**owner.arrays, equation.target: owner.after}, dict(owner.ids)
        ids.setdefault(equation.target, equation.target)
        return (
            equation,
            arrays,
            {k: v for k, v in ids.items() if k == equation.target or hasattr(arrays.get(k), "shape")},
            {},
        )
    step = owner if isinstance(owner, Step) else owner.step
    arrays, ids = step.arrays(), step.ids()
    result = step.equation.target
    arrays[result], ids[result] = step.result.value, step.result.id
    if isinstance(owner, Return):
        arrays[f"g{result}"], ids[f"g{result}"] = owner.incoming, f"∇{step.result.id}"
        arrays[equation.target], ids[equation.target] = owner.contribution, f"∇{owner.operand.id}"
    return equation, arrays, ids, step.parameters


def _kinds(equation: Equation) -> list[type[ast.expr]]:
    """What each of its statements is at its top: a sum, a difference, …"""
    return [type(statement.expression) for statement in equation.statements]


def _axes_of(equation: Equation, result: int) -> dict[str, int]:
    """How many axes the document's names have, where the result has so many: `...` are those that are not named."""
    named = [part for part in equation.statements[-1].indices if not is_ellipsis(part)]
    rest = result - len(named)
    axes = {equation.target: result}
    for statement in equation.statements:
        for node in ast.walk(statement.expression):
            if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name):
                parts = elements(node.slice)
                open_ones = sum(map(is_ellipsis, parts))
                axes[node.value.id] = len(parts) - open_ones + rest * open_ones
    return axes


class _Spelled(ast.NodeTransformer):
    """An equation with an index for each axis: for those of `...`, and for those of an index of several axes."""

    def __init__(self, equation: Equation, axes: Mapping[str, int], result: int) -> None:
        self.equation, self.axes = equation, axes
        self.open = [f"…{i}" for i in range(result)]
        self.several: dict[str, int] = {}
        for statement in equation.statements:
            for name, parts in _subscripted(statement.expression, (statement.target, statement.indices)):
                if len(parts) == 1 and isinstance(parts[0], ast.Name) and axes.get(name, 1) > 1:
                    self.several[parts[0].id] = axes[name]

    def read(self, statement: Statement) -> list[ast.AST]:
        """The target and what it is, spelled out."""
        target: ast.expr = ast.Name(statement.target, ast.Load())
        if statement.indices:
            target = ast.Subscript(target, ast.Tuple(list(statement.indices), ast.Load()), ast.Load())
        return [self.visit(copy.deepcopy(part)) for part in (target, statement.expression)]

    def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
        if not isinstance(node.value, ast.Name):
            return node
        parts = elements(node.slice)
        count = self.axes.get(node.value.id, len(parts)) - (len(parts) - 1)
        return ast.Subscript(node.value, ast.Tuple(self.spelled(parts, count), ast.Load()), ast.Load())

    def visit_Call(self, node: ast.Call) -> ast.AST:
        if ast.unparse(node.func) not in REDUCTIONS:
            return self.generic_visit(node)
        first = self.visit(node.args[0])
        return ast.Call(node.func, [first, *self.spelled(node.args[1:], None)], [])

    def spelled(self, parts: Sequence[ast.expr], count: int | None) -> list[ast.expr]:
        """The indices one by one. count: how many `...` stands for."""
        made: list[ast.expr] = []
        for part in parts:
            if is_ellipsis(part):
                number = self.rest() if count is None else count
                made += [ast.Name(letter, ast.Load()) for letter in self.open[:number]]
            elif isinstance(part, ast.Name) and part.id in self.several:
                made += [ast.Name(f"{part.id}{'′' * i}", ast.Load()) for i in range(self.several[part.id])]
            else:
                made.append(part)
        return made

    def rest(self) -> int:
        """Axes of the widest `...` in the equation."""
        counts = [0]
        for statement in self.equation.statements:
            for name, parts in _subscripted(statement.expression, (statement.target, statement.indices)):
                if any(map(is_ellipsis, parts)):
                    counts.append(self.axes.get(name, 0) - len(parts) + 1)
        return max(counts)


def _subscripted(
    expression: ast.expr, target: tuple[str, tuple[ast.expr, ...]]
) -> Iterator[tuple[str, tuple[ast.expr, ...]]]:
    yield target
    for node in ast.walk(expression):
        if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name):
            yield node.value.id, elements(node.slice)
