"""The comparison of gradient checkers: its labels are true, its contestants work, and its page says what was found."""

import json
from dataclasses import replace

import numpy as np
import pytest

from chalkgrad.benchmarks import gradient_checkers as page
from chalkgrad.benchmarks import gradient_contestants as contestants
from chalkgrad.benchmarks.gradient_cases import CASES, KINKS, RIGHT, WRONG, Kind
from chalkgrad.benchmarks.gradient_contestants import CHECKERS, Answer, Checker, Outcome, ask, judge
from chalkgrad.benchmarks.peers import version

BY_NAME = {case.name: case for case in CASES}
UNCHECKABLE_BY_NUMBERS = (
    "dtype: float32 for float64",
    "shape: (1, n) for (n,)",
    "shape: a single number for all",
    "the function shifts its input in place",
    "the rule overwrites its input",
    "the rule overwrites gy",
    "random by 1e-9",
    "not a number",
    "infinite",
)
CANCELLING = ("(x + 1e8) - 1e8", "sum of cancelling 1e7", "softmax of logits of 100")


def slope(f, xs, place, u, v):
    """The derivative of ⟨u, f⟩ along v in the argument at `place`, in extended precision, and its rounding error."""
    h, noise = np.longdouble(1e-5), 0.0

    def difference(h):
        nonlocal noise
        high, low = (f(*(w.copy() for w in (*xs[:place], xs[place] + s * h * v, *xs[place + 1 :]))) for s in (1, -1))
        noise = np.finfo("longdouble").eps * np.abs(u * high * (high != low)).sum() / h
        return (u * (high - low)).sum() / (2 * h)

    return (4 * difference(h / 2) - difference(h)) / 3, noise


def mismatch(case, tries=6, elements=True):
    """The largest relative difference of ⟨vjp(u), v⟩ from the derivative of ⟨u, f⟩ along v."""
    rng = np.random.default_rng(7)
    xs = [x.astype("longdouble") for x in case.inputs()]
    worst = 0.0
    for place, x in enumerate(xs):
        for n in range(tries if x.size else 0):
            u = np.asarray(rng.standard_normal(np.shape(case.f(*(x.copy() for x in xs))))).astype("longdouble")
            alone = np.arange(x.size).reshape(x.shape) == rng.integers(x.size)
            v = np.where(alone if n % 2 and elements else True, rng.standard_normal(x.shape), 0) * np.clip(
                np.abs(x), 1e-9, 1
            )
            numeric, noise = slope(case.f, xs, place, u, v)
            given = case.vjp(u.copy(), *(x.copy() for x in xs))
            gradient = (given if isinstance(given, tuple) else (given,))[place]
            terms = (0 * x if gradient is None else gradient) * v
            size = np.abs(terms).sum() + abs(numeric) + 1e7 * noise
            worst = max(worst, float(abs(terms.sum() - numeric) / size) if size else 0.0)
    return worst


@pytest.mark.parametrize("case", RIGHT, ids=lambda case: case.name)
def test_right_gradients_are_right(case):
    if case.name in CANCELLING:
        assert mismatch(case, elements=False) < 1e-4
    else:
        assert mismatch(case) < 1e-6


@pytest.mark.parametrize("case", [c for c in WRONG if c.name not in UNCHECKABLE_BY_NUMBERS], ids=lambda c: c.name)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_wrong_gradients_are_wrong(case):
    if "at one of" in case.name:  # a random direction hides it; so does the test's own choice of single elements
        place = {100_000: (777 if "summed" in case.name else 54_321), 1000: 500}[case.size]
        x = case.inputs()[0][place : place + 1]
        with_one = case.vjp(np.ones(case.size) if "summed" not in case.name else 1.0, *case.inputs())[place]
        slope = (case.f(x + 1e-4) - case.f(x - 1e-4)) / 2e-4
        assert abs(np.sum(slope) / with_one - 1 if with_one else 1) > 0.005
    else:
        assert mismatch(case) > 1e-7


