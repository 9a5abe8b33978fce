"""How mathematics is written down: as Unicode text, as LaTeX, as MathML.

A style is handed parts that are written already and puts them together; what the parts are is `notation`'s business.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from .functions import FUNCTIONS, REDUCTIONS, Function

SUBSCRIPTS = dict(zip("0123456789aehijklmnoprstuvx", "₀₁₂₃₄₅₆₇₈₉ₐₑₕᵢⱼₖₗₘₙₒₚᵣₛₜᵤᵥₓ", strict=True))
SUPERSCRIPTS = dict(zip("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹", strict=True))
OPERATORS = {
    "*": "·", "-": "−", "<=": "≤", ">=": "≥", "!=": "≠", "==": "=", "and": "∧", "or": "∨", "<-": "←", "not": "¬",
    "^": "⊕",
}  # fmt: skip
LATEX_OPERATORS = {
    "·": r"\cdot", "−": "-", "≤": r"\le", "≥": r"\ge", "≠": r"\ne", "∧": r"\wedge", "∨": r"\vee", "←": r"\leftarrow",
    "¬": r"\neg", "~": r"\mathord{\sim}", "&": r"\mathbin{\&}", "|": r"\mid", "⊕": r"\oplus", "…": r"\dots",
    "×": r"\times",
}  # fmt: skip
LATEX_LETTERS = {
    "α": r"\alpha", "β": r"\beta", "γ": r"\gamma", "ε": r"\varepsilon", "θ": r"\theta", "λ": r"\lambda", "μ": r"\mu",
    "π": r"\pi", "ρ": r"\rho", "σ": r"\sigma", "∞": r"\infty", "ŷ": r"\hat{y}", "σ′": r"\sigma'",
}  # fmt: skip
LATEX_BRACKETS = {"⌊": r"\lfloor ", "⌋": r"\rfloor "}
_UNKNOWN = Function()


@dataclass(frozen=True)
class Symbol:
    """A quantity as it is called on the blackboard: W₁, or of a derivative ∂J/∂W₁.

    base: a letter, or a word. sub: what stands below it. over: of a derivative, what is differentiated: ∂over/∂base.
    """

    base: str
    sub: str = ""
    over: Symbol | None = None

    def __str__(self) -> str:
        return Unicode().symbol(self)


class Style:
    """What the styles have in common, and what differs: the methods that raise NotImplementedError."""

    name = ""
    stacks = True
    """Whether a fraction is drawn as one, so that its parts need no parentheses."""

    def symbol(self, symbol: Symbol, indices: Sequence[str] = ()) -> str:
        """A symbol, with indices (each written already)."""
        raise NotImplementedError

    def number(self, text: str, at: str = "") -> str:
        """A number. at: which element of which array it is, "array:place", for a page that can change it."""
        raise NotImplementedError

    def operator(self, sign: str) -> str:
        """+, ·, =, …"""
        raise NotImplementedError

    def join(self, parts: Sequence[str]) -> str:
        """Parts in a row."""
        raise NotImplementedError

    def enclosed(self, inner: str, left: str = "(", right: str = ")") -> str:
        """(inner), |inner|, ⌊inner⌋"""
        raise NotImplementedError

    def fraction(self, top: str, bottom: str) -> str:
        """top / bottom"""
        raise NotImplementedError

    def power(self, base: str, exponent: str) -> str:
        """base to the exponent"""
        raise NotImplementedError

    def root(self, inner: str) -> str:
        """√inner"""
        raise NotImplementedError

    def call(self, name: str, arguments: Sequence[str]) -> str:
        """name(arguments)"""
        raise NotImplementedError

    def over(self, name: str, indices: Sequence[str], body: str) -> str:
        """Σ, Π, max, min or mean of body over the indices."""
        raise NotImplementedError

    def cases(self, cases: Sequence[tuple[str, str]], otherwise: str) -> str:
        """Values with their conditions, and what holds else."""
        raise NotImplementedError

    def lines(self, lines: Sequence[str]) -> str:
        """Several equations, one after the other."""
        raise NotImplementedError


class Unicode(Style):
    """Plain text, for a terminal: z₁[n, k] = Σⱼ a[n, j]·W₁[j, k] + b₁[k]. ∇W₁ is the loss's gradient, ∂J/∂W₁."""

    name, stacks = "unicode", False

    def symbol(self, symbol: Symbol, indices: Sequence[str] = ()) -> str:
        base = symbol.base + "".join(SUBSCRIPTS.get(c, "_" + c) for c in symbol.sub)
        if symbol.over:
            base = f"∇{base}" if symbol.over == Symbol("J") else f"∂{self.symbol(symbol.over)}/∂{base}"
        return f"{base}[{', '.join(indices)}]" if indices else base

    def number(self, text: str, at: str = "") -> str:
        return text

    def operator(self, sign: str) -> str:
        return sign if sign in "·¬~" else f" {sign} " if sign != "," else ", "

    def join(self, parts: Sequence[str]) -> str:
        return "".join(parts)

    def enclosed(self, inner: str, left: str = "(", right: str = ")") -> str:
        return left + inner + right

    def fraction(self, top: str, bottom: str) -> str:
        return f"{top} / {bottom}"

    def power(self, base: str, exponent: str) -> str:
        raised = exponent and all(c in SUPERSCRIPTS for c in exponent)
        return base + ("".join(map(SUPERSCRIPTS.__getitem__, exponent)) if raised else f"^{_bracketed(exponent)}")

    def root(self, inner: str) -> str:
        return f"√{_bracketed(inner)}"

    def call(self, name: str, arguments: Sequence[str]) -> str:
        return f"{name}({', '.join(arguments)})"

    def over(self, name: str, indices: Sequence[str], body: str) -> str:
        sign = (REDUCTIONS[name].big or (name,))[0]
        letters = "".join(indices)
        if letters and all(c in SUBSCRIPTS for c in letters):
            return f"{sign}{''.join(map(SUBSCRIPTS.__getitem__, letters))} {body}"
        return f"{sign}[{', '.join(indices)}] {body}"

    def cases(self, cases: Sequence[tuple[str, str]], otherwise: str) -> str:
        return ", ".join(f"{value} if {condition}" for value, condition in cases) + f", else {otherwise}"

    def lines(self, lines: Sequence[str]) -> str:
        return " ; ".join(lines)


