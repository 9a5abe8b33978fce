"""The operators of ndarray, and the methods that are functions of their names; importing this adds them."""

from __future__ import annotations

from typing import Any

import numpy

from ._array import library, ndarray
from ._execute import execute
from ._state import SIGNATURES, signature


def _operator(name: str, swapped: bool = False, inplace: bool = False) -> Any:
    def operate(self: ndarray, other: Any) -> Any:
        if getattr(other, "__array_ufunc__", True) is None:
            return NotImplemented
        function = getattr(library(), name)
        return function(other, self) if swapped else function(self, other, *([self] if inplace else []))

    return operate


BINARY = {
    "add": "add", "sub": "subtract", "mul": "multiply", "truediv": "true_divide", "floordiv": "floor_divide",
    "mod": "remainder", "pow": "power", "and": "bitwise_and", "or": "bitwise_or", "xor": "bitwise_xor",
    "lshift": "left_shift", "rshift": "right_shift", "divmod": "divmod", "matmul": "matmul",
}  # fmt: skip
for short, long in BINARY.items():
    setattr(ndarray, f"__{short}__", _operator(long))
    setattr(ndarray, f"__r{short}__", _operator(long, swapped=True))
    if short not in ("divmod", "matmul"):
        setattr(ndarray, f"__i{short}__", _operator(long, inplace=True))
COMPARED = {"eq": "equal", "ne": "not_equal", "lt": "less", "le": "less_equal", "gt": "greater", "ge": "greater_equal"}
for short, long in COMPARED.items():
    setattr(ndarray, f"__{short}__", _operator(long))
for short, long in {"neg": "negative", "pos": "positive", "abs": "absolute", "invert": "invert"}.items():
    setattr(ndarray, f"__{short}__", lambda self, long=long: getattr(library(), long)(self))


def _method(name: str, parameters: list[list[Any]]) -> Any:
    """A method as the function of that name, or NumPy's method, with CuPy's parameters."""
    bound_to = signature(parameters)

    def method(self: ndarray, *args: Any, **kwargs: Any) -> Any:
        bound = bound_to.bind(*args, **kwargs)
        return getattr(library(), name)(self, *bound.args, **bound.kwargs)

    method.__name__ = name
    return method


DELEGATED = (
    "all any argmax argmin argpartition argsort clip compress conj conjugate cumprod cumsum diagonal max mean min "
    "nonzero prod ptp put ravel repeat round searchsorted std sum swapaxes trace var"
)
for name in DELEGATED.split():
    setattr(ndarray, name, _method(name, SIGNATURES["methods"][name]))


def _flatten(self: ndarray, order: str = "C") -> ndarray:
    """A copy along one axis."""
    return execute(numpy.ndarray.flatten, (self, order))


def _sort(self: ndarray, axis: int = -1, kind: Any = None) -> None:
    """Sort in place."""
    execute(lambda host: host.sort(axis), (self,), writes=(self,))


ndarray.flatten, ndarray.sort = _flatten, _sort
