"""What a captured function is given and gives: tensors in nests of containers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy

from ..engine.tensor import Tensor
from ..engine.untaped import entered, untaped

PLAIN = (bool, int, float, complex, str, bytes, type(None), numpy.generic)


def tensors(value: Any) -> list[Tensor]:
    """The tensors in a nest of tuples, lists and dicts, in their order."""
    return [x for x in leaves(value) if isinstance(x, Tensor)]


def leaves(value: Any) -> Iterator[Any]:
    """Everything in a nest of tuples, lists and dicts that is none of these."""
    if isinstance(value, (tuple, list)):
        for item in value:
            yield from leaves(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from leaves(item)
    else:
        yield value


def rebuilt(value: Any, change: Callable[[Any], Any]) -> Any:
    """A nest of the same kinds of containers with every leaf changed."""
    if isinstance(value, dict):
        made = value.copy()
        made.update({key: rebuilt(item, change) for key, item in value.items()})
        return made
    if isinstance(value, (tuple, list)):
        items = [rebuilt(item, change) for item in value]
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    return change(value)


def signature(args: Any, kwargs: Any) -> tuple[list[Any], Any]:
    """The arrays of the tensors among the arguments, each once, and a key for what a program depends on."""
    arrays: dict[int, Any] = {}
    parts: list[Any] = []
    for value in args:
        _describe(value, arrays, parts)
    for name in kwargs:
        parts.append(name)
        _describe(kwargs[name], arrays, parts)
    if entered and untaped():
        parts.append("no_grad")
    return list(arrays.values()), tuple(parts)


def _describe(value: Any, arrays: dict[int, Any], parts: list[Any]) -> None:
    if value.__class__ is Tensor:
        array = value._data
        if id(array) in arrays:
            parts.append(("same", list(arrays).index(id(array)), value._requires_grad, value._grad is None))
            return
        arrays[id(array)] = array
        place = "cpu" if array.__class__ is numpy.ndarray else value.device
        parts.append((array.shape, array.dtype, array.strides, place, value._requires_grad, value._grad is None))
    elif isinstance(value, (tuple, list, dict)):
        items = value.values() if isinstance(value, dict) else value
        names = [(type(key), key) for key in value] if isinstance(value, dict) else [len(value)]
        parts.append((type(value), *names))
        for item in items:
            _describe(item, arrays, parts)
    elif isinstance(value, PLAIN):
        parts.append((type(value), repr(value)))  # 0.0 and -0.0 are equal, and not the same
    elif hasattr(value, "strides"):
        parts.append(type(value))  # an array: such calls run on the tape
    else:
        parts.append((type(value), id(value), _Kept(value)))


class _Kept:
    """Keeps an object alive, so that its id stays its own; equal to every other."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Kept)

    def __hash__(self) -> int:
        return 0


def holds_arrays(value: Any) -> bool:
    """Whether arrays, rather than tensors, are among the leaves."""
    return any(
        hasattr(x, "strides") and hasattr(x, "dtype") and not isinstance(x, (Tensor, *PLAIN)) for x in leaves(value)
    )