class Latex(Style):
    """LaTeX, for handouts and the documentation; needs amsmath."""

    name = "latex"

    def symbol(self, symbol: Symbol, indices: Sequence[str] = ()) -> str:
        letter = symbol.base.removeprefix("∇")
        base = LATEX_LETTERS.get(letter) or (
            letter if len(letter) < 2 else rf"\mathrm{{{letter.replace('_', chr(92) + '_')}}}"
        )
        base = rf"\nabla {base}" if letter != symbol.base else base
        base += f"_{{{symbol.sub}}}" if symbol.sub else ""
        if indices:
            base = f"{{{base}}}_{{{','.join(indices)}}}" if symbol.sub else f"{base}_{{{','.join(indices)}}}"
        return rf"\frac{{\partial {self.symbol(symbol.over)}}}{{\partial {base}}}" if symbol.over else base

    def number(self, text: str, at: str = "") -> str:
        if "e" in text:
            digits, _, exponent = text.partition("e")
            return rf"{digits}\cdot 10^{{{exponent}}}".replace("−", "-")
        return LATEX_LETTERS.get(text.lstrip("−"), text).replace("−", "-")

    def operator(self, sign: str) -> str:
        return f" {LATEX_OPERATORS.get(sign, sign)} "

    def join(self, parts: Sequence[str]) -> str:
        return "".join(parts)

    def enclosed(self, inner: str, left: str = "(", right: str = ")") -> str:
        return rf"\left{LATEX_BRACKETS.get(left, left)}{inner}\right{LATEX_BRACKETS.get(right, right)}"

    def fraction(self, top: str, bottom: str) -> str:
        return rf"\frac{{{top}}}{{{bottom}}}"

    def power(self, base: str, exponent: str) -> str:
        return f"{base}^{{{exponent}}}"

    def root(self, inner: str) -> str:
        return rf"\sqrt{{{inner}}}"

    def call(self, name: str, arguments: Sequence[str]) -> str:
        known = FUNCTIONS.get(name, _UNKNOWN).latex or LATEX_LETTERS.get(name)
        known = known or rf"\operatorname{{{name.replace('_', chr(92) + '_')}}}"
        return rf"{known}\left({', '.join(arguments)}\right)"

    def over(self, name: str, indices: Sequence[str], body: str) -> str:
        big, latex = REDUCTIONS[name].big, REDUCTIONS[name].latex
        sign = big[1] if big else latex or rf"\operatorname*{{{name}}}"
        return rf"{sign}_{{{','.join(indices)}}} {body}"

    def cases(self, cases: Sequence[tuple[str, str]], otherwise: str) -> str:
        rows = [rf"{value} & \text{{if }} {condition}" for value, condition in cases]
        return r"\begin{cases} " + r" \\ ".join([*rows, rf"{otherwise} & \text{{else}}"]) + r" \end{cases}"

    def lines(self, lines: Sequence[str]) -> str:
        return lines[0] if len(lines) == 1 else r"\begin{gathered} " + r" \\ ".join(lines) + r" \end{gathered}"


