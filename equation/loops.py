"""The equation as a witness: its text, evaluated by plain loops at 50 digits, with its derivatives.

This reads what the equation says and nothing of the kernel: no array library takes part in the arithmetic. Since the
text is Python's own syntax, it is compiled as it stands, its indices as the loops of comprehensions.
"""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from functools import cache, lru_cache
from types import CodeType
from typing import Any

import numpy

from ..errors import EquationError
from .arrays import Exact, scatter, whole
from .dual import Dual, lift, load_mpmath, on_duals
from .functions import CONSTANTS, FUNCTIONS, REDUCTIONS
from .language import REST, Equation, Statement, elements, index_name, indices_in, is_ellipsis


def exact(values: Any, variable: Any = None) -> Exact:
    """Floats or integers as dual numbers, exactly; with `variable` each element is a variable (variable, index)."""
    values = numpy.asarray(values)
    mpf, one = load_mpmath().mpf, load_mpmath().one
    result = numpy.empty(values.shape, dtype=object)
    for index, number in zip(numpy.ndindex(values.shape), values.reshape(-1).tolist(), strict=True):
        result[index] = Dual(mpf(number), {(variable, index): one} if variable is not None else None)
    return result


def evaluate(equation: Equation, values: Mapping[str, Any], shape: tuple[int, ...], axis: Any = ()) -> Exact:
    """The value of the equation's target, an array of dual numbers of `shape`.

    values: operands and gradients as arrays of dual numbers, parameters as they are. axis: what the index after
    `...` runs over, where the primitive has such a parameter; () where it has none.
    Raises EquationError where an index has no extent, or different ones.
    """
    loops = Loops(equation, values, shape, axis, _at_50_digits())
    for statement in equation.statements:
        loops.run(statement)
    result = loops.scope[equation.target]
    if axis != () and isinstance(result, numpy.ndarray) and result.shape != shape:
        arranged, result = result, numpy.empty(shape, dtype=object)
        result.reshape(-1)[loops.places.reshape(-1)] = arranged.reshape(-1)
    return result


