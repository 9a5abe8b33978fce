"""Names and numbers as a blackboard has them: W₁ for `W1`, α for `learning_rate`, −0.5 with a true minus sign."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from typing import Any

import numpy

from .styles import Symbol

SMALLEST = 1e-3
"""Numbers below it are written with a power of ten."""

NAMES = {
    "theta": "θ", "learning_rate": "α", "alpha": "α", "beta_1": "β1", "beta_2": "β2", "beta": "β", "gamma": "γ",
    "epsilon": "ε", "momentum": "μ", "rho": "ρ", "weight_decay": "λ", "loss": "J", "y_pred": "ŷ", "y_true": "y",
    "pi": "π", "inf": "∞", "targets": "t", "labels": "t", "logits": "z",
}  # fmt: skip
"""What the field calls what the code spells out."""


def symbol_of(name: str, layered: bool = False) -> Symbol:
    """A name as a symbol: `x1` is x with 1 below, `learning_rate` is α.

    layered: the number at its end counts layers: `W1` is W⁽¹⁾, which has its indices below.
    """
    name = NAMES.get(name, name)
    base = name.rstrip("0123456789")
    number, letter = name[len(base) :], base.rstrip("_")
    if not letter:
        return Symbol(name)
    return Symbol(letter, layer=number) if layered else Symbol(letter, number)


def is_numeral(symbol: Symbol) -> bool:
    """Whether it is a number as it stands in the code, not a letter."""
    return symbol.base.lstrip("−")[:1].isdecimal() or symbol.base in ("∞", "−∞", "NaN")


def gradient_of(symbol: Symbol, loss: Symbol | None = None) -> Symbol:
    """∂J/∂ of a symbol."""
    return replace(symbol, over=loss or Symbol("J"))


def number_text(value: Any, digits: int = 4) -> str:
    """A number to so many significant digits, with a true minus sign; integers in full, truth values as 0 and 1."""
    if isinstance(value, bool | int | numpy.bool_ | numpy.integer):
        return str(int(value)).replace("-", "−")
    value = float(value)
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "∞" if value > 0 else "−∞"
    text = f"{value:.{digits}g}"
    if 0 < abs(value) < SMALLEST:
        text = f"{value:.{digits - 1}e}"
    if "e" in text:
        text = re.sub(r"\.?0*e", "e", text) if "." in text else text
        mantissa, _, exponent = text.partition("e")
        text = f"{mantissa}e{int(exponent)}"
    return text.replace("-", "−") if float(text) else "0"
