"""The pictures of `chalkgrad reproduce`, as PNG: curves of all seeds, confusion matrices, the worst mistakes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy

from .pictures import FAINT, INK, SHEET, TEST, TRAINING, figure_of, framed, png
from .reproduce import CLASSES, EXPERIMENTS

Runs = Sequence[Mapping[str, Any]]


def curves(results: Mapping[str, Runs], documented: float, judged: str) -> bytes:
    """The judged loss by epoch, one line a seed, one panel an experiment; the documented loss as a dashed line."""
    figure = figure_of(4.2 * len(results), 3.8)
    for axes, (name, runs) in zip(figure.subplots(1, len(results), squeeze=False).flat, results.items(), strict=True):
        for run in runs:
            losses = run["curves"]["val_loss"]
            axes.plot(range(1, len(losses) + 1), losses, color=TEST, linewidth=1, alpha=0.8)
        axes.axhline(documented, color=TRAINING, linestyle="--", linewidth=1)
        axes.annotate("documented", (1, documented), (0, 9), xycoords=("axes fraction", "data"), ha="right",
                      textcoords="offset points", color=TRAINING, fontsize=8)  # fmt: skip
        framed(axes, f"{EXPERIMENTS[name].title}: {judged} loss", len(runs[0]["curves"]["val_loss"]))
        ends = [run["curves"]["val_loss"][-1] for run in runs]
        axes.set_ylim(0, max(0.12, *(3 * end for end in ends)))
    return png(figure)


def confusion(runs: Runs, title: str) -> bytes:
    """How often each digit was taken for each other one, on average over the seeds; right answers are left out."""
    counts = numpy.mean([numpy.reshape(run["confusion"], (CLASSES, CLASSES)) for run in runs], axis=0)
    right = counts.trace() / counts.sum()
    numpy.fill_diagonal(counts, 0)
    figure = figure_of(5, 5)
    axes = figure.subplots()
    axes.imshow(counts, cmap="Blues", vmin=0)
    for row, column in numpy.argwhere(counts > 0):
        dark = counts[row, column] > 0.6 * counts.max()
        axes.text(column, row, f"{counts[row, column]:.3g}", ha="center", va="center", fontsize=8,
                  color="white" if dark else INK)  # fmt: skip
    axes.set_xticks(range(CLASSES))
    axes.set_yticks(range(CLASSES))
    axes.set_xlabel("taken for", color=INK)
    axes.set_ylabel("true digit", color=INK)
    axes.set_title(f"{title}: mistakes, {right:.2%} right", loc="left", fontsize=10, color=INK)
    axes.tick_params(colors=INK, length=0)
    axes.spines[:].set_color(FAINT)
    return png(figure)


def worst(run: Mapping[str, Any], images: Any, title: str) -> bytes:
    """The wrong answers that gave the true digit the least probability, the worst first."""
    columns = SHEET[0]
    lines = max(1, math.ceil(len(run["worst"]) / columns))
    figure = figure_of(1.5 * columns, 1.7 * lines + 0.5)
    figure.suptitle(f"{title}, seed {run['seed']}: the worst mistakes", fontsize=11, color=INK)
    for place, axes in enumerate(figure.subplots(lines, columns, squeeze=False).flat):
        axes.set_axis_off()
        if place < len(run["worst"]):
            at, label, answer, probability = run["worst"][place]
            axes.imshow(images[at], cmap="gray_r", vmin=0, vmax=255, interpolation="nearest")
            axes.set_title(f"{label} taken for {answer}", fontsize=9, color=INK, pad=4)
            axes.text(0.5, -0.04, f"{label}: {probability:.1%}", fontsize=8, color=TRAINING, ha="center", va="top",
                      transform=axes.transAxes)  # fmt: skip
    return png(figure)