def test_gradients_that_numbers_alone_do_not_show_are_wrong():
    def gradient(name):
        case = BY_NAME[name]
        xs = case.inputs()
        gy = np.ones_like(case.f(*(x.copy() for x in xs)))
        return case, xs, gy, lambda: np.asarray(case.vjp(gy, *xs))

    assert gradient("dtype: float32 for float64")[3]().dtype == np.float32
    assert gradient("shape: (1, n) for (n,)")[3]().shape == (1, 6)
    assert gradient("shape: a single number for all")[3]().shape == ()
    case, (x,), *_ = gradient("the function shifts its input in place")
    before = x.copy()
    case.f(x)
    assert not np.array_equal(x, before)
    _, (x,), _, rule = gradient("the rule overwrites its input")
    before = x.copy()
    np.testing.assert_allclose(rule(), np.exp(before))
    assert not np.array_equal(x, before)
    _, (x,), gy, rule = gradient("the rule overwrites gy")
    np.testing.assert_allclose(rule(), np.cos(x))
    assert not np.array_equal(gy, np.ones_like(gy))
    _, _, _, rule = gradient("random by 1e-9")
    assert not np.array_equal(rule(), rule())
    assert np.isnan(gradient("not a number")[3]()).any()
    assert np.isinf(gradient("infinite")[3]()).any()


@pytest.mark.parametrize("case", KINKS, ids=lambda case: case.name)
def test_slopes_on_kinks_lie_between_left_and_right(case):
    (x,) = case.inputs()
    rng = np.random.default_rng(0)
    y = np.asarray(case.f(x))
    u = rng.standard_normal(y.shape)
    gradient, kinks = case.vjp(u, x), 0
    for place in np.ndindex(x.shape):
        h = np.zeros_like(x)
        h[place] = 1e-7
        left, right = (float((u * (case.f(x + s * h) - y)).sum()) / (s * 1e-7) for s in (-1, 1))
        assert min(left, right) - 1e-6 <= gradient[place] <= max(left, right) + 1e-6
        kinks += abs(left - right) > 1e-3
    assert kinks


def test_names_are_unique_and_sizes_range_from_none_to_many():
    assert len(BY_NAME) == len(CASES) >= 60
    assert min(case.size for case in CASES) == 0
    assert max(case.size for case in CASES) >= 100_000


def test_inputs_are_new_arrays_and_the_same_each_time():
    for case in CASES:
        for a, b in zip(case.inputs(), case.inputs(), strict=True):
            assert a is not b
            np.testing.assert_array_equal(a, b)
            assert a.dtype == ("float32" if case.single else "float64")


@pytest.mark.parametrize(
    ("kind", "alarm", "outcome"),
    [
        (Kind.WRONG, True, Outcome.CAUGHT),
        (Kind.WRONG, False, Outcome.MISSED),
        (Kind.WRONG, None, Outcome.NO_ANSWER),
        (Kind.RIGHT, True, Outcome.FALSE_ALARM),
        (Kind.RIGHT, False, Outcome.RIGHT),
        (Kind.KINK, True, Outcome.FALSE_ALARM),
        (Kind.KINK, False, Outcome.RIGHT),
    ],
)
def test_judging(kind, alarm, outcome):
    assert judge(kind, Answer(alarm)) is outcome


@pytest.mark.parametrize(
    ("error", "alarm"),
    [(ValueError("no"), True), (MemoryError(), None), (RuntimeError("can't allocate memory: 80 GB"), None)],
)
def test_an_exception_is_an_alarm_unless_memory_is_short(error, alarm):
    def check(case, inputs):
        raise error

    answer, seconds = ask(Checker("stub", "numpy", "", check), RIGHT[0])
    assert answer.alarm is alarm
    assert seconds >= 0


def test_checkers_made_for_float64_get_float64():
    seen = []
    stub = Checker("stub", "numpy", "", lambda case, inputs: seen.extend(x.dtype for x in inputs), single=False)
    assert ask(stub, BY_NAME["sin, float32"])[0].alarm is False
    ask(replace(stub, single=True), BY_NAME["sin, float32"])
    assert seen == [np.float64, np.float32]


