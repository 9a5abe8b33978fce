"""What a step costs, counted: array calls, new arrays, Python frames. A change of these numbers is a decision."""

import functools
import sys
import time
import tracemalloc

import numpy as np
import pytest

import chalkgrad as cg
from chalkgrad import layers, optim
from chalkgrad.nn.trainer import Trainer

ROWS, BATCH = 1024, 128


@pytest.fixture
def documented():
    """The documented model and data of its shapes; fit leaves its recorded step behind."""
    rng = np.random.default_rng(0)
    x = rng.random((ROWS, 784), dtype="float32")
    y = np.eye(10, dtype="float32")[rng.integers(0, 10, ROWS)]

    def trained(epochs=2, **options):
        model = cg.Sequential(
            [layers.Dense(128, activation="relu", input_shape=(784,)), layers.Dense(10, activation="softmax")]
        )
        model.compile(optimizer="adam", loss="categorical_crossentropy", jit_compile=False, **options)
        model.fit(x, y, batch_size=BATCH, epochs=epochs, verbose=0)
        step = model.captured("train", Trainer.of(model, None, True)._step)
        return functools.partial(step, cg.Tensor(x), cg.Tensor(y))

    return trained


def frames(function):
    """How many Python functions are entered while it runs."""
    count = 0

    def profile(frame, event, argument):
        nonlocal count
        count += event == "call"

    sys.setprofile(profile)
    try:
        function()
    finally:
        sys.setprofile(None)
    return count - 1


def indices():
    return cg.tensor(np.arange(BATCH))


@pytest.mark.cpu_only("counts the calls of a program for the CPU")
def test_the_documented_step_is_so_many_array_calls_and_makes_no_array(documented):
    (recording,) = documented(metrics=["accuracy"]).func.recordings.values()
    program = recording.program
    calls = sum(len(step.calls) for step in program.steps)
    assert (program.recorded, calls) == (68, 50)
    assert not any(step.allocates for step in program.steps)
    largest = 4 * BATCH * (784 + 128 + 128)  # the batch, the hidden layer and its gradient
    assert program.arena_bytes < 1.2 * largest


@pytest.mark.cpu_only("counts the calls of a program for the CPU")
def test_a_replay_enters_few_python_functions(documented):
    step, batch = documented(), indices()
    assert frames(lambda: step(batch)) == 44


@pytest.mark.cpu_only("on a GPU a recorded step is for the samples of one fit")
def test_replays_allocate_no_array_memory(documented):
    step, batch = documented(), indices()
    step(batch)
    tracemalloc.start()
    for _ in range(20):
        step(batch)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * BATCH * 128  # less than the smallest array of a layer: NumPy's buffer for casts is 32 KB


@pytest.mark.cpu_only("counts the calls of a program for the CPU")
def test_predicting_one_sample_enters_few_python_functions():
    model = cg.Sequential([layers.Dense(4, activation="relu", input_shape=(3,)), layers.Dense(2, activation="softmax")])
    x = np.ones((1, 3), "float32")
    several = model.predict(np.ones((700, 3), "float32"), verbose=0)
    found = [model.predict(x, verbose=0) for _ in range(5)]
    assert frames(lambda: model.predict(x, verbose=0)) <= 50
    assert all(y.flags.writeable and np.allclose(y, several[:1], rtol=1e-6) for y in found)


def test_what_is_predicted_is_the_callers_own():
    model, x = cg.Sequential([layers.Flatten(input_shape=(3,))]), np.ones((1, 3), "float32")
    for _ in range(4):
        model.predict(x, verbose=0)[...] = 5
        assert (x == 1).all()


@pytest.mark.cpu_only("counts the calls of a program for the CPU")
def test_frames_of_a_tiny_operation():
    x = cg.tensor(np.ones(8), requires_grad=True)
    y = x * x
    assert y + 1.0 is not None
    assert frames(lambda: x * x) == 2  # the road through multiply, the node
    assert frames(lambda: y + 1.0) <= 6
    pulled = frames(lambda: (y * x).backward(np.ones(8))) - frames(lambda: (x * x).backward(np.ones(8)))
    assert pulled <= 8


@pytest.mark.cpu_only("on a GPU a recorded step is for the samples of one fit")
@pytest.mark.parametrize("patience", [5])
def test_a_replay_is_not_slower_than_the_tape(documented, patience):
    def best(step):
        times = []
        for _ in range(60):
            begin = time.perf_counter()
            step(batch)
            times.append(time.perf_counter() - begin)
        return min(times)

    batch = indices()
    replayed, eager = documented(), documented(run_eagerly=True)
    ratios = (best(replayed) / best(eager) for _ in range(patience))
    assert any(
        ratio < 1.3 for ratio in ratios
    )  # it is about 0.85; a machine that does other things besides is not to fail this


def test_recording_a_step_grows_as_its_length():
    """The third call makes the program, which takes some calls of Python for each layer, not for each pair of them."""

    def made(count):
        weights, optimizer = [cg.tensor(np.eye(3), requires_grad=True) for _ in range(count)], optim.Adam()

        def step(x):
            for w in weights:
                x = cg.tanh(x @ w)
            x.sum().backward()
            optimizer.step(weights)
            for w in weights:
                w.grad = None

        captured, x = cg.capture(step), cg.tensor(np.ones((2, 3)))
        captured(x), captured(x)
        return frames(lambda: captured(x))

    few, many = made(25), made(100)
    assert many < 5 * few
