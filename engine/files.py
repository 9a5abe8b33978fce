"""Files written so that they are there whole or not at all, and read as far as they have an end."""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from ..errors import DataError, UsageError


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside `path`; when the block ends well, rename it to `path`.

    If the block raises (a full disk, say), the temporary file is removed and whatever stood at
    `path` before is untouched. Raises `DataError` where the folder cannot be written to.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    except OSError as error:
        raise DataError(f"cannot write {path}: {error.strerror}. Choose a folder that can be written to.") from error
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o666 & ~_umask())
        os.replace(temporary, path)
    except OSError as error:
        raise DataError(f"cannot write {path}: {error.strerror}. What stood there before is unchanged.") from error
    finally:
        temporary.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


@contextlib.contextmanager
def opened(path: str | os.PathLike[str]) -> Iterator[tuple[BinaryIO, int]]:
    """Yield the file at `path`, open for reading, and its size now: what grows later is no part of it.

    Raises `DataError` where it cannot be read, in the block too, and for folders, pipes and devices, which may never
    end; `UsageError` for what is no path.
    """
    name = text_of(path)
    try:
        mode = os.stat(name).st_mode  # before it is opened: to open a pipe waits, to open a device may do something
        if not stat.S_ISREG(mode):
            raise DataError(f"cannot read {path}: it is {_kind(mode)}, not a file. Give the path of a file.")
        with open(name, "rb", opener=_at_once) as file:
            yield file, os.fstat(file.fileno()).st_size
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}. Check the path and its permissions.") from error


def text_of(path: str | os.PathLike[str]) -> str:
    """A path as text; raises `UsageError` for what is no path, `DataError` for one that no system has."""
    try:
        text = os.fsdecode(path)
    except TypeError:
        raise UsageError(f"a path is text or a pathlib.Path, not {path!r:.80}.") from None
    with contextlib.suppress(UnicodeEncodeError):
        if b"\0" not in os.fsencode(text):
            return text
    raise DataError(f"{text!a:.200} is no path: it holds characters that no file's name has. Check the path.")


def _at_once(name: str, flags: int) -> int:
    """The opener of a file that may have become a pipe meanwhile: it does not wait for a writer."""
    return os.open(name, flags | getattr(os, "O_NONBLOCK", 0))


def _kind(mode: int) -> str:
    kinds = ((stat.S_ISDIR, "a folder"), (stat.S_ISFIFO, "a pipe"), (stat.S_ISSOCK, "a socket"))
    return next((kind for holds, kind in kinds if holds(mode)), "a device")
