"""Many tensors in one buffer, so that an update is one kernel, a checkpoint one write."""

from __future__ import annotations

import math
from collections.abc import Sequence

from . import backend
from .errors import DtypeError, GraphError, UsageError
from .tensor import Tensor


class Flat:
    """Leaf tensors whose elements lie side by side in one flat buffer, and a second buffer for their gradients.

    Making one moves the elements of `tensors` into `data`; the tensors then are views of it.
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
        self.data = xp.concatenate([array.reshape(-1) for array in arrays])
        self.gradient = xp.zeros_like(self.data)
        views = self.split(self.data)
        for x, view in zip(self.tensors, views, strict=True):
            x.move_to(view)
        self._gradients = self.split(self.gradient)

    def split(self, buffer: backend.Array) -> list[backend.Array]:
        """Views of a flat buffer in the shapes of the tensors."""
        views, start = [], 0
        for x in self.tensors:
            size = math.prod(x.shape)
            views.append(buffer[start : start + size].reshape(x.shape))
            start += size
        return views

    def collect(self) -> backend.Array:
        """Move each tensor's `.grad` into the gradient buffer and return that; a missing one counts as 0."""
        trace = backend.under_way() if backend.traces else None
        for x, view in zip(self.tensors, self._gradients, strict=True):
            if trace:
                trace.lift(x)
                trace.lift_gradient(x)
            if x.grad is None:
                backend.set_items(view, ..., 0)
            elif x.grad._data is not view:
                backend.set_items(view, ..., x.grad._data)
        return self.gradient

    def changed(self) -> None:
        """Note that `data` was changed in place, so that a reverse pass which needs the old values refuses."""
        for x in self.tensors:
            x.changed()
