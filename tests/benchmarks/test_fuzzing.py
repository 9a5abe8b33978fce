"""The fuzz harness: what it has to find it finds; and a few inputs of every target, of which none may be found."""

import json

import pytest

from chalkgrad.benchmarks.reliability import fuzzing
from chalkgrad.benchmarks.reliability.fuzz_worker import Limits
from chalkgrad.benchmarks.reliability.targets import find_targets
from chalkgrad.errors import UsageError

BROKEN = """
import os
from chalkgrad.benchmarks.reliability.targets import Target
from chalkgrad.errors import DataError

def run(text, folder):
    (folder / "file").write_text(text)
    if "foreign" in text: int("x")
    if "crash" in text: os._exit(3)
    if "hang" in text:
        while True: pass
    if "memory" in text: bytearray(60_000_000)
    if "too much" in text: bytearray(1 << 40)
    if "ours" in text: raise DataError("no")
    if "allowed" in text: raise KeyError

def check(text, result):
    return "it is wrong" if "wrong" in text else None

def target(word):
    def mutate(rng, text): return f"{rng.integers(9)} {text} {word} more"
    return Target(word, lambda: ["good"], mutate, run, check, (KeyError,))

targets = [foreign, crash, hang, memory, too_much, ours, allowed, wrong, nothing] = [
    target(word) for word in "foreign,crash,hang,memory,too much,ours,allowed,wrong,nothing".split(",")]
"""


def test_what_is_broken_is_found(tmp_path, monkeypatch):
    package = tmp_path / "broken_targets"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "broken.py").write_text(BROKEN)
    monkeypatch.syspath_prepend(tmp_path)
    tallies = fuzzing.fuzz(9, 0, "broken_targets", limits=Limits(seconds=0.2, megabytes=50))
    kinds = {tally.target: dict(tally.counts) for tally in tallies}
    assert kinds == {
        "foreign": {"foreign": 1}, "crash": {"crash": 1}, "hang": {"hang": 1}, "memory": {"memory": 1},
        "wrong": {"wrong": 1}, "too much": {"foreign": 1}, "ours": {"refused": 1}, "allowed": {"refused": 1},
        "nothing": {"taken": 1},
    }  # fmt: skip
    finds = {find["target"]: find for tally in tallies for find in tally.finds}
    assert finds["foreign"]["input"] == "'foreign'", "made smaller"
    assert finds["foreign"]["place"] == "ValueError at broken.py:8"
    assert (finds["too much"]["why"], finds["wrong"]["why"]) == ("MemoryError: ", "it is wrong")


@pytest.mark.parametrize("each", [2, pytest.param(20, marks=pytest.mark.deep)])
def test_a_few_inputs_of_every_target(tmp_path, capsys, each):
    targets = find_targets()
    file = tmp_path / "found.json"
    code = fuzzing.main(["--inputs", str(each * len(targets)), "--seed", "1", "--out", str(file)])
    kept = json.loads(file.read_text("utf-8"))
    assert code == 0, kept["finds"]
    assert kept["targets"].keys() == targets.keys()
    assert all(one["inputs"] == each for one in kept["targets"].values())


def test_an_input_is_known_by_its_seed_and_index(capsys):
    (target,) = find_targets(only=["equation read"]).values()
    seeds = target.seeds()
    assert target.input(seeds, 1, 2) == target.input(seeds, 1, 2) != target.input(seeds, 1, 3)
    assert fuzzing.main(["--again", "equation read", "2", "--seed", "1"]) == 0
    assert capsys.readouterr().out.startswith(repr(target.input(seeds, 1, 2)))


def test_an_unknown_target_is_told():
    with pytest.raises(UsageError, match="unknown target 'equations raed'"):
        find_targets(only=["equations raed"])
