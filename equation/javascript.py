"""Equations as JavaScript: plain loops over their indices, for arrays of known shapes.

Every length, stride and place is a number in the text. So the script needs nothing but the functions of the language.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import numpy

from ..errors import EquationError
from .functions import CONSTANTS, FUNCTIONS, REDUCTIONS
from .indices import Indices
from .language import REST, Equation, Statement, elements, index_name, indices_in, is_ellipsis
from .operators import OPERATORS
from .syntax import UNUSABLE

Shape = tuple[int, ...]
Text: TypeAlias = Any
"""An expression of JavaScript; a list of such where it has several axes; None for Python's None."""
SIGNS = {kind: row.javascript or row.sign for kind, row in OPERATORS.items()}
START = {"product": "1", "max": "-Infinity", "min": "Infinity"}
"""What a reduction begins with, where that is not 0."""


class NotWritten(Exception):
    """The equation moves whole arrays, or has a function that JavaScript has not."""


def functions() -> str:
    """The functions of the language, as an object of JavaScript."""
    return "{" + ", ".join(f"{name}: {f.javascript}" for name, f in FUNCTIONS.items() if f.javascript) + "}"


def script(
    equation: Equation, values: Mapping[str, Any], shape: Shape, axis: Any = (), sums_to: Shape | None = None,
    varying: Collection[str] = (),
) -> str:  # fmt: skip
    """A function of JavaScript, (s, F) => array, that computes the equation's target.

    s has the arrays by their names, F is `functions()`; arrays are flat, in row-major order. values: arrays (only their
    shapes count) and numbers. shape: of the target. axis: as `loops.evaluate` takes it. sums_to: a shape over whose
    repeated axes the target is summed. varying: names of numbers that are read from s instead of written in the text.
    Raises NotWritten where the equation cannot be written so.
    """
    if equation.recurrent or any(statement.adds for statement in equation.statements):
        raise NotWritten
    try:
        writer = _Writer(equation, values, shape, axis, shape if sums_to is None else sums_to, varying)
        body = "".join(map(writer.statement, equation.statements))
    except (EquationError, *UNUSABLE) as error:  # its text leads nowhere
        raise NotWritten from error
    return f"(s, F) => {{ {body}return s.{equation.target}; }}"


