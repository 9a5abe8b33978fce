"""A run on the terminal."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .compare import Change
from .contestants import YARDSTICK
from .results import Record, ratio, ratio_text, seconds_text, size_text, time_of
from .runner import OK

HEAD = ("", "median", "quartiles", "least", f"× {YARDSTICK}", "quartiles", "× limit", "memory")


def rows(record: Record) -> list[tuple[str, ...]]:
    """The contestants of a workload, the fastest first, as they are shown; then those that did not finish, and why."""
    entries = record["contestants"]
    done = sorted((n for n in entries if entries[n]["status"] == OK), key=lambda n: time_of(record, n).median)
    found = [_row(record, name) for name in done]
    return found + [
        (name, f"{entry['status']}: {entry['reason']}") for name, entry in entries.items() if entry["status"] != OK
    ]


def _row(record: Record, name: str) -> tuple[str, ...]:
    time, share = time_of(record, name), ratio(record, name, YARDSTICK)
    memory = record["contestants"][name]["memory"]
    extra = memory["peak_bytes"] - memory["prepared_bytes"]
    return (
        name,
        seconds_text(time.median),
        f"{seconds_text(time.low)} – {seconds_text(time.high)}",
        seconds_text(time.least),
        ratio_text(share.median) if share else "–",
        f"{ratio_text(share.low)} – {ratio_text(share.high)}" if share else "–",
        ratio_text(time.median * record["count"] / record["bound"]["seconds"]) if record["bound"]["for_all"] else "–",
        f"{size_text(memory['imported_bytes'])} + {size_text(max(extra, 0))}",
    )


def heading(record: Record) -> str:
    """A workload's title with what its times are of."""
    limit = seconds_text(record["bound"]["seconds"] / record["count"])
    source = f", {record['data']} data" if record["task"]["kind"] == "training" else ""
    return f"{record['title']}{source}; time of one {record['unit']}; limit {limit}: {record['bound']['what']}"


def show(console: Any, record: Record) -> None:
    """Print a workload's table."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for number, title in enumerate(HEAD):
        table.add_column(title, justify="right" if number else "left", no_wrap=True)
    notes = []
    for row in rows(record):
        if len(row) == 2:
            notes.append(row)
        else:
            table.add_row(*map(Text, row), style="bold" if row[0] == YARDSTICK else None)
    console.print(Text(heading(record), style="bold"))
    console.print(table)
    for name, note in notes:
        console.print(Text(f"{name}: {note}", style="red" if "disqualified" in note or "failed" in note else "yellow"))
    if notes:
        console.print()


def show_changes(console: Any, changes: Iterable[Change]) -> None:
    """Print what a comparison with another run found."""
    from rich.text import Text

    for change in changes:
        if change.before and change.now:
            told = f"{ratio_text(change.before.median)} → {ratio_text(change.now.median)} × {YARDSTICK}"
        else:
            told = change.note
        mark = "WORSE" if change.worse else "as it was" if change.now else "–"
        line = f"{change.workload}, {change.contestant}: {told}  {mark}"
        console.print(Text(line, style="bold red" if change.worse else ""))
