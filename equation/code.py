"""Array code made from an equation: where the text says all, it is the code.

`y = 1 / (1 + exp(-x))` becomes `return 1 / (1 + xp.exp(-x))`. What can be made:

- equations without indices: their operators and functions on whole arrays, `u if c else v` as `xp.where(c, u, v)`;
- one axis at a time, `y[..., j] = exp(x[..., j]) / sum(exp(x[..., k]), k)`: the axis stays in its place;
- plain indices, several at once: each index gets an axis of its own, and arrays broadcast over those that they have
  not. A sum of a product of elements is one `xp.einsum`;
- the same elements under another shape, `y.flat[i] = x.flat[i]`, and a part of an array, `y = x[index]`.

Other equations (arithmetic inside of brackets, several statements with a multi-index) need a body. The witness of the
proofs does not use this: it evaluates the text by loops (`loops.py`), and holds the code made here to it.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy

from ..errors import EquationError
from .axes import aligned, back, count_over, front, kept, reduced, shaped
from .functions import CONSTANTS, FUNCTIONS, REDUCTIONS, STRUCTURAL
from .language import Equation, Statement, elements, is_ellipsis

HELPERS = {f.__name__: f for f in (aligned, back, count_over, front, kept, reduced, shaped)}
"""What the code that was made calls."""
ARRAYS = ("argmax", "argmin", "argsort", "concatenate", "stack")
"""Functions of whole arrays that NumPy has, with the same arguments."""
NUMBERS = {"abs": abs, "max": max, "min": min, "round": round}
"""Functions of numbers that `math` does not have."""


def array_code(
    equation: Equation, name: str, *, arrays: Sequence[str], others: Sequence[str], signature: str,
    axis: str | None = None, keepdims: bool = False, shape: str | None = None,
    functions: Callable[[str], Callable[..., Any]], place: tuple[str, int] = ("<equation>", 1),
) -> Callable[..., Any]:  # fmt: skip
    """The function of `xp` and the values of an equation that computes its target.

    arrays, others: which names are arrays, and which are numbers and other parameters. signature: what stands between
    the brackets of its `def`, after `xp`. axis: the parameter over which the index after `...` runs, if there is one;
    keepdims: whether there is such a parameter, too. shape: a name that holds the result's shape, where that does not
    follow from the arrays. functions: what a function means that no array library has, as a function of xp and
    arrays. place: file and line that a traceback shows.
    Raises EquationError where the text does not say all.
    """
    writer = _writer(equation, {*arrays}, {*others}, axis, keepdims, shape, functions)
    lines = [f"def {name}(xp, {signature}):", *(f"    {line}" for line in writer.lines())]
    tree = ast.parse("\n".join(lines))
    for node in ast.walk(tree):
        if hasattr(node, "lineno"):
            node.lineno = node.end_lineno = place[1]  # type: ignore[attr-defined]
    scope: dict[str, Any] = {"__name__": __name__, "math": math, **HELPERS, **writer.needed}
    exec(compile(tree, place[0], "exec"), scope)
    made: Callable[..., Any] = scope[name]
    made.source = "\n".join(lines)  # type: ignore[attr-defined]
    return made


def single_call(equation: Equation, operands: Sequence[str]) -> str | None:
    """The function of NumPy that gives the target of its operands in one call; None where it takes more."""
    if len(equation.statements) != 1 or not equation.elementwise:
        return None
    node = equation.statements[0].expression
    if isinstance(node, ast.BinOp):
        name, parts = UFUNCS.get(type(node.op)), [node.left, node.right]
    elif isinstance(node, ast.UnaryOp):
        name, parts = UFUNCS.get(type(node.op)), [node.operand]
    elif isinstance(node, ast.Compare) and len(node.ops) == 1:
        name, parts = UFUNCS.get(type(node.ops[0])), [node.left, *node.comparators]
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        name, parts = _called(node.func.id), node.args
    else:
        return None
    names = [part.id if isinstance(part, ast.Name) else "" for part in parts]
    known = name and isinstance(getattr(numpy, name, None), numpy.ufunc)
    return name if known and names == list(operands) else None


UFUNCS: Mapping[type, str] = {
    ast.Add: "add", ast.Sub: "subtract", ast.Mult: "multiply", ast.Div: "divide", ast.FloorDiv: "floor_divide",
    ast.Pow: "power", ast.BitAnd: "bitwise_and", ast.BitOr: "bitwise_or", ast.BitXor: "bitwise_xor",
    ast.USub: "negative", ast.Invert: "invert", ast.Eq: "equal", ast.NotEq: "not_equal", ast.Lt: "less",
    ast.LtE: "less_equal", ast.Gt: "greater", ast.GtE: "greater_equal",
}  # fmt: skip
"""What NumPy calls an operator."""


def _writer(equation: Equation, *options: Any) -> _Elementwise:
    """Who writes the code of such an equation."""
    for kind in (_Elementwise, _Flat, _OneAxis, _Indexed):
        if kind.suits(equation):
            return kind(equation, *options)
    raise EquationError(f"{equation.text!r} does not say all that its code needs: it needs a body.")


class _Elementwise:
    """Equations without indices; and what the code of all equations has in common."""

    def __init__(
        self, equation: Equation, arrays: set[str], others: set[str], axis: str | None, keepdims: bool,
        shape: str | None, functions: Callable[[str], Callable[..., Any]],
    ) -> None:  # fmt: skip
        self.equation, self.arrays, self.others = equation, arrays, others
        self.axis, self.keepdims, self.shape = axis, keepdims, shape
        self.functions = functions
        self.needed: dict[str, Any] = {}
        self.first = next((n for n in _names(equation) if n in arrays), min(arrays))  # gives numbers its dtype

    @staticmethod
    def suits(equation: Equation) -> bool:
        """Whether it is for this writer."""
        return all(not s.indices and not s.adds for s in equation.statements) and not equation.indices

    def lines(self) -> list[str]:
        """The body of the function."""
        *before, last = self.equation.statements
        written = []
        for statement in before:
            written.append(f"{statement.target} = {self.written(statement)}")
            if self.is_array(statement.expression):
                self.arrays.add(statement.target)
            else:
                self.others.add(statement.target)
        return [*written, f"return {self.result(last)}"]

    def written(self, statement: Statement) -> str:
        """The code of its right side."""
        return ast.unparse(ast.fix_missing_locations(self.code(statement.expression)))

    def result(self, statement: Statement) -> str:
        """The code of what the function returns."""
        if not self.is_array(statement.expression):
            return f"xp.full_like({self.first}, {self.written(statement)})"
        return self.written(statement)

    def refuse(self, node: ast.AST) -> EquationError:
        """The error for a part of which no code can be made."""
        return EquationError(
            f"{self.equation.text!r}: no array code can be made of {ast.unparse(node)!r}, so it needs a body."
        )

    def is_array(self, node: ast.AST) -> bool:
        """Whether a part of the equation is an array, and not a number."""
        if isinstance(node, ast.Attribute) and node.attr in ("shape", "size"):
            return False
        if isinstance(node, ast.Name):
            return node.id in self.arrays
        return any(map(self.is_array, ast.iter_child_nodes(node)))

    def code(self, node: ast.expr) -> ast.expr:
        """The code of a part of the equation."""
        kind = type(node)
        if not self.is_array(node):
            return self.number(node)
        write = getattr(self, f"write_{kind.__name__}", None)
        if write is None:
            raise self.refuse(node)
        made: ast.expr = write(node)
        return made

    def number(self, node: ast.expr) -> ast.expr:
        """The code of a part that is a number; its value, where it is the same in each call."""
        node = _Numbers(self).visit(ast.parse(ast.unparse(node), mode="eval").body)
        if not any(isinstance(n, ast.Name) and n.id != "math" for n in ast.walk(node)):
            value = eval(compile(ast.fix_missing_locations(ast.Expression(node)), "<number>", "eval"), {"math": math})
            return ast.Constant(value)
        return node

    def write_Name(self, node: ast.Name) -> ast.expr:
        """An array."""
        return node

    def write_BinOp(self, node: ast.BinOp) -> ast.expr:
        """An operator; x**2 as its square."""
        left, right = self.code(node.left), self.code(node.right)
        if isinstance(node.op, ast.Pow) and isinstance(right, ast.Constant) and right.value == 2:
            return _call("square", left)
        if isinstance(node.op, ast.Pow) and self.is_array(node.right):
            return _call("power", left, right)  # before NumPy 2.3 `**` forgets the dtype of a lone exponent
        return ast.BinOp(left, node.op, right)

    def write_UnaryOp(self, node: ast.UnaryOp) -> ast.expr:
        """A sign, or not."""
        operand = self.code(node.operand)
        return _call("logical_not", operand) if isinstance(node.op, ast.Not) else ast.UnaryOp(node.op, operand)

    def write_Compare(self, node: ast.Compare) -> ast.expr:
        """A comparison of two."""
        if len(node.ops) > 1:
            raise self.refuse(node)
        return ast.Compare(self.code(node.left), node.ops, [self.code(node.comparators[0])])

    def write_BoolOp(self, node: ast.BoolOp) -> ast.expr:
        """`and` and `or` of conditions."""
        name = "logical_and" if isinstance(node.op, ast.And) else "logical_or"
        first, *others = map(self.code, node.values)
        for other in others:
            first = _call(name, first, other)
        return first

    def write_IfExp(self, node: ast.IfExp) -> ast.expr:
        """A choice, element by element; of two numbers, in the dtype of what is computed with."""
        parts = [self.code(part) for part in (node.test, node.body, node.orelse)]
        if not self.is_array(node.test):
            return ast.IfExp(*parts)
        chosen = _call("where", *parts)
        if self.is_array(node.body) or self.is_array(node.orelse):
            return chosen
        return _parsed(f"({ast.unparse(chosen)}).astype({self.first}.dtype)")

    def write_Call(self, node: ast.Call) -> ast.expr:
        """A function."""
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        if name in ARRAYS or (name not in STRUCTURAL and hasattr(numpy, _called(name))):
            return _call(_called(name), *map(self.code, node.args))
        if name in STRUCTURAL or name in REDUCTIONS or len(node.args) != 1:
            raise self.refuse(node)
        self.needed[f"{name}_of"] = self.functions(name)
        return ast.Call(ast.Name(f"{name}_of"), [ast.Name("xp"), *map(self.code, node.args)], [])

    def count(self, node: ast.Call) -> str:
        """The code of a reduction of a number, which only counts."""
        raise self.refuse(node)

    def write_Subscript(self, node: ast.Subscript) -> ast.expr:
        """A part of an array, by an index that is a parameter."""
        if not (isinstance(node.slice, ast.Name) and node.slice.id in self.others):
            raise self.refuse(node)
        return node


class _Flat(_Elementwise):
    """The same elements under another shape: `y.flat[i] = x.flat[i]`."""

    @staticmethod
    def suits(equation: Equation) -> bool:
        """Whether both sides are an array's elements in order, and nothing else."""
        node = equation.statements[0].expression
        return (
            len(equation.statements) == 1
            and isinstance(node, ast.Subscript)
            and isinstance(node.value, ast.Attribute)
            and ast.unparse(node.slice) == ast.unparse(ast.Tuple([*equation.statements[0].indices])).strip("(,)")
        )

    def lines(self) -> list[str]:
        """One call of reshape."""
        if self.shape is None:
            raise EquationError(f"{self.equation.text!r} does not say what shape the result has: it needs a body.")
        return [f"return xp.reshape({self.equation.statements[0].expression.value.value.id}, {self.shape})"]  # type: ignore[attr-defined]


