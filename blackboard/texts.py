"""What is said around the equations, in the two languages of the readers."""

from __future__ import annotations

from collections.abc import Mapping

from ..errors import unknown_name

LANGUAGES = ("en", "zh")
TEXTS: dict[str, tuple[str, str]] = {
    "title.page": ("The documented equations, alive", "文档中的方程：实时演示"),
    "title.worked": ("The worked example", "示例网络"),
    "title.convolution": ("One convolution", "一次卷积"),
    "title.adam": ("Adam as documented, and with its bias corrected", "文档中的 Adam 与偏差修正后的 Adam"),
    "title.documented": ("The documented equations", "文档中的方程"),
    "heads.title": ("{name}: layer {layer}, head {head}", "{name}：第 {layer} 层，第 {head} 头"),
    "heads.shades": (
        "Each row is a token, each column one that it looks at: the fuller, the more (the row's greatest is full).",
        "每行是一个词元，每列是它所关注的词元：色调越浓，权重越大（与该行最大值相比）。",
    ),
    "heads.about": (
        "Each row is a token, each column one that it looks at: the fuller, the more (the row's greatest is full). "
        "Choose a layer, a head and a token, or click a row: its numbers stand beside the picture.",
        "每行是一个词元，每列是它所关注的词元：色调越浓，权重越大（与该行最大值相比）。选择层、注意力头和词元，或点击一行，旁边即显示其数值。",
    ),
    "heads.picture": ("Weights of layer {layer}, head {head}", "第 {layer} 层第 {head} 头的权重"),
    "heads.row": ("What token {place}, {token}, looks at", "第 {place} 个词元 {token} 所关注的"),
    "heads.head": ("head", "头"),
    "heads.token": ("token", "词元"),
    "heads.key": ("token", "词元"),
    "forward": ("Forward", "前向传播"),
    "backward": ("Backward", "反向传播"),
    "update": ("Update", "参数更新"),
    "values": ("What is given", "已知量"),
    "step": ("step", "步骤"),
    "layer": ("layer", "层"),
    "source": ("source", "源代码"),
    "shape": ("shape", "形状"),
    "documented": ("as documented", "文档写法"),
    "exact": ("exact", "精确写法"),
    "exact_here": ("exact, here", "此处的精确写法"),
    "differs": ("here {here}; the document has", "此处为 {here}，文档中为"),
    "colon": (": ", "："),
    "missing": ("what the document leaves out", "文档省略之处"),
    "equation": ("equation", "方程"),
    "with_values": ("with numbers", "代入数值"),
    "result": ("result", "结果"),
    "incoming": ("incoming gradient", "上游梯度"),
    "local": ("local derivative", "局部导数"),
    "product": ("product", "乘积"),
    "term": (
        "term {turn} of {turns}: {value} is used {turns} times, so its gradients add up",
        "第 {turn} 项，共 {turns} 项：{value} 被用到 {turns} 次，各项梯度相加",
    ),
    "numerical": ("by numbers", "数值导数"),
    "agree": ("agrees", "一致"),
    "disagree": ("DOES NOT AGREE", "不一致"),
    "kink": ("at a kink: no derivative there", "位于折点：此处不可导"),
    "not_taken": ("not taken", "未计算"),
    "not_computed": ("not computed yet", "尚未计算"),
    "too_many": (
        "{count} elements; min {low}, mean {mean}, max {high}",
        "{count} 个元素；最小 {low}，平均 {mean}，最大 {high}",
    ),
    "rows": (
        "The document writes columns, one sample at a time (W·a + b); here a batch is rows (A W + b).",
        "文档按列书写，一次一个样本（W·a + b）；这里一批样本按行排列（A W + b）。",
    ),
    "after_steps": ("after {count} updates", "更新 {count} 次之后"),
    "not_finite": (
        "{name} is not finite: at {place} it is {value}. Nothing before it is; what follows comes of that.",
        "{name} 不是有限值：在 {place} 处为 {value}。此前各量均有限，其后的异常由此而来。",
    ),
    "all_agree": (
        "Every gradient agrees with the derivative taken by numbers, wherever that was taken.",
        "凡取过数值导数之处，梯度均与之一致。",
    ),
    "some_disagree": (
        "A gradient does not agree with the derivative taken by numbers: {names}.",
        "有梯度与数值导数不一致：{names}。",
    ),
    "many_steps": (
        "{count} steps: the first {shown} are written out.",
        "共 {count} 步：写出前 {shown} 步。",
    ),
    "updated_by": ("by {name}, {numbers}", "使用 {name}，{numbers}"),
    "adam.reason": (
        "m and v begin at 0 and are means with weights that do not sum to 1 yet: m is too small by 1 − β₁ᵗ, v by "
        "1 − β₂ᵗ. At first v is the more so, so m / √v comes out too large by (1 − β₁ᵗ) / √(1 − β₂ᵗ): 3.2 times at "
        "t = 1, 6.5 times at t = 10. The correction (Kingma & Ba 2015, Algorithm 1) divides both biases out.",
        "m 与 v 从 0 开始，权重之和尚不足 1：m 仅为应有值的 1 − β₁ᵗ 倍，v 仅为应有值的 1 − β₂ᵗ 倍。起初 v 偏得更多，"
        "于是 m / √v 为应有值的 (1 − β₁ᵗ) / √(1 − β₂ᵗ) 倍：t = 1 时为 3.2 倍，t = 10 时为 6.5 倍。"
        "偏差修正（Kingma 与 Ba，2015，算法 1）除去这两种偏差。",
    ),
    "adam.t": ("t", "t"),
    "adam.ratio": ("ratio", "比值"),
    "adam.corrected": ("corrected", "修正后"),
    "if": ("if", "若"),
    "else": ("else", "否则"),
    "first": ("to the beginning", "回到开头"),
    "previous": ("back", "上一步"),
    "next": ("on", "下一步"),
    "last": ("to the end", "到结尾"),
    "play": ("play", "播放"),
    "pause": ("pause", "暂停"),
    "reset": ("reset", "恢复原值"),
    "theme": ("light / dark", "浅色 / 深色"),
    "print": ("print", "打印"),
    "skip": ("to the content", "跳到正文"),
    "keys": (
        "Arrow keys step forward and backward, Home and End go to the ends, P plays. Click a number to see how it "
        "comes about, a node of the graph to go to its step.",
        "左右方向键前进、后退，Home 与 End 到两端，P 键播放。点一个数，可看它如何得来；点计算图的节点，可到其步骤。",
    ),
    "graph": ("the graph of the computation", "计算图"),
    "all_steps": ("All steps", "全部步骤"),
    "gradient": ("gradient", "梯度"),
    "spread": ("min {low}, mean {mean}, max {high}", "最小 {low}，平均 {mean}，最大 {high}"),
    "nothing_yet": ("nothing computed yet", "尚未开始计算"),
    "change_them": ("Change a number, and everything follows.", "改动任何一个数，其余随之重算。"),
    "view_only": ("The page shows these numbers and cannot compute them anew.", "本页只展示这些数，不能重新计算。"),
    "learning_rate": ("learning rate", "学习率"),
    "full_values": ("all values", "全部数值"),
    "watch.epoch": ("epoch", "轮次"),
    "watch.after": ("after epoch {epoch} of {epochs}", "第 {epoch} 轮之后，共 {epochs} 轮"),
    "watch.training": ("training", "训练"),
    "watch.validation": ("validation", "验证"),
    "watch.at_the_end": ("at the end", "轮末"),
    "watch.complete": ("complete", "训练完成"),
    "watch.ended": ("ended early", "提前结束"),
    "watch.curves": ("Curves", "学习曲线"),
    "watch.curves_note": (
        "training: running means while the weights change; validation (val_): of the weights at the epoch's end.",
        "训练：权重更新过程中的累计平均；验证（val_）：每轮结束时的权重所得。",
    ),
    "watch.digits": ("What it reads", "识别结果"),
    "watch.digits_note": (
        "{right} of these {count} images are read rightly. Bars: the probabilities of the classes, in order; "
        "the true class in green.",
        "这 {count} 张图像中有 {right} 张识别正确。条形为各类别的概率，依次排列；绿色为正确类别。",
    ),
    "watch.digit": ("image of class {label}", "类别 {label} 的图像"),
    "watch.instead": ("instead of {label}", "应为 {label}"),
    "watch.spread": ("Weights and gradients", "权重与梯度"),
    "watch.spread_note": (
        "How the elements are spread; the gradients are those of the loss on the first {samples} training samples.",
        "各元素的分布；梯度取自前 {samples} 个训练样本上的损失。",
    ),
    "watch.weights": ("weights", "权重"),
    "watch.gradients": ("gradients", "梯度"),
    "watch.mean": ("mean", "均值"),
    "watch.strange": ("{count} not finite", "{count} 个非有限值"),
    "watch.surface": ("The loss around the weights", "权重附近的损失曲面"),
    "watch.surface_note": (
        "J(θ + a δ + b η) for a and b from −1 to 1 (a to the right, b upwards), after epoch {epoch}, on the first "
        "{samples} training samples. δ and η are random; each filter of them is as long as the network's (Li et al. "
        "2018). The bands are equal steps of log J; dark is low.",
        "第 {epoch} 轮之后，前 {samples} 个训练样本上的 J(θ + a δ + b η)，a（向右）与 b（向上）取 −1 到 1。"
        "δ、η 为随机方向，逐滤波器归一化（Li 等，2018）。相邻色带的 log J 等距，越暗损失越小。",
    ),
    "watch.here": ("the network", "当前网络"),
    "tiles.images": ("{shown} of {total} images", "{total} 张图像中的 {shown} 张"),
    "tiles.maps": (
        "{shown} of {total} feature maps, sample by sample, channel by channel",
        "{total} 张特征图中的 {shown} 张，逐样本、逐通道排列",
    ),
    "tiles.filters": (
        "{shown} of {total} kernels, input channels down, filters across",
        "{total} 个卷积核中的 {shown} 个：纵向为输入通道，横向为滤波器",
    ),
    "tiles.units": (
        "the weights of {shown} of {total} units, each on the place of its pixel",
        "{total} 个单元中 {shown} 个的权重，各置于其像素处",
    ),
    "press_a_key": ("any key: on · q: end", "按任意键继续 · q 结束"),
}
"""By key: English, Chinese. Names in braces are filled in."""


def both(key: str) -> dict[str, str]:
    """A text by language, as the pages take it."""
    return dict(zip(LANGUAGES, TEXTS[key], strict=True))


def check_language(lang: str) -> None:
    """Raise UsageError for an unknown language."""
    if lang not in LANGUAGES:
        raise unknown_name("language", lang, LANGUAGES)


def text(key: str, lang: str = "en", **values: object) -> str:
    """A text in a language, filled in. Raises UsageError for an unknown language."""
    return said(TEXTS, key, lang, **values)


def said(texts: Mapping[str, tuple[str, str]], key: str, lang: str, **values: object) -> str:
    """The same of another table of texts."""
    check_language(lang)
    return texts[key][LANGUAGES.index(lang)].format(**values)


def colon(lang: str = "en") -> str:
    """What stands between a label and what it is the label of."""
    return text("colon", lang)
