"""Kernels of our own that stand for a primitive's array code on a device, where operands suit them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy

from . import backend
from .capturing import capturing


class OwnKernel:
    """An equation computed in another way than by its array code, which stays the reference.

    function: takes the operands, `out` (an array for the result; None makes one) and the parameters.
    suits: whether operands and parameters are such as it takes; otherwise the array code serves.
    In a recording it is one call.
    """

    def __init__(self, name: str, function: Callable[..., Any], suits: Callable[..., bool]) -> None:
        self.name = self.__name__ = name
        self.__doc__ = function.__doc__
        self.function, self.suits = function, suits

    def __call__(self, *operands: Any, out: Any = None, **parameters: Any) -> Any:
        """Compute it; returns the result."""
        return self.function(*operands, out=out, **parameters)


class CpuKernel(OwnKernel):
    """One for the CPU, part by part on its cores.

    fast: gives another function, of the same bits, that is compiled; None where it cannot be.
    """

    def __init__(
        self, name: str, function: Callable[..., Any], suits: Callable[..., bool], fast: Callable[[], Any]
    ) -> None:
        super().__init__(name, function, suits)
        self._fast = fast

    @property
    def compiled(self) -> Callable[..., Any]:
        """The same, compiled, where it can be."""
        function = self._fast()
        if function is None:
            return self
        made = partial(function)
        made.__name__ = self.name  # type: ignore[attr-defined]
        return made


def chosen(
    on_gpu: OwnKernel | None, otherwise: Callable[..., Any], on_cpu: OwnKernel | None = None
) -> Callable[..., Any]:
    """A function of `xp` and operands: the kernel for their device where they suit it, else `otherwise`."""
    if on_gpu is None and on_cpu is None:
        return otherwise

    def compute(xp: Any, *operands: Any, **parameters: Any) -> Any:
        first = operands[0]
        host = first.__class__ is numpy.ndarray or backend.device_of(first) == "cpu"
        kernel = on_cpu if host else on_gpu
        if kernel is None:
            return otherwise(xp, *operands, **parameters)
        trace = capturing()
        if trace and not trace.kernels:
            return otherwise(xp, *operands, **parameters)
        if not kernel.suits(*(map(trace.plain, operands) if trace else operands), **parameters):
            return otherwise(xp, *operands, **parameters)
        return trace.call(kernel.name, kernel, operands, parameters) if trace else kernel(*operands, **parameters)

    return compute
