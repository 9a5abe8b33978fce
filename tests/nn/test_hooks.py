"""Callbacks hear what Keras's hear, and what they put into an epoch's logs is not lost."""

import os

import numpy as np
import pytest

import chalkgrad as cg
from chalkgrad import Sequential, layers
from chalkgrad.nn.callbacks import Callback, EarlyStopping, History, ModelCheckpoint

X = np.random.default_rng(0).normal(size=(10, 4)).astype("float32")
Y = np.random.default_rng(1).integers(0, 3, 10)
PLACED = [
    f"on_{what}_{when}" for what in ("epoch", "train_batch", "test_batch", "predict_batch") for when in ("begin", "end")
]
WHOLE = [f"on_{what}_{when}" for what in ("train", "test", "predict") for when in ("begin", "end")]


def model(eager=True):
    made = Sequential([layers.Dense(3, activation="softmax", input_shape=(4,))])
    made.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"], run_eagerly=eager)
    return made


def listener(base, events):
    """A callback that notes all that it is told, in the way of Keras's programs."""

    def placed(hook):
        return lambda self, place, logs=None: events.append((hook, place, *sorted(logs or ())))

    def whole(hook):
        return lambda self, logs=None: events.append((hook, *sorted(logs or ())))

    return type("Listener", (base,), {h: placed(h) for h in PLACED} | {h: whole(h) for h in WHOLE})()


def told(made, base, fit_options, options):
    events = []
    made.fit(X, Y, epochs=2, callbacks=[listener(base, events)], verbose=0, **fit_options)
    made.evaluate(X, Y, callbacks=[listener(base, events)], verbose=0, **options)
    made.predict(X, callbacks=[listener(base, events)], verbose=0, **options)
    return events


def test_every_hook_is_called_in_its_place():
    events = told(model(), Callback, {"batch_size": 5, "validation_data": (X, Y)}, {"batch_size": 4})
    names = [event[0] for event in events]
    batches = ["on_train_batch_begin", "on_train_batch_end"] * 2
    test = ["on_test_begin", "on_test_batch_begin", "on_test_batch_end", "on_test_end"]
    epoch = ["on_epoch_begin", *batches, *test, "on_epoch_end"]
    assert names[:22] == ["on_train_begin", *epoch, *epoch, "on_train_end"]
    assert events[22:24] == [("on_test_begin",), ("on_test_batch_begin", 0)]
    assert events[-2:] == [("on_predict_batch_end", 2, "outputs"), ("on_predict_end",)]
    assert events[21] == ("on_train_end", "accuracy", "loss", "val_accuracy", "val_loss")


@pytest.mark.cpu_only("compares with Keras on the CPU")
@pytest.mark.filterwarnings("ignore")  # Keras's own
def test_keras_calls_the_same_hooks_with_the_same_logs():
    os.environ.setdefault("KERAS_BACKEND", "jax")
    keras = pytest.importorskip("keras")
    theirs = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(3, "softmax")])
    theirs.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    fit = {"batch_size": 5, "validation_data": (X, Y), "validation_batch_size": 4, "validation_freq": 2}
    expected = told(theirs, keras.callbacks.Callback, fit, {"batch_size": 4})
    assert told(model(), Callback, fit, {"batch_size": 4}) == expected


def test_hooks_may_leave_out_the_logs_and_have_older_names_or_none_of_the_class():
    heard = []

    class Short(Callback):
        def on_train_begin(self):
            heard.append("train")

        def on_epoch_begin(self, epoch):
            heard.append(epoch)

        def on_batch_begin(self, batch, logs=None):
            heard.append(("begin", batch))

        def on_batch_end(self, batch):
            heard.append(("end", batch))

    callback = Short()
    callback.on_train_end = lambda logs: heard.append(sorted(logs))
    model().fit(X, Y, batch_size=10, callbacks=[callback], verbose=0)
    assert heard == ["train", 0, ("begin", 0), ("end", 0), ["accuracy", "loss"]]


def test_a_hook_of_other_arguments_is_refused():
    class Odd(Callback):
        def on_epoch_begin(self, epoch, logs, more):
            """Never."""

    with pytest.raises(cg.ChalkgradError, match=r"on_epoch_begin\(epoch, logs\)"):
        model().fit(X, Y, callbacks=[Odd()], verbose=0)


class Adds(Callback):
    def on_epoch_end(self, epoch, logs):
        logs["f1"] = np.float32(epoch)
        logs["loss"] = 7.0


def test_what_a_callback_puts_into_the_logs_reaches_those_after_it_and_the_history(tmp_path):
    seen = []

    class After(Callback):
        def on_epoch_end(self, epoch, logs):
            seen.append((logs["f1"], self.model.history.history["f1"][-1]))

    own, file = History(), tmp_path / "model"
    stop = EarlyStopping("f1", mode="min", patience=2)
    history = model().fit(X, Y, epochs=5, verbose=0, callbacks=[own, Adds(), After(), stop, ModelCheckpoint(file)])
    assert seen == [(0, 0), (1, 1), (2, 2)]
    assert history.history["f1"] == [0, 1, 2] == own.history["f1"]
    assert history.history["loss"] == [7, 7, 7]
    assert Sequential.load(file).history.history == history.history
    assert type(history.history["f1"][0]) is float