class Loops:
    """An equation at work on arrays: what each index runs over, and the loops.

    scope: the values by their names, with the axis of the primitive at the end. places: of the result's elements in
    row-major order, likewise. extents: by index what it runs over, of a multi-index several lengths. functions: what
    functions of numbers are, and constants; without them only indices can be computed.
    """

    def __init__(
        self, equation: Equation, values: Mapping[str, Any], shape: tuple[int, ...], axis: Any,
        functions: Mapping[str, Any] | None = None,
    ) -> None:  # fmt: skip
        self.equation, self.axis = equation, axis
        arrays = [v for v in values.values() if isinstance(v, numpy.ndarray)]
        self.ndim = max(len(shape), *(v.ndim for v in arrays)) if arrays else len(shape)
        self.scope: dict[str, Any] = {name: self.arranged(name, value) for name, value in values.items()}
        self.names = {
            **_functions(),
            **(functions or {}),
            **self.scope,
            **{f"{name}[]": value for name, value in self.scope.items()},
        }
        self.places = numpy.arange(numpy.prod(shape, dtype=int)).reshape(shape)
        target = equation.statements[-1]
        if axis != () and target.indices:
            self.places = self._without_axis(self.places) if len(target.indices) == 1 else self._axis_last(self.places)
        self.extents: dict[str, Any] = {}
        self._find_extents()
        for name, value in list(self.scope.items()):
            self._name(name, value)
        self.names |= {f"{name} in": self.span(name) for name in {REST, *equation.indices}}

    def arranged(self, name: str, value: Any) -> Any:
        """An array as the equation's indices name its elements: the axis of the primitive at the end, or left out."""
        uses = [parts for other, parts in _references(self.equation) if other == name]
        if isinstance(value, tuple):
            return Multi(value)
        if self.axis == () or not uses or not isinstance(value, numpy.ndarray):
            return value
        return self._without_axis(value) if all(len(parts) == 1 for parts in uses) else self._axis_last(value)

    def _axes(self) -> tuple[int, ...]:
        if self.axis is None:
            return tuple(range(self.ndim))
        axes = self.axis if isinstance(self.axis, tuple) else (self.axis,)
        return tuple(sorted(a % self.ndim for a in axes)) if self.ndim else ()

    def _axis_last(self, x: Exact) -> Exact:
        """x with the axes of the primitive as one at the end; where it was reduced over them already, without them."""
        if x.ndim < self.ndim:
            return x
        axes = self._axes()
        rest = [i for i in range(x.ndim) if i not in axes]
        return x.transpose([*rest, *axes]).reshape([x.shape[i] for i in rest] + [-1])

    def _without_axis(self, x: Exact) -> Exact:
        """x of a reduction with keepdims, without the axes of length 1 that it kept."""
        if x.ndim < self.ndim or any(x.shape[a] != 1 for a in self._axes()):
            return x
        return x.squeeze(self._axes())

    # What indices run over

    def _find_extents(self) -> None:
        """Tell from the shapes what each index runs over."""
        last = self.equation.statements[-1]
        for name, bound in _bounds(self.equation):
            self._extend(name, self.value(bound, {}))
        for name, parts in _references(self.equation):
            array = self.scope.get(name.removesuffix(".flat"))
            if isinstance(array, numpy.ndarray):
                self._bind((array.size,) if name.endswith(".flat") else array.shape, parts)
        if last.indices:
            self._bind((self.places.size,) if self.equation.flat else self.places.shape, last.indices)

    def _bind(self, shape: tuple[int, ...], parts: Sequence[ast.expr]) -> None:
        """Take from an array's shape what its indices run over."""
        if len(parts) == 1 and isinstance(parts[0], ast.Name) and len(shape) != 1:
            self._extend(parts[0].id, shape)  # a lone index is a multi-index over all axes
            return
        if len(parts) == 1 and isinstance(parts[0], ast.Subscript):
            return  # that multi-index in another order
        rest = [i for i, part in enumerate(parts) if is_ellipsis(part)]
        if rest:
            after = len(parts) - rest[0] - 1
            cut = len(shape) - after
            self._extend(REST, shape[rest[0] : cut])
            parts, shape = parts[rest[0] + 1 :], shape[cut:]
        several = len(shape) - len(parts) + 1  # the axes that a multi-index takes
        at = 0
        for part in parts:
            starred = isinstance(part, ast.Starred)
            name = part.value if isinstance(part, ast.Starred) else part
            extent = shape[at : at + several] if starred else shape[at]
            at += several if starred else 1
            if isinstance(name, ast.Name) and name.id in self.equation.indices:
                self._extend(name.id, extent)

    def _extend(self, name: str, extent: Any) -> None:
        """Note what an index runs over; `...` broadcasts."""
        known = self.extents.get(name)
        if name == REST and known is not None:
            extent = numpy.broadcast_shapes(known, extent)
        elif known is not None and known != extent:
            raise EquationError(f"{self.equation.text!r}: the index {name} runs over {known} and over {extent}.")
        self.extents[name] = extent

    def span(self, name: str) -> Any:
        """All values of an index; of a multi-index tuples. Where nothing tells them, their use raises EquationError."""
        if name not in self.extents:
            return _nowhere(self.equation.text, name)
        extent = self.extents[name]
        return list(map(Multi, numpy.ndindex(extent))) if isinstance(extent, tuple) else range(extent)

    # Running it

    def run(self, statement: Statement) -> None:
        """Compute a statement's target."""
        if statement.adds:
            result = scatter(statement, self.scope, self.places.shape)
        elif statement.indices:
            result = self._looped(statement)
        elif self.equation.elementwise:
            result = self._broadcast(statement)
        else:
            result = whole(statement, self.scope, self.places.shape)
            if result is None:
                result = numpy.empty((), dtype=object)
                result[()] = lift(self.value(statement.expression, {}))
        self._name(statement.target, result)

    def _looped(self, statement: Statement) -> Exact:
        """An equation for each value of its indices."""
        found = dict(eval(_loop(statement, self.equation.indices), self.names))
        flat = statement is self.equation.statements[-1] and self.equation.flat
        shape = self.places.shape
        if found and not flat:  # where `...` was broadcast it is larger than the operand's: the engine sums
            shape = tuple(max(axis) + 1 for axis in zip(*found, strict=True))
        array = numpy.empty((self.places.size,) if flat else shape, dtype=object)
        for place, value in found.items():
            array[place] = lift(value)
        return array.reshape(shape)

    def _broadcast(self, statement: Statement) -> Exact:
        """An equation without indices: element by element."""
        known = self.equation.values | {s.target for s in self.equation.statements}
        arrays = {n: v for n, v in self.scope.items() if isinstance(v, numpy.ndarray) and n in known}
        shape = numpy.broadcast_shapes(*(v.shape for v in arrays.values())) if arrays else self.places.shape
        result = numpy.empty(shape, dtype=object)
        columns = [numpy.broadcast_to(array, shape).reshape(-1) for array in arrays.values()]
        rows = zip(*columns, strict=True) if arrays else [()] * result.size
        found = eval(_rows(statement, tuple(arrays), self.equation.indices), {**self.names, "rows in": rows})
        for index, value in zip(numpy.ndindex(shape), found, strict=True):
            result[index] = lift(value)
        wider = statement is self.equation.statements[-1] and result.ndim < self.places.ndim
        return numpy.broadcast_to(result, self.places.shape).copy() if wider else result

    def value(self, node: ast.expr, at: Mapping[str, Any]) -> Any:
        """The value of an expression, where the indices in it have the values `at`."""
        return eval(_expression(node, self.equation.indices), {**self.names, **at})

    def place(self, parts: tuple[ast.expr, ...], at: Mapping[str, Any]) -> tuple[int, ...]:
        """Where indices lead to, with the values `at` of the names in them."""
        return tuple(map(int, eval(_place(parts, self.equation.indices), {**self.names, **at})))

    def _name(self, name: str, value: Any) -> None:
        """Say what a name means in the compiled text: by itself, as an array, and with axes for `...`."""
        self.scope[name] = value
        array = isinstance(value, numpy.ndarray)
        self.names[name] = value[()] if array and not value.ndim else value
        self.names[f"{name}[]"] = value
        for other, parts in _references(self.equation):
            if other == name and array and any(map(is_ellipsis, parts)):  # aligned at the right
                after = value.shape[max(0, value.ndim - len(parts) + 1) :]
                self.names[f"{name}[...]"] = numpy.broadcast_to(value, (*self.extents[REST], *after))


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


