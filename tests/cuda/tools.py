"""The compilers that the tests of kernels need."""

from __future__ import annotations

import os
import shutil
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
