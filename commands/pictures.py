"""The pictures of a run: learning curves, and the test digits that it was most mistaken about."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy

from .. import drawing
from ..drawing import BLUE, GREY, Curve
from ..nn import History

WORST = 24
"""How many mistakes are shown."""


def curves(history: History) -> bytes:
    """Loss and accuracy by epoch, of training (running means) and test, as PNG."""
    figure, panels = drawing.panels(9, [3.4], 2)
    epochs = [epoch + 1 for epoch in history.epoch]
    for axes, name in zip(panels, ("loss", "accuracy"), strict=True):
        training, test = history.history[name], history.history[f"val_{name}"]
        percent = None if name == "loss" else lambda value: f"{100 * value:g} %"
        lines = [Curve("training (running mean)", epochs, training, GREY), Curve("test", epochs, test, BLUE, 2)]
        drawing.plot(axes, lines, title=name, x="epoch", shown=percent)
        last = f"{test[-1]:.4f}" if name == "loss" else f"{test[-1]:.2%}"
        drawing.note(axes, last, (epochs[-1], test[-1]), color=BLUE, fontsize=9)
    panels[0].set_ylim(bottom=0)
    return drawing.png(figure)


def worst_mistakes(labels: Any, probabilities: Any) -> tuple[int, list[tuple[int, int, int]]]:
    """How many answers are wrong, and of those that gave the true label the least probability, the worst first,
    (row, label, answer).
    """
    answers = probabilities.argmax(axis=1)
    wrong = numpy.flatnonzero(answers != labels)
    worst = wrong[numpy.argsort(probabilities[wrong, labels[wrong]], kind="stable")][:WORST]
    return len(wrong), [(int(at), int(labels[at]), int(answers[at])) for at in worst]


def mistakes(images: Any, labels: Any, probabilities: Any) -> bytes:
    """The worst mistakes with what the model held them for, as PNG."""
    count, worst = worst_mistakes(labels, probabilities)
    title = f"{count:,} of {len(labels):,} test digits mistaken ({count / len(labels):.1%})"
    title += f"; the worst {len(worst)}" if len(worst) < count else ""
    notes = [",  ".join(f"{n}: {probabilities[at, n]:.1%}" for n in (answer, label)) for at, label, answer in worst]
    return mistaken(title, images, worst, notes)


def mistaken(title: str, images: Any, worst: Sequence[tuple[int, int, int]], notes: Sequence[str]) -> bytes:
    """A sheet of mistakes, given as (row, label, answer), each with its note, as PNG."""
    shown = [
        (images[at], f"{label} taken for {answer}", told)
        for (at, label, answer), told in zip(worst, notes, strict=True)
    ]
    return drawing.png(drawing.sheet(title, shown))
