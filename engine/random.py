"""Explicit randomness: every draw comes from a generator that the caller holds.

Numbers are drawn on the CPU, so one seed gives one run, on CPU and GPU alike. Streams for different
purposes are independent: more draws of one do not shift another.
"""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy

from ..checks import is_whole
from ..errors import UsageError
from . import backend
from .capturing import capturing
from .tensor import Tensor


def generator(seed: int, purpose: str = "") -> numpy.random.Generator:
    """A generator for one purpose ("shuffle", "dropout", …); the same seed and purpose give the same numbers.

    Raises UsageError where the seed is not an integer ≥ 0.
    """
    if not is_whole(seed) or seed < 0:
        raise UsageError(f"a seed is an integer of 0 or more, not {seed!r}.")
    return numpy.random.Generator(numpy.random.PCG64([int(seed), zlib.crc32(purpose.encode())]))


_seed: ContextVar[tuple[int, Iterator[int]] | None] = ContextVar("seed", default=None)


def set_seed(seed: int | None) -> None:
    """Let `next_seed` follow from this seed, in this thread (context) alone; None lets it be 0 again.

    Beside `no_grad` this is the one state that stands around computations, and it is asked for nothing but the seeds of
    models that are given none.
    """
    if seed is not None:
        generator(seed)  # refuses what is no seed
    _seed.set(None if seed is None else (int(seed), itertools.count()))


def next_seed() -> int:
    """The seed of what is given none: 0, or after `set_seed` another each time."""
    if (given := _seed.get()) is None:
        return 0
    seed, count = given
    return int(numpy.random.SeedSequence([seed, next(count)]).generate_state(1)[0])


def uniform(generator: numpy.random.Generator, like: Tensor) -> Tensor:
    """Numbers in [0, 1) in the shape, dtype and device of `like`, drawn on the CPU; in each replay of a captured step
    others. A dtype other than float32 and float64 gets float32's numbers.
    """
    return _like(like, "random", generator)


def normal(generator: numpy.random.Generator, like: Tensor) -> Tensor:
    """The same of the standard normal distribution."""
    return _like(like, "standard_normal", generator)


def changed(generator: numpy.random.Generator, x: Tensor, change: Callable[..., Any]) -> Tensor:
    """What a function (array, generator) makes of x on the CPU, in its shape and dtype; in each replay anew.

    Nothing of it goes on the tape.
    """
    if trace := capturing():
        return Tensor(trace.draw(_changed, generator, x._data, change))
    return Tensor(_changed(generator, x._data, change))


def _changed(generator: numpy.random.Generator, array: Any, change: Callable[..., Any]) -> Any:
    among = getattr(generator, "changed", None)  # the rows are a share of a larger batch
    return change(array, generator) if among is None else among(array, change)


def _like(like: Tensor, method: str, generator: numpy.random.Generator) -> Tensor:
    kept = _kept.get()
    if isinstance(kept, Iterator):
        return next(kept)
    dtype = like.dtype if like.dtype in (numpy.float32, numpy.float64) else numpy.dtype("float32")
    draw = trace.draw if (trace := capturing()) else lambda draw, *what: draw(*what)
    drawn = Tensor(draw(_draw, generator, method, like.shape, dtype, like.device))
    if kept is not None:
        kept.append(drawn)
    return drawn


def _draw(
    generator: numpy.random.Generator, method: str, shape: tuple[int, ...], dtype: numpy.dtype[Any], device: str
) -> Any:
    return backend.send(getattr(generator, method)(shape, dtype=dtype), device)


_kept: ContextVar[list[Tensor] | Iterator[Tensor] | None] = ContextVar("chalkgrad.drawn", default=None)


@contextmanager
def keeping(drawn: list[Tensor] | Iterator[Tensor]) -> Iterator[None]:
    """While it is entered, what is drawn is kept in the list too; or taken, in the same order, from the iterator."""
    token = _kept.set(drawn)
    try:
        yield
    finally:
        _kept.reset(token)
