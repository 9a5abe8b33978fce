"""`chalkgrad doctor`: machines of every kind, none of which makes it fail."""

import json
import re
from types import SimpleNamespace

import numpy as np
import pytest

from chalkgrad.benchmarks import machine as machine_module
from chalkgrad.commands import doctor as doctor_module
from chalkgrad.commands import doctor_gpu as gpu
from chalkgrad.engine import backend
from chalkgrad.engine.cuda.sources import Modules, declared
from chalkgrad.errors import DeviceError
from chalkgrad.hints import install_command, pip


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """Say what the machine has: packages of CuPy, what load_cupy gives or raises, what nvidia-smi answers."""
    monkeypatch.setattr("pooch.os_cache", lambda project: tmp_path / "cache" / project)
    monkeypatch.setenv("CUPY_CACHE_DIR", str(tmp_path / "kernels"))

    def make(packages=(), cupy=None, driver=None):
        def load():
            if isinstance(cupy, Exception):
                raise cupy
            return cupy

        monkeypatch.setattr(backend, "load_cupy", load)
        found = [SimpleNamespace(metadata={"Name": name}, version="13.6.0") for name in (*packages, "numpy")]
        monkeypatch.setattr(gpu.metadata, "distributions", lambda: found)
        monkeypatch.setattr(machine_module.shutil, "which", lambda name: "/bin/nvidia-smi" if driver else None)
        monkeypatch.setattr(gpu, "_has_nvidia_card", lambda: False)
        monkeypatch.setattr(gpu, "DRIVER_FILE", tmp_path / "none")
        answer = SimpleNamespace(stdout=f"{driver}\n", stderr="", returncode=0)
        monkeypatch.setattr(machine_module.subprocess, "run", lambda *_, **__: answer)

    return make


def absent_cupy():
    error = DeviceError("the GPU needs CuPy, which could not be imported")
    error.__cause__ = ModuleNotFoundError("No module named 'cupy'")
    return error


def broken_driver():
    error = DeviceError("CuPy 13.6.0 is installed, but CUDA cannot be used (cudaErrorInsufficientDriver)")
    error.__cause__ = RuntimeError("cudaErrorInsufficientDriver")
    return error


def fake_cupy(asarray=np.asarray):
    properties = {"name": b"NVIDIA H200", "totalGlobalMem": 139 * 2**30, "major": 9, "minor": 0}
    runtime = SimpleNamespace(
        runtimeGetVersion=lambda: 13000, driverGetVersion=lambda: 13010,
        getDeviceCount=lambda: 2, getDeviceProperties=lambda number: properties,
    )  # fmt: skip
    card = SimpleNamespace(compute_capability="90")
    cuda = SimpleNamespace(runtime=runtime, Device=lambda number: card)
    return SimpleNamespace(__version__="13.6.0", asarray=asarray, cuda=cuda)


def facts(chalkgrad, section):
    return json.loads(chalkgrad("doctor", "--json").stdout)[section]


def test_this_machine(chalkgrad):
    text = chalkgrad("doctor").stdout
    assert "Traceback" not in text
    assert f"numpy        {np.__version__}" in text
    everything = json.loads(chalkgrad("doctor", "--json").stdout)
    assert set(everything) == {"versions", "processor", "gpu", "data", "several processes", "extras"}
    assert all(found["state"] in ("ok", "missing", "wrong") for part in everything.values() for found in part.values())
    assert everything["data"]["digits"]["value"].startswith("1,797")
    assert "usable" in everything["processor"]["CPUs"]["value"]


def test_without_cupy(chalkgrad, machine):
    machine(cupy=absent_cupy())
    found = facts(chalkgrad, "gpu")
    assert found["NVIDIA driver"]["state"] == "missing"
    assert found["CuPy"]["state"] == "missing"
    assert found["CuPy"]["command"] == install_command("gpu")
    text = chalkgrad("doctor").stdout
    assert f"→ {install_command('gpu')}" in text
    assert "Nothing is wrong: what is missing is optional." in text


