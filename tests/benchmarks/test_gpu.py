"""The benchmarks and proofs for a GPU: on the stand-in for CuPy, in processes of their own, as nobody times them."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from chalkgrad.benchmarks import charts
from chalkgrad.benchmarks.gpu import __main__ as whole
from chalkgrad.benchmarks.gpu import crossover, energy, kept, matmuls, peaks, proofs, prose, sections, steps
from chalkgrad.benchmarks.gpu.kept import Run
from chalkgrad.benchmarks.machine import host
from chalkgrad.benchmarks.speed import performance
from chalkgrad.benchmarks.speed.contestants import GPU_CONTESTANTS
from chalkgrad.benchmarks.speed.results import GPU, read
from chalkgrad.benchmarks.speed.runner import Plan, run_workload
from chalkgrad.benchmarks.speed.workloads import GPU_WORKLOAD
from chalkgrad.cli import cli
from chalkgrad.engine import backend
from chalkgrad.errors import DataError, DeviceError, UsageError


def without_gpu():
    try:
        backend.load_cupy()
    except DeviceError:
        return True
    return False


needs_no_gpu = pytest.mark.skipif(not without_gpu(), reason="there is a GPU")


# The run


@pytest.mark.deep
def test_a_whole_run_on_the_stand_in(standin, tmp_path):
    kept, drawn = tmp_path / "gpu.json", tmp_path / "gpu.svg"
    shown = standin("-m", "chalkgrad", "bench", "--device", "gpu", "--quick", "--rounds", 2, "--json", kept,
            "--svg", drawn, "--contestants", "eager,captured")  # fmt: skip
    found = read(str(kept), GPU)
    assert found["machine"]["gpu"] == "Stand-in"
    assert list(found["sections"]) == list(sections.SECTIONS)
    assert {name: s["status"] for name, s in found["sections"].items()} == dict.fromkeys(sections.SECTIONS, "ok")
    entries = found["sections"]["mnist"]["contestants"]
    assert {name: e["status"] for name, e in entries.items()} == dict.fromkeys(("numpy", "eager", "captured"), "ok")
    assert found["sections"]["epoch"]["standing"] == found["sections"]["products"]["standing"] == "graph"
    moved = found["sections"]["epoch"]["transfers"]
    assert moved["to_device"] <= 3
    assert moved["to_host"] == 1
    assert found["sections"]["products"]["by"] == "cuBLAS"
    peers = found["sections"]["peers"]["workloads"].values()
    assert [entry["status"] for record in peers for entry in record["contestants"].values()] == ["ok", "ok"]
    assert "CPU against GPU" in shown
    assert "<svg" in drawn.read_text()
    text = "\n".join(prose.page([Run(found)], "pictures"))
    for heading in (
        "on the device",
        "First use",
        "What an epoch",
        "Launch",
        "Large",
        "Width × batch",
        "A CNN",
        "A small CNN beside PyTorch",
        "Energy",
    ):
        assert heading in text


@pytest.mark.deep
def test_the_command_for_everything(standin, tmp_path):
    only = [
        part for name in ("doctor", "prove", "replays", "bench launch", "bench products", "sanitizer")
        for part in ("--only", name)
    ]  # fmt: skip
    standin(whole.ROOT / "benchmarks" / "gpu", "--out", tmp_path, "--quick", *only)
    found = json.loads((tmp_path / "summary.json").read_text())
    assert found["standin"]
    assert found["steps"]["replays"]["tail"][-1] == "right"
    assert {name: step["status"] for name, step in found["steps"].items() if step["status"] != "ok"} in (
        {}, {"sanitizer": "skipped"}
    )  # fmt: skip
    assert json.loads((tmp_path / "proofs.json").read_text())["right"]
    assert list(json.loads((tmp_path / "gpu.json").read_text())["sections"]) == ["launch", "products"]
    assert "| replays | ok |" in (tmp_path / "summary.md").read_text()
    assert str(tmp_path) not in (tmp_path / "summary.json").read_text()
    assert (tmp_path / "gpu-proof.zip").stat().st_size


def test_the_command_is_there_where_nothing_is_installed():
    command = [sys.executable, "-I", whole.ROOT / "benchmarks" / "gpu", "--help"]
    assert "from a checkout, nothing installed" in subprocess.check_output(command, text=True)


@pytest.mark.deep
def test_replays_are_proven(standin, tmp_path):
    shown = standin("-m", "chalkgrad.benchmarks.gpu.replays", "--quick", "--json", tmp_path / "found.json")
    assert "DOES NOT HOLD" not in shown
    assert json.loads((tmp_path / "found.json").read_text())["checks"]["the step is a CUDA graph"]


# Steps of the whole run


def step(code, limit=60.0, **options):
    return whole.Step("a step", ("-c", code), limit, **options)


@pytest.mark.parametrize(
    ("code", "limit", "status"),
    [("print('done')", 60, "ok"), ("print('done'); raise SystemExit(3)", 60, "failed"),
     ("print('done', flush=True); import time; time.sleep(60)", 1, "out of time")],
)  # fmt: skip
def test_what_becomes_of_a_step(tmp_path, monkeypatch, code, limit, status):
    monkeypatch.setattr(whole, "GRACE", 2.0)
    (tmp_path / "logs").mkdir()
    found = whole.run(step(code), os.environ, tmp_path, limit)
    assert found["status"] == status
    assert found["tail"][0] == "done"


def test_a_step_that_cannot_be_asked_for(tmp_path):
    assert whole.why_not(step("", needs=("json", "no_such_module"))) == "no_such_module not installed"
    assert whole.why_not(step("", under=("no-such-program",))).startswith("no-such-program is not here")
    assert whole.why_not(step("")) is None


def test_a_step_under_a_program_of_cuda(tmp_path, monkeypatch):
    (tmp_path / "logs").mkdir()
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "sanitizer").write_text('#!/bin/sh\necho "$1"; shift; "$@"\nexit 86\n')
    (tmp_path / "bin" / "sanitizer").chmod(0o755)
    monkeypatch.setenv("CUDA_HOME", str(tmp_path))
    found = whole.run(step("print('done')", under=("sanitizer", "--check")), os.environ, tmp_path, 60.0)
    assert (found["code"], found["status"], found["tail"]) == (86, "failed", ["--check", "done"])


def test_a_step_knows_how_long_it_has(tmp_path):
    (tmp_path / "logs").mkdir()
    asked = whole.Step("a step", ("-c", "import sys; print(sys.argv[1])", whole.SECONDS), 60.0)
    assert whole.run(asked, os.environ, tmp_path, 20.0)["tail"] == ["17.0"]


def test_what_a_late_step_left_out(tmp_path, monkeypatch):
    monkeypatch.setattr(whole, "GRACE", 0.1)
    (tmp_path / "logs").mkdir()
    late = whole.run(step("print('... [ 37%]', flush=True); import time; time.sleep(9)"), os.environ, tmp_path, 0.5)
    assert late["left_out"] == "what was left after 37 % of the tests"
    assert "| left out: what was" in whole.summary(
        {"quick": False, "date": "", "seconds": 1.0, "python": "3", "machine": {}, "steps": {"pytest": late}}
    )


def report(name, verdict="proven", evaluations=1, **more):
    return {
        "of": name,
        "name": name,
        "verdict": verdict,
        "detail": "",
        "evaluations": evaluations,
        "exactness": [],
    } | more


def test_proofs_of_several_processes_are_summed_up():
    near = {"primitive": "exp", "of": "x", "dtype": "float32", "off": 6.0, "bound": {"ulp": 8.0}}
    parts = [{"card": {"gpu": "A card"}, "reports": [report("exp", exactness=[near]), report("sin", "undecided", 0)]},
             {"reports": [report("tan"), report("tan", "undecided"), report("sum", "wrong", 0)]}]  # fmt: skip
    found = proofs.summed(["exp", "sin", "tan", "sum"], parts)
    assert not found["right"]
    assert found["left_out"] == ["sin"]
    assert [one["name"] for one in found["wrong"]] == ["tan", "sum"]
    assert found["text"][:2] == ["3 of 4 primitives, 4 proofs, 2 not proven",
                                 "nearest to its bound: exp, x, float32: 6.00 of 8 ulp"]  # fmt: skip
    assert found["text"][-1] == "left out, since time was up: sin"
    assert proofs.summed(["exp", "sin"], parts[:1])["right"]


def test_the_whole_fits_into_its_time():
    planned = whole.steps_for(quick=False, standin=False)
    assert sum(step.limit for step in planned) <= whole.LIMIT == 480
    assert list(whole.SECTIONS) == list(sections.SECTIONS)


# On the CPU


def test_steps_are_those_of_fit():
    x, labels = steps.drawn(96, 12, 4)
    with steps.steps("cpu", (12, 8, 4), x, labels, 32, shuffle=True) as training:
        losses = [training.epoch().read()["loss"] for _ in range(6)]
        enqueued, done = training.timed()
        assert training.standing() == "program"
    assert losses == sorted(losses, reverse=True)
    assert 0 < enqueued <= done


def test_products_of_a_step():
    plain, left, right = (False, False), (True, False), (False, True)  # which factor is given transposed
    expected = [(2, 7, 5, *plain), (7, 2, 5, *left), (2, 5, 3, *plain), (5, 2, 3, *left), (2, 3, 5, *right)]
    assert matmuls.of_step((7, 5, 3), 2) == dict.fromkeys(expected, 1)
    assert matmuls.flops_of((7, 5, 3), 2) == 2 * 2 * (2 * 7 * 5 + 3 * 5 * 3)


def test_every_batch_of_the_sweep_has_its_steps():
    for counts in crossover.STEPS.values():
        for sweep in crossover.SWEEPS.values():
            assert {*sweep.batches, *sweep.quick_batches} <= counts.keys()


def test_where_the_gpu_begins_to_win():
    assert crossover.crossing([10, 1000], [0.1, 10.0]) == pytest.approx(100)
    assert crossover.crossing([10, 1000], [2.0, 10.0]) == 10
    assert crossover.crossing([10, 1000], [0.1, 0.2]) is None
    assert crossover.crossing([], []) is None


def test_adapters_are_told_of_the_device():
    assert {c.device for name, c in GPU_CONTESTANTS.items() if name != "numpy"} == {"gpu"}
    assert GPU_CONTESTANTS["numpy"].device == "cpu"


# The command


def bench(*arguments, code):
    ran = CliRunner().invoke(cli, ["bench", *arguments])
    assert ran.exit_code == code, ran.output
    return ran.output


@needs_no_gpu
def test_where_there_is_no_gpu():
    assert "the GPU needs CuPy" in bench("--device", "gpu", code=1)


def test_the_list_on_a_gpu(monkeypatch):
    monkeypatch.setattr(backend, "resolve_device", lambda name: "gpu:0")
    shown = bench("--device", "gpu", "--list", code=0)
    for name in (*sections.SECTIONS, *GPU_CONTESTANTS):
        assert name in shown


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--growth"], "--growth does not go with --device gpu"),
        (["--only", "chain"], "unknown section 'chain'"),
        (["--contestants", "mygrad"], "unknown contestant 'mygrad'"),
        (["--only", "launch", "--svg", "x.svg"], "--svg draws the crossover"),
    ],
)
def test_wrong_usage(monkeypatch, arguments, message):
    if "--svg" in arguments:
        pytest.importorskip("matplotlib", reason="matplotlib draws")
    monkeypatch.setattr(backend, "resolve_device", lambda name: "gpu:0")
    assert message in bench("--device", "gpu", *arguments, code=2)


def test_unknown_sections():
    assert sections.find_sections(["crossover", "mnist"]) == ["mnist", "crossover"]
    with pytest.raises(UsageError, match="did you mean 'launch'"):
        sections.find_sections(["lunch"])


# The page


def results():
    """A report with invented figures."""
    entry = {"status": "ok", "setting": "so", "versions": {}, "seconds": [2.0, 2.0], "memory": {}}
    mnist = {
        "status": "ok", "title": "MNIST", "task": GPU_WORKLOAD.full.as_dict(), "unit": "step", "count": 100,
        "data": "MNIST", "tolerance": 0.01, "figures": ["loss"], "warmups": 5,
        "bound": {"seconds": 1.0, "what": "its products", "for_all": False},
        "contestants": {"numpy": entry, "captured": entry | {"seconds": [1.0, 1.0]},
                        "jax scan": entry | {"status": "unavailable", "reason": "not here"}},
    }  # fmt: skip
    cells = [{"width": w, "batch": 32, "cpu": c, "gpu": 1e-3} for w, c in ((32, 1e-4), (128, 1e-2))]
    cells.append({"width": 512, "batch": 32, "cpu": None, "gpu": 1e-3, "reason": "the CPU would take about 99 s"})
    gpu = {
        "gpu": "A card", "gpu_memory_bytes": 80 << 30, "compute_capability": "9.0", "driver": "580", "cupy": "14.2",
        "cuda_runtime": "13.0", "packages": {"torch": "2.11"}, "float32_products": {"jax": "highest"},
    }  # fmt: skip
    return {
        "kind": GPU, "format": 1, "chalkgrad": "0.1.0", "quick": False, "machine": host() | gpu, "rounds": 7,
        "seed": 0, "pause_seconds": 0.1,
        "sections": {
            "mnist": mnist, "launch": {"status": "failed", "reason": "OSError: it broke"},
            "crossover": {"status": "ok", "inputs": 784, "classes": 10, "widths": [32, 128, 512], "batches": [32],
                          "cells": cells},
        },
    }  # fmt: skip


def test_the_page_without_results():
    (heading, told) = prose.page([], "pictures")
    assert heading == "## On a GPU"
    assert told.startswith("Nothing has been measured on a GPU yet. `python3 benchmarks/gpu --out FOLDER`")


def test_the_page_with_results():
    found = {"replays": {"text": ["holds: it does"]}, "agreement": {"text": ["2.6e-08 apart"]}}
    text = "\n\n".join(prose.page([Run(results(), found), Run(results())], "pictures"))
    assert "What has changed in chalkgrad since then has not been run there" in text
    assert "- 2.6e-08 apart\n- holds: it does" in text
    assert "- B: A card; " in text
    assert "| 128 wide, batch 32, gpu | 1 ms | 1 ms |" in text
    assert "A card (80 GiB" in text
    assert "| **captured** | 10 ms | 10 ms – 10 ms | 1.00 (1.00 – 1.00) | 1 s |" in text
    assert "- jax scan, unavailable: not here" in text
    assert "`launch` was not measured: OSError: it broke" in text
    assert "| 32 | 100 µs / 1 ms (0.10 ×) | 10 ms / 1 ms (10.0 ×) | – / 1 ms | 64 |" in text
    assert "- width 512, batch 32: the CPU would take about 99 s" in text


def test_the_page_takes_the_results_beside_those_of_the_cpu(tmp_path):
    committed = Path(performance.__file__).parents[1] / "results" / "speed.json"
    shutil.copy(committed, tmp_path / "speed.json")
    arguments = ["--results", str(tmp_path / "speed.json"), "--out", str(tmp_path / "page.md")]
    assert performance.main(arguments) == 0
    assert "Nothing has been measured on a GPU yet." in (tmp_path / "page.md").read_text()
    (tmp_path / "gpu" / "a-card").mkdir(parents=True)
    (tmp_path / "gpu" / "a-card" / "gpu.json").write_text(json.dumps(results()))
    assert performance.main(arguments) == 0
    assert "A card (80 GiB" in (tmp_path / "page.md").read_text()
    for name in ("gpu-mnist.svg", "gpu-crossover.svg"):
        assert f"pictures/{name}" in (tmp_path / "page.md").read_text()
        assert "<svg" in (tmp_path / "pictures" / name).read_text()


def test_a_card_whose_peak_is_known_and_another():
    square = {"products": {"square": {"tf32": {"flops_per_second": 2e13}}}}
    known, other = (results() | {"machine": {"gpu": name}, "sections": square} for name in ("NVIDIA H200", "A card"))
    assert peaks.peaks(known)[0]["tf32"] == 494.5e12
    assert peaks.peaks(other) == ({"tf32": 2e13}, "the best large product by cuBLAS")
    assert peaks.peaks(results()) == ({}, "")


def test_rounded_steps_and_energy_are_told():
    section = {
        "status": "ok", "sizes": [8, 10], "batch": 4, "dtype": "float32", "by": "cuBLAS", "ratio": 1.0,
        "step_seconds": 1e-3, "products_seconds": 1e-3, "step_flops_per_second": 1e13,
        "products_flops_per_second": 1e13,
        "rounded": {"tf32": {"step_seconds": 5e-4, "step_flops_per_second": 2e13}},
        "square": {"float32": {"flops_per_second": 5e13}, "tf32": {"flops_per_second": 4e13}},
    }  # fmt: skip
    run = results() | {"sections": {"products": section}}
    assert "| tf32 | 500 µs | 20.0 (50%) | 40.0 (100%) |" in "\n".join(prose.part("products", section, run))
    seen = {"imported": 0.5, "first_fit": 6.5, "second_fit": 7.0}
    first = "\n".join(prose.part("first", {"status": "ok", "samples": 9, "cold": seen, "warm": seen}, run))
    assert "| nothing compiled before | 500 ms | 6.5 s | 500 ms |" in first
    nets = {"8-10, batch 4": {"joules": 0.0123, "watts": 250.0, "seconds": 1e-4}}
    text = "\n".join(prose.part("energy", {"status": "ok", "idle_watts": 70.0, "nets": nets}, run))
    assert "| 8-10, batch 4 | 12.3 mJ | 250 W | 100 µs |" in text
    assert "Not measured: no NVML." in prose.part("energy", {"status": "ok", "absent": "no NVML"}, run)


def test_energy_is_read_where_nvml_tells_it(monkeypatch):
    monkeypatch.setattr(backend, "card_of", lambda device: "0000:01:00.0")
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert energy.measure_energy("gpu:0", True) == {"absent": "nvidia-ml-py is not installed"}

    def refuse(handle):
        raise OSError("Not Supported")

    nvml = SimpleNamespace(nvmlInit=lambda: None, nvmlDeviceGetHandleByPciBusId=lambda bus: bus,
                           nvmlDeviceGetTotalEnergyConsumption=refuse)  # fmt: skip
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    assert energy.meter("gpu:0") == "NVML does not tell it (OSError: Not Supported)"
    nvml.nvmlDeviceGetTotalEnergyConsumption = lambda handle: 1000 * time.perf_counter()  # of a card of one watt
    found = energy.measure_energy("cpu", True)["nets"]["24-16-10, batch 16"]
    assert found["watts"] == pytest.approx(1, rel=0.05)
    assert found["joules"] == pytest.approx(found["seconds"], rel=0.05)


def test_a_sweep_without_time_says_what_it_left_out():
    found = crossover.measure_crossover("gpu:0", True, lambda text: None, crossover.SWEEPS["cnn"], until=0.0)
    assert [(cell["gpu"], cell["cpu"], cell["reason"]) for cell in found["cells"]] == [
        (None, None, "no time was left")
    ] * 2
    text = "\n".join(prose.part("cnn", {"status": "ok", **found}, results()))
    assert "| 8 | – / – | – / – | – |" in text
    assert "- width 4, batch 8: no time was left" in text


def test_a_contestant_for_whom_there_is_no_time_is_left_out():
    plan = Plan(quick=True, rounds=1, until=0.0)
    record = run_workload(GPU_WORKLOAD, [GPU_CONTESTANTS["numpy"]], plan, lambda text: None)
    assert record["contestants"]["numpy"]["reason"] == "left out: no time was left"


def test_the_committed_runs_are_on_the_page():
    found = kept.runs(Path(performance.__file__).parents[1] / "results" / "gpu")
    assert "NVIDIA H200" in [run.results["machine"]["gpu"] for run in found]
    page = (whole.ROOT / "docs" / "performance.md").read_text("utf-8")
    assert "\n\n".join(filter(None, prose.page(found, performance.PICTURES))) in page


def test_pictures_are_the_same_for_the_same_run():
    assert charts.speedup(results()) == charts.speedup(results())


def test_a_damaged_report(tmp_path):
    (tmp_path / "gpu.json").write_text(json.dumps(results() | {"sections": {"mnist": {"status": "failed"}}}))
    with pytest.raises(DataError, match="damaged report of `chalkgrad bench --device gpu --json`"):
        read(str(tmp_path / "gpu.json"), GPU)