@pytest.mark.parametrize("checker", CHECKERS, ids=lambda checker: checker.name)
def test_each_contestant_passes_a_right_gradient_and_catches_a_wrong_one(checker):
    if checker.package != "numpy":
        pytest.importorskip(checker.package, reason=f"{checker.package} is not installed")
    for case in (BY_NAME["sin"], BY_NAME["affine"], BY_NAME["a choice, no gradient for the condition"]):
        assert ask(checker, case)[0] == Answer(False)
    for case in (BY_NAME["negated"], BY_NAME["second argument"], BY_NAME["second argument without gradient"]):
        assert ask(checker, case)[0].alarm is True


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_chalkgrad_errs_nowhere(case):
    answer, _ = ask(CHECKERS[0], case)
    assert judge(case.kind, answer) in contestants.GOOD, answer.note


def pairs():
    for checker in ("chalkgrad", "PyTorch"):
        for case in (BY_NAME["|x|: 1.5 at 0"], BY_NAME["sin"]):
            wrong = case.kind is Kind.WRONG
            outcome = Outcome.MISSED if wrong and checker == "PyTorch" else Outcome.CAUGHT if wrong else Outcome.RIGHT
            yield page.Pair(checker, case.name, case.kind, case.size, outcome, 0.25)


def test_the_page_shows_totals_marks_and_what_is_missing(monkeypatch):
    monkeypatch.setattr(page, "version", lambda package: "1.0" if package in ("numpy", "torch") else None)
    text = page.markdown(list(pairs()), 20.0)
    assert "| chalkgrad | 1 | 0 | 1 | 0 | 0 | 250.0 ms | 0.5 s |" in text
    assert "| PyTorch | 0 | 1 | 1 | 0 | 0 |" in text
    assert "| JAX | not installed |" in text
    assert "| PyTorch, fast | not asked |" in text
    assert "| \\|x\\|: 1.5 at 0 | 3 | ✓ | **missed** |" in text
    assert "PyTorch 1.0: `torch.autograd.gradcheck`" in text


def test_notes_tell_refusals_but_not_plain_mismatches():
    pair = page.Pair("JAX", "sin", Kind.WRONG, 3, Outcome.CAUGHT, 0.1, "ValueError: read-only")
    plain = replace(pair, note="AssertionError: no match")
    quiet = replace(pair, checker="chalkgrad", note="wrong: differ")
    text = page.markdown([pair, plain, quiet], 20.0)
    assert "- JAX, sin: caught, `ValueError: read-only`" in text
    assert "no match" not in text
    assert "differ`" not in text


def test_a_worker_answers_from_its_own_process_and_ends_what_takes_too_long():
    worker = page.Worker(CHECKERS[0], limit=60.0, seed=0)
    try:
        assert worker.ask(BY_NAME["sin"])[0] == Answer(False)
        first = worker.process.process.pid
        worker.limit = 0.0
        answer, _ = worker.ask(BY_NAME["matmul of 150 by 150"])
        assert answer == Answer(None, "timeout after 0 s")
        worker.limit = 60.0
        assert worker.ask(BY_NAME["negated"])[0].alarm is True
        assert worker.process.process.pid != first
        worker.process.process.kill()
        worker.process.process.join()
        assert worker.ask(BY_NAME["sin"])[0] == Answer(True, "the process crashed")
    finally:
        worker.stop()


def test_the_command_writes_page_and_results(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(page, "version", lambda package: version(package) if package == "numpy" else None)
    out, results = tmp_path / "folder" / "page.md", tmp_path / "results.json"
    names = [part for name in ("sin", "negated") for part in ("--only", name)]
    assert page.main(["--out", str(out), "--json", str(results), *names]) == 0
    assert "| PyTorch | not installed |" in out.read_text(encoding="utf-8")
    known = json.loads(results.read_text(encoding="utf-8"))
    assert [(pair["case"], pair["outcome"]) for pair in known["pairs"]] == [("sin", "right"), ("negated", "caught")]
    assert known["versions"]["numpy"] == np.__version__
    assert known["totals"]["chalkgrad"]["caught"] == 1
    assert "chalkgrad" in capsys.readouterr().out


def test_an_unknown_case_is_answered_with_the_nearest(tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        page.main(["--out", str(tmp_path / "a"), "--json", str(tmp_path / "b"), "--only", "negatd"])
    assert stopped.value.code == 2
    assert "did you mean 'negated'?" in capsys.readouterr().err
