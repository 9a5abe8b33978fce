"""The text of an equation, compiled: an expression of the language as one of Python, its indices as loops.

The compiled text has names that no equation can have: `x[]` for the array x, `x[...]` for x with the axes of `...`,
`i in` for what an index runs over, `exp()` for a function, `sum of all()` for a reduction. What most of them mean is in
`functions`; the others are up to who runs it.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Sequence
from copy import deepcopy
from functools import cache, lru_cache
from types import CodeType
from typing import Any

from .dual import lift, on_duals
from .functions import FUNCTIONS, REDUCTIONS, STRUCTURAL
from .language import REST, Equation, Statement, elements, index_name, indices_in, is_ellipsis


class Multi(tuple):  # type: ignore[type-arg]
    """The value of a multi-index: arithmetic and comparison are done for each of its axes."""

    __slots__ = ()


def _on_axes(operate: Callable[[Any, Any], Any], made: Callable[[list[Any]], Any]) -> Callable[[Any, Any], Any]:
    def operated(self: Multi, other: Any) -> Any:
        if isinstance(other, tuple):
            return made([operate(a, b) for a, b in zip(self, other, strict=True)])
        return made([operate(a, other) for a in self])

    return operated


for _sign in ("add", "sub", "mul", "floordiv"):
    _operate = getattr(operator, _sign)
    setattr(Multi, f"__{_sign}__", _on_axes(_operate, Multi))
    setattr(Multi, f"__r{_sign}__", _on_axes(lambda a, b, operate=_operate: operate(b, a), Multi))  # type: ignore[misc]
for _sign in ("lt", "le", "gt", "ge", "eq"):
    setattr(Multi, f"__{_sign}__", _on_axes(getattr(operator, _sign), all))


@lru_cache(maxsize=1024)
def references(equation: Equation) -> list[tuple[str, tuple[ast.expr, ...]]]:
    """The arrays that are indexed, each with its indices; `x.flat` under that name."""
    return [(ast.unparse(node.value), elements(node.slice)) for node in equation.references]


@lru_cache(maxsize=1024)
def bounds(equation: Equation) -> list[tuple[str, ast.expr]]:
    """Indices that come with a bound, as `a < size` after what is summed."""
    nodes = (node for statement in equation.statements for node in ast.walk(statement.expression))
    calls = [node for node in nodes if isinstance(node, ast.Call) and ast.unparse(node.func) in REDUCTIONS]
    return [
        (ast.unparse(part.left), part.comparators[0])
        for call in calls
        for part in call.args[1:]
        if isinstance(part, ast.Compare)
    ]


@lru_cache(maxsize=4096)
def expression(node: ast.expr, indices: frozenset[str]) -> CodeType:
    return _compiled(_Text(indices).visit(deepcopy(node)))


@lru_cache(maxsize=4096)
def place(parts: tuple[ast.expr, ...], indices: frozenset[str]) -> CodeType:
    return _compiled(_Text(indices).place(deepcopy(parts)))


@lru_cache(maxsize=1024)
def loop(statement: Statement, indices: frozenset[str]) -> CodeType:
    """All places of a statement's target, each with its value."""
    text = _Text(indices)
    pair = [text.place(deepcopy(statement.indices)), text.visit(deepcopy(statement.expression))]
    names = [name for part in statement.indices for name in indices_in(part, indices)]
    both = ast.Tuple(pair, ast.Load())
    return _compiled(_each(both, names) if names else ast.List([both], ast.Load()))


@lru_cache(maxsize=1024)
def rows(statement: Statement, names: tuple[str, ...], indices: frozenset[str]) -> CodeType:
    """The values of an elementwise statement, the values of the names being the rows."""
    row = ast.Tuple([ast.Name(name, ast.Store()) for name in names], ast.Store())
    value = _Text(indices).visit(deepcopy(statement.expression))
    return _compiled(ast.ListComp(value, [ast.comprehension(row, _name("rows in"), [], 0)]))


def _compiled(node: ast.expr) -> CodeType:
    return compile(ast.fix_missing_locations(ast.Expression(node)), "equation", "eval")


def _each(node: ast.expr, indices: Sequence[str]) -> ast.ListComp:
    """A list: of the expression for all values of the indices."""
    return ast.ListComp(node, [ast.comprehension(ast.Name(i, ast.Store()), _name(f"{i} in"), [], 0) for i in indices])


