"""What is made of a run: numbers, comparison, pictures, page and command."""

import copy
import csv
import json
import re

import pytest
from click.testing import CliRunner

from chalkgrad.benchmarks import charts
from chalkgrad.benchmarks.machine import host
from chalkgrad.benchmarks.speed import limits, performance, results
from chalkgrad.benchmarks.speed.compare import compare
from chalkgrad.benchmarks.speed.contestants import CONTESTANTS, YARDSTICK
from chalkgrad.benchmarks.speed.growth import SWEEPS, exponent
from chalkgrad.benchmarks.speed.machines import side_by_side
from chalkgrad.benchmarks.speed.rows import as_csv
from chalkgrad.benchmarks.speed.workloads import WORKLOADS
from chalkgrad.benchmarks.steadiness import doubtful, unsteady
from chalkgrad.cli import cli
from chalkgrad.errors import DataError

MEMORY = {"imported_bytes": 30_000_000, "data_bytes": 0, "prepared_bytes": 31_000_000, "peak_bytes": 35_000_000}


def entry(seconds, status="ok"):
    made = {"status": status, "setting": "so", "versions": {"numpy": "2"}, "seconds": seconds, "memory": MEMORY}
    return made | ({} if status == "ok" else {"reason": "it would not"})


def report(**contestants):
    """A report of one workload; the times are those of an operation, in µs."""
    task = WORKLOADS["chain"].full
    record = {
        "title": "a chain", "task": task.as_dict(), "unit": "operation", "count": task.count, "data": "drawn",
        "tolerance": 1e-4, "figures": ["sum"],
        "bound": {"seconds": 500e-6, "what": "calls", "for_all": True},
        "contestants": {
            name: entry([value * 1e-6 * task.count for value in given]) if isinstance(given, list) else given
            for name, given in contestants.items()
        },
    }  # fmt: skip
    figures = {
        "float32_flops": 1e11, "float64_flops": 5e10, "copy_bytes_per_second": 2e10, "triad_bytes_per_second": 2e10,
        "smallest_call_seconds": 3e-7,
    }  # fmt: skip
    return {
        "kind": results.KIND, "format": 1, "chalkgrad": "0.1.0", "quick": False, "machine": host(),
        "rounds": 3, "seed": 0, "pause_seconds": 0.1, "limits": figures, "workloads": {"chain": record},
    }  # fmt: skip


def growth_report(seconds):
    line = {
        "seconds": [[s] for s in seconds],
        "memory": [{}, {"used_bytes": 10**7, "left_bytes": 5}],
        "reasons": ["", ""],
    }
    sweep = {"title": "a chain", "variable": "operations", "unit": "operation", "sizes": [10, 1000]}
    sweep["lines"] = {"eager": line, "captured": {"seconds": [[], []], "memory": [{}, {}], "reasons": ["no", "no"]}}
    head = {"kind": results.GROWTH, "format": 1, "chalkgrad": "0.1.0", "quick": True, "machine": host()}
    return head | {"sweeps": {"chain": sweep}}


# Numbers


def test_ratios_are_taken_within_each_round():
    record = report(numpy=[1.0, 2.0, 4.0], captured=[2.0, 4.0, 8.0])["workloads"]["chain"]
    assert results.ratio(record, "captured", YARDSTICK) == results.Spread(2.0, 2.0, 2.0, 2.0)
    assert results.time_of(record, "numpy").median == pytest.approx(2e-6)
    assert results.ratio(record, "jit", YARDSTICK) is None


@pytest.mark.parametrize(
    ("seconds", "text"), [(2.5, "2.5 s"), (0.0123, "12.3 ms"), (4.56e-5, "45.6 µs"), (8.8e-8, "88 ns")]
)
def test_times_are_readable(seconds, text):
    assert results.seconds_text(seconds) == text


def test_the_exponent_of_a_power_law():
    assert exponent([1, 10, 100], [5, 500, 50_000]) == pytest.approx(2)
    assert exponent([10], [1]) is None


