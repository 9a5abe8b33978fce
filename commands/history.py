"""The history of a training as a table."""

from __future__ import annotations

from rich import box
from rich.table import Table

from ..engine.streams import console
from ..nn import History
from ..nn.notebook import shown_epochs
from .words import WORDS, said


def print_history(history: History, lang: str = "en") -> None:
    """Print the history, in which the test split served as validation data."""
    shown = console()
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column(said("epoch", lang), justify="right")
    for column in history.history:
        name = column.removeprefix("val_")
        column_name = said(name, lang) if name in WORDS else name
        table.add_column(said("column" if name == column else "test column", lang, name=column_name), justify="right")
    for row in shown_epochs(len(history.epoch)):
        values = (f"{column[row]:.4f}" for column in history.history.values())
        table.add_row(str(history.epoch[row] + 1), *values)
    shown.print(table)
    shown.print(said("means", lang), style="dim")
