"""What the doctor finds about the GPU: the driver, CuPy, the devices, and whether they compute.

Nothing here imports cupy: its presence is read from the installed packages, and the rest goes through
`engine.backend`, so that the doctor sees what training would see.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy

from ..benchmarks.machine import dotted, driver, properties
from ..engine import backend
from ..engine.cuda.launch import compiling, gpu_named, prepare
from ..engine.cuda.sources import Modules
from ..engine.streams import say
from ..errors import DeviceError, first_line
from ..hints import install_command, pip
from ..nn import Sequential, layers, losses

OK, MISSING, WRONG = "ok", "missing", "wrong"
"""The states of a finding; what is missing is optional."""
COMPILE = "chalkgrad doctor --compile"
DRIVER_FILE = Path("/proc/driver/nvidia/version")
DRIVER_FOR_CUDA_13 = 580
"""The first NVIDIA driver that runs CUDA 13; older ones run CUDA 12."""


@dataclass
class Finding:
    """One thing that was looked at: its name, what there is to say, its state, the command that mends it."""

    name: str
    value: str
    state: str = OK
    command: str | None = None


def gpu_findings() -> list[Finding]:
    """The driver, CuPy, and each device, as far as one gets."""
    installed, version = _driver()
    packages = _cupy_packages()
    extra = _fitting_extra(version, packages)
    try:
        cupy = backend.load_cupy()
    except Exception as error:  # a broken CuPy can raise anything at its import
        return [installed, _failure(error, packages, extra, version)]
    found = Finding("CuPy", _describe(cupy, packages))
    if len(packages) > 1:
        found = _conflict(packages, extra)
    return [installed, found, *_devices(cupy), _trial(cupy, packages), *_kernels(cupy), _nccl(extra)]


def _driver() -> tuple[Finding, str | None]:
    """The NVIDIA driver as nvidia-smi tells it, else as the kernel does."""
    try:
        version = driver()
    except DeviceError as error:
        return Finding("NVIDIA driver", first_line(error), WRONG), None
    if version:
        return Finding("NVIDIA driver", version), version
    try:  # NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.65.06  …
        words = DRIVER_FILE.read_text().split()
        version = next(word for word in words if word[:1].isdigit() and "." in word)
        return Finding("NVIDIA driver", version), version
    except (OSError, StopIteration):
        pass
    if _has_nvidia_card():
        value = "not installed, though there is an NVIDIA card: https://www.nvidia.com/drivers"
        return Finding("NVIDIA driver", value, WRONG), None
    return Finding("NVIDIA driver", "none found, and no card: the CPU does all the work", MISSING), None


def _has_nvidia_card() -> bool:
    """Whether the PCI bus of a Linux machine has a display or compute device (class 03) of NVIDIA (10de)."""
    for device in Path("/sys/bus/pci/devices").glob("*"):
        try:
            vendor, kind = (device / "vendor").read_text(), (device / "class").read_text()
        except OSError:
            continue
        if vendor.startswith("0x10de") and kind.startswith("0x03"):
            return True
    return False


def _cupy_packages() -> dict[str, str]:
    """The installed distributions of CuPy: cupy-cuda13x, cupy-cuda12x, or cupy, built from source or by conda."""
    found = {}
    for distribution in metadata.distributions():
        name = str(distribution.metadata["Name"] or "").lower()
        if name == "cupy" or name.startswith(("cupy-cuda", "cupy-rocm")):
            found[name] = distribution.version
    return found


def _fitting_extra(driver: str | None, packages: dict[str, str]) -> str:
    """The extra whose CuPy runs on this driver; where none is known, that of the CuPy which is there."""
    major = (driver or "").partition(".")[0]
    older = int(major) < DRIVER_FOR_CUDA_13 if major.isdigit() else list(packages) == ["cupy-cuda12x"]
    return "gpu-cuda12" if older else "gpu"


def _failure(error: Exception, packages: dict[str, str], extra: str, driver: str | None) -> Finding:
    if len(packages) > 1:
        return _conflict(packages, extra)
    if not packages and isinstance(error.__cause__, ImportError):
        note = "" if driver else " (of use with an NVIDIA GPU and its driver)"
        return Finding("CuPy", f"not installed{note}", MISSING, install_command(extra))
    cause = error.__cause__
    too_new = driver is not None and extra == "gpu-cuda12" and "cupy-cuda13x" in packages
    broken = isinstance(cause, ImportError)
    command = _exchange(packages, extra) if packages and (too_new or broken) else None  # else CuPy is not at fault
    installed = "".join(f"{name} {version}: " for name, version in packages.items())
    fault = "its import fails" if broken else "it is there, but CUDA cannot be used"
    reason = f"{fault} ({first_line(cause)})" if cause else first_line(error)
    return Finding("CuPy", installed + reason, WRONG, command)


def _conflict(packages: dict[str, str], extra: str) -> Finding:
    names = " and ".join(sorted(packages))
    return Finding("CuPy", f"{names} overwrite each other's files", WRONG, _exchange(packages, extra))


def _exchange(packages: dict[str, str], extra: str) -> str:
    return f"{pip('uninstall', '-y', *sorted(packages))} && {install_command(extra)}"


def _describe(cupy: Any, packages: dict[str, str]) -> str:
    runtime = cupy.cuda.runtime
    name = next(iter(packages), "CuPy")
    return (
        f"{name} {cupy.__version__} with CUDA {dotted(runtime.runtimeGetVersion())}; "
        f"the driver takes up to CUDA {dotted(runtime.driverGetVersion())}"
    )


def _devices(cupy: Any) -> list[Finding]:
    findings = []
    for number in range(cupy.cuda.runtime.getDeviceCount()):
        found = properties(cupy, number)
        told = f"{found['name']}, {found['totalGlobalMem'] / 2**30:.1f} GiB, sm_{found['major']}{found['minor']}"
        findings.append(Finding(f"gpu:{number}", told))
    return findings


def _kernels(cupy: Any) -> list[Finding]:
    """Whether this machine has compiled the kernels, for each kind of card."""
    kinds = {modules.architecture: modules for modules in map(Modules, range(cupy.cuda.runtime.getDeviceCount()))}
    found = []
    for architecture, modules in kinds.items():
        missing, count = modules.missing()
        value = f"all {count} modules are compiled for {architecture}"
        if missing:
            value = f"{missing} of {count} modules are not compiled for {architecture} yet: the first training waits"
        found.append(Finding("kernels", value, *((MISSING, COMPILE) if missing else ())))
    return found


def compile_ahead() -> None:
    """Compile what a GPU's first training would wait for: our sources, and what CuPy needs for small trainings.

    Raises DeviceError where there is no GPU.
    """
    for number in range(backend.load_cupy().cuda.runtime.getDeviceCount()):
        device = f"gpu:{number}"
        for dtype in ("float32", "float64"):
            prepare(device, dtype)
        if told := compiling(device):
            say(told, flush=True)
        gpu_named(device).modules.finish()
        x, y = numpy.ones((400, 8, 8, 1), "float32"), numpy.zeros(400, "int64")
        for first in ([layers.Conv2D(2, 3, activation="relu"), layers.MaxPooling2D()], []):
            model = Sequential([*first, layers.Flatten(), layers.Dense(4, "relu"), layers.Dense(2)], device=device)
            model.compile("adam", losses.SparseCategoricalCrossentropy(from_logits=True), ["accuracy"])
            model.fit(x, y, batch_size=48, epochs=4, verbose=0)


def _trial(cupy: Any, packages: dict[str, str]) -> Finding:
    """A product and a sum on the first device: it takes cuBLAS and a kernel compiled on the spot."""
    values = numpy.arange(16, dtype="float32").reshape(4, 4)
    expected = float((values @ values * 2 + 1).sum())
    try:
        x = cupy.asarray(values)
        result = float((x @ x * 2 + 1).sum())
    except Exception as error:  # libraries that are not there, a kernel that cannot be compiled, …
        wheel = next((name for name in packages if name.startswith("cupy-cuda")), None)
        command = wheel and pip("install", f"{wheel}[ctk]")  # the toolkit's libraries, as wheels
        return Finding("first sums", f"fail: {type(error).__name__}: {first_line(error)}", WRONG, command)
    if result != expected:
        return Finding("first sums", f"are wrong: {result} instead of {expected}", WRONG)
    return Finding("first sums", "right", OK)


def _nccl(extra: str) -> Finding:
    """What adds up the gradients of ranks on several GPUs."""
    try:
        version = backend.load_nccl().get_version()  # 22703 is 2.27.3
    except DeviceError as error:
        package = f"nvidia-nccl-cu{12 if extra == 'gpu-cuda12' else 13}"
        return Finding(
            "NCCL", f"not there, for ranks on several GPUs: {error.__cause__}", MISSING, pip("install", package)
        )
    return Finding("NCCL", f"{version // 10000}.{version // 100 % 100}.{version % 100}, for ranks on several GPUs")