def test_a_machine_that_does_not_hold_still_is_told_of():
    pytest.importorskip("pyperf")
    found = unsteady({"still": [0.1, 0.1, 0.1], "jumping": [0.1, 0.3, 0.1]})
    assert list(found) == ["jumping"]
    assert "the standard deviation (115 ms) is 69% of the mean (167 ms)" in found["jumping"]
    assert list(unsteady({"alone": [0.1, 0.3, 0.1]})) == ["alone"]
    told = results.steadiness(report(numpy=[1.0])["workloads"]["chain"] | {"unsteady": found})
    assert told.startswith("- jumping, unsteady: the standard deviation")
    still = report(numpy=[1.0] * 3)["workloads"]["chain"]
    assert results.steadiness(still) == ""
    assert results.steadiness({**still, "unsteady": None}).startswith("pyperf is not installed")


def test_no_time_below_the_limit_goes_without_a_word():
    fast = report(numpy=[1.0] * 3, jit=[0.1] * 3)["workloads"]["chain"]
    assert results.steadiness(fast).startswith("- jit, implausible: 0.20 × the limit")
    fast["bound"]["for_all"] = False  # compiled code is not bound by it
    assert results.steadiness(fast) == ""


def test_a_busy_machine_is_told_of():
    assert doubtful({"load_avg_1min": 2.5, "cores": 2}).startswith("The machine was busy: a load of 2.50 on 2 cores")
    assert doubtful({"load_avg_1min": 0.5, "cores": 2}) == doubtful({"cores": 2}) == ""
    given = report(numpy=[1.0])
    given["machine"] |= {"load_avg_1min": 9.0, "cores": 2, "blas_kernels": "Haswell"}
    assert "**The machine was busy" in (page := performance.page(given, None))
    assert "OPENBLAS_CORETYPE=Haswell is set" in page


def training_report():
    """A report whose workload is a training: 1,000 samples and 10 GFLOP a repetition."""
    made = report(numpy=[1.0] * 3, captured=[2.0] * 3, mygrad=entry([], "unavailable"))
    record = made["workloads"]["chain"]
    record |= {"work": {"samples": 1000, "flops": 10**10}, "count": 1, "peak_flops_per_second": 1e11}
    for name, seconds in (("numpy", 1.0), ("captured", 2.0)):
        record["contestants"][name]["seconds"] = [seconds] * 3
    record["contestants"]["mygrad"]["versions"] = {"mygrad": "not installed"}
    return made


def test_samples_and_operations_a_second():
    record = training_report()["workloads"]["chain"]
    assert results.rates(record, "captured") == {
        "samples_per_second": 500, "flops_per_second": 5e9, "share_of_peak": 0.05,
    }  # fmt: skip
    assert "| captured | 500 | 5 | 5% |" in results.rates_table(record)
    assert results.rates_table(report(numpy=[1.0])["workloads"]["chain"]) == ""


def test_who_is_not_installed_is_told_once():
    made = training_report()
    made["workloads"]["again"] = made["workloads"]["chain"]
    page = performance.page(made, None)
    assert page.count("Not installed, so not asked: mygrad (without mygrad).") == 1
    assert results.unfinished(made["workloads"]["chain"]) == ""


def test_rows_for_a_table_program():
    first, second, third = csv.DictReader(as_csv(training_report()).decode().splitlines())
    assert (first["contestant"], first["median_seconds"], first["share_of_peak"]) == ("numpy", "1.0", "0.1")
    assert (second["times_numpy"], second["cores"]) == ("2.0", str(host()["cores"]))
    assert (third["status"], third["median_seconds"], third["remark"]) == ("unavailable", "", "it would not")
    (grown, _) = csv.DictReader(as_csv(growth_report([1e-6, 1e-4])).decode().splitlines())
    assert (grown["workload"], grown["size"], grown["median_seconds"]) == ("growth, chain", "10", "1e-06")


