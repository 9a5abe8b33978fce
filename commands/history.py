"""The history of a training as a table."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.table import Table

from ..nn import History
from ..nn.representation import shown_epochs


def print_history(history: History) -> None:
    """Print the history, in which the test split served as validation data."""
    console = Console()
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("\nepoch", justify="right")
    for name in history.history:
        table.add_column(label(name), justify="right")
    for row in shown_epochs(len(history.epoch)):
        values = (f"{column[row]:.4f}" for column in history.history.values())
        table.add_row(str(history.epoch[row] + 1), *values)
    console.print(table)
    console.print(
        "Running means are taken over an epoch while the weights change; test figures are those of its end.",
        style="dim",
    )


def label(name: str) -> str:
    """What a column of the history is called, in two lines."""
    if name.startswith("val_"):
        return f"test\n{name.removeprefix('val_')}"
    return f"training {name}\n(running mean)"