@pytest.mark.parametrize(("driver", "extra"), [("580.65.06", "gpu"), ("550.54.15", "gpu-cuda12")])
def test_the_command_fits_the_driver(chalkgrad, machine, driver, extra):
    machine(cupy=absent_cupy(), driver=driver)
    found = facts(chalkgrad, "gpu")
    assert found["NVIDIA driver"] == {"value": driver, "state": "ok"}
    assert found["CuPy"]["command"] == install_command(extra)


def test_a_driver_that_fails(chalkgrad, machine):
    machine(packages=["cupy-cuda13x"], cupy=broken_driver(), driver="550.54.15")
    found = facts(chalkgrad, "gpu")["CuPy"]
    assert found["state"] == "wrong"
    assert "cudaErrorInsufficientDriver" in found["value"]
    assert found["command"] == f"{pip('uninstall', '-y', 'cupy-cuda13x')} && {install_command('gpu-cuda12')}"
    machine(packages=["cupy-cuda12x"], cupy=broken_driver())  # no driver: another CuPy would not help
    assert "command" not in facts(chalkgrad, "gpu")["CuPy"]
    assert "1 wrong" in chalkgrad("doctor").stdout


def test_two_packages_of_cupy(chalkgrad, machine):
    machine(packages=["cupy-cuda12x", "cupy-cuda13x"], cupy=fake_cupy(), driver="580.65.06")
    found = facts(chalkgrad, "gpu")["CuPy"]
    assert found["state"] == "wrong"
    assert found["command"] == f"{pip('uninstall', '-y', 'cupy-cuda12x', 'cupy-cuda13x')} && {install_command('gpu')}"


def test_a_cupy_that_works(chalkgrad, machine, monkeypatch):
    machine(packages=["cupy-cuda13x"], cupy=fake_cupy(), driver="580.65.06")
    found = facts(chalkgrad, "gpu")
    assert found["CuPy"]["value"] == "cupy-cuda13x 13.6.0 with CUDA 13.0; the driver takes up to CUDA 13.1"
    assert found["gpu:0"]["value"] == found["gpu:1"]["value"] == "NVIDIA H200, 139.0 GiB, sm_90"
    assert found["first sums"]["state"] == "ok"
    assert found["NCCL"]["state"] == "missing"
    assert found["NCCL"]["command"] == pip("install", "nvidia-nccl-cu13")
    monkeypatch.setattr(backend, "load_nccl", lambda: SimpleNamespace(get_version=lambda: 22703))
    assert facts(chalkgrad, "gpu")["NCCL"]["value"] == "2.27.3, for ranks on several GPUs"


def test_a_cupy_that_imports_but_cannot_compute(chalkgrad, machine):
    def fail(_):
        raise RuntimeError("libnvrtc.so.13 is not there\nand more")

    machine(packages=["cupy-cuda13x"], cupy=fake_cupy(fail), driver="580.65.06")
    found = facts(chalkgrad, "gpu")["first sums"]
    assert found["state"] == "wrong"
    assert found["value"] == "fail: RuntimeError: libnvrtc.so.13 is not there"
    assert "[ctk]" in found["command"]
    machine(packages=["cupy-cuda13x"], cupy=fake_cupy(lambda x: x + 1), driver="580.65.06")
    assert facts(chalkgrad, "gpu")["first sums"]["value"].startswith("are wrong")


@pytest.mark.parametrize("error", [AttributeError("numpy has no attribute"), OSError("libcuda"), SystemError()])
def test_a_cupy_that_breaks_at_its_import(chalkgrad, machine, error):
    machine(packages=["cupy-cuda12x"], cupy=error, driver="550.54.15")
    assert facts(chalkgrad, "gpu")["CuPy"]["state"] == "wrong"


