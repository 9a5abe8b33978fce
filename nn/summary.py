"""The table that `summary()` prints."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .model import Model


def summary_text(model: Model) -> str:
    """Layers with output shapes and numbers of parameters, as text."""
    rows = [("layer (type)", "output shape", "parameters")]
    for call in model.calls:
        layer, shape = call.layer, model.shapes[call.y if isinstance(call.y, int) else call.y[0]]
        lengths = ", ".join(map(str, (None, *shape)))
        rows.append(
            (f"{layer.name} ({type(layer).__name__})", f"({lengths}{'' if shape else ','})", f"{layer.parameters:,}")
        )
    widths = [max(len(row[i]) for row in rows) for i in range(3)]
    lines = [f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c:>{widths[2]}}" for a, b, c in rows]
    rule = "─" * len(lines[0])
    total = sum(layer.parameters for layer in model.parts)
    bytes_each = sum(w.size * w.dtype.itemsize for w in model.weights)
    trained = sum(w.size for w in model.trainable_weights)
    foot = f"{total:,} parameters, {bytes_each / 1024:,.1f} KiB in {model.dtype}"
    foot += f"\n{trained:,} trainable, {total - trained:,} non-trainable"
    return "\n".join((f"model {model.name!r}", rule, lines[0], rule, *lines[1:], rule, foot))
