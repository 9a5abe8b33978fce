"""Curves, bars and sheets of images, drawn by matplotlib: the one place where chalkgrad draws in Python.

Only matplotlib's objects are used: no window opens, and no other figure sees this one. The same values give the same
bytes. matplotlib is imported when something is drawn; where it is not installed, that raises MissingExtraError.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

from .hints import missing_extra

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, FAINT, GREY, PALE = "#1f2933", "#dfe4e9", "#7a8794", "#a9b4be"
BLUE, ORANGE, GREEN = "#0b6bcb", "#e08a1e", "#1a9a6c"
FEW = 12
"""Points of a curve that are each marked; more would hide it."""
DASHES = (0, (4, 3))


@dataclass(frozen=True)
class Curve:
    """Values `y` over `x` under a name, which the legend shows; "" leaves it out. marked: None marks a few points."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    colour: str = BLUE
    width: float = 1.5
    dashed: bool = False
    marked: bool | None = None


def panels(width: float, heights: Sequence[float], columns: int = 1, caption: str = "") -> tuple[Figure, list[Axes]]:
    """A figure of rows with these heights, in inches, and its axes, row by row. caption: small print below."""
    try:
        from matplotlib.figure import Figure
        from matplotlib.layout_engine import ConstrainedLayoutEngine
    except ImportError:
        raise missing_extra("drawing", "matplotlib", "plot") from None
    layout = ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.1)
    figure = Figure((width, sum(heights) + 0.4), dpi=150, layout=layout, facecolor="white")
    if caption:
        figure.supxlabel(caption, fontsize=8, color=GREY)
    return figure, list(figure.subplots(len(heights), columns, squeeze=False, height_ratios=heights).flat)


def plot(
    axes: Axes, curves: Iterable[Curve], *, title: str = "", x: str = "", y: str = "", logarithmic: str = "",
    ticks: Sequence[float] | None = None, shown: Callable[[float], str] | None = None,
) -> None:  # fmt: skip
    """The curves over named axes. logarithmic: "x", "y" or "xy". ticks: those of x; None chooses whole numbers.

    shown: the text of a value on the axis of y.
    """
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator

    for curve in curves:
        few = len(curve.x) <= FEW if curve.marked is None else curve.marked
        axes.plot(curve.x, curve.y, color=curve.colour, linewidth=curve.width, label=curve.name or "_",
                  linestyle=DASHES if curve.dashed else "-", marker="o" if few else None, markersize=3.5)  # fmt: skip
    if "x" in logarithmic:
        axes.set_xscale("log")
    if "y" in logarithmic:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.minorticks_off()
    if ticks is not None:
        axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    elif "x" not in logarithmic:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    if shown is not None:
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: shown(value)))
    frame(axes, title, x, y)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, fontsize=8, labelcolor=INK, loc="best")


def frame(axes: Axes, title: str = "", x: str = "", y: str = "", grid: Any = "both") -> None:
    """Title, names of the axes, faint lines across (grid: "x", "y" or "both"), and no box around."""
    axes.set_title(title, loc="left", fontsize=10, color=INK)
    axes.set_xlabel(x, fontsize=9, color=INK)
    axes.set_ylabel(y, fontsize=9, color=INK)
    axes.grid(axis=grid, color=FAINT, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(colors=INK, labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(FAINT)


def note(axes: Axes, text: str, at: tuple[float, float], away: tuple[float, float] = (5, 0), **options: Any) -> None:
    """Small print `away` points from a place among the data, also where that is beyond the axes."""
    given = {"fontsize": 8, "color": INK, "va": "center", "annotation_clip": False, **options}
    axes.annotate(text, at, away, textcoords="offset points", **given)


def sheet(title: str, images: Sequence[tuple[Any, str, str]], columns: int = 6) -> Figure:
    """Grey images (0 white, 255 black), each with a heading above it and a note below."""
    rows = max(1, math.ceil(len(images) / columns))
    figure, places = panels(1.5 * columns, [1.8] * rows, columns)
    figure.suptitle(title, fontsize=11, color=INK)
    for axes in places:
        axes.set_axis_off()
    for axes, (image, heading, below) in zip(places, images, strict=False):
        axes.imshow(image, cmap="gray_r", vmin=0, vmax=255, interpolation="nearest")
        axes.plot([0, 1, 1, 0, 0], [0, 0, 1, 1, 0], color=FAINT, linewidth=1, transform=axes.transAxes, clip_on=False)
        axes.set_title(heading, fontsize=9, color=INK, pad=4)
        axes.text(0.5, -0.04, below, fontsize=8, color=GREY, ha="center", va="top", transform=axes.transAxes)
    return figure


def png(figure: Figure) -> bytes:
    """The figure as a PNG file."""
    data = io.BytesIO()
    figure.savefig(data, format="png", metadata={"Software": None})
    return data.getvalue()


def svg(figure: Figure, salt: str = "chalkgrad") -> bytes:
    """The figure as an SVG file, its text as text. salt: what the ids in it are made from."""
    import matplotlib

    data = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": salt, "svg.fonttype": "none"}):
        figure.savefig(data, format="svg", metadata={"Date": None, "Creator": None})
    return data.getvalue()


def inline_svg(figure: Figure, told: str) -> str:
    """The figure as an element of a page, in the page's own ink, on its own ground; told: the same in words."""
    parts: list[Any] = [figure, *figure.axes]
    for part in parts:
        part.patch.set_visible(False)
    drawn = svg(figure, told).decode()
    drawn = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", drawn[drawn.index("<svg") :], flags=re.DOTALL)
    drawn = re.sub(r' id="(?![pm][0-9a-f]{10}")[^"]*"', "", drawn)  # those that nothing refers to would clash
    start, _, rest = drawn.replace(INK, "currentColor").replace(FAINT, "rgba(128,128,128,.3)").partition(">")
    size = f"width:{figure.get_figwidth():g}in;max-width:100%;height:auto"
    start = re.sub(r'width="[^"]*" height="[^"]*"', f'role="img" style="{size}"', start)
    return f'{start} aria-label="{escape(told)}"><title>{escape(told)}</title>{rest}'
