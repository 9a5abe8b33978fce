"""RawModule and RawKernel: CUDA source, built for the CPU by tests/cuda/building.py."""

from __future__ import annotations

import importlib.util
import struct
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy

from ._array import ndarray
from ._execute import check_device
from ._nvrtc import complaint, find_library
from .cuda.blocks import Place, block_at
from .cuda.device import MULTIPROCESSORS
from .cuda.memory import MemoryPointer
from .cuda.runtime import CUDARuntimeError
from .cuda.stream import enqueue, get_current_stream

MOST_SHARED, MOST_SHARED_OPTIN = 49152, 232448


class CompileException(Exception):
    """NVRTC's complaint."""


@cache
def _building() -> ModuleType:
    name = "cupy.standin_building"
    path = Path(__file__).parents[2] / "cuda" / "building.py"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    sys.modules[name] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.WARNINGS = ("-w",)  # NVRTC refuses nothing for a warning
    return module


@cache
def _library(code: str, options: tuple[str, ...]) -> Any:
    building = _building()
    try:
        built = building.build(code, options)
    except building.BuildError as error:
        raise CompileException(str(error)) from None
    taken = built.with_name(f"{built.name}-nvrtc")  # asked once for each source
    if find_library() and not taken.exists():
        if told := complaint(code, options):
            raise CompileException(told)
        taken.touch()
    return building.Library(built)


class _Address:
    """A pointer among a launch's arguments: checked when the launch is done."""

    def __init__(self, ptr: int, low: int, size: int, mem: Any) -> None:
        self.shift, self.place = ptr - low, Place(low, size, mem)

    def packed(self) -> bytes:
        return struct.pack("P", self.place.address() + self.shift)


def packed(value: Any) -> bytes | _Address:
    """The bytes that a kernel gets of an argument, as CuPy passes it."""
    if isinstance(value, ndarray):
        check_device(value)
        low, high = value._bounds()
        return _Address(value._ptr, low, high - low, value.data.mem) if value.size else struct.pack("P", value._ptr)
    if isinstance(value, MemoryPointer):
        return _of_number(value.ptr, struct.pack("P", value.ptr))
    if isinstance(value, bool):
        return struct.pack("?", value)
    if isinstance(value, int):
        return _of_number(value, struct.pack("q" if value < 1 << 63 else "Q", value))
    if isinstance(value, float):
        return struct.pack("d", value)
    if isinstance(value, complex):
        return struct.pack("dd", value.real, value.imag)
    if isinstance(value, numpy.generic):
        return _of_number(int(value), value.tobytes()) if value.dtype.char in "lLqQ" else value.tobytes()
    if isinstance(value, numpy.ndarray):
        if value.size != 1:
            raise TypeError(
                f"You are trying to pass a numpy.ndarray of shape {value.shape} as a kernel parameter. Only "
                "numpy.ndarrays of size one can be passed by value."
            )
        return value.tobytes()
    raise TypeError(f"Unsupported type {type(value)}")  # also None: CuPy would pass no parameter at all


def _of_number(value: int, plain: bytes) -> bytes | _Address:
    """A number that is an address of the device is watched as a pointer."""
    try:
        block_at(value, 1)
    except CUDARuntimeError:
        return plain
    return _Address(value, value, 1, None)


