"""Compiled loops: each is what NumPy computes call by call, to the last bit; NaN is NaN, whatever its sign."""

import itertools
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import chalkgrad as cg
from chalkgrad import layers, optim
from chalkgrad.errors import UsageError
from chalkgrad.replay import capture, fuse
from chalkgrad.replay.calls import CALLS
from chalkgrad.replay.lowering import choose

compiled = pytest.mark.skipif(not fuse.available(), reason="Numba is not installed: nothing is compiled")
DTYPES = ["float32", "float64"]


def given_tensor(*shape, seed=0, dtype="float64", **options):
    array = np.random.default_rng([seed, len(shape)]).standard_normal(shape)
    return cg.tensor(array.astype(dtype), **options)


def special(dtype):
    """Zeros of both signs, the least, the subnormal, the greatest, infinities, NaN, and what rounds."""
    info = np.finfo(dtype)
    numbers = [0.0, 1.0, 0.1, 1 / 3, info.tiny, info.smallest_subnormal, 3 * info.smallest_subnormal, info.max, np.inf]
    with np.errstate(all="ignore"):
        found = np.array([*numbers, np.nextafter(info.tiny, 0, dtype=dtype), 2**24 + 1, 1e-30, 7.0], dtype)
    return np.concatenate([found, -found, np.array([np.nan], dtype)])


def bits(value):
    """Shape, dtype and bits, all NaNs being one."""
    array = np.array(value.numpy() if isinstance(value, cg.Tensor) else value)
    if array.dtype.kind == "f":
        array[np.isnan(array)] = np.nan
    return array.shape, array.dtype, array.tobytes()


def loops(captured):
    (recording,) = captured.recordings.values()
    assert recording.program is not None, captured.explain()
    return sum(step.fused and bool(step.calls) for step in recording.program.steps)


def agree(f, *inputs, at_least=1, outside=()):
    """Assert that the compiled replay is what the tape computes; outside: tensors that f changes."""
    with np.errstate(all="ignore"):
        captured = cg.capture(f, jit=True)
        for _ in range(2):
            captured(*inputs)
        before = [np.random.default_rng(1).standard_normal(x.shape) for x in outside]
        for x, value in zip(outside, before, strict=True):
            x.assign(value)
        result = captured(*inputs), *outside
        found = [bits(x) for x in result if x is not None]
        for x, value in zip(outside, before, strict=True):
            x.assign(value)
        assert found == [bits(x) for x in (f(*inputs), *outside) if x is not None]
    assert loops(captured) >= at_least, captured.explain()
    return captured


# The loops by themselves

OPERANDS = {"add": 2, "subtract": 2, "multiply": 2, "divide": 2, "sqrt": 1, "square": 1, "negative": 1, "absolute": 1,
            "greater": 2, "greater_equal": 2, "less": 2, "less_equal": 2, "maximum": 2, "minimum": 2, "equal": 2,
            "not_equal": 2, "trunc": 1}  # fmt: skip


def test_every_expression_is_tested():
    assert OPERANDS.keys() == {name for name, call in CALLS.items() if call.loop}


def in_a_loop(calls):
    """Assert that one loop of the calls, each a function and its arguments, gives what they give one by one."""
    with np.errstate(all="ignore"):
        expected = [function(*arguments) for function, arguments in calls]
        loop, outs = fuse.Loop(expected[0].shape), [np.empty_like(y) for y in expected]
        for (function, arguments), out in zip(calls, outs, strict=True):
            assert loop.take(function, arguments, out), function.__name__
        function, arrays = loop.finish(lambda address: True)
        function(*arrays)
    for (function, arguments), out, y in zip(calls, outs, expected, strict=True):
        assert bits(out) == bits(y), (function.__name__, [np.shape(x) for x in arguments])


def all_of(a, b):
    """Every expression of a, and of a and b either way round."""
    functions = [(getattr(np, name), count) for name, count in OPERANDS.items()]
    in_a_loop([(f, x) for f, count in functions for x in ([(a, b), (b, a)] if count == 2 else [(a,)])])


