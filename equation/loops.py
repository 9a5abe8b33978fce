"""The equation as a witness: its text, evaluated by plain loops at 50 digits, with its derivatives.

This reads what the equation says and nothing of the kernel: no array library takes part in the arithmetic.
"""

from __future__ import annotations

import ast
import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy

from ..errors import EquationError
from .arrays import Exact, scatter, whole
from .dual import Dual, functions, lift, load_mpmath
from .functions import CONSTANTS, FUNCTIONS, REDUCTIONS
from .language import Equation, Statement

REST = "..."
"""The name under which the axes of `...` are looked up, as one multi-index."""


def exact(values: Any, variable: Any = None) -> Exact:
    """Floats or integers as dual numbers, exactly; with `variable` each element is a variable (variable, index)."""
    values = numpy.asarray(values)
    result = numpy.empty(values.shape, dtype=object)
    for index in numpy.ndindex(values.shape):
        number = load_mpmath().mpf(values[index].item())
        result[index] = Dual(number, {(variable, index): load_mpmath().one} if variable is not None else None)
    return result


def evaluate(equation: Equation, values: Mapping[str, Any], shape: tuple[int, ...], axis: Any = ()) -> Exact:
    """The value of the equation's target, an array of dual numbers of `shape`.

    values: operands and gradients as arrays of dual numbers, parameters as they are. axis: what the index after
    `...` runs over, where the primitive has such a parameter; () where it has none.
    Raises EquationError where an index has no extent, or different ones.
    """
    loops = Loops(equation, values, shape, axis)
    for statement in equation.statements:
        loops.run(statement)
    result = loops.scope[equation.target]
    if axis != () and isinstance(result, numpy.ndarray) and result.shape != shape:
        result = _back(result, shape, axis)
    return result


def _axes(ndim: int, axis: Any) -> tuple[int, ...]:
    if axis is None:
        return tuple(range(ndim))
    return tuple(sorted(a % ndim for a in (axis if isinstance(axis, tuple) else (axis,)))) if ndim else ()


def front(x: Exact, axis: Any, ndim: int) -> Exact:
    """x with the axes `axis` as one at the end (or, where it was reduced over them already, without them)."""
    axes = _axes(ndim, axis)
    rest = [i for i in range(x.ndim) if i not in axes]
    if x.ndim < ndim:
        return x
    return x.transpose([*rest, *axes]).reshape([x.shape[i] for i in rest] + [-1])


def _back(y: Exact, shape: tuple[int, ...], axis: Any) -> Exact:
    """The inverse of `front`, for a result of `shape`."""
    axes = _axes(len(shape), axis)
    rest = [i for i in range(len(shape)) if i not in axes]
    order = [*rest, *axes]
    return y.reshape([shape[i] for i in order]).transpose(numpy.argsort(order) if order else ())


