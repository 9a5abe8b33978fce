"""The functions of the language of equations: one row a function, with what it is elsewhere.

A row says what the function is on arrays (NumPy, and every `xp`), at 50 digits with its derivative, in JavaScript, and
how it is written. Reader, evaluator, printer, page and the code made from an equation take it from here: a new function
is one row.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .dual import total

Exact = Callable[..., Any]
"""(mp, x) -> number: a value by mpmath, whose context is handed in."""


@dataclass(frozen=True, kw_only=True)
class Function:
    """What a function of the language is on arrays, at 50 digits and in JavaScript, and how it is written.

    array: its name in NumPy and in `xp`, where that is another than in the equation.
    value, slope: it and its derivative at 50 digits, where it takes one number. chosen: where it hands one of its
    arguments on, the one.
    javascript: an expression for it; "" where the page cannot evaluate it.
    onnx: ONNX's operator, or an equation of such; "" where it has none.
    latex: its command; "" where its name is set as an operator's. around: what stands to the left and right of its
    argument instead of a name.
    whole: whether it gives integers for integers. adds: whether it sums, so that rounding adds up. takes: how many
    arguments, where it is no reduction.
    """

    array: str = ""
    value: Exact | None = None
    slope: Exact | None = None
    chosen: Callable[..., Any] | None = None
    javascript: str = ""
    onnx: str = ""
    latex: str = ""
    around: tuple[str, str] | None = None
    whole: bool = False
    adds: bool = False
    takes: tuple[int, ...] = (1,)


@dataclass(frozen=True, kw_only=True)
class Reduction(Function):
    """A function of an expression over indices, as in `sum(x[..., j], j)`.

    over: its name in NumPy for the elements along axes. combined: what it makes of the list of their values at 50
    digits. big: the sign that its indices stand below, in Unicode text, LaTeX and MathML; its name where there is none.
    """

    over: str
    combined: Callable[[list[Any]], Any]
    big: tuple[str, str, str] | None = None


def _clip(x: Any, low: Any, high: Any) -> Any:
    return low if low is not None and x < low else high if high is not None and x > high else x


def _constant(mp: Any, x: Any) -> Any:
    return mp.zero


ELEMENTWISE: dict[str, Function] = {
    "abs": Function(onnx="Abs", value=lambda mp, x: abs(x), slope=lambda mp, x: mp.sign(x), javascript="Math.abs",
                    around=("|", "|"), whole=True),
    "arccos": Function(onnx="Acos", value=lambda mp, x: mp.acos(x), slope=lambda mp, x: -1 / mp.sqrt(1 - x**2),
                       javascript="Math.acos", latex=r"\arccos"),
    "arccosh": Function(onnx="Acosh", value=lambda mp, x: mp.acosh(x), slope=lambda mp, x: 1 / mp.sqrt(x**2 - 1),
                        javascript="Math.acosh"),
    "arcsin": Function(onnx="Asin", value=lambda mp, x: mp.asin(x), slope=lambda mp, x: 1 / mp.sqrt(1 - x**2),
                       javascript="Math.asin", latex=r"\arcsin"),
    "arcsinh": Function(onnx="Asinh", value=lambda mp, x: mp.asinh(x), slope=lambda mp, x: 1 / mp.sqrt(1 + x**2),
                        javascript="Math.asinh"),
    "arctan": Function(onnx="Atan", value=lambda mp, x: mp.atan(x), slope=lambda mp, x: 1 / (1 + x**2),
                       javascript="Math.atan", latex=r"\arctan"),
    "arctanh": Function(onnx="Atanh", value=lambda mp, x: mp.atanh(x), slope=lambda mp, x: 1 / (1 - x**2),
                        javascript="Math.atanh"),
    "clip": Function(chosen=_clip, whole=True, takes=(3,),
                     javascript="(x, a, b) => a !== null && x < a ? a : b !== null && x > b ? b : x"),
    "cos": Function(onnx="Cos", value=lambda mp, x: mp.cos(x), slope=lambda mp, x: -mp.sin(x),
                    javascript="Math.cos", latex=r"\cos"),
    "cosh": Function(onnx="Cosh", value=lambda mp, x: mp.cosh(x), slope=lambda mp, x: mp.sinh(x),
                     javascript="Math.cosh", latex=r"\cosh"),
    "erf": Function(value=lambda mp, x: mp.erf(x),
                    onnx="Erf", slope=lambda mp, x: 2 / mp.sqrt(mp.pi) * mp.exp(-(x**2))),
    "exp": Function(onnx="Exp", value=lambda mp, x: mp.exp(x), slope=lambda mp, x: mp.exp(x),
                    javascript="Math.exp", latex=r"\exp"),
    "expm1": Function(value=lambda mp, x: mp.expm1(x), slope=lambda mp, x: mp.exp(x),
                      onnx="y = exp(x) - 1", javascript="Math.expm1"),
    "floor": Function(onnx="Floor", value=lambda mp, x: mp.floor(x), slope=_constant, javascript="Math.floor",
                      around=("⌊", "⌋"), whole=True),
    "log": Function(value=lambda mp, x: mp.log(x), slope=lambda mp, x: 1 / x,
                    onnx="Log", javascript="Math.log", latex=r"\log"),
    "log1p": Function(value=lambda mp, x: mp.log1p(x), slope=lambda mp, x: 1 / (1 + x),
                      onnx="y = log(1 + x)", javascript="Math.log1p"),
    "round": Function(onnx="Round", value=lambda mp, x: mp.nint(x), slope=_constant, whole=True,  # half to even
                      javascript="(x) => Math.abs(x % 1) === 0.5 ? 2 * Math.round(x / 2) : Math.round(x)"),
    "sign": Function(onnx="Sign", value=lambda mp, x: mp.sign(x), slope=_constant, javascript="Math.sign", whole=True),
    "sin": Function(onnx="Sin", value=lambda mp, x: mp.sin(x), slope=lambda mp, x: mp.cos(x),
                    javascript="Math.sin", latex=r"\sin"),
    "sinh": Function(onnx="Sinh", value=lambda mp, x: mp.sinh(x), slope=lambda mp, x: mp.cosh(x),
                     javascript="Math.sinh", latex=r"\sinh"),
    "sqrt": Function(value=lambda mp, x: mp.sqrt(x),
                     onnx="Sqrt", slope=lambda mp, x: 1 / (2 * mp.sqrt(x)) if x else mp.inf,
                     javascript="Math.sqrt"),
    "tan": Function(onnx="Tan", value=lambda mp, x: mp.tan(x), slope=lambda mp, x: mp.sec(x) ** 2,
                    javascript="Math.tan", latex=r"\tan"),
    "tanh": Function(onnx="Tanh", value=lambda mp, x: mp.tanh(x), slope=lambda mp, x: mp.sech(x) ** 2,
                     javascript="Math.tanh", latex=r"\tanh"),
}  # fmt: skip
"""Functions of numbers, element by element."""

REDUCTIONS: dict[str, Reduction] = {
    "max": Reduction(onnx="Max", over="max", combined=max, array="maximum", chosen=max, whole=True, latex=r"\max",
                     javascript="(...xs) => xs.reduce((a, b) => a > b || Number.isNaN(a) ? a : b)"),
    "mean": Reduction(over="mean", combined=lambda values: total(values) / len(values), adds=True),
    "min": Reduction(onnx="Min", over="min", combined=min, array="minimum", chosen=min, whole=True, latex=r"\min",
                     javascript="(...xs) => xs.reduce((a, b) => a < b || Number.isNaN(a) ? a : b)"),
    "product": Reduction(over="prod", combined=math.prod, whole=True, big=("Π", r"\prod", "∏")),
    "sum": Reduction(over="sum", combined=total, whole=True, adds=True, big=("Σ", r"\sum", "∑")),
}  # fmt: skip
"""Functions of an expression over indices; `max` and `min` also of numbers, element by element (`array`)."""

STRUCTURAL: dict[str, Function] = {
    "argmax": Function(whole=True, takes=(2,)),
    "argmin": Function(whole=True, takes=(2,)),
    "argsort": Function(whole=True, takes=(2,)),
    "before": Function(whole=True),
    "border": Function(whole=True, takes=(3,)),
    "concatenate": Function(whole=True, takes=(2,)),
    "crop": Function(whole=True, takes=(2,)),
    "einsum": Function(whole=True, adds=True, takes=(2, 3)),
    "inside": Function(whole=True, takes=(2,)),
    "pad": Function(whole=True, takes=(3,)),
    "stack": Function(whole=True, takes=(2,)),
    **{name: Function(adds=True) for name in ("cholesky", "det", "eigh", "inverse", "pinv", "svd")},
    **{name: Function(adds=True, takes=(2,)) for name in ("dot", "solve")},
    "transposed": Function(whole=True),
}
"""Functions of whole arrays."""

FUNCTIONS: dict[str, Function] = {**ELEMENTWISE, **STRUCTURAL, **REDUCTIONS}
CONSTANTS = {"pi": "π", "inf": "∞"}
"""Constants by their names (in the language, NumPy and mpmath), with their signs."""


def on_arrays(xp: Any) -> dict[str, Any]:
    """The functions of the language, and its constants, as an array library has them: `max` is `xp.maximum`."""
    names = {name: function.array or name for name, function in FUNCTIONS.items()}
    names |= {name: name for name in CONSTANTS}
    return {name: getattr(xp, other) for name, other in names.items() if hasattr(xp, other)}
