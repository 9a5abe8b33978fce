"""The compilers that the tests of kernels need."""

from __future__ import annotations

import os
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path

import pytest


def find_nvcc() -> str | None:
    """The path of nvcc: on the PATH, or where its wheel has it."""
    wheels = find_spec("nvidia")
    places = wheels.submodule_search_locations if wheels else None
    installed = [path for place in places or () for path in sorted(Path(place).glob("*/bin/nvcc"))]
    return shutil.which("nvcc") or next(map(str, installed), None)


def skip_without(tool: str, remedy: str, found: str | None = None) -> pytest.MarkDecorator:
    """A mark for tests that need a tool: without it they are skipped, but on CI they run, and fail.

    found: where the tool is, if that is not on the PATH.
    """
    missing = not (found or shutil.which(tool)) and not os.environ.get("CI")
    return pytest.mark.skipif(missing, reason=f"there is no {tool}: {remedy}")


needs_gxx = skip_without("g++", "install your system's C++ compiler")
NVCC = find_nvcc()
needs_nvcc = skip_without("nvcc", "pip install 'nvidia-cuda-nvcc>=13'", NVCC)
FLAGS = ["-std=c++17", "-cubin", "-Werror", "all-warnings", "-Xptxas", "-warn-spills"]


def compiled(file: Path, folder: Path, architecture: str, options: list[str]) -> bytes | str:
    """What nvcc says where it refuses the file, else what it made."""
    cubin = folder / "made.cubin"
    command = [NVCC or "nvcc", *FLAGS, f"-arch={architecture}", *options, "-o", str(cubin), str(file)]
    done = subprocess.run(command, capture_output=True, text=True)
    return done.stdout + done.stderr if done.returncode else cubin.read_bytes()
