"""An equation written out for one element of its result: sums as their terms, values in the place of names.

The result is an expression of the language again, with two kinds of nodes more, `Number` and `Terms`; nothing is
computed but indices, and the conditions on them.
"""

from __future__ import annotations

import ast
import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy

from .compiled import Multi
from .functions import REDUCTIONS, STRUCTURAL
from .indices import Indices
from .language import Equation, Statement, elements, index_name, is_ellipsis
from .syntax import UNUSABLE

LONGEST_SUM = 20_000
"""Terms that are looked through for those that are written out."""
TERMS = 6
"""How many terms of a sum are written out; of a longer one the first and the last are."""
WHOLE = STRUCTURAL.keys() - {"before", "border", "inside"}
"""Functions of whole arrays, of which no element is written out."""

At = Mapping[str, Any]
"""The values of indices."""


class Elided(Exception):
    """The equation is about whole arrays (a slice, a concatenation) or a recurrence, or a sum is endless."""


class Values:
    """Arrays to be put in, and the element of the result that is written out.

    arrays: by the names in the equation; parameters too, as they are. ids: what a page calls the arrays. shape: of the
    result; place: which element of it. axis: that of the primitive, () where it has none.
    """

    def __init__(
        self,
        arrays: Mapping[str, Any],
        shape: tuple[int, ...],
        place: tuple[int, ...],
        ids: Mapping[str, str] | None = None,
        axis: Any = (),
    ) -> None:
        self.arrays, self.shape, self.place, self.ids, self.axis = arrays, shape, place, ids or {}, axis


class Number(ast.Constant):
    """A number; `where`: which element of which array it is, "array:place"; empty where it is of none."""

    where = ""


class Terms(ast.expr):
    """The terms of a reduction, None for those that are left out, and how many there are in all."""

    def __init__(self, name: str, terms: list[ast.expr | None], count: int) -> None:
        super().__init__()
        self.name, self.terms, self.count = name, terms, count


def element(equation: Equation, values: Values, terms: int = TERMS) -> ast.expr:
    """The right-hand side of the last statement for the element that is asked for.

    terms: how many of a sum are written out. Raises Elided where the equation is about whole arrays.
    """
    statement = equation.statements[-1]
    called = {ast.unparse(n.func) for n in ast.walk(statement.expression) if isinstance(n, ast.Call)}
    if statement.adds or called & WHOLE or equation.recurrent:
        raise Elided
    if not equation.elementwise and not statement.indices and values.shape:
        raise Elided
    try:
        work = _Element(equation, values, terms)
        return work.written(statement.expression, work.at_place(statement))
    except UNUSABLE as error:  # its text leads nowhere
        raise Elided from error


