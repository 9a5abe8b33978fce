"""The pictures of a run, as PNG: learning curves, and the test digits that it was most mistaken about.

Drawn through matplotlib's objects on an Agg canvas: no window, no state that another figure could see.
"""

from __future__ import annotations

import io
import math
from typing import TYPE_CHECKING, Any

import numpy

from ..nn import History
from .missing import missing_extra

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TRAINING, TEST, INK, FAINT = "#7a8794", "#0b6bcb", "#1f2933", "#dfe4e9"
SHEET = (6, 4)
"""Columns and rows of the sheet of mistakes."""


def curves(history: History) -> bytes:
    """Loss and accuracy by epoch, of training (running means) and test."""
    figure = figure_of(9, 3.8)
    epochs = [epoch + 1 for epoch in history.epoch]
    for axes, name in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        training, test = history.history[name], history.history[f"val_{name}"]
        marker = "o" if len(epochs) <= 12 else None
        axes.plot(epochs, training, color=TRAINING, marker=marker, markersize=3, label="training (running mean)")
        axes.plot(epochs, test, color=TEST, marker=marker, markersize=3, linewidth=2, label="test")
        axes.annotate(
            f"{test[-1]:.4f}" if name == "loss" else f"{test[-1]:.2%}", (epochs[-1], test[-1]), (5, 0),
            textcoords="offset points", color=TEST, verticalalignment="center", fontsize=9, annotation_clip=False,
        )  # fmt: skip
        framed(axes, name, len(epochs))
        if name == "loss":
            axes.set_ylim(bottom=0)
        else:
            axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:g} %")
    axes.legend(frameon=False, fontsize=9, loc="best")
    return png(figure)


def mistakes(images: Any, labels: Any, probabilities: Any) -> bytes:
    """The wrong answers that gave the true label the least probability, the worst first."""
    count, answers = len(labels), probabilities.argmax(axis=1)
    rows = numpy.arange(count)
    wrong = numpy.flatnonzero(answers != labels)
    worst = wrong[numpy.argsort(probabilities[rows, labels][wrong], kind="stable")][: SHEET[0] * SHEET[1]]
    columns = SHEET[0]
    lines = max(1, math.ceil(len(worst) / columns))
    figure = figure_of(1.5 * columns, 1.85 * lines + 0.6)
    title = f"{len(wrong):,} of {count:,} test digits mistaken ({len(wrong) / count:.1%})"
    if len(worst) < len(wrong):
        title += f"; the worst {len(worst)}"
    figure.suptitle(title, fontsize=11, color=INK)
    for place, axes in enumerate(figure.subplots(lines, columns, squeeze=False).flat):
        axes.set_axis_off()
        if place >= len(worst):
            continue
        at = worst[place]
        axes.imshow(images[at], cmap="gray_r", vmin=0, vmax=255, interpolation="nearest")
        axes.plot([0, 1, 1, 0, 0], [0, 0, 1, 1, 0], color=FAINT, linewidth=1, transform=axes.transAxes, clip_on=False)
        axes.set_title(f"{labels[at]} taken for {answers[at]}", fontsize=9, color=INK, pad=4)
        sure = ",  ".join(f"{digit}: {probabilities[at, digit]:.1%}" for digit in (answers[at], labels[at]))
        axes.text(0.5, -0.04, sure, fontsize=8, color=TRAINING, ha="center", va="top", transform=axes.transAxes)
    return png(figure)


def figure_of(width: float, height: float) -> Figure:
    """An empty figure, in inches; raises MissingExtraError where matplotlib is not installed."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
        from matplotlib.layout_engine import ConstrainedLayoutEngine
    except ImportError:
        raise missing_extra("drawing curves and mistakes", "matplotlib") from None
    layout = ConstrainedLayoutEngine(w_pad=0.09, h_pad=0.07)  # inches
    figure = Figure(figsize=(width, height), dpi=150, layout=layout, facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def framed(axes: Axes, name: str, epochs: int) -> None:
    """Title, grid and an axis of epochs."""
    from matplotlib.ticker import MaxNLocator

    axes.set_title(name, loc="left", fontsize=11, color=INK)
    axes.set_xlabel("epoch", color=INK)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.set_xlim(1 - 0.02 * epochs, epochs + 0.02 * epochs)
    axes.grid(color=FAINT, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(colors=INK, labelsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(FAINT)


def png(figure: Figure) -> bytes:
    """The figure as a PNG file."""
    data = io.BytesIO()
    figure.savefig(data, format="png", metadata={"Software": None})  # the same run gives the same bytes
    return data.getvalue()
