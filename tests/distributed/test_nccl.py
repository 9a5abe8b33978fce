"""Sums over ranks by NCCL: with one rank on a real GPU too, with two on the stand-in for one."""

import socket
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from test_ranks import HERE, mpirun

import chalkgrad as cg
from chalkgrad.distributed import Group, begin, own_device
from chalkgrad.distributed.nccl import Nccl
from chalkgrad.engine import backend
from chalkgrad.errors import DeviceError, UsageError
from chalkgrad.nn import Sequential, layers, trained

pytestmark = pytest.mark.gpu


@pytest.fixture(autouse=True)
def on_a_device(request, device):
    if device == "cpu" and not request.node.get_closest_marker("deep"):
        pytest.skip("for a device: pytest --device standin, or -m gpu")


class One(Group):
    """A group of one rank, without MPI."""

    cards_of_others = ()

    def __init__(self):
        super().__init__(SimpleNamespace(Get_rank=int, Get_size=lambda: 1, Allreduce=lambda *given: None))
        self.machine = 0, 1

    def gathered(self, value):
        return [value, *self.cards_of_others]

    def broadcast(self, array):
        pass


class Explained(cg.callbacks.Callback):
    def on_epoch_end(self, epoch, logs):
        self.text = "\n".join(step.explain() for step in self.model.recorded_steps)


def test_one_rank_trains_by_nccl_within_the_graph(monkeypatch):
    monkeypatch.setattr(trained, "here", lambda group: group or None)
    monkeypatch.setitem(sys.modules, "mpi4py", SimpleNamespace(MPI=SimpleNamespace(IN_PLACE=None)))
    draw, found, told = np.random.default_rng(0), [], Explained()
    x, y = draw.standard_normal((40, 6)), draw.integers(0, 3, 40)
    group = One()
    for distributed in (False, group):
        model = Sequential([layers.Dense(8, "relu"), layers.Dense(3, "softmax")], seed=1, dtype="float64", device="gpu")
        model.compile(cg.optim.Adam(0.01), loss="sparse_categorical_crossentropy")
        model.fit(x, y, batch_size=8, epochs=3, seed=3, verbose=0, distributed=distributed, callbacks=[told])
        found.append(np.concatenate([np.ravel(w) for w in model.get_weights()]))
    assert abs(found[0] - found[1]).max() < 1e-12
    assert "CUDA graph" in told.text
    assert group.cards.device == "gpu:0"
    if hasattr(sys.modules["cupy"], "strict"):
        assert 15 <= group.cards._ranks.sums > group.cards._ranks.calls  # by the graph's launches


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "int64"])
def test_each_dtype_and_what_has_gaps(dtype):
    cards = Nccl(One(), "gpu:0")
    given = np.arange(12).reshape(3, 4).astype(dtype)
    array = backend.to_device(given, "gpu")
    cards.allreduce(array)
    cards.allreduce(array.T[1:])
    assert (backend.fetch(array) == given).all()
    with pytest.raises(UsageError, match="a sum over ranks of bool"):
        cards.allreduce(array > 0)


def test_what_is_refused(monkeypatch):
    group = One()
    group.cards_of_others = ((socket.gethostname(), backend.card_of("gpu:0"), "gpu:0"),)
    with pytest.raises(UsageError, match="rank 0 and rank 1 are on one GPU"):
        Nccl(group, "gpu:0")
    group.cards_of_others = ("cpu",)
    with pytest.raises(UsageError, match="some ranks are on CPUs and some on GPUs: gpu, cpu"):
        begin(group, 4, "gpu:0", [], {}, [])
    group = One()
    group.survives = True
    with pytest.raises(UsageError, match="does not survive a rank"):
        begin(group, 4, "gpu:0", [], {}, [])
    monkeypatch.setitem(sys.modules, "cupy.cuda.nccl", None)
    backend.load_nccl.cache_clear()
    with pytest.raises(DeviceError, match="needs NCCL"):
        Nccl(One(), "gpu:0")


def test_a_gpu_without_a_number_is_the_ranks_own(monkeypatch):
    count = backend.load_cupy().cuda.runtime.getDeviceCount()
    monkeypatch.setenv("PMI_SIZE", "4")
    for variable in ("MPI_LOCALRANKID", "OMPI_COMM_WORLD_LOCAL_RANK"):
        with monkeypatch.context() as local:
            local.setenv(variable, "1")
            assert Sequential([layers.Dense(1)], device="gpu").device == f"gpu:{1 % count}"
            assert own_device("gpu:0") == "gpu:0"
            assert own_device("cpu") == "cpu"
    monkeypatch.setenv("PMI_SIZE", "1")
    monkeypatch.setenv("MPI_LOCALRANKID", "1")
    assert own_device("auto") == "gpu:0"


@pytest.mark.deep
def test_the_command_on_two_emulated_cards(tmp_path):
    run = tmp_path / "run"
    mpirun(2, HERE / "on_gpus.py", run)
    assert '"device": "gpu"' in (run / "settings.json").read_text("utf-8")


@pytest.mark.deep
def test_two_ranks_on_two_emulated_cards():
    told = mpirun(2, HERE / "on_gpus.py").stdout
    sums, calls = (int(told.split(f"{name} ")[1].split()[0]) for name in ("sums", "calls"))
    assert sums > calls
    ended = mpirun(2, HERE / "on_gpus.py", "shared", check=False)
    assert ended.returncode
    assert "rank 0 and rank 1 are on one GPU" in ended.stderr
