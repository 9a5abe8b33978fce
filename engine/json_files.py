"""JSON that others wrote: read within bounds, or refused with an error that says what is wrong and where."""

from __future__ import annotations

import json
import math
import os
from typing import Any

from ..errors import DataError
from .files import opened

LARGEST = 3_000_000
"""Bytes of a file: what they become takes up to thirty times as much memory."""
DEEPEST = 64
DIGITS = 300
"""Of a whole number: all such are floats, too."""


def read_json(path: str | os.PathLike[str], largest: int = LARGEST) -> Any:
    """What a JSON file says.

    Raises DataError for what is no file, cannot be read, is larger than `largest` bytes, or is refused by `parse_json`.
    """
    with opened(path) as (file, size):
        data = file.read(largest + 1) if size <= largest else b""
    if max(size, len(data)) > largest:
        raise DataError(f"cannot read {os.fspath(path)}: it is larger than {largest:,} bytes.")
    return parse_json(data, str(os.fspath(path)))


def parse_json(text: str | bytes, where: str) -> Any:
    """What a JSON text says; where: what errors call it.

    Raises DataError for what is no JSON in UTF-8, nests deeper than 64, has NaN or infinity, a number of more than 300
    digits, the same key twice in one object, or characters that no text can hold.
    """
    try:
        found = json.loads(
            str(text, "utf-8-sig") if isinstance(text, bytes) else text,
            object_pairs_hook=_unique, parse_constant=_not_finite, parse_float=_finite, parse_int=_short,
        )  # fmt: skip
        _check(found)
    except RecursionError:
        raise DataError(f"{where} cannot be used: it nests deeper than {DEEPEST}.") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{where} is no JSON: not UTF-8 from byte {error.start} on.") from None
    except ValueError as error:
        raise DataError(f"{where} is no JSON that can be used: {error}.") from None
    return found


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in found if names.count(name) > 1)
        raise ValueError(f"{twice[:80]!r} is there twice")
    return found


def _not_finite(text: str) -> float:
    raise ValueError(f"{text} is no number of JSON's")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:80]} is too large a number")
    return number


def _short(text: str) -> int:
    if len(text) > DIGITS:
        raise ValueError(f"a number has {len(text)} digits")
    return int(text)


def _check(tree: Any) -> None:
    """Refuse what nests too deep, and texts with half a character, which cannot be written anywhere."""
    level = [tree]
    for depth in range(DEEPEST + 1):
        inner: list[Any] = []
        for node in level:
            if depth == DEEPEST and isinstance(node, dict | list):
                raise RecursionError
            if isinstance(node, dict):
                inner += node
                inner += node.values()
            elif isinstance(node, list):
                inner += node
            elif isinstance(node, str) and not node.isascii():
                _check_text(node)
        level = inner


def _check_text(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"the text {text[:80]!a} has half a character, {text[error.start]!a}") from None
