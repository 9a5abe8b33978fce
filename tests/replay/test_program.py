"""The program that a recorded function becomes: what is left out, where everything lies, and what is said about it."""

import functools
import itertools
import operator
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import chalkgrad as cg
from chalkgrad import layers, optim
from chalkgrad.engine import backend
from chalkgrad.engine import random as streams
from chalkgrad.nn.trainer import Trainer
from chalkgrad.replay.calls import is_elementwise


def given_tensor(*shape, seed=0, dtype="float64", **options):
    array = np.random.default_rng([seed, len(shape)]).standard_normal(shape)
    return cg.tensor(array.astype(dtype), **options)


def recorded(function, *inputs, **options):
    """The captured function, after the calls that it takes to be recorded."""
    captured = cg.capture(function, **options)
    for _ in range(3):
        captured(*inputs)
    return captured


def program(captured):
    (recording,) = captured.recordings.values()
    assert recording.program is not None, captured.explain()
    return recording.program


def calls(captured):
    """The names of the array calls that are replayed."""
    return [step.instruction.name for step in program(captured).steps if step.calls]


def bits(tensors):
    return [(x.shape, x.dtype, x.numpy().tobytes()) for x in tensors]


# Less of it


def test_constants_are_computed_once():
    x = given_tensor(3)
    captured = recorded(lambda x: x * (cg.ones_like(x) * 2 + cg.zeros_like(x)).exp(), x)
    assert calls(captured) == ["multiply"]
    assert bits([captured(x)]) == bits([x * cg.tensor(np.full(3, np.exp(2.0)))])


@pytest.mark.cpu_only("looks at the calls of a program for the CPU")
def test_weights_are_no_constants():
    w = given_tensor(3)
    captured = recorded(lambda x: x * w.exp(), given_tensor(3))
    assert calls(captured) == ["exp", "multiply"]


def test_what_is_returned_is_no_constant():
    captured = recorded(lambda x: cg.ones_like(x) * 3, given_tensor(3))
    first = captured(given_tensor(3))
    first.assign(0.0)
    assert captured(given_tensor(3)).tolist() == [3.0] * 3


@pytest.mark.cpu_only("looks at the calls of a program for the CPU")
def test_common_calls_are_made_once():
    captured = recorded(
        lambda x: x.exp() * 2 + x.exp() * 3 + x.exp().sum(axis=0) + x.exp().sum(axis=-1), given_tensor(3)
    )
    assert calls(captured).count("exp") == 1
    assert calls(captured).count("multiply") == 2


@pytest.mark.cpu_only("looks at the calls of a program for the CPU")
def test_softmax_of_a_loss_and_of_its_gradient_is_one():
    w = given_tensor(4, 3, requires_grad=True)

    def f(x, y):
        w.grad = None
        cg.categorical_cross_entropy(x @ w, y).backward()

    captured = recorded(f, given_tensor(5, 4), given_tensor(5, 3).softmax())
    assert calls(captured).count("exp") == 1
    assert calls(captured).count("matmul") == 2


def different(x):
    """Calls that look alike and are not."""
    y = [x.sum(axis=0), x.sum(axis=0, keepdims=True), x.sum(axis=1), x * 2, x * 2.0, x * True, x - 1, 1 - x]
    y += [x[:1], x[1:], x[0], x[[0]], x.reshape(3, 2), x.reshape(2, 3), x.T, x.astype("float32"), x.astype("int64")]
    return [v * 1 for v in y]


def test_calls_that_differ_are_not_taken_for_one():
    captured = recorded(different, given_tensor(2, 3))
    x = given_tensor(2, 3, seed=4)
    assert bits(captured(x)) == bits(different(x))


@pytest.mark.cpu_only("looks at the calls of a program for the CPU")
def test_a_value_from_before_a_write_is_not_taken_after_it():
    b = given_tensor(3, seed=5)

    def f(x):
        before, row = b * 2, b[:1] * 2
        b.assign(x)
        between, shifted = b * 2, b[:1] * 2
        b[0] = 7.0
        return before, row, between, shifted, b * 2, b[:1] * 2

    captured = recorded(f, given_tensor(3))
    assert calls(captured).count("multiply") == 6
    x = given_tensor(3, seed=6)
    b.assign(1.0)
    result = captured(x)
    b.assign(1.0)
    assert bits(result) == bits(f(x))


