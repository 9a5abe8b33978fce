"""Pictures of a run on a GPU, as SVG: the contestants' bars, and where the GPU overtakes the CPU."""

from __future__ import annotations

from ... import drawing
from ...drawing import BLUE, DASHES, GREEN, INK, ORANGE, PALE, Curve
from ..speed.pictures import bars, caption
from ..speed.results import Results, finished, ratio_text
from ..speed.runner import OK
from .crossover import crossing, speedups
from .report import PICTURES

COLOURS = (PALE, ORANGE, GREEN, BLUE)


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
    section, gpu = results["sections"]["crossover"], results["machine"]["gpu"]
    told = caption(results["machine"], "ring: the GPU overtakes")
    figure, (axes,) = drawing.panels(7.5, [3.8], caption=f"{gpu} against {told}")
    lines = []
    for batch, colour in zip(section["batches"], COLOURS * len(section["batches"]), strict=False):
        widths, values = speedups(section, batch)
        if not widths:
            continue
        lines.append(Curve(f"batch {batch:,}", widths, values, colour))
        found = crossing(widths, values)
        if found is not None and values[0] < 1:
            axes.plot([found], [1.0], marker="o", markersize=9, markerfacecolor="none", color=colour)
            drawing.note(axes, f"{found:.0f}", (found, 1.0), (0, -14), ha="center")
    axes.axhline(1.0, color=INK, linewidth=1, linestyle=DASHES)
    drawing.plot(
        axes, lines, title="a captured training step: how many times as fast the GPU is", logarithmic="xy",
        x="width of the two hidden layers", y="the CPU's time / the GPU's", ticks=section["widths"],
        shown=lambda value: f"{ratio_text(value)} ×",
    )  # fmt: skip
    return drawing.svg(figure)
