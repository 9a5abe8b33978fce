"""A function's array calls as a list to be written down, in another language say, rather than replayed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ..engine.tensor import Tensor
from ..errors import UsageError
from . import passes
from .arguments import tensors
from .listing import Instruction, Variable
from .trace import Trace


@dataclass(frozen=True)
class Recorded:
    """What a function called on its way from its arguments to its results, for arguments of these shapes.

    trace: has the arrays themselves, as they were. inputs, outputs: of the arguments and the results.
    """

    trace: Trace
    instructions: tuple[Instruction, ...]
    inputs: tuple[Variable, ...]
    outputs: tuple[Variable, ...]

    def array(self, variable: Variable) -> Any:
        """The array that the variable stood for."""
        return self.trace.traced[variable.number].array


def recorded(function: Callable[..., Any], *arguments: Tensor) -> Recorded:
    """The list of a function of tensors that returns tensors without a tape; it is called twice, with all its effects.

    Calls that are made twice on the same values, or whose result nobody needs, are left out, and constants are arrays
    from outside. There are no kernels of our own in it. Raises UsageError where a list would not say what it does.
    """
    function(*arguments)  # what is made once, such as an optimiser's state, is there afterwards
    with Trace(own=True, kernels=False, keeps=True) as trace:
        for argument in arguments:
            trace.lift_argument(argument)
        found = tensors(function(*arguments))
    if trace.reason or trace.drawn_elsewhere:
        raise UsageError(f"its array calls cannot be listed: {trace.reason or trace.drawn_elsewhere}.")
    outputs = [trace.variable_of(x) for x in found]
    return Recorded(trace, tuple(shortened(trace, outputs)), tuple(map(trace.variable_of, arguments)), tuple(outputs))


def shortened(trace: Trace, returned: Sequence[Variable]) -> list[Instruction]:
    """The list of a trace without what is computed twice, is the same each time, or is of no use."""
    kept = {v.storage for v in returned}
    instructions = passes.share(list(trace.instructions), kept, returned)
    instructions = passes.fold(trace, instructions, kept)  # constants that are alike are one by now
    instructions = passes.share(instructions, kept, returned)
    return passes.drop_unused(instructions, returned)
