"""Many tensors in one buffer, so that an update is one kernel, a checkpoint one write."""

from __future__ import annotations

import copy
import math
from collections.abc import Container, Sequence
from typing import Any

import numpy

from ..errors import DtypeError, GraphError, UsageError
from . import backend
from .capturing import capturing
from .tensor import Tensor

LARGE = 1 << 18
"""Elements of a tensor from which on a call more for it costs less than a copy of its gradient."""


class Flat:
    """Leaf tensors whose elements lie side by side in one flat buffer, and a second buffer for their gradients.

    Making one moves the elements of `tensors` into `data`; the tensors then are views of it. Where they lie side by
    side already, in the buffer of another Flat, `data` is that part of it.
    Raises UsageError for no tensors or one named twice, GraphError for a tensor that was computed, DtypeError for
    mixed dtypes, DeviceError for mixed devices.
    """

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        self.tensors = tuple(tensors)
        if not self.tensors or len(set(self.tensors)) != len(self.tensors):
            raise UsageError(f"a flat buffer takes one or more different tensors; {len(self.tensors)} were given.")
        for x in self.tensors:
            if not x.is_leaf:
                raise GraphError(f"a tensor of shape {x.shape} was computed from others: it is no parameter.")
            if x.dtype != self.tensors[0].dtype or x.dtype.kind != "f":
                raise DtypeError(f"parameters have one floating dtype, not both {self.tensors[0].dtype} and {x.dtype}.")
        arrays = [backend.plain(x._data) for x in self.tensors]
        backend.common_namespace(arrays, "a flat buffer")
        xp = backend.library_of(arrays[0])
        with backend.working(self.tensors[0].device, "a flat buffer"):
            shared = _side_by_side(arrays)
            self.data = xp.concatenate([array.reshape(-1) for array in arrays]) if shared is None else shared
            self.gradient = xp.zeros_like(self.data)
        self._asking: tuple[bool, ...] = ()
        self._runs: tuple[slice, ...] = ()
        self._views = self.split(self.data) if shared is None else arrays
        self._gradients = self.split(self.gradient)
        for x, view in zip(self.tensors, self._views, strict=True):
            x.move_to(view)

    def hold(self) -> Flat:
        """See to it that the tensors are views of `data`, also where another flat buffer has taken them since.

        Where they lie side by side in that one, `data` becomes that part of it, and both have them; else they are moved
        back.
        """
        moved = [
            (x, view) for x, view in zip(self.tensors, self._views, strict=True) if backend.plain(x._data) is not view
        ]
        if moved and not self._joined():
            for x, view in moved:
                if trace := capturing():
                    trace.refuse("parameters are taken over from another flat buffer")
                view[...] = backend.plain(x._data)
                x.move_to(view)
        return self

    def _joined(self) -> bool:
        """Whether `data` could become a part of the buffer in which the tensors lie now."""
        arrays = [backend.plain(x._data) for x in self.tensors]
        shared = None if capturing() else _side_by_side(arrays)
        if shared is not None:
            self.data, self._views = shared, arrays
        return shared is not None

    def __reduce__(self) -> Any:
        """A copy lays the copied tensors into a buffer of its own; so they are views of that, as these are of this."""
        return Flat, (self.tensors,)

    def __copy__(self) -> Flat:
        return copy.deepcopy(self)  # there is no second buffer for the same tensors

    def lay_gradient(self, buffer: backend.Array) -> None:
        """Have the gradients at the begin of another buffer from now on."""
        self.gradient = buffer[: self.data.size]
        self._gradients = self.split(self.gradient)

    def split(self, buffer: backend.Array) -> list[backend.Array]:
        """Views of a flat buffer in the shapes of the tensors."""
        views, start = [], 0
        for x in self.tensors:
            size = math.prod(x.shape)
            views.append(buffer[start : start + size].reshape(x.shape))
            start += size
        return views

    def runs(self) -> tuple[slice, ...]:
        """Where in the buffer the tensors lie that require a gradient: what an update may change, in as few parts."""
        asking = tuple([x._requires_grad for x in self.tensors])
        if asking != self._asking:
            self._asking, self._runs, place = asking, (), 0
            for x in self.tensors:
                if x._requires_grad and self._runs and self._runs[-1].stop == place:
                    self._runs = (*self._runs[:-1], slice(self._runs[-1].start, place + x.size))
                elif x._requires_grad:
                    self._runs = (*self._runs, slice(place, place + x.size))
                place += x.size
        return self._runs

    def apart(self, updated: Sequence[backend.Array]) -> dict[int, backend.Array]:
        """The gradients that need not be moved, each flat, by the place where its tensor begins: of a large tensor, or
        of one alone, on the CPU. A recorded step computes its own in the buffer at once; they are not among these.

        updated: arrays besides `data` that change before the gradient is read; it does not lie in their memory.
        """
        self.hold()
        found: dict[int, backend.Array] = {}
        trace, place = capturing(), 0
        for x in self.tensors:
            large, g = x.size >= LARGE or x.size == self.data.size, x._grad if x._requires_grad else None
            if large and g is not None and not (trace and trace.made(g)):
                array = backend.plain(g._data)
                fits = isinstance(array, numpy.ndarray) and array.flags.c_contiguous and array.dtype == self.data.dtype
                if fits and not any(backend.overlap(array, y) for y in (self.data, self.gradient, *updated)):
                    if trace:
                        trace.lift(x)
                        trace.lift_gradient(x)
                    found[place] = g._data if array.ndim == 1 else g._data.reshape(-1)
            place += x.size
        return found

    def collect(self, left: Container[int] = ()) -> backend.Array:
        """Move each tensor's `.grad` into the gradient buffer and return that; a missing one counts as 0.

        left: where the tensors begin whose gradients are not moved.
        Raises GraphError for a tensor with a gradient that requires none: it is frozen, or it is not.
        """
        self.hold()
        trace, place = capturing(), 0
        for x, view in zip(self.tensors, self._gradients, strict=True):
            begin, place = place, place + x.size
            if begin in left:
                continue
            if trace:
                trace.lift(x)
                trace.lift_gradient(x)
            if x._grad is None:
                backend.set_items(view, ..., 0)
            elif not x._requires_grad:
                raise GraphError(
                    f"a parameter of shape {x.shape} has a gradient, but does not require one, and so is not updated: "
                    "clear it with zero_grad (or .grad = None), or set requires_grad = True."
                )
            elif x._grad._data is not view:
                backend.set_items(view, ..., x._grad._data)
        return self.gradient

    def changed(self) -> None:
        """Note that `data` was changed in place, so that a reverse pass which needs the old values refuses."""
        for x in self.tensors:
            x.changed()


def _side_by_side(arrays: Sequence[backend.Array]) -> backend.Array:
    """The part of a flat buffer whose elements these arrays are, in their order; None where they are not."""
    buffer = arrays[0].base
    if getattr(buffer, "ndim", 0) != 1 or not buffer.flags.c_contiguous or buffer.dtype != arrays[0].dtype:
        return None
    begin = place = (backend.address_of(arrays[0]) - backend.address_of(buffer)) // buffer.itemsize
    for array in arrays:
        start = backend.address_of(buffer) + place * buffer.itemsize
        if array.base is not buffer or not array.flags.c_contiguous or backend.address_of(array) != start:
            return None
        place += array.size
    return buffer if place - begin == buffer.size else buffer[begin:place]
