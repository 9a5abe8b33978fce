"""The same training on several processes that mpirun starts, beside one process."""

import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import ranked
from launching import mpirun

from chalkgrad.distributed import Group, Shard, common, start
from chalkgrad.engine import random
from chalkgrad.engine.tensor import Tensor
from chalkgrad.nn.samples import Taken
from chalkgrad.replay import blas

HERE = Path(__file__).parent


def group(rank, size):
    return Group(SimpleNamespace(Get_rank=lambda: rank, Get_size=lambda: size))


def beside_one(tmp_path, kinds, dtype, epochs, ranks):
    mpirun(ranks, HERE / "ranked.py", ",".join(kinds), dtype, epochs, tmp_path)
    for kind in kinds:
        with np.load(tmp_path / f"{kind}.npz") as found:
            yield kind, found["weights"], found["history"]


def test_the_shares_are_the_whole():
    for count in (1, 3, 10):
        shares = [group(rank, 4).rows(0, count) for rank in range(4)]
        assert [row for share in shares for row in range(*share)] == [*range(count)]
        assert {stop - start for start, stop in shares} <= {count // 4, count // 4 + 1}


def test_memory_in_common_is_taken_where_there_is_enough(monkeypatch):
    two = group(0, 2)
    two.machine, two.gathered = (0, 2), lambda value: [value, value]
    monkeypatch.setattr(common, "room", lambda: 100)
    assert two.room(10, "float64", "cpu").tolist() == [0] * 10
    assert two._common is None


@pytest.mark.parametrize(
    ("given", "bound", "threads"), [({}, False, 4), ({}, True, 8), ({"OMP_NUM_THREADS": "6"}, False, 6)]
)
def test_a_rank_has_its_share_of_the_cores_unless_the_user_says(given, bound, threads, monkeypatch):
    two, has = group(0, 2), [int(given.get("OMP_NUM_THREADS", 8))]
    two.gathered = lambda value: [value, "cores of its own" if bound else value]
    for variable in blas.VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    for variable, value in given.items():
        monkeypatch.setenv(variable, value)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(8), raising=False)
    monkeypatch.setattr(blas, "library", lambda: True)
    monkeypatch.setattr(blas, "threads", lambda: has[-1])
    monkeypatch.setattr(blas, "set_threads", has.append)
    start.share_cores(two)
    assert two.cores == threads


@pytest.mark.parametrize("rows", [10, 3])
def test_shares_draw_the_numbers_of_the_whole(rows):
    whole, drawn = random.generator(5).random((rows, 2, 3)), []
    for rank in range(4):
        shard = Shard(group(rank, 4), "float32", "cpu")
        shard.bit_generator.state = random.generator(5).bit_generator.state
        part = shard.enter(rows)
        assert (shard.random((part.stop - part.start, 2, 3)) == whole[part]).all()
        drawn += [*range(rows)][part] if shard.local.item() else []
    assert drawn == [*range(rows)]


def test_two_ranks_are_one(tmp_path):
    """Also where a callback ends the training on one of them alone, or on both."""
    kinds = ["mlp", "ended", "ended_by_one"]
    for kind, weights, history in beside_one(tmp_path, kinds, "float64", 3, 2):
        one = ranked.trained(kind, "float64", 3, False)
        assert abs(weights - one[0]).max() <= 1e-10
        assert abs(history - one[1]).max() <= 1e-10


@pytest.mark.deep
@pytest.mark.parametrize("ranks", [2, 4])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_200_steps_on_ranks_are_those_of_one_process(tmp_path, ranks, dtype, monkeypatch):
    for kind, weights, history in beside_one(tmp_path, ranked.KINDS, dtype, 20, ranks):
        one = ranked.trained(kind, dtype, 20, False)
        if dtype == "float64":
            assert abs(weights - one[0]).max() <= 1e-10, kind
        else:
            assert abs(weights - one[0]).max() <= 3 * abs(reordered(kind, monkeypatch)[0] - one[0]).max(), kind
        assert abs(history[0] - one[1][0]).max() <= 1e-6, kind


