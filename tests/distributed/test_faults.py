"""Ranks that leave, die, do not answer or compute something else; and what a step is undone to where one is lost."""

import os
import time
from types import SimpleNamespace

import numpy as np
import pytest
import ranked
from launching import launcher, mpirun

from chalkgrad.benchmarks.reliability import killed_ranks
from chalkgrad.distributed import Group
from chalkgrad.distributed.group import Lost
from chalkgrad.errors import UsageError

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals of a Unix")


class Losing(Group):
    """Two ranks, of which the other has nothing to add; it is lost at each of these meetings, and is back at once."""

    def __init__(self, lost):
        super().__init__(SimpleNamespace(Get_rank=lambda: 0, Get_size=lambda: 2), survives=True)
        self.lost, self.meetings, self.shrinks = set(lost), 0, 0
        self.cores = 1  # they are not shared out

    def meet(self, call):
        self.meetings += 1
        if self.meetings in self.lost:
            raise Lost
        return call()

    def _agreed(self, done):
        self.meetings += 1
        return done and self.meetings not in self.lost

    def _shrink(self):
        self.shrinks += 1
        for changed in self.shrunk:
            changed()

    def _sum(self, array):
        self.meet(lambda: None)

    def broadcast(self, array):
        self.whole(lambda: self.meet(lambda: None))

    def gathered(self, value):
        return self.whole(lambda: self.meet(lambda: [value, value]))


@pytest.mark.parametrize("accumulated", [pytest.param(None, marks=pytest.mark.deep), 3])
def test_a_step_in_which_a_rank_is_lost_is_done_again_from_what_was_before(accumulated):
    def trained(lost):
        group = Losing(lost)
        model, x, y, options = ranked.mlp("float32")
        model.optimizer.gradient_accumulation_steps = accumulated
        x, y = x[:70], y[:70]
        options = {name: value[:70] for name, value in options.items() if name == "sample_weight"}
        history = model.fit(x, y, batch_size=10, epochs=2, seed=3, verbose=0, distributed=group, **options).history
        return [*model.get_weights(), *map(np.array, history.values())], group

    whole, group = trained([])
    assert group.shrinks == 0
    lost = [group.meetings * part // 7 + part for part in range(1, 7)]
    again, other = trained(lost)
    assert other.shrinks == len(lost)
    assert all((a == b).all() for a, b in zip(whole, again, strict=True))


def test_replicas_that_differ_are_named():
    group = Losing([])
    group.check_replicas({"w": np.ones(3)}, "now")
    group.gathered = lambda value: [value, {"v": value["v"], "w": "other"} if isinstance(value, dict) else 0]
    with pytest.raises(UsageError, match=r"differ from rank 0 after 5 steps: w on rank 1\. "):
        group.check_replicas({"w": np.ones(3), "v": np.ones(2)}, "after 5 steps")


PROGRAM = """
import os, signal, sys
import numpy as np
from chalkgrad.distributed import world
from chalkgrad.nn import Sequential, layers
from chalkgrad.nn.callbacks import Callback, TerminateOnNaN
group = world()
group.timeout = 2.0
class Fault(Callback):
    def on_train_batch_end(self, batch, logs):
        if group.rank == 1 and batch == 3:
            FAULT
x = np.ones((80, 2))
model = Sequential([layers.Dense(3, name="first"), layers.Dense(1)], seed=1)
model.compile("adam", "mse")
model.fit(x, x[:, :1], batch_size=4, epochs=20, verbose=0, callbacks=[Fault()] + OTHERS, distributed=group)
print("not ended")
"""
FAULTS = {
    "sys.exit(3)": "rank 1 of 2 (process PID) has left (SystemExit: 3), and the others wait for it",
    "signal.raise_signal(signal.SIGINT)": "rank 1 of 2 ends all:",
    "raise KeyError('lost')": "KeyError: 'lost'",
    "os.kill(os.getpid(), signal.SIGTERM)": "PID",
    "os._exit(3)": "",  # MPICH's launcher may end the others before they have said a word
    "os.kill(os.getpid(), signal.SIGSTOP)": "rank 1 of 2 (process PID) does not answer",
    "while True: pass": "rank 1 of 2 (process PID) does something else",
    "self.model.weights[0]._data[0] += 1": "100 steps of this training: layers/first/kernel on rank 1. ",
}


def ended(tmp_path, fault, others="[]"):
    program = PROGRAM.replace("FAULT", f"print(os.getpid(), flush=True); {fault}" if "while" not in fault else fault)
    program = program.replace("while True: pass", "print(os.getpid(), flush=True)\n            while True: pass")
    (tmp_path / "p.py").write_text(program.replace("OTHERS", others))
    begin = time.monotonic()
    found = mpirun(2, tmp_path / "p.py", check=False, seconds=40)
    assert time.monotonic() - begin < 20
    assert "not ended" not in found.stdout
    pid = next((line for line in found.stdout.splitlines() if line.isdigit()), "none")
    return found.stderr + found.stdout.replace(f"{pid}\n", "", 1), pid


def test_a_rank_that_leaves_ends_all(tmp_path):
    fault = next(iter(FAULTS))
    said, pid = ended(tmp_path, fault)
    assert FAULTS[fault].replace("PID", pid) in said


@pytest.mark.deep
@pytest.mark.parametrize("fault", [*FAULTS][1:])
def test_a_fault_on_one_rank_ends_all_with_its_message(tmp_path, fault):
    said, pid = ended(tmp_path, fault)
    assert FAULTS[fault].replace("PID", pid) in said


@pytest.mark.deep
def test_callbacks_that_differ_are_named(tmp_path):
    said, _ = ended(tmp_path, "pass", "[TerminateOnNaN()] * group.rank")
    assert "(Fault) and rank 1 (Fault, TerminateOnNaN)" in said


@pytest.mark.deep
def test_killed_ranks_in_short(monkeypatch):
    path, environment = launcher()
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert killed_ranks.main(["--kills", "2", "--launcher", path]) == 0
