"""The machine of a run on a GPU: the card, the driver, the libraries, and how float32 products are rounded."""

from __future__ import annotations

import shutil
import subprocess
from typing import Any

from ...engine import backend
from ..peers import version
from ..speed.results import machine as host

PRECISION = {
    "chalkgrad": "float32, CUBLAS_COMPUTE_32F",
    "pytorch": "float32, set_float32_matmul_precision('highest')",
    "jax": "float32, jax_default_matmul_precision 'highest'",
}
"""No contestant may round to TF32: what each is set to."""
PACKAGES = ("torch", "jax", "jaxlib")


def machine(device: str) -> dict[str, Any]:
    """The host and the GPU, as far as they matter for speed."""
    cupy = backend.load_cupy()
    runtime = cupy.cuda.runtime
    properties = runtime.getDeviceProperties(backend.number_of(device))
    name = properties["name"]
    return {
        **host(),
        "gpu": name.decode(errors="replace") if isinstance(name, bytes) else str(name),
        "gpu_memory_bytes": int(properties["totalGlobalMem"]),
        "compute_capability": f"{properties['major']}.{properties['minor']}",
        "multiprocessors": int(properties["multiProcessorCount"]),
        "driver": driver(),
        "cuda_runtime": dotted(runtime.runtimeGetVersion()),
        "cuda_of_driver": dotted(runtime.driverGetVersion()),
        "cupy": cupy.__version__,
        "packages": {package: version(package) or "not installed" for package in PACKAGES},
        "float32_products": PRECISION,
    }


def driver() -> str:
    """The version of the NVIDIA driver, as nvidia-smi tells it."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return "unknown"
    query = [program, "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return (answer.stdout.split() or ["unknown"])[0]


def dotted(number: int) -> str:
    """CUDA's 13020 as 13.2."""
    return f"{number // 1000}.{number % 1000 // 10}"
