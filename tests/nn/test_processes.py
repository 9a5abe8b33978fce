"""Models and other processes: forked and spawned children go on, or are told why not."""

import gc
import multiprocessing
import os
import pickle
import signal
import threading
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pytest

import chalkgrad as cg
from chalkgrad import errors, layers
from chalkgrad.engine.capturing import captures

X = np.random.default_rng(0).normal(size=(48, 6)).astype("float32")
Y = np.arange(48) % 3


on_the_cpu = pytest.mark.cpu_only("CUDA does not survive a fork")


@pytest.fixture
def forking():
    """Forking is asked for, where Python can."""
    if not hasattr(os, "fork"):
        pytest.skip("there is no fork here")


def made(**options):
    model = cg.Sequential([layers.Dense(8, "tanh", input_shape=(6,)), layers.Dropout(0.3), layers.Dense(3, "softmax")])
    model.compile("adam", "sparse_categorical_crossentropy", ["accuracy"], **options)
    return model


def trained(model):
    """Two epochs more; the bits of what is predicted then."""
    model.fit(X, Y, epochs=2, batch_size=8, verbose=0)
    return model.predict(X).tobytes()


def forked(function):
    """What a function returns in a forked child, or the text of what it raises."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        signal.alarm(20)  # ends it, should it hang
        try:
            result = function()
        except BaseException as error:
            result = repr(error)
        os.write(writing, pickle.dumps(result))
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        result = pipe.read()
    assert os.waitpid(child, 0)[1] == 0, "it did not end by itself"
    return pickle.loads(result)


class Waiting:
    """Another thread, held up in the midst of its work until the `with` ends. The work calls `wait`."""

    def __init__(self, work):
        self.reached, self.go_on = threading.Event(), threading.Event()
        self.thread = threading.Thread(target=work, args=(self.wait,), name="other")

    def wait(self):
        self.reached.set()
        self.go_on.wait(20)

    def __enter__(self):
        self.thread.start()
        assert self.reached.wait(20)

    def __exit__(self, *error):
        self.go_on.set()
        self.thread.join()


@on_the_cpu
@pytest.mark.parametrize("jit", [False, True])
@pytest.mark.usefixtures("forking")
def test_a_forked_child_predicts_and_trains_as_its_parent_does(jit):
    model = made(jit_compile=jit)
    trained(model)
    thread = threading.Thread(target=trained, args=(made(),))
    thread.start()
    child = forked(lambda: trained(model))
    thread.join()
    assert child == trained(model)


@on_the_cpu
@pytest.mark.usefixtures("forking")
def test_a_fork_in_the_midst_of_the_recording_of_another_thread():
    w, x = cg.tensor([1.0, 2.0], requires_grad=True), cg.tensor([3.0, 4.0])

    def step(x):
        y = w * x
        held.pop()() if held else None
        return y.detach()

    captured = cg.capture(step)
    held = []

    def record(wait):
        held.append(wait)
        captured(x)

    def child():
        assert not captures
        assert gc.isenabled()
        assert type(w._data) is np.ndarray
        for _ in range(5):
            assert captured(x).tolist() == [3, 8]
        return captured.explain()

    with Waiting(record):
        assert "replayed" in forked(child)
    assert captured(x).tolist() == [3, 8]


@on_the_cpu
@pytest.mark.usefixtures("forking")
def test_a_model_that_another_thread_was_training_is_half_done_in_a_forked_child():
    class Held(cg.callbacks.Callback):
        def __init__(self, wait):
            super().__init__()
            self.wait = wait

        def on_train_batch_end(self, batch, logs=None):
            self.wait()

    model, other = made(), made()
    with Waiting(lambda wait: model.fit(X, Y, verbose=0, callbacks=[Held(wait)])):
        assert "when this process was forked the thread 'other' was in fit" in forked(lambda: model.predict(X))
        assert forked(lambda: trained(other)) == trained(made())


@on_the_cpu
@pytest.mark.usefixtures("forking")
def test_a_model_that_another_thread_was_reading_is_free_in_a_forked_child():
    class Held(cg.callbacks.Callback):
        def on_predict_batch_end(self, batch, logs=None):
            waits.pop()() if waits else None

    model, waits = made(), []

    def read(wait):
        waits.append(wait)
        model.predict(X, callbacks=[Held()])

    with Waiting(read):
        assert forked(lambda: trained(model)) == trained(made())


@on_the_cpu
def test_models_and_tensors_go_to_spawned_processes_and_errors_come_back():
    model = made()
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        fit = {"x": X, "y": Y, "epochs": 2, "batch_size": 8, "verbose": 0}  # functions of this file are not found there
        assert pool.submit(model.fit, **fit).result().history == made().fit(**fit).history
        t = cg.tensor([1.0, 2.0], requires_grad=True, dtype="float64")
        back = pool.submit(cg.Tensor.detach, t).result()
        with pytest.raises(errors.ShapeError, match="takes batches of shape"):
            pool.submit(model.predict, X[:, :2]).result()
    assert (back.tolist(), back.dtype.name, back.requires_grad) == ([1.0, 2.0], "float64", False)


@pytest.mark.usefixtures("forking")
def test_a_gpu_that_was_used_is_no_more_in_a_forked_child(device):
    if device == "cpu":
        pytest.skip("for a device: pytest --device standin, or -m gpu")
    model = made()
    trained(model)
    assert "multiprocessing.get_context('spawn')" in forked(lambda: model.predict(X))
    assert forked(lambda: cg.tensor([1.0], device="auto").device) == "cpu"


@pytest.mark.parametrize("kind", errors.ChalkgradError.__subclasses__(), ids=lambda kind: kind.__name__)
def test_errors_are_pickled(kind):
    error = kind("what happened")
    vars(error)["where"] = "here"
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), again.where) == (kind, "what happened", "here")
