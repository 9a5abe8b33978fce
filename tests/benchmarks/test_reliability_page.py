"""The pages of what is promised say what the results say, whichever there are."""

import json

import pytest

from chalkgrad.benchmarks.reliability import page

MACHINE = {"processor": "P", "cores": 2, "system": "S", "python": "3", "date": "2026-01-01"}
RUNS = {
    "crashes": {
        "kills": 1234, "trials": 700, "seed": 5, "by signal": {"SIGKILL": 1000, "SIGTERM": 234}, "torn": 11,
        "by moment": {"in a save": 600, "anywhere": 634}, "by kind": {"train mlp": 1234}, "mixed": 12, "unusable": 13,
        "different": 14, "told wrongly": 15, "before our first line": 16,
    },
    "disk-faults": {
        "rows": [{"fault": "a | pipe", "tried": "train", "gives": "<error>", "lost": 3, "wrong": ["it"]}],
        "left out": ["a disk"],
    },
    "fuzzing": {
        "inputs": 4321, "seed": 6, "limits": {"seconds": 2.0, "megabytes": 100.0, "sizes": 2.0}, "finds": [{}, {}],
        "targets": {"idx": {"inputs": 4321, "taken": 4000, "refused": 319, "foreign": 2, "slowest_seconds": 0.5,
                            "peak_bytes": 17_000_000}},
    },
    "soak": {
        "minutes": 30.0, "seed": 7, "serving_threads": 2, "predictions": 98765, "trainings": 432, "wrong": ["it"],
        "slope_bytes_a_minute": 21, "readings": [{"minute": n, "bytes": n * 10**6, "files": 6} for n in range(9)],
        "faults": {"none": {"met": 8, "raised": 0}, "a text": {"met": 77, "raised": 76}},
    },
    "leaks": {
        "rows": [{"kind": "a model", "count": 5000, "growth": 8, "slower": 0.97, "bytes": [5 * 10**7],
                  "seconds": [0.004]}],
    },
}  # fmt: skip
SAID = {
    "crashes": ["| 11 | 12 | 13 | 14 | 15 |", "SIGKILL 1000", "--kills 1234 --seed 5", "train mlp: 1234", "16 "],
    "disk-faults": [r"| a \| pipe | train | \<error> | 3 |", "a disk"],
    "fuzzing": ["| idx | 4,321 | 4,000 | 319 | 2 | 0.50 s | 17 MB |", "--inputs 4321 --seed 6"],
    "soak": [
        "| 98,765 | 432 | 1 |",
        "| a text | 77 | 76 |",
        "--minutes 30 --seed 7",
        " 21 ",
        "3.0 MB",
        "4.0 MB",
        "8.0 MB",
    ],
    "leaks": ["| a model | 5,000 | 8 B | 50.0 MB | 4.0 ms | 0.97 × |"],
}
LANGUAGES = pytest.mark.parametrize("lang", page.PAGES)


@LANGUAGES
def test_the_page_is_what_the_results_say(lang):
    assert page.PAGES[lang].read_text(encoding="utf-8") == page.page(lang) + "\n"


@LANGUAGES
@pytest.mark.parametrize("run", RUNS)
def test_each_run_is_told_by_itself(lang, run, tmp_path):
    (tmp_path / f"reliability-{run}.json").write_text(json.dumps({**RUNS[run], "machine": MACHINE}), encoding="utf-8")
    told = page.page(lang, tmp_path)
    for figures in (*SAID[run], "P, 2 cores, S, Python 3, 2026-01-01."):
        assert figures in told
    assert told.count("\n## ") == 3


@LANGUAGES
def test_without_a_run_the_promises_stand(lang, tmp_path):
    assert page.page(lang, tmp_path).count("\n## ") == 2


def test_the_command_writes_both(tmp_path, monkeypatch):
    pages = {lang: tmp_path / f"{lang}.md" for lang in page.PAGES}
    monkeypatch.setattr(page, "PAGES", pages)
    assert page.main([]) == 0
    assert all(file.read_text(encoding="utf-8").startswith("# ") for file in pages.values())
