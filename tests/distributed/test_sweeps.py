"""One piece of work for each setting and seed: kept, gone on with, and shared out."""

import json

import pytest
from click.testing import CliRunner
from test_ranks import mpirun

from chalkgrad.cli import cli
from chalkgrad.distributed import sweep
from chalkgrad.errors import DataError, UsageError

DONE = []


def work(rate, seed, size=(1,)):
    DONE.append((rate, seed))
    if rate == 3.0:
        raise ValueError("too much")
    return {"loss": rate + seed / 10}


def test_each_setting_with_each_seed_once(tmp_path):
    DONE.clear()
    quiet = lambda line: None  # noqa: E731
    found = sweep(work, {"rate": [1.0, 3.0]}, 2, tmp_path, told=quiet)
    assert [(each["settings"], each["seed"]) for each in found] == [
        ({"rate": 1.0}, 0), ({"rate": 1.0}, 1), ({"rate": 3.0}, 0), ({"rate": 3.0}, 1)
    ]  # fmt: skip
    assert found[1]["figures"] == {"loss": 1.1}
    assert found[3]["error"] == "ValueError: too much"
    assert json.loads((tmp_path / "sweep.json").read_text("utf-8"))["members"] == found
    sweep(work, {"rate": [1.0, 3.0, 2.0]}, 2, tmp_path, told=quiet)
    assert DONE[4:] == [(3.0, 0), (3.0, 1), (2.0, 0), (2.0, 1)]  # what has failed is done again, what is kept is not
    with pytest.raises(DataError, match="holds another sweep"):
        sweep(work, {"rate": [1.0]}, 1, tmp_path, {"epochs": 3}, quiet)
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot make the folder"):
        sweep(work, {"rate": [1.0]}, 1, tmp_path / "file" / "x", told=quiet)
    (tmp_path / "rate=1.0,seed=0.json").write_text("{}")
    with pytest.raises(DataError, match=r"rate=1\.0,seed=0\.json is damaged"):
        sweep(work, {"rate": [1.0]}, 1, tmp_path, told=quiet)


@pytest.mark.parametrize(
    ("grid", "seeds", "message"),
    [
        ({"rate": []}, 1, "rate has no value"),
        ({"rate": [1, 1]}, 1, "rate has the value 1 twice"),
        ({"rate": [1]}, 0, "seed has no value"),
        ({"rate": ["a/b", "a b"]}, 1, "the same name"),
    ],
)
def test_what_is_no_sweep(grid, seeds, message):
    with pytest.raises(UsageError, match=message):
        sweep(work, grid, seeds)


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ("lr=1", "unknown setting 'lr'"),
        ("epochs=x", "--set epochs=x"),
        ("learning_rate=-1", "--set learning_rate=-1.0"),
        ("hidden=0", "its hidden is"),
        ("epochs=", "epochs has no value"),
    ],
)
def test_the_command_says_what_is_wrong_before_anything_is_trained(chosen, message, tmp_path):
    ended = CliRunner().invoke(cli, ["sweep", "digits", "--set", chosen, "--out", str(tmp_path / "s")])
    assert ended.exit_code == 2
    assert message in ended.output
    assert not (tmp_path / "s").exists()


@pytest.mark.deep
def test_ranks_share_out_and_give_the_same(tmp_path):
    options = ["digits", "--set", "epochs=1", "--set", "hidden=8,8x4", "--seeds", "2"]
    alone = CliRunner().invoke(cli, ["sweep", *options, "--out", str(tmp_path / "alone")])
    assert alone.exit_code == 0, alone.output
    told = mpirun(3, "-m", "chalkgrad", "sweep", *options, "--out", tmp_path / "ranks").stdout
    assert told.count("2 of 2 seeds") == 2
    assert (tmp_path / "alone/sweep.json").read_text() == (tmp_path / "ranks/sweep.json").read_text()
