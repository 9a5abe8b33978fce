"""An explanation as plain data for the page: what stands there, and the equations as the page can evaluate them."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy

from ..equation.functions import FUNCTIONS, REDUCTIONS
from ..equation.language import OPERATORS, Equation, elements, index_name
from ..equation.styles import STYLES, Symbol
from ..equation.symbols import gradient_of
from .explanation import Explanation, Quantity, Return, Revision, Step
from .groups import groups_of
from .matching import Cited, Owner, by_owner, citations
from .plain import LISTED, number, packed, whole
from .story import SHOWN, source_of, what_of
from .texts import LANGUAGES
from .tiles import Tiles, tiles_of

COUNTABLE = {name for name, function in FUNCTIONS.items() if function.javascript} | {"border", "inside"}
"""Functions that the page can evaluate."""
EACH = 16
"""Elements of an array up to which each is written out with its numbers; of a larger one the chosen one is."""
PLACE = "<mi>…</mi>"
"""Stands in a symbol where the page puts the indices of an element."""
LIGHT = 20_000
"""Elements of an array, up to which the page can compute it anew while its reader waits."""
ROOM = 600_000
"""Bytes of values, gradients and new weights that a page has room for; of more it has pictures."""
Program = dict[str, Any]


class NotCountable(Exception):
    """The equation has something that the page cannot evaluate; the page then shows it, but changes nothing."""


def board_of(explanation: Explanation) -> dict[str, Any]:
    """The explanation as plain data.

    `changeable` says whether the page can compute it anew when a value is changed.
    """
    shown = _shown(explanation)
    fitting, tiles = _fitting(shown), tiles_of(explanation, shown)
    cited = by_owner(citations(explanation))
    forward = [_forward(step) for step in explanation.forward[:SHOWN]]
    backward = [_backward(back, tiles[back.operand.id]) for back in explanation.backward[:SHOWN]]
    update = [_revision(r, r.quantity in fitting, tiles[r.quantity.id]) for r in explanation.update]
    owners: list[Sequence[Owner]] = [[step] for step in explanation.forward[:SHOWN]]
    owners += [[back] for back in explanation.backward[:SHOWN]]
    owners += [revision.assignments for revision in explanation.update]
    documents = [_documents(own, cited) for own in owners]
    for step, found in zip((*forward, *backward, *update), documents, strict=True):
        step["numbers"] = [one.entry.number for one in found]
    programs = [s["program"] for s in (*forward, *backward)] + [a["program"] for r in update for a in r["assignments"]]
    entire = len(explanation.forward) <= SHOWN and len(explanation.backward) <= SHOWN
    light = all(q in fitting and q.value.size <= LIGHT for q in shown)
    return {
        "title": explanation.title,
        "kind": explanation.kind,
        "step": explanation.step_number,
        "quantities": [_quantity(q, q in fitting, tiles.get(q.id)) for q in shown],
        "forward": forward,
        "backward": backward,
        "update": update,
        "optimizer": explanation.update_name,
        "numbers": explanation.update_numbers,
        "counts": [len(explanation.forward), len(explanation.backward)],
        "changeable": entire and light and all(program is not None for program in programs),
        "documents": _first(documents),
        "notFinite": explanation.not_finite and _not_finite(*explanation.not_finite),
        "groups": groups_of(explanation.forward) if len(explanation.forward) > SHOWN else [],
    }


def _documents(owners: Sequence[Owner], cited: Mapping[int, list[Cited]]) -> list[Cited]:
    """The documented equations of a step, or of all statements of an update."""
    return list(dict.fromkeys(one for owner in owners for one in cited.get(id(owner), ())))


def _first(documents: Sequence[Sequence[Cited]]) -> dict[str, Any]:
    """By number the first step where a documented equation stands, and how it is there."""
    found: dict[str, Any] = {}
    for at, cited in enumerate(documents):
        for one in cited:
            if one.entry.number not in found:
                found[one.entry.number] = {"at": at, **_cited(one)}
    return found


def _cited(cited: Cited) -> dict[str, Any]:
    return {
        "here": cited.here("mathml"),
        "missing": {lang: cited.missing(lang) for lang in LANGUAGES},
        "differs": [[what_of(piece.owner), piece.part.symbols("mathml")] for piece in cited.differs],
    }


def _not_finite(quantity: Quantity, place: tuple[int, ...]) -> list[Any]:
    return [str(quantity.symbol), list(place), number(quantity.value[place].item())]


def _fitting(quantities: Sequence[Quantity]) -> set[Quantity]:
    """The quantities that are on the page with every element: the small ones first, as far as there is room."""
    fitting, left = set(), ROOM
    for quantity in sorted(quantities, key=lambda q: q.value.nbytes):
        left -= quantity.value.nbytes * (1 + (quantity.gradient is not None) + quantity.trained)
        if left >= 0 or quantity.value.size <= LISTED:
            fitting.add(quantity)
    return fitting


def _shown(explanation: Explanation) -> list[Quantity]:
    """The quantities of the steps that are shown."""
    steps = explanation.forward[:SHOWN]
    found = [q for step in steps for q in (*step.operands, step.result) if isinstance(q, Quantity)]
    back = [q for b in explanation.backward[:SHOWN] for q in (b.operand, b.step.result)]
    return list(dict.fromkeys([*found, *back]))


def _quantity(quantity: Quantity, fits: bool, tiles: Tiles | None) -> dict[str, Any]:
    numerical = {str(at): [number(n.value), n.kink] for at, n in quantity.numerical.items()}
    place = _flat(quantity.place, quantity.shape)
    gradient = quantity.gradient
    return {
        "id": quantity.id,
        **_named(quantity.symbol),
        "role": quantity.role,
        "shape": list(quantity.shape),
        "values": _elements(quantity.value, place, fits, tiles),
        "gradient": None if gradient is None else _elements(gradient, place, fits, tiles),
        "tiles": tiles and asdict(tiles),
        "numerical": numerical,
        "agrees": quantity.agrees,
        "place": place,
        "layer": quantity.layer,
    }


def _elements(array: Any, place: int, fits: bool, tiles: Tiles | None) -> Any:
    return whole(array) if fits else packed(array, place, tiles)


def _named(symbol: Symbol) -> dict[str, Any]:
    """A symbol as the page writes it: as text, and as MathML, whole and for an element whose place is filled in."""
    ways = {"value": symbol, "gradient": gradient_of(symbol)}
    style = STYLES["mathml"]
    return {
        "name": str(symbol),
        "math": {way: [style.symbol(one), style.symbol(one, [PLACE])] for way, one in ways.items()},
    }


def _flat(place: tuple[int, ...], shape: tuple[int, ...]) -> int:
    return int(numpy.ravel_multi_index(place, shape)) if shape else 0


def _places(quantity: Quantity) -> list[tuple[int, ...]]:
    """The elements that are written out with their numbers."""
    if quantity.value.size > EACH:
        return [quantity.place]
    return [tuple(map(int, place)) for place in numpy.ndindex(quantity.shape)]


def _forward(step: Step) -> dict[str, Any]:
    put = {_flat(at, step.result.shape): step.put_in("mathml", at) for at in _places(step.result)}
    operands = [
        [step.primitive.operand(i), o.id, None]
        if isinstance(o, Quantity)
        else [step.primitive.operand(i), "", number(o)]
        for i, o in enumerate(step.operands)
    ]
    return {
        "number": step.number,
        "primitive": step.primitive.name,
        "source": source_of(step.primitive),
        "result": step.result.id,
        "target": step.equation.target,
        "operands": operands,
        "equation": step.symbols("mathml"),
        "put": {at: text for at, text in put.items() if text},
        "program": _program(step.primitive.equation, step.parameters, step.primitive.variadic),
    }


def _backward(back: Return, tiles: Tiles | None) -> dict[str, Any]:
    place = _flat(back.operand.place, back.operand.shape)
    put = {_flat(at, back.operand.shape): back.put_in("mathml", at) for at in _places(back.operand)}
    return {
        "number": back.number,
        "step": back.step.number - 1,
        "primitive": back.step.primitive.name,
        "operand": back.operand.id,
        "result": back.step.result.id,
        "equation": back.symbols("mathml"),
        "put": {at: text for at, text in put.items() if text},
        "terms": {
            _flat(at, back.operand.shape): [
                [_flat(t.place, back.step.result.shape), *map(number, (t.local, t.incoming, t.product))]
                for t in back.terms(at, 6)
            ]
            for at in _places(back.operand)
        },
        "turn": back.turn,
        "turns": back.turns,
        "sent": packed(back.contribution, place) if back.turns > 1 else None,  # else the operand's gradient
        "total": packed(back.total, place, tiles) if back.turn < back.turns else None,
        "program": _program(back.rule.equation, back.step.parameters, back.step.primitive.variadic),
    }


def _revision(revision: Revision, fits: bool, tiles: Tiles | None) -> dict[str, Any]:
    quantity = revision.quantity
    kept, place = revision.assignments[0].arrays, _flat(quantity.place, quantity.shape)
    slots = [one.target for one in revision.assignments if one.kept and one.target != "theta"]
    return {
        "quantity": quantity.id,
        "state": {slot: whole(kept[slot]) if fits else None for slot in slots},
        "assignments": [
            {
                "target": one.target,
                **_named(one.names.get(one.target) or Symbol(one.target)),
                "equation": one.symbols("mathml"),
                "put": {
                    _flat(at, quantity.shape): text
                    for at in _places(quantity)
                    if (text := one.put_in("mathml", at)) is not None
                },
                "after": _elements(one.after, place, fits, tiles)
                if one.target == "theta"
                else packed(one.after, place),
                "program": _program(one.equation, {k: v for k, v in one.arrays.items() if not hasattr(v, "shape")}),
            }
            for one in revision.assignments
        ],
    }


# Equations as data


def _program(equation: Equation, parameters: Mapping[str, Any], variadic: bool = False) -> Program | None:
    """The equation as nested lists, with its parameters; None where the page cannot evaluate it."""
    try:
        if variadic or any(s.adds for s in equation.statements):
            raise NotCountable
        program: Program = {"equation": _equation(equation), "parameters": {}}
        for name, value in parameters.items():
            program["parameters"][name] = _plain(value)
        if "axis" in parameters:
            program["axis"] = program["parameters"].pop("axis")
        return program
    except NotCountable:
        return None


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (tuple, list)):
        return [_plain(v) for v in value]
    if isinstance(value, numpy.generic):
        return value.item()
    raise NotCountable


def _equation(equation: Equation) -> dict[str, Any]:
    reader = _Reader(equation)
    statements = [
        {"target": s.target, "indices": [reader.read(i) for i in s.indices], "value": reader.read(s.expression)}
        for s in equation.statements
    ]
    return {
        "statements": statements,
        "indices": sorted(equation.indices),
        "elementwise": equation.elementwise,
        "flat": equation.flat,
        "references": reader.references,
        "bounds": reader.bounds,
    }


class _Reader:
    """Turns the syntax tree into nested lists."""

    def __init__(self, equation: Equation) -> None:
        self.equation = equation
        self.references: list[Any] = []
        self.bounds: list[Any] = []

    def read(self, node: ast.AST) -> list[Any]:
        if isinstance(node, ast.Constant):
            return ["rest"] if node.value is Ellipsis else ["number", node.value]
        if isinstance(node, ast.Name):
            return ["name", node.id]
        if isinstance(node, ast.Starred):
            return ["star", self.read(node.value)]
        if isinstance(node, ast.BinOp):
            return ["op", OPERATORS[type(node.op)], self.read(node.left), self.read(node.right)]
        if isinstance(node, ast.UnaryOp):
            return [OPERATORS[type(node.op)], self.read(node.operand)]
        if isinstance(node, ast.Compare):
            parts = [self.read(part) for part in (node.left, *node.comparators)]
            return ["compare", [OPERATORS[type(op)] for op in node.ops], parts]
        if isinstance(node, ast.BoolOp):
            return [OPERATORS[type(node.op)], [self.read(part) for part in node.values]]
        if isinstance(node, ast.IfExp):
            return ["if", self.read(node.test), self.read(node.body), self.read(node.orelse)]
        if isinstance(node, ast.Subscript):
            return self.subscripted(node)
        if isinstance(node, ast.Call):
            return self.call(node)
        if isinstance(node, ast.Attribute) and node.attr == "size" and isinstance(node.value, ast.Name):
            return ["size", node.value.id]
        raise NotCountable

    def subscripted(self, node: ast.Subscript) -> list[Any]:
        parts = [self.read(part) for part in elements(node.slice)]
        owner = node.value
        if isinstance(owner, ast.Attribute) and isinstance(owner.value, ast.Name):
            if owner.attr == "shape":
                return ["length", owner.value.id, parts[0]]
            self.references.append([owner.value.id, parts, True])
            return ["at", owner.value.id, True, parts]
        if not isinstance(owner, ast.Name):
            raise NotCountable
        if not self.equation.indices and parts[0][0] != "rest":
            raise NotCountable  # x[index], a slice
        self.references.append([owner.id, parts, False])
        return ["at", owner.id, False, parts]

    def call(self, node: ast.Call) -> list[Any]:
        name = ast.unparse(node.func)
        over = [index for part in node.args[1:] if (index := index_name(part, self.equation.indices))]
        if name in REDUCTIONS and over:
            bounds = [part for part in node.args[1:] if isinstance(part, ast.Compare)]
            self.bounds += [[ast.unparse(part.left), self.read(part.comparators[0])] for part in bounds]
            return ["reduce", name, self.read(node.args[0]), over]
        if name not in COUNTABLE:
            raise NotCountable
        return ["call", name, [self.read(a) for a in node.args]]