def with_numbers(dtype, numbers):
    """Every expression of two, of an array and one of the numbers, in turns."""
    functions = [getattr(np, name) for name, count in OPERANDS.items() if count == 2]
    x, turns = special(dtype), itertools.cycle(numbers)
    in_a_loop([(f, arguments) for f in functions for n in [next(turns)] for arguments in ((x, n), (n, x))])


def pairs(dtype):
    return [np.ascontiguousarray(x) for x in np.meshgrid(special(dtype), special(dtype))]


@compiled
@pytest.mark.parametrize("dtype", DTYPES)
class TestEveryExpression:
    def test_of_pairs(self, dtype):
        all_of(*pairs(dtype))

    def test_of_a_row(self, dtype):
        all_of(pairs(dtype)[1], special(dtype))

    def test_of_a_column(self, dtype):
        all_of(pairs(dtype)[0], special(dtype)[:, None].copy())

    @pytest.mark.parametrize("shape", [(), (1,), (1, 1)])
    def test_of_one(self, dtype, shape):
        all_of(pairs(dtype)[0], np.full(shape, np.finfo(dtype).smallest_subnormal, dtype))

    def test_of_numbers(self, dtype):
        with_numbers(dtype, [0.1, -0.0, 3, 2**24 + 1, True, 1e-320])

    @pytest.mark.parametrize("length", [1, 2, 3, 7, 8, 9, 31, 33])
    def test_of_any_length(self, dtype, length):
        all_of(np.resize(special(dtype), length), np.resize(special(dtype)[::-1], length))

    def test_of_numbers_that_are_not_finite(self, dtype):
        with_numbers(dtype, [np.inf, -np.inf, np.nan])

    def test_of_bools(self, dtype):
        x = special(dtype)
        mask, y, z = x > 0, np.empty_like(x), np.empty_like(x)
        loop = fuse.Loop(x.shape)
        with np.errstate(all="ignore"):
            assert loop.take(np.multiply, [x, mask], y)
            assert loop.take(np.add, [mask, y], z)
            function, arrays = loop.finish(lambda address: True)
            function(*arrays)
            assert [bits(y), bits(z)] == [bits(x * mask), bits(mask + x * mask)]


@compiled
def test_a_number_of_numpy_has_a_dtype():
    x = np.full(3, np.float32(0.1))
    out, copy = np.empty(3, bool), np.empty(3, "float32")
    loop = fuse.Loop((3,))
    if loop.take(np.greater, [x, np.float64(0.1)], out):
        assert loop.take(np.negative, [x], copy)
        function, arrays = loop.finish(lambda address: True)
        function(*arrays)
        assert bits(out) == bits(x > np.float64(0.1))


ELSEWHERE = {
    "int": lambda: (np.add, [np.arange(3), np.arange(3)], np.arange(3)),
    "exp": lambda: (np.exp, [np.ones(3)], np.ones(3)),
    "another shape": lambda: (np.add, [np.ones(2), np.ones(2)], np.ones(2)),
    "two dtypes": lambda: (np.add, [np.ones(3), np.ones(3, "float32")], np.ones(3)),
    "a wider result": lambda: (np.add, [np.ones(3, "float32"), 1.0], np.ones(3)),
    "strided": lambda: (np.add, [np.ones(6)[::2], 1.0], np.ones(3)),
    "a strided result": lambda: (np.add, [np.ones(3), 1.0], np.ones(6)[::2]),
    "no array": lambda: (np.add, [1.0, 2.0], np.ones(3)),
    "float16": lambda: (np.add, [np.ones(3, "float16"), 1.0], np.ones(3, "float16")),
}


