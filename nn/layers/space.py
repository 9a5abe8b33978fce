"""What layers with axes of space have in common: where the channels are, and the borders that Keras knows by name."""

from __future__ import annotations

from typing import Any

from ...errors import ShapeError, unknown_name
from .base import Layer, Shape

FORMATS = ("channels_last", "channels_first")
NAMES = {1: ("length",), 2: ("height", "width")}


def data_format_of(value: str | None) -> str:
    """The order of a sample's axes: "channels_last", which None means, or "channels_first"."""
    if value is not None and value not in FORMATS:
        raise unknown_name("data_format", value, FORMATS)
    return value or FORMATS[0]


def padding_named(value: Any, known: tuple[str, ...] = ("valid", "same")) -> str:
    """The border's name in lower case; raises UsageError for one that is none."""
    name = value.lower() if isinstance(value, str) else value
    if name not in known:
        raise unknown_name("padding", value, known)
    return str(name)


def taken_apart(layer: Layer, input_shape: Shape, axes: int, data_format: str) -> tuple[Shape, int]:
    """Lengths in space and number of channels of such samples; raises ShapeError where they have other axes."""
    first = data_format == "channels_first"
    if len(input_shape) != axes + 1:
        names = ("channels", *NAMES[axes]) if first else (*NAMES[axes], "channels")
        alone = len(input_shape) == axes
        target = ((1, *input_shape) if first else (*input_shape, 1)) if alone else names
        raise ShapeError(
            f"{layer.name}: {type(layer).__name__} takes batches of shape {_listed(('batch', *names))}, not "
            f"{_listed(('batch', *input_shape))}: add Reshape({_listed(target)}) before it."
        )
    return (input_shape[1:], input_shape[0]) if first else (input_shape[:-1], input_shape[-1])


def put_together(lengths: Shape, channels: int, data_format: str) -> Shape:
    """The shape of a sample of these lengths."""
    return (channels, *lengths) if data_format == "channels_first" else (*lengths, channels)


def _listed(parts: tuple[Any, ...]) -> str:
    return f"({', '.join(map(str, parts))}{',' if len(parts) == 1 else ''})"