def _is_zero(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value == 0


def _name(name: str) -> ast.expr:
    return ast.Name(name, ast.Load())


def _call(name: str, *arguments: ast.expr) -> ast.expr:
    return ast.Call(_name(f"{name}()"), list(arguments), [])


class _Text(ast.NodeTransformer):
    """An expression of the language as one of Python, with names for `Loops.names` that no equation can have."""

    def __init__(self, indices: frozenset[str]) -> None:
        self.indices = indices

    def place(self, parts: Sequence[ast.expr]) -> ast.expr:
        """Indices as one tuple."""
        read = [ast.Starred(_name(REST), ast.Load()) if is_ellipsis(part) else self.visit(part) for part in parts]
        alone = len(read) == 1 and not isinstance(read[0], ast.Starred)
        return _call("place", *read) if alone else ast.Tuple(read, ast.Load())

    def visit_BinOp(self, node: ast.BinOp) -> ast.expr:
        node.left, node.right = self.visit(node.left), self.visit(node.right)
        if isinstance(node.op, ast.Div):
            node.left = _call("lift", node.left)
        elif isinstance(node.op, ast.BitAnd | ast.BitOr | ast.BitXor):
            node.left, node.right = _call("int", node.left), _call("int", node.right)
        return node

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.expr:
        node.operand = self.visit(node.operand)
        if isinstance(node.op, ast.Invert):
            node.operand = _call("int", node.operand)
        return node

    def visit_BoolOp(self, node: ast.BoolOp) -> ast.expr:
        self.generic_visit(node)
        return _call("bool", node)

    def visit_Call(self, node: ast.Call) -> ast.expr:
        name = ast.unparse(node.func)
        over = [index for part in node.args[1:] if (index := index_name(part, self.indices))]
        if name in STRUCTURAL:  # of arrays, also of those without axes
            arrays = [_name(f"{part.id}[]") if isinstance(part, ast.Name) else self.visit(part) for part in node.args]
            return _call(name, *arrays)
        if name not in REDUCTIONS or not over:
            return _call(name, *map(self.visit, node.args))
        body, tests = node.args[0], list[ast.expr]()
        if name == "sum" and isinstance(body, ast.IfExp) and _is_zero(body.orelse):  # the loops leave these terms out
            both = isinstance(body.test, ast.BoolOp) and isinstance(body.test.op, ast.And)
            tests, body = body.test.values if both else [body.test], body.body  # type: ignore[attr-defined]
        values = _each(self.visit(body), over)
        inner = 0
        for test in tests:  # as far outside as its indices are known, though not before the tests that stand before it
            inner = max(inner, *(over.index(i) for i in indices_in(test, self.indices) if i in over), 0)
            values.generators[inner].ifs.append(self.visit(test))
        return _call(f"{name} of all", values)

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        return ast.Attribute(_name(f"{ast.unparse(node.value)}[]"), node.attr, ast.Load())

    def visit_Subscript(self, node: ast.Subscript) -> ast.expr:
        parts = elements(node.slice)
        if not isinstance(node.value, ast.Name):  # x.shape[i], x.flat[i]
            return ast.Subscript(self.visit(node.value), self.visit(parts[0]), ast.Load())
        if node.value.id in self.indices:
            return _call("in another order", node.value, self.visit(node.slice))
        array = f"{node.value.id}[...]" if any(map(is_ellipsis, parts)) else f"{node.value.id}[]"
        return ast.Subscript(_name(array), self.place(parts), ast.Load())


@cache
def functions() -> dict[str, Any]:
    """What the functions of the compiled text are, on dual numbers."""
    chosen = {f"{name}()": f.chosen for name, f in FUNCTIONS.items() if f.chosen}
    exactly = {f"{name}()": on_duals(f.value, f.slope) for name, f in FUNCTIONS.items() if f.value and f.slope}
    combined = {f"{name} of all()": r.combined for name, r in REDUCTIONS.items()}
    own = {
        "lift()": lift, "int()": int, "bool()": bool, "place()": _as_place, "before()": _before,
        "in another order()": _in_another_order,
    }  # fmt: skip
    return {"__builtins__": {}, **chosen, **exactly, **combined, **own}


def _before(padding: Any) -> Multi:
    return Multi(first for first, _ in padding)


def _as_place(index: Any) -> Any:
    return index if isinstance(index, tuple) else (index,)


def _in_another_order(index: Multi, order: Sequence[int] | None) -> Multi:
    return Multi(index[k] for k in (range(len(index) - 1, -1, -1) if order is None else order))
