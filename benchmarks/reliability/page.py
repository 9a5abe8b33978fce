"""The pages of what is promised, in both languages, with the figures of the runs behind it.

    python -m chalkgrad.benchmarks.reliability.page

docs/reliability.md and docs/zh/reliability.md are made of the templates beside this file and of whichever
benchmarks/results/reliability-*.json there are.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...engine.markup import rendered
from ..peers import write
from .fuzz_worker import FINE

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results"
PAGES = {"en": ROOT / "docs" / "reliability.md", "zh": ROOT / "docs" / "zh" / "reliability.md"}
RUNS = ("crashes", "disk-faults", "fuzzing", "soak", "leaks")
COUNTED = ("inputs", "slowest_seconds", "peak_bytes", *FINE)
"""What a row of the fuzzing holds besides its finds."""


def page(lang: str, results: Path = RESULTS) -> str:
    """The page in a language; a run without a file has no part in it."""
    found = {}
    for run in RUNS:
        file = results / f"reliability-{run}.json"
        found[run.replace("-", "_")] = json.loads(file.read_text("utf-8")) if file.exists() else None
    return rendered(f"benchmarks/reliability/page.{lang}.md.jinja", **found, cell=cell, finds=finds, machine=machine)


def cell(text: str) -> str:
    """A text in a cell of a table, where no sign of it means more."""
    for sign in "\\|<*_`[":
        text = text.replace(sign, f"\\{sign}")
    return " ".join(text.split())


def finds(row: dict[str, Any]) -> int:
    """How many inputs of a target were not as they should be."""
    return sum(count for kind, count in row.items() if kind not in COUNTED)


def machine(known: dict[str, Any]) -> str:
    """The machine of a run, in a line."""
    cores, python = f"{known['cores']} cores", f"Python {known['python']}"
    return f"{known['processor']}, {cores}, {known['system']}, {python}, {known['date']}."


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    argparse.ArgumentParser(
        prog="python -m chalkgrad.benchmarks.reliability.page", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    ).parse_args(arguments)  # fmt: skip
    for lang, file in PAGES.items():
        write(str(file), page(lang))
    return 0


if __name__ == "__main__":
    sys.exit(main())
