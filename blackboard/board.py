"""An explanation as plain data for the page: what stands there, and the equations as JavaScript."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy

from ..equation.javascript import NotWritten, script
from ..equation.language import Equation
from ..equation.styles import STYLES, Symbol
from ..equation.symbols import gradient_of
from .explanation import Explanation, Place, Quantity, Return, Revision, Step
from .groups import groups_of
from .matching import Cited, Owner, by_owner, documented_in
from .plain import LISTED, number, packed, whole
from .story import SHOWN, source_of, what_of
from .texts import LANGUAGES
from .tiles import Tiles, tiles_of

EACH = 16
"""Elements of an array up to which each is written out with its numbers; of a larger one the chosen one is."""
PLACE = "<mi>…</mi>"
"""Stands in a symbol where the page puts the indices of an element."""
LIGHT = 20_000
"""Elements of an array, up to which the page can compute it anew while its reader waits."""
ROOM = 600_000
"""Bytes of values, gradients and new weights that a page has room for; of more it has pictures."""


def board_of(explanation: Explanation) -> dict[str, Any]:
    """The explanation as plain data.

    `changeable` says whether the page can compute it anew when a value is changed.
    """
    shown = _shown(explanation)
    fitting, tiles = _fitting(shown), tiles_of(explanation, shown)
    cited = by_owner(documented_in(explanation))
    forward = [_forward(step) for step in explanation.forward[:SHOWN]]
    backward = [_backward(back, tiles[back.operand.id]) for back in explanation.backward[:SHOWN]]
    update = [_revision(r, r.quantity in fitting, tiles[r.quantity.id]) for r in explanation.update]
    owners: list[Sequence[Owner]] = [[step] for step in explanation.forward[:SHOWN]]
    owners += [[back] for back in explanation.backward[:SHOWN]]
    owners += [revision.assignments for revision in explanation.update]
    documents = [_documents(own, cited) for own in owners]
    for step, found in zip((*forward, *backward, *update), documents, strict=True):
        step["numbers"] = [one.entry.number for one in found]
    entire = len(explanation.forward) <= SHOWN and len(explanation.backward) <= SHOWN
    light = all(q in fitting and q.value.size <= LIGHT for q in shown)
    programs = _programs(explanation) if entire and light else []
    assignments = [one for revision in update for one in revision["assignments"]]
    for one, program in zip([*forward, *backward, *assignments] if programs else [], programs, strict=True):
        one["program"] = program
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
        "changeable": bool(programs),
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
    }


def _revision(revision: Revision, fits: bool, tiles: Tiles | None) -> dict[str, Any]:
    quantity = revision.quantity
    kept, place = revision.assignments[0].arrays, _flat(quantity.place, quantity.shape)
    slots = [one.target for one in revision.assignments if one.kept and one.target != "theta"]
    return {
        "quantity": quantity.id,
        "state": {slot: whole(kept[slot]) if fits else None for slot in slots},
        "parameters": {name: value for name, value in kept.items() if not hasattr(value, "shape")},
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
            }
            for one in revision.assignments
        ],
    }


def _programs(explanation: Explanation) -> list[str]:
    """Each step forward, backward and of the update as JavaScript; none where one of them cannot be written so."""
    statements = [one for revision in explanation.update for one in revision.assignments]
    try:
        return [
            *(_program(s.primitive.equation, s, s.arrays(), s.result.shape) for s in explanation.forward),
            *map(_program_back, explanation.backward),
            *(script(one.equation, one.arrays, one.after.shape, varying=one.arrays.keys()) for one in statements),
        ]
    except NotWritten:
        return []


def _program_back(back: Return) -> str:
    """What is sent to an operand, summed to its shape."""
    result = back.step.equation.target
    arrays = {**back.step.arrays(), result: back.step.result.value, f"g{result}": back.incoming}
    shape = back.incoming.shape if back.rule.equation.elementwise else back.operand.shape
    return _program(back.rule.equation, back.step, arrays, shape, back.operand.shape)


def _program(
    equation: Equation, step: Step, arrays: Mapping[str, Any], shape: Place, sums_to: Place | None = None
) -> str:
    if step.primitive.variadic:
        raise NotWritten
    return script(equation, arrays, shape, step.parameters.get("axis", ()), sums_to)
