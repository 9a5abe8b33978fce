"""Launching kernels of our own: a `.cu` file beside its family of equations, compiled for the device at first use."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy

from .. import backend
from ..kernels import OwnKernel
from .cublas import Blas, takes
from .sources import TYPES, Modules, options_of, text_of

NULL = numpy.uintp(0)
"""The null pointer, for an operand that is left out."""
COUNTERS, THREADS = 4096, 256


@dataclass(frozen=True)
class ByRow:
    """What a kernel does with one row, as a function of CUDA C, so that a loop over rows may do it as well.

    source: a .cu file that has it, with a macro REAL. function: takes the operands, the result unless it is a mean, the
    row's number, the number of rows, the length of a row, and the lane; a warp calls it. mean: it gives a number in all
    lanes, and the result is the mean of these over the rows. rows: the number of the operand whose rows they are.
    """

    source: Path
    function: str
    mean: bool
    rows: int = 0


class Work(NamedTuple):
    """What some blocks of THREADS may do, so that others do something else in the same launch.

    source: a .cu file. function: in it, which takes the arguments, the number of a block, and how many there are.
    """

    source: Path
    function: str
    arguments: Sequence[Any]
    blocks: int


class CudaKernel(OwnKernel):
    """An equation as a launch on a CUDA device. function: takes the `Gpu` before the operands.

    by_row: the same for each row, where it has such a form. joins: two of them may be one launch; see `Together`.
    work: the same for some blocks of a launch: takes what a call does.
    """

    by_row: ByRow | None = None
    joins = False
    work: Callable[..., Work] | None = None

    def __call__(self, *operands: Any, out: Any = None, **parameters: Any) -> Any:
        """Launch it; returns the result."""
        return self.function(gpu_of(operands[0]), *operands, out=out, **parameters)


class Gpu:
    """One device: its compiled sources, memory to work in, cuBLAS."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.xp = backend.load_cupy()
        self._functions: dict[Any, Any] = {}

    @cached_property
    def multiprocessors(self) -> int:
        """How many multiprocessors it has."""
        return int(self.xp.cuda.Device(self.number).attributes["MultiProcessorCount"])

    @cached_property
    def most_shared(self) -> int:
        """Bytes of shared memory that a block may have."""
        return int(self.xp.cuda.Device(self.number).attributes["MaxSharedMemoryPerBlockOptin"])

    @cached_property
    def blas(self) -> Blas | None:
        """cuBLAS; None where the library cannot be found."""
        library = backend.load_cublas()
        return None if library is None else Blas(library, self.xp)

    def launch(
        self, source: str | Path, name: str, grid: tuple[int, ...], block: tuple[int, ...], *arguments: Any,
        contracted: bool = True, together: bool = False, shared: int = 0, **macros: Any,
    ) -> None:  # fmt: skip
        """Launch a kernel on the current stream. source: a .cu file, or CUDA C itself. macros: its #defines; a
        dtype stands for its name in CUDA C. arguments: arrays, NumPy scalars, or None for the null pointer.
        contracted: a product and a sum may be rounded once; without it a kernel gives what array calls give one by one.
        together: all blocks run at once (a cooperative launch). shared: bytes of shared memory of a block.
        """
        key = (source, name, *macros.items())
        function = self._functions.get(key)
        if function is None:
            function = self._functions[key] = self._compiled(source, name, contracted, macros)
            if shared:
                function.max_dynamic_shared_size_bytes = shared
        given = tuple([NULL if x is None else x for x in arguments])
        if together:  # the kernel itself: compiled for cooperative groups, it would need a library of the toolkit
            function.kernel(grid, block, given, shared_mem=shared, enable_cooperative_groups=True)
        else:
            function(grid, block, given, shared_mem=shared)

    def _compiled(self, source: str | Path, name: str, contracted: bool, macros: dict[str, Any]) -> Any:
        code = text_of(source) if isinstance(source, Path) else source
        return self.modules.get(code, options_of(contracted, macros)).get_function(name)

    def prepare(self, source: str, contracted: bool = True, **macros: Any) -> None:
        """Compile CUDA C in the background, as `launch` will ask for it."""
        self.modules.soon(source, options_of(contracted, macros))

    @cached_property
    def modules(self) -> Modules:
        """Its compiled sources."""
        return Modules(self.number)

    @cached_property
    def arrived(self) -> Any:
        """COUNTERS counters of blocks that have arrived, all 0; a kernel that counts in them sets them back to 0."""
        return self.xp.zeros(COUNTERS, "uint32")


class Together:
    """Two kernels as one launch, of a .cu kernel that takes its arguments twice, and how many blocks the first has."""

    def __init__(self, *kernels: Any) -> None:
        self.kernels = kernels
        self.__name__ = " and ".join(kernel.name for kernel in kernels)

    def __call__(self, *given: tuple[tuple[Any, ...], dict[str, Any]]) -> None:
        """Launch them. given: the arguments and options of each."""
        gpu = gpu_of(given[0][0][0])
        noted = []
        for number, (kernel, (arguments, options)) in enumerate(zip(self.kernels, given, strict=True)):
            noting = Noting(gpu, number)
            kernel.function(noting, *arguments, **options)
            noted.append(noting.noted)
        ((source, name, grid, block, *first), macros), ((_, _, more, _, *second), _) = noted
        half = len(first) // 2
        gpu.launch(source, name, (grid[0] + more[0],), block, *first[:half], *second[:half], first[-1], **macros)


class Noting:
    """A device that notes a launch instead of making it. number: which of two, each with counters of its own."""

    def __init__(self, gpu: Gpu, number: int) -> None:
        self._gpu, self.arrived = gpu, gpu.arrived[number * COUNTERS // 2 :]
        self.noted: Any = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._gpu, name)

    def launch(self, *given: Any, **macros: Any) -> None:
        """Note it."""
        self.noted = given, macros


def product(a: Any, b: Any, out: Any) -> Any:
    """The matrix product, by cuBLAS on our own handle where it takes such arrays: that can be captured."""
    gpu = gpu_of(out)
    if takes(a, b) and a.dtype == out.dtype and out.flags.c_contiguous and gpu.blas is not None:
        return gpu.blas.product(a, b, out)
    return gpu.xp.matmul(a, b, out=out)


@cache
def _gpu(number: int) -> Gpu:
    return Gpu(number)


def prepare(device: str, dtype: str) -> None:
    """Begin to compile, in the background, what a model of that dtype may need there. On the CPU it does nothing."""
    if device != "cpu" and dtype in TYPES:
        gpu_named(device).modules.ahead(dtype)


def compiling(device: str) -> str:
    """What to say while the background compiles what this machine has not compiled before; else ""."""
    if device == "cpu" or not gpu_named(device).modules.busy:
        return ""
    return f"compiling kernels for {gpu_named(device).modules.architecture}, once for this machine"


def gpu_of(array: Any) -> Gpu:
    """The device that an array lies on."""
    return _gpu(array.device.id)


def gpu_named(device: str) -> Gpu:
    """The device of that name, such as "gpu:0"."""
    return _gpu(backend.number_of(device))
