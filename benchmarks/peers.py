"""What the comparisons share: their command lines, which peers are installed, and how results are written."""

from __future__ import annotations

import argparse
import json
import platform
from collections.abc import Iterable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from ..engine.files import write_file

NOT_INSTALLED = "not installed"
"""Where a version should stand."""


def command_line(name: str, about: str | None) -> argparse.ArgumentParser:
    """The command line of `python -m chalkgrad.benchmarks.NAME`; about: what its help says, the module's docstring."""
    what, _, more = (about or "").partition("\n\n")
    return argparse.ArgumentParser(
        prog=f"python -m {__package__}.{name}", description=what, epilog=more,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip


def version(package: str) -> str | None:
    """The version of an installed package; None where it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Python's version and those of the packages; "not installed" where one is missing."""
    found = {package: version(package) or NOT_INSTALLED for package in packages}
    return {"python": platform.python_version(), **found}


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table; the first column is aligned left, the others centred."""
    lines = [list(map(str, head)), ["---"] + [":-:"] * (len(head) - 1), *(list(map(str, row)) for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def write(path: str, content: str | dict[str, Any]) -> None:
    """Write a text, or values as JSON; raises DataError where the folder cannot be written to."""
    text = content if isinstance(content, str) else json.dumps(content, indent=1, ensure_ascii=False)
    write_file(Path(path), text.rstrip() + "\n")
