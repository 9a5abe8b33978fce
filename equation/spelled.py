"""As many indices as arrays have axes: what the axes of `...` and of multi-indices are called."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping
from dataclasses import replace

from .compiled import references
from .language import REST, Equation, bare_names, is_ellipsis
from .styles import Symbol
from .symbols import symbol_of

LETTERS = "nijklmpqrstuv"
"""What axes can be called that the equation gives no index of their own."""

Use = tuple[str, tuple[ast.expr, ...]]
"""An array and its indices."""


def spelled(equation: Equation, axes: Mapping[str, int]) -> dict[str, list[Symbol]]:
    """Symbols for each axis of `...`, of each multi-index, and of each parameter with a value for each of its axes.

    axes: how many each array has, by name; the length of such a parameter; and what `...` stands for, where no array
    tells it. A multi-index beside others is numbered, i₁ and i₂; one by itself has a letter for each axis, as `...`.
    """
    targets = [(s.target + ".flat" * equation.flat, s.indices) for s in equation.statements]
    uses = [use for use in (*targets, *references(equation)) if use[1]]
    nodes = [node for s in equation.statements for root in (s.expression, *s.indices) for node in ast.walk(root)]
    together = [node for node in nodes if isinstance(node, ast.Starred | ast.Compare)]
    alone = _alone(uses, axes)
    counts = alone | _starred(uses, axes)
    for node in reversed(together):  # indices that are added or compared have as many axes
        indices = bare_names(node, equation.indices)
        known = [counts[index] for index in indices if index in counts]
        counts |= dict.fromkeys(indices, known[0]) if known else {}
    parameters = [bare_names(node, equation.values) for node in together if bare_names(node, counts.keys())]
    counts |= {name: axes[name] for names in parameters for name in names if name in axes}
    free = (Symbol(c) for c in LETTERS if c not in equation.values and c not in equation.indices - alone.keys())
    made = {name: [next(free) for _ in range(count)] for name, count in alone.items()}
    for name, count in counts.items():
        numbers = [str(axis) for axis in range(1, count + 1)] if count > 1 else [""]
        made.setdefault(name, [replace(symbol_of(name), sub=number) for number in numbers])
    permuted = {ast.unparse(node.value) for node in nodes if isinstance(node, ast.Subscript)}
    return {name: symbols for name, symbols in made.items() if name not in permuted}


def _alone(uses: Iterable[Use], axes: Mapping[str, int]) -> dict[str, int]:
    """How many axes `...` stands for, and an index that has an array's axes, or those left by `...`, to itself."""
    known = [(axes[name], parts) for name, parts in uses if name in axes]
    open_ones = [(count - len(parts) + 1, len(parts)) for count, parts in known if any(map(is_ellipsis, parts))]
    bare = [count for count, length in open_ones if length == 1]
    named = [count for count, length in open_ones if length > 1]
    rest = min(max(found) for found in (bare, named) if found) if open_ones else axes.get(REST)
    counts = {} if rest is None else {REST: rest}
    for count, parts in known:
        left = count - (rest or 0) if is_ellipsis(parts[0]) else count
        last = parts[-1]
        if isinstance(last, ast.Name) and len(parts) == 1 + is_ellipsis(parts[0]) and left > 1:
            counts[last.id] = left
    return counts


def _starred(uses: Iterable[Use], axes: Mapping[str, int]) -> dict[str, int]:
    """How many axes the multi-indices have that stand beside others, `*i`."""
    return {
        part.value.id: axes[name] - len(parts) + 1
        for name, parts in uses
        for part in parts
        if name in axes and isinstance(part, ast.Starred) and isinstance(part.value, ast.Name)
    }
