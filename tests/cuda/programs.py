"""Programs of kernels under a sanitizer, which a Python that is not under it cannot load: built, run, and read."""

from __future__ import annotations

import functools
import os
import re
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy
from building import MOST_BLOCKS, MOST_IN_BLOCK, Launch, dimensions, kernels_of, packed, without_comments

ORDERING = re.compile(r"\b__(syncthreads|threadfence)\s*\(\s*\)")
LEAVE_OUT = "CUDA_ON_CPU_LEAVE_OUT"
SANITIZERS = {"ASAN_OPTIONS": "detect_leaks=0", "TSAN_OPTIONS": "halt_on_error=1"}


def number_orderings(source: str) -> tuple[str, list[str]]:
    """A source whose `__syncthreads()` and `__threadfence()` are numbered, and which number is which.

    In a program of it `run_program(..., leave_out=i)` passes number i by.
    """
    found: list[str] = []

    def numbered(match: re.Match[str]) -> str:
        found.append(match[1])
        return f"cuda_on_cpu::numbered_{match[1]}({len(found) - 1})"

    return ORDERING.sub(numbered, without_comments(source)), found


def run_program(path: Path, source: str, launches: Sequence[Launch], leave_out: int | None = None) -> str:
    """Run launches in a program that `build` made of the source, and return what its sanitizer reports: "" if nothing.

    The arrays are contiguous; one that several launches take is a buffer of them all, and what the kernels wrote is
    in the arrays afterwards. leave_out: a barrier's number, see
    `number_orderings`.
    """
    arrays = list({id(v): v for launch in launches for v in launch.values if isinstance(v, numpy.ndarray)}.values())
    places = {id(array): i for i, array in enumerate(arrays)}
    parts = [_number(len(arrays))]
    for array in arrays:
        parts += [_number(array.nbytes), array.tobytes()]
    parts.append(_number(len(launches)))
    names = kernels_of(source)
    for launch in launches:
        blocks, threads = dimensions(launch.grid, MOST_BLOCKS), dimensions(launch.block, MOST_IN_BLOCK)
        parts += map(_number, (names.index(launch.kernel), *blocks, *threads, launch.shared, launch.at_once))
        for value in launch.values:
            place = places.get(id(value), -1)
            parts += [_number(place)] if place >= 0 else [_number(-1), packed(value)[0]]
    with tempfile.TemporaryDirectory() as folder:
        before, after = Path(folder, "before"), Path(folder, "after")
        before.write_bytes(b"".join(parts))
        done = subprocess.run(
            [*_unrandomized(), str(path), str(before), str(after)],
            capture_output=True,
            text=True,
            errors="replace",
            env={**os.environ, **SANITIZERS, **({} if leave_out is None else {LEAVE_OUT: str(leave_out)})},
        )
        if done.returncode and not done.stderr:
            return f"it ended with {done.returncode}"
        rest = after.read_bytes() if not done.returncode else b""
    for array in arrays if rest else ():
        array[...] = numpy.frombuffer(rest[: array.nbytes], array.dtype).reshape(array.shape)
        rest = rest[array.nbytes :]
    return done.stderr


def _number(value: int) -> bytes:
    return struct.pack("q", value)


@functools.cache
def _unrandomized() -> list[str]:
    """How to start a program without random addresses, which the thread sanitizer of some systems needs."""
    setarch = shutil.which("setarch")
    works = setarch and subprocess.run([setarch, "-R", "true"], capture_output=True).returncode == 0
    return [setarch, "-R"] if setarch and works else []
