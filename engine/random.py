"""Explicit randomness: every draw comes from a generator that the caller holds.

Numbers are drawn on the CPU, so one seed gives one run, on CPU and GPU alike. Streams for different
purposes are independent: more draws of one do not shift another.
"""

from __future__ import annotations

import zlib

import numpy

from .errors import UsageError


def generator(seed: int, purpose: str = "") -> numpy.random.Generator:
    """A generator for one purpose ("shuffle", "dropout", …); the same seed and purpose give the same numbers.

    Raises UsageError where the seed is not an integer ≥ 0.
    """
    if isinstance(seed, bool) or not isinstance(seed, (int, numpy.integer)) or seed < 0:
        raise UsageError(f"a seed is an integer of 0 or more, not {seed!r}.")
    return numpy.random.Generator(numpy.random.PCG64([int(seed), zlib.crc32(purpose.encode())]))
