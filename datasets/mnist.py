"""MNIST: 70,000 handwritten digits of 28×28, from a folder of yours, the cache, or a download.

Source: Y. LeCun, C. Cortes, C. Burges, "The MNIST database of handwritten digits",
http://yann.lecun.com/exdb/mnist/. What is checked is the SHA-256 of the uncompressed bytes, so it does
not matter who compressed a file, or how.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from ..engine.files import opened, text_of, write_file
from ..engine.streams import console
from ..errors import DataError
from .idx import GZIP, Bytes, Split, parse_idx, unpack

MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)

# The size of each file and the SHA-256, of its uncompressed bytes, in the order of `load_data`.
FILES = {
    "train-images-idx3-ubyte": (47_040_016, "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"),
    "train-labels-idx1-ubyte": (60_008, "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"),
    "t10k-images-idx3-ubyte": (7_840_016, "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"),
    "t10k-labels-idx1-ubyte": (10_008, "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"),
}

VARIABLE = "CHALKGRAD_DATA"
ATTEMPTS = 3  # per mirror and file
PAUSE = 0.5  # seconds before the second attempt; twice that before the third
TIMEOUT = (5, 30)  # seconds to connect, and between two chunks


def load_data(
    path: str | os.PathLike[str] | None = None, *, mirrors: Iterable[str] = MIRRORS, progress: bool = True
) -> tuple[Split, Split]:
    """MNIST as `((x_train, y_train), (x_test, y_test))`, all uint8 and new at each call, as Keras gives it.

    `x_train` (60000, 28, 28), `y_train` (60000,), `x_test` (10000, 28, 28), `y_test` (10000,); ink from
    0 to 255, labels 0..9. The four files, plain or `.gz`, are looked for in the folder `path`; without
    it, in the folder that the environment variable CHALKGRAD_DATA names; and each of these may hold them
    directly or in a folder `mnist` inside. Without either, they are taken from the user's cache, and
    what is missing or damaged there is downloaded into it from the first of the `mirrors` (base URLs)
    that works, with a progress bar if `progress` and stderr is a terminal.

    Raises `DataError`, naming the file or the mirrors, where a file is missing, damaged or not the
    original, and where no mirror works.
    """
    if path is not None:
        arrays = _from_folder(path, f"path {str(path)!r}")
    elif given := os.environ.get(VARIABLE):
        arrays = _from_folder(given, f"{VARIABLE}={given}")
    else:
        arrays = _from_cache([mirrors] if isinstance(mirrors, str) else list(mirrors), progress)
    x_train, y_train, x_test, y_test = arrays
    return (x_train, y_train), (x_test, y_test)


def _candidates(folder: Path, name: str) -> list[Path]:
    files = (folder / name, folder / f"{name}.gz")
    return [file for file in files if os.path.exists(file) and not os.path.isdir(file)]  # exists: False if forbidden


def _from_folder(path: str | os.PathLike[str], given_as: str) -> list[Bytes]:
    folder = Path(os.path.expanduser(text_of(path)))  # leaves alone what it cannot expand; a Path's own way raises
    inner = folder / "mnist"
    if not any(_candidates(folder, name) for name in FILES) and os.path.isdir(inner):
        folder = inner
    missing = [name for name in FILES if not _candidates(folder, name)]
    if missing:
        there = f"lacks {', '.join(missing)}"
        if not os.path.isdir(folder):
            there = "is no folder" if os.path.exists(folder) else "is not there"
        raise DataError(
            f"{given_as}: the folder {folder} {there}. MNIST needs the four files {', '.join(FILES)}, plain or .gz, "
            f"in it or in a folder mnist inside; without a path and {VARIABLE} they are downloaded."
        )
    return [_read(_candidates(folder, name)[0], name) for name in FILES]


def _read(path: Path, name: str) -> Bytes:
    """The array in the file at `path` if it is the original file `name`, else `DataError`."""
    with opened(path) as (file, size):
        return _verified(file, size, name, path)


def _verified(file: BinaryIO, size: int, name: str, where: str | os.PathLike[str]) -> Bytes:
    """The array in `file` (IDX of `size` bytes, plain or gzip) if it is the original file `name`, else `DataError`."""
    if size > _most(name):
        raise DataError(
            f"{where} is not the {name} of MNIST: it has {size:,} bytes, where {_most(name):,} is the most."
        )
    data = unpack(file, size, where)
    array = parse_idx(data, where)
    found = hashlib.sha256(data).hexdigest()
    if found != FILES[name][1]:
        other = next((other for other, (_, sha256) in FILES.items() if sha256 == found), None)
        raise DataError(
            f"{where} is not the {name} of MNIST: "
            + (f"it is the {other}; rename it. " if other else f"it holds {array.dtype} of shape {array.shape}. ")
            + f"The SHA-256 of its uncompressed bytes should be {FILES[name][1]}, but is {found}."
        )
    return array


def _most(name: str) -> int:
    """The bytes that the file `name` takes at most: what gzip cannot compress grows by less than a hundredth."""
    return FILES[name][0] * 101 // 100 + 1024


def _from_cache(mirrors: list[str], progress: bool) -> list[Bytes]:
    from pooch import os_cache  # type: ignore[import-untyped]

    folder = Path(os_cache("chalkgrad")) / "mnist"
    arrays = []
    for name in FILES:
        array = _cached(folder, name)
        arrays.append(_download(folder, name, mirrors, progress) if array is None else array)
    return arrays


def _cached(folder: Path, name: str) -> Bytes | None:
    """The array of the cached file `name`, None where it is absent or damaged."""
    for file in _candidates(folder, name):
        with contextlib.suppress(DataError):
            return _read(file, name)
    return None


def _download(folder: Path, name: str, mirrors: list[str], progress: bool) -> Bytes:
    """Fetch `name` from the first of the `mirrors` that has it, check it, and only then put it into `folder`.

    The mirror that worked moves to the front of `mirrors`, so that the next file begins with it.
    """
    failures = []
    for mirror in list(mirrors):
        url = f"{mirror.rstrip('/')}/{name}.gz"
        try:
            data = _fetch(url, _most(name), progress)
            array = _verified(io.BytesIO(data), len(data), name, url)
        except DataError as error:  # names the URL
            failures.append(str(error))
            continue
        except OSError as error:  # as all that requests raises
            failures.append(f"{url}: {error}")
            continue
        mirrors.insert(0, mirrors.pop(mirrors.index(mirror)))
        # A server may have unpacked the file on the way, so the name follows the bytes.
        file = folder / (f"{name}.gz" if data[:2] == GZIP else name)
        try:
            write_file(file, data)
        except DataError as error:
            raise DataError(f"{error} {_way_out()}") from error
        return array
    reasons = "".join(f"\n  {failure}" for failure in failures) or " no mirror was given."
    raise DataError(f"cannot download the {name} of MNIST:{reasons}\n{_way_out()}")


def _way_out() -> str:
    files = ", ".join(f"{name}.gz" for name in FILES)
    return f"Set {VARIABLE} to a folder that holds the four files {files} to do without a download."


class _Limited(io.BytesIO):
    """A buffer for `most` bytes from `url`."""

    def __init__(self, url: str, most: int) -> None:
        super().__init__()
        self.url, self.most = url, most

    def write(self, data: Any) -> int:
        if self.tell() + len(data) > self.most:
            raise DataError(f"{self.url} is not what it should be: more than {self.most:,} bytes come from there.")
        return super().write(data)


def _fetch(url: str, most: int, progress: bool) -> bytes:
    """The bytes behind `url`, `most` of them; tries again where the failure may pass. Raises what requests raises."""
    from pooch import HTTPDownloader

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
