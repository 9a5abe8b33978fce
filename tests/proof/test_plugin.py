"""The pytest plugin, used by small test files of its own."""

import re
import subprocess
import sys

import pytest

# Loaded once, or each inner run would load its own, whose classes are not those of the plugin that runs already
import chalkgrad.proof.gradients
import chalkgrad.proof.strategies  # noqa: F401

pytest_plugins = ["pytester"]

HEAD = """
import numpy as np
import pytest
import chalkgrad as cg

X = np.array([0.5, -1.5, 2.0])

def square(x):
    return x * x

def cube(x):
    return x**3

def wrong_vjp(gy, x):
    return gy * x
"""

GOOD = "square, (X,)"
WRONG = "lambda x: x * x, (X,), {'vjp': wrong_vjp, 'name': 'wrong'}"


@pytest.fixture
def run(pytester, request):
    """Runs a test file with these lines after `HEAD`, and these options."""
    installed = request.config.pluginmanager.hasplugin("chalkgrad")

    def run(body, *options, **how):
        pytester.makepyfile(test_it=HEAD + body)
        return pytester.runpytest(*([] if installed else ["-p", "chalkgrad.proof.plugin"]), *options, **how)

    return run


def returning(what, marker="@pytest.mark.gradcheck"):
    return f"\n{marker}\ndef test_it():\n    return {what}\n"


@pytest.mark.parametrize(
    "what",
    [
        GOOD,
        "square, [X]",
        "square, X",
        "square, cg.tensor(X)",
        "(square, lambda gy, x: 2 * gy * x), (X,)",
        "square, (X,), {'order': 2}",
        "cg.multiply, (X, X + 1)",
        "cg.exp, (X,)",
    ],
)
def test_a_marked_test_proves_what_it_returns(run, what):
    result = run(returning(what))
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["gradients: 1 function proven"])
    result.stdout.no_fnmatch_line("*not proven*")


def test_a_list_is_proven_case_by_case(run):
    result = run(returning(f"[({GOOD}), (square, (X,)), (cube, (X,), {{'order': 2}})]"))
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["gradients: 3 functions proven"])


def test_a_failed_proof_shows_its_report_and_no_traceback(run):
    result = run(returning(WRONG))
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "wrong: WRONG - *",
            "  worst  argument 0 at *",
            "*to reproduce:*",
            "*gradients not proven*",
            "WRONG test_it.py::test_it: wrong - *",
            "gradients: 0 functions proven, 1 wrong",
        ]
    )
    for internal in ("plugin.py", "gradcheck.py", "def prove", "Traceback"):
        result.stdout.no_fnmatch_line(f"*{internal}*")


def test_all_failures_of_a_list_are_shown(run):
    result = run(returning(f"[({WRONG}), ({GOOD}), (cg.relu, (np.zeros(2),))]"))
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["wrong: WRONG*", "relu: KINK*", "gradients: 1 function proven, 1 wrong, 1 kink"])


def test_a_kink_is_no_proof(run):
    result = run(returning("cg.relu, (np.array([0.0, 1.0]),)"))
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["relu: KINK*", "  kink   argument 0 at [[]0[]]*", "KINK test_it.py::test_it: relu*"])


def test_a_kink_passes_where_kinks_are_accepted(run):
    body = """
def test_with_fixture(gradcheck):
    gradcheck(cg.relu, np.array([0.0, 1.0]), kinks="accept")
"""
    marker = "@pytest.mark.gradcheck(kinks='accept')"
    result = run(body + returning("[(cg.relu, np.zeros(2)), (square, X)]", marker))
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["gradients: 3 functions proven"])
    result.stdout.no_fnmatch_line("*not proven*")


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("None", "it returned nothing."),
        ("[]", "it returned an empty list."),
        ("square(X)", "it returned array("),
        ("square, wrong_vjp", "it returned (<function square"),
        ("[(square, X), square]", "it returned [("),
    ],
)
def test_what_cannot_be_proven_is_named(run, what, said):
    result = run(returning(what))
    result.assert_outcomes(failed=1)
    expected = re.escape(
        "test_it is marked gradcheck, so it returns (f, inputs), (f, inputs, options) or a list of these; "
    )
    result.stdout.re_match_lines([expected + re.escape(said)])
    result.stdout.no_fnmatch_line("*plugin.py*")


def test_inputs_that_have_no_gradient_are_named_without_a_traceback(run):
    result = run(returning("square, (np.arange(3),)"))
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["argument 0 has dtype int64*"])
    result.stdout.no_fnmatch_line("*.py:*: UsageError*")


def test_an_error_of_the_function_itself_keeps_its_own_traceback_only(run):
    body = """
def broken(x):
    raise KeyError("lost")  # here

@pytest.mark.gradcheck
def test_it():
    return broken, (X,)

def test_with_fixture(gradcheck):
    gradcheck(broken, X)
"""
    result = run(body)
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(["*lost*# here", "*KeyError: 'lost'", "*gradcheck(broken, X)*", "*KeyError: 'lost'"])
    result.stdout.no_fnmatch_line("*gradcheck.py*")


def test_a_marked_test_takes_fixtures_and_parameters(run):
    body = """
@pytest.fixture
def x():
    return X

@pytest.mark.gradcheck
@pytest.mark.parametrize("f", [square, cube])
def test_it(f, x):
    return f, x

@pytest.mark.gradcheck
class TestOfAClass:
    def test_method(self, x):
        return square, x
"""
    result = run(body)
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(["gradients: 3 functions proven"])


