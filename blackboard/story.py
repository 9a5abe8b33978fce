"""An explanation told in order: scenes of text, equations, matrices and tables, for whoever draws them.

The terminal, Markdown, LaTeX and notebooks draw these, each by a `Telling`; nothing here knows how.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Generic, TypeAlias, TypeVar

import numpy

from ..engine.primitive import Primitive
from ..equation.styles import STYLES, Symbol
from ..equation.symbols import gradient_of, number_text
from .documented import Documented, documented
from .explanation import Assignment, Explanation, Quantity, Return, Revision, Step
from .matching import Cited, Owner, by_owner, citations
from .texts import colon, text

Drawn = TypeVar("Drawn")

SHOWN = 200
"""Steps of a computation that are written out; of a longer one the rest is only counted."""
SMALL = 64
"""Elements of an array that is shown whole."""


@dataclass(frozen=True)
class Paragraph:
    """Some sentences; kind: "", "good", "bad" or "quiet"."""

    text: str
    kind: str = ""


@dataclass(frozen=True)
class Formula:
    """An equation in whichever style: write(style) gives it. label: what it is."""

    label: str
    write: Callable[[str], str]


@dataclass(frozen=True)
class Matrix:
    """A named array; None is "not computed yet"."""

    symbol: Symbol
    value: Any


@dataclass(frozen=True)
class Grid:
    """A table of texts."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


Block: TypeAlias = Paragraph | Formula | Matrix | Grid


@dataclass(frozen=True)
class Scene:
    """One step of the story: a heading with its D numbers, and what stands below it.

    cited: the documented equations that stand there. subject: what it tells of, of which explanation. code: Python that
    computes what it shows, where it tells of something else.
    """

    phase: str
    title: str
    numbers: tuple[str, ...] = ()
    blocks: list[Block] = field(default_factory=list)
    cited: Sequence[Cited] = ()
    subject: Explanation | Step | Return | Revision | None = None
    explanation: Explanation | None = None
    code: str = ""

    @property
    def badges(self) -> list[str]:
        """The D numbers that its title does not begin with."""
        return [number for number in self.numbers if not self.title.startswith(f"{number} ")]


class Telling(Generic[Drawn]):
    """How scenes are told: a method for each kind of thing that stands in them. lang: "en" or "zh"."""

    style = "unicode"

    def __init__(self, lang: str = "en") -> None:
        self.lang = lang

    def parts(self, scenes: Iterable[Scene]) -> Iterator[tuple[Scene, list[Drawn]]]:
        """Each scene with what is drawn of it, the title of a chapter included where one begins."""
        phase = ""
        for scene in scenes:
            begins = scene.phase != phase and scene.phase in ("documented", "forward", "backward")
            phase = scene.phase
            title = text("title.documented" if phase == "documented" else phase, self.lang) if begins else ""
            drawn = [self.chapter(title)] * begins + [self.heading(scene)]
            yield scene, drawn + [self.block(block) for block in scene.blocks]

    def block(self, block: Block) -> Drawn:
        """Any of the things that stand below a heading."""
        if isinstance(block, Paragraph):
            return self.paragraph(block)
        if isinstance(block, Formula):
            return self.formula(f"{block.label}{colon(self.lang)}", block.write(self.style))
        if isinstance(block, Grid):
            return self.grid(block)
        name = STYLES[self.style].symbol(block.symbol)
        value = None if block.value is None else numpy.asarray(block.value)
        if value is None:
            return self.told(name, text("not_computed", self.lang))
        if value.ndim == 0:
            return self.number(name, value[()])
        shape = " × ".join(map(str, value.shape))
        if value.size > SMALL or not value.size:
            return self.told(name, f"{shape}{colon(self.lang)}{summary(value, self.lang)}")
        return self.matrix(name, as_rows(value), shape if value.ndim > 1 else "")

    def chapter(self, title: str) -> Drawn:
        """The title of a chapter."""
        raise NotImplementedError

    def heading(self, scene: Scene) -> Drawn:
        """A scene's title, with its D numbers."""
        raise NotImplementedError

    def paragraph(self, block: Paragraph) -> Drawn:
        """Sentences."""
        raise NotImplementedError

    def formula(self, label: str, written: str) -> Drawn:
        """An equation in this style."""
        raise NotImplementedError

    def grid(self, block: Grid) -> Drawn:
        """A table."""
        raise NotImplementedError

    def told(self, name: str, words: str) -> Drawn:
        """An array of which something is said in words."""
        raise NotImplementedError

    def number(self, name: str, value: Any) -> Drawn:
        """An array that is a single number."""
        raise NotImplementedError

    def matrix(self, name: str, rows: Any, shape: str) -> Drawn:
        """A small array, as rows of a matrix."""
        raise NotImplementedError


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
    found = by_owner(citations(explanation))
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
    """One element, `W₁[0, 3]`."""
    chosen = STYLES[style]
    return chosen.symbol(symbol, [chosen.number(str(i)) for i in place])


def as_rows(value: Any) -> Any:
    """An array as rows of a matrix: axes of length 1 at its ends are left out, those before the last flattened."""
    array = numpy.asarray(value)
    while array.ndim > 2 and 1 in (array.shape[0], array.shape[-1]):
        array = array[0] if array.shape[0] == 1 else array[..., 0]
    return array.reshape(-1, array.shape[-1]) if array.ndim else array


def summary(value: Any, lang: str) -> str:
    """Size and range of an array that is too large to be shown."""
    if not value.size or value.dtype.kind not in "fiub":
        return text("too_many", lang, count=value.size, low="–", mean="–", high="–")
    parts = {"low": value.min(), "mean": value.mean(), "high": value.max()}
    return text("too_many", lang, count=f"{value.size:,}", **{k: number_text(v) for k, v in parts.items()})


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
