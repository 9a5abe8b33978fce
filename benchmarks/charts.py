"""Pictures of a run, of growth, and of CPU against GPU, as SVG: bars with quartiles, lines on logarithmic axes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .. import drawing
from ..drawing import BLUE, DASHES, GREEN, GREY, INK, ORANGE, PALE, Curve
from .gpu.crossover import SWEEPS, crossing, speedups
from .speed.contestants import OURS, YARDSTICK
from .speed.growth import exponent, medians
from .speed.results import (
    OK,
    Record,
    Results,
    a_unit,
    by_time,
    finished,
    rates,
    ratio,
    ratio_text,
    seconds_text,
    time_of,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = {"numpy": GREY, "eager": ORANGE, "captured": BLUE, "jit": GREEN}
BATCHES = (PALE, ORANGE, GREEN, BLUE)
WIDE_RANGE = 40
"""Where the slowest takes so many times as long as the fastest, the axis is logarithmic."""


def pictures(results: Results, growth: Results | None, gpu: Results | None) -> dict[str, bytes]:
    """All pictures of what was measured, by file name."""
    found = {f"speed-{n}.svg": bars(results, [n]) for n, r in results["workloads"].items() if finished(r)}
    if any("bytes" in record.get("work", {}) for record in results["workloads"].values()):
        found["speed-roofline.svg"] = roofline(results)
    if growth is not None:
        found["speed-growth.svg"] = curves(growth)
    sections = {name: s for name, s in gpu["sections"].items() if s["status"] == OK} if gpu else {}
    if gpu and "mnist" in sections and finished(sections["mnist"]):
        machine = {**gpu["machine"], "processor": f"{gpu['machine']['gpu']}; {gpu['machine']['processor']}"}
        found["gpu-mnist.svg"] = bars({"machine": machine, "workloads": {"mnist": sections["mnist"]}})
    if gpu:
        found |= {f"gpu-{name}.svg": speedup(gpu, name) for name in SWEEPS if name in sections}
    return found


def _caption(machine: Mapping[str, Any], rest: str) -> str:
    return f"{machine['processor']}, {machine['cores']} cores, {machine['date']}; {rest}"


def bars(results: Results, names: Sequence[str] | None = None) -> bytes:
    """A panel for each workload: the time of one unit, its quartiles, and the ratio to hand-written NumPy."""
    records = [r for name, r in results["workloads"].items() if (names is None or name in names) and finished(r)]
    heights = [0.9 + 0.3 * len(finished(record)) for record in records]
    told = _caption(results["machine"], "whiskers: quartiles; dashed: the limit of the machine")
    figure, panels = drawing.panels(8.5, heights or [1.0], caption=told)
    for axes, record in zip(panels, records, strict=False):
        _panel(axes, record)
    return drawing.svg(figure)


def _panel(axes: Axes, record: Record) -> None:
    names = by_time(record)[::-1]
    least = time_of(record, names[-1]).median
    scale, unit = next(((s, u) for s, u in ((1.0, "s"), (1e3, "ms"), (1e6, "µs")) if least * s >= 1), (1e9, "ns"))
    times = [time_of(record, name).scaled(scale) for name in names]
    colours = [BLUE if name in OURS else GREY if name == YARDSTICK else PALE for name in names]
    middles = [time.median for time in times]
    spans = [[t.median - t.low for t in times], [t.high - t.median for t in times]]
    axes.barh(names, middles, color=colours, height=0.7, xerr=spans, error_kw={"ecolor": INK, "elinewidth": 1})
    if max(middles) > WIDE_RANGE * min(middles):
        axes.set_xscale("log")
        axes.set_xlim(min(middles) / 2, max(middles) * 5)
    else:
        axes.set_xlim(0, max(time.high for time in times) * 1.25)
    for row, (name, time) in enumerate(zip(names, times, strict=True)):
        share = ratio(record, name, YARDSTICK)
        text = seconds_text(time.median / scale) + (f"  ({ratio_text(share.median)} ×)" if share else "")
        drawing.note(axes, text, (time.high, row))
    if record["bound"]["for_all"]:
        bound = record["bound"]["seconds"] / record["count"] * scale
        axes.axvline(bound, color=INK, linewidth=1, linestyle=DASHES)
        axes.set_xlim(left=min(axes.get_xlim()[0], bound / 2))
    drawing.frame(axes, f"{record['title']}: {unit} {a_unit(record['unit'])} (× {YARDSTICK})", grid="x")


def roofline(results: Results) -> bytes:
    """Operations a second over operations a byte, below what memory and the cores allow (Williams et al. 2009).

    The fastest of ours, hand-written NumPy and the fastest peer of each workload whose operations are counted.
    """
    found = results["limits"]
    peak, memory = found["float32_flops"], found["copy_bytes_per_second"]
    told = "the work's least operations and bytes; what stays in a cache may be above the roof of memory"
    figure, (axes,) = drawing.panels(7.5, [4.2], caption=_caption(results["machine"], told))
    records = {n: r for n, r in results["workloads"].items() if finished(r) and "bytes" in r.get("work", {})}
    places = [record["work"]["flops"] / record["work"]["bytes"] for record in records.values()]
    lowest, highest = min([*places, peak / memory]) / 4, max([*places, peak / memory]) * 4
    xs = [lowest, peak / memory, highest]
    drawing.plot(
        axes, [Curve("", xs, [min(peak, memory * x) for x in xs], INK, marked=False)],
        title="what is done in a second, below the machine's roof", logarithmic="xy", x="operations a byte",
        y="operations a second", shown=lambda value: f"{value / 1e9:g} G",
    )  # fmt: skip
    groups = {"ours, the fastest": (OURS, BLUE), YARDSTICK: ((YARDSTICK,), GREY), "a peer, the fastest": ((), ORANGE)}
    for label, (own, colour) in groups.items():
        points = []
        for place, record in zip(places, records.values(), strict=True):
            taken = (n for n in by_time(record) if (n in own if own else n not in (*OURS, YARDSTICK)))
            if name := next(taken, None):
                points.append((place, rates(record, name)["flops_per_second"]))
        if points:
            axes.plot(*zip(*points, strict=True), linestyle="", marker="o", markersize=5, color=colour, label=label)
    for place in sorted(set(places)):
        names = ", ".join(name for name, other in zip(records, places, strict=True) if other == place)
        drawing.note(
            axes, names, (place, axes.get_ylim()[0]), (9, 6), rotation=90, va="bottom", color=GREY, ha="center"
        )
    if places:
        axes.legend(fontsize=8, frameon=False, loc="upper left")
    return drawing.svg(figure)


def curves(growth: Results) -> bytes:
    """A panel for each sweep, both axes logarithmic, with the exponent that the line fits."""
    sweeps = growth["sweeps"]
    figure, panels = drawing.panels(7.5, [3.0] * len(sweeps), caption=_caption(growth["machine"], "medians"))
    for axes, sweep in zip(panels, sweeps.values(), strict=True):
        lines = []
        for name in sweep["lines"]:
            sizes, values = medians(sweep, name)
            if sizes:
                power = exponent(sizes, values)
                label = name if power is None else f"{name}, exponent {power:.2f}"
                lines.append(Curve(label, sizes, values, COLOURS.get(name, PALE)))
        drawing.plot(
            axes, lines, title=sweep["title"], x=sweep["variable"], y=f"time of {a_unit(sweep['unit'])}",
            logarithmic="xy", ticks=sweep["sizes"], shown=seconds_text,
        )  # fmt: skip
    return drawing.svg(figure)


def speedup(results: Results, name: str = "crossover") -> bytes:
    """How many times as fast the GPU is, against the width, a line for each batch; a ring where it overtakes."""
    section, machine = results["sections"][name], results["machine"]
    told = f"{machine['gpu']} against {_caption(machine, 'ring: the GPU overtakes')}"
    figure, (axes,) = drawing.panels(7.5, [3.8], caption=told)
    if section["status"] != OK:
        drawing.frame(axes, f"not measured: {section['reason']}")
        return drawing.svg(figure)
    lines = []
    for batch, colour in zip(section["batches"], BATCHES * len(section["batches"]), strict=False):
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
        x="filters of the first layer" if section.get("convolutional") else "width of the two hidden layers",
        y="the CPU's time / the GPU's", ticks=section["widths"],
        shown=lambda value: f"{ratio_text(value)} ×",
    )  # fmt: skip
    return drawing.svg(figure)
