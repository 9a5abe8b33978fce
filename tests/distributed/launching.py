"""mpirun of the MPI that mpi4py uses here."""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest


def launcher():
    """Its path, and the environment that its ranks need."""
    found = importlib.util.find_spec("mpi4py")
    places = [Path(sys.prefix), *(Path(found.origin).parents[4:5] if found else ())]  # an environment, and its base
    path = next((str(p) for prefix in places if (p := prefix / "bin/mpirun").exists()), shutil.which("mpirun"))
    if not found or path is None:
        end = pytest.fail if os.environ.get("CI") else pytest.skip
        end("mpi4py or mpirun is not there, of the mpi extra")
    library = str(Path(path).parents[1] / "lib")
    return path, {"LD_LIBRARY_PATH": library, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def mpirun(count, *arguments, check=True, seconds=120):
    path, environment = launcher()
    return subprocess.run(
        [path, "-n", str(count), sys.executable, *map(str, arguments)], capture_output=True, text=True,
        timeout=seconds, check=check, env={**os.environ, **environment},
    )  # fmt: skip