class Backwards(np.random.Generator):
    """Draws as others do, and gives the rows of what it draws in the opposite order."""

    def random(self, size=None, dtype=np.float64, out=None):
        return self._given(super().random, size if out is None else out.shape, dtype, out)

    def standard_normal(self, size=None, dtype=np.float64, out=None):
        return self._given(super().standard_normal, size if out is None else out.shape, dtype, out)

    def _given(self, draw, shape, dtype, out):
        found = draw(shape, dtype=dtype)[::-1]
        if out is not None:
            out[...] = found
        return found if out is None else out


def reordered(kind, monkeypatch):
    """The same training by one process that goes through each batch from its end: other sums, the same numbers."""
    forwards, made = Taken.tensor, random.generator
    with monkeypatch.context() as patch:
        patch.setattr(Taken, "tensor", lambda *given: Tensor(forwards(*given)._data[::-1].copy()))
        patch.setattr(random, "generator", lambda *given: made(*given) if given[1:] else Backwards(np.random.PCG64(0)))
        return ranked.trained(kind, "float32", 20, False)


@pytest.mark.deep
def test_the_command_trains_on_ranks(tmp_path):
    run = tmp_path / "run"
    command = ["-m", "chalkgrad", "train", "digits", "--epochs", "2", "--verbose", "0", "--out", run]
    told = mpirun(2, *command).stdout
    assert told.count("test loss") == 1
    assert '"ranks": 2' in (run / "settings.json").read_text("utf-8")
    again = mpirun(4, "-m", "chalkgrad", "train", "--resume", run, "--epochs", "3", "--verbose", "0")
    assert again.stdout.count("kept in") == 1
    refused = mpirun(2, *command, check=False)
    assert refused.returncode
    assert "holds a run already" in refused.stderr


@pytest.mark.deep
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("x += world().rank", "the data differs between rank 0"),
        ("size = 1", "the batch is shared out among them"),
        ("size = 4 + world().rank", "batch_size differs between rank 0"),
        ("if world().rank: raise KeyError('lost')", "KeyError: 'lost'"),
    ],
)
def test_what_ranks_cannot_do_together_ends_all(tmp_path, change, message):
    (tmp_path / "p.py").write_text(f"""
import numpy as np
from chalkgrad.distributed import world
from chalkgrad.nn import Sequential, layers
x, size = np.ones((8, 2)), 4
model = Sequential([layers.Dense(1)])
model.compile("sgd", "mse")
world()
{change}
model.fit(x, x[:, :1], batch_size=size, verbose=0, distributed=True)
""")
    ended = mpirun(2, tmp_path / "p.py", check=False, seconds=30)
    assert ended.returncode
    assert message in ended.stderr


@pytest.mark.deep
def test_an_mpirun_of_another_mpi_is_told(tmp_path):
    (tmp_path / "p.py").write_text("""
import os
os.environ["OMPI_COMM_WORLD_SIZE"] = "2"
from chalkgrad.distributed import world
world()
""")
    ended = mpirun(1, tmp_path / "p.py", check=False, seconds=30)
    assert ended.returncode
    assert "is of another MPI" in ended.stderr


@pytest.mark.deep
def test_one_rank_may_look_at_its_step(tmp_path):
    """Which is timed without the sums that all make together."""
    (tmp_path / "p.py").write_text("""
import numpy as np
from chalkgrad.distributed import world
from chalkgrad.nn import Sequential, layers
x = np.ones((64, 2))
model = Sequential([layers.Dense(1)])
model.compile("adam", "mse")
for begin in (0, 3):
    model.fit(x, x[:, :1], batch_size=4, epochs=begin + 3, initial_epoch=begin, verbose=0, distributed=True)
    if world().leads:
        print(model.recorded["train"].explain())
""")
    assert mpirun(2, tmp_path / "p.py", seconds=60).stdout.count("allreduce(") == 2
