"""Pictures of a run and of growth, as SVG: bars with quartiles, and lines on logarithmic axes."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

from .contestants import OURS, YARDSTICK
from .growth import exponent, medians
from .results import Record, Results, a_unit, finished, ratio, ratio_text, seconds_text, time_of

OWN, OTHER, HAND, INK, FAINT = "#0b6bcb", "#a9b4be", "#4b5763", "#1f2933", "#dfe4e9"
LINES = {"numpy": HAND, "eager": "#e08a1e", "captured": OWN, "jit": "#1a9a6c"}
WIDE_RANGE = 40
"""Where the slowest takes so many times as long as the fastest, the axis is logarithmic."""


def bars(results: Results, names: Sequence[str] | None = None) -> bytes:
    """A panel for each workload: the time of one unit, its quartiles, and the ratio to hand-written NumPy."""
    records = [r for name, r in results["workloads"].items() if (names is None or name in names) and finished(r)]
    heights = [0.9 + 0.3 * len(finished(record)) for record in records]
    figure, axes = make_figure(8.5, heights or [1.0])
    for place, record in zip(axes, records, strict=False):
        _panel(place, record)
    figure.supxlabel(
        _caption(results["machine"], "whiskers: quartiles; dashed: the limit of the machine"), fontsize=8, color=HAND
    )
    return as_svg(figure)


def _caption(machine: Mapping[str, Any], rest: str) -> str:
    return f"{machine['processor']}, {machine['cores']} cores, {machine['date']}; {rest}"


def _panel(axes: Any, record: Record) -> None:
    names = sorted(finished(record), key=lambda name: time_of(record, name).median, reverse=True)
    times = [time_of(record, name) for name in names]
    scale, unit = _unit(min(time.median for time in times))
    colours = [OWN if name in OURS else HAND if name == YARDSTICK else OTHER for name in names]
    middles = [time.median * scale for time in times]
    spans = [[(t.median - t.low) * scale for t in times], [(t.high - t.median) * scale for t in times]]
    axes.barh(names, middles, color=colours, height=0.7, xerr=spans, error_kw={"ecolor": INK, "elinewidth": 1})
    if max(middles) > WIDE_RANGE * min(middles):
        axes.set_xscale("log")
        axes.set_xlim(min(middles) / 2, max(middles) * 5)
    else:
        axes.set_xlim(0, max(time.high for time in times) * scale * 1.25)
    for row, (name, time) in enumerate(zip(names, times, strict=True)):
        share = ratio(record, name, YARDSTICK)
        text = seconds_text(time.median) + (f"  ({ratio_text(share.median)} ×)" if share else "")
        axes.annotate(text, (time.high * scale, row), (5, 0), textcoords="offset points", va="center", fontsize=8,
                      color=INK, annotation_clip=False)  # fmt: skip
    if record["bound"]["for_all"]:
        least = record["bound"]["seconds"] / record["count"] * scale
        axes.axvline(least, color=INK, linewidth=1, linestyle=(0, (4, 3)))
        axes.set_xlim(left=min(axes.get_xlim()[0], least / 2))
    axes.set_title(
        f"{record['title']}: {unit} {a_unit(record['unit'])} (× {YARDSTICK})", loc="left", fontsize=10, color=INK
    )
    frame(axes, "x")


def curves(growth: Results) -> bytes:
    """A panel for each sweep, both axes logarithmic, with the exponent that the line fits."""
    from matplotlib.ticker import LogLocator

    sweeps = growth["sweeps"]
    figure, axes = make_figure(7.5, [3.0] * len(sweeps))
    for place, sweep in zip(axes, sweeps.values(), strict=True):
        for name in sweep["lines"]:
            sizes, values = medians(sweep, name)
            if not sizes:
                continue
            power = exponent(sizes, values)
            label = name if power is None else f"{name}, exponent {power:.2f}"
            place.plot(sizes, values, marker="o", markersize=4, color=LINES.get(name, OTHER), label=label)
        place.set_xscale("log")
        place.set_yscale("log")
        place.set_xticks(sweep["sizes"], [f"{size:,}" for size in sweep["sizes"]])
        place.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        place.yaxis.set_major_formatter(lambda value, _: seconds_text(value))
        place.minorticks_off()
        place.set_title(sweep["title"], loc="left", fontsize=10, color=INK)
        place.set_xlabel(sweep["variable"], fontsize=9, color=INK)
        place.set_ylabel(f"time of {a_unit(sweep['unit'])}", fontsize=9, color=INK)
        frame(place, "both")
        if any(line["seconds"] for line in sweep["lines"].values()):
            place.legend(frameon=False, fontsize=8)
    figure.supxlabel(_caption(growth["machine"], "medians"), fontsize=8, color=HAND)
    return as_svg(figure)


def _unit(seconds: float) -> tuple[float, str]:
    for scale, unit in ((1.0, "s"), (1e3, "ms"), (1e6, "µs")):
        if seconds * scale >= 1:
            return scale, unit
    return 1e9, "ns"


def make_figure(width: float, heights: Sequence[float]) -> tuple[Any, list[Any]]:
    """A figure of panels one above the other."""
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    layout = ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.1)
    figure = Figure(figsize=(width, sum(heights) + 0.4), layout=layout, facecolor="white")
    axes = figure.subplots(len(heights), 1, squeeze=False, gridspec_kw={"height_ratios": heights})
    return figure, list(axes[:, 0])


def frame(axes: Any, grid: str) -> None:
    """Faint lines across, and no box around."""
    axes.grid(axis=grid, color=FAINT, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(colors=INK, labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(FAINT)


def as_svg(figure: Any) -> bytes:
    """The figure, the same bytes for the same run."""
    import matplotlib

    data = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "chalkgrad", "svg.fonttype": "none"}):
        figure.savefig(data, format="svg", metadata={"Date": None, "Creator": None})  # the same run, the same bytes
    return data.getvalue()