def test_the_fixture_asserts(run):
    body = f"""
def test_right(gradcheck):
    report = gradcheck({GOOD.replace("(X,)", "X")})
    assert report.proven

def test_wrong(gradcheck):
    gradcheck(square, X)
    gradcheck(square, X, vjp=wrong_vjp)  # this line
"""
    result = run(body)
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        [
            ">*vjp=wrong_vjp)  # this line",
            "E*GradientError: square: WRONG*",
            "WRONG test_it.py::test_wrong: square*",
            "gradients: 2 functions proven, 1 wrong",
        ]
    )
    result.stdout.no_fnmatch_line("*plugin.py*")


SEEDS = """
def seed_of(report):
    print(f"seed={report.seed} order={report.order};")

def test_one(gradcheck):
    seed_of(gradcheck(square, X))

def test_two(gradcheck):
    seed_of(gradcheck(square, X))

def test_own(gradcheck):
    seed_of(gradcheck(square, X, seed=5, order=1))

def test_of_another_package(gradcheck):
    seed_of(gradcheck(square, X, vjp=lambda gy, x: 2 * gy * x))
"""


def seeds(result):
    result.assert_outcomes(passed=4)
    return re.findall(r"seed=(\d+) order=(\d);", result.stdout.str())


def test_each_test_has_a_seed_of_its_own(run):
    first, second = seeds(run(SEEDS, "-s")), seeds(run(SEEDS, "-s"))
    assert first == second
    assert len(set(first)) == 4
    assert first[2] == ("5", "1")


def test_seed_and_order_come_from_the_command_line(run):
    found = seeds(run(SEEDS, "-s", "--gradcheck-seed", "7", "--gradcheck-order", "2"))
    assert found == [("7", "2"), ("7", "2"), ("5", "1"), ("7", "1")]


def test_an_order_that_is_not_there_is_refused(run):
    result = run(SEEDS, "--gradcheck-order", "9")
    assert result.ret == pytest.ExitCode.USAGE_ERROR


def test_the_marker_takes_options(run):
    result = run(returning("square, X", marker="@pytest.mark.gradcheck(name='named', vjp=wrong_vjp)"))
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["named: WRONG*"])


def test_the_marker_is_declared(run):
    result = run(returning(GOOD), "--strict-markers")
    result.assert_outcomes(passed=1)
    run("", "--markers").stdout.fnmatch_lines(["@pytest.mark.gradcheck(*): prove*"])


def test_drawn_inputs_are_proven(run):
    body = """
from hypothesis import given, settings
from chalkgrad.proof import strategies

@pytest.mark.gradcheck
@settings(max_examples=5, derandomize=True, deadline=None, database=None)
@given(strategies.arrays((2,), moderate=True))
def test_right(x):
    return square, x

@pytest.mark.gradcheck
@settings(max_examples=5, derandomize=True, deadline=None, database=None)
@given(strategies.arrays((2,), moderate=True))
def test_wrong(x):
    return square, (x + 1,), {"vjp": wrong_vjp}
"""
    result = run(body)
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["square: WRONG*", "gradients: 1 function proven, 1 wrong"])


def test_the_fixture_proves_what_is_drawn(run):
    body = """
from hypothesis import given, settings, strategies as st
from chalkgrad.proof import strategies

few = settings(max_examples=5, derandomize=True, deadline=None, database=None)

@few
@given(x=strategies.arrays((2,), moderate=True))
def test_right(gradcheck, x):
    assert gradcheck(square, x).proven

@given(x=strategies.arrays((2,), moderate=True))
@few
def test_wrong(gradcheck, x):
    gradcheck(square, x + 1, vjp=wrong_vjp)  # this line

@pytest.fixture
def own():
    return 1

class TestOfAClass:
    @few
    @given(strategies.arrays((2,), moderate=True))
    def test_method(self, gradcheck, x):
        gradcheck(square, x)

    @few
    @given(st.integers(1, 3))
    @pytest.mark.parametrize("f", [square, cube])
    def test_parameters(self, gradcheck, f, n):
        gradcheck(f, np.ones(n))

@few
@given(st.integers())
def test_others_of_function_scope_are_still_told(own, n):
    pass
"""
    result = run(body)
    result.assert_outcomes(passed=4, failed=2)
    result.stdout.fnmatch_lines(
        [
            "*this line*",
            "*GradientError: square: WRONG*",
            "*FailedHealthCheck:*function-scoped fixture 'own'*",
            "gradients: 4 functions proven, 1 wrong",
        ]
    )


@pytest.mark.parametrize("profile", ["chalkgrad-ci", "chalkgrad-deep"])
def test_profiles_are_there_when_asked_for(run, profile):
    body = """
from hypothesis import settings
def test_it():
    print(settings.get_current_profile_name())
"""
    result = run(body, "-s", "--hypothesis-profile", profile)
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines([f"*{profile}"])


def test_verdicts_come_from_other_processes(run):
    pytest.importorskip("xdist")
    result = run(returning(GOOD) + returning(WRONG).replace("test_it", "test_wrong"), "-n", "2")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["WRONG test_it.py::test_wrong: wrong*", "gradients: 1 function proven, 1 wrong"])


def test_without_proofs_nothing_is_said(run):
    result = run("\ndef test_it():\n    pass\n")
    result.assert_outcomes(passed=1)
    result.stdout.no_fnmatch_line("gradients*")


def test_loading_the_plugin_loads_no_proof():
    code = "import sys, chalkgrad.proof.plugin; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"hypothesis", "mpmath", "cupy"} & set(loaded)
