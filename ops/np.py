"""NumPy's names, for functions that were written for NumPy: `from chalkgrad import np`.

Given tensors, a function that is ours computes on the tape; any other is NumPy's own, which refuses where a gradient
would be lost. Given none, NumPy's function gives an array, a constant. What makes an array of no other (`zeros`,
`arange`, `array`, …) makes a tensor of NumPy's dtype. Constants, dtypes and `np.random` are NumPy's.
"""

from __future__ import annotations

from functools import wraps
from types import ModuleType
from typing import Any

import numpy

from ..engine.namespace import makers
from ..engine.nested import holds_tensors
from ..engine.numpy_functions import apply_function, counterpart
from ..engine.tensor import Tensor, tensor

__all__: list[str] = []


def _of(home: Any, name: str) -> Any:
    """What NumPy's name means in this namespace; `home` is the module of NumPy that has it."""
    theirs = getattr(home, name)
    own = counterpart(theirs) if callable(theirs) and not isinstance(theirs, type) else None
    if own is None:
        return theirs

    @wraps(own)
    def function(*arguments: Any, **options: Any) -> Any:
        if holds_tensors((*arguments, *options.values())):
            return apply_function(theirs, arguments, options, computes=True)
        return theirs(*arguments, **options)

    return function


def array(data: Any, dtype: Any = None, **options: Any) -> Tensor:
    """A tensor of numbers, of lists of them, or of lists of tensors, in NumPy's dtype."""
    if isinstance(data, Tensor) or (isinstance(data, (list, tuple)) and holds_tensors(data)):
        return tensor(data, dtype=dtype)
    return tensor(numpy.asarray(data, dtype))


asarray = array
"""The same."""


def _made(name: str) -> Any:
    """What makes a tensor of numbers; `full` and `linspace` also of tensors."""
    own = counterpart(getattr(numpy, name))

    def function(*arguments: Any, **options: Any) -> Tensor:
        if own and holds_tensors((*arguments, *options.values())):
            return own(*arguments, **options)  # type: ignore[no-any-return]
        return makers[name]("cpu", *arguments, **options)  # type: ignore[no-any-return]

    return wraps(getattr(numpy, name))(function)


class _Part(ModuleType):
    """A module of NumPy's under the same names: `np.linalg`, `np.fft`."""

    def __init__(self, theirs: ModuleType) -> None:
        super().__init__(f"{__name__}.{theirs.__name__.partition('.')[2]}", theirs.__doc__)
        self._theirs = theirs

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        made = _of(self._theirs, name)
        setattr(self, name, made)
        return made


linalg, fft = _Part(numpy.linalg), _Part(numpy.fft)


def __getattr__(name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(name)
    globals()[name] = made = _made(name) if name in makers else _of(numpy, name)
    return made


def __dir__() -> list[str]:
    return sorted({*dir(numpy), *__all__})
