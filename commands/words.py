"""What `chalkgrad train` says, in the two languages of its readers."""

from __future__ import annotations

from ..blackboard import texts
from ..engine.streams import plain

WORDS: dict[str, tuple[str, str]] = {
    "images": (
        "{name}: {count:,} images to train on, {test:,} to test, which the val_ figures are of",
        "{name}：{count:,} 张图像用于训练，{test:,} 张用于测试（名字以 val_ 开头的数值）",
    ),
    "characters": (
        "{name}: {count:,} characters to train on, {test:,} to validate, which the val_ figures are of",
        "{name}：{count:,} 个字符用于训练，{test:,} 个用于验证（名字以 val_ 开头的数值）",
    ),
    "extract": (
        "the whole text cannot be had: an extract of it, 60,000 characters that come with chalkgrad, serves instead",
        "无法获得全文：改用 chalkgrad 自带的 6 万字符节选",
    ),
    "gpt": (
        "GPT of {depth} blocks, {width} wide, {heads} heads, {steps} characters at a time",
        "GPT：{depth} 层，宽 {width}，{heads} 个头，每次 {steps} 个字符",
    ),
    "network": (
        "network {network}, {parameters:,} parameters, on {device}",
        "网络 {network}，{parameters:,} 个参数，设备 {device}",
    ),
    "convolutions": ("convolutions of {filters}", "卷积 {filters}"),
    "and": (" and ", " 与 "),
    "optimizer": (
        "{optimizer} with learning rate {rate:g}, batches of {batch}, seed {seed}",
        "{optimizer}，学习率 {rate:g}，每批 {batch} 个样本，种子 {seed}",
    ),
    "replaces": ("the run that is in {path} will be replaced", "{path} 中已有的训练将被替换"),
    "watch": ("watch it: {page}", "观看训练：{page}"),
    "test": (
        "test loss {loss:.4f} · test accuracy {accuracy:.2%}",
        "测试损失 {loss:.4f} · 测试准确率 {accuracy:.2%}",
    ),
    "validation": (
        "validation loss {loss:.4f} · validation accuracy {accuracy:.2%}",
        "验证损失 {loss:.4f} · 验证准确率 {accuracy:.2%}",
    ),
    "kept": ("kept in {path}", "保存在 {path}"),
    "next": ("next: chalkgrad predict {path} IMAGE.png", "下一步：chalkgrad predict {path} IMAGE.png"),
    "next of a text": (
        "next: chalkgrad generate {path} --prompt 'ROMEO:'",
        "下一步：chalkgrad generate {path} --prompt 'ROMEO:'",
    ),
    "interrupted": (
        "interrupted: {path} holds the model after epoch {epoch}, with test accuracy {accuracy:.2%}, and its history.",
        "已中断：{path} 存有第 {epoch} 轮之后的模型（测试准确率 {accuracy:.2%}）及其历史记录。",
    ),
    "interrupted early": (
        "interrupted before the first epoch was whole: {kept}.",
        "第一轮结束之前中断：{kept}。",
    ),
    "goes on": ("`chalkgrad train --resume {path}` goes on", "`chalkgrad train --resume {path}` 可继续训练"),
    "resumed": ("{path} is gone on with, after epoch {epoch}", "继续 {path} 的训练，已完成 {epoch} 轮"),
    "complete": (
        "the run in {path} is complete, with {epoch} epochs: --epochs {more} would go on",
        "{path} 中的训练已完成，共 {epoch} 轮；--epochs {more} 可继续",
    ),
    "versions": (
        "it was begun with {others}, and goes on with {ours}: it may have other bits than one that was not interrupted",
        "它以 {others} 开始，现以 {ours} 继续：结果可能与不中断的训练在末位上不同",
    ),
    "diverged": (
        "the loss became NaN or infinite in epoch {epoch}, so training ended{why}; {kept}. "
        "Try a smaller --learning-rate than {rate:g}.",
        "损失在第 {epoch} 轮变成 NaN 或无穷大，训练就此结束{why}；{kept}。请试试比 {rate:g} 小的 --learning-rate。",
    ),
    "holds": ("{path} holds the model after epoch {epoch}", "{path} 存有第 {epoch} 轮之后的模型"),
    "unchanged": ("the run that was in {path} is unchanged", "{path} 中原有的训练没有改动"),
    "nothing": ("nothing was saved", "没有保存任何东西"),
    "epoch": ("\nepoch", "\n轮次"),
    "column": ("training {name}\n(running mean)", "训练{name}\n（累计平均）"),
    "test column": ("test\n{name}", "测试\n{name}"),
    "loss": ("loss", "损失"),
    "accuracy": ("accuracy", "准确率"),
    "means": (
        "Running means are taken over an epoch while the weights change; test figures are those of its end.",
        "累计平均取自一轮之中，其间权重仍在变化；测试数值属于该轮结束之时。",
    ),
}
"""By key: English, Chinese. Names in braces are filled in."""


def said(key: str, lang: str, **values: object) -> str:
    """A text in a language, filled in; names as they are shown."""
    return texts.said(WORDS, key, lang, **{n: v if isinstance(v, float | int) else plain(v) for n, v in values.items()})
