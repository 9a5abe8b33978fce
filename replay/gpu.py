"""A program on a GPU: launches without gaps, captured into one CUDA graph, which is replayed with no work of the host.

What the host hands over for each replay lies side by side in a parcel. The first replay runs call by call, so that
everything is compiled and allocated; the second captures; further ones launch the graph. A call that cannot be
captured leaves the program to be replayed call by call, and `explain()` says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..engine import backend
from ..engine.cuda.graph import Feed, OwnStream, Parcel
from . import passes
from .cuda_loop import CudaLoop, reduction_of
from .fuse import Loop
from .joined import beginning, beside, gathers, is_by_row, may_be_in_a_loop, may_join, together
from .listing import Instruction, Variable, root
from .lowering import Step
from .one_launch.steps import OneLaunch
from .parts import Unfit
from .places import keep_places
from .program import Program, compiled, device_of
from .recorded import shortened
from .trace import Trace, nothing

UNROLLED = 16
"""Replays in one graph, where many are enqueued at once."""


def program_of(trace: Trace, inputs: Sequence[Variable], returned: Sequence[Variable], exact: bool) -> Program:
    """The program that a trace becomes on the device of its arrays. exact: with the bits of the tape."""
    if device_of(trace) == "cpu":
        return Program(trace, inputs, returned)
    return GpuProgram(trace, inputs, returned, exact)


class GpuProgram(Program):
    """A program whose inputs, numbers and results have fixed places on a GPU.

    not_captured: why there is no graph; None where there is one, or none has been asked for yet. exact: each launch is
    the tape's; otherwise one may do what the next would, and add up in another order.
    """

    def __init__(
        self, trace: Trace, inputs: Sequence[Variable], returned: Sequence[Variable], exact: bool = True
    ) -> None:
        self._sources: list[Callable[[], Sequence[Any]]] = []
        self.not_captured: str | None = None
        self._graph: Any = None
        self._many: dict[int, Any] = {}
        self._feed: Feed | None = None
        self._rest: Callable[[], Any] = nothing
        self._runs, self._exact = 0, exact
        with backend.working(device_of(trace), "a recorded step"):
            super().__init__(trace, inputs, returned)
            self._changed_inputs = [
                n
                for n, v in enumerate(self.inputs)
                if any(i.kind == "write" and i.out is not None and root(i.out) is v for i in trace.instructions)
            ]
            self._stream = OwnStream()
            self._single = together(beside(self._single, self._array, exact), self._array)
            self.fuse()

    def _rearranged(self, instructions: list[Instruction], kept: set[int]) -> list[Instruction]:
        return passes.hoist(
            keep_places(super()._rearranged(instructions, kept), kept, self._xp), may_be_in_a_loop, gathers
        )

    # Where everything lies

    def _held(self, instructions: Sequence[Instruction]) -> Sequence[int]:
        return passes.ends_of_runs(instructions, may_be_in_a_loop, may_join)

    def _taken_in(self, instructions: Sequence[Instruction]) -> set[int]:
        """The inputs, and what the host computes for each replay, have their places in the parcel: nothing varies."""
        fed: list[Variable] = []
        for instruction in instructions:
            if instruction.row.draws and instruction.out is not None:
                fed.append(instruction.out)
                self._sources.append(_drawing(instruction))
            elif instruction.row.on_host and instruction.out is not None:
                fed.append(instruction.out)
                if instruction.function is not nothing:
                    self._sources.append(instruction.function.values)  # type: ignore[attr-defined]
        self._parcel = Parcel(self.device, [(v.shape, v.dtype) for v in (*self.inputs, *fed)])
        self._bound |= {v.number: view for v, view in zip((*self.inputs, *fed), self._parcel.views, strict=True)}
        return set()

    def _results(self, kept: set[int]) -> tuple[set[int], set[int]]:
        return set(), set(kept)

    def _step(self, instruction: Instruction, places: Mapping[int, int], placed: Mapping[int, Any]) -> Step:
        if instruction.row.draws or instruction.row.on_host:
            return Step(instruction, (), None, False)
        return super()._step(instruction, places, placed)

    def _is_fresh(self, v: Variable) -> bool:
        return True  # copied after the launch

    def _given(self, arrays: Sequence[Any]) -> list[Any]:
        for view, array in zip(self._parcel.views, arrays, strict=False):
            self._xp.copyto(view, array)
        return []

    def _loop(self, shape: tuple[int, ...]) -> Loop:
        return CudaLoop(self._exact)

    def _elementwise(self, step: Step) -> tuple[Any, Sequence[Any], Any] | None:
        instruction, out = step.instruction, step.instruction.out
        if out is None or any(map(self._is_dynamic, (*instruction.reads(), out))):
            return None
        name: Any = instruction.name
        arguments, copied, kernel = tuple(instruction.arguments), instruction.copied(), step.calls[0][0]
        if is_by_row(kernel) and not instruction.options:
            name = kernel
        elif instruction.kind == "make" and (reduction := reduction_of(instruction)):
            name, arguments = reduction, tuple(instruction.reads())
        elif copied is not None:
            name, arguments = "copy", (copied,)
        elif instruction.options.keys() - {"dtype"}:
            return None
        return name, [self._array(x) for x in arguments], self._array(out)

    @property
    def epoch(self) -> OneLaunch | None:  # type: ignore[override]
        """The step as a kernel, of which many run in one launch; None where it has not been asked for, or cannot be."""
        found: OneLaunch | None = self._epoch[0] if self._epoch else None
        return found

    def take_plain(self, trace: Trace, inputs: Sequence[Variable]) -> None:
        """Make the kernel of many steps, from a list of the same step without kernels of our own."""
        try:
            if trace.reason or self.returned or len(inputs) != 1:
                raise Unfit(trace.reason or "it gives something back, or takes more than the places of a batch")
            self._epoch.append(OneLaunch(shortened(trace, ()), inputs[0], self.device))
        except Exception as error:  # what a compiler refuses, it refuses in many ways
            self.not_in_parts = str(error) if isinstance(error, Unfit) else f"{type(error).__name__}: {error}"
            self._epoch.append(None)

    @property
    def lists_plainly(self) -> bool:
        """Whether it is still to be listed without kernels of our own."""
        return not self._epoch

    @property
    def standing(self) -> str:
        if self.epoch:
            shape = self.epoch.text.shape
            return f"many steps in one launch, of {shape.blocks} blocks; each by itself as a CUDA graph."
        return (
            f"{self._standing} One launch for many: not, since {self.not_in_parts}."
            if self.not_in_parts
            else self._standing
        )

    @property
    def _standing(self) -> str:
        if self.not_captured:
            return f"replayed call by call, since it cannot be a CUDA graph: {self.not_captured}."
        return "replayed as a CUDA graph." if self._graph or self._many else "the next replays make it a CUDA graph."

    # Replaying

    def __call__(self, *arrays: Any) -> tuple[Any, ...]:
        """Replay."""
        with backend.working(self.device, "a replay"):
            self._given(arrays)
            self._parcel.send([value for source in self._sources for value in source()], len(self.inputs))
            results = self._once()
            for n in self._changed_inputs:
                self._xp.copyto(arrays[n], self._parcel.views[n])
            return tuple([result.copy(order="K") for result in results])

    def _once(self) -> tuple[Any, ...]:
        self._runs += 1
        if self._graph is None and self.not_captured is None and self._runs > 1:
            self._graph = self._captured(self._replay)
        if self._graph is None:
            results: tuple[Any, ...] = self._stream.run(self._replay)
            return results
        graph, results = self._graph
        graph.launch()
        return results

    def _captured(self, work: Callable[[], Any], times: int = 1) -> Any:
        """The graph of that work; None, and the reason is kept, where it cannot be captured."""
        try:
            return self._stream.capture(work, times)
        except Exception as error:  # what CuPy and CUDA refuse, they refuse in many ways
            self.not_captured = f"{type(error).__name__}: {error}"
            return None

    def takes_rows_of(self, columns: Sequence[Any]) -> bool:
        """Whether the rows of the columns have the shapes of the inputs."""
        return [tuple(column.shape[1:]) for column in columns] == [v.shape for v in self.inputs]

    def enqueue(self, columns: Sequence[Any]) -> int:
        """Replay once for each row of the columns, one array on the host for each input; returns how many were done.

        The host prepares some rows at a time and launches graphs; it does not wait for the device. 0 are done where
        the program is no graph, or gives something back.
        """
        if self.not_captured or self._runs < 1 or self.returned or self._changed_inputs:
            return 0
        with backend.working(self.device, "replays"):
            if self._feed is None:
                also, rest = beginning(self.steps, self._array)
                self._feed, self._rest = Feed(self._parcel, also), compiled(*self._text(False, rest))
                self._stream.run(self._feed)  # compiled, before it is captured
            count = len(columns[0])
            for start in range(0, count, self._parcel.ahead):
                rows = min(self._parcel.ahead, count - start)
                if not self._ahead([column[start : start + rows] for column in columns], rows):
                    return start
            return count

    def _ahead(self, columns: Sequence[Any], rows: int) -> bool:
        """Replay as many as there are rows; False where it cannot be captured."""
        assert self._feed is not None
        sizes = [UNROLLED] * (rows // UNROLLED) + [1] * (rows % UNROLLED)
        for size in set(sizes) - self._many.keys():
            graph = self._captured(self._fed, size)
            if graph is None:
                return False
            self._many[size] = graph[0]
        table = self._parcel.table()
        table.ready()
        for target, column in zip(table.columns, columns, strict=False):
            target[:rows] = column
        for row in range(rows):
            values = [value for source in self._sources for value in source()]
            for target, value in zip(table.columns[len(self.inputs) :], values, strict=True):
                target[row] = value
        table.send(rows, self._feed)
        for size in sizes:
            self._many[size].launch()
        self._runs += rows
        return True

    def _fed(self) -> None:
        assert self._feed is not None
        self._feed()
        self._rest()


def _drawing(instruction: Instruction) -> Callable[[], Sequence[Any]]:
    generator, method, shape, dtype, _ = instruction.arguments
    return lambda: [getattr(generator, method)(shape, dtype=dtype)]