class RawKernel:
    """A kernel by its name; compiled when it is first called."""

    def __init__(
        self, code: str, name: str, options: tuple[str, ...] = (), backend: str = "nvrtc",
        translate_cucomplex: bool = False, *, enable_cooperative_groups: bool = False, jitify: Any = None,
    ) -> None:  # fmt: skip
        if not isinstance(options, tuple):
            raise TypeError(f"Argument 'options' has incorrect type (expected tuple, got {type(options).__name__})")
        if enable_cooperative_groups or jitify or translate_cucomplex or backend not in ("nvrtc", "nvcc"):
            raise NotImplementedError("the stand-in takes plain kernels only")
        self.code, self.name, self.options, self.backend = code, name, options, backend
        self.max_dynamic_shared_size_bytes = MOST_SHARED
        self.preferred_shared_memory_carveout = -1

    @property
    def attributes(self) -> dict[str, int]:
        """A few, invented."""
        return {
            "max_threads_per_block": 1024, "num_regs": 32, "local_size_bytes": 0, "shared_size_bytes": 0,
            "const_size_bytes": 0, "max_dynamic_shared_size_bytes": self.max_dynamic_shared_size_bytes,
        }  # fmt: skip

    max_threads_per_block = property(lambda self: 1024)
    num_regs = property(lambda self: 32)
    shared_size_bytes = local_size_bytes = const_size_bytes = property(lambda self: 0)

    def compile(self, log_stream: Any = None) -> None:
        """Now, rather than at the first call."""
        if self.name not in _library(self.code, self.options).names:
            raise CUDARuntimeError(400, f"there is no kernel {self.name}")

    @property
    def kernel(self) -> Callable[..., None]:
        """The compiled function, which is launched as CUDA's driver has it."""
        return self._launch

    def __call__(self, grid: Any, block: Any, args: Any, shared_mem: int = 0, stream: Any = None) -> None:
        """Launch it; while the stream captures, it is recorded."""
        self._launch(grid, block, args, shared_mem, stream)

    def _launch(
        self, grid: Any, block: Any, args: Any, shared_mem: int = 0, stream: Any = None,
        enable_cooperative_groups: bool = False,
    ) -> None:  # fmt: skip
        for shape, what in ((grid, "grid"), (block, "block")):
            if not isinstance(shape, tuple):
                raise TypeError(f"Argument '{what}' has incorrect type (expected tuple, got {type(shape).__name__})")
        if shared_mem > min(self.max_dynamic_shared_size_bytes, MOST_SHARED_OPTIN):
            raise CUDARuntimeError(1, f"{shared_mem} bytes of shared memory: set max_dynamic_shared_size_bytes")
        self.compile()
        blocks = grid[0] * (grid[1] if len(grid) > 1 else 1) * (grid[2] if len(grid) > 2 else 1)
        if enable_cooperative_groups and blocks > MULTIPROCESSORS:
            raise CUDARuntimeError(720, "too many blocks in cooperative launch")
        library, given = _library(self.code, self.options), [packed(value) for value in args]
        sizes = [max(int(n), 1) for n in grid], [max(int(n), 1) for n in block]

        def launch() -> None:
            values = [value if isinstance(value, bytes) else value.packed() for value in given]
            library.launch(self.name, *sizes, values, shared_mem, enable_cooperative_groups)

        enqueue(stream or get_current_stream(), launch)


class RawModule:
    """A source with kernels in it; compiled when the first one is asked for."""

    def __init__(
        self, code: str | None = None, *, path: str | None = None, options: tuple[str, ...] = (),
        backend: str = "nvrtc", translate_cucomplex: bool = False, enable_cooperative_groups: bool = False,
        name_expressions: Any = None, jitify: Any = None,
    ) -> None:  # fmt: skip
        if (code is None) == (path is None):
            raise TypeError("Exactly one of `code` and `path` keyword arguments must be given.")
        if path is not None or name_expressions:
            raise NotImplementedError('the stand-in takes source, of extern "C" kernels without name_expressions')
        self._made = {"options": options, "backend": backend, "translate_cucomplex": translate_cucomplex,
                      "enable_cooperative_groups": enable_cooperative_groups, "jitify": jitify}  # fmt: skip
        RawKernel(code, "", **self._made)  # sees whether the options will do
        self.code, self.options, self.backend = code, options, backend

    def compile(self, log_stream: Any = None) -> None:
        """Now, rather than when a kernel is asked for."""
        _library(self.code, self.options)

    def get_function(self, name: str) -> RawKernel:
        """The kernel of that name."""
        kernel = RawKernel(self.code, name, **self._made)
        kernel.compile()
        return kernel
