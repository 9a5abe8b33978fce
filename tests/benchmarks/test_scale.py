"""The model of scale, and the page that is made of figures."""

import pytest

from chalkgrad.benchmarks import scale
from chalkgrad.benchmarks.scaling_model import ASSUMED, HOROVOD, Network, fitted


def test_the_fit_finds_what_the_times_were_made_of():
    made = Network("", 3e-5, 2e-9)
    assert made.allreduce(1024, 1e6) == made.halving(1024, 1e6) < made.tree(1024, 1e6) < made.ring(1024, 1e6)
    found = fitted("", scale.SIZES, [made.allreduce(2, size) for size in scale.SIZES])
    assert (found.alpha, found.beta) == pytest.approx((3e-5, 2e-9))
    assert made.allreduce(8, 8) == made.tree(8, 8)
    assert made.weak(1, 1.0, 1e6) == 1
    assert made.strong(2, 1.0, 0) == pytest.approx(2, rel=1e-3)


def test_published_figures_lie_between_no_overlap_and_all():
    for net in HOROVOD:
        low, high = (net.predicted(ASSUMED[1], 512, overlapped) for overlapped in (False, True))
        assert low < net.measured < high, net.net


def test_a_page_gets_the_figures(tmp_path):
    step = {"seconds": 0.01, "cpu_seconds": 0.01, "communication": 1e-4, "gradient_bytes": 4e6}
    net = {
        "rows": 8,
        "alone": step,
        "weak": step,
        "apart": step,
        "strong": step,
        "weak_scaling": 0.8,
        "strong_scaling": 1.5,
    }
    figures = {
        "machine": {"processor": "P", "cores": 2, "date": "D"}, "rounds": 1, "steps": 9, "nets": {"MLP": net},
        "allreduce": {"sizes": [8, 1024, 1 << 20], "seconds": [1e-5, 1.1e-5, 1e-3]},
    }  # fmt: skip
    kept, page = tmp_path / "kept.json", tmp_path / "page.md"
    scale.write(str(kept), figures)
    page.write_text("before\n<!-- measured -->\nold\n<!-- end -->\nafter\n", "utf-8")
    assert scale.main(["--from", str(kept), "--page", str(page)]) == 1  # 0.8 is less than 0.85
    told = page.read_text("utf-8")
    assert "| MLP | 8 | 4.00 MB | 10 ms | 10 ms | 10 ms | 100 µs | 0.80 | 1.00 | 1.00 | 1.50 × |" in told
    assert "old" not in told
    assert told.startswith("before")
    assert told.endswith("after\n")
    page.write_text("no marks", "utf-8")
    with pytest.raises(scale.UsageError, match="has no lines"):
        scale.main(["--from", str(kept), "--page", str(page)])


@pytest.mark.deep
def test_the_worker_on_ranks():
    found = scale.ranks(2, "CNN", 8, 12)
    assert min(found[name] for name in ("communication", "seconds", "cpu_seconds")) > 0  # clocks of two measurements
    assert found["gradient_bytes"] > 1000
