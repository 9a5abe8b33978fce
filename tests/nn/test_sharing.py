"""One model and several threads: who may do what at once, and what the others are told."""

import copy
import pickle
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import chalkgrad as cg
from chalkgrad import layers

X = np.random.default_rng(0).normal(size=(96, 6)).astype("float32")
Y = np.arange(96) % 3


def made(seed=0, **options):
    model = cg.Sequential(
        [layers.Dense(8, "tanh", input_shape=(6,)), layers.Dropout(0.3), layers.Dense(3, "softmax")], seed=seed
    )
    model.compile("adam", "sparse_categorical_crossentropy", ["accuracy"], **options)
    return model


def trained(seed, options):
    model = made(seed, **options)
    history = model.fit(X, Y, epochs=2, batch_size=8, verbose=0, validation_data=(X, Y)).history
    return [w.tobytes() for w in (*model.get_weights(), model.predict(X))], history


@pytest.fixture
def hasty():
    """Threads take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


class Meanwhile(cg.callbacks.Callback):
    """In the middle of a training, or of a prediction, have another thread do something with the model."""

    def __init__(self, work):
        super().__init__()
        self.work = work

    def on_train_batch_end(self, batch, logs=None):
        with ThreadPoolExecutor(1, "other") as pool:
            pool.submit(self.work, self.model).result()

    on_predict_batch_end = on_train_batch_end


CHANGES = {
    "fit": lambda model: model.fit(X, Y, verbose=0),
    "compile": lambda model: model.compile("sgd", "mse"),
    "set_weights": lambda model: model.set_weights([w.numpy() + 1 for w in model.weights]),
    "optimizer": lambda model: setattr(model, "optimizer", "sgd"),
    "trainable": lambda model: setattr(model, "trainable", False),
}
READS = {
    "predict": lambda model: model.predict(X),
    "evaluate": lambda model: model.evaluate(X, Y, verbose=0),
    "get_weights": lambda model: model.get_weights(),
    "save": lambda model: model.save("model.safetensors"),
    "a call of the model": lambda model: model(X),
    "a copy": copy.deepcopy,
}


@pytest.mark.parametrize("name", [*CHANGES, *READS])
def test_while_one_thread_trains_a_model_no_other_is_at_work_with_it(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model, alone = made(), made()
    work = {**CHANGES, **READS}[name]
    with pytest.raises(cg.errors.UsageError, match=f"^{name}.*'MainThread' is in fit of this model.*deepcopy"):
        model.fit(X, Y, verbose=0, callbacks=[Meanwhile(work)])
    model.fit(X, Y, epochs=1, seed=0, verbose=0)  # it is free again
    work(alone)


@pytest.mark.parametrize("name", CHANGES)
def test_while_one_thread_predicts_no_other_changes_the_model(name):
    model = made()
    with pytest.raises(cg.errors.UsageError, match=f"^{name} in the thread 'other_0': .*'MainThread' is in predict"):
        model.predict(X, callbacks=[Meanwhile(CHANGES[name])])
    CHANGES[name](model)


@pytest.mark.parametrize("name", [name for name in READS if name != "save"])
def test_while_one_thread_predicts_others_read(name):
    made().predict(X, callbacks=[Meanwhile(READS[name])])


def test_a_callback_may_do_what_it_likes_in_the_thread_of_the_training(tmp_path):
    class Own(cg.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.predict(X)
            self.model.save(tmp_path / "model.safetensors")
            self.model.set_weights(self.model.get_weights())
            copy.deepcopy(self.model).fit(X, Y, verbose=0)

    made().fit(X, Y, verbose=0, callbacks=[Own()])


def test_another_thread_may_end_a_training():
    model = made()
    model.fit(X, Y, epochs=9, verbose=0, callbacks=[Meanwhile(lambda model: setattr(model, "stop_training", True))])
    assert len(model.history.epoch) == 1


def test_two_fits_of_one_model_at_once_are_one_fit_and_one_error(hasty):
    model, ready = made(), threading.Barrier(2)

    def fit(_):
        ready.wait()
        try:
            model.fit(X, Y, epochs=20, batch_size=8, verbose=0)
        except cg.errors.UsageError as error:
            return str(error)

    with ThreadPoolExecutor(2) as pool:
        told = [error for error in pool.map(fit, range(2)) if error]
    alone = made()
    alone.fit(X, Y, epochs=20, batch_size=8, verbose=0)
    assert len(told) == 1
    assert "is in fit of this model" in told[0]
    assert [w.tobytes() for w in model.get_weights()] == [w.tobytes() for w in alone.get_weights()]


@pytest.mark.parametrize("eager", [False, True])
def test_many_threads_predict_by_one_model_from_its_first_use_on(hasty, eager):
    """They build it, record its step in every size, and replay it, all at once."""
    sizes = [1, 2, 3, 17, 96]
    alone = made(run_eagerly=True)
    wanted = {size: alone.predict(X[:size], batch_size=8).tobytes() for size in sizes}
    score = alone.evaluate(X, Y, verbose=0)
    model = made(run_eagerly=eager)

    def serve(turn):
        for n in range(15):
            size = sizes[(n + turn) % len(sizes)]
            assert model.predict(X[:size], batch_size=8).tobytes() == wanted[size]
        assert model.evaluate(X, Y, verbose=0) == score

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(serve, range(4)))


@pytest.mark.parametrize("options", [{}, {"run_eagerly": True}])
def test_models_that_are_trained_in_threads_at_once_are_what_they_are_alone(hasty, options):
    alone = [trained(seed, options) for seed in range(3)]
    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(lambda seed: trained(seed, options), range(3))) == alone


def test_a_prediction_that_a_callback_ends_ends_no_other():
    class Stop(cg.callbacks.Callback):
        def on_predict_batch_end(self, batch, logs=None):
            self.model.stop_predicting = True

    model = made()
    whole = Meanwhile(lambda model: rows.append(len(model.predict(X[:40], batch_size=8, callbacks=[Stop()]))))
    rows = []
    rows.append(len(model.predict(X, batch_size=8, callbacks=[whole])))
    assert rows == [8] * 12 + [96]


def test_a_copy_is_free(tmp_path):
    class Copies(cg.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            for model in (copy.deepcopy(self.model), pickle.loads(pickle.dumps(self.model))):
                with ThreadPoolExecutor(1) as pool:
                    pool.submit(model.fit, X, Y, verbose=0).result()

    made().fit(X, Y, verbose=0, callbacks=[Copies()])
