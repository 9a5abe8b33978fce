"""The crash suite and the table of disk faults, in short; and that both see what is wrong."""

import json
import os

import numpy as np
import pytest

import chalkgrad as cg
from chalkgrad.benchmarks.reliability import crashes, disk_faults
from chalkgrad.benchmarks.reliability.crashes import KINDS, Suite, reference, wrong_in
from chalkgrad.benchmarks.reliability.disk_faults import Case, Fault, tried

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals and devices of a Unix")


def test_killed_trainings_go_on_to_the_last_bit():
    found = Suite(4, 0, [kind for kind in KINDS if kind.name == "all"]).run().to_dict()
    assert found["faults"] == []
    assert found["kills"] >= 4
    assert found["trials"] >= 2


def test_torn_and_mixed_files_are_seen(tmp_path):
    model = cg.Sequential([cg.layers.Dense(2, input_shape=(3,))])
    model.compile("sgd", "mse")
    model.fit(np.ones((4, 3)), np.ones((4, 2)), epochs=2, verbose=0)
    model.save(tmp_path / "model.safetensors")
    (tmp_path / "settings.json").write_text('{"state": "training"}')
    (tmp_path / ".model.safetensors.0123").write_text("half")
    (tmp_path / "history.json").write_text('{"epoch": [1, 2]}')
    assert wrong_in(tmp_path) == []
    (tmp_path / "history.csv").write_text("epoch\n1\n")
    assert [sort for sort, _ in wrong_in(tmp_path)] == ["mixed"]
    (tmp_path / "history.csv").unlink()
    (tmp_path / "model.safetensors").write_bytes((tmp_path / "model.safetensors").read_bytes()[:-1])
    assert {sort for sort, _ in wrong_in(tmp_path)} == {"torn", "mixed"}


@pytest.mark.deep
def test_another_result_is_seen(monkeypatch):
    kind = next(kind for kind in KINDS if kind.name == "schedule")
    other = reference(kind)
    other.files["model.safetensors"] += b"."
    monkeypatch.setattr(crashes, "reference", lambda _: other)
    assert {fault["sort"] for fault in Suite(1, 0, [kind]).run(1).faults} == {"different"}


def test_a_row_of_the_table():
    full = tried(Fault("full", lambda folder: Case(folder, "/dev/full"), ("model.save",)))
    assert "error: cannot write /dev/full: No space left on device" in full["gives"]
    assert (full["lost"], full["wrong"]) == (0, [])


def test_what_is_lost_and_what_is_told_wrongly_are_seen(monkeypatch):
    code = "import sys; open(sys.argv[1], 'w'); raise OSError('No\\nspace')"
    monkeypatch.setitem(disk_faults.WRITERS, "model.save", ("-c", code, "{}"))
    row = tried(Fault("there", disk_faults._is_there, ("model.save", "model.save")))
    assert row["lost"] == 2
    assert len(row["wrong"]) == 2
    json.dumps(row)