@pytest.mark.cpu_only("looks at the calls of a program for the CPU")
def test_the_one_that_a_gradient_begins_with_is_not_multiplied_by():
    w = given_tensor(3, requires_grad=True)

    def f(x):
        w.grad = None
        cg.mean_squared_error(w * x, x).backward()

    captured = recorded(f, given_tensor(3))
    assert "ones_like" not in calls(captured)
    assert calls(captured).count("multiply") == 3  # w x; 2/n (w x - x); that times x


def test_a_product_with_another_one_is_made():
    captured = recorded(lambda x: x.exp() * cg.ones_like(x), given_tensor(3))
    assert captured(cg.tensor([-np.inf] * 3)).tolist() == [0.0] * 3


def net(gradients):
    w, v = given_tensor(4, 4, requires_grad=True), given_tensor(4, 4, seed=1, requires_grad=True)

    def f(x):
        w.grad = v.grad = None
        (((x @ w).tanh() @ v) ** 2).sum().backward()
        if "w" not in gradients:
            w.grad = None
        if "v" not in gradients:
            v.grad = None

    return recorded(f, given_tensor(2, 4))


def test_gradients_that_nobody_asks_for_are_not_computed():
    counts = {which: len(calls(net(which))) for which in ("", "v", "w", "wv")}
    assert counts[""] == 0
    assert [calls(net(which)).count("matmul") for which in ("", "v", "w", "wv")] == [0, 3, 4, 5]
    assert counts["v"] < counts["w"] < counts["wv"]


def test_results_that_nobody_takes_are_not_computed():
    def f(x):
        x.exp().sum().sin()
        return x * 2

    assert calls(recorded(f, given_tensor(3))) == ["multiply"]


def test_writes_into_what_is_thrown_away_are_left_out_and_others_are_not():
    def f(x):
        lost, kept = x * 2, x * 3
        lost[0] = x[1] * 5
        kept[0] = x[1] * 7
        return kept

    captured = recorded(f, given_tensor(3))
    assert calls(captured).count("setitem") == 1
    x = given_tensor(3, seed=2)
    assert bits([captured(x)]) == bits([f(x)])


# In place


def assigning(f):
    """f computes a new array of the outside b, of x; returns the captured assignment and b."""
    b = given_tensor(3, 4, seed=5)

    def g(x):
        b.assign(f(x, b))

    return recorded(g, given_tensor(3, 4)), b


def assert_assigns(f, placed):
    captured, b = assigning(f)
    assert ("setitem" in calls(captured)) is not placed, captured.explain()
    for call in range(3):
        x, before = given_tensor(3, 4, seed=call), b.numpy().copy()
        captured(x)
        assert bits([b]) == bits([f(x, cg.tensor(before)) + cg.zeros_like(x)])


PLACED = {
    "elementwise": lambda x, b: x * 2 + 1,
    "matmul": lambda x, b: x @ (x.T @ x),
    "sum": lambda x, b: (x * x).exp() / x.sum(axis=0),
    "concatenate": lambda x, b: cg.concatenate([x[:1], x[1:] * 2]),
}
COPIED = {
    "reads it": lambda x, b: b * 2 + x,
    "reads a part of it": lambda x, b: x * b[0],
    "reads it transposed": lambda x, b: x @ (b.T @ x),
    "broadcasts": lambda x, b: x.sum(axis=0),
    "casts": lambda x, b: x.astype("float32"),
    "another layout": lambda x, b: (x.T * 2).T,
    "the argument": lambda x, b: x,
}


@pytest.mark.parametrize("name", PLACED)
def test_a_result_is_computed_where_it_is_copied_to(name):
    assert_assigns(PLACED[name], placed=True)


@pytest.mark.parametrize("name", COPIED)
def test_a_result_is_copied_where_computing_in_place_would_differ(name):
    captured, b = assigning(COPIED[name])
    for call in range(3):
        x, before = given_tensor(3, 4, seed=call), cg.tensor(b.numpy())
        captured(x)
        assert bits([b]) == bits([before.assign(COPIED[name](x, before))])


