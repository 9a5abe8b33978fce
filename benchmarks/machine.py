"""The machine of a run, as far as it matters for speed: processor, BLAS and threads; the card and what drives it."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from datetime import date
from pathlib import Path
from typing import Any

import numpy

from ..engine import backend
from ..errors import DeviceError
from ..replay.blas import given_threads
from ..replay.epoch import cores
from .peers import NOT_INSTALLED, version

PRECISION = {
    "chalkgrad": "float32, CUBLAS_COMPUTE_32F",
    "pytorch": "float32, set_float32_matmul_precision('highest')",
    "jax": "float32, jax_default_matmul_precision 'highest'",
}
"""No contestant on a GPU may round to TF32: what each is set to."""
PACKAGES = ("torch", "jax", "jaxlib")


def host() -> dict[str, Any]:
    """The machine without its cards."""
    return {
        "processor": _processor(),
        "cores": cores(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "blas": blas(),
        "threads": given_threads() or "each engine's own default",
        **({"blas_kernels": told} if (told := os.environ.get("OPENBLAS_CORETYPE")) else {}),
        "date": date.today().isoformat(),
    }


def card(device: str) -> dict[str, Any]:
    """The GPU, with what drives it."""
    cupy = backend.load_cupy()
    runtime = cupy.cuda.runtime
    found = properties(cupy, backend.number_of(device))
    try:
        told = driver()
    except DeviceError:
        told = None
    return {
        "gpu": found["name"],
        "gpu_memory_bytes": int(found["totalGlobalMem"]),
        "compute_capability": f"{found['major']}.{found['minor']}",
        "multiprocessors": int(found["multiProcessorCount"]),
        "driver": told or "unknown",
        "cuda_runtime": dotted(runtime.runtimeGetVersion()),
        "cuda_of_driver": dotted(runtime.driverGetVersion()),
        "cupy": cupy.__version__,
        "packages": {package: version(package) or NOT_INSTALLED for package in PACKAGES},
        "float32_products": PRECISION,
    }


def blas() -> str:
    """The BLAS that NumPy was built with."""
    config: Any = numpy.show_config(mode="dicts")
    found = config.get("Build Dependencies", {}).get("blas", {})
    return f"{found.get('name', 'unknown')} {found.get('version', '')}".strip()


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.machine()


def driver() -> str | None:
    """The NVIDIA driver's version by nvidia-smi; None where that is not there. Raises DeviceError where it fails."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    query = [program, "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.SubprocessError) as error:
        raise DeviceError(f"nvidia-smi fails: {error}") from error
    lines = (answer.stdout.strip() or answer.stderr.strip()).splitlines() or ["it says nothing"]
    if answer.returncode:
        raise DeviceError(f"nvidia-smi fails: {lines[0]}")
    return lines[0].strip()


def properties(cupy: Any, number: int) -> dict[str, Any]:
    """What CUDA tells of a device, its name as text."""
    found = dict(cupy.cuda.runtime.getDeviceProperties(number))
    name = found["name"]
    return found | {"name": name.decode(errors="replace") if isinstance(name, bytes) else str(name)}


def dotted(number: int) -> str:
    """CUDA's 13020 as 13.2."""
    return f"{number // 1000}.{number % 1000 // 10}"
