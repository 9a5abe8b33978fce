"""The walk over an equation that hands its parts to a style, in symbols or with the values of one element put in."""

from __future__ import annotations

import ast
import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy

from ..errors import EquationError
from .functions import FUNCTIONS, REDUCTIONS, STRUCTURAL
from .language import Equation, is_ellipsis
from .loops import REST, Loops
from .styles import SIGNS, STYLES, Style, Symbol
from .symbols import is_numeral, number_text, symbol_of

LONGEST_SUM = 20_000
"""Terms that are looked through for those that are written out."""
TERMS = 6
"""How many terms of a sum are written out; of a longer one the first and the last are."""

_SIGNS: dict[type, str] = {
    ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "==",
    ast.NotEq: "!=", ast.BitAnd: "&", ast.BitOr: "|", ast.BitXor: "^",
}  # fmt: skip

CHOICE, LOGIC, COMPARED, ADDED, NEGATED, MULTIPLIED, POWERED, ATOM = range(8)
"""How tightly parts hold together; what holds less tightly than its place asks for is put into parentheses."""

WHOLE = STRUCTURAL.keys() - {"before", "border", "inside"}
"""Functions of whole arrays, of which no element is written out."""

Written = tuple[str, int]


class Elided(Exception):
    """The equation is about whole arrays (a slice, a concatenation), or a sum is endless: nothing is written out."""


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


