"""Files as their makers published them: from a folder of yours, the cache, or a download, and checked by a digest."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO, NamedTuple

from ..engine.files import opened, text_of, write_file
from ..errors import DataError
from .download import fetch
from .idx import GZIP, parse_idx, unpack

VARIABLE = "CHALKGRAD_DATA"


class Original(NamedTuple):
    """What is known of a file: its size in bytes, and its SHA-256, or its MD5 where its maker tells no other."""

    size: int
    digest: str


class Originals:
    """The files of a data set.

    title: what it is called. folder: of a user's folder the part, and the folder of the cache. files: by name, in the
    order in which `load` gives them.
    """

    def __init__(self, title: str, folder: str, files: dict[str, Original]) -> None:
        self.title, self.folder, self.files = title, folder, files

    def load(
        self, path: str | os.PathLike[str] | None, mirrors: str | Iterable[str], progress: bool
    ) -> list[bytes | bytearray]:
        """The contents of all files, in their order.

        They are looked for in the folder `path`; without it, in the folder that the environment variable
        CHALKGRAD_DATA names; and each of these may hold them directly or in a folder of the data set's name inside.
        Without either, they are taken from the user's cache, and what is missing or damaged there is downloaded into it
        from the first of the `mirrors` (base URLs) that works, with a progress bar if `progress` and stderr is a
        terminal. Raises `DataError`, naming the file or the mirrors, where a file is missing, damaged or not the
        original, and where no mirror works.
        """
        if path is not None:
            return self._from_folder(path, f"path {str(path)!r}")
        if given := os.environ.get(VARIABLE):
            return self._from_folder(given, f"{VARIABLE}={given}")
        return self._from_cache([mirrors] if isinstance(mirrors, str) else list(mirrors), progress)

    def names(self, name: str) -> tuple[str, ...]:
        """What the file `name` may be called."""
        return (name,)

    def contents(self, file: BinaryIO, size: int, where: str | os.PathLike[str]) -> bytes | bytearray:
        """What the digest is of."""
        return file.read(size)

    def told(self, data: bytes | bytearray, where: str | os.PathLike[str]) -> str:
        """What is in a file that is none of the originals; raises DataError where it is damaged."""
        return f"it holds {len(data):,} bytes"

    def _candidates(self, folder: Path, name: str) -> list[Path]:
        files = [folder / each for each in self.names(name)]
        return [file for file in files if os.path.exists(file) and not os.path.isdir(file)]  # False if forbidden

    def _from_folder(self, path: str | os.PathLike[str], given_as: str) -> list[bytes | bytearray]:
        folder = Path(os.path.expanduser(text_of(path)))  # leaves alone what it cannot expand; a Path's own way raises
        inner = folder / self.folder
        if os.path.isdir(inner) and (
            any(self._candidates(inner, name) for name in self.files)
            or not any(self._candidates(folder, name) for name in self.files)
        ):
            folder = inner
        missing = [name for name in self.files if not self._candidates(folder, name)]
        if missing:
            there = f"lacks {', '.join(missing)}"
            if not os.path.isdir(folder):
                there = "is no folder" if os.path.exists(folder) else "is not there"
            raise DataError(
                f"{given_as}: the folder {folder} {there}. {self.title} needs {self._needs()}, in it or in a folder "
                f"{self.folder} inside; without a path and {VARIABLE} it is downloaded."
            )
        return [self._read(self._candidates(folder, name)[0], name) for name in self.files]

    def _needs(self) -> str:
        return f"the file{'s' * (len(self.files) > 1)} {', '.join(self.files)}"

    def _read(self, path: Path, name: str) -> bytes | bytearray:
        """What is in the file at `path` if it is the original file `name`, else `DataError`."""
        with opened(path) as (file, size):
            return self._verified(file, size, name, path)

    def _verified(self, file: BinaryIO, size: int, name: str, where: str | os.PathLike[str]) -> bytes | bytearray:
        """What is in `file` of `size` bytes if it is the original file `name`, else `DataError`."""
        if size > self._most(name):
            raise DataError(
                f"{where} is not the {name} of {self.title}: it has {size:,} bytes, where {self._most(name):,} is the "
                "most."
            )
        data, wanted = self.contents(file, size, where), self.files[name].digest
        kind = "sha256" if len(wanted) == 64 else "md5"
        found = hashlib.new(kind, data, usedforsecurity=False).hexdigest()
        if found != wanted:
            other = next((other for other, (_, digest) in self.files.items() if digest == found), None)
            raise DataError(
                f"{where} is not the {name} of {self.title}: "
                + (f"it is the {other}; rename it. " if other else f"{self.told(data, where)}. ")
                + f"The {'SHA-256' if kind == 'sha256' else 'MD5'} of its{self.of_what} bytes should be {wanted}, but "
                f"is {found}."
            )
        return data

    of_what = ""

    def _most(self, name: str) -> int:
        """The bytes that the file takes at most: what gzip cannot compress grows by less than a hundredth."""
        return self.files[name].size * 101 // 100 + 1024

    def _from_cache(self, mirrors: list[str], progress: bool) -> list[bytes | bytearray]:
        from pooch import os_cache  # type: ignore[import-untyped]

        folder = Path(os_cache("chalkgrad")) / self.folder
        found = []
        for name in self.files:
            data = self._cached(folder, name)
            found.append(self._download(folder, name, mirrors, progress) if data is None else data)
        return found

    def _cached(self, folder: Path, name: str) -> bytes | bytearray | None:
        """What is in the cached file `name`, None where it is absent or damaged."""
        for file in self._candidates(folder, name):
            with contextlib.suppress(DataError):
                return self._read(file, name)
        return None

    def _download(self, folder: Path, name: str, mirrors: list[str], progress: bool) -> bytes | bytearray:
        """Fetch `name` from the first of the `mirrors` that has it, check it, and only then put it into `folder`.

        The mirror that worked moves to the front of `mirrors`, so that the next file begins with it.
        """
        failures = []
        published = self.names(name)[-1]
        for mirror in list(mirrors):
            url = f"{mirror.rstrip('/')}/{published}"
            try:
                fetched = fetch(url, self._most(name), progress)
                data = self._verified(io.BytesIO(fetched), len(fetched), name, url)
            except DataError as error:  # names the URL
                failures.append(str(error))
                continue
            except OSError as error:  # as all that requests raises
                failures.append(f"{url}: {error}")
                continue
            mirrors.insert(0, mirrors.pop(mirrors.index(mirror)))
            # A server may have unpacked the file on the way, so the name follows the bytes.
            file = folder / (published if fetched[:2] == GZIP else name)
            try:
                write_file(file, fetched)
            except DataError as error:
                raise DataError(f"{error} {self._way_out()}") from error
            return data
        reasons = "".join(f"\n  {failure}" for failure in failures) or " no mirror was given."
        raise DataError(f"cannot download the {name} of {self.title}:{reasons}\n{self._way_out()}")

    def _way_out(self) -> str:
        files = ", ".join(self.names(name)[-1] for name in self.files)
        return f"Set {VARIABLE} to a folder that holds {files} to do without a download."


class Idx(Originals):
    """IDX files, plain or `.gz`: the digest is of the uncompressed bytes, whoever compressed them."""

    of_what = " uncompressed"

    def names(self, name: str) -> tuple[str, ...]:
        """Plain or compressed."""
        return name, f"{name}.gz"

    def contents(self, file: BinaryIO, size: int, where: str | os.PathLike[str]) -> bytes | bytearray:
        """The uncompressed bytes."""
        return unpack(file, size, where)

    def told(self, data: bytes | bytearray, where: str | os.PathLike[str]) -> str:
        """The array's dtype and shape."""
        array = parse_idx(data, where)
        return f"it holds {array.dtype} of shape {array.shape}"