def test_machines_stand_side_by_side(tmp_path):
    here, there = training_report(), report(numpy=[3.0], eager=[6.0])
    there["machine"] |= {"processor": "other", "load_avg_1min": 99.0}
    gpu = {**there, "kind": results.GPU, "machine": there["machine"] | {"gpu": "card", "packages": {}}}
    gpu["sections"] = {"chain": {"status": "ok", **gpu.pop("workloads")["chain"]}, "launch": {"status": "ok"}}
    machines, *tables = side_by_side([here, there, gpu, growth_report([1e-6, 1e-4])])
    assert "- B: other, " in machines
    assert machines.count("The machine was busy") == 2
    assert "- C: card; other, " in machines
    assert (
        "| numpy | 1 s (1.00 × numpy), 1,000 samples/s | 3 µs (1.00 × numpy) | 3 µs (1.00 × numpy) | – |" in tables[0]
    )
    assert "| eager | – | 6 µs (2.00 × numpy) | 6 µs (2.00 × numpy) | – |" in tables[0]
    assert "| mygrad | unavailable | – | – | – |" in tables[0]
    assert "| eager | – | – | – | 1 µs |" in tables[1]
    kept = tmp_path / "growth.json"
    kept.write_text(json.dumps(growth_report([1e-6, 1e-4])))
    assert "growth, chain, 1,000" in bench("--show", kept, "--show", kept, "--csv", tmp_path / "rows.csv")
    assert len((tmp_path / "rows.csv").read_text().splitlines()) == 1 + 2 * 2
    kept.write_text(json.dumps({**here, "machine": {}}))
    assert "is a damaged report" in bench("--show", kept, code=1)


# Comparison


@pytest.mark.parametrize(
    ("now", "worse"),
    [
        ([2.0, 2.1, 2.2], False),  # as it was
        ([2.2, 2.3, 2.4], False),  # within the margin
        ([1.0, 1.1, 1.2], False),  # faster
        ([2.0, 2.5, 2.6], False),  # the quartiles overlap
        ([3.0, 3.1, 3.2], True),
    ],
)
def test_compare_sees_what_became_slower(now, worse):
    old = report(numpy=[1.0, 1.0, 1.0], captured=[2.0, 2.1, 2.2])
    (change,) = compare(old, report(numpy=[1.0, 1.0, 1.0], captured=now))
    assert change.worse is worse


def test_compare_knows_another_machine():
    old = report(numpy=[1.0, 1.0, 1.0], captured=[2.0, 2.1, 2.2])
    (change,) = compare(old, report(numpy=[3.0, 3.0, 3.0], captured=[6.0, 6.3, 6.6]))
    assert not change.worse


def test_compare_sees_what_finishes_no_more():
    old = report(numpy=[1.0], captured=[2.0])
    (change,) = compare(old, report(numpy=[1.0], captured=entry([], "failed")))
    assert change.worse
    assert change.note == "failed: it would not"


def test_compare_leaves_other_sizes_and_peers_alone():
    old = report(numpy=[1.0], captured=[1.0], mygrad=[1.0])
    new = report(numpy=[1.0], captured=[9.0], mygrad=[9.0])
    new["workloads"]["chain"]["task"]["links"] = 7
    (change,) = compare(old, new)
    assert (change.contestant, change.worse) == ("captured", False)


# The page


def test_the_page_says_what_the_numbers_say():
    slow = performance.page(report(numpy=[1.0] * 3, captured=[2.0] * 3, eager=[4.0] * 3), None)
    assert "Of ours the fastest is `captured`. It is slower than numpy (2.00 ×)." in slow
    assert "What lies between is 1.5 µs, 75% of the time; hand-written NumPy leaves 500 ns of it too." in slow
    fast = performance.page(report(numpy=[1.0] * 3, jit=[0.8] * 3), None)
    assert "Of ours the fastest is `jit`. It is faster than numpy (1.25 ×)." in fast
    even = performance.page(report(numpy=[1.0, 2.0, 1.0, 2.0], eager=[1.1, 1.9, 1.1, 1.9]), None)
    assert "as fast, within the quartiles, as numpy" in even
    none = performance.page(report(numpy=[1.0], captured=entry([], "disqualified")), None)
    assert "None of ours finished." in none
    assert "- captured, disqualified: it would not" in none


def test_the_page_on_growth():
    page = performance.page(report(numpy=[1.0]), growth_report([1e-6, 1e-4]))
    assert "| eager | 1 µs | 100 µs | 1.00 |" in page
    assert "- eager, 1,000 operations: 10 MB at the peak (10,000 bytes an operation), 0 MB still held" in page
    assert "- captured at 10: no" in page


def test_the_page_and_its_pictures_are_written(tmp_path):
    speed, growth = tmp_path / "speed.json", tmp_path / "growth.json"
    speed.write_text(json.dumps(report(numpy=[1.0, 1.1], captured=[2.0, 2.1], mygrad=[90.0, 91.0])))
    growth.write_text(json.dumps(growth_report([1e-6, 1e-4])))
    out = tmp_path / "docs" / "page.md"
    assert performance.main(["--results", str(speed), "--growth", str(growth), "--out", str(out)]) == 0
    named = re.findall(r"\]\((.+?\.svg)\)", out.read_text())
    assert len(named) == 2
    for picture in named:
        assert "<svg" in (out.parent / picture).read_text()
    assert str(tmp_path) not in out.read_text()