class Loops:
    """An equation at work on arrays: what each index runs over, and the loops."""

    def __init__(self, equation: Equation, values: Mapping[str, Any], shape: tuple[int, ...], axis: Any) -> None:
        self.equation, self.shape = equation, shape
        self.scope: dict[str, Any] = dict(values)
        if axis != ():
            arrays = [v for v in values.values() if isinstance(v, numpy.ndarray)]
            ndim = max(len(shape), *(v.ndim for v in arrays))
            for name, value in values.items():
                if isinstance(value, numpy.ndarray) and self.is_indexed(name):
                    self.scope[name] = _without(value, axis) if self.lacks_axis(name) else front(value, axis, ndim)
            target = equation.statements[-1]
            if target.indices:
                probe = numpy.empty(shape, dtype=object)
                reduced = len(target.indices) == 1
                self.shape = _without(probe, axis, ndim).shape if reduced else front(probe, axis, ndim).shape
        self.extents: dict[str, Any] = {}
        self.find_extents()

    # What indices run over

    def references(self) -> Iterator[tuple[str, tuple[ast.expr, ...]]]:
        """The arrays that are indexed, each with its indices."""
        for statement in self.equation.statements:
            for node in ast.walk(statement.expression):
                if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name):
                    yield node.value.id, _elements(node.slice)
                elif isinstance(node, ast.Subscript) and ast.unparse(node.value).endswith(".flat"):
                    yield node.value.value.id + ".flat", _elements(node.slice)  # type: ignore[attr-defined]

    def is_indexed(self, name: str) -> bool:
        """Whether the equation names elements of this array."""
        return any(name == other for other, _ in self.references())

    def lacks_axis(self, name: str) -> bool:
        """Whether this array has lost the axis of the primitive."""
        return all(len(parts) == 1 for other, parts in self.references() if other == name)

    def find_extents(self) -> None:
        """Tell from the shapes what each index runs over."""
        last = self.equation.statements[-1]
        found = [(self.scope[name.removesuffix(".flat")], name, parts) for name, parts in self.references()
                 if isinstance(self.scope.get(name.removesuffix(".flat")), numpy.ndarray)]  # fmt: skip
        target = numpy.empty(self.shape, dtype=object)
        flat = ".flat" in self.equation.text
        for name, bound in self.bounds():
            self.extend(name, bound)
        for array, name, parts in [*found, (target, last.target + ".flat" * flat, last.indices)]:
            shape = (array.size,) if name.endswith(".flat") else array.shape
            if parts:
                self.bind(shape, parts)

    def bounds(self) -> Iterator[tuple[str, Any]]:
        """Indices that come with a bound, as `a < size` after what is summed."""
        for node in (node for statement in self.equation.statements for node in ast.walk(statement.expression)):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in REDUCTIONS:
                for part in node.args[1:]:
                    if isinstance(part, ast.Compare):
                        yield ast.unparse(part.left), self.value(part.comparators[0], {})

    def bind(self, shape: tuple[int, ...], parts: tuple[ast.expr, ...]) -> None:
        """Take from an array's shape what its indices run over."""
        if len(parts) == 1 and isinstance(parts[0], ast.Name) and len(shape) != 1:
            self.extend(parts[0].id, shape)  # a lone index is a multi-index over all axes
            return
        if len(parts) == 1 and isinstance(parts[0], ast.Subscript):
            return  # that multi-index in another order
        rest = [i for i, part in enumerate(parts) if _is_rest(part)]
        if rest:
            after = len(parts) - rest[0] - 1
            cut = len(shape) - after
            self.extend(REST, shape[rest[0] : cut])
            parts, shape = parts[rest[0] + 1 :], shape[cut:]
        several = len(shape) - len(parts) + 1  # the axes that a multi-index takes
        at = 0
        for part in parts:
            starred = isinstance(part, ast.Starred)
            name = part.value if isinstance(part, ast.Starred) else part
            extent = shape[at : at + several] if starred else shape[at]
            at += several if starred else 1
            if isinstance(name, ast.Name) and name.id in self.equation.indices:
                self.extend(name.id, extent)

    def extend(self, name: str, extent: Any) -> None:
        """Note what an index runs over; `...` broadcasts."""
        known = self.extents.get(name)
        if name == REST and known is not None:
            extent = numpy.broadcast_shapes(known, extent)
        elif known is not None and known != extent:
            raise EquationError(f"{self.equation.text!r}: the index {name} runs over {known} and over {extent}.")
        self.extents[name] = extent

    def span(self, name: str) -> Any:
        """All values of an index; of a multi-index tuples."""
        if name not in self.extents:
            raise EquationError(f"{self.equation.text!r}: nothing tells what the index {name} runs over.")
        extent = self.extents[name]
        return numpy.ndindex(extent) if isinstance(extent, tuple) else range(extent)

    # Running it

    def run(self, statement: Statement) -> None:
        """Compute a statement's target."""
        if not statement.indices and not self.equation.elementwise:
            moved = whole(statement, self.scope, self.shape)
            if moved is None:
                moved = numpy.empty((), dtype=object)
                moved[()] = lift(self.value(statement.expression, {}))
            self.scope[statement.target] = moved
            return
        if not statement.indices:
            self.scope[statement.target] = self.broadcast(statement)
            return
        if statement.adds:
            self.scope[statement.target] = scatter(statement, self.scope, self.shape)
            return
        names = [n for part in statement.indices for n in _index_names(part, self.equation.indices)]
        result: dict[Any, Any] = {}
        for values in itertools.product(*(self.span(name) for name in names)):
            at = dict(zip(names, values, strict=True))
            result[self.place(statement.indices, at)] = lift(self.value(statement.expression, at))
        last = statement is self.equation.statements[-1]
        flat = last and ".flat" in self.equation.text
        shape = self.shape
        if result and not flat:  # where `...` was broadcast it is larger than the operand's: the engine sums
            shape = tuple(max(axis) + 1 for axis in zip(*result, strict=True))
        array = numpy.empty((int(numpy.prod(shape)),) if flat else shape, dtype=object)
        for place, value in result.items():
            array[place] = value
        self.scope[statement.target] = array.reshape(shape) if flat else array

    def broadcast(self, statement: Statement) -> Exact:
        """An equation without indices: element by element."""
        arrays = {n: v for n, v in self.scope.items() if isinstance(v, numpy.ndarray) and n in self.equation.values}
        arrays |= {s.target: self.scope[s.target] for s in self.equation.statements if s.target in self.scope}
        shape = numpy.broadcast_shapes(*(v.shape for v in arrays.values())) if arrays else self.shape
        views = {n: numpy.broadcast_to(v, shape) for n, v in arrays.items()}
        result = numpy.empty(shape, dtype=object)
        for index in numpy.ndindex(shape):
            self.scope |= {name: view[index] for name, view in views.items()}
            result[index] = lift(self.value(statement.expression, {}))
        self.scope |= arrays
        last = statement is self.equation.statements[-1]
        return numpy.broadcast_to(result, self.shape).copy() if last and result.ndim < len(self.shape) else result

    def place(self, parts: tuple[ast.expr, ...], at: Mapping[str, Any]) -> tuple[int, ...]:
        """Where indices lead to, with the values `at` of the names in them."""
        where: list[int] = []
        for part in parts:
            value = at[REST] if _is_rest(part) else self.value(part, at)
            where.extend(value if isinstance(value, tuple) else (int(value),))
        return tuple(where)

    def value(self, node: Any, at: Mapping[str, Any]) -> Any:
        """The value of an expression."""
        kind = type(node)  # asked for by how often each comes
        if kind is ast.Name:
            return at[node.id] if node.id in at else self.name(node.id)
        if kind is ast.BinOp:
            return _combined(_OPERATORS[type(node.op)], self.value(node.left, at), self.value(node.right, at))
        if kind is ast.Constant:
            return node.value
        if kind is ast.Compare:
            left = self.value(node.left, at)
            for op, part in zip(node.ops, node.comparators, strict=True):
                right = self.value(part, at)
                if not _compared(_COMPARE[type(op)], left, right):
                    return False
                left = right
            return True
        if kind is ast.BoolOp:
            stop = type(node.op) is ast.Or
            for part in node.values:
                if bool(self.value(part, at)) is stop:
                    return stop
            return not stop
        if kind is ast.IfExp:
            return self.value(node.body if self.value(node.test, at) else node.orelse, at)
        if kind is ast.Subscript:
            return self.element(node, at)
        if kind is ast.Call:
            return self.call(node, at)
        if kind is ast.UnaryOp:
            return _SIGNED[type(node.op)](self.value(node.operand, at))
        if kind is ast.Starred:
            return self.value(node.value, at)
        if kind is ast.Attribute:
            owner = self.scope[node.value.id]
            return owner.size if node.attr == "size" else owner.shape
        raise EquationError(f"{self.equation.text!r}: cannot evaluate {ast.unparse(node)!r}.")

    def name(self, name: str) -> Any:
        """The value of a name that is no index."""
        if name in CONSTANTS:
            return getattr(load_mpmath(), name)
        value = self.scope[name]
        return value[()] if isinstance(value, numpy.ndarray) and not value.ndim else value

    def element(self, node: ast.Subscript, at: Mapping[str, Any]) -> Any:
        """The value of an element of an array."""
        parts = _elements(node.slice)
        if isinstance(node.value, ast.Name) and node.value.id in at:  # a multi-index in another order
            index, order = at[node.value.id], self.value(parts[0], at)
            return tuple(index[k] for k in (order if order is not None else range(len(index) - 1, -1, -1)))
        if isinstance(node.value, ast.Attribute) and node.value.attr == "shape":
            return self.value(node.value, at)[self.value(parts[0], at)]
        if isinstance(node.value, ast.Attribute):
            return self.scope[node.value.value.id].reshape(-1)[self.place(parts, at)]  # type: ignore[attr-defined]
        array = self.scope[node.value.id]  # type: ignore[attr-defined]
        place = self.place(parts, at)
        if any(_is_rest(part) for part in parts):  # `...` broadcasts, aligned at the right
            place = tuple(
                0 if n == 1 else i for i, n in zip(place[len(place) - array.ndim :], array.shape, strict=True)
            )
        return array[place]

    def call(self, node: ast.Call, at: Mapping[str, Any]) -> Any:
        """The value of a function, or of a reduction over indices."""
        name = node.func.id  # type: ignore[attr-defined]
        over = [index for a in node.args[1:] if (index := self.index_over(a))]
        if name in REDUCTIONS and over:
            runs = itertools.product(*(self.span(index) for index in over))
            values = [self.value(node.args[0], {**at, **dict(zip(over, run, strict=True))}) for run in runs]
            return REDUCTIONS[name].combined([lift(value) for value in values])
        arguments = [self.value(argument, at) for argument in node.args]
        if name == "before":
            return tuple(first for first, _ in arguments[0])
        if chosen := FUNCTIONS[name].chosen:
            return lift(chosen(*(None if x is None else lift(x) for x in arguments)))
        return functions()[name](arguments[0])

    def index_over(self, node: ast.expr) -> str | None:
        """The index that an argument after what is summed stands for; None where it is a value."""
        if _is_rest(node):
            return REST
        if isinstance(node, ast.Starred):
            node = node.value
        if isinstance(node, ast.Compare):  # with its bound
            node = node.left
        return node.id if isinstance(node, ast.Name) and node.id in self.equation.indices else None