class _OneAxis(_Elementwise):
    """Equations about one axis at a time, which stays in its place; a lone index stands for all axes."""

    def __init__(self, *options: Any) -> None:
        super().__init__(*options)
        self.over = self.axis or ("-1" if "..." in self.equation.text else "None")
        full = [ast.unparse(n.value) for n in self.equation.references if _index_of(n)]
        self.shape = self.shape or (f"{full[0]}.shape" if full else None)
        self.kept = {s.target for s in self.equation.statements[:-1] if s.indices and not _own_index(s.indices)}

    @staticmethod
    def suits(equation: Equation) -> bool:
        """Whether there is one index in each reference, and never two at once."""
        alone = "..." not in equation.text
        references = equation.references
        return (
            all(_simple(elements(n.slice), alone) for n in references)
            and all(not s.adds and (_simple(s.indices, alone) or not s.indices) for s in equation.statements)
            and bool(references)
            and all(_one_at_a_time(s.expression, equation.indices) for s in equation.statements)
            and not (alone and any(s.indices for s in equation.statements[:-1]))
        )

    def result(self, statement: Statement) -> str:
        """The last step, in the shape of the result."""
        node, written = statement.expression, self.written(statement)
        varies = self.varies(node)
        if not self.is_array(node):
            raise self.refuse(node)
        if _own_index(statement.indices):
            return written if varies else f"xp.broadcast_to({written}, {self.shape})"
        if isinstance(node, ast.Call) and node.func.id in REDUCTIONS and len(node.args) > 1:  # type: ignore[attr-defined]
            return self.reduced(node, "keepdims" if self.keepdims else "False")
        squeezed = f"xp.squeeze({written}, {self.over})"
        return f"{written} if keepdims else {squeezed}" if self.keepdims else squeezed

    def varies(self, node: ast.AST) -> bool:
        """Whether a part varies along the axis."""
        if isinstance(node, ast.Subscript):
            return bool(_index_of(node))
        if isinstance(node, ast.Call) and node.func.id in REDUCTIONS and node.args[1:]:  # type: ignore[attr-defined]
            return False
        if isinstance(node, ast.Attribute):
            return False
        return any(map(self.varies, ast.iter_child_nodes(node)))

    def write_Subscript(self, node: ast.Subscript) -> ast.expr:
        """An array along its axis; one that was reduced over it, with the axis at length 1."""
        name = ast.unparse(node.value)
        if _index_of(node) or name in self.kept:
            return node.value
        return _parsed(f"kept(xp, {name}, {self.shape}, {self.over})")

    def write_Call(self, node: ast.Call) -> ast.expr:
        """A reduction keeps its axis at length 1."""
        if node.func.id in REDUCTIONS and len(node.args) > 1:  # type: ignore[attr-defined]
            return _parsed(self.reduced(node, "True"))
        return super().write_Call(node)

    def reduced(self, node: ast.Call, keepdims: str) -> str:
        """A reduction over the axis."""
        name = node.func.id  # type: ignore[attr-defined]
        inner = ast.unparse(ast.fix_missing_locations(self.code(node.args[0])))
        return f"xp.{REDUCTIONS[name].over}({inner}, axis={self.over}, keepdims={keepdims})"

    def count(self, node: ast.Call) -> str:
        """The sum of 1 is the number of elements."""
        if ast.unparse(node.args[0]) != "1" or ast.unparse(node.func) != "sum" or self.shape is None:
            raise self.refuse(node)
        return f"count_over({self.shape}, {self.over})"


