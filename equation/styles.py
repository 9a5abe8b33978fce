"""How mathematics is written down: as Unicode text, as LaTeX, as MathML.

A style is handed parts that are written already and puts them together; what the parts are is the printer's business.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from .functions import FUNCTIONS, REDUCTIONS, Function
from .latex import LETTERS, OPERATORS, SUBSCRIPTS, SUPERSCRIPTS, latex_text

SIGNS = {
    "*": "·", "-": "−", "<=": "≤", ">=": "≥", "!=": "≠", "==": "=", "and": "∧", "or": "∨", "<-": "←", "not": "¬",
    "^": "⊕",
}  # fmt: skip
"""Signs of the blackboard for those of the code."""
_LATEX_BRACKETS = {"⌊": r"\lfloor ", "⌋": r"\rfloor "}
_NO_FUNCTION = Function()


@dataclass(frozen=True)
class Symbol:
    """A quantity as it is called on the blackboard: W⁽¹⁾, or of a derivative ∂J/∂W⁽¹⁾.

    base: a letter, or a word. sub: what stands below it. over: of a derivative, what is differentiated: ∂over/∂base.
    layer: the number of its layer, which stands above it in parentheses, apart from indices.
    """

    base: str
    sub: str = ""
    over: Symbol | None = None
    layer: str = ""

    def __str__(self) -> str:
        return Style().symbol(self)


class Style:
    """Plain text in Unicode, for a terminal: z⁽¹⁾[n, k] = Σⱼ a[n, j]·W⁽¹⁾[j, k] + b⁽¹⁾[k]; and what a style is made of.

    ∇W⁽¹⁾ is the loss's gradient, ∂J/∂W⁽¹⁾.
    """

    name = "unicode"
    stacks = False
    """Whether a fraction is drawn as one, so that its parts need no parentheses."""

    def symbol(self, symbol: Symbol, indices: Sequence[str] = (), layer: str = "") -> str:
        """A symbol, with indices (each written already). layer: what is written above it, instead of its own."""
        base = symbol.base + "".join(SUBSCRIPTS.get(c, "_" + c) for c in symbol.sub)
        layer = layer.replace(" ", "") or symbol.layer
        if layer:
            base += f"⁽{''.join(SUPERSCRIPTS.get(c, c) for c in layer)}⁾"
        if symbol.over:
            base = f"∇{base}" if symbol.over == Symbol("J") else f"∂{self.symbol(symbol.over)}/∂{base}"
        return f"{base}[{', '.join(indices)}]" if indices else base

    def number(self, text: str, at: str = "") -> str:
        """A number. at: which element of which array it is, "array:place", for a page that can change it."""
        return text

    def operator(self, sign: str) -> str:
        """+, ·, =, …"""
        return sign if sign in "·¬~" else f" {sign} " if sign != "," else ", "

    def join(self, parts: Sequence[str]) -> str:
        """Parts in a row."""
        return "".join(parts)

    def enclosed(self, inner: str, left: str = "(", right: str = ")") -> str:
        """(inner), |inner|, ⌊inner⌋"""
        return left + inner + right

    def fraction(self, top: str, bottom: str) -> str:
        """top / bottom"""
        return f"{top} / {bottom}"

    def power(self, base: str, exponent: str) -> str:
        """base to the exponent"""
        raised = exponent.isdecimal()
        return base + ("".join(map(SUPERSCRIPTS.__getitem__, exponent)) if raised else f"^{_bracketed(exponent)}")

    def root(self, inner: str) -> str:
        """√inner"""
        return f"√{_bracketed(inner)}"

    def call(self, name: str, arguments: Sequence[str]) -> str:
        """name(arguments)"""
        return f"{name}({', '.join(arguments)})"

    def over(self, name: str, indices: Sequence[str], body: str) -> str:
        """Σ, Π, max, min or mean of body over the indices."""
        sign = (REDUCTIONS[name].big or (name,))[0]
        if all(c in SUBSCRIPTS for c in "".join(indices)):
            return f"{sign}{','.join(''.join(map(SUBSCRIPTS.__getitem__, index)) for index in indices)} {body}"
        return f"{sign}[{', '.join(indices)}] {body}"

    def cases(self, cases: Sequence[tuple[str, str]], otherwise: str) -> str:
        """Values with their conditions, and what holds else."""
        return ", ".join(f"{value} if {condition}" for value, condition in cases) + f", else {otherwise}"

    def lines(self, lines: Sequence[str]) -> str:
        """Several equations, one after the other."""
        return " ; ".join(lines)


class Latex(Style):
    """LaTeX, for handouts and the documentation; needs amsmath. pdflatex and xelatex set it alike."""

    name, stacks = "latex", True

    def symbol(self, symbol: Symbol, indices: Sequence[str] = (), layer: str = "") -> str:
        letter = symbol.base.removeprefix("∇")
        base = _word(letter)
        base = rf"\nabla {base}" if letter != symbol.base else base
        layer = layer or symbol.layer
        base += f"^{{({layer.replace('−', '-')})}}" if layer else ""
        below = [*([symbol.sub.replace("_", r"\_")] if symbol.sub else []), *indices]
        base += f"_{{{','.join(below)}}}" if below else ""
        return rf"\frac{{\partial {self.symbol(symbol.over)}}}{{\partial {base}}}" if symbol.over else base

    def number(self, text: str, at: str = "") -> str:
        digits, power, exponent = text.partition("e")
        digits = digits.replace("∞", r"\infty").replace("NaN", r"\mathrm{NaN}")
        return (digits + (rf"\cdot 10^{{{exponent}}}" if power else "")).replace("−", "-")

    def operator(self, sign: str) -> str:
        return f" {OPERATORS.get(sign, sign)} "

    def enclosed(self, inner: str, left: str = "(", right: str = ")") -> str:
        return rf"\left{_LATEX_BRACKETS.get(left, left)}{inner}\right{_LATEX_BRACKETS.get(right, right)}"

    def fraction(self, top: str, bottom: str) -> str:
        return rf"\frac{{{top}}}{{{bottom}}}"

    def power(self, base: str, exponent: str) -> str:
        return f"{base}^{{{exponent}}}"

    def root(self, inner: str) -> str:
        return rf"\sqrt{{{inner}}}"

    def call(self, name: str, arguments: Sequence[str]) -> str:
        known = FUNCTIONS.get(name, _NO_FUNCTION).latex or LETTERS.get(name)
        known = known or rf"\operatorname{{{latex_text(name)}}}"
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

    name, stacks = "mathml", True

    def symbol(self, symbol: Symbol, indices: Sequence[str] = (), layer: str = "") -> str:
        letter = symbol.base.removeprefix("∇") or symbol.base
        base = f"<mi>{escape(letter)}</mi>"
        below = _with_commas([*([f"<mn>{escape(symbol.sub)}</mn>"] if symbol.sub else []), *indices])
        layer = layer or (f"<mn>{escape(symbol.layer)}</mn>" if symbol.layer else "")
        if layer:
            above = self.enclosed(layer)
            base = f"<msubsup>{base}{below}{above}</msubsup>" if below else f"<msup>{base}{above}</msup>"
        elif below:
            base = f"<msub>{base}{below}</msub>"
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
        return f"<mfrac>{self.join([top])}{self.join([bottom])}</mfrac>"

    def power(self, base: str, exponent: str) -> str:
        return f"<msup>{self.join([base])}{self.join([exponent])}</msup>"

    def root(self, inner: str) -> str:
        return f"<msqrt>{inner}</msqrt>"

    def call(self, name: str, arguments: Sequence[str]) -> str:
        return (
            f"<mrow><mi>{escape(name)}</mi><mo>&#x2061;</mo><mo>(</mo>{'<mo>,</mo>'.join(arguments)}<mo>)</mo></mrow>"
        )

    def over(self, name: str, indices: Sequence[str], body: str) -> str:
        big = REDUCTIONS[name].big
        return f"<mrow><munder><mo>{big[2] if big else name}</mo>{_with_commas(indices)}</munder>{body}</mrow>"

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
        rows = "".join(f'<mtr><mtd style="text-align:left">{line}</mtd></mtr>' for line in lines)
        return f"<mtable>{rows}</mtable>"


STYLES = {style.name: style for style in (Style(), Latex(), MathML())}


def _bracketed(text: str) -> str:
    return text if text.isalnum() else f"({text})"


def _word(letter: str) -> str:
    """A letter or a word in mathematics."""
    if len(letter) < 2 and letter.isascii():
        return letter
    return LETTERS.get(letter) or (r"\mathrm" if letter.isascii() else r"\text") + f"{{{latex_text(letter)}}}"


def _with_commas(indices: Sequence[str]) -> str:
    return f"<mrow>{'<mo>,</mo>'.join(indices)}</mrow>" if indices else ""