def test_logs_are_numbers():
    class Bad(Callback):
        def on_epoch_end(self, epoch, logs):
            logs["matrix"] = np.zeros((2, 2))

    with pytest.raises(cg.ChalkgradError, match=r"'matrix'.*ndarray.*numbers"):
        model().fit(X, Y, callbacks=[Bad()], verbose=0)


def test_what_is_changed_at_the_end_of_an_evaluation_is_what_it_gives():
    class Doubles(Callback):
        def on_test_end(self, logs):
            logs["twice"] = 2 * logs["loss"]

    made = model()
    found = made.evaluate(X, Y, verbose=0, callbacks=[Doubles()], return_dict=True)
    assert found["twice"] == 2 * found["loss"]
    history = made.fit(X, Y, verbose=0, validation_data=(X, Y), callbacks=[Doubles()]).history
    assert history["val_twice"] == [2 * history["val_loss"][0]]


@pytest.mark.parametrize("hook", ["on_train_begin", "on_epoch_begin", "on_train_batch_begin", "on_train_batch_end"])
def test_a_training_may_be_stopped_from_each_hook(hook):
    """As in Keras, the batch under way is taken, and the epoch ends with it."""
    stop = type("Stop", (Callback,), {hook: lambda self, *_: setattr(self.model, "stop_training", True)})
    made = model()
    history = made.fit(X, Y, batch_size=5, epochs=3, callbacks=[stop()], verbose=0)
    assert made.optimizer.iterations == 1
    assert len(history.epoch) == 1
    assert np.isfinite(history.history["loss"]).all()


def test_evaluation_and_prediction_may_be_stopped_and_take_so_many_steps():
    made = model()

    class Stop(Callback):
        def on_test_batch_end(self, batch, logs):
            self.model.stop_evaluating = True

        def on_predict_batch_end(self, batch, logs):
            self.model.stop_predicting = True

    first = made.evaluate(X[:4], Y[:4], verbose=0)
    assert made.evaluate(X, Y, batch_size=4, callbacks=[Stop()], verbose=0) == first
    assert made.evaluate(X, Y, batch_size=4, steps=1, verbose=0) == first
    assert made.evaluate(X, Y, batch_size=4, verbose=0) != first
    assert len(made.predict(X, batch_size=4, callbacks=[Stop()])) == 4 == len(made.predict(X, batch_size=2, steps=2))
    with pytest.raises(cg.ChalkgradError, match="3 batches"):
        made.predict(X, batch_size=4, steps=4)


@pytest.mark.parametrize(("frequency", "epochs"), [(1, [0, 1, 2, 3]), (2, [1, 3]), ([1, 4], [0, 3])])
def test_validation_comes_as_often_as_it_is_asked_for(frequency, epochs, tmp_path):
    watching = [EarlyStopping(patience=9), ModelCheckpoint(tmp_path / "best", save_best_only=True)]
    history = model().fit(
        X, Y, epochs=4, validation_data=(X, Y), validation_freq=frequency, callbacks=watching, verbose=0,
        validation_batch_size=3, validation_steps=2,
    )  # fmt: skip
    assert np.flatnonzero(np.isfinite(history.history["val_loss"])).tolist() == epochs


def test_the_replayed_training_is_the_same_with_batch_hooks():
    class Changes(Callback):
        def on_train_batch_begin(self, batch):
            self.model.optimizer.learning_rate = 0.1 / (batch + 1)

    made = [model(eager) for eager in (True, False)]
    for one in made:
        one.fit(X, Y, batch_size=2, epochs=4, callbacks=[Changes()], verbose=0)
    assert [w.tobytes() for w in made[0].get_weights()] == [w.tobytes() for w in made[1].get_weights()]


REFUSED = {
    "fit": ["workers"],
    "compile": ["steps_per_execution"],
}


@pytest.mark.parametrize(("method", "name"), [(method, name) for method, names in REFUSED.items() for name in names])
def test_arguments_of_keras_that_have_no_counterpart_are_refused_with_the_way_out(method, name):
    made = model()
    given = ("adam", "mse") if method == "compile" else (X, Y)
    with pytest.raises(cg.ChalkgradError, match=rf"{method}\({name}=…\): there is no {name} here\. ."):
        getattr(made, method)(*given, **{name: 3})
    getattr(made, method)(*given, **{name: None})
    with pytest.raises(TypeError, match="unexpected keyword argument 'smaple_weight'"):
        getattr(made, method)(*given, smaple_weight=1)


@pytest.mark.parametrize(
    "options", [{"shuffle": "batch"}, {"validation_freq": 0}, {"validation_freq": [0]}, {"batch_size": 0}]
)
def test_values_without_a_meaning_are_refused(options):
    with pytest.raises(cg.ChalkgradError, match=next(iter(options))):
        model().fit(X, Y, **options)
