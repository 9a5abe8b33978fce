"""What the host does for each captured step: it counts it, computes the numbers of its update, and parts large ones."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..engine import backend
from ..engine.flat import Flat

if TYPE_CHECKING:
    from .optimizer import Optimizer

CLEARED = 16
"""Every so many updates the state is cleared of subnormal numbers, on the CPU, where they are slow."""

PIECES = 1 << 26, 1 << 24
"""A recorded update of more numbers is done so many at a time, so that it needs little besides."""


class Numbers:
    """What the host computes for each update of a captured step; called, it writes that into `arrays`."""

    def __init__(self, optimizer: Optimizer, arrays: Sequence[backend.Array]) -> None:
        self.optimizer, self.arrays = optimizer, arrays
        self.latest: dict[str, Any] = {}

    def __call__(self) -> None:
        if not (self.optimizer.iterations + 1) % CLEARED:  # `clears`, without the cost of asking
            self.optimizer.clear()
        self.latest.update(self.optimizer._next_numbers())
        for name, array in zip(self.optimizer.varying, self.arrays, strict=True):
            array[...] = self.latest[name]

    @property
    def clears(self) -> bool:
        """Whether the next update begins with clearing `states`."""
        return self.optimizer.clears

    @property
    def states(self) -> Sequence[backend.Array]:
        """The arrays that are cleared then."""
        return [*self.optimizer.state.values()]

    @property
    def flat(self) -> Flat | None:
        """The parameters that are updated, and their gradients."""
        return self.optimizer._flat

    def values(self) -> list[float]:
        """The numbers of the next update, instead of writing them: for a device that is handed many at once."""
        self.latest.update(self.optimizer._next_numbers())
        return [self.latest[name] for name in self.optimizer.varying]


class Count:
    """What the host does for each captured step that makes no update: it counts it."""

    def __init__(self, optimizer: Optimizer) -> None:
        self.optimizer = optimizer

    def __call__(self) -> None:
        vars(self.optimizer)["iterations"] += 1

    def values(self) -> list[float]:
        """The same for a device, for which the step's one number stands."""
        self()
        return [0.0]


def pieces(runs: Iterable[slice]) -> Iterator[slice]:
    """Runs of more than `PIECES[0]` numbers in parts of `PIECES[1]`."""
    for run in runs:
        step = PIECES[1] if run.stop - run.start > PIECES[0] else max(1, run.stop - run.start)
        yield from (slice(at, min(at + step, run.stop)) for at in range(run.start, run.stop, step))


def parted(runs: Sequence[slice], apart: Mapping[int, backend.Array]) -> list[slice]:
    """Runs that end and begin where an array of `apart` does."""
    ends = {end for place, array in apart.items() for end in (place, place + array.size)}
    found = list[slice]()
    for run in runs:
        at = [run.start, *sorted(end for end in ends if run.start < end < run.stop), run.stop]
        found += map(slice, at[:-1], at[1:])
    return found
