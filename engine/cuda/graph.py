"""Launches captured into a CUDA graph, and what the host hands over for each replay."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy

from .. import backend
from .launch import THREADS, Work, gpu_named
from .sources import TYPES, source

FEED = source(Path(__file__).with_name("feed.cu"), {})
ALIGNMENT = 16
AHEAD, AHEAD_BYTES = 64, 1 << 26
"""Replays that the host prepares at once, at most, while the device works on those before; and how many bytes."""


class OwnStream:
    """A stream and a pool of memory of its own, in which launches are run once and then captured.

    What is allocated on the way, such as a library's workspace, stays in the pool as long as the graphs live.
    """

    def __init__(self) -> None:
        self.xp = backend.load_cupy()
        self.stream = self.xp.cuda.Stream(non_blocking=True)
        self.pool = self.xp.cuda.MemoryPool()

    def run(self, work: Callable[[], Any]) -> Any:
        """Do the work, after what is enqueued on the current stream and before what comes next there."""
        current = self.xp.cuda.get_current_stream()
        self.stream.wait_event(current.record())
        with self.stream, self.xp.cuda.using_allocator(self.pool.malloc):
            result = work()
        current.wait_event(self.stream.record())
        return result

    def capture(self, work: Callable[[], Any], times: int = 1) -> tuple[Any, Any]:
        """The work, that many times in a row, as a graph, which has not run yet; and what the last one gave."""
        with self.stream, self.xp.cuda.using_allocator(self.pool.malloc):
            self.stream.begin_capture()
            try:
                for _ in range(times):
                    result = work()
            finally:
                graph = self.stream.end_capture()
        return graph, result


class Parcel:
    """What differs from replay to replay, side by side in one row of bytes: one copy brings it all to the device.

    parts: the shape and dtype of each. views: arrays on the device, in the row. ahead: rows of a table.
    """

    def __init__(self, device: str, parts: Sequence[tuple[tuple[int, ...], Any]]) -> None:
        self.device, self.xp = device, backend.load_cupy()
        self.nbytes = 0
        self._parts: list[tuple[slice, tuple[int, ...], Any]] = []  # where each lies, its shape and dtype
        for shape, dtype in parts:
            size = math.prod(shape) * numpy.dtype(dtype).itemsize
            self._parts.append((slice(self.nbytes, self.nbytes + size), tuple(shape), numpy.dtype(dtype)))
            self.nbytes += -(-size // ALIGNMENT) * ALIGNMENT
        self.row = self.xp.zeros(self.nbytes, "uint8")
        self.views = [self.row[place].view(dtype).reshape(shape) for place, shape, dtype in self._parts]
        self._host = numpy.zeros((1, 0), "uint8")
        self._columns: list[Any] = []
        self.ahead = max(1, min(AHEAD, AHEAD_BYTES // max(self.nbytes, 1)))
        self._tables: list[Table] = []

    def send(self, values: Sequence[Any], first: int) -> None:
        """Write the values of the parts from number `first` on into the row: one copy, out of pageable memory, which
        it has left when `set` returns.
        """
        if not values:
            return
        if not self._columns:
            self._host = numpy.zeros((1, self.nbytes), "uint8")
            self._columns = self.host_views(self._host)
        for column, value in zip(self._columns[first:], values, strict=True):
            column[0] = value
        start = self._parts[first][0].start
        backend.note_transfer(self.nbytes - start)
        self.row[start:].set(self._host[0, start:], stream=self.xp.cuda.get_current_stream())

    def host_views(self, rows: Any) -> list[Any]:
        """The parts of many rows on the host, each as one array with the rows along its first axis."""
        return [rows[:, place].view(dtype).reshape(len(rows), *shape) for place, shape, dtype in self._parts]

    def table(self) -> Table:
        """Rows for the next replays; the one before the last is used again, once the device is done with it."""
        if len(self._tables) < 2:
            self._tables.append(Table(self))
        else:
            self._tables.reverse()
        return self._tables[-1]


class Table:
    """Rows of a parcel for the next replays, in pinned memory, from which copies need not wait."""

    def __init__(self, parcel: Parcel) -> None:
        self.xp = parcel.xp
        self._host = backend.pinned((parcel.ahead, parcel.nbytes), "uint8")
        self.columns = parcel.host_views(self._host)
        self._sent: Any = None

    def ready(self) -> None:
        """Wait until the rows that were written here before have been copied."""
        if self._sent is not None:
            self._sent.synchronize()

    def send(self, count: int, feed: Feed) -> None:
        """Enqueue the copy of the first `count` rows to where the feed takes them from."""
        backend.note_transfer(count * self._host.shape[1])
        stream = self.xp.cuda.get_current_stream()
        feed.source[:count].set(self._host[:count], stream=stream)
        feed.counter.fill(0)
        self._sent = stream.record()


class Feed:
    """The launch that a graph begins with: it copies the next row of a table into the parcel's row.

    also: what other blocks do in the same launch; what they take from the parcel's row, they take from the table's.
    """

    def __init__(self, parcel: Parcel, also: Sequence[Work] = ()) -> None:
        xp = parcel.xp
        self.parcel, self._gpu = parcel, gpu_named(parcel.device)
        self.source = xp.zeros((parcel.ahead, parcel.nbytes), "uint8")
        self.counter, self._arrived = xp.zeros(1, "uint64"), xp.zeros(1, "uint32")
        self._blocks = max(1, min(64, -(-parcel.nbytes // (ALIGNMENT * THREADS))))
        self._text, self._given = fed_text(also, backend.address_of(parcel.row), parcel.nbytes, self._blocks)
        self._blocks += sum(work.blocks for work in also)

    def __call__(self) -> None:
        """Launch it."""
        self._gpu.launch(
            self._text or FEED, "fed" if self._text else "feed", (self._blocks,), (THREADS,), self.source,
            self.parcel.row, numpy.int64(self.parcel.nbytes), self.counter, self._arrived, *self._given,
        )  # fmt: skip


def fed_text(also: Sequence[Work], row: int, nbytes: int, blocks: int) -> tuple[str, list[Any]]:
    """The kernel of a feed of so many blocks with others behind them, and what it takes besides; "" where none are.

    row: where the parcel's row begins, of so many bytes.
    """
    given: list[Any] = []
    parameters = ["const unsigned char* table", "unsigned char* row", "long long bytes"]
    parameters += ["unsigned long long* counter", "unsigned* arrived"]
    lines, begin = [f"if (block < {blocks}) {{", f"    copy_row(own, row, bytes, block, {blocks});"], blocks
    for work in also:
        names = []
        for x in work.arguments:
            kind, array = TYPES[x.dtype.name], not isinstance(x, numpy.generic)
            offset = backend.address_of(x) - row if array else -1
            if 0 <= offset < nbytes:
                names.append(f"reinterpret_cast<const {kind}*>(own + {offset})")
                continue
            names.append(f"p{len(given)}")
            parameters.append(f"{kind}{'*' * array} {names[-1]}")
            given.append(x)
        lines.append(f"}} else if (block < {begin + work.blocks}) {{")
        lines.append(f"    {work.function}({', '.join(names)}, block - {begin}u, {work.blocks}u);")
        begin += work.blocks
    texts = [path.read_text(encoding="utf-8") for path in dict.fromkeys([FEED, *(work.source for work in also)])]
    body = "\n    ".join((*lines, "}"))
    kernel = f"""extern "C" __global__ void __launch_bounds__({THREADS}) fed({", ".join(parameters)}) {{
    const unsigned long long number = *counter;
    const unsigned char* const own = table + number * bytes;
    const unsigned block = blockIdx.x;
    {body}
    count_row(counter, number, arrived);
}}
"""
    return ("".join((*texts, kernel)) if also else ""), given