def test_a_copy_of_what_is_used_and_changed_later_stays_one():
    b, c = given_tensor(3, seed=5), given_tensor(3, seed=6)

    def f(x):
        y = x * 2
        b.assign(y)
        c.assign(y)
        b[0] = 9.0
        return y * 3, b + c

    captured = recorded(f, given_tensor(3))
    x = given_tensor(3, seed=7)
    assert bits([*captured(x), b, c]) == bits([*f(x), b, c])


def test_a_result_copied_twice_into_one_place():
    b = given_tensor(3, seed=5)

    def f(x):
        first, second = x * 2, x + 1
        b.assign(first)
        middle = b * b
        b.assign(second)
        return middle, b * first

    captured = recorded(f, given_tensor(3))
    x = given_tensor(3, seed=7)
    assert bits([*captured(x), b]) == bits([*f(x), b])


# Where everything lies


def lifetimes(made):
    """For each buffer: offset, bytes, when it is first written and last touched, and the call that makes it."""
    found = {}
    for n, step in enumerate(made.steps):
        out = step.instruction.out
        if step.place is not None:
            found[out.storage] = [step.place, step.place + out.nbytes, n, n, step.instruction]
        for v in (*step.instruction.reads(), *([out] if out is not None else [])):
            if v.storage in found:
                found[v.storage][3] = n
    return list(found.values())


def assert_apart(made):
    """Buffers that live at the same time do not overlap; an elementwise call may take over its argument's place."""
    for a, b in itertools.combinations(lifetimes(made), 2):
        overlap = max(a[0], b[0]) < min(a[1], b[1])
        first, second = sorted((a, b), key=lambda x: x[2])
        if overlap and first[3] >= second[2]:
            assert first[3] == second[2]
            assert first[:2] == second[:2]
            assert is_elementwise(second[4].function)
    assert all(end <= made.arena_bytes for _, end, *_ in lifetimes(made))


UNARY = [cg.exp, cg.sin, cg.tanh, cg.relu, operator.neg, abs, cg.softmax, cg.sign]
BINARY = [operator.add, operator.sub, operator.mul, cg.maximum, cg.minimum, operator.matmul, operator.gt, cg.where]
VIEWED = [
    lambda x: x.T, lambda x: x[::-1], lambda x: x[:1], lambda x: x[:, :1], lambda x: x[1:2, ::-1],
    lambda x: x.reshape(-1).reshape(3, 3), lambda x: cg.broadcast_to(x[0], (3, 3)), lambda x: x,
]  # fmt: skip
REDUCED = [
    lambda x: x.sum(axis=0), lambda x: x.mean(axis=1, keepdims=True), lambda x: x.max(), lambda x: x.var(axis=0),
    lambda x: x.sum(axis=-1, keepdims=True), lambda x: x.mean(), lambda x: x[[0, 2, 0]], lambda x: x.astype("float32"),
]  # fmt: skip
KINDS = ["unary", "binary", "view", "reduce", "number", "assign", "row"]


@st.composite
def straight_lines(draw):
    """A list of operations, each on values made before, and which of them are returned."""
    count = draw(st.integers(2, 14))
    lines = [
        (
            draw(st.sampled_from(KINDS)),
            draw(st.integers(0, 7)),
            draw(st.integers(0, n + 3)),
            draw(st.integers(0, n + 3)),
        )
        for n in range(count)
    ]
    return lines, draw(st.lists(st.integers(0, count + 3), min_size=1, max_size=3))


def square(x):
    """Three by three again, whatever came out of it, and small."""
    x = x.astype("float64") if x.dtype != "float64" else x
    x = x if x.shape == (3, 3) else x + np.zeros((3, 3))
    return x.tanh() if x._node is None else x


def run_lines(lines, returned, outside, x):
    done = [x, *outside, x * 0.5]
    for kind, which, i, j in lines:
        a, b = done[i], done[j]
        if kind == "unary":
            done.append(UNARY[which](a))
        elif kind == "binary":
            f = BINARY[which]
            done.append(square(f(a > b, a, b) if f is cg.where else f(a, b)))
        elif kind == "view":
            done.append(square(VIEWED[which](a)))
        elif kind == "reduce":
            done.append(square(REDUCED[which](a)))
        elif kind == "number":
            done.append([a * 2, 1 - a, a / 3, a * 0.1, a + 1.5, a - 1, 2.0 * a, a * 1.0][which])
        elif kind == "assign":
            outside[which % 2].assign(a)
            done.append(outside[which % 2] * b)
        else:
            outside[which % 2][which % 3] = a[0]
            done.append(a + outside[which % 2])
    return [done[n] * 1 for n in returned]


