"""The speed benchmarks: every contestant does the same work, and who does not is found out."""

import itertools
import json
from importlib import import_module

import numpy as np
import pytest

from chalkgrad.benchmarks.processes import Process, StoppedError
from chalkgrad.benchmarks.speed import limits
from chalkgrad.benchmarks.speed.contestants import (
    CONTESTANTS,
    GPU_CONTESTANTS,
    OURS,
    YARDSTICK,
    Contestant,
    find_contestants,
)
from chalkgrad.benchmarks.speed.problems import make_problem
from chalkgrad.benchmarks.speed.runner import Plan, judge, measure_speed, run_workload
from chalkgrad.benchmarks.speed.stand import UnavailableError
from chalkgrad.benchmarks.speed.worker import GO, work
from chalkgrad.benchmarks.speed.workloads import (
    WORKLOADS,
    Attention,
    Chain,
    Convolutional,
    CrossEntropy,
    Prediction,
    Training,
    Tree,
    Update,
    Workload,
)
from chalkgrad.engine import random
from chalkgrad.errors import UsageError
from chalkgrad.ops.loss import sparse_categorical_cross_entropy

TINY = {
    "training": Training("random", 200, (12, 16, 8, 4), 64),  # the last batch has 8
    "convolutional": Convolutional("random", 70, (144, 6, 4), 32, filters=(3, 5)),
    "prediction": Prediction("random", 5, (12, 16, 4), 1),
    "chain": Chain(6),
    "tree": Tree(16),
    "cross-entropy": CrossEntropy(300, 7),
    "attention": Attention(2, 2, 9, 4),
    "update": Update(300_000, 3),  # more than a block
}
REPETITIONS = 3
TINY_CHAIN = Workload("tiny", "a tiny chain", TINY["chain"], TINY["chain"], "operation", 1e-4, warmups=1)
PLAN = Plan(quick=True, rounds=2, pause=0.0, limit=60.0)


class Rehearsal:
    """A stand that asks for a number of repetitions at once and keeps their figures."""

    def __init__(self, repetitions):
        self.left, self.figures = repetitions, []

    def begin(self):
        self.left -= 1
        return self.left >= 0

    def end(self, figures):
        self.figures.append(tuple(float(value) for value in figures()))


def figures(contestant, kind):
    """What the contestant finds in the tiny task: in this process, or in one of its own where it is a peer."""
    if contestant.missing:
        pytest.skip(f"not installed: {', '.join(contestant.missing)}")
    try:
        if set(contestant.packages) <= {"numpy", "numba"}:
            stand, adapter = Rehearsal(REPETITIONS), import_module(contestant.module)
            adapter.start(contestant.variant)
            adapter.ADAPTERS[kind](make_problem(TINY[kind]), stand, contestant.variant)
            return stand.figures
        with Process(work, contestant.module, contestant.variant, TINY[kind], "cpu", limit=120) as process:
            process.answer()
            assert process.answer() == "ready"
            return [tuple(process.ask(GO)["figures"]) for _ in range(REPETITIONS)]
    except UnavailableError as error:
        pytest.skip(str(error))


def trials():
    """Every contestant with every kind; those that need a process each are deep, but for the training."""
    for name, kind in itertools.product([name for name in CONTESTANTS if name != YARDSTICK], TINY):
        here = set(CONTESTANTS[name].packages) <= {"numpy", "numba"}
        yield pytest.param(name, kind, marks=() if here or kind == "training" else pytest.mark.deep)


@pytest.mark.parametrize(("name", "kind"), list(trials()))
def test_a_contestant_finds_what_the_first_finds(name, kind):
    if kind not in CONTESTANTS[name].kinds:
        pytest.skip(f"{name} does no {kind}")
    found = figures(CONTESTANTS[name], kind)
    assert len(found) == REPETITIONS
    first = next(contestant for contestant in CONTESTANTS.values() if kind in contestant.kinds)
    np.testing.assert_allclose(found, figures(first, kind), rtol=1e-4)


def test_hand_written_numpy_trains():
    losses = [loss for (loss,) in figures(CONTESTANTS[YARDSTICK], "training")]
    assert losses == sorted(losses, reverse=True)
    assert losses[0] > 1.05 * losses[-1]


def test_hand_written_numpy_knows_the_loss():
    problem = make_problem(TINY["cross-entropy"])
    loss, _ = figures(CONTESTANTS[YARDSTICK], "cross-entropy")[0]
    assert loss == pytest.approx(float(sparse_categorical_cross_entropy(problem.logits, problem.labels).numpy()), 1e-5)


def test_adam_goes_its_rate_a_step():
    _, way = figures(CONTESTANTS[YARDSTICK], "update")[0]
    assert way == pytest.approx(3 * TINY["update"].rate, 1e-3)  # the gradient being the same in each of 3 updates


def test_the_order_is_that_of_fit():
    problem = make_problem(TINY["training"])
    order = random.generator(0, "shuffle 2").permutation(200)
    assert np.array_equal(np.concatenate(problem.batches(2)), order)
    assert [len(batch) for batch in problem.batches(2)] == [64, 64, 64, 8]


@pytest.mark.parametrize("workload", WORKLOADS.values(), ids=lambda workload: workload.name)
def test_a_workload_is_data(workload):
    for task in (workload.full, workload.quick):
        assert json.loads(json.dumps(task.as_dict())) == task.as_dict()  # so that it is compared with one from a file
        assert task.kind in CONTESTANTS["eager" if task.kind in ("convolutional", "attention") else YARDSTICK].kinds


# The run