def test_a_picture_has_each_contestant_and_its_ratio():
    picture = charts.bars(report(numpy=[1.0] * 3, captured=[2.0] * 3)).decode()
    assert "captured" in picture
    assert "(2.00 ×)" in picture
    assert picture == charts.bars(report(numpy=[1.0] * 3, captured=[2.0] * 3)).decode()


def test_the_roofline_has_the_work_that_is_counted():
    made = training_report()
    made["workloads"]["chain"]["work"]["bytes"] = 10**9
    made["workloads"]["uncounted"] = report(numpy=[1.0])["workloads"]["chain"]
    picture = charts.roofline(made).decode()
    assert ">chain</text>" in picture
    assert "uncounted" not in picture
    assert "ours, the fastest" in picture
    assert "a peer" not in picture
    assert "<svg" in charts.roofline(report(numpy=[1.0])).decode()
    assert "speed-roofline.svg" in performance.page(made, None)
    assert "speed-roofline.svg" in charts.pictures(made, None, None)


# The command


def bench(*arguments, code=0):
    ran = CliRunner().invoke(cli, ["bench", *map(str, arguments)])
    assert ran.exit_code == code, ran.output
    return ran.output


def test_list():
    shown = bench("--list")
    for name in (*WORKLOADS, *CONTESTANTS):
        assert name in shown


@pytest.mark.deep
def test_a_run_is_kept_drawn_and_compared(tmp_path, monkeypatch):
    pytest.importorskip("matplotlib", reason="matplotlib draws")
    kept, drawn, rows = tmp_path / "speed.json", tmp_path / "speed.svg", tmp_path / "speed.csv"
    run = ("--quick", "--only", "chain", "--contestants", "eager", "--rounds", 3)
    shown = bench(*run, "--json", kept, "--svg", drawn, "--csv", rows)
    assert "× numpy" in shown
    found = results.read(str(kept))
    assert list(found["workloads"]["chain"]["contestants"]) == ["numpy", "eager"]
    assert "<svg" in drawn.read_text()
    assert len(rows.read_text().splitlines()) == 3
    assert str(tmp_path) not in kept.read_text()
    faster = copy.deepcopy(found)
    eager = faster["workloads"]["chain"]["contestants"]["eager"]
    eager["seconds"] = [seconds / 100 for seconds in eager["seconds"]]
    kept.write_text(json.dumps(faster))
    bounds = {"chain": found["workloads"]["chain"]["bound"]}
    monkeypatch.setattr(limits, "measure", lambda tasks, quick: {"figures": found["limits"], "bounds": bounds})
    assert "WORSE" in bench(*run, "--compare", kept, code=1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--only", "mnits"], "unknown workload 'mnits': did you mean 'mnist'?"),
        (["--contestants", "numpy,capturd"], "unknown contestant 'capturd': did you mean 'captured'?"),
        (["--rounds", "0"], "'0' is not a whole number of 1 or more."),
        (["--growth", "--only", "mnist"], "--only does not go with --growth"),
    ],
)
def test_wrong_usage(arguments, message):
    assert message in bench(*arguments, code=2)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "cannot read"),
        ("no json", "is no JSON that can be used"),
        ("[1]", "is no report of `chalkgrad bench --json`."),
        (json.dumps({"kind": results.GROWTH}), "is no report of `chalkgrad bench --json`."),
        (json.dumps({"kind": results.KIND, "format": 99}), "has format 99"),
        (json.dumps({"kind": results.KIND, "format": 1}), "is a damaged report"),
    ],
)
def test_a_file_that_is_no_report(tmp_path, text, message):
    path = tmp_path / "old.json"
    if text is not None:
        path.write_text(text)
    assert message in bench("--compare", path, code=1)
    with pytest.raises(DataError):
        results.read(str(path))


def test_growth_has_its_sweeps():
    for sweep in SWEEPS.values():
        for size in sweep.sizes:
            assert sweep.count(size) >= 1
            assert set(sweep.names) <= set(CONTESTANTS)
