"""An explanation in a terminal: equations in Unicode, matrices as they stand on a blackboard."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import Any

import numpy
from rich import box
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from ..engine.streams import as_readable
from ..equation.symbols import number_text
from .story import SMALL, Block, Formula, Grid, Matrix, Paragraph, Scene, as_rows, summary
from .texts import text

STYLES = {"": "", "good": "green", "bad": "bold red", "quiet": "dim"}
PHASES = {"forward": "bold cyan", "backward": "bold magenta", "update": "bold yellow"}


COLUMNS = 7
"""Numbers in a row; of a longer one the first and the last are shown."""


def show(
    scenes: Iterable[Scene], lang: str = "en", console: Console | None = None, wait: Callable[[], bool] | None = None
) -> None:
    """Print the scenes one below the other.

    wait: called after each scene; the telling ends where it returns False.
    """
    console = console or Console(file=as_readable(sys.stdout), highlight=False)
    phase = ""
    for scene in scenes:
        if scene.phase != phase and scene.phase in ("documented", "forward", "backward"):
            key = "title.documented" if scene.phase == "documented" else scene.phase
            console.print()
            console.rule(Text(text(key, lang), "bold"), align="left", style="dim")
        phase = scene.phase
        console.print(drawn(scene, lang))
        if wait and not wait():
            return


def drawn(scene: Scene, lang: str = "en") -> RenderableType:
    """A scene as rich draws it."""
    title = Text("\n")
    for number in scene.numbers:
        if not scene.title.startswith(f"{number} "):
            title.append(f" {number} ", "reverse")
            title.append(" ")
    title.append(scene.title, PHASES.get(scene.phase, "bold"))
    return Group(title, *(Padding(_block(block, lang), (0, 0, 0, 2)) for block in scene.blocks))


def _block(block: Block, lang: str) -> RenderableType:
    if isinstance(block, Paragraph):
        return Text(block.text, STYLES[block.kind])
    if isinstance(block, Formula):
        line = Table.grid(padding=(0, 1))
        line.add_row(Text(f"{block.label}:", "dim"), Text(block.write("unicode")))
        return line
    if isinstance(block, Grid):
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="dim")
        for i, column in enumerate(block.columns):
            table.add_column(column, justify="right" if i else "left")
        for row in block.rows:
            table.add_row(*row)
        return table
    return _matrix(block, lang)


def _matrix(block: Matrix, lang: str) -> RenderableType:
    name = Text(f"{block.symbol} = ")
    if block.value is None:
        return name.append(text("not_computed", lang), "dim italic")
    value = numpy.asarray(block.value)
    if value.ndim == 0:
        return name.append(number_text(value[()], 6), "bold")
    shape = " × ".join(map(str, value.shape))
    if value.size > SMALL or not value.size:
        return name.append(f"{shape}: {summary(value, lang)}", "dim")
    rows = as_rows(value)
    table = Table.grid(padding=(0, 2))
    cells = [_row(row) for row in rows]
    for _ in range(len(cells[0]) + 2):
        table.add_column(justify="right", no_wrap=True)
    for i, row in enumerate(cells):
        left, right = (
            ("[", "]") if len(rows) == 1 else ("⎡", "⎤") if not i else ("⎣", "⎦") if i == len(rows) - 1 else "⎢⎥"
        )
        table.add_row(left, *row, right)
    whole = Table.grid(padding=(0, 1))
    whole.add_row(Text(f"{block.symbol} ="), table, Text(shape if value.ndim > 1 else "", "dim"))
    return whole


def _row(row: Any) -> list[Text]:
    """The numbers of a row; of a long one the first and the last."""
    shown = [_number(x) for x in row]
    return shown if len(shown) <= COLUMNS else [*shown[: COLUMNS - 2], Text("…"), shown[-1]]


def _number(x: Any) -> Text:
    written = number_text(x)
    return Text(written, "bold red" if written in ("NaN", "∞", "−∞") else "")