class _Writer:
    """Writes the statements of one equation.

    places: by array, which flat element stands where; with the axis of the primitive at the end, as its indices have
    it. In the text the value of an index j is $j, of a multi-index i it is $i0, $i1, ….
    """

    def __init__(
        self, equation: Equation, values: Mapping[str, Any], shape: Shape, axis: Any, sums_to: Shape,
        varying: Collection[str],
    ) -> None:  # fmt: skip
        self.equation, self.shape, self.sums_to = equation, shape, sums_to
        self.varying = varying
        self.shapes = {name: numpy.shape(value) for name, value in values.items() if hasattr(value, "shape")}
        self.numbers = {name: value for name, value in values.items() if name not in self.shapes}
        flat = {name: numpy.arange(numpy.prod(n, dtype=int)).reshape(n) for name, n in self.shapes.items()}
        self.extents: Mapping[str, Any] = {}
        self.places, self.result = flat, flat.get(equation.target)
        if not equation.elementwise:
            runs = Indices(equation, {**self.numbers, **flat}, shape, axis)
            self.extents, self.result = runs.extents, runs.places
            self.places = {name: runs.arranged(name, place) for name, place in flat.items()}

    def statement(self, statement: Statement) -> str:
        """The loops that compute one target."""
        last = statement is self.equation.statements[-1]
        if statement.indices:
            return self.looped(statement, last)
        if self.equation.elementwise:
            return self.elementwise(statement, last)
        bordered = self.bordered(statement)
        if bordered is not None:
            return bordered
        if any(name in FUNCTIONS and name not in REDUCTIONS and not FUNCTIONS[name].javascript
               for name in _called(statement.expression)):  # fmt: skip
            raise NotWritten
        self.made(statement.target, ())
        return f"s.{statement.target} = [{self.read(statement.expression)}]; "

    def made(self, name: str, shape: Shape) -> None:
        """Say that an array is there."""
        self.shapes[name] = shape
        self.places = {**self.places, name: numpy.arange(numpy.prod(shape, dtype=int)).reshape(shape)}

    def looped(self, statement: Statement, last: bool) -> str:
        """A statement for each value of its indices."""
        at = [text for part in statement.indices for text in _listed(self.index(part))]
        shape = tuple(self.longest(text) for text in at)
        places = self.result if last else None
        if self.equation.flat and last:
            places = numpy.arange(numpy.prod(self.shape, dtype=int))
        if places is None or places.shape != shape:  # `...` was broadcast: it is larger than the operand
            places = numpy.arange(numpy.prod(shape, dtype=int)).reshape(shape)
            self.shape = shape if last else self.shape
        names = [name for part in statement.indices for name in indices_in(part, self.equation.indices)]
        inner = f"r[{self.place(places, at)}] = {self.read(statement.expression)};"
        if not last:
            self.made(statement.target, shape)
        return self.stored(statement.target, shape, self.loops(names, inner), last)

    def elementwise(self, statement: Statement, last: bool) -> str:
        """A statement for each element of the arrays in it, repeated to one shape."""
        used = {n.id for n in ast.walk(statement.expression) if isinstance(n, ast.Name)} & self.shapes.keys()
        shape = numpy.broadcast_shapes(*(self.shapes[name] for name in used), *([self.shape] if last else []))
        self.extents = {REST: shape}
        places = numpy.arange(numpy.prod(shape, dtype=int)).reshape(shape)
        inner = f"r[{self.place(places, self.variables(REST))}] = {self.read(statement.expression)};"
        if last:
            self.shape = shape
        else:
            self.made(statement.target, shape)
        return self.stored(statement.target, shape, self.loops([REST], inner), last)

    def stored(self, name: str, shape: Shape, loops: str, last: bool) -> str:
        """The array that the loops fill; at the end summed over the axes along which an operand was repeated."""
        size = int(numpy.prod(self.shape if last else shape, dtype=int))
        text = f"{{ const r = new Array({size}); {loops} s.{name} = r; }} "
        if not last or self.sums_to == self.shape:
            return text
        summed = numpy.arange(numpy.prod(self.sums_to, dtype=int)).reshape(self.sums_to)
        self.extents = {REST: self.shape}
        whole = numpy.arange(size).reshape(self.shape)
        at = self.variables(REST)
        add = f"r[{self.place(summed, at, repeated=True)}] += s.{name}[{self.place(whole, at)}];"
        return f"{text}{{ const r = new Array({summed.size}).fill(0); {self.loops([REST], add)} s.{name} = r; }} "

    def bordered(self, statement: Statement) -> str | None:
        """`border(x, padding, value)` and `inside(x, padding)`; None for other expressions."""
        node = statement.expression
        if not isinstance(node, ast.Call) or ast.unparse(node.func) not in ("border", "inside"):
            return None
        array, padding, *outside = node.args
        name, shape = ast.unparse(array), self.shapes[ast.unparse(array)]
        width = [(0, 0), *self.numbers[ast.unparse(padding)], (0, 0)]
        places = numpy.pad(numpy.arange(numpy.prod(shape, dtype=int)).reshape(shape), width, constant_values=-1)
        self.made(statement.target, places.shape)
        values = f"at < 0 ? {self.read(outside[0])} : s.{name}[at]" if outside else "Number(at >= 0)"
        if (places >= 0).all() and outside:
            return f"s.{statement.target} = s.{name}; "
        return f"s.{statement.target} = {_list(places)}.map((at) => {values}); "

    # Loops

    def variables(self, name: str) -> list[str]:
        """The variables of an index."""
        stem = "$" if name == REST else f"${name}"
        extent = self.extent(name)
        return [f"{stem}{k}" for k in range(len(extent))] if isinstance(extent, tuple) else [stem]

    def extent(self, name: str) -> Any:
        """What an index runs over."""
        if name not in self.extents:
            raise NotWritten
        return self.extents[name]

    def loops(self, names: Sequence[str], inner: str) -> str:
        """`inner` for all values of the indices."""
        for name in reversed(names):
            extent = self.extent(name)
            lengths = extent if isinstance(extent, tuple) else (extent,)
            for variable, length in reversed(list(zip(self.variables(name), lengths, strict=True))):
                inner = f"for (let {variable} = 0; {variable} < {length}; {variable}++) {{ {inner} }}"
        return inner

    def longest(self, text: str) -> int:
        """How many values a variable takes."""
        for name in self.extents:
            for variable, length in zip(self.variables(name), _listed(self.extent(name)), strict=True):
                if variable == text:
                    return int(length)
        raise NotWritten

    def place(self, places: Any, at: Sequence[str], repeated: bool = False) -> str:
        """Which flat element stands at these indices; repeated: where the array may be shorter, and have length 1."""
        if repeated:
            at = ["0" if n == 1 else text for n, text in zip(places.shape, at[len(at) - places.ndim :], strict=True)]
        if len(at) != places.ndim:
            raise NotWritten
        origin = places.reshape(-1)[0] if places.size else 0
        steps = [int(places.take(1, k).reshape(-1)[0] - origin) if n > 1 else 0 for k, n in enumerate(places.shape)]
        grid = sum((i * step for i, step in zip(numpy.indices(places.shape), steps, strict=True)), start=origin)
        if (grid == places).all():
            terms = [text if step == 1 else f"{text} * {step}" for text, step in zip(at, steps, strict=True) if step]
            return " + ".join([*([str(origin)] if origin or not terms else []), *terms])
        arranged = numpy.arange(places.size).reshape(places.shape)
        return f"{_list(places)}[{self.place(arranged, at)}]"

    # Expressions

    def read(self, node: ast.expr) -> str:
        """An expression that is one number."""
        found = self.value(node)
        if not isinstance(found, str):
            raise NotWritten
        return found

    def index(self, node: ast.expr) -> Text:
        """What stands in brackets."""
        return self.variables(REST) if is_ellipsis(node) else self.value(node)

    def value(self, node: ast.expr) -> Text:
        """An expression."""
        if isinstance(node, ast.Constant):
            return repr(node.value)
        if isinstance(node, ast.Name):
            return self.name(node.id)
        if isinstance(node, ast.Starred):
            return self.value(node.value)
        if isinstance(node, ast.BinOp):
            if isinstance(node.op, ast.FloorDiv):
                return _each(lambda a, b: f"Math.floor({a} / {b})", self.value(node.left), self.value(node.right))
            sign = SIGNS[type(node.op)]
            return _each(lambda a, b: f"({a} {sign} {b})", self.value(node.left), self.value(node.right))
        if isinstance(node, ast.UnaryOp):
            return f"({SIGNS[type(node.op)]}{self.read(node.operand)})"
        if isinstance(node, ast.Compare):
            parts = [self.value(part) for part in (node.left, *node.comparators)]
            signs = [SIGNS[type(op)] for op in node.ops]
            tests = [
                test
                for a, sign, b in zip(parts, signs, parts[1:], strict=False)
                for test in _listed(_each(lambda x, y, sign=sign: f"{x} {sign} {y}", a, b))
            ]
            return f"({' && '.join(tests)} ? 1 : 0)"
        if isinstance(node, ast.BoolOp):
            return f"({SIGNS[type(node.op)].join(map(self.read, node.values))})"
        if isinstance(node, ast.IfExp):
            return f"({self.read(node.test)} ? {self.read(node.body)} : {self.read(node.orelse)})"
        if isinstance(node, ast.Call):
            return self.call(node)
        if isinstance(node, ast.Attribute) and node.attr == "size":
            return str(int(numpy.prod(self.shapes[ast.unparse(node.value)], dtype=int)))
        if isinstance(node, ast.Subscript):
            return self.element(node)
        raise NotWritten

    def name(self, name: str) -> Text:
        """An index, an element of an array, a number, or a list of numbers."""
        if name in self.equation.indices:
            return self.variables(name) if isinstance(self.extent(name), tuple) else f"${name}"
        if name in self.shapes:
            at = self.variables(REST) if self.equation.elementwise else []
            return f"s.{name}[{self.place(self.places[name], at, repeated=self.equation.elementwise)}]"
        if name in self.varying:
            return f"s.{name}"
        if name in CONSTANTS and name not in self.numbers:
            return "Math.PI" if name == "pi" else "Infinity"
        return _number(self.numbers[name])

    def element(self, node: ast.Subscript) -> Text:
        """An element of an array, a length, or a multi-index in another order."""
        parts = elements(node.slice)
        if isinstance(node.value, ast.Attribute):
            name = ast.unparse(node.value.value)
            if node.value.attr == "shape":
                return str(self.places[name].shape[ast.literal_eval(parts[0])])
            return f"s.{name}[{self.read(parts[0])}]"
        name = ast.unparse(node.value)
        if name in self.equation.indices:
            variables, order = self.variables(name), self.numbers[ast.unparse(parts[0])]
            return [variables[k] for k in order] if order is not None else variables[::-1]
        if name not in self.shapes or not (self.equation.indices or is_ellipsis(parts[0])):
            raise NotWritten  # a part of an array
        places = self.places[name]
        before = [] if is_ellipsis(parts[0]) else _listed(self.index(parts[0]))
        after = [text for part in parts[1:] for text in _listed(self.index(part))]
        if not is_ellipsis(parts[0]):
            return f"s.{name}[{self.place(places, [*before, *after])}]"
        rest = places.shape[: max(0, places.ndim - len(after))]
        broadcast = self.variables(REST)[len(self.variables(REST)) - len(rest) :]
        leading = ["0" if n == 1 else text for n, text in zip(rest, broadcast, strict=True)]
        return f"s.{name}[{self.place(places, [*leading, *after])}]"

    def call(self, node: ast.Call) -> Text:
        """A function of numbers, or a reduction."""
        name = ast.unparse(node.func)
        over = [index for part in node.args[1:] if (index := index_name(part, self.equation.indices))]
        if name in REDUCTIONS and over:
            return self.reduced(name, node.args[0], over)
        if name == "before":
            return [str(first) for first, _ in self.numbers[ast.unparse(node.args[0])]]
        if not FUNCTIONS[name].javascript:
            raise NotWritten
        arguments = ["null" if text is None else text for text in map(self.value, node.args)]
        return f"F.{name}({', '.join(arguments)})"

    def reduced(self, name: str, node: ast.expr, over: Sequence[str]) -> str:
        """A sum, mean, product, or extreme over indices."""
        body = self.read(node)
        step = {"product": f"t *= {body};"}.get(name, f"t += {body};")
        if name in ("max", "min"):
            step = f"t = F.{name}(t, {body});"
        count = int(numpy.prod([n for index in over for n in _listed(self.extent(index))], dtype=int))
        divided = f" / {count}" if name == "mean" else ""
        return f"(() => {{ let t = {START.get(name, '0')}; {self.loops(over, step)} return t{divided}; }})()"