def compared(lines, returned, **options):
    def state():
        return [given_tensor(3, 3, seed=7), given_tensor(3, 3, seed=8)]

    mine, theirs = state(), state()
    captured = cg.capture(functools.partial(run_lines, lines, returned, mine), **options)
    for call in range(4):
        x = given_tensor(3, 3, seed=call)
        result, expected = captured(x), run_lines(lines, returned, theirs, x)
        assert bits([*result, *mine]) == bits([*expected, *theirs]), call
    return captured


@pytest.mark.filterwarnings("ignore:.*encountered:RuntimeWarning")
@settings(deadline=None, max_examples=150)
@given(straight_lines())
def test_random_straight_lines_are_what_the_tape_computes(drawn):
    lines, returned = drawn
    captured = compared(lines, returned)
    assert_apart(program(captured))


def deep(x):
    y = x
    for _ in range(20):
        y = (y @ y).tanh() * 0.5 + y
    return y.sum()


def test_buffers_share_their_places():
    made = program(recorded(deep, given_tensor(16, 16)))
    sizes = [end - start for start, end, *_ in lifetimes(made)]
    assert len(sizes) > 40
    assert made.arena_bytes <= 4 * 16 * 16 * 8 < sum(sizes)
    assert_apart(made)


@pytest.mark.parametrize("depth", [1, 5])
def test_buffers_of_a_step_are_apart_and_fewer_than_its_arrays(depth):
    weights = [given_tensor(8, 8, seed=n, requires_grad=True) for n in range(depth)]
    optimizer = optim.Adam()

    def f(x, y):
        for w in weights:
            x = (x @ w).gelu() if hasattr(x, "gelu") else cg.gelu(x @ w)
        loss = cg.categorical_cross_entropy(x, y)
        loss.backward()
        optimizer.step(weights)
        for w in weights:
            w.grad = None
        return loss

    x, y = given_tensor(4, 8), given_tensor(4, 8).softmax()
    captured = cg.capture(f)
    for _ in range(5):
        captured(x, y)
    made = program(captured)
    assert_apart(made)
    assert made.arena_bytes < sum(end - start for start, end, *_ in lifetimes(made))


def test_results_do_not_lie_in_the_buffers():
    captured = recorded(lambda x: (x.exp(), x.exp() * 2, x.exp()[0]), given_tensor(4))
    first = captured(given_tensor(4, seed=1))
    before = bits(first)
    captured(given_tensor(4, seed=2))
    assert bits(first) == before
    assert not any(backend.overlap(x._data, program(captured)._arena) for x in first)


# What a replay costs


@pytest.fixture
def small_step():
    """The step of a fit of 64-32-10, with what makes its indices."""
    rng = np.random.default_rng(0)
    x, labels = rng.random((256, 64), dtype="float32"), rng.integers(0, 10, 256)
    model = cg.Sequential(
        [layers.Dense(32, "relu", input_shape=(64,)), layers.Dropout(0.2), layers.Dense(10, "softmax")]
    )
    model.compile("adam", "sparse_categorical_crossentropy", ["accuracy"], jit_compile=False)
    model.fit(x, labels, batch_size=32, epochs=2, verbose=0)
    trainer = Trainer.of(model, None, True)
    everything = cg.Tensor(x), cg.Tensor(labels)
    return model, trainer, model.recorded["train"], everything


def growth(step, indices):
    """The most bytes above the start, in twenty calls."""
    step(indices)
    tracemalloc.start()
    try:
        for _ in range(20):
            step(indices)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.cpu_only("on a GPU a recorded step is for the samples of one fit")
def test_replays_of_a_training_step_allocate_no_array_memory(small_step):
    """What is left is a buffer of NumPy's own, where it broadcasts or casts: of one call at a time, then freed."""
    _, trainer, step, everything = small_step
    indices = cg.tensor(np.arange(32))
    largest_call = 32 * 32 * 4 * 2  # the hidden layer times whether it is above 0
    assert growth(functools.partial(step, *everything), indices) < largest_call + 4000
    assert growth(functools.partial(trainer._step, *everything), indices) > 2 * (largest_call + 4000)