class _Indexed(_Elementwise):
    """Equations with plain indices, each of which gets an axis of its own, after those of `...`."""

    def __init__(self, *options: Any) -> None:
        super().__init__(*options)
        names = [n for s in reversed(self.equation.statements) for part in s.indices for n in [_plain(part)] if n]
        names += [n.id for s in self.equation.statements for n in ast.walk(s.expression)
                  if isinstance(n, ast.Name) and n.id in self.equation.indices]  # fmt: skip
        self.order = list(dict.fromkeys(names))
        self.known: dict[str, tuple[str, ...]] = {}
        self.moved = {ast.unparse(n.value) for n in self.equation.references} if self.axis else set()

    @staticmethod
    def suits(equation: Equation) -> bool:
        """Whether all indices are plain names, and none stands twice in a target."""
        if any(statement.adds for statement in equation.statements):
            return False
        targets = [statement.indices for statement in equation.statements]
        places = [*(elements(node.slice) for node in equation.references), *targets]
        plain = all(_plain(part) is not None or is_ellipsis(part) for parts in places for part in parts)
        return plain and all(len({*map(_plain, indices)}) == len(indices) for indices in targets)

    def lines(self) -> list[str]:
        """Move the axis to the end where there is one, compute, move it back."""
        if self.axis and (len(elements(self.equation.references[0].slice)) > 2 or len(self.equation.statements) > 1):
            raise EquationError(f"{self.equation.text!r} has other axes beside its axis: it needs a body.")
        last = self.equation.statements[-1]
        moved = []
        if self.axis:
            full = next((ast.unparse(n.value) for n in self.equation.references if len(elements(n.slice)) > 1), "")
            moved = [f"of = {self.shape or f'{full}.shape'}"]
            moved += [f"{n} = front(xp, {n}, {self.axis}, of)" for n in sorted(self.moved)]
        lines = super().lines()
        value = lines.pop().removeprefix("return ")
        sizes = f"({', '.join(self.size(n) for n in self.target(last))},)" if self.target(last) else "()"
        rest = any(map(is_ellipsis, last.indices))
        value = f"shaped(xp, {value}, {len(self.order)}, {sizes}, {rest})"
        if self.axis:
            kept = "keepdims" if self.keepdims else "False"
            value = f"back(xp, {value}, {self.axis}, of, {len(last.indices) == 1}, {kept})"
        return [*moved, *lines, f"return {value}"]

    def target(self, statement: Statement) -> list[str]:
        """The names of its indices."""
        return [n for part in statement.indices for n in [_plain(part)] if n]

    def result(self, statement: Statement) -> str:
        """The value, with an axis for each index."""
        return self.written(statement)

    def size(self, index: str) -> str:
        """What an index runs over: the length of the axis of an array that has it; where there is one axis, that."""
        if self.axis:
            return f"count_over(of, {self.axis})"
        for node in self.equation.references:
            name, parts = ast.unparse(node.value), elements(node.slice)
            for place, part in enumerate(parts):
                if _plain(part) == index and name in self.arrays and name not in self.known:
                    return f"{name}.shape[{place - len(parts)}]"
        if self.shape and index in self.target(self.equation.statements[-1]):
            place = self.target(self.equation.statements[-1]).index(index)
            return f"{self.shape}[{place - len(self.target(self.equation.statements[-1]))}]"
        raise EquationError(f"{self.equation.text!r}: no array tells what {index} runs over, so it needs a body.")

    def is_array(self, node: ast.AST) -> bool:
        """Also an index is one, the numbers that it runs over; not where it is only named as what is summed over."""
        if isinstance(node, ast.Call) and ast.unparse(node.func) in REDUCTIONS and node.args[1:]:
            return self.is_array(node.args[0])
        return (isinstance(node, ast.Name) and node.id in self.order) or super().is_array(node)

    def written(self, statement: Statement) -> str:
        """The code of its right side; a statement before the last is an array with all axes."""
        if statement is not self.equation.statements[-1]:
            self.known[statement.target] = ()
        return super().written(statement)

    def write_Name(self, node: ast.Name) -> ast.expr:
        """The numbers that an index runs over, along its axis."""
        if node.id not in self.order:
            return node
        after = len(self.order) - self.order.index(node.id) - 1
        return _parsed(f"xp.reshape(xp.arange({self.size(node.id)}), {(-1, *(1,) * after)})")

    def write_Subscript(self, node: ast.Subscript) -> ast.expr:
        """An array with its axes at the places of its indices."""
        name = ast.unparse(node.value)
        if name in self.known:
            return node.value
        places = tuple(self.order.index(n) for part in elements(node.slice) if (n := _plain(part)))
        if len(set(places)) < len(places):
            raise self.refuse(node)
        return _parsed(f"aligned(xp, {name}, {places}, {len(self.order)})")

    def write_Call(self, node: ast.Call) -> ast.expr:
        """A reduction keeps the axes of its indices at length 1; a sum of a product is one call."""
        name = node.func.id  # type: ignore[attr-defined]
        if name not in REDUCTIONS or len(node.args) < 2:
            return super().write_Call(node)
        inner, *over = node.args
        if any(not is_ellipsis(part) and _plain(part) is None for part in over):
            raise self.refuse(node)
        factors = _factors(inner)
        if name == "sum" and len(factors) > 1 and all(self.is_reference(f) for f in factors):
            return self.einsum(factors, over)
        axes = ", ".join(f"{self.order.index(n) - len(self.order)}" for part in over if (n := _plain(part)))
        value = ast.unparse(ast.fix_missing_locations(self.code(inner)))
        rest, function = any(map(is_ellipsis, over)), f"xp.{REDUCTIONS[name].over}"
        return _parsed(f"reduced({function}, {value}, {len(self.order)}, {rest}, ({axes}{',' * bool(axes)}))")

    def count(self, node: ast.Call) -> str:
        """The sum of 1 is the number of elements."""
        if ast.unparse(node.args[0]) != "1" or ast.unparse(node.func) != "sum" or any(map(is_ellipsis, node.args)):
            raise self.refuse(node)
        return " * ".join(self.size(_plain(part) or "") for part in node.args[1:])

    def is_reference(self, node: ast.expr) -> bool:
        """Whether it is an array's element."""
        return isinstance(node, ast.Subscript) and ast.unparse(node.value) not in self.known

    def einsum(self, factors: list[ast.expr], over: list[ast.expr]) -> ast.expr:
        """A sum of a product of elements, with the axes that are summed over at length 1."""
        letters = {n: chr(ord("a") + i) for i, n in enumerate(self.order)}
        summed = {_plain(part) for part in over}
        terms, present = [], set()
        for factor in factors:
            parts = elements(factor.slice)  # type: ignore[attr-defined]
            terms.append("".join("..." if is_ellipsis(p) else letters[_plain(p) or ""] for p in parts))
            present |= {_plain(p) for p in parts}
        dots = any("..." in t for t in terms) and not any(map(is_ellipsis, over))
        left = [n for n in self.order if n in present and n not in summed]
        output = "..." * dots + "".join(letters[n] for n in left)
        if any(map(is_ellipsis, over)):
            raise self.refuse(factors[0])
        names = ", ".join(ast.unparse(f.value) for f in factors)  # type: ignore[attr-defined]
        places = tuple(self.order.index(n) for n in left)
        return _parsed(
            f"aligned(xp, xp.einsum({','.join(terms) + '->' + output!r}, {names}), {places}, {len(self.order)})"
        )