class MathML(Style):
    """MathML Core, which browsers draw by themselves; what is returned goes between <math> and </math>."""

    name = "mathml"

    def symbol(self, symbol: Symbol, indices: Sequence[str] = ()) -> str:
        letter = symbol.base.removeprefix("∇") or symbol.base
        base = f"<mi>{escape(letter)}</mi>"
        if symbol.sub:
            base = f"<msub>{base}<mn>{escape(symbol.sub)}</mn></msub>"
        if indices:
            base = f"<msub>{_row(base)}<mrow>{''.join(_with_commas(indices))}</mrow></msub>"
        if letter != symbol.base:
            base = f"<mrow><mo>∇</mo>{base}</mrow>"
        if not symbol.over:
            return base
        return f"<mfrac><mrow><mi>∂</mi>{self.symbol(symbol.over)}</mrow><mrow><mi>∂</mi>{base}</mrow></mfrac>"

    def number(self, text: str, at: str = "") -> str:
        return f'<mn data-at="{escape(at)}">{text}</mn>' if at else f"<mn>{text}</mn>"

    def operator(self, sign: str) -> str:
        return f"<mo>{escape(sign)}</mo>"

    def join(self, parts: Sequence[str]) -> str:
        return f"<mrow>{''.join(parts)}</mrow>"

    def enclosed(self, inner: str, left: str = "(", right: str = ")") -> str:
        kept = ' stretchy="false"' if left == right else ""  # of two like signs none says that it opens
        return f"<mrow><mo{kept}>{left}</mo>{inner}<mo{kept}>{right}</mo></mrow>"

    def fraction(self, top: str, bottom: str) -> str:
        return f"<mfrac>{_row(top)}{_row(bottom)}</mfrac>"

    def power(self, base: str, exponent: str) -> str:
        return f"<msup>{_row(base)}{_row(exponent)}</msup>"

    def root(self, inner: str) -> str:
        return f"<msqrt>{inner}</msqrt>"

    def call(self, name: str, arguments: Sequence[str]) -> str:
        inner = "<mo>,</mo>".join(arguments)
        return f"<mrow><mi>{escape(name)}</mi><mo>&#x2061;</mo><mo>(</mo>{inner}<mo>)</mo></mrow>"

    def over(self, name: str, indices: Sequence[str], body: str) -> str:
        big = REDUCTIONS[name].big
        sign = big[2] if big else name
        return f"<mrow><munder><mo>{sign}</mo><mrow>{''.join(_with_commas(indices))}</mrow></munder>{body}</mrow>"

    def cases(self, cases: Sequence[tuple[str, str]], otherwise: str) -> str:
        cell = '<mtd style="text-align:left">'
        rows = [
            f'<mtr>{cell}{value}</mtd>{cell}<mtext data-word="if">if&#160;</mtext>{condition}</mtd></mtr>'
            for value, condition in cases
        ]
        rows.append(f'<mtr>{cell}{otherwise}</mtd>{cell}<mtext data-word="else">else</mtext></mtd></mtr>')
        return f"<mrow><mo>{{</mo><mtable>{''.join(rows)}</mtable></mrow>"

    def lines(self, lines: Sequence[str]) -> str:
        if len(lines) == 1:
            return lines[0]
        return (
            "<mtable>"
            + "".join(f'<mtr><mtd style="text-align:left">{line}</mtd></mtr>' for line in lines)
            + "</mtable>"
        )


STYLES = {style.name: style for style in (Unicode(), Latex(), MathML())}


def _bracketed(text: str) -> str:
    return text if text.isalnum() else f"({text})"


def _row(inner: str) -> str:
    return f"<mrow>{inner}</mrow>"


def _with_commas(indices: Sequence[str]) -> list[str]:
    return [part for i, index in enumerate(indices) for part in (["<mo>,</mo>"] * bool(i) + [index])]
