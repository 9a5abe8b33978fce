"""What the doctor finds."""

from __future__ import annotations

from dataclasses import dataclass

OK, MISSING, WRONG = "ok", "missing", "wrong"
"""The states of a finding; what is missing is optional."""


@dataclass
class Finding:
    """One thing that was looked at: its name, what there is to say, its state, the command that mends it."""

    name: str
    value: str
    state: str = OK
    command: str | None = None


def first_line(error: BaseException) -> str:
    """An error's message, on one line."""
    lines = str(error).strip().splitlines()
    return lines[0].strip() if lines else type(error).__name__
