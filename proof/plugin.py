"""Gradient proofs in pytest.

    @pytest.mark.gradcheck                    # the test returns what is to be proven: (f, inputs),
    def test_swish():                         # (f, inputs, options), or a list of these
        return lambda x: x * cg.sigmoid(x), (numpy.linspace(-3, 3, 7),)

    def test_swish_too(gradcheck):            # or it calls the fixture, which is `assert_gradients`
        gradcheck(lambda x: x * cg.sigmoid(x), numpy.linspace(-3, 3, 7))

Inputs are a tuple or list of arguments, or one array. Options, also as `@pytest.mark.gradcheck(order=2)`, are those of
`gradcheck`. The seed is made of the test's name, so that each test draws its own, the same in every run;
`--gradcheck-seed` draws others, `--gradcheck-order 2` proves second derivatives too. An option that a test gives itself
stands. Under Hypothesis's `@given` each drawn example is proven, by marker or by fixture.
"""

from __future__ import annotations

import functools
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from .report import Report

Case = tuple[Any, tuple[Any, ...], dict[str, Any]]
FORMS = "(f, inputs), (f, inputs, options) or a list of these"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of the command line."""
    group = parser.getgroup("chalkgrad", "gradient proofs")
    group.addoption("--gradcheck-seed", type=int, metavar="N", help="seed of all gradient proofs")
    group.addoption("--gradcheck-order", type=int, choices=(1, 2), help="2: prove second derivatives too")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker, keep the tally, and register Hypothesis's profiles where one of ours is asked for."""
    config.addinivalue_line("markers", f"gradcheck(**options): prove the gradients of what the test returns: {FORMS}")
    config.pluginmanager.register(_Tally(), "chalkgrad-tally")
    if str(config.getoption("--hypothesis-profile", None) or "").startswith("chalkgrad-"):
        from .strategies import register_profiles

        register_profiles()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Note the test that runs, for the fixture."""
    item.config.stash[_RUNNING] = item


@pytest.fixture(scope="session")
def gradcheck(request: pytest.FixtureRequest) -> Callable[..., Report]:
    """`assert_gradients`, with the test's own seed: gradcheck(f, *inputs, **options) -> Report.

    Of the session, since it keeps nothing of a test: so `@given` takes it, and calls it for many examples.
    """
    _load()

    def check(f: Any, *inputs: Any, **options: Any) -> Report:
        __tracebackhide__ = True
        report = _proofs_of(request.config.stash[_RUNNING]).prove((f, inputs, options))
        if not report.proven:
            raise _error(report)
        return report

    return check


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> object:
    """Call a test that is marked, and prove what it returns."""
    __tracebackhide__ = True
    marker = pyfuncitem.get_closest_marker("gradcheck")
    if marker is None:
        return None
    proofs = _proofs_of(pyfuncitem)
    _load()

    def proving(function: Callable[..., Any]) -> Callable[..., None]:
        @functools.wraps(function)
        def prove(*args: Any, **kwargs: Any) -> None:
            __tracebackhide__ = True
            _prove_all(proofs, _read_cases(function(*args, **kwargs), pyfuncitem.name), marker.kwargs)

        return prove

    function = pyfuncitem.obj
    arguments = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
    if hasattr(function, "hypothesis"):
        inner = function.hypothesis.inner_test
        function.hypothesis.inner_test = proving(inner)
        try:
            function(**arguments)
        finally:
            function.hypothesis.inner_test = inner
    else:
        proving(function)(**arguments)
    return True


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Show a failed proof of a marked test as its report, without the way there, and hand the verdicts on."""
    proofs = item.stash.get(_PROOFS, None)
    if call.when == "call" and proofs is not None:
        item.user_properties.append(("gradcheck", list(proofs.verdicts.values())))
    outcome: Any = yield
    if call.excinfo is not None and getattr(call.excinfo.value, "shown_bare", False) and _is_marked(item):
        notes = getattr(call.excinfo.value, "__notes__", [])
        outcome.get_result().longrepr = "\n".join([str(call.excinfo.value), *notes])


def _is_marked(item: pytest.Item) -> bool:
    return item.get_closest_marker("gradcheck") is not None


