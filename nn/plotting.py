"""A model drawn as a graph: a box a layer, a line a value, from the inputs at the top to the outputs."""

from __future__ import annotations

import html
import os
from pathlib import Path
from typing import TYPE_CHECKING

from ..engine.files import write_file
from ..engine.streams import say
from .graph import listed

if TYPE_CHECKING:
    from .model import Model

WIDTH, HEIGHT, ACROSS, DOWN = 8, 18, 24, 34
"""Pixels of a character and of a line of text, and between boxes side by side and one below another."""


def plot_model(
    model: Model,
    to_file: str | os.PathLike[str] = "model.svg",
    show_shapes: bool = False,
    show_layer_names: bool = True,
) -> Path:
    """Draw the model as a graph into an SVG file; returns its path, whose ending is .svg whatever was given.

    show_shapes: with the shapes of the batches that go out. show_layer_names: with names, not types alone.
    """
    path = Path(to_file)
    if path.suffix.lower() != ".svg":
        path = path.with_suffix(".svg")
        say(f"plot_model writes SVG: {path}")
    write_file(path, drawn(model, show_shapes, show_layer_names))
    return path


def drawn(model: Model, shapes: bool = False, names: bool = True) -> str:
    """The picture, as SVG."""
    model.build()
    boxes: list[tuple[int, list[str]]] = []
    lines: list[tuple[int, int]] = []
    maker: dict[int, int] = {}

    def box(rank: int, name: str, kind: str, values: list[int]) -> int:
        told = [f"{name} ({kind})" if names else kind]
        told += [str((None, *model.shapes[value])) for value in values] if shapes else []
        boxes.append((rank, told))
        maker.update(dict.fromkeys(values, len(boxes) - 1))
        return len(boxes) - 1

    for number, name in zip(model.inputs_at, model.input_names, strict=True):
        box(0, name, "Input", [number])
    for call in model.calls:
        sources = [maker[value] for value in call.taken()]
        kind = type(getattr(call.layer, "network", getattr(call.layer, "model", call.layer))).__name__
        here = box(1 + max(boxes[source][0] for source in sources), call.layer.name, kind, listed(call.y))
        lines += [(source, here) for source in sources]
    return _svg(boxes, lines)


def _svg(boxes: list[tuple[int, list[str]]], lines: list[tuple[int, int]]) -> str:
    rows: dict[int, list[int]] = {}
    for number, (rank, _) in enumerate(boxes):
        rows.setdefault(rank, []).append(number)
    sizes = [(WIDTH * max(map(len, told)) + 20, HEIGHT * len(told) + 12) for _, told in boxes]
    widths = {rank: sum(sizes[n][0] + ACROSS for n in row) for rank, row in rows.items()}
    whole, top, places = max(widths.values()), float(DOWN), dict[int, tuple[float, float]]()
    for rank in sorted(rows):
        left = (whole - widths[rank] + ACROSS) / 2
        for number in rows[rank]:
            places[number] = left, top
            left += sizes[number][0] + ACROSS
        top += max(sizes[number][1] for number in rows[rank]) + DOWN
    parts = []
    for a, b in lines:
        x, y = places[a][0] + sizes[a][0] / 2, places[a][1] + sizes[a][1]
        to, below = places[b][0] + sizes[b][0] / 2, places[b][1]
        bend = (below - y) / 2
        parts.append(f'<path d="M{x:g} {y:g}C{x:g} {y + bend:g} {to:g} {below - bend:g} {to:g} {below:g}"/>')
    for number, (_, told) in enumerate(boxes):
        (x, y), (width, height) = places[number], sizes[number]
        parts.append(f'<rect x="{x:g}" y="{y:g}" width="{width}" height="{height}" rx="5"/>')
        for line, text in enumerate(told):
            at = f'x="{x + width / 2:g}" y="{y + 19 + HEIGHT * line:g}"'
            parts.append(f"<text {at}>{html.escape(text)}</text>")
    style = "path,rect{fill:none;stroke:#666}rect{fill:#f4f4f4}text{font:13px monospace;text-anchor:middle}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {whole:g} {top:g}" width="{whole:g}" height="{top:g}">'
        f"<style>{style}</style>{''.join(parts)}</svg>\n"
    )
