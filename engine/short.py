"""The short way through a primitive without parameters: one or two tensors on the CPU, nothing else to look after.

It does what `Primitive.compute` does, for the case that a tape of tiny operations consists of, and hands on to that
in every other: lists, arrays, other devices, a capture under way, integers that are made floats, errors.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy

from .capturing import captures
from .recording import share_version
from .tape import Node, clock
from .tensor import Tensor

if TYPE_CHECKING:
    from .primitive import Primitive

NONE: dict[str, Any] = {}
FLOAT32 = numpy.dtype("float32")
watchers: list[Callable[..., None]] = []
"""Who looks on is called with each application of a primitive: it, its operands and parameters, and the result."""
REFUSED = (ValueError, IndexError, TypeError, AttributeError, OverflowError)


def short_way(primitive: Primitive) -> Callable[..., Tensor] | None:
    """The primitive as a function of its operands; None where it has parameters, or takes other than one or two."""
    if primitive.parameters or primitive.variadic or primitive.binder or len(primitive.operands) > 2:
        return None
    return unary(primitive) if len(primitive.operands) == 1 else binary(primitive)


def unary(primitive: Primitive) -> Callable[[Any], Tensor]:
    """The primitive of one operand."""
    plans, compute, ndarray = primitive.plans, primitive.compute, numpy.ndarray
    kernel: Any = None  # found when it is first called
    ufunc: Any = None
    leaves = False  # the integers

    def call(x: Any) -> Tensor:
        nonlocal leaves, kernel, ufunc
        if x.__class__ is not Tensor or captures or watchers or primitive.careful:
            return compute((x,), NONE)
        if kernel is None:
            kernel, ufunc, leaves = primitive.kernel, primitive.ufunc, not primitive.whole
        array = x._data
        if leaves and not x._requires_grad and array.dtype is not FLOAT32 and array.dtype.kind != "f":
            return compute((x,), NONE)
        if array.__class__ is not ndarray:
            return compute((x,), NONE)
        try:
            y = ufunc(array) if ufunc else kernel(numpy, array)
        except REFUSED:
            return compute((x,), NONE)  # tells what is wrong
        if y.__class__ is not ndarray:
            y = numpy.asarray(y)
        result = Tensor(y)
        if y.base is not None or y is array:
            share_version(result, (x,))
        if x._requires_grad:
            plan = plans.get((True,)) or primitive.plan((True,))
            if plan.ruled and y.dtype.kind == "f":
                plan.record(result, (x,), NONE)
        return result

    return call


def binary(primitive: Primitive) -> Callable[[Any, Any], Tensor]:
    """The primitive of two operands, of which the second may be a Python number."""
    plans, compute, ndarray = primitive.plans, primitive.compute, numpy.ndarray
    kernel: Any = None  # found when it is first called
    ufunc: Any = None
    leaves = False  # the integers

    def call(a: Any, b: Any) -> Tensor:
        nonlocal leaves, kernel, ufunc
        if a.__class__ is not Tensor or captures or watchers or primitive.careful:
            return compute((a, b), NONE)
        if kernel is None:
            kernel, ufunc, leaves = primitive.kernel, primitive.ufunc, not primitive.whole
        x, needed = a._data, a._requires_grad
        if b.__class__ is Tensor:
            other, also = b._data, b._requires_grad
            if other.__class__ is not ndarray:
                return compute((a, b), NONE)
        elif b.__class__ is float or b.__class__ is int:
            other, also = b, False
        else:
            return compute((a, b), NONE)
        if x.__class__ is not ndarray:
            return compute((a, b), NONE)
        if leaves and (
            (not needed and x.dtype is not FLOAT32 and x.dtype.kind != "f")
            or (not also and b.__class__ is Tensor and other.dtype is not FLOAT32 and other.dtype.kind != "f")
        ):
            return compute((a, b), NONE)
        try:
            y = ufunc(x, other) if ufunc else kernel(numpy, x, other)
        except REFUSED:
            return compute((a, b), NONE)  # tells what is wrong
        if y.__class__ is not ndarray:
            y = numpy.asarray(y)
        result = Tensor(y)
        if not ufunc and (y.base is not None or y is x or y is other):
            share_version(result, (a, b))
        if needed or also:
            plan = plans.get((needed, also)) or primitive.plan((needed, also))
            dtype = y.dtype
            if plan.simple and b.__class__ is Tensor and (ufunc or dtype.kind == "f"):
                first, second = a._node or a, b._node or b
                parents = (first, second) if needed and also else (first,) if needed else (second,)
                keeps = plan.places
                saved = () if not keeps else (a, b) if len(keeps) == 2 else (b,) if keeps[0] else (a,)
                result._requires_grad = True
                result._node = Node(plan, parents, saved, None, clock[0], NONE, y.shape, dtype)
            elif plan.ruled and dtype.kind == "f":
                plan.record(result, (a, b), NONE)
        return result

    return call