class _Proofs:
    """The proofs of one test: their options, and what they came to."""

    def __init__(self, item: pytest.Item) -> None:
        self.item = item
        self.repeats = hasattr(getattr(item, "obj", None), "hypothesis")  # one function, many examples: one verdict
        self.verdicts: dict[Any, tuple[str, str, str]] = {}

    def prove(self, case: Case) -> Report:
        """The report of a case; options that it lacks come from the command line."""
        __tracebackhide__ = True
        from .gradients import gradcheck as check

        f, inputs, options = case
        try:
            report = check(f, *inputs, **self.defaults(f, options), **options)
        except Exception as error:
            theirs = _without_ours(error.__traceback__)
            raise (_bare(error) if theirs is None else error).with_traceback(theirs) from error.__cause__
        key = report.name if self.repeats else len(self.verdicts)
        verdict = "proven" if report.proven else str(report.verdict)  # an accepted kink is one, too
        self.verdicts[key] = (report.name, verdict, report.detail)
        return report

    def defaults(self, f: Any, options: Mapping[str, Any]) -> dict[str, Any]:
        config = self.item.config
        seed = config.getoption("--gradcheck-seed")
        found = {"seed": zlib.crc32(self.item.nodeid.encode()) if seed is None else seed}
        order = config.getoption("--gradcheck-order")
        if order is not None and not isinstance(f, tuple) and not {"vjp", "gradient"} & options.keys():
            found["order"] = order  # gradients of other packages' functions have no second order here
        return {name: value for name, value in found.items() if name not in options}


_PROOFS = pytest.StashKey[_Proofs]()
_RUNNING = pytest.StashKey[pytest.Item]()


def _load() -> None:
    """Import the proofs now, lest the time count in a test's first example, which Hypothesis gives 0.2 s."""
    from . import gradients  # noqa: F401


def _proofs_of(item: pytest.Item) -> _Proofs:
    return item.stash.setdefault(_PROOFS, _Proofs(item))


def _prove_all(proofs: _Proofs, cases: list[Case], shared: Mapping[str, Any]) -> None:
    """Prove every case, and then fail with the reports of all that are not proven."""
    __tracebackhide__ = True
    reports = [proofs.prove((f, inputs, {**shared, **options})) for f, inputs, options in cases]
    failed = [report for report in reports if not report.proven]
    if failed:
        error = _error(failed[0])
        for report in failed[1:]:
            error.add_note(str(report))
        raise error


def _error(report: Report) -> BaseException:
    from .report import GradientError

    return _bare(GradientError(report))


def _bare(error: BaseException) -> BaseException:
    """An error that says all by its message, so that a marked test shows no more."""
    error.shown_bare = True  # type: ignore[attr-defined]
    return error


def _without_ours(traceback: TracebackType | None) -> TracebackType | None:
    """The frames of a traceback that are not of this package's proofs."""
    if traceback is None:
        return None
    rest = _without_ours(traceback.tb_next)
    ours = str(traceback.tb_frame.f_globals.get("__name__")).startswith(f"{__package__}.")
    return rest if ours else TracebackType(rest, traceback.tb_frame, traceback.tb_lasti, traceback.tb_lineno)


def _read_cases(returned: Any, name: str) -> list[Case]:
    """What a marked test returned, as cases; raises UsageError that says what it should return."""
    __tracebackhide__ = True
    given = returned if isinstance(returned, list) else [returned]
    if not given or not all(map(_is_case, given)):
        from ..errors import UsageError

        what = "nothing" if returned is None else "an empty list" if not given else repr(returned)
        raise _bare(UsageError(f"{name} is marked gradcheck, so it returns {FORMS}; it returned {what}."))
    return [(case[0], _as_arguments(case[1]), case[2] if len(case) == 3 else {}) for case in given]


def _is_case(case: Any) -> bool:
    if not isinstance(case, tuple) or len(case) not in (2, 3) or callable(case[1]):
        return False
    pair = isinstance(case[0], tuple) and len(case[0]) == 2 and all(map(callable, case[0]))
    return (callable(case[0]) or pair) and (len(case) == 2 or isinstance(case[2], Mapping))


def _as_arguments(inputs: Any) -> tuple[Any, ...]:
    return tuple(inputs) if isinstance(inputs, (tuple, list)) else (inputs,)


class _Tally:
    """The verdicts of all tests, also of those that other processes (xdist) ran, for the summary."""

    def __init__(self) -> None:
        self.verdicts: dict[str, list[tuple[str, str, str]]] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call":
            properties: list[tuple[str, Any]] = report.user_properties
            for name, verdicts in properties:
                if name == "gradcheck":
                    self.verdicts[report.nodeid] = verdicts

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """A section of the verdicts that are no proofs, and a line that counts those that are."""
        counts = Counter(verdict for found in self.verdicts.values() for _, verdict, _ in found)
        if not counts:
            return
        proven = counts.pop("proven", 0)
        if counts:
            terminalreporter.section("gradients not proven")
        for nodeid, found in self.verdicts.items():
            for name, verdict, detail in found:
                if verdict != "proven":
                    terminalreporter.write_line(
                        f"{verdict.upper()} {nodeid}: {name}" + (f" - {detail}" if detail else "")
                    )
        failed = "".join(f", {count} {verdict}" for verdict, count in counts.items())
        terminalreporter.write_line(f"gradients: {proven} {'function' if proven == 1 else 'functions'} proven{failed}")