class Printer:
    """One equation on its way into one style."""

    def __init__(
        self,
        equation: Equation,
        style: Style | str,
        names: Mapping[str, Symbol],
        dots: Sequence[str] | None,
        values: Values | None,
        digits: int = 4,
        terms: int = TERMS,
        layers: str = "",
    ) -> None:
        self.layers = layers
        self.equation, self.names, self.dots, self.values = equation, names, dots, values
        self.digits, self.terms, self.depth = digits, terms, 0
        self.style = STYLES[style] if isinstance(style, str) else style
        self.made = {statement.target: statement for statement in equation.statements}
        self.places: dict[str, Any] = {}
        self.known: dict[int, bool] = {}  # by condition, whether indices alone settle it
        if values:
            self.places = {
                name: numpy.arange(numpy.size(array)).reshape(numpy.shape(array))
                for name, array in values.arrays.items()
                if hasattr(array, "shape")
            }
            if not equation.elementwise:
                arrays = {name: numpy.asarray(a) if name in self.places else a for name, a in values.arrays.items()}
                try:
                    self.loops = Loops(equation, arrays, values.shape, values.axis)
                    self.sources = Loops(equation, {**arrays, **self.places}, values.shape, values.axis).scope
                except (IndexError, EquationError) as error:  # an operand has fewer axes than the equation names
                    raise Elided from error

    # Whole equations

    def whole(self, equals: str) -> str:
        """All statements, in symbols."""
        lines = []
        for statement in self.equation.statements:
            sign = self.sign("+=" if statement.adds else equals)
            lines.append(
                self.style.join(
                    [self.named(statement.target, statement.indices), sign, self.at_least(statement.expression, CHOICE)]
                )
            )
        return self.style.lines(lines)

    def element(self) -> str:
        """The right-hand side of the last statement for the element that is asked for. Raises Elided."""
        assert self.values
        statement = self.equation.statements[-1]
        called = {n.func.id for n in ast.walk(statement.expression) if isinstance(n, ast.Call)}  # type: ignore[attr-defined]
        if statement.adds or called & WHOLE:
            raise Elided
        if not self.equation.elementwise and not statement.indices and self.values.shape:
            raise Elided
        return self.written(statement.expression, self.indices_at(statement.indices))[0]

    def indices_at(self, parts: tuple[ast.expr, ...]) -> dict[str, Any]:
        """The values of the indices at which the result has the element that is asked for."""
        assert self.values
        place = self.values.place
        if not parts or self.equation.elementwise:
            return {}
        flat = f"{self.equation.target}.flat" in self.equation.text
        names = [n for part in parts for n in self._index_names(part)]
        target = numpy.arange(math.prod(self.values.shape)).reshape(self.values.shape)
        wanted = target[place] if self.values.shape else 0
        if not flat and self.loops.shape != self.values.shape:  # the axis of the primitive is elsewhere
            from .loops import front

            target = front(target, self.values.axis, target.ndim)
            target = target if target.shape == self.loops.shape else target.reshape(self.loops.shape)
        if flat:
            return {names[0]: int(wanted)}
        at = tuple(int(i[0]) for i in numpy.nonzero(target == wanted)) if target.ndim else ()
        found: dict[str, Any] = {}
        for part in parts:
            if is_ellipsis(part):
                count = len(self.loops.extents[REST])
                found[REST], at = at[:count], at[count:]
            elif isinstance(part, ast.Starred) and isinstance(part.value, ast.Name):
                count = len(self.loops.extents[part.value.id])
                found[part.value.id], at = at[:count], at[count:]
            elif isinstance(part, ast.Name):
                extent = self.loops.extents.get(part.id)
                if isinstance(extent, tuple):
                    found[part.id], at = at[: len(extent)], at[len(extent) :]
                else:
                    found[part.id], at = at[0], at[1:]
            else:
                raise Elided
        return found

    def _index_names(self, part: ast.expr) -> list[str]:
        if is_ellipsis(part):
            return [REST]
        return [n.id for n in ast.walk(part) if isinstance(n, ast.Name) and n.id in self.equation.indices]

    # Expressions

    def sign(self, sign: str) -> str:
        """An operator in the style."""
        return self.style.operator(SIGNS.get(sign, sign))

    def at_least(self, node: ast.expr, least: int, at: Mapping[str, Any] | None = None) -> str:
        """A part, in parentheses where it holds less tightly than that."""
        return self.enclosed(self.written(node, at), least)

    def enclosed(self, written: Written, least: int) -> str:
        """What is written already, in parentheses where it must be."""
        text, tightness = written
        return text if tightness >= least else self.style.enclosed(text)

    def written(self, node: ast.expr, at: Mapping[str, Any] | None = None) -> Written:
        """A part, and how tightly it holds together."""
        if isinstance(node, ast.Constant):
            return self.number(node.value)
        if isinstance(node, ast.Starred):
            return self.written(node.value, at)
        if isinstance(node, ast.Name):
            return self.name(node.id, at)
        if isinstance(node, ast.Subscript):
            return self.subscripted(node, at)
        if isinstance(node, ast.Attribute):
            return self.attribute(node)
        if isinstance(node, ast.UnaryOp):
            if isinstance(node.op, ast.Not | ast.Invert):
                sign = self.sign("not" if isinstance(node.op, ast.Not) else "~")
                return self.style.join([sign, self.at_least(node.operand, ATOM, at)]), LOGIC
            inner = self.at_least(node.operand, MULTIPLIED, at)
            return self.style.join([self.style.operator("−").strip(), inner]), NEGATED
        if isinstance(node, ast.BinOp):
            return self.operation(node, at)
        if isinstance(node, ast.Compare):
            parts = [self.at_least(node.left, ADDED, at)]
            for op, right in zip(node.ops, node.comparators, strict=True):
                parts += [self.sign(_SIGNS[type(op)]), self.at_least(right, ADDED, at)]
            return self.style.join(parts), COMPARED
        if isinstance(node, ast.BoolOp):
            sign = self.sign("and" if isinstance(node.op, ast.And) else "or")
            return self.joined([self.at_least(part, COMPARED, at) for part in node.values], sign), LOGIC
        if isinstance(node, ast.IfExp):
            return self.choice(node, at)
        assert isinstance(node, ast.Call)
        return self.call(node, at)

    def joined(self, parts: Sequence[str], sign: str) -> str:
        """Parts with a sign between them."""
        return self.style.join([p for i, part in enumerate(parts) for p in ([sign] * bool(i) + [part])])

    def number(self, value: Any, where: str = "") -> Written:
        """A number; where: the element that it is."""
        text = number_text(value, self.digits)
        return self.style.number(text, where), self.number_level(text)

    @staticmethod
    def number_level(text: str) -> int:
        """How tightly a number holds together."""
        return ADDED if text.startswith("−") else MULTIPLIED if "e" in text else ATOM

    def operation(self, node: ast.BinOp, at: Mapping[str, Any] | None) -> Written:
        """A sum, product, quotient or power."""
        if isinstance(node.op, ast.Pow):
            return self.style.power(self.at_least(node.left, ATOM, at), self.written(node.right, at)[0]), POWERED
        if isinstance(node.op, ast.Div) and self.style.stacks:
            return self.style.fraction(self.written(node.left, at)[0], self.written(node.right, at)[0]), POWERED
        if isinstance(node.op, ast.Div | ast.FloorDiv):
            top, bottom = self.at_least(node.left, NEGATED, at), self.at_least(node.right, POWERED, at)
            divided = self.style.fraction(top, bottom)
            return (
                (divided, MULTIPLIED)
                if isinstance(node.op, ast.Div)
                else (self.style.enclosed(divided, "⌊", "⌋"), ATOM)
            )
        if isinstance(node.op, ast.BitAnd | ast.BitOr | ast.BitXor):
            parts = [self.at_least(part, ADDED, at) for part in (node.left, node.right)]
            return self.joined(parts, self.sign(_SIGNS[type(node.op)])), LOGIC
        least = MULTIPLIED if isinstance(node.op, ast.Mult) else ADDED
        left = self.at_least(node.left, NEGATED if least == MULTIPLIED else ADDED, at)
        right = self.at_least(node.right, MULTIPLIED, at)
        return self.style.join([left, self.sign(_SIGNS[type(node.op)]), right]), least

    def choice(self, node: ast.IfExp, at: Mapping[str, Any] | None) -> Written:
        """`u if condition else v`; a condition that indices alone decide is decided."""
        cases = []
        rest: ast.expr = node
        while isinstance(rest, ast.IfExp):
            holds, test = (None, rest.test) if at is None else self.tested(rest.test, at)
            if holds is None:
                cases.append((self.at_least(rest.body, LOGIC, at), self.at_least(test, LOGIC, at)))
            rest = rest.body if holds else rest.orelse
            if holds:
                break
        return (self.style.cases(cases, self.at_least(rest, LOGIC, at)), CHOICE) if cases else self.written(rest, at)

    def tested(self, test: ast.expr, at: Mapping[str, Any]) -> tuple[bool | None, ast.expr]:
        """Whether a condition holds, as far as indices and lengths alone decide; else None, and what is left of it."""
        parts = test.values if isinstance(test, ast.BoolOp) and isinstance(test.op, ast.And) else [test]
        left = [part for part in parts if not self.settled(part)]
        if not all(self.loops.value(part, at) for part in parts if part not in left):
            return False, test
        if not left:
            return True, test
        return None, left[0] if len(left) == 1 else ast.BoolOp(ast.And(), left)

    def settled(self, test: ast.expr) -> bool:
        """Whether a condition is about indices and lengths alone, and no value can change it."""
        if id(test) not in self.known:
            lengths = {id(n.value) for n in ast.walk(test) if isinstance(n, ast.Attribute)}
            names = {n.id for n in ast.walk(test) if isinstance(n, ast.Name) and id(n) not in lengths}
            about_values = any(n in self.places or n in self.made for n in names)
            self.known[id(test)] = not self.equation.elementwise and not about_values
        return self.known[id(test)]

    def call(self, node: ast.Call, at: Mapping[str, Any] | None) -> Written:
        """A function, or a reduction over indices."""
        name = node.func.id  # type: ignore[attr-defined]
        over = [a for a in node.args[1:] if self.loops_over(a)]
        if name in REDUCTIONS and over:
            return self.reduction(name, node, over, at)
        if name == "sqrt":
            return self.style.root(self.written(node.args[0], at)[0]), ATOM
        around = FUNCTIONS[name].around if name in FUNCTIONS else None
        if around:
            return self.style.enclosed(self.written(node.args[0], at)[0], *around), ATOM
        known = str(self.names[name]) if name in self.names else name
        return self.style.call(known, [self.at_least(a, CHOICE, at) for a in node.args]), ATOM

    def loops_over(self, node: ast.expr) -> bool:
        """Whether an argument after what is summed is an index."""
        if isinstance(node, ast.Compare):
            node = node.left
        if isinstance(node, ast.Starred):
            node = node.value
        return is_ellipsis(node) or (isinstance(node, ast.Name) and node.id in self.equation.indices)

    def reduction(self, name: str, node: ast.Call, over: Sequence[ast.expr], at: Mapping[str, Any] | None) -> Written:
        """A sum, mean, product, maximum or minimum over indices; with values, its terms."""
        body = node.args[0]
        if at is None:
            indices = [text for part in over for text in self.index_texts(part)]
            least = MULTIPLIED if name in ("sum", "product") else ATOM
            return self.style.over(name, indices, self.at_least(body, least)), MULTIPLIED
        names = [self._over_name(part) for part in over]
        spans = [list(self.loops.span(n)) for n in names]
        if math.prod(map(len, spans)) > LONGEST_SUM:
            raise Elided
        runs: list[dict[str, Any]] = [{**at, **dict(zip(names, run, strict=True))} for run in itertools.product(*spans)]
        if name in ("sum", "mean") and isinstance(body, ast.Constant):
            value: Any = body.value
            return self.number(value * (len(runs) if name == "sum" else 1))
        runs = [run for run in runs if not self.vanishes(body, run)] if name == "sum" else runs
        shown: list[dict[str, Any] | None] = [*runs]
        most, first = (
            (self.terms, 3) if not self.depth else (min(self.terms, 3) if self.terms <= TERMS else self.terms, 1)
        )
        if len(runs) > most:
            shown = [*runs[:first], None, runs[-1]]
        self.depth += 1
        terms = ["…" if run is None else self.at_least(body, MULTIPLIED, run) for run in shown]
        self.depth -= 1
        terms = [self.style.operator("…").strip() if term == "…" else term for term in terms]
        if name in ("max", "min"):
            if len(terms) == 1:
                return terms[0], MULTIPLIED
            return self.style.call(name, terms), ATOM
        if name == "product":
            return self.joined(terms, self.sign("*")), MULTIPLIED
        if not terms:
            return self.number(0)
        total = self.joined(terms, self.sign("+"))
        if name == "sum":
            return total, ADDED if len(terms) > 1 else MULTIPLIED
        one, count = self.number(1)[0], self.number(len(runs))[0]
        if self.style.stacks:
            return self.style.fraction(total, count), POWERED
        return self.style.join([self.style.fraction(one, count), self.sign("*"), self.style.enclosed(total)]), (
            MULTIPLIED
        )

    def vanishes(self, body: ast.expr, at: Mapping[str, Any]) -> bool:
        """Whether a term is `… if condition else 0` with a condition on indices that does not hold here."""
        nothing = isinstance(body, ast.IfExp) and isinstance(body.orelse, ast.Constant) and body.orelse.value == 0
        return nothing and self.tested(body.test, at)[0] is False  # type: ignore[attr-defined]

    @staticmethod
    def _over_name(node: ast.expr) -> str:
        if isinstance(node, ast.Compare):
            node = node.left
        if isinstance(node, ast.Starred):
            node = node.value
        return node.id if isinstance(node, ast.Name) else REST

    # Names and elements

    def name(self, name: str, at: Mapping[str, Any] | None) -> Written:
        """A name: its symbol, or its value."""
        if at is not None:
            if name in at and name != REST:
                return self.number(at[name])
            if name in self.made and name not in self.places:
                return self.written(self.made[name].expression, at)
            if name in self.places:
                return self.taken(name, self.broadcast_place(name))
            assert self.values
            if name in self.values.arrays:
                value = self.values.arrays[name]
                where = f"{self.values.ids[name]}:0" if name in self.values.ids else ""
                return (
                    self.number(value, where) if isinstance(value, (int, float, numpy.generic)) else (str(value), ATOM)
                )
        return self.named(name, ()), self.level(name)

    def broadcast_place(self, name: str) -> tuple[int, ...]:
        """Where an operand of an elementwise equation has what goes into the element that is asked for."""
        assert self.values
        shape = self.places[name].shape
        place = self.values.place[len(self.values.place) - len(shape) :] if shape else ()
        return tuple(0 if n == 1 else i for i, n in zip(place, shape, strict=True))

    def taken(self, name: str, place: tuple[Any, ...]) -> Written:
        """One element of an operand."""
        assert self.values
        array = numpy.asarray(self.values.arrays[name])
        flat = int(numpy.ravel_multi_index(place, array.shape)) if array.ndim else 0
        where = f"{self.values.ids[name]}:{flat}" if name in self.values.ids else ""
        return self.number(array.reshape(-1)[flat], where)

    def named(self, name: str, parts: Sequence[ast.expr]) -> str:
        """A symbol with its indices."""
        symbol = self.names.get(name) or symbol_of(name)
        if is_numeral(symbol):
            return self.style.number(symbol.base)
        above = [part for part in parts if self.layers in _names(part)]
        indices = [text for part in parts if part not in above for text in self.index_texts(part)]
        return self.style.symbol(symbol, indices, "".join(self.written(part)[0] for part in above))

    def level(self, name: str) -> int:
        """How tightly a symbol holds together: a power of a gradient, or of what has a layer, takes parentheses."""
        symbol = self.names.get(name)
        if symbol and is_numeral(symbol):
            return self.number_level(symbol.base)
        return POWERED if symbol and (symbol.over or symbol.layer or symbol.base.startswith("∇")) else ATOM

    def index_texts(self, part: ast.expr) -> list[str]:
        """An index as it is written; `...` as letters where it is known how many."""
        if isinstance(part, ast.Compare):
            part = part.left
        if is_ellipsis(part):
            letters = [self.style.operator("…").strip()] if self.dots is None else list(self.dots)
            return [self.style.symbol(Symbol(c)) if c.isalpha() else c for c in letters]
        return [self.written(part)[0]]

    def subscripted(self, node: ast.Subscript, at: Mapping[str, Any] | None) -> Written:
        """An element of an array."""
        parts = tuple(node.slice.elts) if isinstance(node.slice, ast.Tuple) else (node.slice,)
        owner = node.value
        if isinstance(owner, ast.Attribute) and owner.attr == "shape":
            return self.length(owner, parts[0])
        name = owner.value.id if isinstance(owner, ast.Attribute) else owner.id  # type: ignore[attr-defined]
        if at is None or (name not in self.places and name not in self.made):
            return self.named(name, parts), self.level(name)
        if name in self.made and name not in self.places:
            return self.made_before(name, parts, at)
        if isinstance(owner, ast.Attribute):  # x.flat[i]
            return self.taken(name, numpy.unravel_index(self.loops.place(parts, at)[0], self.places[name].shape))
        array = self.places[name]
        source = self.sources[name]
        place = self.loops.place(parts, at)
        if any(is_ellipsis(part) for part in parts):  # `...` broadcasts, aligned at the right
            place = place[len(place) - source.ndim :]
            place = tuple(0 if n == 1 else i for i, n in zip(place, source.shape, strict=True))
        flat = int(source[place])
        return self.taken(name, numpy.unravel_index(flat, array.shape) if array.ndim else ())

    def made_before(self, name: str, parts: tuple[ast.expr, ...], at: Mapping[str, Any]) -> Written:
        """An element of what an earlier statement gives: that statement's own right-hand side."""
        statement = self.made[name]
        expression = statement.expression
        if isinstance(expression, ast.Call) and ast.unparse(expression.func) in ("border", "inside"):
            return self.bordered(expression, self.loops.place(parts, at))
        known = dict(at)
        for index, part in zip(statement.indices, parts, strict=True):
            known[self._over_name(index)] = at[REST] if is_ellipsis(part) else self.loops.value(part, at)
        return self.written(expression, known)

    def bordered(self, call: ast.Call, place: tuple[int, ...]) -> Written:
        """An element of x with a border around it."""
        name, padding = ast.unparse(call.args[0]), self.loops.value(call.args[1], {})
        shape = self.places[name].shape
        offsets = (0, *(before for before, _ in padding), 0)
        inner = tuple(i - o for i, o in zip(place, offsets, strict=True))
        within = all(0 <= i < n for i, n in zip(inner, shape, strict=True))
        if ast.unparse(call.func) == "inside":
            return self.number(int(within))
        return self.taken(name, inner) if within else self.number(self.loops.value(call.args[2], {}))

    def length(self, owner: ast.Attribute, axis: ast.expr) -> Written:
        """The length of an axis."""
        name = owner.value.id  # type: ignore[attr-defined]
        if name in self.places:
            return self.number(self.places[name].shape[int(ast.unparse(axis))])
        return self.style.call("length", [self.named(name, ()), self.number(ast.literal_eval(axis))[0]]), ATOM

    def attribute(self, node: ast.Attribute) -> Written:
        """`x.size`: how many elements x has."""
        name = node.value.id  # type: ignore[attr-defined]
        if name in self.places:
            return self.number(self.places[name].size)
        return self.style.call(node.attr, [self.named(name, ())]), ATOM


def _names(node: ast.expr) -> set[str]:
    return {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}