@pytest.mark.parametrize("name", ELSEWHERE)
def test_what_does_not_fit_is_refused_and_leaves_the_loop_as_it_was(name):
    loop = fuse.Loop((3,))
    assert not loop.take(*ELSEWHERE[name]())
    assert (loop.lines, loop.loads, loop.stores) == ([], {}, {})


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(3, 50_000), (3, 1), (1, 50_000), ()])
def test_a_choice_has_the_bits_of_either(shape, dtype):
    r = np.random.default_rng(0)
    operands = r.random(shape) < 0.5, r.normal(size=(3, 50_000)).astype(dtype), np.array(-np.nan, dtype)
    expected, out, looped = np.where(*operands), np.empty((3, 50_000), dtype), np.empty((3, 50_000), dtype)
    choose(*operands, out=out)
    loop = fuse.Loop(out.shape)
    if loop.take(choose, operands, looped):
        function, arrays = loop.finish(lambda address: True)
        function(*arrays)
        assert bits(looped) == bits(expected)
    assert bits(out) == bits(expected)


# Programs


@compiled
@pytest.mark.parametrize("dtype", DTYPES)
def test_broadcasting_in_a_program(dtype):
    row, column, one = (given_tensor(*shape, seed=n, dtype=dtype) for n, shape in enumerate([(4,), (3, 1), ()]))

    def f(x):
        h = x.exp()
        return ((h * row + column) / one - row[None] * one + (h - column) * (h > row) * 0.1).sum(axis=1)

    agree(f, given_tensor(3, 4, dtype=dtype))


@compiled
@pytest.mark.parametrize("shape", [(), (1,), (1, 1), (1, 4), (4, 1), (2, 3, 4), (0,), (0, 3)])
def test_shapes(shape):
    w = given_tensor(*shape, seed=3)
    agree(lambda x: ((x.exp() * w + w) * 2 - w).sum(), given_tensor(*shape))


@compiled
@pytest.mark.parametrize("kind", ["plain", "only to be read", "anywhere"])
def test_inputs_are_read_in_the_loop(kind):
    """The first calls of a step, too, which take what it is given, are a loop: inputs whole, as rows, columns, one."""
    draw = np.random.default_rng(0)

    def made(*shape):
        array = draw.standard_normal(shape)
        if kind == "anywhere":
            array = np.frombuffer(b"-" + array.tobytes(), "u1")[1:].view(array.dtype).reshape(shape)
        array.flags.writeable = kind == "plain"
        x = cg.tensor(0.0)
        x._data = array
        return x

    inputs = [made(*shape) for shape in [(3, 4), (4,), (3, 1), (1, 1)]]
    step = agree(lambda x, row, column, one: ((x * row - column) / one * x - 1.0).exp() * 1.0, *inputs)
    assert sum(bool(s.calls) for r in step.recordings.values() for s in r.program.steps) == 3  # loop, exp, product
    flat = cg.tensor(draw.standard_normal((3, 4)))
    agree(lambda x: (x.reshape(12) * 2 + 1).exp(), flat)
    agree(lambda x: (x.T * 2 + 1).exp(), flat, at_least=0)


@compiled
def test_new_results_are_computed_in_the_loop():
    """Each replay gives other arrays; one may be read later, too."""

    def f(x):
        y = x * 2 + 1
        z = y - x
        return y * 1, z, z.sum(axis=0)

    step, given = cg.capture(f, jit=True), [given_tensor(3, 4, seed=n) for n in range(4)]
    found = [step(x) for x in given]
    assert [[bits(y) for y in each] for each in found] == [[bits(y) for y in f(x)] for x in given]
    assert not any(np.shares_memory(a.numpy(), b.numpy()) for a, b in zip(found[2], found[3], strict=True))
    assert loops(step) == 1


ALIASED = {
    "whole": lambda h, w: h * h + h,
    "a row of itself": lambda h, w: (h - h[0]) * 2 + 1,
    "a row of itself first": lambda h, w: (h[0] + w) * 2 + h,
    "a row of a weight": lambda h, w: (h * w[0] + w) * 2,
    "a column of itself": lambda h, w: (h - h[:, :1]) * 2 + h,
    "one of itself": lambda h, w: h * h[0, 0] + h,
    "one of a weight": lambda h, w: (h * w[0, 0] + w) * w[:1, :1],
    "the other half": lambda h, w: h[:2] * 2 + h[2:] * 3,
    "reversed": lambda h, w: h[::-1] * 2 + h,
    "transposed": lambda h, w: (h * 2 + h.T) * w.T,
    "reshaped": lambda h, w: (h.reshape(16) * 2 + w.reshape(16)) * h.reshape(-1),
    "masked": lambda h, w: (h > w) * h + (h <= w) * w,
}


