"""NVRTC, by which CuPy compiles: asked whether it takes a source, where its library is installed. It needs no GPU."""

from __future__ import annotations

import ctypes
import importlib.util
from functools import cache
from pathlib import Path
from typing import Any

ARCHITECTURE = "compute_90"
"""What is compiled for: instructions that the driver makes a kernel of, in a third of the time of one for a device."""


@cache
def find_library() -> Path | None:
    """The library, where the wheel nvidia-cuda-nvrtc has it."""
    wheels = importlib.util.find_spec("nvidia")
    places = wheels.submodule_search_locations if wheels else None
    return next((path for place in places or () for path in Path(place).glob("*/lib/libnvrtc.so.*")), None)


@cache
def _library(path: Path) -> Any:
    return ctypes.CDLL(str(path))


def complaint(code: str, options: tuple[str, ...]) -> str:
    """What NVRTC says of a source that it refuses; "" where it takes it, or is not installed."""
    path = find_library()
    if path is None:
        return ""
    nvrtc, program, size = _library(path), ctypes.c_void_p(), ctypes.c_size_t()
    every = [*options, f"--gpu-architecture={ARCHITECTURE}"]
    given = (ctypes.c_char_p * len(every))(*[option.encode() for option in every])
    if nvrtc.nvrtcCreateProgram(ctypes.byref(program), code.encode(), b"kernel.cu", 0, None, None):
        return "nvrtcCreateProgram failed"
    refused = nvrtc.nvrtcCompileProgram(program, len(every), given)
    nvrtc.nvrtcGetProgramLogSize(program, ctypes.byref(size))
    told = ctypes.create_string_buffer(size.value)
    nvrtc.nvrtcGetProgramLog(program, told)
    nvrtc.nvrtcDestroyProgram(ctypes.byref(program))
    return (told.value.decode() or f"status {refused}") if refused else ""