# The text, compiled


@lru_cache(maxsize=1024)
def _references(equation: Equation) -> list[tuple[str, tuple[ast.expr, ...]]]:
    """The arrays that are indexed, each with its indices; `x.flat` under that name."""
    nodes = (node for statement in equation.statements for node in ast.walk(statement.expression))
    return [
        (ast.unparse(node.value), elements(node.slice))
        for node in nodes
        if isinstance(node, ast.Subscript) and not ast.unparse(node.value).endswith(".shape")
    ]


@lru_cache(maxsize=1024)
def _bounds(equation: Equation) -> list[tuple[str, ast.expr]]:
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
def _expression(node: ast.expr, indices: frozenset[str]) -> CodeType:
    return _compiled(_Text(indices).visit(deepcopy(node)))


@lru_cache(maxsize=4096)
def _place(parts: tuple[ast.expr, ...], indices: frozenset[str]) -> CodeType:
    return _compiled(_Text(indices).place(deepcopy(parts)))


@lru_cache(maxsize=1024)
def _loop(statement: Statement, indices: frozenset[str]) -> CodeType:
    """All places of a statement's target, each with its value."""
    text = _Text(indices)
    pair = [text.place(deepcopy(statement.indices)), text.visit(deepcopy(statement.expression))]
    names = [name for part in statement.indices for name in indices_in(part, indices)]
    both = ast.Tuple(pair, ast.Load())
    return _compiled(_each(both, names) if names else ast.List([both], ast.Load()))


@lru_cache(maxsize=1024)
def _rows(statement: Statement, names: tuple[str, ...], indices: frozenset[str]) -> CodeType:
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
def _at_50_digits() -> dict[str, Any]:
    """What the functions of the compiled text are on dual numbers, and its constants."""
    exactly = {f"{name}()": on_duals(f.value, f.slope) for name, f in FUNCTIONS.items() if f.value and f.slope}
    return {**exactly, **{name: getattr(load_mpmath(), name) for name in CONSTANTS}}


@cache
def _functions() -> dict[str, Any]:
    """What the functions of the compiled text are that need no digits: they choose, combine, and find places."""
    chosen = {f"{name}()": f.chosen for name, f in FUNCTIONS.items() if f.chosen}
    combined = {f"{name} of all()": r.combined for name, r in REDUCTIONS.items()}
    own = {
        "lift()": lift, "int()": int, "bool()": bool, "place()": _as_place, "before()": _before,
        "in another order()": _in_another_order,
    }  # fmt: skip
    constants = {name: getattr(math, name) for name in CONSTANTS}
    return {"__builtins__": {}, **chosen, **combined, **constants, **own}


def _before(padding: Any) -> Multi:
    return Multi(first for first, _ in padding)


def _as_place(index: Any) -> Any:
    return index if isinstance(index, tuple) else (index,)


def _in_another_order(index: Multi, order: Sequence[int] | None) -> Multi:
    return Multi(index[k] for k in (range(len(index) - 1, -1, -1) if order is None else order))


def _nowhere(text: str, name: str) -> Iterator[Any]:
    raise EquationError(f"{text!r}: nothing tells what the index {name} runs over.")
    yield