class _Element:
    def __init__(self, equation: Equation, values: Values, terms: int) -> None:
        self.equation, self.values, self.terms, self.depth = equation, values, terms, 0
        self.made = {statement.target: statement for statement in equation.statements}
        self.arrays = {name: numpy.asarray(a) for name, a in values.arrays.items() if hasattr(a, "shape")}
        self.known: dict[ast.expr, bool] = {}  # by condition, whether indices alone settle it
        if equation.elementwise:
            return
        self.indices = Indices(equation, {**values.arrays, **self.arrays}, values.shape, values.axis)
        places = {name: numpy.arange(a.size).reshape(a.shape) for name, a in self.arrays.items()}
        self.sources = {name: self.indices.arranged(name, place) for name, place in places.items()}

    def at_place(self, statement: Statement) -> dict[str, Any]:
        """The values of the indices at which the result has the element that is asked for."""
        if self.equation.elementwise:
            return {}
        shape, place = self.values.shape, self.values.place
        wanted = int(numpy.ravel_multi_index(place, shape)) if shape else 0
        at = tuple(int(i[0]) for i in numpy.nonzero(self.indices.places == wanted)) if self.indices.places.ndim else ()
        if self.equation.flat:
            at = (wanted,)
        found: dict[str, Any] = {}
        for part in statement.indices:
            name = index_name(part, self.equation.indices)
            if name is None:
                raise Elided
            extent = self.indices.extents.get(name)
            count = len(extent) if isinstance(extent, tuple) else 1
            if len(at) < count:  # `...` was broadcast: the element is a sum of several
                raise Elided
            found[name], at = Multi(at[:count]) if isinstance(extent, tuple) else at[0], at[count:]
        return found

    # Expressions

    def written(self, node: ast.expr, at: At) -> ast.expr:
        """A part, with the values put in."""
        if isinstance(node, ast.Name):
            return self.name(node, at)
        if isinstance(node, ast.Subscript):
            return self.subscripted(node, at)
        if isinstance(node, ast.Attribute):
            name = ast.unparse(node.value)
            return Number(self.arrays[name].size) if name in self.arrays else node
        if isinstance(node, ast.IfExp):
            holds, test = self.tested(node.test, at)
            if holds is not None:
                return self.written(node.body if holds else node.orelse, at)
            return ast.IfExp(*(self.written(part, at) for part in (test, node.body, node.orelse)))
        if isinstance(node, ast.Call):
            over = [index for part in node.args[1:] if (index := index_name(part, self.equation.indices))]
            if ast.unparse(node.func) in REDUCTIONS and over:
                return self.reduction(ast.unparse(node.func), node.args[0], over, at)
            return ast.Call(node.func, [self.written(a, at) for a in node.args], [])
        return type(node)(**{field: self.part(value, at) for field, value in ast.iter_fields(node)})

    def part(self, value: Any, at: At) -> Any:
        """What a field of a node holds, with the values put in."""
        if isinstance(value, list):
            return [self.part(one, at) for one in value]
        return self.written(value, at) if isinstance(value, ast.expr) else value

    def tested(self, test: ast.expr, at: At) -> tuple[bool | None, ast.expr]:
        """Whether a condition holds, as far as indices and lengths alone decide; else None, and what is left of it."""
        parts = test.values if isinstance(test, ast.BoolOp) and isinstance(test.op, ast.And) else [test]
        left = [part for part in parts if not self.settled(part)]
        if not all(self.indices.value(part, at) for part in parts if part not in left):
            return False, test
        if not left:
            return True, test
        return None, left[0] if len(left) == 1 else ast.BoolOp(ast.And(), left)

    def settled(self, test: ast.expr) -> bool:
        """Whether a condition is about indices and lengths alone, and no value can change it."""
        if test not in self.known:
            lengths = {n.value for n in ast.walk(test) if isinstance(n, ast.Attribute)}
            names = {n.id for n in ast.walk(test) if isinstance(n, ast.Name) and n not in lengths}
            about_values = any(n in self.arrays or n in self.made for n in names)
            self.known[test] = not self.equation.elementwise and not about_values
        return self.known[test]

    def reduction(self, name: str, body: ast.expr, over: Sequence[str], at: At) -> ast.expr:
        """The terms of a sum, mean, product, maximum or minimum over indices."""
        spans = [list(self.indices.span(index)) for index in over]
        count = math.prod(map(len, spans))
        if count > LONGEST_SUM:
            raise Elided
        if name in ("sum", "mean") and isinstance(body, ast.Constant):
            value: Any = body.value
            return Number(value * (count if name == "sum" else 1))
        runs: list[Any] = [{**at, **dict(zip(over, run, strict=True))} for run in itertools.product(*spans)]
        runs = [run for run in runs if not self.vanishes(body, run)] if name == "sum" else runs
        most, first = (self.terms, 3) if not self.depth else (min(self.terms, 3), 1)
        if self.terms > TERMS:
            most = self.terms
        shown = runs if len(runs) <= most else [*runs[:first], None, runs[-1]]
        self.depth += 1
        terms = [None if run is None else self.written(body, run) for run in shown]
        self.depth -= 1
        return Terms(name, terms, len(runs))

    def vanishes(self, body: ast.expr, at: At) -> bool:
        """Whether a term is `… if condition else 0` with a condition on indices that does not hold here."""
        if not (isinstance(body, ast.IfExp) and isinstance(body.orelse, ast.Constant) and body.orelse.value == 0):
            return False
        return self.tested(body.test, at)[0] is False

    # Names and elements

    def name(self, node: ast.Name, at: At) -> ast.expr:
        """The value of a name; itself where it has none here."""
        name = node.id
        if name in at:
            return Number(at[name])
        if name in self.made and name not in self.arrays:
            return self.written(self.made[name].expression, at)
        if name in self.arrays:
            shape, place = self.arrays[name].shape, self.values.place
            last = place[len(place) - len(shape) :] if shape else ()
            return self.taken(name, tuple(0 if n == 1 else i for i, n in zip(last, shape, strict=True)))
        if name not in self.values.arrays:
            return node
        return self.number(self.values.arrays[name], name, 0)

    def number(self, value: Any, name: str, flat: int) -> ast.expr:
        """A value of a name."""
        made = Number(value)
        made.where = f"{self.values.ids[name]}:{flat}" if name in self.values.ids else ""
        return made

    def taken(self, name: str, place: tuple[Any, ...]) -> ast.expr:
        """One element of an operand."""
        array = self.arrays[name]
        return self.number(array[place], name, int(numpy.ravel_multi_index(place, array.shape)) if array.ndim else 0)

    def subscripted(self, node: ast.Subscript, at: At) -> ast.expr:
        """An element of an array."""
        parts, owner = elements(node.slice), node.value
        name = ast.unparse(owner.value if isinstance(owner, ast.Attribute) else owner)
        if name not in self.arrays and (name not in self.made or isinstance(owner, ast.Attribute)):
            return node
        if isinstance(owner, ast.Attribute) and owner.attr == "shape":
            return Number(self.arrays[name].shape[self.indices.value(parts[0], at)])
        if name not in self.arrays:
            return self.made_before(name, parts, at)
        array, place = self.arrays[name], self.indices.place(parts, at)
        if isinstance(owner, ast.Attribute):  # x.flat[i]
            return self.taken(name, numpy.unravel_index(place[0], array.shape))
        source = self.sources[name]
        if any(map(is_ellipsis, parts)):  # `...` broadcasts, aligned at the right
            if source.ndim < len(parts) - 1:  # a vector in a product of matrices
                raise Elided
            place = place[len(place) - source.ndim :]
            place = tuple(0 if n == 1 else i for i, n in zip(place, source.shape, strict=True))
        return self.taken(name, numpy.unravel_index(int(source[place]), array.shape) if array.ndim else ())

    def made_before(self, name: str, parts: tuple[ast.expr, ...], at: At) -> ast.expr:
        """An element of what an earlier statement gives: that statement's own right-hand side."""
        statement = self.made[name]
        expression = statement.expression
        if isinstance(expression, ast.Call) and ast.unparse(expression.func) in ("border", "inside"):
            return self.bordered(expression, self.indices.place(parts, at))
        known = dict(at)
        for index, part in zip(statement.indices, parts, strict=True):
            target = index_name(index, self.equation.indices)
            if target is None:
                raise Elided
            known[target] = at[target] if is_ellipsis(part) else self.indices.value(part, at)
        return self.written(expression, known)

    def bordered(self, call: ast.Call, place: tuple[int, ...]) -> ast.expr:
        """An element of x with a border around it."""
        name, padding = ast.unparse(call.args[0]), self.indices.value(call.args[1], {})
        offsets = (0, *(before for before, _ in padding), 0)
        inner = tuple(i - o for i, o in zip(place, offsets, strict=True))
        within = all(0 <= i < n for i, n in zip(inner, self.arrays[name].shape, strict=True))
        if ast.unparse(call.func) == "inside":
            return Number(int(within))
        return self.taken(name, inner) if within else Number(self.indices.value(call.args[2], {}))
