"""The small language in which an equation is written, and its reader.

An equation is Python's expression syntax with the field's names: `y = 1 / (1 + exp(-x))`,
`z[n, k] = sum(a[n, j] * w[j, k], j) + b[k]`. What it may hold:

- numbers, names, `+ - * / // **`, `& | ^ ~` bit by bit, comparisons, `and`, `or`, `not`, and `u if condition else v`;
- the functions of the table `functions`: of numbers, or of whole arrays;
- indices in brackets. A name in brackets that is no operand or parameter is an index, and runs over its
  axis; `*i` is a multi-index, which runs over several (all those of space), and arithmetic on it, as in
  `x[n, *(i * stride + a), c]`, is done for each of them; `...` stands for all axes that are not named. In a
  primitive with an `axis` parameter the index after `...` runs over that axis (or over all of them,
  flattened, when there are several);
- `sum`, `mean`, `max`, `min` and `product` of an expression over the indices named after it, as in
  `sum(x[..., j], j)`; `a < size` after it names an index together with its bound;
- `border(x, padding, v)`, x with v around it along the axes of space, `inside(x, padding)`, 1 in x and 0 in its
  border, and `before(padding)`, the border's width before the first element;
- `x.flat[i]`, the elements in row-major order, `x.shape`, one length of it as in `x.shape[-1]`, and `x.size`;
- `y[index] += x`: adds, also where `index` names an element twice;
- several statements, separated by `;`, of which the last gives the result. One may read an element of its own target,
  or of a later one's, that lies a step before or behind along an index, `h[n, t - 1]`: a recurrence.

The text says what the textbook says; the kernel beside it may take any road to the same value.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ..errors import EquationError
from .functions import CONSTANTS, FUNCTIONS, REDUCTIONS, STRUCTURAL
from .operators import OPERATORS
from .syntax import parsed, unreadable

REST = "..."
"""What the axes of `...` are called, as one multi-index."""

_SYNTAX = (
    *OPERATORS, ast.BinOp, ast.UnaryOp, ast.Compare, ast.BoolOp, ast.IfExp, ast.Constant, ast.Name, ast.Load, ast.Call,
    ast.Subscript, ast.Attribute,
)  # fmt: skip


@dataclass(frozen=True)
class Statement:
    """One `target[indices] = expression`; `indices` is empty where the target has none; `adds` for `+=`."""

    target: str
    indices: tuple[ast.expr, ...]
    expression: ast.expr
    adds: bool = False


@dataclass(frozen=True)
class Equation:
    """An equation that was read: its text, its statements, the values it reads and the indices it runs over."""

    text: str
    statements: tuple[Statement, ...]
    values: frozenset[str]
    indices: frozenset[str]

    @property
    def target(self) -> str:
        """The name of the result: `y` in `y = exp(x)`."""
        return self.statements[-1].target

    @property
    def flat(self) -> bool:
        """Whether it gives the elements of its result in row-major order: `y.flat[i] = …`."""
        return f"{self.target}.flat" in self.text

    @cached_property
    def elementwise(self) -> bool:
        """Whether it names no index, so that it holds for each element by itself."""
        return not self.indices and "[" not in self.text and not any(f"{name}(" in self.text for name in STRUCTURAL)

    @cached_property
    def recurrent(self) -> bool:
        """Whether a statement reads what is made no sooner than by itself: a step before or behind along an index."""
        left = [s.target for s in self.statements]
        for statement in self.statements:
            parts = (n.value for n in ast.walk(statement.expression) if isinstance(n, ast.Subscript))
            if any(isinstance(array, ast.Name) and array.id in left for array in parts):
                return True
            left.remove(statement.target)
        return False

    @cached_property
    def references(self) -> tuple[ast.Subscript, ...]:
        """The arrays with their indices, as they are read: `x[i, j]`, `x.flat[i]`, but no lengths, `x.shape[0]`."""
        found = [n for s in self.statements for n in ast.walk(s.expression) if isinstance(n, ast.Subscript)]
        return tuple(n for n in found if not (isinstance(n.value, ast.Attribute) and n.value.attr == "shape"))

    @cached_property
    def terms(self) -> frozenset[str]:
        """The values that it computes with: not those that only name a place, decide a condition or lend a shape."""
        return frozenset(node.id for node in self._computed() if isinstance(node, ast.Name)) & self.values

    @cached_property
    def whole(self) -> bool:
        """Whether integers for its terms give integers: no quotient, no mean, no exp, no fraction is in it."""
        return not any(map(_fractional, self._computed()))

    @cached_property
    def adds(self) -> bool:
        """Whether it sums over indices, so that rounding adds up."""
        parts = (node for s in self.statements for node in ast.walk(s.expression))
        return any(isinstance(node, ast.Call) and FUNCTIONS[ast.unparse(node.func)].adds for node in parts)

    def _computed(self) -> Iterator[ast.AST]:
        """The nodes whose values go into the result, also by way of an earlier statement."""
        earlier = {s.target: s.expression for s in self.statements}
        waiting: list[ast.AST] = [earlier.pop(self.target)]
        while waiting:
            node = waiting.pop()
            yield node
            if isinstance(node, ast.Name) and node.id in earlier:
                waiting.append(earlier.pop(node.id))
            if isinstance(node, ast.IfExp):
                waiting += [node.body, node.orelse]
            elif isinstance(node, ast.Subscript):
                waiting.append(node.value)
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                waiting += [] if node.func.id in ("argmax", "argmin", "argsort", "before", "inside") else node.args
            elif not isinstance(node, ast.Compare | ast.BoolOp) and getattr(node, "attr", "flat") == "flat":
                waiting += ast.iter_child_nodes(node)

    def evaluate(self, functions: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
        """Evaluate an elementwise equation as it is written; returns the value of each target.

        functions: what `exp`, `sqrt`, … mean (`on_arrays(numpy)`, say). values: what the names mean.
        Raises EquationError where the equation has indices.
        """
        if not self.elementwise:
            raise EquationError(f"{self.text!r} has indices: it is evaluated by loops, not all elements at once.")
        scope = dict(values)
        for statement in self.statements:
            code = compile(ast.fix_missing_locations(ast.Expression(statement.expression)), self.text, "eval")
            scope[statement.target] = eval(code, {"__builtins__": {}, **functions}, scope)
        return {statement.target: scope[statement.target] for statement in self.statements}


def read_equation(text: str, values: Iterable[str], strict: bool = True) -> Equation:
    """Read `text`; `values` are the names of operands and parameters that it may use.

    strict: that it may use no others, and no functions but those of the table. What is read otherwise is for printing
    alone: any name in brackets is an index, every other a value.
    Raises EquationError that quotes the text and names what it cannot be: bad syntax, a function or
    a name that is not known, an index that is summed over but runs over nothing.
    """
    reader, nodes = _Reader(text, frozenset(values), strict), parsed(text)
    reader.later = [name for node in nodes for name in _indexed_target(node)]
    statements = tuple(map(reader.statement, nodes))
    return Equation(text, statements, frozenset(reader.used), frozenset(reader.indices))


class _Reader:
    def __init__(self, text: str, values: frozenset[str], strict: bool) -> None:
        self.text, self.known, self.strict = text, set(values), strict
        self.later: list[str] = []  # targets with indices that are not known yet
        self.used: set[str] = set()
        self.indices: set[str] = set()

    def error(self, why: str) -> EquationError:
        return unreadable(self.text, why)

    def statement(self, node: ast.stmt) -> Statement:
        adds = isinstance(node, ast.AugAssign) and isinstance(node.op, ast.Add)
        if not adds and not (isinstance(node, ast.Assign) and len(node.targets) == 1):
            raise self.error("each statement has the form target = expression")
        assert isinstance(node, ast.AugAssign | ast.Assign)
        target: ast.expr = node.target if isinstance(node, ast.AugAssign) else node.targets[0]
        indices: tuple[ast.expr, ...] = ()
        if isinstance(target, ast.Subscript):
            indices, target = elements(target.slice), target.value
        if isinstance(target, ast.Attribute) and target.attr == "flat":
            target = target.value
        if not isinstance(target, ast.Name):
            raise self.error("the target is a name, with or without indices")
        expression = node.value
        for part in (*indices, expression):
            self.collect_indices(part, inside=part is not expression)
        for part in indices:
            self.check_index(part)
        self.check(expression)
        if target.id in self.indices:
            raise self.error(f"{target.id!r} is what it gives, and an index")
        self.known.add(target.id)
        if target.id in self.later:
            self.later.remove(target.id)
        return Statement(target.id, indices, expression, adds)

    def collect_indices(self, node: ast.AST, inside: bool) -> None:
        """A name in brackets that is no known value is an index; so it may be used outside of them, too."""
        if isinstance(node, ast.Subscript):
            self.collect_indices(node.value, inside)
            self.collect_indices(node.slice, True)
            return
        if isinstance(node, ast.Attribute):
            return  # x.shape, of a value
        if inside and isinstance(node, ast.Name) and node.id not in self.known:
            self.indices.add(node.id)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in REDUCTIONS:
            self.indices |= {
                bound.left.id
                for bound in node.args[1:]
                if isinstance(bound, ast.Compare) and isinstance(bound.left, ast.Name)
            }
        for child in ast.iter_child_nodes(node):
            self.collect_indices(child, inside)

    def check(self, node: ast.AST) -> None:
        if not isinstance(node, _SYNTAX):
            raise self.error(f"{type(node).__name__} is not part of the language")
        if isinstance(node, ast.Call):
            self.check_call(node)
            return
        if isinstance(node, ast.Constant) and type(node.value) not in (int, float):
            raise self.error(f"{node.value!r} is no number, and `...` stands only in brackets or after what is summed")
        if isinstance(node, ast.Subscript):
            if not isinstance(node.value, ast.Name | ast.Attribute) or getattr(node.value, "attr", "") == "size":
                raise self.error(f"{ast.unparse(node)} has brackets after what is no array")
            if not elements(node.slice):
                raise self.error(f"{ast.unparse(node)} has no index")
            if getattr(node.value, "attr", "") == "shape" and not _is_whole(node.slice):
                raise self.error(f"{ast.unparse(node)} is no length of an axis, as x.shape[-1] is")
            if self._steps_back(node):
                self.used.add(ast.unparse(node.value))
            else:
                self.check(node.value)
            for part in elements(node.slice):
                self.check_index(part)
            return
        if isinstance(node, ast.Attribute) and node.attr not in ("flat", "shape", "size"):
            raise self.error(f".{node.attr} is not part of the language (only .flat, .shape and .size are)")
        if isinstance(node, ast.Attribute) and not isinstance(node.value, ast.Name):
            raise self.error(f"{ast.unparse(node)} asks for .{node.attr} of what is no name")
        if isinstance(node, ast.Name):
            if node.id in self.known or not (self.strict or node.id in self.indices):
                self.used.add(node.id)
            elif node.id not in self.indices and node.id not in CONSTANTS:
                raise self.error(f"{node.id!r} is no operand, parameter or index; known are {sorted(self.known)}")
        for child in ast.iter_child_nodes(node):
            self.check(child)

    def _steps_back(self, node: ast.Subscript) -> bool:
        """Whether it is an element of a target to come, a step before or behind along an index: `h[n, t - 1]`."""
        steps = [part for part in elements(node.slice) if isinstance(part, ast.BinOp) and _is_whole(part.right)]
        return bool(steps) and isinstance(node.value, ast.Name) and node.value.id in self.later

    def check_index(self, node: ast.expr) -> None:
        """What stands in brackets, or after what is summed."""
        if not is_ellipsis(node):
            self.check(node.value if isinstance(node, ast.Starred) else node)

    def check_call(self, node: ast.Call) -> None:
        name = node.func.id if isinstance(node.func, ast.Name) else ast.unparse(node.func)
        if node.keywords or (self.strict and name not in FUNCTIONS):
            raise self.error(f"{name}(…) is not one of {sorted(FUNCTIONS)}")
        for place, argument in enumerate(node.args):
            (self.check_index if place and name in REDUCTIONS else self.check)(argument)
        if name in FUNCTIONS:
            self.check_count(name, node.args)

    def check_count(self, name: str, arguments: Sequence[ast.expr]) -> None:
        """Whether it has as many arguments as it takes; of a reduction the others are indices."""
        over = [index_name(argument, self.indices) is not None for argument in arguments[1:]]
        if name in REDUCTIONS and not (over and all(over)) and not (over and name in ("max", "min") and not any(over)):
            raise self.error(f"{name}(…) is of an expression over the indices that are named after it")
        if name not in REDUCTIONS and len(arguments) not in FUNCTIONS[name].takes:
            raise self.error(f"{name}(…) takes {' or '.join(map(str, FUNCTIONS[name].takes))}, not {len(arguments)}")


def _indexed_target(node: ast.stmt) -> list[str]:
    """The name of what a statement gives, where that has indices."""
    targets = node.targets if isinstance(node, ast.Assign) else []
    return [t.value.id for t in targets if isinstance(t, ast.Subscript) and isinstance(t.value, ast.Name)]


def _fractional(node: ast.AST) -> bool:
    """Whether this step of a computation leaves the integers."""
    if isinstance(node, ast.BinOp):
        power = isinstance(node.op, ast.Pow) and isinstance(node.right, ast.UnaryOp)  # x**-1
        return power or isinstance(node.op, ast.Div)
    if isinstance(node, ast.Call):
        return not FUNCTIONS[ast.unparse(node.func)].whole
    return isinstance(getattr(node, "value", None), float) or getattr(node, "id", "") == "pi"


def _is_whole(node: ast.expr) -> bool:
    """Whether it is written as a whole number."""
    number = node.operand if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub) else node
    return isinstance(number, ast.Constant) and type(number.value) is int


def is_ellipsis(node: ast.AST) -> bool:
    """Whether this is `...`, all axes that are not named."""
    return isinstance(node, ast.Constant) and node.value is Ellipsis


def index_name(node: ast.expr, indices: Set[str]) -> str | None:
    """The index that stands in brackets, or after what is summed: bare, starred or with its bound; None for others."""
    if is_ellipsis(node):
        return REST
    if isinstance(node, ast.Starred):
        node = node.value
    if isinstance(node, ast.Compare):  # with its bound
        node = node.left
    return node.id if isinstance(node, ast.Name) and node.id in indices else None


def indices_in(node: ast.expr, indices: Set[str]) -> list[str]:
    """All indices that a part in brackets computes with."""
    names = (REST if is_ellipsis(part) else getattr(part, "id", "") for part in ast.walk(node))
    return [name for name in names if name == REST or name in indices]


def bare_names(node: ast.expr, among: Set[str]) -> set[str]:
    """The names, among some, that a part computes with itself, not inside of an array's brackets."""
    if isinstance(node, ast.Subscript):
        return set()
    if isinstance(node, ast.Name):
        return {node.id} & among
    return {name for part in ast.iter_child_nodes(node) for name in bare_names(part, among)}  # type: ignore[arg-type]


def elements(node: ast.expr) -> tuple[ast.expr, ...]:
    """The indices in a pair of brackets."""
    return tuple(node.elts) if isinstance(node, ast.Tuple) else (node,)
