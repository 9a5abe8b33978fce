"""Learning-rate schedules: their values, above all at the edges, and their configurations."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalkgrad.errors import UsageError
from chalkgrad.optim import Constant, CosineDecay, StepDecay, WarmUp, make_schedule, schedules
from chalkgrad.optim.schedule import SCHEDULES, Schedule

EXAMPLES = {
    "Constant": Constant(0.1),
    "StepDecay": StepDecay(0.1, every=3, factor=0.5),
    "CosineDecay": CosineDecay(0.1, steps=10, final=0.01),
    "WarmUp": WarmUp(CosineDecay(0.1, steps=10), steps=5),
    "ExponentialDecay": schedules.ExponentialDecay(0.1, 5, 0.9),
    "InverseTimeDecay": schedules.InverseTimeDecay(0.1, 5, 0.5),
    "PolynomialDecay": schedules.PolynomialDecay(0.1, 20),
    "CosineDecayRestarts": schedules.CosineDecayRestarts(0.1, 7),
    "PiecewiseConstantDecay": schedules.PiecewiseConstantDecay([5, 10], [0.1, 0.05, 0.01]),
}


def test_constant():
    assert [Constant(0.1)(step) for step in (0, 1, 10**6)] == [0.1] * 3


def test_step_decay_falls_at_each_multiple():
    schedule = StepDecay(1.0, every=3, factor=0.5)
    assert [schedule(step) for step in (0, 2, 3, 5, 6, 30)] == [1, 1, 0.5, 0.5, 0.25, 0.5**10]


def test_cosine_decay_at_its_ends_and_its_middle():
    schedule = CosineDecay(1.0, steps=10, final=0.2)
    assert schedule(0) == 1.0
    assert schedule(5) == pytest.approx(0.6, rel=1e-15)
    assert schedule(10) == schedule(11) == schedule(10**9) == 0.2


@given(st.integers(1, 100), st.integers(0, 200))
def test_cosine_decay_never_rises(steps, step):
    schedule = CosineDecay(1.0, steps, final=0.1)
    assert 0.1 <= schedule(step + 1) <= schedule(step) <= 1.0


def test_warm_up_into_cosine():
    after = CosineDecay(1.0, steps=8)
    schedule = WarmUp(after, steps=4)
    assert [schedule(step) for step in range(4)] == [0.25, 0.5, 0.75, 1.0]
    assert [schedule(4 + step) for step in range(10)] == [after(step) for step in range(10)]
    assert schedule(12) == 0.0


def test_warm_up_of_one_step_is_no_warm_up():
    assert WarmUp(Constant(0.3), steps=1)(0) == 0.3


@pytest.mark.parametrize("name", SCHEDULES)
def test_configurations_are_plain_and_make_the_same_again(name):
    schedule = EXAMPLES[name]
    again = make_schedule(json.loads(json.dumps(schedule.config())))
    assert again == schedule
    assert [again(step) for step in range(20)] == [schedule(step) for step in range(20)]


def test_warm_up_twice_goes_through_its_configuration():
    schedule = WarmUp(WarmUp(StepDecay(0.1, 3), 2), 4)
    assert make_schedule(schedule.config()) == schedule


@pytest.mark.parametrize("schedule", EXAMPLES.values(), ids=EXAMPLES)
def test_a_schedule_is_itself(schedule):
    assert make_schedule(schedule) is schedule


def test_a_number_is_constant():
    assert make_schedule(2) == Constant(2.0)


@pytest.mark.parametrize("value", [-1, math.nan, math.inf, True, "fast", None])
def test_what_is_no_rate(value):
    with pytest.raises(UsageError, match="learning rate is a number of 0 or more"):
        make_schedule(value)


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: StepDecay(0.1, every=0), r"StepDecay\(every=0\): it is a whole number of 1 or more"),
        (lambda: CosineDecay(0.1, steps=0), r"CosineDecay\(steps=0\): it is a whole number of 1 or more"),
        (lambda: WarmUp(Constant(0.1), steps=-2), r"WarmUp\(steps=-2\): it is a whole number of 1 or more"),
        (lambda: make_schedule({"schedule": "CosinDecay"}), "did you mean 'CosineDecay'"),
        (lambda: make_schedule({}), "unknown schedule"),
    ],
)
def test_bad_arguments(make, named):
    with pytest.raises(UsageError, match=named):
        make()


@pytest.mark.parametrize(
    "make", [lambda: StepDecay(-1.0, 5), lambda: CosineDecay(math.nan, 5), lambda: CosineDecay(0.1, 5, final=-1.0)]
)
def test_schedules_refuse_rates_that_are_none(make):
    with pytest.raises(UsageError, match="learning"):
        make()


def test_warm_up_to_a_number():
    assert WarmUp(0.1, steps=2)(0) == 0.05


def test_the_base_class_has_no_rate():
    with pytest.raises(NotImplementedError):
        Schedule()(0)


@pytest.mark.parametrize("factor", [-1, "0.1", True, float("nan"), float("inf")])
def test_a_factor_is_a_number_of_0_or_more(factor):
    with pytest.raises(UsageError, match=r"StepDecay\(factor="):
        StepDecay(0.1, 1, factor)


def test_a_factor_beyond_1_grows_without_end_and_at_once():
    assert StepDecay(0.1, 1, 10)(2**62) == float("inf")  # whole numbers would be computed to their last digit
