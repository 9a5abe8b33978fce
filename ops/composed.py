"""Functions of NumPy that are a few steps of the primitives: they have their gradients from those."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..engine.namespace import namespace, namespace_on
from ..engine.tensor import Tensor, tensor
from ..errors import ShapeError
from .arithmetic import multiply
from .elementary import sqrt
from .linalg import einsum, matmul
from .reduction import argsort, max, min, running_product, var
from .shapes import broadcast_to, concatenate, getitem, reshape, transpose

composed: dict[str, Callable[..., Tensor]] = {}
"""By name."""


def _composed(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Known to rules, and to NumPy's function of that name."""
    composed[function.__name__] = function
    setattr(namespace, function.__name__, function)
    return function


def _given(x: Any) -> Any:
    return x if hasattr(x, "shape") else tensor(x)


@_composed
def std(x: Any, axis: Any = None, ddof: int = 0, keepdims: bool = False) -> Tensor:
    """Standard deviation over the axes `axis`: the root of the variance. At 0 its gradient is infinite."""
    return sqrt(var(x, axis, ddof, keepdims))


@_composed
def ptp(x: Any, axis: Any = None, keepdims: bool = False) -> Tensor:
    """The greatest less the least over the axes `axis`."""
    return max(x, axis, keepdims) - min(x, axis, keepdims)


@_composed
def ravel(x: Any) -> Tensor:
    """The elements in row-major order along one axis."""
    return reshape(x, -1)


@_composed
def moveaxis(x: Any, source: int, destination: int) -> Tensor:
    """The axis `source` at the place `destination`; the others keep their order."""
    x = _given(x)
    order = [i for i in range(len(x.shape)) if i != source % len(x.shape)]
    order.insert(destination % len(x.shape), source % len(x.shape))
    return transpose(x, order)


@_composed
def swapaxes(x: Any, axis1: int, axis2: int) -> Tensor:
    """Two axes exchanged."""
    x = _given(x)
    order = list(range(len(x.shape)))
    order[axis1], order[axis2] = order[axis2], order[axis1]
    return transpose(x, order)


@_composed
def outer(a: Any, b: Any) -> Tensor:
    """The product of each element of a with each of b: a matrix."""
    return multiply(reshape(a, (-1, 1)), reshape(b, (1, -1)))


@_composed
def dot(a: Any, b: Any) -> Tensor:
    """The product of matrices and vectors, as `a @ b`; with a single number the product. b: of two axes at most."""
    a, b = _given(a), _given(b)
    if not (a.shape and b.shape):
        return multiply(a, b)
    if len(b.shape) > 2:
        raise ShapeError(f"dot takes b of two axes at most, not of shape {tuple(b.shape)}: use matmul or einsum.")
    return matmul(a, b)


@_composed
def trace(x: Any) -> Tensor:
    """The sum of the diagonal of a matrix."""
    return einsum("ii->", x)


@_composed
def diagonal(x: Any) -> Tensor:
    """The diagonal of a matrix."""
    return einsum("ii->i", x)


@_composed
def diff(x: Any, axis: int = -1) -> Tensor:
    """Each element less the one before, along `axis`."""
    x = _given(x)
    before = (slice(None),) * (axis % len(x.shape))
    return getitem(x, (*before, slice(1, None))) - getitem(x, (*before, slice(None, -1)))


@_composed
def take(x: Any, indices: Any, axis: int | None = None) -> Tensor:
    """The elements, or with `axis` the parts along it, at these indices."""
    x = ravel(x) if axis is None else _given(x)
    return getitem(x, ((slice(None),) * ((axis or 0) % len(x.shape)) + (indices,)))


@_composed
def take_along_axis(x: Any, indices: Any, axis: int = -1) -> Tensor:
    """Elements by their places along `axis`, as `argsort` gives them."""
    x, indices = _given(x), _given(indices)
    at: list[Any] = []
    for i, n in enumerate(indices.shape):
        along = [1] * len(indices.shape)
        along[i] = n
        at.append(indices if i == axis % len(x.shape) else reshape(_counted(x, n), along))
    return getitem(x, tuple(at))


def _counted(x: Any, n: int) -> Any:
    """0 … n - 1 on the device of x."""
    return namespace_on(x.device if isinstance(x, Tensor) else "cpu").arange(n)


@_composed
def sort(x: Any, axis: int = -1) -> Tensor:
    """The elements in ascending order along `axis`; the gradient goes back to where each came from."""
    return take_along_axis(x, argsort(x, axis), axis)


@_composed
def cumprod(x: Any, axis: int | None = None) -> Tensor:
    """The products of the first elements along `axis` (of the flattened array by default)."""
    x, axis = (ravel(x), 0) if axis is None else (_given(x), axis)
    return moveaxis(running_product(namespace, moveaxis(x, axis, -1)), -1, axis)


@_composed
def tile(x: Any, reps: int | tuple[int, ...]) -> Tensor:
    """x repeated `reps` times along each axis, as a whole."""
    x, times = _given(x), (reps,) if isinstance(reps, int) else tuple(reps)
    shape = (1,) * (len(times) - len(x.shape)) + tuple(x.shape)
    times = (1,) * (len(shape) - len(times)) + times
    spread = [n for pair in zip(times, shape, strict=True) for n in pair]
    apart = reshape(x, [n for length in shape for n in (1, length)])
    return reshape(broadcast_to(apart, shape=tuple(spread)), [t * n for t, n in zip(times, shape, strict=True)])


@_composed
def vstack(tensors: Any) -> Tensor:
    """Rows, or matrices, one below another."""
    return concatenate([reshape(x, (1, -1)) if len(_given(x).shape) < 2 else x for x in tensors], 0)


@_composed
def hstack(tensors: Any) -> Tensor:
    """Vectors one after another, or arrays side by side along their second axis."""
    tensors = [reshape(x, -1) if not _given(x).shape else x for x in tensors]
    return concatenate(tensors, 0 if len(_given(tensors[0]).shape) == 1 else 1)


namespace.shape = lambda x: tuple(_given(x).shape)
namespace.ndim = lambda x: len(_given(x).shape)
namespace.size = lambda x: int(_given(x).size)
