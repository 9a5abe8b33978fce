"""The walk over an equation, as it is or written out for one element, that hands its parts to a style."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .element import Number, Terms
from .functions import FUNCTIONS, REDUCTIONS
from .language import REST, Equation, bare_names, elements, index_name, indices_in, is_ellipsis
from .operators import OPERATORS
from .spelled import spelled
from .styles import SIGNS, STYLES, Style, Symbol
from .symbols import is_numeral, number_text, symbol_of

CHOICE, LOGIC, COMPARED, ADDED, NEGATED, MULTIPLIED, POWERED, ATOM = range(8)
"""How tightly parts hold together; what holds less tightly than its place asks for is put into parentheses."""
Written = tuple[str, int]


class Printer:
    """One equation on its way into one style."""

    def __init__(
        self,
        equation: Equation,
        style: Style | str,
        names: Mapping[str, Symbol],
        axes: Mapping[str, int] | None = None,
        digits: int = 4,
        layers: str = "",
    ) -> None:
        self.equation, self.names, self.digits, self.layers = equation, names, digits, layers
        self.style = STYLES[style] if isinstance(style, str) else style
        self.indices = spelled(equation, axes) if axes else {}
        self.axis: int | None = None  # of a multi-index, while its axes are written one by one

    def whole(self, equals: str) -> str:
        """All statements, in symbols."""
        lines = []
        for statement in self.equation.statements:
            sign = self.sign("+=" if statement.adds else equals)
            sides = self.named(statement.target, statement.indices)[0], self.at_least(statement.expression, CHOICE)
            lines.append(self.style.join([sides[0], sign, sides[1]]))
        return self.style.lines(lines)

    # Expressions

    def sign(self, sign: str) -> str:
        """An operator in the style."""
        return self.style.operator(SIGNS.get(sign, sign))

    def at_least(self, node: ast.expr, least: int) -> str:
        """A part, in parentheses where it holds less tightly than that."""
        text, tightness = self.written(node)
        return text if tightness >= least else self.style.enclosed(text)

    def written(self, node: ast.expr) -> Written:
        """A part, and how tightly it holds together."""
        match node:
            case Number():
                return self.number(node.value, node.where)
            case ast.Constant():
                return self.number(node.value)
            case ast.Starred():
                return self.written(node.value)
            case ast.Name():
                several = self.indices.get(node.id)
                one = several[self.axis] if several and self.axis is not None else None
                return (self.style.symbol(one), ATOM) if one else self.named(node.id)
            case ast.Subscript():
                return self.subscripted(node)
            case ast.Attribute():
                return self.style.call(node.attr, [self.named(ast.unparse(node.value))[0]]), ATOM
            case ast.UnaryOp(op=ast.USub()):
                return self.style.join([self.sign("-").strip(), self.at_least(node.operand, MULTIPLIED)]), NEGATED
            case ast.UnaryOp():
                return self.style.join(
                    [self.sign(OPERATORS[type(node.op)].sign), self.at_least(node.operand, ATOM)]
                ), LOGIC
            case ast.BinOp():
                return self.operation(node)
            case ast.Compare():
                axes = self.on_each_axis(node, self.compared)
                return self.joined(axes, self.sign("and")), COMPARED if len(axes) == 1 else LOGIC
            case ast.BoolOp():
                sign = self.sign(OPERATORS[type(node.op)].sign)
                return self.joined([self.at_least(part, COMPARED) for part in node.values], sign), LOGIC
            case ast.IfExp():
                return self.choice(node)
            case Terms():
                return self.terms(node)
        assert isinstance(node, ast.Call)
        return self.call(node)

    def joined(self, parts: Sequence[str], sign: str) -> str:
        """Parts with a sign between them."""
        return self.style.join([p for i, part in enumerate(parts) for p in ([sign] * bool(i) + [part])])

    def number(self, value: Any, where: str = "") -> Written:
        """A number; where: the element that it is."""
        if value is None or isinstance(value, str | tuple):
            return str(value), ATOM
        text = number_text(value, self.digits)
        return self.style.number(text, where), _number_level(text)

    def operation(self, node: ast.BinOp) -> Written:
        """A sum, product, quotient or power."""
        if isinstance(node.op, ast.Pow):
            return self.style.power(self.at_least(node.left, ATOM), self.written(node.right)[0]), POWERED
        if isinstance(node.op, ast.Div) and self.style.stacks:
            return self.style.fraction(self.written(node.left)[0], self.written(node.right)[0]), POWERED
        if isinstance(node.op, ast.Div | ast.FloorDiv):
            divided = self.style.fraction(self.at_least(node.left, NEGATED), self.at_least(node.right, POWERED))
            whole = isinstance(node.op, ast.FloorDiv)
            return (self.style.enclosed(divided, "⌊", "⌋"), ATOM) if whole else (divided, MULTIPLIED)
        sign = self.sign(OPERATORS[type(node.op)].sign)
        if isinstance(node.op, ast.BitAnd | ast.BitOr | ast.BitXor):
            return self.joined([self.at_least(part, ADDED) for part in (node.left, node.right)], sign), LOGIC
        least = MULTIPLIED if isinstance(node.op, ast.Mult) else ADDED
        left = self.at_least(node.left, NEGATED if least == MULTIPLIED else ADDED)
        return self.joined([left, self.at_least(node.right, MULTIPLIED)], sign), least

    def compared(self, node: ast.Compare) -> str:
        """A comparison, or several in a row."""
        parts = [self.at_least(node.left, ADDED)]
        for op, right in zip(node.ops, node.comparators, strict=True):
            parts += [self.sign(OPERATORS[type(op)].sign), self.at_least(right, ADDED)]
        return self.style.join(parts)

    def choice(self, node: ast.IfExp) -> Written:
        """`u if condition else v`, with further conditions in v."""
        cases = []
        rest: ast.expr = node
        while isinstance(rest, ast.IfExp):
            cases.append((self.at_least(rest.body, LOGIC), self.at_least(rest.test, LOGIC)))
            rest = rest.orelse
        return self.style.cases(cases, self.at_least(rest, LOGIC)), CHOICE

    def call(self, node: ast.Call) -> Written:
        """A function, or a reduction over indices."""
        name = ast.unparse(node.func)
        over = [part for part in node.args[1:] if index_name(part, self.equation.indices)]
        if name in REDUCTIONS and over:
            indices = [text for part in over for text in self.index_texts(part)]
            one = isinstance(node.args[0], ast.Name | ast.Subscript)
            least = MULTIPLIED if REDUCTIONS[name].big or one else ATOM
            return self.style.over(name, indices, self.at_least(node.args[0], least)), MULTIPLIED
        if name == "sqrt":
            return self.style.root(self.written(node.args[0])[0]), ATOM
        around = FUNCTIONS[name].around if name in FUNCTIONS else None
        if around:
            return self.style.enclosed(self.written(node.args[0])[0], *around), ATOM
        known = str(self.names[name]) if name in self.names else name
        return self.style.call(known, [self.at_least(a, CHOICE) for a in node.args]), ATOM

    def terms(self, node: Terms) -> Written:
        """A sum, mean, product, maximum or minimum as its terms."""
        dots = self.style.operator("…").strip()
        terms = [dots if term is None else self.at_least(term, MULTIPLIED) for term in node.terms]
        if node.name in ("max", "min"):
            return (self.style.call(node.name, terms), ATOM) if len(terms) > 1 else (terms[0], MULTIPLIED)
        if node.name == "product":
            return self.joined(terms, self.sign("*")), MULTIPLIED
        if not terms:
            return self.number(0)
        total = self.joined(terms, self.sign("+"))
        if node.name == "sum":
            return total, ADDED if len(terms) > 1 else MULTIPLIED
        one, count = self.number(1)[0], self.number(node.count)[0]
        if self.style.stacks:
            return self.style.fraction(total, count), POWERED
        return self.joined([self.style.fraction(one, count), self.style.enclosed(total)], self.sign("*")), MULTIPLIED

    # Names and elements

    def named(self, name: str, parts: Sequence[ast.expr] = ()) -> Written:
        """A symbol with its indices; a power of a gradient, or of what has a layer, takes parentheses."""
        symbol = self.names.get(name) or symbol_of(name)
        if is_numeral(symbol):
            return self.style.number(symbol.base), _number_level(symbol.base)
        above = [part for part in parts if self.layers and indices_in(part, {self.layers})]
        indices = [text for part in parts if part not in above for text in self.index_texts(part)]
        layer = "".join(self.written(part)[0] for part in above)
        raised = symbol.over or symbol.layer or layer or symbol.base.startswith("∇")
        return self.style.symbol(symbol, indices, layer), POWERED if raised else ATOM

    def index_texts(self, part: ast.expr) -> list[str]:
        """An index as it is written; `...` as letters where it is known how many."""
        if isinstance(part, ast.Compare):
            part = part.left
        if not is_ellipsis(part):
            return self.on_each_axis(part, lambda part: self.written(part)[0])
        if REST not in self.indices:
            return [self.style.operator("…").strip()]
        return [self.style.symbol(letter) for letter in self.indices[REST]]

    def on_each_axis(self, node: ast.expr, write: Callable[[Any], str]) -> list[str]:
        """What is written of a part for each axis of the multi-indices in it; once where there are none."""
        several = [self.indices[name] for name in bare_names(node, self.equation.indices) if name in self.indices]
        texts = []
        for axis in range(max(map(len, several), default=1)):
            self.axis = axis
            texts.append(write(node))
        self.axis = None
        return texts

    def subscripted(self, node: ast.Subscript) -> Written:
        """An element of an array, or the length of an axis."""
        parts, owner = elements(node.slice), node.value
        if isinstance(owner, ast.Attribute) and owner.attr == "shape":
            return self.style.call("length", [self.named(ast.unparse(owner.value))[0], self.written(parts[0])[0]]), ATOM
        return self.named(ast.unparse(owner.value if isinstance(owner, ast.Attribute) else owner), parts)


def _number_level(text: str) -> int:
    return ADDED if text.startswith("−") else MULTIPLIED if "e" in text else ATOM
