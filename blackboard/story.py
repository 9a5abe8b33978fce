"""An explanation told in order, as scenes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy

from ..engine.primitive import Primitive
from ..equation.styles import STYLES, Symbol
from ..equation.symbols import gradient_of, number_text
from .documented import Documented, documented
from .explanation import Assignment, Explanation, Quantity, Return, Revision, Step
from .matching import Cited, Owner, by_owner, documented_in
from .scenes import Block, Formula, Grid, Matrix, Paragraph, Scene
from .texts import colon, text

SHOWN = 200
"""Steps of a computation that are written out; of a longer one the rest is only counted."""


def story(explanation: Explanation, lang: str = "en", digits: int = 4, documents: bool = False) -> Iterator[Scene]:
    """The scenes: what is given, forward, backward, update, and whether the numbers agree.

    documents: where a documented equation first stands, also show it as documented and exact.
    """
    told: set[str] = set()
    for scene in _scenes(explanation, lang, digits):
        if documents:
            new = [cited for cited in scene.cited if cited.entry.number not in told]
            scene.blocks[:0] = [block for cited in new for block in cited_blocks(cited, lang)]
            told |= {*scene.numbers}
        yield replace(scene, explanation=explanation)


def _scenes(explanation: Explanation, lang: str, digits: int) -> Iterator[Scene]:
    found = by_owner(documented_in(explanation))
    yield _given(explanation, lang)
    for step in explanation.forward[:SHOWN]:
        yield _cited(_forward(step, lang, digits), found.get(id(step), []))
    if len(explanation.forward) > SHOWN:
        count = text("many_steps", lang, count=len(explanation.forward), shown=SHOWN)
        yield Scene("forward", "…", (), [Paragraph(count, "quiet")])
    for back in explanation.backward[:SHOWN]:
        yield _cited(_backward(back, lang, digits), found.get(id(back), []))
    for revision in explanation.update[:SHOWN]:
        cited = [one for assignment in revision.assignments for one in found.get(id(assignment), [])]
        yield _cited(_update(explanation, revision, lang, digits), list(dict.fromkeys(cited)))
    yield _verdict(explanation, lang)


def documented_scene(number: str, lang: str) -> Scene:
    """A documented equation: as documented, exact, and what the document leaves out."""
    entry = documented(number)
    return Scene("documented", f"{number} · {entry.title(lang)}", (number,), documented_blocks(entry, lang))


def documented_blocks(entry: Documented, lang: str) -> list[Block]:
    """What stands below its heading."""
    label = f"{entry.number} {text('documented', lang)}"
    blocks: list[Block] = [Formula(label, entry.documented)]
    if entry.exact("unicode") != entry.documented("unicode"):
        blocks.append(Formula(f"{entry.number} {text('exact', lang)}", entry.exact))
    if entry.missing(lang):
        blocks.append(Paragraph(f"{text('missing', lang)}{colon(lang)}{entry.missing(lang)}"))
    return blocks


def cited_blocks(cited: Cited, lang: str) -> list[Block]:
    """A documented equation where it stands in a computation: as documented, as it is here, and how they differ."""
    number = cited.entry.number
    blocks: list[Block] = [
        Formula(f"{number} {text('documented', lang)}", cited.entry.documented),
        Formula(f"{number} {text('exact_here', lang)}", cited.here),
    ]
    if cited.missing(lang):
        blocks.append(Paragraph(f"{text('missing', lang)}{colon(lang)}{cited.missing(lang)}"))
    for piece in cited.differs:
        blocks.append(Formula(text("differs", lang, here=what_of(piece.owner)), piece.part.symbols))
    return blocks


def what_of(owner: Owner) -> str:
    """What computes: the name of a primitive, or what an update gives."""
    if isinstance(owner, Assignment):
        return str(owner.names.get(owner.target) or Symbol(owner.target))
    return (owner.step if isinstance(owner, Return) else owner).primitive.name


def source_of(primitive: Primitive) -> str:
    """The file and line where a primitive is written, `ops/linalg.py:140`."""
    code = primitive.kernel.__code__
    path = Path(code.co_filename)
    root = Path(__file__).parent.parent
    return f"{path.relative_to(root) if path.is_relative_to(root) else path.name}:{code.co_firstlineno}"


def element_of(symbol: Symbol, place: tuple[int, ...], style: str) -> str:
    """One element, `W⁽¹⁾[0, 3]`."""
    chosen = STYLES[style]
    return chosen.symbol(symbol, [chosen.number(str(i)) for i in place])


def name_of(quantity: Quantity) -> str:
    """The quantity's name as plain text."""
    return str(quantity.symbol)


def _element_formula(
    label: str, symbol: Symbol, place: tuple[int, ...], put_in: Callable[[str], str | None], value: Any, digits: int
) -> Formula:
    """symbol[place] = numbers put in = value"""

    def write(style: str) -> str:
        chosen = STYLES[style]
        parts = [element_of(symbol, place, style)]
        middle, last = put_in(style), chosen.number(number_text(value, digits))
        for part in ([middle] if middle is not None and middle != last else []) + [last]:
            parts += [chosen.operator("="), part]
        return chosen.join(parts)

    return Formula(label, write)


