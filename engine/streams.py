"""What is printed: what a stream cannot hold becomes readable ASCII, and what would command a terminal is shown."""

from __future__ import annotations

import codecs
import contextlib
import re
import sys
import unicodedata
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ..errors import DataError

if TYPE_CHECKING:
    from rich.console import Console

READABLE = "chalkgrad-readable"
"""The name of the error handler, for `str.encode` and `reconfigure(errors=…)`."""
ASCII = {
    "×": "x", "⊙": "*", "⋅": "*", "∗": "*", "÷": "/", "±": "+-", "−": "-", "–": "-", "—": "-", "…": "...", "⋮": ":",
    "→": "->", "←": "<-", "⇒": "=>", "↑": "^", "↓": "v", "≤": "<=", "≥": ">=", "≠": "!=", "≈": "~", "∞": "inf",
    "√": "sqrt", "∇": "grad ", "∂": "d", "∑": "sum", "∏": "prod", "∈": " in ", "‖": "||", "′": "'", "°": " deg",
    "“": '"', "”": '"', "‘": "'", "’": "'", "•": "*", "✓": "ok", "✗": "x", "⌊": "floor(", "⌋": ")", "⁄": "/",
    "ᵀ": "^T", "µ": "u", "μ": "mu",
}  # fmt: skip


CONTROLS = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)
"""Characters that command a terminal, change the direction of others, or cannot be seen; not lines and tabs."""


def plain(text: object) -> str:
    """The text as it is shown: an escape in a name, say, as `\\x1b`, so that a terminal takes it for text."""
    return CONTROLS.sub(lambda found: ascii(found[0])[1:-1], str(text))


def readable(text: str, stream: Any) -> str:
    """The text as the stream's encoding can hold it; unchanged where it says none."""
    encoding = getattr(stream, "encoding", None)
    return text.encode(encoding, READABLE).decode(encoding) if isinstance(encoding, str) else text


def say(text: str, flush: bool = False) -> None:
    """Print a text, as it is shown."""
    print(readable(plain(text), sys.stdout), flush=flush)


def console(**options: Any) -> Console:
    """A console of rich's on stdout that shows names as they are: it takes none for its markup, and escapes none.

    options: as rich's own takes them.
    """
    from rich.console import Console
    from rich.segment import Segment
    from rich.text import Text

    class Plain(Console):
        def render_str(self, text: str, **kwargs: Any) -> Text:  # before it is measured
            return super().render_str(plain(text), **kwargs)

        def render(self, *args: Any, **kwargs: Any) -> Iterator[Segment]:
            for part in super().render(*args, **kwargs):
                yield part if part.control else Segment(plain(part.text), part.style)

    return Plain(**{"file": as_readable(sys.stdout), "markup": False, "highlight": False, "emoji": False, **options})


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
    except (OSError, ValueError) as error:  # ValueError: it is closed
        name = str(getattr(stream, "name", "a stream")).strip("<>")
        why = getattr(error, "strerror", None) or str(error).removesuffix(".")
        raise DataError(f"cannot write to {name}: {why}.") from error


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