@pytest.mark.cpu_only("on a GPU a recorded step is for the samples of one fit")
def test_a_training_step_makes_no_new_array(small_step):
    _, _, step, _ = small_step
    assert not any(s.allocates for s in program(step).steps)
    assert_apart(program(step))


# What is said about it


@pytest.mark.cpu_only("looks at the calls of a program for the CPU")
def test_explain_lists_instructions_results_bytes_and_times(small_step):
    _, _, step, _ = small_step
    text = step.explain()
    head, columns, *rows, total = text.splitlines()
    assert head.startswith("_step(float32 (256, 64), int64 (256,), int64 (32,)): replayed ")
    assert columns.split() == ["instruction", "result", "buffer", "bytes", "time"]
    assert len(rows) == len(program(step).steps)
    (hidden,) = [row for row in rows if "matmul" in row and "(32, 32)" in row and "float32" in row][:1]
    assert "4,096" in hidden
    assert "µs" in hidden
    assert "@" in hidden
    assert f"{program(step).arena_bytes:,} bytes of buffers" in total
    assert "0 new arrays a replay" in total


def everything(model, trainer):
    arrays = [model.flat.data, *model.optimizer.state.values(), trainer.means.sums]
    state = trainer.generator.bit_generator.state
    return [a.tobytes() for a in arrays], model.optimizer.iterations, state, [w.grad for w in model.weights]


@pytest.mark.cpu_only("on a GPU a recorded step is for the samples of one fit")
def test_explain_changes_nothing(small_step):
    model, trainer, step, _ = small_step
    before = everything(model, trainer)
    first = step.explain()
    assert everything(model, trainer) == before
    assert first.splitlines()[0] == step.explain().splitlines()[0]


def test_a_run_with_explanations_is_the_run_without():
    runs = []
    for explained in (False, True):
        w, optimizer = given_tensor(4, 4, requires_grad=True), optim.Adam(optim.CosineDecay(0.1, 20))
        generator = np.random.default_rng(0)

        def f(x, w=w, optimizer=optimizer, generator=generator):
            loss = ((x @ w * streams.uniform(generator, like=x)) ** 2).mean()
            loss.backward()
            optimizer.step([w])
            w.grad = None
            return loss

        captured, losses = cg.capture(f), []
        for call in range(10):
            losses.append(captured(given_tensor(2, 4, seed=call)))
            if explained:
                captured.explain()
        runs.append(bits([*losses, w]))
    assert runs[1] == runs[0]


@pytest.mark.parametrize(
    "f",
    [
        lambda x, b: b.assign(b + x),
        lambda x, b: b.__setitem__(0, b[0] * 2 + x[0]),
        pytest.param(
            lambda x, b: b.assign(x * 2 + 1),
        ),
    ],
    ids=["in place", "a part", "placed"],
)
def test_explain_puts_back_what_replays_change(f):
    b = given_tensor(3, 4, seed=5)
    captured = recorded(lambda x: [f(x, b), None][1], given_tensor(3, 4))
    captured(given_tensor(3, 4, seed=9))
    before = bits([b])
    captured.explain()
    assert bits([b]) == before


def test_explain_where_random_numbers_are_returned():
    generator = np.random.default_rng(0)
    captured = recorded(lambda x: streams.uniform(generator, like=x), given_tensor(3))
    state = generator.bit_generator.state
    assert "random" in captured.explain()
    assert generator.bit_generator.state == state


def test_explain_before_during_and_after_recording():
    captured = cg.capture(lambda x, *, kind=None: x.exp())
    assert "not called yet" in captured.explain()
    captured(given_tensor(3))
    assert "recorded 1 of at most 4 times" in captured.explain()
    captured(given_tensor(3))
    assert "replayed 0 times" in captured.explain()
    captured(given_tensor(3))
    captured(given_tensor(2, 3), kind="x")
    assert "replayed 1 times" in captured.explain()
    assert "recorded 1 of at most 4 times" in captured.explain()
    assert len(captured.explain().split("\n\n")) == 2
