"""A product of matrices in two parts of rows, of which a helper takes one where there is a core for it.

The bits are those of the whole product on one thread: where the rows are parted is looked for once, until both ways
give the same. So it may be done or left, product by product, as it pays; on a busy machine it does not. BLAS's own
threads give other bits on other numbers of cores.
"""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import Any

import numpy

from . import blas, team

LEAST, MOST = 1 << 23, 1 << 26
"""Multiplications from which on a helper is worth calling, and up to which BLAS's own threads are not."""
STEP = 8
"""Rows between two places where a product may be parted."""
PAYS, REST = 0.95, 1 << 12
"""Of the time alone, what parts may take; and the most products that are done alone where they have taken more."""
product: Callable[..., Any] = numpy.matmul


class Halves:
    """out = a b, called without arguments; in two parts, where they pay, while BLAS is held to one thread."""

    def __init__(self, a: Any, b: Any, out: Any) -> None:
        self.whole = a, b, out
        self.parts: list[tuple[Any, ...]] | None = None
        self.rest = self.left = 4  # how many products are done alone, and how many are so yet
        self.alone = float("inf")  # the least time of one, which is forgotten slowly

    def __call__(self) -> None:
        """Compute."""
        begin, halved = perf_counter(), blas.users[0] > 0 and not self.left
        if halved and self.parts is None:
            self.parts = _parted(*self.whole)
            begin = perf_counter()
        if halved and self.parts:
            team.each(self._part, len(self.parts))
            pays = perf_counter() - begin < PAYS * self.alone
            self.rest = self.rest // 2 if pays else min(REST, 2 * self.rest + 4)
            self.left = 0 if pays else self.rest
            return
        product(*self.whole)
        self.alone = min(1.01 * self.alone, perf_counter() - begin)
        self.left = max(0, self.left - 1)

    def _part(self, n: int) -> None:
        assert self.parts
        product(*self.parts[n])


def halves(a: Any, b: Any, out: Any) -> Halves | None:
    """The product of these arrays in halves; None where it is too small or too large for that."""
    if not all(isinstance(x, numpy.ndarray) and x.ndim == 2 and x.dtype.char in "fd" for x in (a, b, out)):
        return None
    return Halves(a, b, out) if LEAST <= a.shape[0] * a.shape[1] * b.shape[1] <= MOST else None


def _parted(a: Any, b: Any, out: Any) -> list[tuple[Any, ...]]:
    """The products of both parts, the larger first; nothing where the bits would be others, wherever it is parted."""
    draw = numpy.random.default_rng(0).standard_normal
    first, other = numpy.empty_like(a), numpy.empty_like(b)
    first[...], other[...] = draw(a.shape), draw(b.shape)
    whole, found = product(first, other, out=numpy.empty_like(out)), numpy.empty_like(out)
    for n in sorted(range(STEP, len(a), STEP), key=lambda n: abs(2 * n - len(a))):
        if not len(a) <= 4 * n <= 3 * len(a):
            break
        parts = sorted((slice(0, n), slice(n, len(a))), key=lambda part: part.start - part.stop)
        for part in parts:
            product(first[part], other, out=found[part])
        if found.tobytes() == whole.tobytes():
            return [(a[part], b, out[part]) for part in parts]
    return []
