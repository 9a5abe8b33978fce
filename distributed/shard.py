"""What a step of training knows of the global batch whose rows it has a share of."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy

from ..engine import backend
from ..engine.tensor import Tensor
from .group import Group


class Shard(numpy.random.Generator):
    """This rank's share of a global batch, and the generator that a step draws from: it draws the numbers of the whole
    batch, as one process does, and gives those of this rank's rows.

    A rank that gets no row of a short batch computes with one all the same, which counts 0 times: so all ranks make
    the same calls. share: rows here over rows of the batch; present: 1, or 0 for such a row; whole, local: how many
    rows there are, and here. These are tensors that change from step to step, as weights do: recorded steps read them.
    """

    def __init__(self, group: Group, dtype: Any, device: str) -> None:
        super().__init__(numpy.random.PCG64(0))
        self.group, self.begin, self.rows, self.count = group, 0, 1, 1

        def number(dtype: Any) -> Tensor:
            return Tensor(backend.to_device(numpy.ones((), dtype), device))

        self.share, self.present, self.batch = number(dtype), number(dtype), number(dtype)
        self.whole, self.local, self.counted = (number("float64") for _ in range(3))

    def enter(self, count: int) -> slice:
        """The next batch has so many rows, over all ranks. Returns which of them are computed here."""
        begin, stop = self.group.rows(0, count)
        present = stop - begin
        if not present:
            begin = min(begin, count - 1)
            stop = begin + 1
        self.begin, self.rows, self.count = begin, stop - begin, count
        numbers = {
            "share": present / count, "present": float(present > 0), "batch": count, "whole": count, "local": present,
            "counted": float(present > 0),
        }  # fmt: skip
        for name, value in numbers.items():
            getattr(self, name)._data[...] = value
        return slice(begin, stop)

    def random(self, size: Any = None, dtype: Any = numpy.float64, out: Any = None) -> Any:
        """Numbers in [0, 1): this rank's rows of those of the global batch."""
        return self._drawn(functools.partial(super().random, dtype=dtype), size, out)

    def standard_normal(self, size: Any = None, dtype: Any = numpy.float64, out: Any = None) -> Any:
        """The same of the standard normal distribution."""
        return self._drawn(functools.partial(super().standard_normal, dtype=dtype), size, out)

    def _drawn(self, draw: Callable[[Any], Any], size: Any, out: Any) -> Any:
        """out: where a replay wants them."""
        shape = out.shape if out is not None else (size,) if isinstance(size, int) else tuple(size or ())
        if not shape or shape[0] % self.rows:  # not a number for each sample
            found = draw(shape or None)
        else:
            each = shape[0] // self.rows
            found = draw((each * self.count, *shape[1:]))[each * self.begin : each * (self.begin + self.rows)]
        if out is None:
            return found
        out[...] = found
        return out

    def changed(self, array: Any, change: Callable[..., Any]) -> Any:
        """What a function (batch, generator) makes of these rows among the whole batch; of the others it sees zeros."""
        whole = numpy.zeros((self.count, *array.shape[1:]), array.dtype)
        rows = slice(self.begin, self.begin + self.rows)
        whole[rows] = array
        plain = numpy.random.Generator(self.bit_generator)
        return change(whole, plain)[rows]

    def numbers(self) -> tuple[backend.Array, backend.Array]:
        """How many rows are here, and in the whole batch, as a step computes with them."""
        return _seen(self.local), _seen(self.whole)

    def counts(self) -> backend.Array:
        """1 where the rows count, or 0, in float64, in which metrics are added up."""
        return _seen(self.counted)

    def summed(self, x: Tensor) -> Tensor:
        """Σ over the ranks of x, a sum over the rows here; on the tape."""
        return self.group.summed(x * self.present.astype(x.dtype))


def _seen(number: Tensor) -> backend.Array:
    """Its array, of which a recorded step reads what is there in each replay."""
    return number.detach()._data
