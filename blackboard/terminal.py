"""An explanation in a terminal: equations in Unicode, matrices as they stand on a blackboard."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from rich import box
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from ..engine import streams
from ..equation.symbols import number_text
from .scenes import Grid, Paragraph, Scene, Telling

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
    console = console or streams.console()
    for _, drawn in Terminal(lang).parts(scenes):
        console.print(Group(*drawn))
        if wait and not wait():
            return


class Terminal(Telling[RenderableType]):
    """Draws as rich does."""

    def chapter(self, title: str) -> RenderableType:
        """A rule across."""
        return Group("", Rule(Text(title, "bold"), align="left", style="dim"))

    def heading(self, scene: Scene) -> RenderableType:
        """D numbers and the title, in the colour of its phase."""
        title = Text("\n")
        for number in scene.badges:
            title.append(f" {number} ", "reverse")
            title.append(" ")
        return title.append(scene.title, PHASES.get(scene.phase, "bold"))

    def paragraph(self, block: Paragraph) -> RenderableType:
        """Coloured by its kind."""
        return _moved(Text(block.text, STYLES[block.kind]))

    def formula(self, label: str, written: str) -> RenderableType:
        """On a line with its label."""
        line = Table.grid(padding=(0, int(label.endswith(" "))))
        line.add_row(Text(label.rstrip(), "dim"), Text(written))
        return _moved(line)

    def grid(self, block: Grid) -> RenderableType:
        """Numbers flush right."""
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="dim")
        for i, column in enumerate(block.columns):
            table.add_column(column, justify="right" if i else "left")
        for row in block.rows:
            table.add_row(*row)
        return _moved(table)

    def told(self, name: str, words: str) -> RenderableType:
        """Dim, as no numbers stand there."""
        return _moved(Text(f"{name} = ").append(words, "dim"))

    def number(self, name: str, value: Any) -> RenderableType:
        """Bold."""
        return _moved(Text(f"{name} = ").append(number_text(value, 6), "bold"))

    def matrix(self, name: str, rows: Any, shape: str) -> RenderableType:
        """Between brackets as tall as it is."""
        table = Table.grid(padding=(0, 2))
        cells = [_row(row) for row in rows]
        for _ in range(len(cells[0]) + 2):
            table.add_column(justify="right", no_wrap=True)
        last = len(cells) - 1
        for i, row in enumerate(cells):
            left, right = "[]" if not last else "⎡⎤" if not i else "⎣⎦" if i == last else "⎢⎥"
            table.add_row(left, *row, right)
        whole = Table.grid(padding=(0, 1))
        whole.add_row(Text(f"{name} ="), table, Text(shape, "dim"))
        return _moved(whole)


def _moved(drawn: RenderableType) -> RenderableType:
    return Padding(drawn, (0, 0, 0, 2))


def _row(row: Any) -> list[Text]:
    """The numbers of a row; of a long one the first and the last."""
    shown = [_number(x) for x in row]
    return shown if len(shown) <= COLUMNS else [*shown[: COLUMNS - 2], Text("…"), shown[-1]]


def _number(x: Any) -> Text:
    written = number_text(x)
    return Text(written, "bold red" if written in ("NaN", "∞", "−∞") else "")
