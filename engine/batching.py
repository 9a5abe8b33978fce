"""vmap: a function of single examples as one of batches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..errors import ShapeError, UsageError
from .namespace import namespace
from .tensor import Tensor, tensor

Axes = int | None | Sequence[int | None]


def vmap(f: Callable[..., Any], in_axes: Axes = 0, out_axes: int = 0) -> Callable[..., Any]:
    """The function that calls f on each example of a batch, and stacks what it gives along `out_axes`.

    in_axes: the axis of each argument along which its examples lie, one for all arguments or one for each; None hands
    an argument on whole. f returns a tensor, or a tuple or list of them. Keyword arguments are handed on. It composes
    with `grad`, `jacobian` and itself; gradients of single examples are vmap(grad(f)).
    It calls f once for each example, whatever f does, so it saves writing, not time: what f is made of takes batches
    itself, faster. Raises ShapeError where batches differ in length or are empty.
    """

    def batched(*xs: Any, **options: Any) -> Any:
        axes = list(in_axes) if isinstance(in_axes, Sequence) else [in_axes] * len(xs)
        if len(axes) != len(xs):
            raise UsageError(f"vmap: in_axes names {len(axes)} axes for {len(xs)} arguments: give one for each.")
        rows = [x if axis is None else _first(x, axis) for x, axis in zip(xs, axes, strict=True)]
        lengths = {len(x) for x, axis in zip(rows, axes, strict=True) if axis is not None}
        if len(lengths) != 1 or 0 in lengths:
            shapes = ", ".join(str(x.shape) for x, axis in zip(rows, axes, strict=True) if axis is not None)
            raise ShapeError(
                f"vmap takes batches of one length of 1 or more, axis first: {shapes or 'none was named'}."
            )
        results = [
            f(*(x if axis is None else x[i] for x, axis in zip(rows, axes, strict=True)), **options)
            for i in range(lengths.pop())
        ]
        if isinstance(results[0], (tuple, list)):
            return type(results[0])(namespace.stack(parts, out_axes) for parts in zip(*results, strict=True))
        return namespace.stack(results, out_axes)

    return batched


def _first(x: Any, axis: int) -> Any:
    """As a tensor whose first axis is that one."""
    x = x if isinstance(x, Tensor) else tensor(x)
    return namespace.moveaxis(x, axis, 0) if axis else x
