"""Curves over epochs as a small inline SVG, with labelled axes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby

from ..engine.markup import text

WIDTH, HEIGHT = 400, 230
LEFT, RIGHT, TOP, BOTTOM = 70, 390, 26, 190
MOST = 300
"""How many points of a curve are drawn at most."""

LOG_SPAN = 10
"""A loss that spans more than this factor has a logarithmic axis."""

GREY = "rgba(128,128,128,.3)"


@dataclass(frozen=True)
class Curve:
    """Values by epoch (counted from 1) under a name; those that are not finite leave a gap."""

    name: str
    epochs: Sequence[int]
    values: Sequence[float]
    colour: str
    dashed: bool = False

    @property
    def points(self) -> list[tuple[int, float]]:
        """What is drawn: every n-th point and the last."""
        count = len(self.values)
        chosen = {*range(0, count, thinning(count)), count - 1}
        return [(self.epochs[i], self.values[i]) for i in sorted(chosen)]


def thinning(count: int) -> int:
    """n, where every n-th of `count` points is drawn."""
    return math.ceil(count / MOST)


def chart(what: str, curves: Sequence[Curve]) -> str:
    """The curves over the same epochs. A loss of more than a factor of LOG_SPAN has a logarithmic axis."""
    values = [v for curve in curves for _, v in curve.points if math.isfinite(v)]
    if not values:
        return ""
    logarithmic = "loss" in what and min(values) > 0 and max(values) > LOG_SPAN * min(values)
    epochs = sorted({epoch for curve in curves for epoch in curve.epochs})
    first, last = epochs[0], epochs[-1]
    measure: Callable[[float], float] = math.log10 if logarithmic else float
    low, high = measure(min(values)), measure(max(values))
    room = (high - low) * 0.05 or abs(low) * 0.05 or 0.5
    low, high = low - room, high + room

    def x(epoch: float) -> float:
        return LEFT + 8 + (epoch - first) / max(last - first, 1) * (RIGHT - LEFT - 16)

    def y(value: float) -> float:
        return BOTTOM - (measure(value) - low) / (high - low) * (BOTTOM - TOP)

    axis = f"{what}, logarithmic" if logarithmic else what
    ticks = [v for v in (_decades if logarithmic else _steps)(low, high) if low <= measure(v) <= high]
    parts = [f'<path d="M{LEFT} {TOP}V{BOTTOM}H{RIGHT}" fill="none" stroke="currentColor" stroke-opacity=".6"/>']
    for tick in ticks:
        parts.append(f'<path d="M{LEFT} {y(tick):.1f}H{RIGHT}" stroke="{GREY}"/>')
        parts.append(_label(LEFT - 6, y(tick) + 4, f"{tick:.6g}", "end"))
    for epoch in [e for e in _steps(first, last) if e == int(e)] or [first]:
        parts.append(f'<path d="M{x(epoch):.1f} {BOTTOM}v4" stroke="currentColor" stroke-opacity=".6"/>')
        parts.append(_label(x(epoch), BOTTOM + 17, f"{epoch:.0f}", "middle"))
    parts.append(_label((LEFT + RIGHT) / 2, HEIGHT - 6, "epoch", "middle"))
    middle = (TOP + BOTTOM) / 2
    turned = f'transform="translate(12 {middle:.0f}) rotate(-90)" text-anchor="middle" fill="currentColor"'
    parts.append(f"<text {turned}>{text(axis)}</text>")
    at = LEFT - 20
    for curve in curves:
        parts.append(
            f'<path d="M{at} {TOP - 14}h18" {_stroke(curve)}/>' + _label(at + 22, TOP - 10, curve.name, "start")
        )
        at += 34 + 6 * len(curve.name)
        parts.append(_drawn(curve, x, y))
    told = f"{axis} by epoch. " + " ".join(map(_told, curves))
    style = f"display:block;width:{WIDTH}px;max-width:100%;height:auto;font-size:11px;font-family:inherit"
    return (
        f'<svg role="img" aria-label="{text(told)}" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'style="{style}"><title>{text(told)}</title>{"".join(parts)}</svg>'
    )


def _drawn(curve: Curve, x: Callable[[float], float], y: Callable[[float], float]) -> str:
    parts = []
    for finite, run in groupby(curve.points, key=lambda point: math.isfinite(point[1])):
        places = [(x(epoch), y(value)) for epoch, value in run] if finite else []
        if len(places) > 1:
            path = "L".join(f"{a:.1f} {b:.1f}" for a, b in places)
            parts.append(f'<path d="M{path}" fill="none" stroke-linejoin="round" {_stroke(curve)}/>')
        if len(places) == 1 or len(curve.points) <= 12:
            parts += [f'<circle cx="{a:.1f}" cy="{b:.1f}" r="2.5" fill="rgb({curve.colour})"/>' for a, b in places]
    return "".join(parts)


def _stroke(curve: Curve) -> str:
    return f'stroke="rgb({curve.colour})" stroke-width="2"' + (' stroke-dasharray="5 3"' if curve.dashed else "")


def _label(x: float, y: float, label: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="currentColor">{text(label)}</text>'


def _told(curve: Curve) -> str:
    finite = [v for v in curve.values if math.isfinite(v)]
    return f"{curve.name}: from {finite[0]:.4g} to {finite[-1]:.4g}." if finite else f"{curve.name}: never finite."


def _steps(low: float, high: float) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten from low to high, three to seven of them."""
    span = (high - low) or 1.0
    power = 10.0 ** math.floor(math.log10(span / 3))
    step = next(power * digit for digit in (10, 5, 2, 1) if span / (power * digit) >= 3)
    return [round(n * step, 12) for n in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _decades(low: float, high: float) -> list[float]:
    """Powers of ten between the logarithms low and high; also 2 and 5 times them where they are few."""
    every = max(1, math.ceil((high - low) / 6))
    digits = (1, 2, 5) if high - low < 2.5 else (1,)
    powers = range(math.floor(low), math.ceil(high) + 1, every)
    return [float(f"{digit}e{power}") for power in powers for digit in digits]
