"""Bytes from a URL: bounded, with a bar on a terminal, tried again where a failure may pass."""

from __future__ import annotations

import contextlib
import io
import sys
import time
from collections.abc import Iterator
from typing import Any

from ..engine.streams import console
from ..errors import DataError

ATTEMPTS = 3  # per mirror and file
PAUSE = 0.5  # seconds before the second attempt; twice that before the third
TIMEOUT = (5, 30)  # seconds to connect, and between two chunks


class _Limited(io.BytesIO):
    """A buffer for `most` bytes from `url`."""

    def __init__(self, url: str, most: int) -> None:
        super().__init__()
        self.url, self.most = url, most

    def write(self, data: Any) -> int:
        if self.tell() + len(data) > self.most:
            raise DataError(f"{self.url} is not what it should be: more than {self.most:,} bytes come from there.")
        return super().write(data)


def fetch(url: str, most: int, progress: bool) -> bytes:
    """The bytes behind `url`, `most` of them; tries again where the failure may pass. Raises what requests raises."""
    from pooch import HTTPDownloader  # type: ignore[import-untyped]

    attempt = 1
    while True:
        buffer = _Limited(url, most)
        try:
            with _bar(url, progress and sys.stderr.isatty()) as bar:
                HTTPDownloader(progressbar=bar, chunk_size=1 << 16, timeout=TIMEOUT)(url, buffer, None)
            return buffer.getvalue()
        except OSError as error:
            if attempt == ATTEMPTS or not _may_pass(error):
                raise
        time.sleep(PAUSE * attempt)
        attempt += 1


def _may_pass(error: OSError) -> bool:
    """Whether another attempt may do better: a dropped connection, a busy server; not a 404, not silence."""
    from requests import exceptions

    if isinstance(error, exceptions.HTTPError):
        return error.response is not None and (error.response.status_code >= 500 or error.response.status_code == 429)
    if isinstance(error, exceptions.ConnectTimeout):  # each attempt would wait as long again
        return False
    return isinstance(error, exceptions.ConnectionError | exceptions.Timeout | exceptions.ChunkedEncodingError)


@contextlib.contextmanager
def _bar(url: str, show: bool) -> Iterator[Any]:
    """What pooch takes for a progress bar, drawn by rich on stderr; False, for none, unless `show`."""
    if not show:
        yield False
        return
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console(file=None, stderr=True)) as progress:
        yield _RichBar(progress, url.rpartition("/")[2])


class _RichBar:
    """What pooch does to a progress bar: it sets `total`, calls `update`, and `reset` and `close` at the end."""

    def __init__(self, progress: Any, description: str) -> None:
        self.progress = progress
        self.task = progress.add_task(description, total=None)
        self.total = 0  # stays 0 where the server does not tell
        self.done = 0

    def update(self, count: int) -> None:
        """Move on by `count` bytes: a whole chunk each time, so the last one may claim too much."""
        self.done = min(self.done + count, self.total or sys.maxsize)
        self.progress.update(self.task, completed=self.done, total=self.total or None)

    def reset(self) -> None:
        """Nothing: pooch starts over only to fill the bar at the end, and it is full by then."""

    def close(self) -> None:
        """Nothing: the bar belongs to the `with` around it, which also ends when a download fails."""