ODD = """
import os, sys
from chalkgrad.benchmarks.speed.adapters import handwritten

def chain(problem, stand, variant):
    if variant == "crashes":
        print("the engine prints")
        print("boom: it broke", file=sys.stderr, flush=True)
        os._exit(3)
    if variant == "errs":
        raise RuntimeError("cannot do that")
    if variant == "wrong":
        problem.x[:] += 1e-2
    print("the engine prints")
    handwritten.chain(problem, stand, variant)

ADAPTERS = {"chain": chain}

def start(variant):
    if variant == "absent":
        import no_such_engine
"""


@pytest.fixture
def odd(tmp_path, monkeypatch):
    """Contestants that go wrong in every way."""
    (tmp_path / "odd_engine.py").write_text(ODD)
    monkeypatch.syspath_prepend(tmp_path)
    return lambda variant: Contestant(variant, "odd_engine", variant, ("numpy",), "oddly", ("chain",))


def test_who_goes_wrong_is_told_and_the_others_go_on(odd):
    missing = Contestant("missing", "odd_engine", "", ("no-such-package",), "", ("chain",))
    unasked = Contestant("unasked", "odd_engine", "", ("numpy",), "", ("training",))
    names = ("crashes", "errs", "wrong", "absent", "right")
    contestants = [CONTESTANTS[YARDSTICK], missing, unasked, *map(odd, names)]
    entries = run_workload(TINY_CHAIN, contestants, PLAN, lambda text: None)["contestants"]
    assert {name: entry["status"] for name, entry in entries.items()} == {
        YARDSTICK: "ok", "missing": "unavailable", "crashes": "failed", "errs": "failed", "wrong": "disqualified",
        "absent": "unavailable", "right": "ok",
    }  # fmt: skip
    assert entries["missing"]["reason"] == "no-such-package not installed"
    assert entries["crashes"]["reason"] == "it ended with exit code 3: boom: it broke"
    assert entries["errs"]["reason"].endswith("RuntimeError: cannot do that")
    assert "no_such_engine" in entries["absent"]["reason"]
    for name in (YARDSTICK, "right"):
        assert len(entries[name]["seconds"]) == PLAN.rounds
        assert len(entries[name]["figures"]) == PLAN.rounds + TINY_CHAIN.warmups
        assert entries[name]["memory"]["peak_bytes"] > 0


def test_both_figures_of_a_disqualified_are_told():
    entries = {
        name: {"status": "ok", "figures": [[1.0], [value]]}
        for name, value in {YARDSTICK: 2.0, "near": 2.019, "far": 2.03, "nothing": float("nan")}.items()
    }
    judge(entries, 0.01, ["loss"])
    assert [entry["status"] for entry in entries.values()] == ["ok", "ok", "disqualified", "disqualified"]
    assert entries["far"]["reason"].startswith("loss 2.03 in repetition 2, where numpy has 2:")


def test_a_time_limit_is_kept(odd):
    with Process(work, "odd_engine", "right", TINY["chain"], "cpu", limit=60) as process:
        process.answer()
        assert process.answer() == "ready"
        process.limit = 0.05
        with pytest.raises(StoppedError, match=r"no answer within 0\.05 s"):
            process.answer()  # it was not told to go
    assert process.process.exitcode is not None


def test_numpy_is_always_there():
    assert [c.name for c in find_contestants(["eager"], quick=False)] == [YARDSTICK, "eager"]
    everywhere = [*find_contestants([], quick=True), *find_contestants([], quick=True, known=GPU_CONTESTANTS)]
    assert {*OURS, YARDSTICK} <= {c.name for c in everywhere}
    with pytest.raises(UsageError, match=r"unknown contestant 'capturd': did you mean 'captured'\?"):
        find_contestants(["capturd"], quick=False)


# Limits


def test_products_of_an_epoch():
    work = limits.work_of(Training("random", 200, (12, 16, 4), 64))
    assert work["flops"] == 2 * 200 * (2 * 12 * 16 + 3 * 16 * 4)  # no gradient for the samples themselves
    assert limits.work_of(TINY["prediction"]) == {
        "samples": 5, "flops": 2 * 5 * (12 * 16 + 16 * 4),
        "bytes": 4 * 5 * (12 + 12 * 16 + 16 + 16 + 16 * 4 + 4),
    }  # fmt: skip


def test_convolutions_are_products_of_columns():
    assert WORKLOADS["cnn"].full.products == [(26 * 26, 9, 16), (11 * 11, 144, 32), (1, 800, 10)]


def test_calls_that_the_gradient_needs():
    assert limits.calls_of(Chain(10)) == 90
    assert limits.calls_of(Tree(8)) == 7 + 2 * (4 + 1)


def test_the_better_of_two_measurements():
    first = {"figures": {"a_seconds": 2.0, "rate": 5.0}, "bounds": {"w": {"seconds": 3.0}}}
    second = {"figures": {"a_seconds": 1.0, "rate": 4.0}, "bounds": {"w": {"seconds": 2.0}}}
    assert limits.better(first, second) == {
        "figures": {"a_seconds": 1.0, "rate": 5.0}, "bounds": {"w": {"seconds": 2.0}}
    }  # fmt: skip
    assert limits.better(first, second | {"bounds": {}})["bounds"] == first["bounds"]


def test_who_is_below_a_limit_has_it_measured_again(monkeypatch):
    seconds = iter([1e9, 1e-9])  # the machine is busy at first
    monkeypatch.setattr(limits, "measure", lambda tasks, quick: {
        "figures": {}, "bounds": {"tiny": {"seconds": next(seconds), "for_all": True}},
    })  # fmt: skip
    found = measure_speed([TINY_CHAIN], [CONTESTANTS[YARDSTICK]], PLAN, lambda text: None, lambda record: None)
    assert found["workloads"]["tiny"]["bound"]["seconds"] == 1e-9
