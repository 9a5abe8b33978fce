"""Kernels on the CPU: a .cu source built by g++, and its kernels launched with NumPy's arrays."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import itertools
import os
import re
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy

HERE = Path(__file__).parent
SOURCE_NAME = "kernel.cu"

KERNEL = re.compile(
    r'extern\s+"C"\s+__global__\s+(?:__launch_bounds__\s*\([^()]*\)\s*)?void\s+'
    r"(?:__launch_bounds__\s*\([^()]*\)\s*)?(\w+)\s*\("
)
COMMENT = re.compile(r'"(?:\\.|[^"\\\n])*"|//[^\n]*|/\*.*?\*/', re.DOTALL)
SHARED = re.compile(
    r"(extern\s+)?__shared__\s+(?:__align__\(\d+\)\s+)?(?P<type>[\w:][\w: ]*?)\s+(?P<name>\w+)\s*(?P<dims>\[[^;]*)?;"
)

FLAGS = ("-std=c++20", "-ffp-contract=off", "-fno-strict-aliasing", "-U_FORTIFY_SOURCE", "-fvisibility=hidden")
WARNINGS = ("-Wall", "-Wextra", "-Werror", "-Wno-unknown-pragmas")
THREADS = {"fibers": (), "real": ("-DCUDA_ON_CPU_REAL_THREADS", "-pthread")}
MOST_THREADS = 1024
MOST_BLOCKS = (2**31 - 1, 65535, 65535)
MOST_IN_BLOCK = (1024, 1024, 64)


class BuildError(Exception):
    """A source that does not compile; the message is the compiler's."""


def without_comments(source: str) -> str:
    """The source with its comments blanked; lines keep their numbers."""

    def blank(match: re.Match[str]) -> str:
        return match[0] if match[0].startswith('"') else re.sub(r"[^\n]", " ", match[0])

    return COMMENT.sub(blank, source)


def kernels_of(source: str) -> list[str]:
    """The names of the kernels in a source, in order."""
    return KERNEL.findall(without_comments(source))


def constant(source: str, name: str) -> int:
    """The whole number that a source gives a macro by `#define NAME 123`."""
    match = re.search(rf"^\s*#\s*define\s+{name}\s+(\d+)\s*$", without_comments(source), re.MULTILINE)
    if not match:
        raise KeyError(f"no `#define {name} NUMBER` in this source")
    return int(match[1])


def build(source: str, options: Sequence[str] = (), threads: str = "fibers", sanitize: str | None = None) -> Path:
    """A shared library of a source's kernels, for `Library`; with `sanitize`, a program for `run_program`.

    options: of nvcc or NVRTC; only -D… and -U… count. threads: "fibers", or "real", one of the system for each of a
    block; a program always has real ones. sanitize: "thread" or "address,undefined". What was built before is kept.
    Raises BuildError.
    """
    defines = [option for option in options if option.startswith(("-D", "-U"))]
    flags = [*FLAGS, *defines, *THREADS["real" if sanitize else threads]]
    if sanitize:
        flags += ["-O1", "-g", f"-fsanitize={sanitize}", "-fno-sanitize-recover=undefined"]
    else:
        flags += ["-O1", "-fPIC", "-shared", "-Wl,-Bsymbolic"]
    text = _wrapped(source, threads if not sanitize else "real", bool(sanitize))
    headers = [path.read_bytes() for path in sorted(HERE.glob("*.h"))]
    key = hashlib.sha256(b"\0".join([text.encode(), repr((flags, WARNINGS, _compiler())).encode(), *headers]))
    built = cache() / key.hexdigest()[:32]
    if not built.exists():
        with tempfile.TemporaryDirectory(dir=cache()) as folder:
            (Path(folder) / "wrapped.cpp").write_text(text, encoding="utf-8")
            command = [_compiler()[0], *flags, *WARNINGS, "-isystem", str(HERE), "wrapped.cpp", "-o", "built"]
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
            if done.returncode:
                raise BuildError(f"{' '.join(command)}\n{done.stderr}")
            (Path(folder) / "built").rename(built)  # at once, so that nobody finds half a file
    return built


def _shared(source: str, threads: str) -> str:
    """The source with its __shared__ variables where cuda_fibers.h or cuda_real_threads.h has them."""
    numbers = itertools.count()

    def declared(match: re.Match[str]) -> str:
        kind, name = match["type"], match["name"]
        if match[1]:
            return f"{kind}* const {name} = static_cast<{kind}*>(cuda_on_cpu::dynamic_shared());"
        if threads == "fibers":
            return match[0]
        return f"auto& {name} = cuda_on_cpu::shared<{kind} {match['dims'] or ''}, {next(numbers)}>();"

    return SHARED.sub(declared, source)


