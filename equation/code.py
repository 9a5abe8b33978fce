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
from collections.abc import Callable, Sequence
from types import CodeType
from typing import Any

import numpy

from ..errors import EquationError
from .axes import aligned, back, count_over, front, kept, reduced, shaped
from .elementwise import Elementwise, Flat, called
from .indexed import Indexed, OneAxis
from .language import Equation
from .operators import OPERATORS
from .syntax import UNUSABLE, unusable

HELPERS = {f.__name__: f for f in (aligned, back, count_over, front, kept, reduced, shaped)}
"""What the code that was made calls."""


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
    try:
        writer = _writer(equation, {*arrays}, {*others}, axis, keepdims, shape, functions)
        lines = [f"def {name}(xp, {signature}):", *(f"    {line}" for line in writer.lines())]
        tree = ast.parse("\n".join(lines))
        for node in ast.walk(tree):
            if hasattr(node, "lineno"):
                node.lineno = node.end_lineno = place[1]  # type: ignore[attr-defined]
        scope: dict[str, Any] = {"__name__": __name__, "math": math, **HELPERS, **writer.needed}
        code = compile(tree, place[0], "exec")
        called = next(part for part in code.co_consts if isinstance(part, CodeType))
        if unknown := [n for n in called.co_names if n in equation.indices and n not in scope]:
            raise EquationError(f"{equation.text!r}: nothing tells what the index {unknown[0]} runs over.")
        exec(code, scope)
    except EquationError:
        raise
    except UNUSABLE as error:
        raise unusable(equation.text, "does not say how to compute it by arrays", error) from error
    made: Callable[..., Any] = scope[name]
    made.source = "\n".join(lines)  # type: ignore[attr-defined]
    return made


def single_call(equation: Equation, operands: Sequence[str]) -> str | None:
    """The function of NumPy that gives the target of its operands in one call; None where it takes more."""
    if len(equation.statements) != 1 or not equation.elementwise:
        return None
    node = equation.statements[0].expression
    if isinstance(node, ast.BinOp):
        name, parts = _named(node.op), [node.left, node.right]
    elif isinstance(node, ast.UnaryOp):
        name, parts = _named(node.op), [node.operand]
    elif isinstance(node, ast.Compare) and len(node.ops) == 1:
        name, parts = _named(node.ops[0]), [node.left, *node.comparators]
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        name, parts = called(node.func.id), node.args
    else:
        return None
    names = [part.id if isinstance(part, ast.Name) else "" for part in parts]
    known = name and isinstance(getattr(numpy, name, None), numpy.ufunc)
    return name if known and names == list(operands) else None


def _named(op: ast.AST) -> str | None:
    return OPERATORS[type(op)].array if type(op) in OPERATORS else None


def _writer(equation: Equation, *options: Any) -> Elementwise:
    """Who writes the code of such an equation."""
    for kind in (Elementwise, Flat, OneAxis, Indexed):
        if kind.suits(equation):
            return kind(equation, *options)
    raise EquationError(f"{equation.text!r} does not say all that its code needs: it needs a body.")
