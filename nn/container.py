"""A safetensors file as a container: what its header says is checked before anything of the size that it names is made.

Eight bytes give the header's length, the header is JSON (a dtype, a shape and a place for each tensor, texts under
`__metadata__`), the tensors follow (https://github.com/huggingface/safetensors). The file is read, not mapped into
memory, so that one which is cut short meanwhile is an error rather than the end of the process.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy
import numpy.typing

from ..checks import wholes
from ..errors import DataError, UsageError
from .schema import shown

METADATA = "__metadata__"
DTYPES = {f"{kind}{bits}": f"{name}{bits}" for kind, name, sizes in (
    ("F", "float", (16, 32, 64)), ("I", "int", (8, 16, 32, 64)), ("U", "uint", (8, 16, 32, 64)),
) for bits in sizes} | {"BOOL": "bool"}  # fmt: skip
"""The dtypes that the format and NumPy both have, by their names in the format."""
EXTENSION = ".safetensors"
OTHERS = {
    extension: whose
    for whose, extensions in {
        "Keras's": ".h5 .hdf5", "PyTorch's": ".bin .pt .pth", "TensorFlow's": ".ckpt .pb .tflite",
        "NumPy's": ".npy .npz", "pickle's": ".joblib .pickle .pkl", "ONNX's": ".onnx", "JSON's": ".json",
    }.items()
    for extension in extensions.split()
}  # fmt: skip
"""Extensions that promise another format, and whose."""
CHUNK = 1 << 20
"""Bytes that are read at a time where none are kept."""
ROOM = 90_000_000
"""Bytes that a header may take once it is read, however small the file: half a million numbers of a history, say."""

Shape = tuple[int, ...]
Values = numpy.typing.NDArray[Any]


@dataclass(frozen=True)
class Entry:
    """A tensor's dtype, shape, and where in the file it begins."""

    dtype: str
    shape: Shape
    place: int


class Container:
    """A safetensors file, open for reading: its `metadata`, and its tensors' `entries` by name. A context manager.

    Raises DataError where there is no such file, or what is there is no file of this format from its first byte to its
    last: each tensor begins where another ends, in a dtype of `DTYPES`, and no name stands twice.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = path
        self._file = _opened(path)
        self._begins_as_zip = False
        try:
            self.size = os.fstat(self._file.fileno()).st_size
            header = self._header()
            self.metadata: dict[str, str] = header.pop(METADATA, {})
            if not isinstance(self.metadata, dict) or not all(isinstance(v, str) for v in self.metadata.values()):
                raise ValueError("its metadata are no texts")
            self.entries = self._placed(header)
        except (ValueError, OSError) as error:
            self._file.close()
            raise self.damaged(error) from error
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Container:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def damaged(self, why: object) -> DataError:
        """The error for a file that is not what it should be."""
        if self._begins_as_zip:
            return DataError(
                f"{self.path} is no model file, but an archive, as Keras writes them: load it there, and hand its "
                "weights over, by set_weights(model.get_weights())."
            )
        return DataError(f"{self.path} is no model file, or it is damaged ({why}).")

    def _header(self) -> dict[str, Any]:
        head = self._file.read(8)
        self._begins_as_zip = head[:4] == b"PK\3\4"
        length = int.from_bytes(head, "little")
        if not 2 <= length <= self.size - 8:
            raise ValueError(f"it has {self.size} bytes, and its header would have {length}")
        if length > (ROOM + self.size) // 4:
            raise ValueError(f"its header has {length} bytes")
        header = parsed(str(self._file.read(length), "utf-8"), self.size)
        self._begin = 8 + length
        if not isinstance(header, dict):
            raise ValueError(f"its header is a {type(header).__name__}")
        return header

    def _placed(self, header: Mapping[str, Any]) -> dict[str, Entry]:
        entries, ends = {}, {}
        for name, value in header.items():
            if not isinstance(value, dict) or value.keys() != {"dtype", "shape", "data_offsets"}:
                raise ValueError(f"its header says {shown(value)} of {shown(name)}")
            dtype, shape, places = value["dtype"], wholes(value["shape"]), wholes(value["data_offsets"])
            if not isinstance(dtype, str) or dtype not in DTYPES:
                raise ValueError(f"{shown(name)} has the dtype {shown(dtype)}, which is none of {[*DTYPES]}")
            if shape is None or places is None or len(places) != 2 or min((*shape, *places)) < 0:
                raise ValueError(f"{shown(name)} has no shape and place, but {shown(value)}")
            if places[1] - places[0] != math.prod(shape) * numpy.dtype(DTYPES[dtype]).itemsize:
                raise ValueError(f"{shown(name)} has the shape {shown(shape)}, and lies at {shown(places)}")
            entries[name], ends[name] = Entry(DTYPES[dtype], shape, self._begin + places[0]), self._begin + places[1]
        place = self._begin
        for name in sorted(entries, key=lambda name: (entries[name].place, ends[name])):
            if entries[name].place != place:
                raise ValueError(f"{shown(name)} begins at {entries[name].place}, where {place} would be right")
            place = ends[name]
        if place != self.size:
            raise ValueError(f"its tensors end at {place}, and the file at {self.size}")
        return entries

    def read_into(self, name: str, array: Values) -> None:
        """Read a tensor into a C-contiguous array of its dtype and shape."""
        try:
            self._file.seek(self.entries[name].place)
            if self._file.readinto(array.reshape(-1).view("uint8")) != array.nbytes:
                raise OSError("it ends too early")
        except OSError as error:
            raise self.damaged(error) from error

    def chunks(self, name: str) -> Iterator[bytes]:
        """A tensor's bytes, some at a time."""
        entry = self.entries[name]
        left = math.prod(entry.shape) * numpy.dtype(entry.dtype).itemsize
        try:
            self._file.seek(entry.place)
            while left and (chunk := self._file.read(min(left, CHUNK))):
                left -= len(chunk)
                yield chunk
        except OSError as error:
            raise self.damaged(error) from error

    def digests(self, description: Mapping[str, Any]) -> Iterator[str]:
        """The `digests` of a description and these tensors."""
        return digests(description, self.entries, self.chunks)


