"""The documented equations D1-D17, as the document writes them and as they are exact, in both languages.

The letters are the document's; a batch is rows. Which code is which equation, `citations` tells.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass

from ..equation.language import Equation, Statement
from ..equation.notation import in_symbols
from ..equation.styles import STYLES, Style, Symbol
from ..equation.symbols import gradient_of, symbol_of
from ..errors import unknown_name
from .texts import LANGUAGES, check_language

NAMES = {
    "sigma": Symbol("σ"), "slope": Symbol("σ′"), "yhat": Symbol("ŷ"), "DJ": Symbol("∇J"), "DMSE": Symbol("∇MSE"),
    "DW1": Symbol("∇W", "1"), "DW2": Symbol("∇W", "2"), "DW": Symbol("∇W"), "Db": Symbol("∇b"),
    **{f"g{name}": gradient_of(symbol_of(name)) for name in ("W1", "b1", "W2", "b2", "z1", "z2", "h", "a")},
    "gyhat": gradient_of(Symbol("ŷ")),
}  # fmt: skip


@dataclass(frozen=True)
class Documented:
    """One documented equation.

    number: D1 … D17. titles, missed: by language; missed is what the document leaves out, empty where it is exact.
    written, meant: the documented and the exact form, as texts in the notation's reader's language, or as a pair
    (of what, of which) for the document's ∇_b MSE. updates: whether its sign is ←.
    """

    number: str
    titles: tuple[str, str]
    written: str | tuple[str, str]
    meant: str
    missed: tuple[str, str] = ("", "")
    updates: bool = False

    def title(self, lang: str = "en") -> str:
        """Its title. Raises UsageError for an unknown language."""
        return self.titles[_language(lang)]

    def missing(self, lang: str = "en") -> str:
        """What the document leaves out, in one line; empty where it leaves out nothing."""
        return self.missed[_language(lang)]

    def documented(self, style: Style | str) -> str:
        """The form that the document has."""
        return self._print(self.written, style)

    def exact(self, style: Style | str) -> str:
        """The form that the engine computes."""
        return self._print(self.meant, style)

    def _print(self, form: str | tuple[str, str], style: Style | str) -> str:
        chosen = STYLES[style] if isinstance(style, str) else style
        if isinstance(form, tuple):
            variable, function = form
            left = Symbol(f"∇{variable[0]}", variable[1:])
            return chosen.join(
                [
                    chosen.symbol(left),
                    chosen.operator("="),
                    chosen.symbol(Symbol("∇", variable)),
                    _word(chosen, function),
                ]
            )
        return in_symbols(_loosely_read(form), chosen, NAMES, sign="<-" if self.updates else "=")


DOCUMENTED = (
    Documented(
        "D1", ("A layer of a multilayer perceptron", "多层感知机的一层"),
        "Z[l] = sigma(W[l] * A[l - 1] + b[l])", "Z[l] = sigma(A[l - 1] * W[l] + b[l])",
        ("A batch is rows, so A stands before W.", "一批样本按行排列，故 A 在 W 之前。"),
    ),
    Documented(
        "D2", ("A layer of a convolutional net", "卷积神经网络的一层"),
        "h[i, l] = sigma(sum(W[i, j, l] * h[j, l - 1], j) + b[i, l])",
        "h[n, i, k] = sigma(sum(x[n, i + a, c] * W[a, c, k], a, c) + b[k])",
        ("Here · is a convolution; as in every framework it is a cross-correlation, the kernel not flipped.",
         "此处的 · 是卷积；与各框架相同，实为互相关，卷积核不翻转。"),
    ),
    Documented(
        "D3", ("Gradient descent",
        "梯度下降"), "theta = theta - learning_rate * DJ", "theta = theta - learning_rate * DJ",
        updates=True,
    ),
    Documented(
        "D4", ("Adam, first moment", "Adam 的一阶矩"), "m[t] = beta_1 * m[t - 1] + (1 - beta_1) * DJ",
        "m[t] = beta_1 * m[t - 1] + (1 - beta_1) * DJ",
    ),
    Documented(
        "D5", ("Adam, second moment", "Adam 的二阶矩"), "v[t] = beta_2 * v[t - 1] + (1 - beta_2) * DJ**2",
        "v[t] = beta_2 * v[t - 1] + (1 - beta_2) * DJ**2",
    ),
    Documented(
        "D6", ("Adam, update", "Adam 的参数更新"), "theta = theta - learning_rate * m[t] / (sqrt(v[t]) + epsilon)",
        "theta = theta - learning_rate * (m[t] / (1 - beta_1**t)) / (sqrt(v[t] / (1 - beta_2**t)) + epsilon)",
        ("Both moments begin at 0 and are biased towards it; the document does not correct that.",
         "两个矩都从 0 开始，因而偏向 0；文档没有作偏差修正。"), updates=True,
    ),
    Documented(
        "D7", ("The worked example's net: 3 inputs, 4 hidden units, 2 outputs, ReLU on both layers, MSE",
               "示例网络：3 个输入，4 个隐藏单元，2 个输出，两层均用 ReLU，损失为 MSE"),
        "y = sigma(W2 * sigma(W1 * a + b1) + b2)", "yhat = sigma(sigma(a * W1 + b1) * W2 + b2)",
        ("The output is called y and the target ŷ or y by turns; here ŷ is the output.",
         "文档中 y 时而指输出，时而指目标；此处 ŷ 为输出。"),
    ),
    Documented(
        "D8", ("Forward, hidden layer", "前向传播：隐藏层"), "h[i] = sigma(W1[i, j] * a[j] + b1[i])",
        "h[n, k] = max(sum(a[n, j] * W1[j, k], j) + b1[k], 0)",
        ("The sum over j is not written.", "没有写出对 j 求和。"),
    ),
    Documented(
        "D9", ("Forward, output layer", "前向传播：输出层"), "y[i] = sigma(W2[i, j] * h[j] + b2[i])",
        "yhat[n, k] = max(sum(h[n, j] * W2[j, k], j) + b2[k], 0)",
        ("The sum over j is not written.", "没有写出对 j 求和。"),
    ),
    Documented(
        "D10", ("Loss", "损失函数"), "J = MSE(yhat, y)", "J = mean((yhat[n, k] - y[n, k])**2, n, k)",
        ("The mean is over every element: samples and outputs.", "平均遍及所有元素：样本与输出。"),
    ),
    Documented(
        "D11", ("Gradient of W₂", "W₂ 的梯度"), "DW2 = DMSE * h",
        "gz2[n, k] = gyhat[n, k] * slope(z2[n, k]); gW2[j, k] = sum(h[n, j] * gz2[n, k], n)",
        ("The slope σ′(z₂) and the sum over the batch are left out; the product is an outer one.",
         "省略了 σ′(z₂) 与对整批样本的求和；此处的乘积是外积。"),
    ),
    Documented(
        "D12", ("Gradient of b₂", "b₂ 的梯度"), ("b2", "MSE"), "gb2[k] = sum(gz2[n, k], n)",
        ("It is not worked out: it is the sum over the batch of ∇ŷ σ′(z₂).",
         "没有展开：它是 ∇ŷ·σ′(z₂) 对整批样本之和。"),
    ),
    Documented(
        "D13", ("Gradient of h", "h 的梯度"), ("h", "L"), "gh[n, j] = sum(gz2[n, k] * W2[j, k], k)",
        ("It is not worked out: each hidden unit gathers from all outputs, through W₂.",
         "没有展开：每个隐藏单元经由 W₂ 汇集来自所有输出的梯度。"),
    ),
    Documented(
        "D14", ("Gradient of W₁", "W₁ 的梯度"), "DW1 = DMSE * a",
        "gz1[n, j] = gh[n, j] * slope(z1[n, j]); gW1[i, j] = sum(a[n, i] * gz1[n, j], n)",
        ("The chain through W₂ (∇h) and the slope σ′(z₁) are left out.", "省略了经过 W₂ 的链式法则（∇h）与 σ′(z₁)。"),
    ),
    Documented(
        "D15", ("Gradient of b₁", "b₁ 的梯度"), ("b1", "MSE"), "gb1[j] = sum(gz1[n, j], n)",
        ("It is not worked out: it is the sum over the batch of ∇h σ′(z₁).",
         "没有展开：它是 ∇h·σ′(z₁) 对整批样本之和。"),
    ),
    Documented(
        "D16", ("Gradient of a", "a 的梯度"), ("a", "L"), "ga[n, i] = sum(gz1[n, j] * W1[i, j], j)",
        ("It is not worked out: each input gathers from all hidden units, through W₁.",
         "没有展开：每个输入经由 W₁ 汇集来自所有隐藏单元的梯度。"),
    ),
    Documented(
        "D17", ("Update of both layers", "两层的参数更新"),
        "W = W - learning_rate * DW; b = b - learning_rate * Db",
        "W = W - learning_rate * DW; b = b - learning_rate * Db",
        updates=True,
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


def _loosely_read(text: str) -> Equation:
    """An equation for printing alone: its names need not be known, and a function may be any."""
    statements = []
    indices: set[str] = set()
    for node in ast.parse(text).body:
        assert isinstance(node, ast.Assign)
        target, parts = node.targets[0], ()
        for part in ast.walk(node):
            if isinstance(part, ast.Subscript):
                indices |= {n.id for n in ast.walk(part.slice) if isinstance(n, ast.Name)}
        if isinstance(target, ast.Subscript):
            sliced = target.slice
            parts = tuple(sliced.elts) if isinstance(sliced, ast.Tuple) else (sliced,)  # type: ignore[assignment]
            target = target.value
        assert isinstance(target, ast.Name)
        statements.append(Statement(target.id, parts, node.value))
    return Equation(text, tuple(statements), frozenset(), frozenset(indices))


def _word(style: Style, word: str) -> str:
    return style.symbol(Symbol(word)) if style.name == "mathml" else f" {style.symbol(Symbol(word))}"
