"""Which documented equations stand in a computation: found by comparing equations, not by where they stand.

Each documented equation says in parts what it is (`documented`). A part is the equation of a step, of a rule or of an
update's statement if the two are written alike, by the names that things have in the computation, and with indices
renamed one for one. σ stands for any function of one element, σ′ for its slope.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from ..equation.language import Equation, is_ellipsis
from ..equation.notation import in_symbols
from ..equation.simplify import simplified
from ..equation.spelled import spelled
from ..equation.styles import STYLES, Style, Symbol
from ..equation.symbols import gradient_of, symbol_of
from .documented import DOCUMENTED, NAMES, Documented, Part
from .explanation import Assignment, Explanation, Quantity, Return, Revision, Step

Owner: TypeAlias = Step | Return | Assignment


def called(name: str) -> str:
    """What a name of the documented equations is called, as it is written."""
    return str(NAMES.get(name) or symbol_of(name))


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


def documented_in(explanation: Explanation) -> tuple[Cited, ...]:
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
        self.by_name: dict[str, Owner] = {str(step.result.symbol): step for step in explanation.forward}
        whole = (back for back in explanation.backward if back.turns == 1)  # of several each gives a term of the sum
        self.by_name |= {str(gradient_of(back.operand.symbol)): back for back in whole}
        self.readers: dict[str, list[Step]] = {}
        for step in explanation.forward:
            for operand in step.operands:
                if isinstance(operand, Quantity):
                    self.readers.setdefault(str(operand.symbol), []).append(step)

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
        behind = known.issuperset(entry.after)
        if entry.leads and not behind:
            return None
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
        given = called(part.target)
        if given not in match.variables:
            return self.by_name.get(match.stands_for(given))
        readers = self.readers.get(match.names.get(called(part.argument), ""), ())
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
    return not part.sigma or (isinstance(owner, Step) and owner.primitive.__module__.endswith(".activation"))


class Match:
    """Comparing parts with what computes; what the names of the document stand for is kept from part to part."""

    def __init__(self, variables: frozenset[str]) -> None:
        self.variables = {called(name) for name in variables}
        self.names: dict[str, str] = {}
        self.indices: dict[str, str] = {}

    def stands_for(self, name: str) -> str:
        """What a name of the document is called in the computation; "" for a variable that stands for nothing yet."""
        if name in self.variables:
            return self.names.get(name, "")
        inner = self.names.get(name[1:], "") if name[1:] in self.variables else name[1:]
        return (inner and f"∇{inner}") if name.startswith("∇") else name

    def part(self, part: Part, owner: Owner) -> bool:
        """Whether the part is what the owner computes; then its variables are bound."""
        kept, self.indices = dict(self.names), {}
        same = self.function(part, owner) if part.argument else self.equation(part, owner)
        if not same:
            self.names = kept
        return same

    def function(self, part: Part, owner: Owner) -> bool:
        """Whether it is a function of one element of what σ is taken of, or the rule of such a function."""
        step = owner.step if isinstance(owner, Return) else owner
        if not isinstance(step, Step) or part.slope != isinstance(owner, Return):
            return False
        operands = [str(o.symbol) for o in step.operands if isinstance(o, Quantity)]
        given = part.incoming[1:] if part.slope else part.target
        alone = step.equation.elementwise and len(operands) == 1
        return (
            alone
            and self.name(called(part.argument), operands[0])
            and self.name(called(given), str(step.result.symbol))
        )

    def name(self, name: str, found: str) -> bool:
        """Whether a name of the document is that of the computation; a variable is from now on."""
        known = self.stands_for(name)
        if known or name not in self.variables or found in self.names.values():
            return known == found
        self.names[name] = found
        return True

    def equation(self, part: Part, owner: Owner) -> bool:
        """Whether both equations are written with the same signs, names taken for what they stand for."""
        wanted, names, axes = part.equation, dict(NAMES), {}
        if _kind(wanted) != _kind(owner.equation):  # most are not, and to write them takes time
            return False
        if not isinstance(owner, Assignment):
            step = owner if isinstance(owner, Step) else owner.step
            wanted = simplified(wanted, step.parameters, set(wanted.values))
            names |= {name: symbol for name, symbol in step.names.items() if name in step.parameters}
            axes = {name: count for name, count in step.axes.items() if name in step.parameters}
            count = len(step.result.shape if isinstance(owner, Step) else owner.operand.shape)
            indices = wanted.statements[-1].indices
            axes |= {wanted.target: count, "...": count - sum(not is_ellipsis(part) for part in indices)}
        letters = {symbol for symbols in spelled(wanted, axes).values() for symbol in symbols}
        indices_ = {str(letter) for letter in (*letters, *map(symbol_of, wanted.indices))}
        ours, theirs = in_symbols(wanted, SIGNS, names, axes).split(), owner.symbols(SIGNS).split()
        return len(ours) == len(theirs) and all(self.sign(a, b, indices_) for a, b in zip(ours, theirs, strict=True))

    def sign(self, a: str, b: str, indices: set[str]) -> bool:
        """Whether a sign of the document's equation is that of the computation's."""
        if not (a.startswith("@") and b.startswith("@")):
            return a == b
        if a[1:] not in indices:
            return self.name(a[1:], b[1:])
        return self.indices.setdefault(a, b) == b and list(self.indices.values()).count(b) == 1


def _kind(equation: Equation) -> tuple[type, int]:
    """What its last statement is at its top (a sum, a difference, …), and how many indices it gives."""
    last = equation.statements[-1]
    return type(last.expression), len(last.indices)


class _Signs(Style):
    """Writes equations with spaces between all signs, @ before each symbol."""

    def symbol(self, symbol: Symbol, indices: Sequence[str] = (), layer: str = "") -> str:
        return f" @{symbol} " + f"[ {' , '.join(indices)} ] " * bool(indices)

    def number(self, text: str, at: str = "") -> str:
        return f" {text} "

    def operator(self, sign: str) -> str:
        return f" {'=' if sign == '←' else sign} "

    def call(self, name: str, arguments: Sequence[str]) -> str:
        return f" {name} ( {' , '.join(arguments)} ) "

    def over(self, name: str, indices: Sequence[str], body: str) -> str:
        return f" {name} over {' , '.join(indices)} : {body} "


SIGNS = _Signs()
