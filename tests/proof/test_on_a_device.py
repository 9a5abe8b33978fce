"""Proofs of what a GPU computes: on the stand-in for CuPy, each in a process of its own."""

import json
import re

import numpy as np
import pytest

import chalkgrad as cg
from chalkgrad.engine import backend
from chalkgrad.errors import UsageError
from chalkgrad.proof import gradcheck
from chalkgrad.proof.bounds import ELEMENTS, ON_A_GPU
from chalkgrad.proof.cases import LAYOUTS
from chalkgrad.proof.subject import placed

PLANTED = """
import sys
from chalkgrad.cli import main
from chalkgrad.engine.cuda.launch import Gpu
right, what, instead = Gpu._compiled, *sys.argv[1:3]

def wrong(self, source, *rest):
    code = source.read_text() if hasattr(source, "read_text") else source
    assert what in code
    return right(self, code.replace(what, instead), *rest)

Gpu._compiled = wrong
sys.argv[1:] = ["prove", "affine", "--order", "1", "--dtype", "float32", *sys.argv[3:]]
main()
"""


def test_the_command(standin, tmp_path):
    kept, file = tmp_path / "proof.json", tmp_path / "f.py"
    file.write_text("import chalkgrad as cg\ndef f(x=1.5):\n    print(x.device)\n    return cg.sin(x) * x\n")
    shown = standin("-m", "chalkgrad", "prove", "exp", f"{file}:f", "--order", 1, "--device", "gpu", "--json", kept)
    assert {"gpu:0"} == set(re.findall(r"^(?:cpu|gpu:.)$", shown, re.MULTILINE))
    assert "16 proofs of 1 primitive and 1 function, all proven, computed on gpu:0, in " in shown
    found = json.loads(kept.read_text())
    assert (found["device"], found["card"]["gpu"]) == ("gpu:0", "Stand-in")
    assert {one["bound"]["ulp"] for one in found["reports"][0]["exactness"]} == {ELEMENTS.ulp * ON_A_GPU}
    assert [0 <= one["off"] < 4 for one in found["reports"][0]["exactness"]] == [True] * 4
    dtypes = {report["dtype"] for report in found["reports"] if report["of"] == "exp" and report["evaluations"]}
    assert dtypes == {"float32", "float64"}


NAMES = list(cg.registry)


@pytest.mark.deep
@pytest.mark.parametrize(
    "arguments", [(*NAMES[n::3], "--order", 1, "--dtype", "float32") for n in range(3)] + [NAMES[::16]],
    ids=["a third", "another", "the last", "both orders and dtypes of each sixteenth"],
)  # fmt: skip
def test_the_registry(standin, arguments):
    assert "all proven, computed on gpu:0" in standin("-m", "chalkgrad", "prove", *arguments, "--device", "gpu")


@pytest.mark.deep
def test_a_fault_in_a_kernel_is_found_where_it_is(standin, tmp_path):
    (tmp_path / "planted.py").write_text(PLANTED)
    planted = tmp_path / "planted.py", "] += SUM(x.x[i])", "] += SUM(1.0001f) * SUM(x.x[i])"
    standin(*planted, "--device", "gpu", code=1)
    standin(*planted)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_are_those_of_the_host(layout, monkeypatch):
    monkeypatch.setattr(backend, "send", lambda array, device: array.copy("K"))
    x = LAYOUTS[layout](np.arange(12.0).reshape(3, 4))
    there = placed(x, "gpu:0").numpy()
    np.testing.assert_array_equal(there, x)
    assert there.strides == x.strides
    assert not np.shares_memory(there, x)


def test_a_device_is_for_functions_of_tensors(monkeypatch):
    monkeypatch.setattr(backend, "resolve_device", lambda name: "gpu:0")
    with pytest.raises(UsageError, match="device='gpu:0' is for chalkgrad functions: sin is one of NumPy arrays"):
        gradcheck(np.sin, np.ones(3), vjp=lambda gy, x: gy * np.cos(x), device="gpu")