def _each(write: Any, a: Text, b: Text) -> Text:
    """An operation on numbers; on a multi-index, for each of its axes."""
    if isinstance(a, list) or isinstance(b, list):
        count = len(a if isinstance(a, list) else b)
        return [write(x, y) for x, y in zip(_long(a, count), _long(b, count), strict=True)]
    if a is None or b is None:
        raise NotWritten
    return write(a, b)


def _long(a: Text, count: int) -> list[str]:
    return a if isinstance(a, list) else [a] * count


def _listed(a: Any) -> list[Any]:
    return list(a) if isinstance(a, list | tuple) else [a]


def _list(places: Any) -> str:
    return "[" + ",".join(map(str, places.reshape(-1).tolist())) + "]"


def _number(value: Any) -> Text:
    """A parameter as JavaScript has it."""
    if isinstance(value, tuple | list):
        return [_number(one) for one in value]
    if value is None:
        return None
    if isinstance(value, numpy.generic):
        value = value.item()
    if isinstance(value, bool):
        return str(int(value))
    if not isinstance(value, int | float):
        raise NotWritten
    text = repr(value).replace("inf", "Infinity").replace("nan", "NaN")
    return f"({text})" if text.startswith("-") else text


def _called(node: ast.expr) -> Iterator[str]:
    return (ast.unparse(part.func) for part in ast.walk(node) if isinstance(part, ast.Call))
