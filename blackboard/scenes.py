"""What a story consists of: scenes of text, equations, matrices and tables; and the walk over them, for whoever draws.

The terminal, Markdown, LaTeX and notebooks draw them, each by a `Telling`; nothing here knows how.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeAlias, TypeVar

import numpy

from ..equation.styles import STYLES, Symbol
from ..equation.symbols import number_text
from .explanation import Explanation, Return, Revision, Step
from .matching import Cited
from .texts import colon, text

Drawn = TypeVar("Drawn")

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
