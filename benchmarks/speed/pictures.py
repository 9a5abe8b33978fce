"""Pictures of a run and of growth, as SVG: bars with quartiles, and lines on logarithmic axes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ... import drawing
from ...drawing import BLUE, DASHES, GREEN, GREY, INK, ORANGE, PALE, Curve
from .contestants import OURS, YARDSTICK
from .growth import exponent, medians
from .results import Record, Results, a_unit, finished, ratio, ratio_text, seconds_text, time_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = {"numpy": GREY, "eager": ORANGE, "captured": BLUE, "jit": GREEN}
WIDE_RANGE = 40
"""Where the slowest takes so many times as long as the fastest, the axis is logarithmic."""


def caption(machine: Mapping[str, Any], rest: str) -> str:
    """The machine in small print."""
    return f"{machine['processor']}, {machine['cores']} cores, {machine['date']}; {rest}"


def bars(results: Results, names: Sequence[str] | None = None) -> bytes:
    """A panel for each workload: the time of one unit, its quartiles, and the ratio to hand-written NumPy."""
    records = [r for name, r in results["workloads"].items() if (names is None or name in names) and finished(r)]
    heights = [0.9 + 0.3 * len(finished(record)) for record in records]
    told = caption(results["machine"], "whiskers: quartiles; dashed: the limit of the machine")
    figure, panels = drawing.panels(8.5, heights or [1.0], caption=told)
    for axes, record in zip(panels, records, strict=False):
        _panel(axes, record)
    return drawing.svg(figure)


def _panel(axes: Axes, record: Record) -> None:
    names = sorted(finished(record), key=lambda name: time_of(record, name).median, reverse=True)
    scale, unit = _unit(min(time_of(record, name).median for name in names))
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
        least = record["bound"]["seconds"] / record["count"] * scale
        axes.axvline(least, color=INK, linewidth=1, linestyle=DASHES)
        axes.set_xlim(left=min(axes.get_xlim()[0], least / 2))
    drawing.frame(axes, f"{record['title']}: {unit} {a_unit(record['unit'])} (× {YARDSTICK})", grid="x")


def curves(growth: Results) -> bytes:
    """A panel for each sweep, both axes logarithmic, with the exponent that the line fits."""
    sweeps = growth["sweeps"]
    figure, panels = drawing.panels(7.5, [3.0] * len(sweeps), caption=caption(growth["machine"], "medians"))
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


def _unit(seconds: float) -> tuple[float, str]:
    for scale, unit in ((1.0, "s"), (1e3, "ms"), (1e6, "µs")):
        if seconds * scale >= 1:
            return scale, unit
    return 1e9, "ns"