def _wrapped(source: str, threads: str, program: bool) -> str:
    entries = "".join(f"CUDA_ON_CPU_KERNEL({name}), " for name in kernels_of(source))
    lines = [
        "#include <cuda_on_cpu.h>",
        f'#line 1 "{SOURCE_NAME}"',
        _shared(source, threads),
        '#line 1 "launches.cpp"',
        f"static const cuda_on_cpu::Kernel kernels[] = {{{entries}{{nullptr, nullptr, 0, nullptr}}}};",
    ]
    if program:
        lines += [
            "#include <cuda_program.h>",
            "int main(int, char** paths) { return cuda_on_cpu::run_file(kernels, paths[1], paths[2]); }",
        ]
    else:
        lines += [
            '#define EXPORTED extern "C" __attribute__((visibility("default")))',
            "EXPORTED int cuda_on_cpu_count(int kernel) { return kernels[kernel].count; }",
            "EXPORTED const char* cuda_on_cpu_name(int kernel) { return kernels[kernel].name; }",
            "EXPORTED size_t cuda_on_cpu_size(int kernel, int i) { return kernels[kernel].sizes[i]; }",
            "EXPORTED const char* cuda_on_cpu_launch(",
            "    int kernel, const unsigned* grid, const unsigned* block, size_t shared, void** arguments,",
            "    int at_once) {",
            "    dim3 blocks(grid[0], grid[1], grid[2]), threads(block[0], block[1], block[2]);",
            "    return kernels[kernel].launch(blocks, threads, shared, arguments, at_once);",
            "}",
        ]
    return "\n".join(lines) + "\n"


@functools.cache
def _compiler() -> tuple[str, str]:
    path = shutil.which("g++")
    if path is None:
        raise FileNotFoundError("g++ is not installed")
    version = subprocess.run([path, "-dumpfullversion", "-dumpmachine"], capture_output=True, text=True, check=True)
    return path, version.stdout


@functools.cache
def cache() -> Path:
    """The folder of what was built: the user's own, among the temporary files."""
    folder = Path(tempfile.gettempdir()) / f"chalkgrad-cuda-on-cpu-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.getuid():
        raise PermissionError(f"{folder} is another user's")
    return folder


def packed(*values: Any) -> list[bytes]:
    """The bytes of a kernel's arguments: of an array its pointer, of None a null pointer, of a NumPy number itself."""
    return [_packed(value) for value in values]


def _packed(value: Any) -> bytes:
    if value is None:
        return bytes(8)
    if isinstance(value, numpy.ndarray):
        return struct.pack("P", value.ctypes.data)
    if isinstance(value, numpy.generic):
        return value.tobytes()
    raise TypeError(f"{value!r} has no size of its own: give it one, as numpy.int32({value!r})")


def dimensions(shape: Sequence[int], most: Sequence[int]) -> tuple[int, ...]:
    """A grid or a block in all three dimensions; raises ValueError where it is beyond the device's limits."""
    full = (*map(int, shape), *(1,) * (3 - len(shape)))
    if len(full) > 3 or any(not 1 <= n <= limit for n, limit in zip(full, most, strict=True)):
        raise ValueError(f"invalid configuration: {tuple(shape)} is not within 1 and {tuple(most)}")
    return full


@dataclass(frozen=True)
class Launch:
    """One launch of a kernel; values are as for `packed`. at_once: all its blocks, as in a cooperative launch."""

    kernel: str
    grid: Sequence[int]
    block: Sequence[int]
    values: Sequence[Any]
    shared: int = 0
    at_once: bool = False


class Library:
    """The kernels of a built library. names: those that it has."""

    def __init__(self, path: Path) -> None:
        self._library = ctypes.CDLL(str(path))
        self._library.cuda_on_cpu_name.restype = ctypes.c_char_p
        self._library.cuda_on_cpu_size.restype = ctypes.c_size_t
        self._launch = self._library.cuda_on_cpu_launch
        self._launch.restype = ctypes.c_char_p
        self._launch.argtypes = [ctypes.c_int, *[ctypes.c_void_p] * 2, ctypes.c_size_t, ctypes.c_void_p, ctypes.c_int]
        self._kernels: dict[str, tuple[int, list[int]]] = {}
        while name := self._library.cuda_on_cpu_name(len(self._kernels)):
            i = len(self._kernels)
            sizes = [self._library.cuda_on_cpu_size(i, j) for j in range(self._library.cuda_on_cpu_count(i))]
            self._kernels[name.decode()] = i, sizes
        self.names = tuple(self._kernels)

    def launch(
        self, name: str, grid: Sequence[int], block: Sequence[int], arguments: Sequence[bytes], shared: int = 0,
        at_once: bool = False,
    ) -> None:  # fmt: skip
        """Run a kernel to its end. arguments: the bytes of each parameter. shared: bytes of `extern __shared__`.
        at_once: all blocks, which may wait for one another.

        Raises TypeError where the arguments are not the parameters', ValueError for a grid or block that no device
        would take, and RuntimeError where threads wait for each other for ever.
        """
        index, sizes = self._kernels[name]
        given = [len(argument) for argument in arguments]
        if given != sizes:
            raise TypeError(f"{name} has parameters of {sizes} bytes, not {given}")
        blocks, threads = dimensions(grid, MOST_BLOCKS), dimensions(block, MOST_IN_BLOCK)
        if threads[0] * threads[1] * threads[2] > MOST_THREADS:
            raise ValueError(f"invalid configuration: a block of {threads} has more than {MOST_THREADS} threads")
        wrong = self._launch(
            index,
            (ctypes.c_uint * 3)(*blocks),
            (ctypes.c_uint * 3)(*threads),
            shared,
            (ctypes.c_char_p * len(sizes))(*arguments),
            at_once,
        )
        if wrong:
            raise RuntimeError(f"{name}: {wrong.decode()}")

    def run(self, launch: Launch) -> None:
        """Run a launch, as `launch` does."""
        self.launch(launch.kernel, launch.grid, launch.block, packed(*launch.values), launch.shared, launch.at_once)
