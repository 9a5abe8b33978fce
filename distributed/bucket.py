"""What the ranks add up in a step, in one buffer: the gradient, and behind it what else there is."""

from __future__ import annotations

import numpy

from ..engine import backend
from ..engine.flat import Flat
from ..engine.tensor import Tensor
from .group import Group


class Ended(Exception):
    """A rank has told the others, in a step's sum, that it ends the training: none makes this step."""


class Bucket:
    """One buffer of which a step has one sum over the ranks.

    flat: the weights, whose gradient comes first. measured: so many numbers behind it, of the loss and metrics.
    counted: how much the batch counts in a mean of gradients. ends: 1 where this rank ends the training; on a CPU,
    where the host sees the sum, `sum` then raises Ended on each rank. Behind a gradient of 16 bits these numbers would
    lose their digits, so there they have a buffer and a sum of their own.
    """

    def __init__(self, group: Group, flat: Flat, measured: int) -> None:
        self.group, self.flat = group, flat
        device, gradient = flat.tensors[0].device, flat.data.size
        if flat.data.dtype.itemsize < 4:
            rest = backend.to_device(numpy.zeros(measured + 2, "float32"), device)
            self._sums = [rest, flat.gradient]
        else:
            whole = group.room(gradient + measured + 2, flat.data.dtype, device)
            flat.lay_gradient(whole)
            self._sums, rest = [whole], whole[gradient:]
        self._rest, self.measured, self._wish = rest, rest[:measured], rest[measured : measured + 1]
        self.counted, self.ends = Tensor(rest[measured + 1 :]), Tensor(backend.to_device(numpy.zeros(1), device))
        self._heed = self._look if device == "cpu" else None

    def weigh(self, found: Tensor | float) -> Tensor:
        """Let the batch count so much here; returns how much it counts on all ranks, once they have added up."""
        backend.set_items(self.counted._data, ..., found.detach()._data if isinstance(found, Tensor) else found)
        return self.counted

    def sum(self, gradient: backend.Array = None) -> None:
        """Add up over the ranks: the gradient, which is that of `flat`, and the rest; without one the rest alone."""
        backend.set_items(self._wish, ..., self.ends.detach()._data)
        for number, array in enumerate([self._rest] if gradient is None else self._sums):
            self.group.allreduce(array, None if number else self._heed)

    def _look(self) -> None:
        if self._wish[0] > 0:
            raise Ended
