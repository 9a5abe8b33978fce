"""Lists that hold tensors: as one tensor, from which gradients find their way back to each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy

from ..errors import DataError
from . import backend
from .incoming import as_array
from .lent import Lent
from .namespace import namespace

if TYPE_CHECKING:
    from .tensor import Tensor

DEEPEST = 64
"""Lists within lists, as far as NumPy has axes."""


def holds_tensors(value: list[Any] | tuple[Any, ...]) -> bool:
    """Whether there are tensors in a list, or in lists in it."""
    for item in value:
        kind = item.__class__
        if kind is float or kind is int:
            continue
        if isinstance(item, Lent) or (isinstance(item, (list, tuple)) and holds_tensors(item)):
            return True
    return False


def joined(value: list[Any] | tuple[Any, ...]) -> Tensor:
    """A nested list in which there are tensors, stacked; Python's numbers take the dtype of what stands beside them.

    Raises DataError for ragged lists, DtypeError for what is no number.
    """
    value = _with_arrays(value)
    parts = list(_leaves(value))
    device: str = next(x.device for x in parts if isinstance(x, Lent))  # type: ignore[attr-defined]
    kinds = {str(kind): kind for kind in (x.dtype if hasattr(x, "dtype") else type(x)(0) for x in parts)}
    dtype = numpy.result_type(*kinds.values())

    def stacked(part: Any) -> Any:
        if isinstance(part, list):
            return namespace.stack([stacked(item) for item in part])
        return part if hasattr(part, "dtype") else backend.send(numpy.asarray(part, dtype), device)

    try:
        made: Tensor = stacked(value)
    except (ValueError, OverflowError) as error:
        raise DataError(f"cannot make a tensor of this list: {error}") from None
    return made


def _with_arrays(value: Any, depth: int = 0) -> Any:
    """The same nest of lists with an array for what is neither tensor nor number."""
    if isinstance(value, (list, tuple)):
        if depth == DEEPEST:
            raise DataError(f"cannot make a tensor of this list: it has more than {DEEPEST} levels.")
        return [_with_arrays(item, depth + 1) for item in value]
    plain = isinstance(value, (bool, int, float)) and not isinstance(value, numpy.generic)
    return value if plain or isinstance(value, Lent) else as_array(value, "an element of a list")


def _leaves(value: Any) -> Iterator[Any]:
    """Everything in a nested list that is no list."""
    if isinstance(value, list):
        for item in value:
            yield from _leaves(item)
    else:
        yield value
