"""Pictures of a run on a GPU, as SVG: the contestants' bars, and where the GPU overtakes the CPU."""

from __future__ import annotations

from typing import Any

from ..speed.pictures import HAND, INK, OWN, as_svg, bars, frame, make_figure
from ..speed.results import Results, finished, ratio_text
from ..speed.runner import OK
from .crossover import crossing, speedups
from .report import PICTURES

COLOURS = ("#a9b4be", "#e08a1e", "#1a9a6c", OWN)


def draw(results: Results) -> dict[str, bytes]:
    """The pictures of what was measured, by file name."""
    sections = {name: s for name, s in results["sections"].items() if s["status"] == OK}
    machine = {**results["machine"], "processor": f"{results['machine']['gpu']}; {results['machine']['processor']}"}
    found = {}
    if "mnist" in sections and finished(sections["mnist"]):
        found[PICTURES["mnist"]] = bars({"machine": machine, "workloads": {"mnist": sections["mnist"]}})
    if "crossover" in sections:
        found[PICTURES["crossover"]] = speedup(results)
    return found


def speedup(results: Results) -> bytes:
    """How many times as fast the GPU is, against the width, a line for each batch; a ring where it overtakes."""
    section, machine = results["sections"]["crossover"], results["machine"]
    figure, (axes,) = make_figure(7.5, [3.8])
    for number, batch in enumerate(section["batches"]):
        widths, values = speedups(section, batch)
        if not widths:
            continue
        colour = COLOURS[number % len(COLOURS)]
        axes.plot(widths, values, marker="o", markersize=4, color=colour, label=f"batch {batch:,}")
        found = crossing(widths, values)
        if found is not None and values[0] < 1:
            axes.plot([found], [1.0], marker="o", markersize=9, markerfacecolor="none", color=colour)
            axes.annotate(f"{found:.0f}", (found, 1.0), (0, -14), textcoords="offset points", ha="center", fontsize=8,
                          color=INK)  # fmt: skip
    _axes(axes, section)
    caption = f"{machine['gpu']} against {machine['processor']}, {machine['cores']} cores, {machine['date']}"
    figure.supxlabel(f"{caption}; ring: the GPU overtakes", fontsize=8, color=HAND)
    return as_svg(figure)


def _axes(axes: Any, section: Any) -> None:
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.axhline(1.0, color=INK, linewidth=1, linestyle=(0, (4, 3)))
    axes.set_xticks(section["widths"], [f"{width:,}" for width in section["widths"]])
    axes.yaxis.set_major_formatter(lambda value, _: f"{ratio_text(value)} ×")
    axes.minorticks_off()
    axes.set_xlabel("width of the two hidden layers", fontsize=9, color=INK)
    axes.set_ylabel("the CPU's time / the GPU's", fontsize=9, color=INK)
    axes.set_title("a captured training step: how many times as fast the GPU is", loc="left", fontsize=10, color=INK)
    frame(axes, "both")
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, fontsize=8)