def test_an_nvidia_smi_that_fails(chalkgrad, machine, monkeypatch):
    machine(cupy=absent_cupy(), driver="580.65.06")
    answer = SimpleNamespace(stdout="couldn't communicate with the NVIDIA driver\nMake sure", stderr="", returncode=9)
    monkeypatch.setattr(machine_module.subprocess, "run", lambda *_, **__: answer)
    assert facts(chalkgrad, "gpu")["NVIDIA driver"]["value"].endswith("couldn't communicate with the NVIDIA driver")


def test_a_section_that_fails_is_a_finding(chalkgrad, monkeypatch):
    monkeypatch.setattr(doctor_module.numpy, "show_config", lambda **_: 1 / 0)
    assert "ZeroDivisionError" in facts(chalkgrad, "processor")["processor"]["value"]


def test_mnist_is_looked_for_and_not_downloaded(chalkgrad, machine, monkeypatch, tmp_path):
    machine(cupy=absent_cupy())
    monkeypatch.setattr("pooch.HTTPDownloader", lambda *_, **__: pytest.fail("it downloads"))
    found = facts(chalkgrad, "data")["mnist"]
    assert (found["state"], found["command"]) == ("missing", "chalkgrad train mnist")
    assert not (tmp_path / "cache").exists()
    monkeypatch.setenv("CHALKGRAD_DATA", str(tmp_path))
    found = facts(chalkgrad, "data")["mnist"]
    assert (found["state"], found["command"]) == ("wrong", "unset CHALKGRAD_DATA")


def test_extras_that_are_missing(chalkgrad, monkeypatch):
    monkeypatch.setattr(doctor_module, "version", lambda name: None if name == "matplotlib" else "1.0")
    found = facts(chalkgrad, "extras")["plot"]
    assert found["value"] == "matplotlib missing, pillow 1.0, scipy 1.0"
    assert found["command"] == install_command("plot")


@pytest.mark.parametrize(
    ("library", "launcher", "state"),
    [
        ("MPICH Version:      5.0.2", "HYDRA build details:\n    Version: 5.0.2", "ok"),
        ("Open MPI v5.0.11, package", "mpirun (Open MPI) 5.0.11", "ok"),
        ("MPICH Version: 5.0.2", "mpirun (Open MPI) 5.0.11", "wrong"),
        ("MPICH Version: 5.0.2", None, "missing"),
    ],
)
def test_an_mpirun_of_another_mpi_is_told(monkeypatch, library, launcher, state):
    def run(command, **_):
        text = library if command[1] == "-c" else launcher
        return SimpleNamespace(stdout=text or "", returncode=int(text is None))

    monkeypatch.setattr(doctor_module.subprocess, "run", run)
    monkeypatch.setattr(doctor_module, "version", lambda name: "4.1.2")
    monkeypatch.setattr(doctor_module.shutil, "which", lambda name: "/bin/mpirun")
    *_, mpi, found = doctor_module._ranks()
    assert found.state == state
    assert mpi.value.split(";")[0] in ("MPICH 5.0.2", "Open MPI 5.0.11")


def test_whether_kernels_are_compiled(chalkgrad, machine, tmp_path):
    machine(packages=["cupy-cuda13x"], cupy=fake_cupy(), driver="580.65.06")
    cold = facts(chalkgrad, "gpu")["kernels"]
    assert re.fullmatch(r"(\d+) of \1 modules are not compiled for sm_90 yet: the first training waits", cold["value"])
    assert (cold["state"], cold["command"]) == ("missing", "chalkgrad doctor --compile")
    (tmp_path / "kernels").mkdir()
    modules = Modules(0)
    for dtype in ("float32", "float64"):
        for each in declared(dtype):
            modules._mark(each).touch()
    warm = facts(chalkgrad, "gpu")["kernels"]
    assert re.fullmatch(r"all \d+ modules are compiled for sm_90", warm["value"])
    assert warm["state"] == "ok"


def test_to_compile_without_a_gpu(chalkgrad, machine):
    machine(cupy=absent_cupy())
    assert chalkgrad("doctor", "--compile", code=1).stderr.startswith("error: the GPU needs CuPy")
