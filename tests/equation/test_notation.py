"""What is written on the blackboard is the registry's equation, and with the values put in it gives the engine's."""

import math
import re
import shutil
import subprocess
from xml.etree import ElementTree

import numpy as np
import pytest

import chalkgrad as cg
from chalkgrad.equation.element import Elided, Values
from chalkgrad.equation.language import read_equation
from chalkgrad.equation.latex import latex_text
from chalkgrad.equation.notation import in_symbols, with_values
from chalkgrad.equation.styles import STYLES, Symbol
from chalkgrad.equation.symbols import gradient_of, number_text, symbol_of
from chalkgrad.optim import updates
from chalkgrad.proof.cases import draw, examples

EQUATIONS = [
    *(p.equation for p in cg.registry.values()),
    *(rule.equation for p in cg.registry.values() for rule in p.rules.values()),
    *(u.equation for u in updates.values()),
]


def math_of(equation, style):
    target = equation.target
    gradients = {name: gradient_of(symbol_of(name[1:])) for name in equation.values | {target} if name.startswith("g")}
    return in_symbols(equation, style, gradients if len(target) > 1 else {})


@pytest.mark.parametrize("equation", EQUATIONS, ids=lambda e: e.text[:60])
def test_every_equation_is_written_in_every_style(equation):
    for style in STYLES:
        assert math_of(equation, style)
    for element in ElementTree.fromstring(f"<math>{math_of(equation, 'mathml')}</math>").iter():
        assert element.tag in ("mi", "mn", "mo", "mtext") or not (element.text or "").strip()
        assert not (element.tail or "").strip()  # a browser leaves out what stands outside of these
    latex = math_of(equation, "latex")
    assert latex.count("{") == latex.count("}")


def test_a_layer_is_written_as_on_the_blackboard():
    names = {name: symbol_of(f"{letter}1", layered=True) for name, letter in {"w": "W", "b": "b", "z": "z"}.items()}
    affine = cg.registry["affine"]
    assert in_symbols(affine.equation, "unicode", names, {"a": 2}) == "z⁽¹⁾[n, k] = Σⱼ a[n, j]·W⁽¹⁾[j, k] + b⁽¹⁾[k]"
    assert in_symbols(affine.equation, "latex", names, {"a": 2}) == (
        r"z^{(1)}_{n,k} = \sum_{j} a_{n,j} \cdot W^{(1)}_{j,k} + b^{(1)}_{k}"
    )
    rule = {"gw": gradient_of(names["w"]), "gz": gradient_of(names["z"])}
    assert in_symbols(affine.rules["w"].equation, "unicode", rule, {"a": 2}) == "∇W⁽¹⁾[j, k] = Σₙ a[n, j]·∇z⁽¹⁾[n, k]"


@pytest.mark.parametrize(
    ("name", "rule", "axes", "written"),
    [
        ("affine", "", {"a": 4}, "z[n, i, l, k] = Σⱼ a[n, i, l, j]·w[j, k] + b[k]"),
        ("matmul", "", {"a": 4, "b": 3}, "y[n, l, i, k] = Σⱼ a[n, l, i, j]·b[n, l, j, k]"),
        ("mean_squared_error", "", {"y_pred": 2}, "J = meanₙ,ᵢ ((ŷ[n, i] − y[n, i])²)"),
        ("sum", "x", {"x": 3, "gx": 3, "gy": 0}, "gx[n, i, j] = gy"),
        ("sum", "x", {"x": 3, "gx": 3, "gy": 2}, "gx[n, i, j] = gy[n, i]"),
        ("global_average_pool", "", {"x": 4, "y": 2}, "y[n, c] = mean[i₁, i₂] x[n, i₁, i₂, c]"),
        ("global_average_pool", "", {"x": 3, "y": 2}, "y[n, c] = meanᵢ x[n, i, c]"),
        ("transpose", "", {"x": 3, "y": 3}, "y[i[axes]] = x[i]"),
        ("reshape", "", {"x": 3, "y": 2}, "y[i] = x[i]"),
        ("average_pool", "x", {"x": 4, "gx": 4, "gy": 4, "stride": 2, "padding": 2},
         "q = inside(x, padding) ; gx[n, r₁, r₂, c] = Σ[i₁, i₂, a₁, a₂] (gy[n, i₁, i₂, c] / (Σ[b₁, b₂] "
         "q[n, i₁·stride₁ + b₁, i₂·stride₂ + b₂, c]) if i₁·stride₁ + a₁ − before(padding₁) = r₁ ∧ "
         "i₂·stride₂ + a₂ − before(padding₂) = r₂, else 0)"),
    ],
)  # fmt: skip
def test_there_are_as_many_indices_as_axes(name, rule, axes, written):
    primitive = cg.registry[name]
    assert in_symbols((primitive.rules[rule] if rule else primitive).equation, "unicode", axes=axes) == written


