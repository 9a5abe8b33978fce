"""A model of the time that a step of training takes on p ranks: T(p) = C + A(p, n), or, overlapped, C + max(0, A − B).

C: a rank's computation in seconds; B: the part of it during which gradients come and can be summed; A: the all-reduce
of n bytes, in α seconds for a message and β for a byte. R. Thakur, R. Rabenseifner, W. Gropp, "Optimization of
collective communication operations in MPICH" (2005); P. Patarasuk, X. Yuan, "Bandwidth optimal all-reduce algorithms
for clusters of workstations" (2009). The additions themselves are counted within β.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy


@dataclass(frozen=True)
class Network:
    """alpha: seconds that a message takes at least; beta: seconds a byte."""

    name: str
    alpha: float
    beta: float

    def tree(self, ranks: int, nbytes: float) -> float:
        """Recursive doubling, ⌈lg p⌉ (α + nβ): all of it in each exchange (Thakur et al., 4.4)."""
        return math.ceil(math.log2(ranks)) * (self.alpha + nbytes * self.beta)

    def halving(self, ranks: int, nbytes: float) -> float:
        """Reduce-scatter by halves and allgather by doubles, 2 ⌈lg p⌉ α + 2 (p − 1)/p nβ (Rabenseifner's)."""
        return 2 * math.ceil(math.log2(ranks)) * self.alpha + 2 * (ranks - 1) / ranks * nbytes * self.beta

    def ring(self, ranks: int, nbytes: float) -> float:
        """Around a ring, 2 (p − 1) α + 2 (p − 1)/p nβ (Patarasuk and Yuan): the fewest bytes, the most messages."""
        return 2 * (ranks - 1) * self.alpha + 2 * (ranks - 1) / ranks * nbytes * self.beta

    def allreduce(self, ranks: int, nbytes: float) -> float:
        """The fastest of them; nothing for one rank."""
        ways = (self.tree, self.halving, self.ring)
        return 0.0 if ranks == 1 else min(way(ranks, nbytes) for way in ways)

    def weak(self, ranks: int, seconds: float, nbytes: float) -> float:
        """Weak scaling: the step of one rank over that of p, with as many rows a rank."""
        return seconds / (seconds + self.allreduce(ranks, nbytes))

    def strong(self, ranks: int, seconds: float, nbytes: float) -> float:
        """Strong scaling: how many times as fast a step of the same rows is on p ranks."""
        return seconds / (seconds / ranks + self.allreduce(ranks, nbytes))


ASSUMED = (
    Network("10 Gb/s Ethernet", 30e-6, 8 / 10e9),
    Network("25 Gb/s Ethernet", 20e-6, 8 / 25e9),
    Network("200 Gb/s InfiniBand", 2e-6, 8 / 200e9),
)
"""Line rates, and latencies of a message through MPI that are assumed: neither was measured here."""


def fitted(name: str, sizes: Sequence[int], seconds: Sequence[float]) -> Network:
    """α and β of all-reduces between two ranks, α + nβ, by least squares of relative errors. α is 0 at least."""
    nbytes, times = numpy.array(sizes, float), numpy.array(seconds)
    rows = numpy.stack([1 / times, nbytes / times], axis=1)
    alpha, beta = numpy.linalg.lstsq(rows, numpy.ones(len(times)), rcond=None)[0]
    return Network(name, max(0.0, float(alpha)), float(beta))


@dataclass(frozen=True)
class Published:
    """One net of Horovod's measurement: float32 parameters; samples a second of a P100, 64 a step; efficiency."""

    net: str
    parameters: float
    rate: float
    measured: float

    def predicted(self, network: Network, ranks: int, overlapped: bool) -> float:
        """The efficiency by the ring; overlapped: with the reverse pass, two thirds of the computation."""
        seconds = 64 / self.rate
        summed = network.ring(ranks, 4 * self.parameters)
        seen = max(0.0, summed - seconds * 2 / 3) if overlapped else summed
        return seconds / (seconds + seen)


HOROVOD = (
    Published("Inception V3", 23.8e6, 142.0, 0.90),
    Published("ResNet-101", 44.5e6, 103.55, 0.90),
    Published("VGG-16", 138.4e6, 154.0, 0.68),
)
"""On 512 GPUs, four a machine, 25 Gb/s: A. Sergeev, M. Del Balso, "Horovod" (2018), and its page of benchmarks, also
for ResNet-101's rate (16 GPUs: 1656.82 samples a second, so its computation is rather shorter than taken here). The
other rates: TensorFlow's benchmarks on one P100 (May 2017). In a ring each machine's line carries as many
bytes as one rank's.
"""
