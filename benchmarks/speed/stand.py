"""Where a contestant meets the clock: it says when it is ready, is told to go, and says what came out.

while stand.begin():            # waits, then starts the clock
    loss = …                    # what is timed
    stand.end(lambda: (loss,))  # stops the clock; the figures to compare are computed behind it
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

Figures = Callable[[], Sequence[float]]
"""What must agree between contestants, computed when the clock stands."""


class UnavailableError(Exception):
    """A contestant cannot take part here, and why: something is not installed, or does not exist yet."""


class Stand(Protocol):
    """What an adapter is given to be timed by."""

    def begin(self) -> bool:
        """Wait for the next repetition and start the clock; False where there is none any more."""

    def end(self, figures: Figures) -> None:
        """Stop the clock."""


def serve(stand: Stand, repeat: Callable[[int], Figures]) -> None:
    """Do repetition 0, 1, 2, … by a function, as long as they are asked for."""
    number = 0
    while stand.begin():
        stand.end(repeat(number))
        number += 1