@compiled
@pytest.mark.parametrize(
    "name",
    [n for n in ALIASED],
)
def test_operands_that_share_memory(name):
    w = given_tensor(4, 4, seed=9)
    agree(lambda x: ALIASED[name](x.exp(), w).sum(axis=0), given_tensor(4, 4), at_least=0)


@compiled
def test_a_result_computed_where_it_is_copied_to():
    b = given_tensor(4, 4, seed=9)
    agree(lambda x: [b.assign(x.exp() * 2 + 1), None][1], given_tensor(4, 4), outside=[b])


@compiled
def test_changes_of_outside_tensors():
    a, b = given_tensor(4, 4, seed=9), given_tensor(4, 4, seed=8)

    def f(x):
        a.assign(a * 2 + x.exp())
        b.assign(b * a - a / 3)
        a.assign(a - b)
        return (a * b + 1).sum()

    agree(f, given_tensor(4, 4), outside=[a, b], at_least=0)


def trained(make, dtype, jit):
    w = [given_tensor(6, 3, seed=1, dtype=dtype, requires_grad=True), given_tensor(3, seed=2, dtype=dtype)]
    w[1].requires_grad = True
    optimizer, losses = make(), []

    def f(x):
        loss = ((x @ w[0] + w[1]) ** 2).mean()
        loss.backward()
        optimizer.step(w)
        for p in w:
            p.grad = None
        return loss

    step = f if jit is None else cg.capture(f, jit=jit)
    for call in range(8):
        losses.append(step(given_tensor(5, 6, seed=call, dtype=dtype)).detach())
    assert not jit or loops(step) > 0
    return [bits(x) for x in (*losses, *w)], [v.tobytes() for v in optimizer.state.values()]


OPTIMIZERS = {name: kind for name, kind in optim.OPTIMIZERS.items() if name != "sgd"} | {
    "nesterov": lambda rate, **options: optim.Momentum(rate, nesterov=True, **options)
}


@compiled
@pytest.mark.parametrize(("name", "dtype"), [*((name, "float32") for name in OPTIMIZERS), ("adamw", "float64")])
def test_every_optimizer(name, dtype):
    def make():
        return OPTIMIZERS[name](optim.StepDecay(0.05, every=3), global_clipnorm=0.5)

    assert trained(make, dtype, jit=True) == trained(make, dtype, jit=None)


STEPS = {
    "add": lambda a, b, w: a + b, "multiply": lambda a, b, w: a * w, "divide": lambda a, b, w: a / (w + 3),
    "row": lambda a, b, w: a - w[1], "number": lambda a, b, w: a * 0.1 - 2, "max": lambda a, b, w: cg.maximum(a, b),
    "mask": lambda a, b, w: (a > b) * a, "root": lambda a, b, w: cg.sqrt(abs(a)), "tanh": lambda a, b, w: a.tanh(),
    "column": lambda a, b, w: b + w[:, 1:2], "one": lambda a, b, w: b * w[1, 1], "mean": lambda a, b, w: a - a.mean(),
    "negative": lambda a, b, w: -a - b, "transpose": lambda a, b, w: a.T * 1.0,
}  # fmt: skip


