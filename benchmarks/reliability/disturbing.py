"""What mutators share: odd texts and values, and good ones with something changed, by a generator's draws alone."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from numpy.random import Generator

TEXTS: tuple[str, ...] = (
    "", " ", "\0", "a\0b", "\n", "\r\n", "-", "--", "-1", "0", "1", "1e999", "nan", "NaN", "inf", "9" * 5000,
    "%s", "{}", "{0}",
    "../..", "/", ".", "~", "$HOME", "con", "a" * 300, "a" * 100_000, "\x1b[31mred\x1b[0m", "\x1b]0;title\x07",
    "\x9b2J",
    "[red]x[/red]", "[/]", "[", "]", "\u202eabc", "\u2066x\u2069",
    "\ud800", "é", "e\u0301", "中文", "\U0001f600", "\ufeff", "\u200b",
    "</script>", "<b>", "'", '"', "\\", "`", "#", "=", "True", "None", "__class__", "__proto__", "lambda: 0",
)  # fmt: skip
"""Texts that something somewhere takes for more than text."""
NUMBERS: tuple[int | float, ...] = (
    0, 1, -1, 2, 255, 2**31 - 1, 2**31, 2**32, 2**53 + 1, 2**63 - 1, 2**63, 2**64, -(2**63), 10**30, 0.5, -0.0,
    1e-320, 1e308, float("nan"), float("inf"), float("-inf"),
)  # fmt: skip
RAW: tuple[bytes, ...] = (
    b"[" * 100_000, b'{"a":' * 100_000, b"[" * 900 + b"]" * 900, b"9" * 5000, b"1e999", b"NaN", b"-Infinity",
    b'"\\ud800"',
    b'"\xff"', b'{"a":1,"a":2}', b"", b"tru", b"'x'", b'"', b"\xef\xbb\xbf1", b"0x10", b"1.", b'"\\u0000"',
)  # fmt: skip
"""What JSON cannot hold, or hardly, in a value's place."""


def one_of(rng: Generator, values: Sequence[Any]) -> Any:
    """One of some values, as it is (`rng.choice` would make an array of them)."""
    return values[int(rng.integers(len(values)))]


def odd_value(rng: Generator) -> Any:
    """A value that JSON can hold, and that is not what one expects."""
    simple: list[Any] = [None, True, False, one_of(rng, TEXTS), one_of(rng, NUMBERS), one_of(rng, NUMBERS), [], {}]
    value = one_of(rng, simple)
    return one_of(rng, [value, value, value, [value], {"a": value}, [[value] * 3] * 2])


def disturbed_json(rng: Generator, tree: Any) -> Any:
    """The tree with one node changed: another value, left out, named otherwise, twice, or another node's."""
    nodes: list[tuple[Any, Any]] = []
    tree = json.loads(json.dumps(tree))
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        inner = list(node) if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ()
        nodes += [(node, key) for key in inner]
        waiting += [node[key] for key in inner]
    if not nodes or rng.random() < 0.02:
        return odd_value(rng)
    parent, key = one_of(rng, nodes)
    kind = rng.integers(6)
    if kind == 0:
        del parent[key]
    elif kind == 1 and isinstance(parent, dict):
        parent[one_of(rng, TEXTS)] = parent.pop(key)
    elif kind == 2:
        other, place = one_of(rng, nodes)
        parent[key] = json.loads(json.dumps(other[place]))
    elif kind == 3 and isinstance(parent, list):
        parent += [parent[key]] * int(one_of(rng, (1, 2, 1000)))
    else:
        parent[key] = odd_value(rng)
    return tree


def json_bytes(rng: Generator, tree: Any) -> bytes:
    """A tree as the bytes of a file: mostly as it is, else with raw bytes in a value's place, or otherwise encoded."""
    text = json.dumps(tree)
    data = text.encode("utf-8", "surrogatepass")
    kind = rng.random()
    if kind < 0.75:
        return data
    if kind < 0.9:
        places = [i for i, byte in enumerate(data) if byte in b":,[" and i < 100_000] or [0]
        place = int(one_of(rng, places)) + 1
        raw: bytes = one_of(rng, RAW)
        return data[:place] + raw + data[place + int(rng.integers(0, 9)) :]
    if kind < 0.95:
        encoding: str = one_of(rng, ("utf-16", "utf-32", "utf-8-sig", "utf-7"))
        return text.encode(encoding, "surrogatepass")
    return disturbed_bytes(rng, data)


def disturbed_bytes(rng: Generator, data: bytes) -> bytes:
    """The bytes with something flipped, cut out, put in, doubled, or a number of 1 to 8 bytes set to an extreme."""
    if not data:
        return rng.bytes(int(rng.integers(1, 64)))
    changed = bytearray(data)
    for _ in range(int(one_of(rng, (1, 1, 1, 2, 4, 16)))):
        place = int(rng.integers(len(changed) + 1))
        length = int(one_of(rng, (1, 2, 4, 8, 64, len(data) // 2 + 1)))
        kind = rng.integers(6)
        if kind == 0 and place < len(changed):
            changed[place] ^= 1 << int(rng.integers(8))
        elif kind == 1:
            del changed[place : place + length]
        elif kind == 2:
            changed[place:place] = rng.bytes(length)
        elif kind == 3:
            changed[place:place] = changed[place : place + length]
        elif kind == 4:
            del changed[place:]
        else:
            number = int(one_of(rng, (0, 1, 2**7, 2**8 - 1, 2**15, 2**31 - 1, 2**32 - 1, 2**63 - 1, 2**64 - 1)))
            size = int(one_of(rng, (1, 2, 4, 8)))
            changed[place : place + size] = (number % 256**size).to_bytes(size, one_of(rng, ("little", "big")))
    return bytes(changed)


def disturbed_text(rng: Generator, text: str, words: Sequence[str]) -> str:
    """The text with some of its characters left out, doubled or moved, or with words put in."""
    for _ in range(int(one_of(rng, (1, 1, 2, 3, 8)))):
        start = int(rng.integers(len(text) + 1))
        end = start + int(one_of(rng, (1, 1, 2, 5, len(text) // 2 + 1)))
        piece = one_of(rng, ("", text[start:end] * 2, one_of(rng, words), one_of(rng, words), one_of(rng, words)))
        text = text[:start] + piece + text[start if rng.random() < 0.5 else end :]
    return text
