"""The documented equations D1-D17, as the document writes them and as they are exact, in both languages.

The letters are the document's; a batch is rows. Which code is which equation, `citations` tells.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property

from ..equation.language import Equation, read_equation
from ..equation.notation import in_symbols
from ..equation.simplify import simplified
from ..equation.styles import STYLES, Style, Symbol
from ..equation.symbols import gradient_of, symbol_of
from ..errors import unknown_name
from .texts import LANGUAGES, check_language

OF_LAYERS = {name: symbol_of(name, layered=True) for name in ("W", "W1", "W2", "b", "b1", "b2", "z1", "z2", "h", "a")}
NAMES = {
    "sigma": Symbol("σ"), "slope": Symbol("σ′"), "yhat": Symbol("ŷ"), "DJ": Symbol("∇J"), "DMSE": Symbol("∇MSE"),
    "DW1": Symbol("∇W", layer="1"), "DW2": Symbol("∇W", layer="2"), "DW": Symbol("∇W"), "Db": Symbol("∇b"),
    "g": Symbol("∇J"), "gyhat": gradient_of(Symbol("ŷ")), **OF_LAYERS,
    **{f"g{name}": gradient_of(symbol) for name, symbol in OF_LAYERS.items()},
}  # fmt: skip
PARAMETERS = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1}
"""Those of a convolution, where they make nothing of anything."""


@dataclass(frozen=True)
class Part:
    """A part of a documented equation: what one step, rule or update computes.

    text: its equation. leads: whether it is no part of the document's equation itself, and tells how what that reads
    comes about. Of `h = sigma(z)` and `gz = gh * slope(z)`, argument: z, incoming: gh.
    """

    text: str
    leads: bool = False

    @cached_property
    def equation(self) -> Equation:
        """The equation, read."""
        return _loosely_read(self.text)

    @property
    def target(self) -> str:
        """What it gives."""
        return self.equation.target

    @cached_property
    def argument(self) -> str:
        """What σ or σ′ is taken of; "" where there is neither."""
        found = re.search(r"(?:sigma|slope)\((\w+)", self.text)
        return found[1] if found else ""

    @property
    def incoming(self) -> str:
        """The gradient that σ′ is multiplied with."""
        found = re.search(r"(\w+)\[[^]]*\] \* slope", self.text)
        return found[1] if found else ""

    @property
    def sigma(self) -> bool:
        """Whether it applies σ."""
        return "sigma(" in self.text

    @property
    def slope(self) -> bool:
        """Whether it multiplies with σ′."""
        return "slope(" in self.text

    def symbols(self, style: Style | str) -> str:
        """It in symbols."""
        return in_symbols(_at_rest(self.equation), style, NAMES, {"...": 1}, "<-" if self.target == "theta" else "=")


@dataclass(frozen=True)
class Documented:
    """One documented equation.

    number: D1 … D17. titles: by language. written: the documented form, as a text in the notation's reader's language,
    or as a pair (of what, of which) for the document's ∇_b MSE. parts: what is exact, and what a computation is
    compared with; leads: the part before them that tells how what they read comes about. missed: what the document
    leaves out, by language; by the part's target where it is about one that may be another in another net.

    variables: names that stand for any. varies: targets of parts that other nets compute in another way; of such a net
    it is told, where it has the documented equations `after`, too. A gradient is told only where it has them. unless:
    special cases of it, which are told instead. others: other parts that are told as the same. each: whether each part
    is about a quantity of its own. meant: the exact form where that is not the parts. updates: whether it is about an
    update.
    """

    number: str
    titles: tuple[str, str]
    written: str | tuple[str, str]
    parts: tuple[str, ...] = ()
    missed: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    leads: str = ""
    variables: frozenset[str] = frozenset()
    varies: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    unless: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    each: bool = False
    meant: str = ""
    updates: bool = False

    @cached_property
    def forms(self) -> tuple[tuple[Part, ...], ...]:
        """The ways in which a computation may have it, each as parts in their order; also without σ, where it has σ."""
        parts = (*([Part(self.leads, leads=True)] if self.leads else []), *map(Part, self.parts))
        if self.each:
            return tuple((part,) for part in parts)
        ways = [parts, *([tuple(map(Part, self.others))] if self.others else [])]
        return (*ways, *(_without_sigma(way) for way in ways if any(part.argument for part in way)))

    def title(self, lang: str = "en") -> str:
        """Its title. Raises UsageError for an unknown language."""
        return self.titles[_language(lang)]

    def may_vary(self, part: Part) -> bool:
        """Whether other nets may compute this part in another way; of those with σ or σ′ only these."""
        return part.target in self.varies and (bool(part.argument) or not any(p.argument for p in self.forms[0]))

    def missing(self, lang: str = "en", of: Collection[str] | None = None) -> str:
        """What the document leaves out, in some sentences, or none. of: of these targets alone."""
        chosen = _language(lang)
        told = (texts[chosen] for target, texts in self.missed.items() if of is None or target in ("", *of))
        return (" ", "")[chosen].join(told)

    def documented(self, style: Style | str) -> str:
        """The form that the document has."""
        chosen = STYLES[style] if isinstance(style, str) else style
        if isinstance(self.written, str):
            return in_symbols(_loosely_read(self.written), chosen, NAMES, None, "<-" if self.updates else "=", "l")
        variable, function = self.written
        left = chosen.symbol(Symbol(f"∇{variable[0]}", layer=variable[1:]))
        right = chosen.symbol(Symbol("∇", variable)), _word(chosen, function)
        return chosen.join([left, chosen.operator("="), *right])

    def exact(self, style: Style | str) -> str:
        """The form that the engine computes."""
        chosen = STYLES[style] if isinstance(style, str) else style
        sign = "<-" if self.updates else "="
        if self.meant:
            return in_symbols(_loosely_read(self.meant), chosen, NAMES, sign=sign)
        texts = [part.equation for part in (*([Part(self.leads)] if self.leads else []), *map(Part, self.parts))]
        return chosen.lines([in_symbols(_at_rest(e), chosen, NAMES, {"...": 1}, sign) for e in texts])


HIDDEN = "gz1[n, j] = gh[n, j] * slope(z1[n, j])"
OUTPUT = "gz2[n, k] = gyhat[n, k] * slope(z2[n, k])"
"""How the gradient comes to the sums of a layer, behind which σ stands."""
CONVOLUTION = (
    "p = border(x, padding, 0); z[n, *i, k] = sum(p[n, *(i * stride + a * dilation), "
    "c + W.shape[-2] * (k * groups // W.shape[-1])] * W[*a, c, k], *a, c)"
)
CORRECTED = "theta = theta - learning_rate * (m / (1 - beta_1**t)) / (sqrt(v / (1 - beta_2**t)) + epsilon)"
OF_WEIGHTS = frozenset({"theta", "g", "m", "v", "s", "r", "W", "b"})

DOCUMENTED = (
    Documented(
        "D1", ("A layer of a multilayer perceptron", "多层感知机的一层"),
        "Z[l] = sigma(W[l] * A[l - 1] + b[l])",
        ("S[..., k] = sum(A[..., j] * W[j, k], j) + b[k]", "Z[..., k] = sigma(S[..., k])"),
        {"": ("A batch is rows, so A stands before W.", "一批样本按行排列，故 A 在 W 之前。")},
        variables=frozenset({"S", "A", "W", "b", "Z"}), varies=("Z",), unless=("D8", "D9"),
    ),
    Documented(
        "D2", ("A layer of a convolutional net", "卷积神经网络的一层"),
        "h[i, l] = sigma(sum(W[i, j, l] * h[j, l - 1], j) + b[i, l])",
        (f"{CONVOLUTION} + b[k]", "h[n, i, k] = sigma(z[n, i, k])"),
        {"": ("Here · is a convolution; as in every framework it is a cross-correlation, the kernel not flipped.",
              "此处的 · 是卷积；与各框架相同，实为互相关，卷积核不翻转。")},
        others=(CONVOLUTION, "h[n, i, k] = sigma(z[n, i, k])"), variables=frozenset({"x", "W", "b", "z", "h"}),
        varies=("h",),
    ),
    Documented(
        "D3", ("Gradient descent", "梯度下降"), "theta = theta - learning_rate * DJ",
        ("theta = theta - learning_rate * g",), variables=OF_WEIGHTS, updates=True,
    ),
    Documented(
        "D4", ("Adam, first moment", "Adam 的一阶矩"), "m[t] = beta_1 * m[t - 1] + (1 - beta_1) * DJ",
        ("m = beta_1 * m + (1 - beta_1) * g",), others=("s = beta_1 * s + g", "m = (1 - beta_1) * s"),
        variables=OF_WEIGHTS, updates=True,
    ),
    Documented(
        "D5", ("Adam, second moment", "Adam 的二阶矩"), "v[t] = beta_2 * v[t - 1] + (1 - beta_2) * DJ**2",
        ("v = beta_2 * v + (1 - beta_2) * g**2",), others=("r = beta_2 * r + g**2", "v = (1 - beta_2) * r"),
        variables=OF_WEIGHTS, updates=True,
    ),
    Documented(
        "D6", ("Adam, update", "Adam 的参数更新"), "theta = theta - learning_rate * m[t] / (sqrt(v[t]) + epsilon)",
        ("theta = theta - learning_rate * m / (sqrt(v) + epsilon)",),
        {"": ("Both moments begin at 0 and are biased towards it; the document does not correct that.",
              "两个矩都从 0 开始，因而偏向 0；文档没有作偏差修正。")},
        others=(CORRECTED,), meant=CORRECTED, variables=OF_WEIGHTS, varies=("theta",), after=("D4", "D5"),
        updates=True,
    ),
    Documented(
        "D7", ("The worked example's net: 3 inputs, 4 hidden units, 2 outputs, ReLU on both layers, MSE",
               "示例网络：3 个输入，4 个隐藏单元，2 个输出，两层均用 ReLU，损失为 MSE"),
        "y = sigma(W2 * sigma(W1 * a + b1) + b2)", meant="yhat = sigma(sigma(a * W1 + b1) * W2 + b2)",
        missed={"": ("The output is called y and the target ŷ or y by turns; here ŷ is the output and t the target.",
                     "文档中 y 时而指输出，时而指目标；此处 ŷ 为输出，t 为目标。")},
    ),
    Documented(
        "D8", ("Forward, hidden layer", "前向传播：隐藏层"), "h[i] = sigma(W1[i, j] * a[j] + b1[i])",
        ("z1[n, k] = sum(a[n, j] * W1[j, k], j) + b1[k]", "h[n, k] = sigma(z1[n, k])"),
        {"": ("The sum over j is not written.", "没有写出对 j 求和。")}, varies=("h",),
    ),
    Documented(
        "D9", ("Forward, output layer", "前向传播：输出层"), "y[i] = sigma(W2[i, j] * h[j] + b2[i])",
        ("z2[n, k] = sum(h[n, j] * W2[j, k], j) + b2[k]", "yhat[n, k] = sigma(z2[n, k])"),
        {"": ("The sum over j is not written.", "没有写出对 j 求和。")}, varies=("yhat",), after=("D8",),
    ),
    Documented(
        "D10", ("Loss", "损失函数"), "J = MSE(yhat, y)", ("J = mean((yhat[n, k] - t[n, k])**2, n, k)",),
        {"J": ("The mean is over every element: samples and outputs.", "平均遍及所有元素：样本与输出。")},
        varies=("J",), after=("D9",),
    ),
    Documented(
        "D11", ("Gradient of W⁽²⁾", "W⁽²⁾ 的梯度"), "DW2 = DMSE * h", ("gW2[j, k] = sum(h[n, j] * gz2[n, k], n)",),
        {"gz2": ("The slope σ′(z⁽²⁾) is left out.", "省略了 σ′(z⁽²⁾)。"),
         "gW2": ("The sum over the batch is left out; the product is an outer one.",
                 "省略了对整批样本的求和；此处的乘积是外积。")},
        leads=OUTPUT, varies=("gz2",), after=("D8", "D9"),
    ),
    Documented(
        "D12", ("Gradient of b⁽²⁾", "b⁽²⁾ 的梯度"), ("b2", "MSE"), ("gb2[k] = sum(gz2[n, k], n)",),
        {"gb2": ("It is not worked out: it is the sum over the batch of the gradient at the layer's sums.",
                 "没有展开：它是该层加权和的梯度对整批样本之和。")},
        leads=OUTPUT, varies=("gz2",), after=("D8", "D9"),
    ),
    Documented(
        "D13", ("Gradient of h", "h 的梯度"), ("h", "L"), ("gh[n, j] = sum(gz2[n, k] * W2[j, k], k)",),
        {"gh": ("It is not worked out: each hidden unit gathers from all outputs, through W⁽²⁾.",
                "没有展开：每个隐藏单元经由 W⁽²⁾ 汇集来自所有输出的梯度。")},
        leads=OUTPUT, varies=("gz2",), after=("D8", "D9"),
    ),
    Documented(
        "D14", ("Gradient of W⁽¹⁾", "W⁽¹⁾ 的梯度"), "DW1 = DMSE * a", ("gW1[i, j] = sum(a[n, i] * gz1[n, j], n)",),
        {"": ("The chain through W⁽²⁾ (∇h) is left out.", "省略了经过 W⁽²⁾ 的链式法则（∇h）。"),
         "gz1": ("So is the slope σ′(z⁽¹⁾).", "也省略了 σ′(z⁽¹⁾)。")},
        leads=HIDDEN, varies=("gz1",), after=("D8",),
    ),
    Documented(
        "D15", ("Gradient of b⁽¹⁾", "b⁽¹⁾ 的梯度"), ("b1", "MSE"), ("gb1[j] = sum(gz1[n, j], n)",),
        {"gb1": ("It is not worked out: it is the sum over the batch of the gradient at the layer's sums.",
                 "没有展开：它是该层加权和的梯度对整批样本之和。")},
        leads=HIDDEN, varies=("gz1",), after=("D8",),
    ),
    Documented(
        "D16", ("Gradient of a", "a 的梯度"), ("a", "L"), ("ga[n, i] = sum(gz1[n, j] * W1[i, j], j)",),
        {"ga": ("It is not worked out: each input gathers from all hidden units, through W⁽¹⁾.",
                "没有展开：每个输入经由 W⁽¹⁾ 汇集来自所有隐藏单元的梯度。")},
        leads=HIDDEN, varies=("gz1",), after=("D8",),
    ),
    Documented(
        "D17", ("Update of both layers", "两层的参数更新"),
        "W = W - learning_rate * DW; b = b - learning_rate * Db",
        ("W = W - learning_rate * gW", "b = b - learning_rate * gb"), variables=OF_WEIGHTS, each=True, updates=True,
    ),
)  # fmt: skip


def documented(number: str) -> Documented:
    """The equation of that number, "D8"; raises UsageError for a number that is none."""
    for entry in DOCUMENTED:
        if entry.number == number:
            return entry
    raise unknown_name("documented equation", number, [entry.number for entry in DOCUMENTED])


def _language(lang: str) -> int:
    check_language(lang)
    return LANGUAGES.index(lang)


@cache
def _loosely_read(text: str) -> Equation:
    """An equation for printing and comparing alone: a function may be any. What stands in brackets are indices."""
    return read_equation(text, PARAMETERS, strict=False)


def _at_rest(equation: Equation) -> Equation:
    """Without what is said of stride and border where they make nothing of anything."""
    return simplified(equation, PARAMETERS, set(equation.values)) if equation.values & set(PARAMETERS) else equation


def _without_sigma(parts: tuple[Part, ...]) -> tuple[Part, ...]:
    """The parts where σ is the identity: what goes into it comes out of it."""
    kept = [part for part in parts if not part.argument]
    for one in parts:
        if one.argument:
            given, name = (one.target, one.argument) if one.sigma else (one.incoming, one.target)
            kept = [Part(re.sub(rf"\b{name}\b", given, part.text)) for part in kept]
    return tuple(kept)


def _word(style: Style, word: str) -> str:
    return style.symbol(Symbol(word)) if style.name == "mathml" else f" {style.symbol(Symbol(word))}"
