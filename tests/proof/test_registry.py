"""The registry, proven by enumeration; and the proof of the proof: no error put into a rule goes unseen."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import chalkgrad as cg
from chalkgrad.engine.primitive import Example
from chalkgrad.errors import EquationError, UsageError
from chalkgrad.proof import bounds
from chalkgrad.proof.bounds import NAMED, bound
from chalkgrad.proof.exactness import accuracy, equation_holds
from chalkgrad.proof.mutation import ENGINE_KINDS, KINDS, WHY_EQUIVALENT, mutants
from chalkgrad.proof.registry import prove

NAMES = list(cg.registry)


@pytest.mark.parametrize("name", NAMES)
def test_every_primitive_is_proven(name):
    reports = list(prove([name]))
    assert reports
    for report in reports:
        assert report.proven, report
        assert str(report).isascii()  # so that it can be printed on any code page


EVERY_KIND = (*KINDS, *ENGINE_KINDS)
IN_TURN = [pytest.param(name, EVERY_KIND[n % 3 :: 3], id=name) for n, name in enumerate(NAMES)]
ALL = [pytest.param(name, EVERY_KIND, id=f"{name}, every kind", marks=pytest.mark.deep) for name in NAMES]


@pytest.mark.parametrize(("name", "kinds"), IN_TURN + ALL)
def test_no_mutant_survives(name, kinds):
    found = list(mutants([name], kinds=kinds))
    assert len({m.kind for m in found}) == (len(kinds) if cg.registry[name].rules else 0)
    assert not [m for m in found if m.survived]
    assert all(m.kind in WHY_EQUIVALENT for m in found if not m.differs)


@pytest.mark.parametrize("name", NAMES)
def test_value_and_gradients_are_exact_to_the_ulp(name):
    found = accuracy([name])
    assert {(one.of, one.dtype) for one in found} == {
        (of, dtype) for of in ("value", *cg.registry[name].rules) for dtype in ("float64", "float32")
    }
    for one in found:
        assert one.holds, one


def test_the_page_of_accuracies_has_every_primitive():
    page = (Path(bounds.__file__).parents[1] / "docs" / "accuracy.md").read_text("utf-8")
    told = set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE))
    assert told == set(NAMES), "run `python -m chalkgrad.benchmarks.accuracy --out docs/accuracy.md`"


def test_only_what_needs_it_is_held_to_its_terms():
    worst = {}
    for one in accuracy(list({name for name, _ in NAMED})):
        worst[one.primitive, one.of] = max(one.ulp, worst.get((one.primitive, one.of), 0))
    assert all(worst[key] > bound.ulp for key, bound in NAMED.items())


def test_named_bounds_count_as_the_general_ones_do():
    for (name, of), named in NAMED.items():
        assert named.of == bound("another", of, cg.registry[name].equation.elementwise).of
        assert named.terms
        assert named.why


def test_the_proof_holds_a_primitive_to_the_same_bounds(monkeypatch):
    found = {(one.of, one.dtype): one for one in next(prove(["silu"])).exactness}
    assert found == {(one.of, one.dtype): one for one in accuracy(["silu"])}
    assert found["x", "float64"].ulp > 8 > found["x", "float64"].off > 0
    monkeypatch.setattr(bounds, "NAMED", {})
    report = next(prove(["silu"], ["float32"]))
    assert not report.proven
    assert re.search(
        r"WRONG - the code's gradient in x is [\d.]+ ulp off, bound 4 of each element \(float32\)", str(report)
    )
    assert not next(prove(["silu"], ulp=False)).exactness


@pytest.mark.parametrize("error", [1 + 1e-13, np.nan])
@pytest.mark.parametrize("name", ["silu", "gelu", "tanh"])
def test_an_error_where_no_seed_draws_is_found_in_ulp(name, error):
    right = cg.registry[name].rules["x"]

    def kernel(xp, gy, *seen):
        gx = right.kernel(xp, gy, *seen)
        return xp.where(seen[right.wants.index("x")] < -5, gx * error, gx)

    cg.registry[name].set_rule(replace(right, body=kernel, asked=right.wants))
    try:
        report = equation_holds(cg.registry[name], dtypes=["float64"])
    finally:
        cg.registry[name].set_rule(right)
    assert re.match(r"the code's gradient in x is ([\d.]+|inf) ulp off, bound [48] of each element", report.detail)
    assert equation_holds(cg.registry[name], dtypes=["float64"]).proven


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
@pytest.mark.parametrize(("error", "proven"), [(0, True), (1e-12, False)])
def test_a_sum_that_cancels_is_held_to_its_terms_and_no_looser(error, proven):
    @cg.primitive("y = sum(a[j] * b[j], j)", examples=[Example(((3,), (3,)))])
    def product_of(xp, a, b):
        return (a * b).sum() + error * a[0] * b[0]

    assert equation_holds(product_of, seed=360).proven == proven  # there |y| is 4e-5 of the sum of its terms
    assert equation_holds(cg.registry["matmul"], seed=360).proven


@pytest.mark.usefixtures("declared")
def test_a_rule_whose_equation_is_misprinted_fails_by_name():
    @cg.primitive("y = x**2", saves=("x",))
    def doubled_power(xp, x):
        return x * x

    @doubled_power.vjp("x", "gx = gy * x")
    def _(xp, gy, x):
        return gy * 2 * x

    assert "the rule's equation 'gx = gy * x' is not the derivative" in str(equation_holds(doubled_power))


@pytest.mark.usefixtures("declared")
def test_an_equation_that_cannot_be_read_is_refused():
    with pytest.raises(EquationError, match=r"wavelet\(…\) is not one of"):

        @cg.primitive("y = wavelet(x)")
        def unreadable(xp, x):
            return x


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