class _Numbers(ast.NodeTransformer):
    """Functions and constants of numbers, as `math` has them."""

    def __init__(self, writer: _Elementwise) -> None:
        self.writer = writer

    def visit_Call(self, node: ast.Call) -> ast.AST:
        """A function of numbers."""
        name = ast.unparse(node.func)
        if name in REDUCTIONS and node.args[1:]:
            return _parsed(self.writer.count(node))
        self.generic_visit(node)
        if hasattr(math, name):
            return ast.Call(_parsed(f"math.{name}"), node.args, [])
        if name not in NUMBERS:
            raise self.writer.refuse(node)
        return node

    def visit_Name(self, node: ast.Name) -> ast.AST:
        """π and ∞."""
        return ast.Constant(getattr(math, node.id)) if node.id in CONSTANTS else node

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        """The number of elements of an array of which only the shape may be there."""
        name = ast.unparse(node.value)
        if name in self.writer.others and f"{name}_shape" not in self.writer.others:
            return node
        known = f"{name}_shape" if f"{name}_shape" in self.writer.others else f"{name}.shape"
        return _parsed(f"math.prod({known})" if node.attr == "size" else known)


# What an equation consists of


def _call(name: str, *arguments: ast.expr) -> ast.expr:
    return ast.Call(_parsed(f"xp.{name}"), list(arguments), [])


