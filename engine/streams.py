"""What is printed, on any code page: what a stream cannot hold becomes readable ASCII, here and nowhere else."""

from __future__ import annotations

import codecs
import contextlib
import sys
import unicodedata
from collections.abc import Iterator
from typing import Any

from ..errors import DataError

READABLE = "chalkgrad-readable"
"""The name of the error handler, for `str.encode` and `reconfigure(errors=…)`."""
ASCII = {
    "×": "x", "⊙": "*", "⋅": "*", "∗": "*", "÷": "/", "±": "+-", "−": "-", "–": "-", "—": "-", "…": "...", "⋮": ":",
    "→": "->", "←": "<-", "⇒": "=>", "↑": "^", "↓": "v", "≤": "<=", "≥": ">=", "≠": "!=", "≈": "~", "∞": "inf",
    "√": "sqrt", "∇": "grad ", "∂": "d", "∑": "sum", "∏": "prod", "∈": " in ", "‖": "||", "′": "'", "°": " deg",
    "“": '"', "”": '"', "‘": "'", "’": "'", "•": "*", "✓": "ok", "✗": "x", "⌊": "floor(", "⌋": ")", "⁄": "/",
    "ᵀ": "^T", "µ": "u", "μ": "mu",
}  # fmt: skip


def readable(text: str, stream: Any) -> str:
    """The text as the stream's encoding can hold it; unchanged where it says none."""
    encoding = getattr(stream, "encoding", None)
    return text.encode(encoding, READABLE).decode(encoding) if isinstance(encoding, str) else text


def say(text: str, flush: bool = False) -> None:
    """Print a line."""
    print(readable(text, sys.stdout), flush=flush)


class Readable:
    """A stream that writes what it can hold, for who writes into it by itself; all else is the stream's.

    encoding: it takes any text (click would put UTF-8 into a stream that calls itself ASCII).
    """

    encoding = "utf-8"

    def __init__(self, stream: Any) -> None:
        self.stream = stream

    def write(self, text: str) -> Any:
        """Write the text, as the stream can hold it; raises DataError where it cannot be written (a full disk, say)."""
        with _told(self.stream):
            return self.stream.write(readable(text, self.stream))

    def flush(self) -> None:
        """Flush the stream; raises DataError where what was written does not arrive."""
        with _told(self.stream):
            self.stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def as_readable(stream: Any) -> Any:
    """The stream as one that takes any text; None, what Python has for a closed one, stays None."""
    return stream and Readable(stream)


@contextlib.contextmanager
def _told(stream: Any) -> Iterator[None]:
    """Make an error of a stream one of ours; but a pipe whose reader has gone is the caller's to judge."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        name = getattr(stream, "name", "a stream").strip("<>")
        raise DataError(f"cannot write to {name}: {error.strerror}.") from error


def _replaced(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    text, start, end = error.object, error.start, error.end
    return "".join(_ascii(text, i) for i in range(start, end)), end


def _ascii(text: str, i: int) -> str:
    """The character at a place in ASCII."""
    character = text[i]
    if character in ASCII:
        return ASCII[character]
    if character == "·":  # between words a dash, between factors a star
        return "-" if text[max(i - 1, 0)] == " " else "*"
    name = unicodedata.name(character, "")
    if name.startswith("GREEK"):
        letter = name.split()[-1].lower()
        return letter.capitalize() if "CAPITAL" in name else letter
    if name.startswith("BOX DRAWINGS"):
        return "-" if name.endswith("HORIZONTAL") else "|" if name.endswith("VERTICAL") else "+"
    if "BLOCK" in name:
        return "#"
    parts = unicodedata.normalize("NFKD", character)
    plain = "".join(ASCII.get(part, part) for part in parts).encode("ascii", "ignore").decode()
    for kind, sign in (("SUPERSCRIPT", "^"), ("SUBSCRIPT", "_")):
        if kind in name and plain:
            follows = i > 0 and kind in unicodedata.name(text[i - 1], "")
            return plain if follows else sign + plain
    return plain or ("" if unicodedata.combining(character) else "?")


codecs.register_error(READABLE, _replaced)
