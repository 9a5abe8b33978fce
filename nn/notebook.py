"""Models and histories in a notebook."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from .. import drawing
from ..engine.markup import number, rendered
from ..errors import ChalkgradError, MissingExtraError
from .graph import listed
from .layers.activated import ACTIVATIONS, Activated
from .layers.base import Layer, Shape

if TYPE_CHECKING:
    from .hooks import History
    from .model import Model

ROWS = 12
"""How many epochs the table shows at most, beside the last."""

MOST = 300
"""How many points of a curve are drawn at most, about."""

LOG_SPAN = 10
"""A loss that spans more than this factor has a logarithmic axis."""

KINDS = (
    ("", "training", drawing.BLUE, False),
    ("val_", "validation", drawing.ORANGE, False),
    ("train_", "training, at the end", drawing.GREEN, True),
)
"""What the prefixes of a history's names mean, and how their curves are drawn."""

STEPS = ("run_eagerly", "jit_compile", "deterministic")
"""The settings of `compile` that say how a step is taken."""


def shown_epochs(count: int) -> list[int]:
    """The epochs (from 0) that the table shows of `count`: the first, every n-th, the last."""
    digits = (digit * 10**power for power in range(9) for digit in (1, 2, 5))
    every = next(n for n in digits if count // n <= ROWS)
    return sorted({0, *range(every - 1, count, every), count - 1})


# A model


def model_html(model: Model) -> str:
    """Layers with activations, output shapes and numbers of parameters, and how the model is compiled.

    Nothing is built for it: before, the shapes are what `infer_shapes` says, and there are no parameters yet.
    """
    shapes, unbuilt = model.shapes, ""
    if not model.built:
        unbuilt = "there are no weights until build(), or the first batch"
        try:
            shapes = model.infer_shapes()
        except ChalkgradError as raised:
            unbuilt = str(raised)
    counts: tuple[str, ...] = ()
    if model.built:
        count, trained = model.count_params(), sum(w.size for w in model.trainable_weights)
        size = sum(w.size * w.dtype.itemsize for w in model.weights)
        parameters = f"{count:,} parameters, {size / 1024:,.1f} KiB"
        counts = parameters, f"{trained:,} trainable", f"{count - trained:,} non-trainable"
    made = {call.part: shapes[listed(call.y)[0]] if shapes else None for call in reversed(model.calls)}
    layers = [_layer(part, made[number], model.built) for number, part in enumerate(model.parts)]
    return rendered(
        "nn/model.html", type=type(model).__name__, name=repr(model.name), dtype=model.dtype, device=model.device,
        unbuilt=unbuilt, layers=layers, samples=shapes[0] if shapes else "", counts=counts, settings=_settings(model),
    )  # fmt: skip


def _layer(layer: Layer, shape: Shape | None, built: bool) -> dict[str, str]:
    """What the table says of a layer. text: the equation of its σ, from the registry; "" for one of the user's own."""
    lengths = "–" if shape is None else f"({', '.join(map(str, (None, *shape)))}{'' if shape else ','})"
    told = {
        "name": layer.name,
        "type": type(getattr(layer, "network", layer)).__name__,
        "shape": lengths,
        "activation": "",
        "text": "",
    }
    told["parameters"] = f"{layer.parameters:,}" if built else "–"
    if isinstance(layer, Activated) and layer.function is not None:
        own, known = getattr(layer.function, "__name__", type(layer.function).__name__), layer.activation or ""
        told["activation"], primitive = known or own, ACTIVATIONS.get(known)
        told["text"] = primitive.text if primitive else ""
    return told


def _settings(model: Model) -> list[list[str]]:
    """How the model is compiled; empty where it is not."""
    optimizer, loss = model.optimizer, model.loss
    if optimizer is None or loss is None:
        return []
    config = {name: value for name, value in optimizer.config().items() if value is not None}
    if not optimizer.use_ema:
        config = {name: value for name, value in config.items() if "ema" not in name}
    settings = ", ".join(f"{name}={value}" for name, value in config.items() if name not in ("name", "learning_rate"))
    fused = f", fused with {loss.fuses}" if model.layers and model.fuses_loss else ""
    logits = ", from logits" if loss.from_logits else ""
    smoothed = f", label smoothing {number(loss.label_smoothing)}" if loss.label_smoothing else ""
    done = f"{optimizer.updates:,} update{'s' * (optimizer.updates != 1)}"
    return [
        ["optimizer", f"{type(optimizer).__name__}({settings})"],
        ["learning rate", f"{optimizer.schedule}: {number(optimizer.learning_rate)} after {done}"],
        ["loss", f"{loss.name}{fused}{logits}{smoothed}"],
        ["metrics", ", ".join(metric.name for metric in model.metrics) or "none"],
        ["steps", ", ".join(f"{name}={getattr(model, name)!r}" for name in STEPS)],
    ]


# A history


def history_html(history: History) -> str:
    """The values of the first, every n-th and the last epoch, and curves of all."""
    count, names = len(history.epoch), list(history.numbers)
    charts, missing = _charts(history, _bases(names))
    every = math.ceil(count / MOST)
    epochs = [
        (str(history.epoch[i] + 1), [_value(history.history[name][i]) for name in names])
        for i in (shown_epochs(count) if count else ())
    ]
    return rendered(
        "nn/history.html", count=count, names=names, gaps=list(_gaps(history)), charts=charts, missing=missing,
        epochs=epochs, thinned=f"the curves take one epoch in {every}" if every > 1 and charts else "",
    )  # fmt: skip


def history_markdown(history: History) -> str:
    """The same table in Markdown."""
    names = list(history.numbers)
    lines = [
        "| epoch | " + " | ".join(name.replace("|", "\\|") for name in names) + " |",
        "|--:" * (len(names) + 1) + "|",
    ]
    for i in shown_epochs(len(history.epoch)) if history.epoch else []:
        lines.append(f"| {history.epoch[i] + 1} | " + " | ".join(number(history.history[n][i]) for n in names) + " |")
    return "\n".join(lines)


def _value(value: float) -> tuple[str, bool]:
    """A value as it is written, and whether it is finite."""
    return number(float(value)), math.isfinite(value)


def _bases(names: Sequence[str]) -> list[str]:
    """What is measured, without the prefixes that tell of which samples."""
    return list(dict.fromkeys(name.removeprefix("val_").removeprefix("train_") for name in names))


def _charts(history: History, bases: Sequence[str]) -> tuple[list[str], str]:
    """The curves of what is measured, and what to say where they cannot be drawn."""
    try:
        return [drawn for drawn in (_chart(history, base) for base in bases) if drawn], ""
    except MissingExtraError as error:
        return [], str(error)


def _chart(history: History, base: str) -> str:
    """The curves of one thing that is measured; of a long history every n-th epoch and the last."""
    epochs = [epoch + 1 for epoch in history.epoch]
    chosen = sorted({*range(0, len(epochs), math.ceil(len(epochs) / MOST)), len(epochs) - 1})
    curves = [
        drawing.Curve(label, [epochs[i] for i in chosen], [history.history[prefix + base][i] for i in chosen], colour,
                      dashed=dashed)
        for prefix, label, colour, dashed in KINDS
        if prefix + base in history.history
    ]  # fmt: skip
    values = [value for curve in curves for value in curve.y if math.isfinite(value)]
    if not values:
        return ""
    logarithmic = "loss" in base and min(values) > 0 and max(values) > LOG_SPAN * min(values)
    title = f"{base}, logarithmic" if logarithmic else base
    figure, (axes,) = drawing.panels(4.2, [2.2])
    drawing.plot(axes, curves, title=title, x="epoch", logarithmic="y" if logarithmic else "", shown="{:g}".format)
    return drawing.inline_svg(figure, f"{title} by epoch. " + " ".join(map(_told, curves)))


def _told(curve: drawing.Curve) -> str:
    finite = [value for value in curve.y if math.isfinite(value)]
    return f"{curve.name}: from {finite[0]:.4g} to {finite[-1]:.4g}." if finite else f"{curve.name}: never finite."


def _gaps(history: History) -> Iterator[str]:
    """Which values are not finite, and since which epoch."""
    for name, values in history.numbers.items():
        places = [i for i, value in enumerate(values) if not math.isfinite(value)]
        if places:
            first = history.epoch[places[0]] + 1
            yield f"{name}: {len(places):,} not finite, the first in epoch {first}"
