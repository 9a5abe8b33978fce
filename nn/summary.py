"""The table that `summary()` prints."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .graph import listed
from .nested import Body

if TYPE_CHECKING:
    from .model import Model


def summary_text(model: Model) -> str:
    """Layers with output shapes, numbers of parameters and, in a graph, what each is connected to, as text."""
    rows = [("layer (type)", "output shape", "parameters", "connected to")[: 4 if model._is_graph else 3]]
    rows += table(model)
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    sides = "<<><"  # the numbers stand on the right
    lines = [
        "  ".join(f"{cell:{side}{width}}" for cell, side, width in zip(row, sides, widths, strict=False)).rstrip()
        for row in rows
    ]
    rule = "─" * (sum(widths) + 2 * len(widths) - 2)
    total = model.count_params()
    bytes_each = sum(w.size * w.dtype.itemsize for w in model.weights)
    trained = sum(w.size for w in model.trainable_weights)
    foot = f"{total:,} parameters, {bytes_each / 1024:,.1f} KiB in {model.dtype}"
    foot += f"\n{trained:,} trainable, {total - trained:,} non-trainable"
    return "\n".join((f"model {model.name!r}", rule, lines[0], rule, *lines[1:], rule, foot))


def table(model: Model) -> list[tuple[str, ...]]:
    """A row for each layer: its name and type, the shape of a batch of outputs, its parameters, its sources."""
    if model.parts and isinstance(model.parts[0], Body):
        inner = model.parts[0]._inner.values()
        return [(f"{each.name} ({type(each).__name__})", "?", f"{each.parameters:,}") for each in inner]
    names = dict(zip(model.inputs_at, model.input_names, strict=True))
    found: dict[int, tuple[str, str, list[str]]] = {}
    for call in model.calls:
        layer = call.layer
        kind = type(getattr(layer, "network", layer)).__name__
        shapes = ", ".join(_told(model.shapes[number]) for number in listed(call.y))
        sources = found.setdefault(call.part, (f"{layer.name} ({kind})", shapes, []))[2]
        sources += [names[number] for number in call.taken()]
        names |= dict.fromkeys(listed(call.y), layer.name)
    rows: list[tuple[str, ...]] = []
    for number, part in enumerate(model.parts):
        name, shapes, sources = found[number]
        rows.append((name, shapes, f"{part.parameters:,}", ", ".join(sources)))
    if not model._is_graph:
        return [row[:3] for row in rows]
    inputs = zip(model._input_places, model.inputs_at, model.input_names, strict=True)
    for place, value, name in sorted(inputs):
        rows.insert(place, (f"{name} (InputLayer)", _told(model.shapes[value]), "0", ""))
    return rows


def _told(shape: tuple[int, ...]) -> str:
    return f"({', '.join(map(str, (None, *shape)))}{'' if shape else ','})"
