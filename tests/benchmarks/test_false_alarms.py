"""False alarms: counted seed by seed, gone on with, put together; what does not fit is refused."""

import json

import pytest

from chalkgrad.benchmarks import false_alarms
from chalkgrad.errors import DataError
from chalkgrad.proof import Report, Verdict


@pytest.fixture
def proven(monkeypatch):
    """Two reports a seed, without the work; seed 3 raises an alarm. Gathers what was proven."""
    asked = []

    def prove(names, dtypes, orders, seed, samples, **_):
        asked.append((*orders, seed))
        yield Report("f", Verdict.PROVEN, seed=seed)
        yield Report("g", Verdict.WRONG if seed == 3 else Verdict.PROVEN, "off", seed=seed)

    monkeypatch.setattr(false_alarms, "prove", prove)
    return asked


def command(*arguments):
    return false_alarms.main([*map(str, arguments)])


def runs(file):
    return json.loads(file.read_text(encoding="utf-8"))["runs"]


def old(file, first, last, order=1, **changes):
    """A file as the earlier program wrote it."""
    contents = {"seeds": [first, last], "orders": [order], "proofs": 2 * (last - first), "false_alarms": 0,
                "seconds": 1.5, "alarms": []}  # fmt: skip
    file.write_text(json.dumps(contents | changes), encoding="utf-8")
    return file


@pytest.mark.parametrize("order", [1, 2])
def test_a_few_primitives_raise_none(order):
    seed = false_alarms.prove_seed(order, 1, ["exp", "multiply", "greater"])
    assert seed.proofs > 10
    assert not seed.alarms


def test_what_is_finished_is_not_proven_again(tmp_path, proven):
    file = tmp_path / "result.json"
    assert command("--out", file, "--first-order", 2) == 0
    assert command("--out", file, "--first-order", 5, "--second-order", 1) == 1
    assert proven == [(1, 0), (1, 1), (1, 2), (1, 3), (1, 4), (2, 0)]
    first, second = runs(file)
    assert (first["seeds"], first["proofs"], first["false_alarms"]) == ([[0, 5]], 10, 1)
    assert (first["alarms"][0]["name"], first["alarms"][0]["seed"]) == ("g", 3)
    assert (second["order"], second["seeds"], second["proofs"]) == (2, [[0, 1]], 2)


def test_a_killed_run_keeps_its_seeds(tmp_path, proven, monkeypatch):
    file, whole = tmp_path / "result.json", false_alarms.prove_seed

    def killed(order, seed, names):
        if seed == 2:
            raise KeyboardInterrupt
        return whole(order, seed, names)

    monkeypatch.setattr(false_alarms, "prove_seed", killed)
    assert command("--out", file, "--first-order", 3) == 130
    assert runs(file)[0]["seeds"] == [[0, 2]]


def test_processes_find_the_same(tmp_path):
    pytest.importorskip("mpmath", reason="primitives are proven with mpmath")
    arguments = ("--only", "greater", "negative", "--first-order", 2)
    alone, apart = tmp_path / "alone.json", tmp_path / "apart.json"
    assert command("--out", alone, *arguments) == command("--out", apart, *arguments, "--processes", 2) == 0
    (one,), (other,) = ([{**run, "seconds": 0} for run in runs(file)] for file in (alone, apart))
    assert one == other


def test_files_are_put_together(tmp_path, proven):
    files = [
        old(tmp_path / "a", 0, 3),
        old(tmp_path / "b", 5, 7),
        old(tmp_path / "c", 0, 1, 2, seeds=[[0, 1]]),
    ]
    out, page = tmp_path / "result.json", tmp_path / "page.md"
    assert command("--out", out, "--merge", *files) == 0
    assert [run["seeds"] for run in runs(out)] == [[[0, 3], [5, 7]], [[0, 1]]]
    assert [run["seconds"] for run in runs(out)] == [3.0, 1.5]
    assert command("--out", tmp_path / "again.json", "--merge", out, "--first-order", 6, "--page", page) == 1
    assert proven == [(1, 3), (1, 4)]
    text = page.read_text(encoding="utf-8")
    assert "| first | 7 | 14 | 1 |\n| second | 1 | 2 | 0 |\n" in text
    assert text.endswith("- order 1, seed 3, float64: `g`, off\n")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"proofs": 7}, r"7 proofs a seed beside 2: the registry has changed"),
        ({"seeds": [0, 1]}, r"the seeds \[\[0, 1\]\] are counted already"),
        ({"orders": [1, 2]}, "of one order each"),
        ({"seeds": 3}, "keeps no false alarms"),
        ({"seeds": ["0", "3"]}, "keeps no false alarms"),
        ({"runs": [], "settings": {"samples": 9}}, "is of other settings, {'samples': 9}, not "),
        ({"runs": [{"seeds": []}], "settings": false_alarms.Result().settings}, "'order' is missing"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path, changes, message):
    result = false_alarms.Result()
    result.add(old(tmp_path / "a", 0, 3))
    with pytest.raises(DataError, match=message):
        result.add(old(tmp_path / "b", 5, 6, **changes))


def test_a_file_of_other_primitives_is_left_as_it_was(tmp_path, proven, capsys):
    file = old(tmp_path / "a", 0, 3)
    before = file.read_bytes()
    assert command("--out", file, "--first-order", 4, "--only", "exp") == 2
    assert "is of other settings" in capsys.readouterr().err
    assert file.read_bytes() == before
    assert not proven


def test_an_unknown_primitive_writes_nothing(tmp_path, capsys):
    assert command("--out", tmp_path / "a", "--first-order", 1, "--only", "exq") == 2
    assert "did you mean 'exp'?" in capsys.readouterr().err
    assert not (tmp_path / "a").exists()
