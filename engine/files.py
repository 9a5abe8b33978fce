"""Files written so that each is there whole or not at all, and read as far as they have an end.

Everything that chalkgrad writes goes through here.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import shutil
import stat
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from ..errors import DataError, UsageError

LONGEST = 200
"""Bytes of a file's name that its temporary name repeats: names end at 255."""


@contextlib.contextmanager
def replacing(
    path: str | os.PathLike[str], *, sync: bool = True, before: Callable[[], None] | None = None
) -> Iterator[Path]:
    """Yield a temporary path; when the block ends well, what is in it becomes the file `path`.

    A file is replaced by renaming, so that it is the old or the new one at any moment, also after a power failure
    (sync: wait for the disk). It keeps its permissions, and a symbolic link stays: its target is replaced. A device, a
    pipe, or the file that is standard output is written to. before: called when all is on the disk, before the rename.

    If the block raises (a full disk, say), the temporary file is removed and whatever stood at `path` is untouched.
    Raises `DataError` where it cannot be written: before the block, as far as that can be known then; `UsageError` for
    what is no path.
    """
    asked = text_of(path)
    path = Path(asked)
    try:
        target, there = _target(path)
        if asked.endswith(os.sep):  # names a folder, also where there is none
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        temporary = _made(target or Path(tempfile.gettempdir(), path.name), there)
    except OSError as error:
        raise DataError(f"cannot write {path}: {error.strerror}. Choose a folder that can be written to.") from error
    try:
        yield temporary
        if target is None:
            _pour(temporary, path)
            return
        if sync:
            _sync(temporary)
        if before:
            before()
        os.replace(temporary, target)
        if sync:
            _sync(target.parent)
    except BrokenPipeError:  # who reads has gone: no fault of the file
        raise
    except OSError as error:
        raise DataError(f"cannot write {path}: {error.strerror}. What stood there before is unchanged.") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_file(path: str | os.PathLike[str], contents: str | bytes, *, sync: bool = True) -> None:
    """Write one file, a text as UTF-8, by `replacing`."""
    with replacing(path, sync=sync) as temporary:
        temporary.write_bytes(contents.encode(errors="backslashreplace") if isinstance(contents, str) else contents)


def sweep(folder: Path, names: Iterable[str]) -> None:
    """Remove what killed processes have left of writing files of these names. Only where no other process writes."""
    for path in [path for path in folder.iterdir() if is_leftover(path.name, names)]:
        path.unlink(missing_ok=True)


def is_leftover(name: str, names: Iterable[str]) -> bool:
    """Whether it is a temporary name of one of the files."""
    return any(re.fullmatch(rf"\.{re.escape(each)}\.[0-9a-z_]{{8,16}}", name) for each in names)


def _target(path: Path) -> tuple[Path | None, os.stat_result | None]:
    """The file to rename onto, None where there is to be written into what is there; and what is there."""
    try:
        there = os.stat(path)
    except FileNotFoundError:  # or a link to a file that is not there yet
        return Path(os.path.realpath(path)), None
    if stat.S_ISDIR(there.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if stat.S_ISBLK(there.st_mode):
        raise OSError(errno.EINVAL, "it is a whole disk")
    if not os.access(path, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    target = Path(os.path.realpath(path))
    plain = stat.S_ISREG(there.st_mode) and _stream_of(there) is None and os.path.exists(target)
    return target if plain and os.path.samestat(os.stat(target), there) else None, there


def _made(target: Path, there: os.stat_result | None) -> Path:
    """A new empty file beside the target, with the permissions of what is there, else those of any new file."""
    target.parent.mkdir(parents=True, exist_ok=True)
    name = os.fsdecode(os.fsencode(target.name)[:LONGEST])
    temporary = target.with_name(f".{name}.{secrets.token_hex(8)}")
    with open(temporary, "xb") as file:  # an object: where an interrupt comes at once, it still closes itself
        if there and stat.S_ISREG(there.st_mode) and hasattr(os, "fchown"):
            with contextlib.suppress(OSError):  # another's file stays another's only where root writes
                os.fchown(file.fileno(), there.st_uid, there.st_gid)
            os.fchmod(file.fileno(), stat.S_IMODE(there.st_mode))
    return temporary


def _stream_of(there: os.stat_result) -> int | None:
    """The number of our standard output, or error output, where that is this file: /dev/stdout, say."""
    for number in (1, 2):
        with contextlib.suppress(OSError):
            if os.path.samestat(os.fstat(number), there):
                return number
    return None


def _pour(temporary: Path, path: Path) -> None:
    """Write what is in the temporary file into a device or a pipe."""
    number = _stream_of(os.stat(path))
    if number is None:
        handle = os.open(path, os.O_WRONLY | getattr(os, "O_NOCTTY", 0))
    else:
        if sys.stdout:
            sys.stdout.flush()
        handle = os.dup(number)
    with open(handle, "wb") as into, open(temporary, "rb") as source:
        shutil.copyfileobj(source, into)


def _sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk, as far as its system tells."""
    if path.is_dir() and os.name != "posix":
        return
    handle = os.open(path, os.O_RDONLY if os.name == "posix" else os.O_RDWR)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # a file system that knows no fsync
            raise
    finally:
        os.close(handle)


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
