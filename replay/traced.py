"""Arrays under trace: they behave as an array library's do, and what is called on them is listed."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy
from numpy.lib.mixins import NDArrayOperatorsMixin

from ..engine import backend
from ..engine.tensor import Tensor
from .calls import effects_unknown
from .listing import Variable, root

if TYPE_CHECKING:
    from .trace import Trace


class Traced(NDArrayOperatorsMixin):
    """An array under trace, and the variable that stands for it. scalar: NumPy gave a number rather than an array."""

    __slots__ = ("array", "scalar", "trace", "variable")

    def __init__(self, trace: Trace, array: Any, variable: Variable, scalar: bool = False) -> None:
        self.trace, self.array, self.variable, self.scalar = trace, array, variable, scalar

    def __array_ufunc__(self, ufunc: Any, method: str, *arguments: Any, **options: Any) -> Any:
        """A ufunc of NumPy, which each operator is, too, is listed as the library's own."""
        if any(isinstance(x, Tensor) for x in arguments):
            return NotImplemented
        if method == "__call__":
            options = {k: v[0] if k == "out" and len(v) == 1 else v for k, v in options.items()}
            name, library = ufunc.__name__, backend.library_of(self.array)
            own = getattr(library, name) if getattr(numpy, name, None) is ufunc else ufunc
            result = self.trace.call(name, own, arguments, options)
            out = options.get("out")
            return result if out is None else out  # an array from outside stays what it is
        plain = [self.trace.read(x, f"a ufunc's {method} is used") for x in arguments]
        return getattr(ufunc, method)(*plain, **options)

    # What it is

    shape = property(lambda self: self.array.shape, doc="The length of each axis.")
    dtype = property(lambda self: self.array.dtype, doc="The dtype of the elements.")
    ndim = property(lambda self: self.array.ndim, doc="The number of axes.")
    size = property(lambda self: self.array.size, doc="The number of elements.")
    nbytes = property(lambda self: self.array.nbytes, doc="The bytes of the elements.")
    strides = property(lambda self: self.array.strides, doc="The bytes from one element to the next along each axis.")
    place = property(lambda self: backend.device_of(self.array), doc="The device that the array lives on.")

    @property
    def base(self) -> Traced | None:
        """What it is a view of, as NumPy's attribute."""
        first = root(self.variable)
        return None if first is self.variable else self.trace.traced[first.number]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.trace.read(self, f"an array's own .{name} is used"), name)

    def __len__(self) -> int:
        return len(self.array)

    # What is computed from it

    @property
    def T(self) -> Any:
        """The array with its axes reversed."""
        return self.trace.call("transpose", self.trace.library_of(self).transpose.function, (self,))

    def __getitem__(self, index: Any) -> Any:
        return self.trace.call("getitem", operator.getitem, (self, index))

    def __setitem__(self, index: Any, value: Any) -> None:
        self.trace.set_items(self, index, value)

    def __pow__(self, exponent: Any) -> Any:
        if exponent.__class__ not in (int, float):
            return super().__pow__(exponent)
        if self.scalar:
            return self.trace.call("power", _power_of_number, (self, exponent))
        on_host = self.array.__class__ is numpy.ndarray
        name = POWERS.get(exponent, "") if on_host and self.dtype.kind == "f" else ""
        return getattr(self.trace.library_of(self), name)(self) if name else super().__pow__(exponent)

    def transpose(self, *axes: Any) -> Any:
        """The axes in another order, reversed by default."""
        order = axes[0] if len(axes) == 1 and not isinstance(axes[0], int) else axes or None
        return self.trace.library_of(self).transpose(self, order)

    def astype(self, dtype: Any, copy: bool = True) -> Any:
        """The values in another dtype."""
        if not copy and self.dtype == dtype:
            return self
        return self.trace.call("astype", _astype, (self, numpy.dtype(dtype)))

    def copy(self) -> Any:
        """An array of its own with the same values."""
        return self.trace.call("copy", _copy, (self,))

    def reshape(self, *shape: Any) -> Any:
        """The same elements under another shape."""
        nested = len(shape) == 1 and isinstance(shape[0], (tuple, list))
        return self.trace.library_of(self).reshape(self, tuple(shape[0]) if nested else shape)

    # What is read on the host

    def item(self) -> Any:
        """The value of a one-element array; noted as a reason not to replay."""
        return self.trace.read(self, "a value is read (item, float, int, bool or a comparison in an if)").item()

    __bool__ = lambda self: bool(self.item())  # noqa: E731
    __float__ = lambda self: float(self.item())  # noqa: E731
    __int__ = lambda self: int(self.item())  # noqa: E731
    __index__ = lambda self: operator.index(self.item())  # noqa: E731

    def view(self) -> Any:
        """A view of the values; noted as a reason not to replay."""
        return self.trace.read(self, "values are read (numpy() or data)").view()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        array = self.trace.read(self, "a function of NumPy is called on an array of the step")
        return numpy.array(array, dtype=dtype, copy=copy)


def _astype(x: Any, dtype: Any) -> Any:
    return x.astype(dtype)


def _copy(x: Any) -> Any:
    return x.copy()


def _method(name: str) -> Callable[..., Any]:
    def method(self: Traced, *arguments: Any, **options: Any) -> Any:
        return getattr(self.trace.library_of(self), name)(self, *arguments, **options)

    method.__doc__ = f"The library's `{name}` of the array."
    return method


METHODS = ("sum", "mean", "max", "min", "any", "all", "argmax", "argmin", "squeeze", "take", "dot")

POWERS = {2: "square", 0.5: "sqrt", -1: "reciprocal"}
"""What NumPy takes for an array of floats to the power of such a number; CuPy computes each as a power."""


def _power_of_number(x: Any, exponent: Any) -> Any:
    """A single number to a power; NumPy computes that in another way than an array's."""
    return x[()] ** exponent


for _name in METHODS:
    setattr(Traced, _name, _method(_name))
Traced.__hash__ = object.__hash__  # type: ignore[method-assign]


class Listed:
    """A function of the array library that is carried out and listed."""

    def __init__(self, trace: Trace, name: str, function: Callable[..., Any]) -> None:
        self.trace, self.name, self.function = trace, name, function

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        unknown = effects_unknown(self.name, self.function, arguments, options)
        if unknown is not None:
            self.trace.refuse(unknown)
        return self.trace.call(self.name, self.function, arguments, options)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        attribute = getattr(self.function, name)  # a ufunc's reduce, accumulate, outer
        return Listed(self.trace, f"{self.name}.{name}", attribute) if callable(attribute) else attribute

    def at(self, target: Any, index: Any, values: Any) -> None:
        """The ufunc's `at`: unbuffered, in place."""
        self.trace.write(f"{self.name}.at", self.function.at, (target, index, values), target)  # type: ignore[attr-defined]


class Library:
    """The array library, its calls listed: what kernels take for `xp`."""

    def __init__(self, trace: Trace, xp: Any, within: str = "") -> None:
        self._trace, self._xp, self._within = trace, xp, within

    def __getattr__(self, name: str) -> Any:
        function = getattr(self._xp, name)
        if name == "linalg":
            return Library(self._trace, function, "linalg.")
        if not callable(function) or isinstance(function, type):
            return function
        listed = Listed(self._trace, self._within + name, function)
        setattr(self, name, listed)
        return listed
