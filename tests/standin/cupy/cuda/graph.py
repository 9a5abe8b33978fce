"""cupy.cuda.graph: what a capture became."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from . import runtime
from .stream import BaseStream, enqueue, get_current_stream


class Graph:
    """Recorded work, to be done again and again on the memory that it was recorded with; keeps none of it alive."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise RuntimeError("currently this class cannot be initiated by the user")

    @classmethod
    def _made(cls, work: Sequence[Callable[[], Any]], device: int) -> Graph:
        graph = cls.__new__(cls)
        graph.work, graph.device = tuple(work), device
        graph.launches = 0
        return graph

    def launch(self, stream: BaseStream | None = None) -> None:
        """Do it all, in order; a capturing stream takes it in as a part."""
        stream = stream or get_current_stream()
        if stream.device_id not in (-1, self.device) or runtime.getDevice() != self.device:
            raise runtime.CUDARuntimeError(400, f"the graph was captured on device {self.device}")
        self.launches += 1

        def all_of_it() -> None:
            for work in self.work:
                work()

        enqueue(stream, all_of_it)

    def upload(self, stream: BaseStream | None = None) -> None:
        """Prepare the card for it."""