def _combined(operate: Callable[[Any, Any], Any], a: Any, b: Any) -> Any:
    """An operation on numbers; on a multi-index, for each of its axes."""
    if type(a) is not tuple:
        return operate(a, b) if type(b) is not tuple else tuple([operate(a, v) for v in b])
    if type(b) is not tuple:
        return tuple([operate(u, b) for u in a])
    return tuple([operate(u, v) for u, v in zip(a, b, strict=True)])


def _compared(holds: Callable[[Any, Any], bool], a: Any, b: Any) -> bool:
    """A comparison of numbers; of multi-indices, on each of their axes."""
    both = _combined(holds, a, b)
    return all(both) if isinstance(both, tuple) else both


_OPERATORS: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: lambda a, b: a + b, ast.Sub: lambda a, b: a - b, ast.Mult: lambda a, b: a * b,
    ast.Div: lambda a, b: lift(a) / b, ast.FloorDiv: lambda a, b: a // b, ast.Pow: lambda a, b: a**b,
    ast.BitAnd: lambda a, b: int(a) & int(b), ast.BitOr: lambda a, b: int(a) | int(b),
    ast.BitXor: lambda a, b: int(a) ^ int(b),
}  # fmt: skip
_SIGNED: dict[type, Callable[[Any], Any]] = {
    ast.USub: lambda a: -a, ast.Not: lambda a: not a, ast.Invert: lambda a: ~int(a),
}  # fmt: skip
_COMPARE: dict[type, Callable[[Any, Any], bool]] = {
    ast.Lt: lambda a, b: a < b, ast.LtE: lambda a, b: a <= b, ast.Gt: lambda a, b: a > b,
    ast.GtE: lambda a, b: a >= b, ast.Eq: lambda a, b: a == b, ast.NotEq: lambda a, b: a != b,
}  # fmt: skip


def _elements(node: ast.expr) -> tuple[ast.expr, ...]:
    return tuple(node.elts) if isinstance(node, ast.Tuple) else (node,)


def _is_rest(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is Ellipsis


def _index_names(node: ast.expr, indices: frozenset[str]) -> list[str]:
    if _is_rest(node):
        return [REST]
    return [n.id for n in ast.walk(node) if isinstance(n, ast.Name) and n.id in indices]


def _without(x: Exact, axis: Any, ndim: int | None = None) -> Exact:
    """x of a reduction with keepdims, without the axes of length 1 that it kept."""
    full = x.ndim if ndim is None else ndim
    if ndim is not None and x.ndim < ndim:
        return x
    axes = [a for a in _axes(full, axis) if a < x.ndim and x.shape[a] == 1]
    return x.squeeze(tuple(axes)) if len(axes) == len(_axes(full, axis)) else x