@compiled
@settings(deadline=None, max_examples=6, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
@given(st.lists(st.tuples(st.sampled_from(sorted(STEPS)), st.booleans()), min_size=4, max_size=9))
def test_random_programs(chosen):
    w = given_tensor(3, 3, seed=5)

    def f(x):
        a, b = x.exp(), x * 0.5
        for name, keep in chosen:
            a, b = STEPS[name](a, b, w), (a if keep else b)
        return (a + b).sum(axis=0)

    agree(f, given_tensor(3, 3), at_least=0)


@compiled
def test_a_model_trained_with_compiled_steps():
    def weights(jit):
        rng = np.random.default_rng(0)
        x, y = rng.standard_normal((50, 4)).astype("float32"), np.eye(3, dtype="float32")[rng.integers(0, 3, 50)]
        model = cg.Sequential(
            [layers.Dense(6, "relu", input_shape=(4,)), layers.Dropout(0.3), layers.Dense(3, "softmax")]
        )
        model.compile("adam", "categorical_crossentropy", ["accuracy"], jit_compile=jit)
        history = model.fit(x, y, epochs=3, batch_size=8, verbose=0).history
        return history, [w.tobytes() for w in model.get_weights()], model.predict(x, verbose=0).tobytes()

    assert weights(True) == weights(False)


@compiled
@pytest.mark.cpu_only("about when Numba compiles; on a GPU all is compiled at once")
def test_auto_compiles_once_the_replays_have_taken_long_enough(monkeypatch):
    monkeypatch.setattr(capture, "WORTH_COMPILING", 0.0)
    monkeypatch.setattr(capture, "SAMPLED", 3)
    w = given_tensor(4, 4)
    f = lambda x: ((x.exp() * w + w) * 2 - w).sum()  # noqa: E731
    captured, found = cg.capture(f, jit="auto"), []
    for call in range(12):
        x = given_tensor(4, 4, seed=call)
        assert bits(captured(x)) == bits(f(x))
        found.append(loops(captured) if call else 0)
    assert found[4] == 0
    assert found[-1] == 1


@compiled
@pytest.mark.cpu_only("about when Numba compiles; on a GPU all is compiled at once")
def test_one_replay_that_was_held_up_is_no_reason_to_compile(monkeypatch):
    times = itertools.chain([0.0, 100.0], itertools.count(101.0, 1e-6))
    monkeypatch.setattr(capture, "time", SimpleNamespace(perf_counter=lambda: next(times)))
    captured = cg.capture(lambda x: (x.exp() * 2 + 1) * 3)
    for call in range(50):
        captured(given_tensor(3, seed=call))
    assert next(times) > 101
    assert loops(captured) == 0


@compiled
def test_explain_tells_of_loops():
    w = given_tensor(4, 4)
    captured = agree(lambda x: ((x.exp() * w + w) * 2 - w).sum(), given_tensor(4, 4))
    text = captured.explain()
    assert "loop" in text
    assert "1 of them loops" in text


# Choices


def missing(monkeypatch):
    monkeypatch.setattr(fuse, "available", lambda: False)


@pytest.mark.parametrize("jit", [None, "yes", "True", 0, 1, 2.0])
def test_what_is_no_choice_is_refused(jit):
    with pytest.raises(UsageError, match="True, False or 'auto'"):
        cg.capture(lambda x: x, jit=jit)
    with pytest.raises(UsageError, match="True, False or 'auto'"):
        cg.Sequential([layers.Dense(3)]).compile("adam", "mse", jit_compile=jit)


def test_compiling_without_numba_is_refused(monkeypatch):
    missing(monkeypatch)
    with pytest.raises(UsageError, match=r"-m pip install --editable .*\[jit\]"):
        cg.capture(lambda x: x, jit=True)
    with pytest.raises(UsageError, match=r"-m pip install --editable .*\[jit\]"):
        cg.Sequential([layers.Dense(3)]).compile("adam", "mse", jit_compile=True)


@pytest.mark.cpu_only("about when Numba compiles; on a GPU all is compiled at once")
def test_auto_without_numba_goes_on_without(monkeypatch):
    missing(monkeypatch)
    monkeypatch.setattr(capture, "WORTH_COMPILING", 0.0)
    monkeypatch.setattr(capture, "SAMPLED", 2)
    captured = cg.capture(lambda x: (x.exp() * 2 + 1) * 3)
    for _, call in itertools.product(range(2), range(6)):
        captured(given_tensor(3, seed=call))
    assert loops(captured) == 0