def digests(
    description: Mapping[str, Any], tensors: Mapping[str, Any], bytes_of: Callable[[str], Iterable[Any]]
) -> Iterator[str]:
    """SHA-256 over a description and each tensor's name, dtype and shape; then over their bytes, which takes longer.

    tensors: what has dtype and shape, by name; bytes_of: the bytes of one in row-major order, in parts.
    """
    names = sorted(tensors)
    head = json.dumps([description, *([name, str(tensors[name].dtype), *tensors[name].shape] for name in names)])
    yield hashlib.sha256(head.encode()).hexdigest()
    found = hashlib.sha256()
    for name in names:
        for part in bytes_of(name):
            found.update(part)
    yield found.hexdigest()


def digest_of(description: Mapping[str, Any], arrays: Mapping[str, Values]) -> str:
    """The `digests` of a description and C-contiguous arrays, in one."""
    return "".join(digests(description, arrays, lambda name: [arrays[name]]))


def check_extension(path: str | os.PathLike[str]) -> None:
    """Raise UsageError where a path promises another format than safetensors; one with an unknown extension passes."""
    stem, extension = os.path.splitext(os.fspath(path))
    if whose := OTHERS.get(str(extension).lower()):
        raise UsageError(
            f"{path}: the extension {extension} is {whose}, and a model file is safetensors: call it {stem}{EXTENSION}."
        )


def parsed(text: str, size: int) -> Any:
    """What a JSON text says. Raises ValueError where it is none, nests too deep, has a key twice in one place, or would
    take more memory than `ROOM` and a file of `size` bytes together.
    """
    check_room(text, size)
    try:
        return json.loads(text, object_pairs_hook=_once)
    except RecursionError:
        raise ValueError("it nests too deep") from None


def check_room(text: str, size: int) -> None:
    """Raise ValueError for a JSON text that would take more memory than `ROOM` and a file of `size` bytes together."""
    takes = 4 * len(text) + 40 * text.count(",") + 30 * text.count('"') + 120 * sum(map(text.count, ":{["))  # at most
    if takes > ROOM + size or len(text) > (ROOM + size) // 4:
        raise ValueError(f"its header of {len(text):,} characters would take {takes / 1e6:.0f} MB in memory")


def check_header(data: bytes) -> None:
    """Raise ValueError for a file whose header is longer than a `Container` takes."""
    check_room(str(data[8 : 8 + int.from_bytes(data[:8], "little")], "utf-8"), len(data))


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"the key {shown(twice)} stands twice in one place")
    return made


def _opened(path: str | os.PathLike[str]) -> Any:
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except FileNotFoundError as error:
        raise DataError(f"{path}: there is no such file.") from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in it
        raise DataError(f"{path!r} cannot be read: {getattr(error, 'strerror', None) or error}.") from error
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise DataError(f"{path}: there is no such file: what is there is a folder, a device or a pipe.")
    return open(handle, "rb")