def _given(explanation: Explanation, lang: str) -> Scene:
    blocks: list[Block] = []
    if explanation.kind == "model":
        blocks.append(Paragraph(text("rows", lang), "quiet"))
    if explanation.step_number:
        blocks.append(Paragraph(text("after_steps", lang, count=explanation.step_number), "quiet"))
    for quantity in explanation.quantities:
        if quantity.role in ("input", "weight", "target", "constant"):
            blocks.append(Matrix(quantity.symbol, quantity.value))
    if explanation.not_finite:
        quantity, place = explanation.not_finite
        value = number_text(quantity.value[place])
        told = text("not_finite", lang, name=name_of(quantity), place=list(place), value=value)
        blocks.append(Paragraph(told, "bad"))
    return Scene("values", text("values", lang), (), blocks, subject=explanation)


def _forward(step: Step, lang: str, digits: int) -> Scene:
    result = step.result
    title = f"{text('step', lang)} {step.number} · {name_of(result)} · {step.primitive.name}"
    if result.layer:
        title += f" · {text('layer', lang)} {result.layer}"
    blocks: list[Block] = [
        Paragraph(f"{text('source', lang)}{colon(lang)}{source_of(step.primitive)}", "quiet"),
        Formula(text("equation", lang), step.symbols),
        *(Paragraph(f"{name} = {value}") for name, value in step.settings().items()),
        _element_formula(
            text("with_values", lang), result.symbol, result.place,
            lambda style: step.put_in(style, digits=digits), result.value[result.place], digits,
        ),
        Matrix(result.symbol, result.value),
    ]  # fmt: skip
    return Scene("forward", title, (), blocks, subject=step)


def _backward(back: Return, lang: str, digits: int) -> Scene:
    operand, gradient = back.operand, gradient_of(back.operand.symbol)
    title = f"{text('step', lang)} {back.number} · {gradient} · {back.step.primitive.name}"
    blocks: list[Block] = [
        Formula(text("equation", lang), back.symbols),
        _element_formula(
            text("with_values", lang), gradient, operand.place,
            lambda style: back.put_in(style, digits=digits), back.contribution[operand.place], digits,
        ),
    ]  # fmt: skip
    terms = back.terms(most=SHOWN + 1)
    if 0 < len(terms) <= SHOWN:
        shown = terms if len(terms) <= 6 else terms[:5]
        rows = [
            [element_of(back.step.result.symbol, t.place, "unicode") if t.place else name_of(back.step.result)]
            + [number_text(x, digits) for x in (t.local, t.incoming, t.product)]
            for t in shown
        ]
        rows += [["…", "…", "…", "…"]] * (len(terms) > len(shown))
        blocks.append(Grid(["", text("local", lang), text("incoming", lang), text("product", lang)], rows))
    if back.turns > 1:
        used = text("term", lang, turn=back.turn, turns=back.turns, value=name_of(operand))
        blocks.append(Paragraph(used))
    whole = operand.gradient if back.turn == back.turns else back.total
    blocks.append(Matrix(gradient, whole))
    if back.turn == back.turns:
        blocks += _numerical(operand, lang, digits)
    return Scene("backward", title, (), blocks, subject=back)


def _numerical(quantity: Quantity, lang: str, digits: int) -> list[Block]:
    """What the numerical derivative says of it."""
    if not quantity.numerical or quantity.gradient is None:
        return []
    place = int(numpy.ravel_multi_index(quantity.place, quantity.shape)) if quantity.shape else 0
    taken = quantity.numerical.get(place) or next(iter(quantity.numerical.values()))
    verdict, kind = (text("agree", lang), "good") if quantity.agrees else (text("disagree", lang), "bad")
    if taken.kink:
        verdict, kind = text("kink", lang), "quiet"
    count = f" ({len(quantity.numerical)}/{quantity.gradient.size})"
    return [
        Paragraph(
            f"{text('numerical', lang)}{colon(lang)}{number_text(taken.value, max(digits, 9))} · {verdict}{count}", kind
        )
    ]


def _update(explanation: Explanation, revision: Revision, lang: str, digits: int) -> Scene:
    quantity = revision.quantity
    by = text("updated_by", lang, name=explanation.update_name, numbers=explanation.update_numbers)
    blocks: list[Block] = [Paragraph(by, "quiet")]
    for one in revision.assignments:
        symbol = one.names.get(one.target) or Symbol(one.target)
        blocks.append(Formula(text("equation", lang), one.symbols))
        blocks.append(
            _element_formula(
                text("with_values", lang), symbol, quantity.place,
                lambda style, one=one: one.put_in(style, quantity.place, digits),  # type: ignore[misc]
                one.after[quantity.place], digits,
            )
        )  # fmt: skip
    blocks.append(Matrix(quantity.symbol, revision.after))
    return Scene("update", f"{text('update', lang)} · {name_of(quantity)}", (), blocks, subject=revision)


def _verdict(explanation: Explanation, lang: str) -> Scene:
    if not any(q.numerical for q in explanation.quantities):
        return Scene("verdict", text("numerical", lang), (), [Paragraph(text("not_taken", lang), "quiet")])
    wrong = [name_of(q) for q in explanation.quantities if q.agrees is False]
    if wrong:
        told = Paragraph(text("some_disagree", lang, names=", ".join(wrong)), "bad")
    else:
        told = Paragraph(text("all_agree", lang), "good")
    return Scene("verdict", text("numerical", lang), (), [told])


def _cited(scene: Scene, cited: Sequence[Cited]) -> Scene:
    return replace(scene, numbers=tuple(one.entry.number for one in cited), cited=cited)