def test_names_of_indices_may_have_several_letters():
    equation = read_equation("y[row, in_] = sum(x[row, *position, in_], *position)", ["x"])
    assert in_symbols(equation, "unicode", axes={"x": 4}) == (
        "y[row, in] = Σ[position₁, position₂] x[row, position₁, position₂, in]"
    )
    assert r"y_{\mathrm{row},\mathrm{in}} = \sum_{\mathrm{position}_{1}" in in_symbols(equation, "latex", axes={"x": 4})


def test_a_number_below_stands_apart_from_an_index():
    symbol = symbol_of("b1")
    assert STYLES["latex"].symbol(symbol, ["3"]) == "b_{1,3}"
    assert STYLES["unicode"].symbol(symbol, ["3"]) == "b₁[3]"
    assert "<mn>1</mn><mo>,</mo>3" in STYLES["mathml"].symbol(symbol, ["3"])


def test_the_index_that_counts_layers_stands_above():
    equation = read_equation("Z[l, k] = A[l - 1, k] * W[l, k]", ["A", "W"])
    assert in_symbols(equation, "unicode", layers="l") == "Z⁽ˡ⁾[k] = A⁽ˡ⁻¹⁾[k]·W⁽ˡ⁾[k]"
    assert in_symbols(equation, "latex", layers="l") == r"Z^{(l)}_{k} = A^{(l - 1)}_{k} \cdot W^{(l)}_{k}"
    ElementTree.fromstring(f"<math>{in_symbols(equation, 'mathml', layers='l')}</math>")


def test_a_power_of_what_has_a_layer_stands_in_parentheses():
    names = {"x": symbol_of("z2", layered=True), "s": Symbol("−0.5")}
    assert in_symbols(read_equation("y = x**2 * s", ["x", "s"]), "latex", names) == (
        r"y = \left(z^{(2)}\right)^{2} \cdot \left(-0.5\right)"
    )


def test_text_for_latex():
    assert latex_text("50 % of_a {b} \\") == r"50 \% of\_a \{b\} \textbackslash{}"
    assert latex_text("∇W₁₂ ≤ −x² ⁽²⁾") == r"$\nabla$W$_{12}$ $\le$ $-$x$^{2}$ $^{(2)}$"
    assert latex_text("梯度：☃") == r"梯度：\texttt{U+2603}"


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("y = -x**2 / 2", "y = −x² / 2"),
        ("y = a - (b - c)", "y = a − (b − c)"),
        ("y = (a + b) * c", "y = (a + b)·c"),
        ("y = a / (b * c)", "y = a / (b·c)"),
        ("y = (a if x > 0 else b) * c", "y = (a if x > 0, else b)·c"),
        ("y = (-a)**b", "y = (−a)^b"),
    ],
)
def test_parentheses_stand_where_they_must_and_nowhere_else(text, written):
    assert in_symbols(read_equation(text, {"a", "b", "c", "x"}), "unicode") == written


FUNCTIONS = {name: f for name, f in vars(math).items() if callable(f)}
FUNCTIONS |= {f"arc{name}": getattr(math, f"a{name}") for name in ("sin", "cos", "tan", "sinh", "cosh", "tanh")}
FUNCTIONS |= {"abs": abs, "max": max, "min": min, "sign": np.sign, "π": math.pi, "clip": np.clip, "root": math.sqrt}
READ_BACK = {
    "·": "*",
    "−": "-",
    "√": "root",
    "∞": "math.inf",
    "≤": "<=",
    "≥": ">=",
    "≠": "!=",
    "∧": " and ",
    "∨": " or ",
    "¬": "not ",
    "^": "**",
    "⊕": "^",
}


