"""What a captured function is given and gives: tensors in nests of containers, and what else a program depends on."""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Iterator
from typing import Any

import numpy

from ..tensor import Tensor

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
    return list(arrays.values()), tuple(parts)


def _describe(value: Any, arrays: dict[int, Any], parts: list[Any]) -> None:
    if value.__class__ is Tensor:
        array = value._data
        if id(array) in arrays:
            parts.append(("same", list(arrays).index(id(array)), value._requires_grad, value.grad is None))
            return
        arrays[id(array)] = array
        place = "cpu" if array.__class__ is numpy.ndarray else value.device
        parts.append((array.shape, array.dtype, array.strides, place, value._requires_grad, value.grad is None))
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


class Surroundings:
    """What a function's own names stand for: its closure, and the globals that it or a function in it names.

    A number or a string counts by its value, a tuple, list or dict by what it holds, anything else by its identity.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self._cells: tuple[types.CellType, ...] = ()
        self._globals: dict[str, Any] = {}
        self._names: list[str] = []
        if inspect.isfunction(function):
            self._cells = function.__closure__ or ()
            self._globals = function.__globals__
            self._names = sorted({n for n in _names(function.__code__) if n in self._globals})
        self._values = self._read()

    def unchanged(self) -> bool:
        """Whether they stand for what they stood for when this was made."""
        return all(map(_same, self._values, self._read()))

    def tensors(self) -> list[Tensor]:
        """The tensors among them."""
        return [x for value in self._values for x in leaves(value) if isinstance(x, Tensor)]

    def _read(self) -> list[Any]:
        found = [_content(cell) for cell in self._cells] + [self._globals.get(name) for name in self._names]
        return [_held(value) for value in found]


def _names(code: types.CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _names(constant)


def _held(value: Any) -> Any:
    """A container with what it holds; one that holds itself counts as what it is."""
    if not isinstance(value, (tuple, list, dict)):
        return value
    try:
        return value, tuple(leaves(value))
    except RecursionError:
        return value


def _same(before: Any, after: Any) -> bool:
    if before is after:
        return True
    if before.__class__ is not after.__class__:
        return False
    if isinstance(before, tuple):
        return len(before) == len(after) and all(map(_same, before, after))
    return isinstance(before, PLAIN) and repr(before) == repr(after)


def _content(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not filled yet
        return None
