"""What LaTeX calls the signs and letters of mathematics, and plain text as LaTeX."""

from __future__ import annotations

import re
import unicodedata

OPERATORS = {
    "·": r"\cdot", "−": "-", "≤": r"\le", "≥": r"\ge", "≠": r"\ne", "∧": r"\wedge", "∨": r"\vee", "←": r"\leftarrow",
    "→": r"\rightarrow", "¬": r"\neg", "~": r"\mathord{\sim}", "&": r"\mathbin{\&}", "|": r"\mid", "⊕": r"\oplus",
    "⊙": r"\odot", "…": r"\dots", "×": r"\times", "≈": r"\approx", "±": r"\pm", "∈": r"\in",
}  # fmt: skip
LETTERS = {
    "α": r"\alpha", "β": r"\beta", "γ": r"\gamma", "δ": r"\delta", "ε": r"\varepsilon", "η": r"\eta", "θ": r"\theta",
    "λ": r"\lambda", "μ": r"\mu", "π": r"\pi", "ρ": r"\rho", "σ": r"\sigma", "τ": r"\tau", "φ": r"\varphi",
    "ω": r"\omega", "∞": r"\infty", "ŷ": r"\hat{y}", "σ′": r"\sigma'", "∇": r"\nabla", "∂": r"\partial",
}  # fmt: skip
SUBSCRIPTS = dict(zip("0123456789aehijklmnoprstuvxβγρφ+−()", "₀₁₂₃₄₅₆₇₈₉ₐₑₕᵢⱼₖₗₘₙₒₚᵣₛₜᵤᵥₓᵦᵧᵨᵩ₊₋₍₎", strict=True))
SUPERSCRIPTS = dict(zip("0123456789il+−()", "⁰¹²³⁴⁵⁶⁷⁸⁹ⁱˡ⁺⁻⁽⁾", strict=True))
"""What Unicode can set below and above; of the alphabet's letters only these."""

_IN_TEXT = {
    **{sign: name for sign, name in (LETTERS | OPERATORS).items() if len(sign) == 1 and sign not in "~&|…ŷ"},
    "√": r"\surd", "Σ": r"\Sigma", "Π": r"\Pi", "∑": r"\Sigma", "′": "'", "⌊": r"\lfloor", "⌋": r"\rfloor",
    "✓": r"\surd",
}  # fmt: skip
"""Signs that stand in text, but need mathematics."""
_ESCAPED = {
    "\\": r"\textbackslash{}", "^": r"\textasciicircum{}", "~": r"\textasciitilde{}", "|": r"\textbar{}",
    "<": r"\textless{}", ">": r"\textgreater{}", **{sign: f"\\{sign}" for sign in "{}$&#%_"},
}  # fmt: skip
_KNOWN = "–—‘’‚“”„†‡•…‰€™"
"""What pdflatex knows of the text signs, beside Latin letters."""
_BELOW, _ABOVE = ({sign: letter for letter, sign in signs.items()} for signs in (SUBSCRIPTS, SUPERSCRIPTS))
_MATHEMATICS = re.compile(f"([{''.join(_BELOW)}]+)|([{''.join(_ABOVE)}]+)|([{''.join(_IN_TEXT)}])")
_RUN = re.compile(f"[{''.join({**_BELOW, **_ABOVE, **_IN_TEXT})}]+|.", re.DOTALL)


def latex_text(plain: str) -> str:
    r"""Plain text for LaTeX, outside of mathematics: `50 %` is `50 \%`, `∇W₁` is `$\nabla$W$_{1}$`.

    pdflatex and xelatex take it alike. Chinese, Japanese and Korean are left as they are, for a document that sets
    them (by ctex); of another sign that pdflatex does not know, the code point is told.
    """
    return _RUN.sub(lambda run: _text(run[0]), plain)


def _text(run: str) -> str:
    if _MATHEMATICS.match(run):
        return f"${_MATHEMATICS.sub(_mathematics, run).strip()}$"
    ideographic = unicodedata.east_asian_width(run) in "WF" and unicodedata.category(run)[0] in "LNPZ"
    known = ord(run) < 0x180 or run in _KNOWN or ideographic
    return _ESCAPED.get(run, run) if known else rf"\texttt{{U+{ord(run):04X}}}"


def _mathematics(found: re.Match[str]) -> str:
    below, above, sign = found.groups()
    if sign:
        return _IN_TEXT[sign] + " "
    signs = {**_BELOW, **_ABOVE}
    letters = "".join(signs[c] for c in below or above).replace("−", "-")
    return f"{'_' if below else '^'}{{{''.join(LETTERS.get(c, c) for c in letters)}}}"