def read_back(text):
    """What a reader would compute from the Unicode text."""
    for sign, code in READ_BACK.items():
        text = text.replace(sign, code)
    text = re.sub(
        r"([\d.)])([⁰¹²³⁴⁵⁶⁷⁸⁹]+)",
        lambda m: f"{m[1]}**{m[2].translate(str.maketrans('⁰¹²³⁴⁵⁶⁷⁸⁹', '0123456789'))}",
        text,
    )
    text = re.sub(r"root([\d.]+)", r"root(\1)", text)
    text = re.sub(r"⌊([^⌋]+)⌋", r"math.floor(\1)", text)
    text = re.sub(r"\|([^|]+)\|", r"abs(\1)", text).replace(", else ", " else ").replace(" = ", " == ")
    return eval(text, {"math": math, **FUNCTIONS})


@pytest.mark.parametrize("name", sorted(set(cg.registry) - {"argmax", "one_hot"}))
def test_with_the_values_put_in_it_gives_the_engines_value(name):
    primitive = cg.registry[name]
    written = 0
    for example in examples(primitive):
        arrays = draw(primitive, example)
        y = primitive.compute(tuple(map(cg.Tensor, arrays)), example.parameters).numpy()
        parameters = {**primitive.parameters, **example.parameters}
        given = {**dict(zip(primitive.operands, arrays, strict=False)), **parameters}
        axis = parameters.get("axis", ())
        for place in list(np.ndindex(y.shape))[:3]:
            try:
                text = with_values(
                    primitive.equation, "unicode", Values(given, y.shape, place, axis=axis), digits=17, terms=99
                )
            except Elided:
                continue
            written += 1
            assert read_back(text) == pytest.approx(float(y[place]), rel=1e-12, abs=1e-12), text
    assert written or not primitive.equation.elementwise


def test_a_long_sum_shows_its_first_terms_and_its_last():
    a, w, b = np.arange(9.0)[None], np.ones((9, 1)), np.zeros(1)
    text = with_values(cg.registry["affine"].equation, "unicode", Values({"a": a, "w": w, "b": b}, (1, 1), (0, 0)))
    assert text == "0·1 + 1·1 + 2·1 + … + 8·1 + 0"


def test_numbers_carry_where_they_come_from():
    values = Values({"x": np.array([1.5, -2.5])}, (2,), (1,), {"x": "z1"})
    assert '<mn data-at="z1:1">−2.5</mn>' in with_values(cg.registry["relu"].equation, "mathml", values)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (-0.0, "0"),
        (-0.5, "−0.5"),
        (1 / 3, "0.3333"),
        (1e-20, "1e−20"),
        (math.nan, "NaN"),
        (-math.inf, "−∞"),
        (True, "1"),
    ],
)
def test_numbers_are_written(value, text):
    assert number_text(value) == text


# LaTeX


TEXTS = ["50 % of_a {b} \\ ^~<>|#&$ é", "∇W₁₂⁽²⁾ = σ′(z) ≤ −x² · √v → ∂J/∂ŷ ⊙ …", "αβγδεηθλμπρστφω ∞ ☃ “…” — –"]


def named_otherwise():
    """With layers, gradients, numbers, words and letters that are not Latin as names."""
    names = {"x": symbol_of("z2", layered=True), "s": gradient_of(symbol_of("z2", layered=True)), "f": Symbol("−1e−07")}
    equation = read_equation("y = x**2 * s**2 + long_name**2 / p - ü * f**2", ["x", "s", "long_name", "p", "ü", "f"])
    yield in_symbols(equation, "latex", {**names, "p": symbol_of("β1")})
    yield in_symbols(read_equation("Z[l, k] = A[l - 1, k]**2", ["A"]), "latex", layers="l")


@pytest.mark.parametrize("engine", ["pdflatex", "xelatex"])
def test_latex_compiles(engine, tmp_path):
    if not shutil.which(engine):
        pytest.skip(f"no {engine} is installed: apt-get install texlive-latex-recommended texlive-xetex lmodern")
    formulas = [rf"\[ {formula} \]" for formula in (*(math_of(e, "latex") for e in EQUATIONS), *named_otherwise())]
    start = r"\documentclass{article}\usepackage{amsmath}\begin{document}"
    text = "\n\n".join([start, *formulas, *map(latex_text, TEXTS), r"\end{document}"])
    (tmp_path / "equations.tex").write_text(text, encoding="utf-8")
    command = [engine, "-interaction=nonstopmode", "-halt-on-error", "equations.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=120, check=False)
    assert not done.returncode, done.stdout.decode("utf-8", "replace")[-2000:]
    assert "Missing character" not in (tmp_path / "equations.log").read_text("utf-8", "replace")
