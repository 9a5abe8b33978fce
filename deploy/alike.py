"""Texts of JavaScript that differ only in where their arrays lie, as one function called with these places.

The steps of a recurrent layer, and the nets of the playground, are such: the page is smaller, and the browser compiles
less.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

NAME = re.compile(r"\bm\d+\b")
OFFSET = re.compile(r"(?:(?<=\[)|(?<=[+=] ))\d+(?=[\],;])")
"""Of an array in its memory. Lengths and strides stay: loops are faster with them as constants."""


def functions(lines: Sequence[str]) -> tuple[str, list[str]]:
    """The functions' text, and each line as a function without arguments."""
    found = [_parts(line) for line in lines]
    groups: dict[str, list[int]] = {}
    for k, (pattern, _, _) in enumerate(found):
        groups.setdefault(pattern, []).append(k)
    head, calls = "", [f"() => {{ {line} }}" for line in lines]
    for pattern, members in groups.items():
        if len(members) == 1:
            continue
        columns = list(zip(*(found[k][2] for k in members), strict=True))
        names = range(len(found[members[0]][1]))
        varying = [c for c, column in enumerate(columns) if len(set(column)) > 1]
        offsets = [f"$n{c}" if c in varying else column[0] for c, column in enumerate(columns)]
        first, *pieces = pattern.split("#")
        body = first + "".join(offset + piece for offset, piece in zip(offsets, pieces, strict=True))
        function = f"f{members[0]}"
        parameters = [*(f"$m{n}" for n in names), *(f"$n{c}" for c in varying)]
        head += f"const {function} = ({', '.join(parameters)}) => {{ {body} }};\n"
        for k in members:
            calls[k] = f"() => {function}({', '.join([*found[k][1], *(found[k][2][c] for c in varying)])})"
    return head, calls


def _parts(line: str) -> tuple[str, list[str], list[str]]:
    """A line with its memories numbered and # for offsets, the memories, and the offsets."""
    names: list[str] = []
    numbers: list[str] = []

    def named(match: re.Match[str]) -> str:
        if match[0] not in names:
            names.append(match[0])
        return f"$m{names.index(match[0])}"

    def counted(match: re.Match[str]) -> str:
        numbers.append(match[0])
        return "#"

    return OFFSET.sub(counted, NAME.sub(named, line)), names, numbers
