"""Windows that slide over the axes of space: how many there are, what surrounds them, and how they are looked at.

An array here is (batch, *space, channels). A window has `size` elements along each axis of space, `dilation` apart;
the next one begins `stride` further on. `padding` is the width of the border (before, after) on each axis.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any

from ..checks import is_whole
from ..engine import backend
from ..engine.backend import Array, Namespace
from ..engine.primitive import Primitive
from ..engine.tensor import Tensor, tensor
from ..errors import ShapeError, UsageError, unknown_name

Lengths = tuple[int, ...]
Padding = tuple[tuple[int, int], ...]
AXES = {1: "length", 2: "height, width", 3: "depth, height, width"}
PADDINGS = ("valid", "same")

IN_GRADIENTS = "it stands in gradients alone, and a file holds what a model gives"
"""Why a primitive has no form in ONNX."""


def per_axis(what: str, name: str, value: Any, axes: int, least: int = 1) -> Lengths:
    """One whole number of `least` or more for each axis of space; a single one is meant for all of them."""
    values = tuple(value) if isinstance(value, (tuple, list)) else (value,) * axes
    if not all(is_whole(n) and n >= least for n in values) or len(values) != axes:
        each = "" if axes == 1 else f", or one for each of {AXES.get(axes, f'{axes} axes')}"
        raise UsageError(f"{what}({name}={value!r}): it is a whole number of {least} or more{each}.")
    return tuple(map(int, values))


def padding_of(what: str, padding: Any, lengths: Lengths, size: Lengths, stride: Lengths, dilation: Lengths) -> Padding:
    """The border that "valid" (none), "same" (⌈length / stride⌉ windows, as Keras has it), a width, or pairs mean."""
    axes = len(lengths)
    if isinstance(padding, str):
        if padding not in PADDINGS:
            raise unknown_name("padding", padding, PADDINGS)
        return tuple(
            _same(n, k, s, d) if padding == "same" else (0, 0)
            for n, k, s, d in zip(lengths, size, stride, dilation, strict=True)
        )
    given = padding if isinstance(padding, (tuple, list)) else (padding,) * axes
    pairs = [pair if isinstance(pair, (tuple, list)) else (pair, pair) for pair in given]
    if len(pairs) != axes or any(len(pair) != 2 for pair in pairs):
        raise UsageError(
            f"{what}(padding={padding!r}): it is 'valid', 'same', a width, or for each of {AXES.get(axes, axes)} "
            "a width or a pair (before, after)."
        )
    return tuple((before, after) for before, after in (per_axis(what, "padding", pair, 2, 0) for pair in pairs))


def _same(length: int, size: int, stride: int, dilation: int) -> tuple[int, int]:
    total = max((-(-length // stride) - 1) * stride + reach(size, dilation) - length, 0)
    check_border(total, length)
    return total // 2, total - total // 2


def check_border(width: int, length: int) -> None:
    """Raise ShapeError for a border that is far longer than the axis within: all of it would be computed with."""
    if width > 100 + 10 * length:
        raise ShapeError(
            f"a window reaches {width} beyond an axis of length {length}: take a smaller size or dilation, or "
            "padding='valid'."
        )


def reach(size: int, dilation: int) -> int:
    """How many elements a window spans, from its first to its last."""
    return (size - 1) * dilation + 1


def output_lengths(
    lengths: Sequence[int], size: Lengths, stride: Lengths, padding: Padding, dilation: Lengths, what: str = "window"
) -> Lengths:
    """How many windows there are along each axis; raises ShapeError where a window is larger than the padded input."""
    found = []
    for n, k, s, (before, after), d in zip(lengths, size, stride, padding, dilation, strict=True):
        if reach(k, d) > n + before + after:
            raise ShapeError(
                f"{what}: a window of {size}{f' with dilation {dilation}' if max(dilation) > 1 else ''} is larger than "
                f"the input of {tuple(lengths)} with its border of {padding}: take a smaller one, or padding='same'."
            )
        found.append((n + before + after - reach(k, d)) // s + 1)
    return tuple(found)


def bordered(xp: Namespace, x: Array, padding: Padding, value: float = 0.0) -> Array:
    """x within a border of `value`."""
    if not any(map(any, padding)):
        return x
    lengths = [n + before + after for n, (before, after) in zip(x.shape[1:-1], padding, strict=True)]
    make = xp.zeros if not value else xp.full
    around = make((x.shape[0], *lengths, x.shape[-1]), *((value,) if value else ()), dtype=x.dtype)
    around[within(padding, x.shape[1:-1])] = x
    return around


def within(padding: Padding, lengths: Lengths) -> tuple[slice, ...]:
    """The place of the input inside of its border."""
    inner = (slice(before, before + n) for (before, _), n in zip(padding, lengths, strict=True))
    return (slice(None), *inner)


def taps(size: Lengths, stride: Lengths, dilation: Lengths, count: Lengths) -> Iterator[tuple[Lengths, Any]]:
    """Each place in a window, and where in the bordered input the elements lie that all `count` windows have there."""
    for tap in itertools.product(*map(range, size)):
        yield (
            tap,
            (
                slice(None),
                *(
                    slice(a * d, a * d + (n - 1) * s + 1, s)
                    for a, s, d, n in zip(tap, stride, dilation, count, strict=True)
                ),
            ),
        )


def windows(p: Array, size: Lengths, stride: Lengths, dilation: Lengths, count: Lengths) -> Array:
    """A view (batch, *count, *size, channels) of the bordered input p: all windows, without a copy."""
    first, *space, last = p.strides
    shape = (p.shape[0], *count, *size, p.shape[-1])
    steps = (t * s for t, s in zip(space, stride, strict=True))
    return backend.strided(p, shape, (first, *steps, *(t * d for t, d in zip(space, dilation, strict=True)), last))


def spatial(what: str, x: Any, channels_first: bool = False) -> Any:
    """The operand, which has a batch axis, channels and one or two axes of space between; raises ShapeError else."""
    x = x if isinstance(x, Tensor) or hasattr(x, "shape") else tensor(x)
    if len(x.shape) not in (3, 4):
        order = (
            ("channels, height, width" if channels_first else "height, width, channels"),
            ("channels, length" if channels_first else "length, channels"),
        )
        raise ShapeError(f"{what} takes x of shape (batch, {order[0]}) or (batch, {order[1]}), not {tuple(x.shape)}.")
    return x


def channels_last(transpose: Primitive, x: Any, channels_first: bool) -> Any:
    """x with its channels at the end."""
    return transpose(x, (0, *range(2, len(x.shape)), 1)) if channels_first else x


def as_given(transpose: Primitive, channels_first: bool) -> Any:
    """What brings a result's channels back to where the operand had them."""
    if not channels_first:
        return None
    return lambda y: transpose(y, (0, len(y.shape) - 1, *range(1, len(y.shape) - 1)))


def elements(lengths: Lengths) -> int:
    """How many elements a window or a map has."""
    return math.prod(lengths)
