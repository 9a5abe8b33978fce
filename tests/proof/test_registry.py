"""The registry, proven by enumeration; and the proof of the proof: no error put into a rule goes unseen."""

import re

import numpy as np
import pytest

import chalkgrad as cg
from chalkgrad.engine.errors import UsageError
from chalkgrad.proof.exactness import EXPLAINED, LIMIT, LIMIT_OF_SUMS, accuracy, equation_holds
from chalkgrad.proof.mutation import ENGINE_KINDS, KINDS, WHY_EQUIVALENT, mutants
from chalkgrad.proof.registry import prove

NAMES = list(cg.registry)


@pytest.mark.parametrize("name", NAMES)
def test_every_primitive_is_proven(name):
    reports = list(prove([name]))
    assert reports
    for report in reports:
        assert report.proven, report


@pytest.mark.parametrize("name", NAMES)
def test_no_mutant_survives(name):
    found = list(mutants([name]))
    assert len({m.kind for m in found}) == (len(KINDS) + len(ENGINE_KINDS) if cg.registry[name].rules else 0)
    assert not [m for m in found if m.survived]
    assert all(m.kind in WHY_EQUIVALENT for m in found if not m.differs)


@pytest.mark.parametrize("name", NAMES)
def test_value_and_gradients_are_exact_to_the_ulp(name):
    for one in accuracy([name]):
        if (one.primitive, one.of) not in EXPLAINED:
            assert one.ulp <= (LIMIT if one.elementwise else LIMIT_OF_SUMS), one


def test_only_what_needs_it_is_excused():
    worst = {}
    for one in accuracy(list({name for name, _ in EXPLAINED})):
        worst[one.primitive, one.of] = max(one.ulp, worst.get((one.primitive, one.of), 0))
    assert all(worst[key] > LIMIT for key in EXPLAINED)


@pytest.fixture
def declared():
    """Primitives that a test declares are taken out of the registry again."""
    before = set(cg.registry)
    yield
    for name in set(cg.registry) - before:
        del cg.registry[name]


@pytest.mark.usefixtures("declared")
def test_an_equation_that_does_not_match_its_code_fails_by_name():
    @cg.primitive("y = x**2")
    def misprinted(xp, x):
        return x**3

    report = equation_holds(misprinted)
    assert not report.proven
    assert re.search(
        r"misprinted: y = x\*\*2: WRONG - the code's value is .* ulp from what the equation says", str(report)
    )


@pytest.mark.usefixtures("declared")
def test_a_rule_whose_equation_is_misprinted_fails_by_name():
    @cg.primitive("y = x**2", saves=("x",))
    def square(xp, x):
        return x * x

    @square.vjp("x", "gx = gy * x")
    def _(xp, gy, x):
        return gy * 2 * x

    assert "the rule's equation 'gx = gy * x' is not the derivative" in str(equation_holds(square))


@pytest.mark.usefixtures("declared")
def test_an_equation_that_cannot_be_read_fails_by_name():
    @cg.primitive("y = wavelet(x)")
    def unreadable(xp, x):
        return x

    assert "wavelet(…) is not one of" in str(equation_holds(unreadable))


@pytest.mark.usefixtures("declared")
def test_a_wrong_rule_of_a_users_primitive_is_found():
    @cg.primitive("y = x * exp(-x**2)", saves=("x",))
    def ricker(xp, x):
        return x * xp.exp(-x * x)

    @ricker.vjp("x", "gx = gy * (1 - 2 * x**2) * exp(-x**2)")
    def _(xp, gy, x):
        return gy * (1 - x * x) * xp.exp(-x * x)

    reports = list(prove(["ricker"]))
    assert sum(not r.proven for r in reports) > len(reports) / 2
    assert np.isfinite([r.worst.absolute for r in reports if r.worst]).all()


def test_unknown_names():
    with pytest.raises(UsageError, match="unknown primitive 'sigmiod': did you mean 'sigmoid'"):
        list(prove(["sigmiod"]))