def _called(name: str) -> str:
    """What a function of the language is called on arrays."""
    return FUNCTIONS[name].array or name


def _parsed(text: str) -> ast.expr:
    return ast.parse(text, mode="eval").body


def _names(equation: Equation) -> list[str]:
    """The names in an equation, in their order."""
    nodes = [n for s in equation.statements for n in ast.walk(s.expression) if isinstance(n, ast.Name)]
    return [n.id for n in sorted(nodes, key=lambda n: (n.lineno, n.col_offset))]


def _plain(part: ast.expr) -> str | None:
    """The name of an index that stands by itself."""
    return part.id if isinstance(part, ast.Name) else None


def _simple(parts: tuple[ast.expr, ...], alone: bool) -> bool:
    """Whether it is `[..., j]`, `[...]` or, where there is no `...` at all, `[j]`."""
    if alone:
        return len(parts) == 1 and _plain(parts[0]) is not None
    return is_ellipsis(parts[0]) and (len(parts) == 1 or (len(parts) == 2 and _plain(parts[1]) is not None))


def _own_index(indices: tuple[ast.expr, ...]) -> str | None:
    return _plain(indices[-1]) if indices else None


def _index_of(node: ast.Subscript) -> str | None:
    return _own_index(elements(node.slice))


def _one_at_a_time(node: ast.AST, indices: frozenset[str]) -> bool:
    """Whether no two indices meet in one step, and none is a value by itself."""

    def free(part: ast.AST) -> set[str]:
        if isinstance(part, ast.Subscript):
            return {_index_of(part)} - {None}  # type: ignore[return-value]
        if isinstance(part, ast.Name) and part.id in indices:
            return {part.id, "a value"}
        if isinstance(part, ast.Call) and ast.unparse(part.func) in REDUCTIONS and part.args[1:]:
            over = {_plain(a) for a in part.args[1:]}
            if None in over or len(over) > 1:
                return {"several", "at once"}
            inner = free(part.args[0])
            return set() if inner <= over else {*inner, "another"}
        found: set[str] = set()
        for child in ast.iter_child_nodes(part):
            found |= free(child)
        return found

    return len(free(node)) <= 1


def _factors(node: ast.expr) -> list[ast.expr]:
    """The factors of a product."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
        return [*_factors(node.left), *_factors(node.right)]
    return [node]
