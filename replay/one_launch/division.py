"""How the first weights of a small net, and with them a batch, are divided among the blocks of a GPU."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..parts import Unfit
from .phases import Step

WARP = 32
THREADS = 512
FLOPS, MOVED = 1755 * 128 / 2, 3.5e6
"""What a multiprocessor multiplies in a microsecond, about, and the bytes that go through the caches in one."""


@dataclass(frozen=True)
class Shape:
    """How the first weights, `inputs` by `units`, are divided among blocks: each has `depth` rows and `quads` times
    four columns. across, down: blocks beside and below one another. split: sums over rows, side by side, of a gradient.
    """

    rows: int
    inputs: int
    units: int
    depth: int
    quads: int
    threads: int

    @property
    def across(self) -> int:
        """Blocks side by side, over the columns."""
        return -(-self.units // (4 * self.quads))

    @property
    def down(self) -> int:
        """Blocks below one another, over the rows."""
        return -(-self.inputs // self.depth)

    @property
    def blocks(self) -> int:
        """Of the launch."""
        return self.across * self.down

    @property
    def columns(self) -> int:
        """Of a block's part."""
        return 4 * self.quads

    @property
    def split(self) -> int:
        """Sums over rows of the batch, side by side, of one gradient."""
        return power_below(self.threads // (self.depth * self.quads), 4)

    @property
    def apart(self) -> int:
        """How far the rows of partial products are apart."""
        return self.across * self.columns

    @property
    def held(self) -> tuple[int, int, int]:
        """How the threads fetch samples: columns that one holds, of how many rows, and threads to a row."""
        side = min(power_below(self.threads // self.rows, WARP), power_below(self.depth, WARP))
        return -(-self.depth // side), -(-self.rows * side // self.threads), side

    def time(self, itemsize: int, sample: int) -> float:
        """About how many microseconds of a step go by in the first layer, on a card of these years."""
        forward = -(-self.rows * self.quads // self.threads) * self.depth
        back = -(-self.depth * self.quads * self.split // self.threads) * -(-self.rows // self.split)
        moved = self.across * self.rows * self.inputs * sample
        moved += 2 * self.down * self.rows * self.across * self.columns * itemsize
        return (forward + back) * 4 * self.threads / FLOPS + moved / MOVED


def shape_of(step: Step, blocks: int, fits: Callable[[Shape], bool], threads: int = THREADS) -> Shape:
    """The fastest division among so many blocks whose part fits."""
    (inputs, units), rows, found = step.segment.shape, step.first.out.buffer.shape[0], []
    most = -(-units // 4)
    for quads in {min(n, most) for n in (1, 2, 4, 8, most)}:
        across = -(-units // (4 * quads))
        if across <= blocks:
            depth = -(-inputs // min(blocks // across, inputs))
            found.append(Shape(rows, inputs, units, depth, quads, threads))
    found = [shape for shape in found if fits(shape)]
    if not found:
        raise Unfit("the first weights and a batch do not fit the shared memory of the blocks")
    sizes = step.first.out.buffer.dtype.itemsize, step.source.reads[0].dtype.itemsize
    return min(found, key=lambda shape: shape.time(*sizes))


def power_below(most: int, limit: int) -> int:
    """The greatest power of two that is neither above `most` nor above the limit; at least 1."""
    return 1 << max(1, min(most, limit)).bit_length() - 1
