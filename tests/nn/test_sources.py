"""Batches from outside: generators, iterables and datasets, for fit, evaluate and predict, and what they get wrong."""

import itertools
import warnings

import numpy as np
import pytest

from chalkgrad import Sequential, layers, utils
from chalkgrad.errors import ChalkgradError
from chalkgrad.nn.callbacks import Callback

X = np.random.default_rng(0).standard_normal((23, 4)).astype("float32")
Y = X.sum(axis=1, keepdims=True)


def model(**compiled):
    made = Sequential([layers.Dense(3, "tanh", input_shape=(4,)), layers.Dropout(0.2), layers.Dense(1)])
    made.compile(**{"optimizer": "adam", "loss": "mse", "metrics": ["mean_absolute_error"], **compiled})
    return made


def batches(size=5, times=1):
    for _ in range(times):
        for start in range(0, len(X), size):
            yield X[start : start + size], Y[start : start + size]


def endless(size=5):
    while True:
        yield from batches(size)


class Batches(utils.PyDataset):
    def __init__(self, size=5, **options):
        super().__init__(**options)
        self.size, self.told = size, []

    def __len__(self):
        return -(-len(X) // self.size)

    def __getitem__(self, index):
        self.told.append(index)
        return X[index * self.size :][: self.size], Y[index * self.size :][: self.size]

    def on_epoch_end(self):
        self.told.append("end")


class Each:
    """As a loader of batches: begins anew each time."""

    def __iter__(self):
        return batches()


def trained(x, y=None, times=2, **options):
    made = model()
    history = made.fit(x, y, epochs=times, verbose=0, **options).history
    return [*made.get_weights(), *history.values()]


@pytest.mark.parametrize("given", [Each, Batches, lambda: Batches(workers=3), lambda: iter([*batches(times=2)])])
def test_batches_from_outside_train_as_the_same_from_arrays(given, same):
    steps = {"steps_per_epoch": 5} if hasattr(given(), "__next__") else {}
    expected = trained(X, Y, batch_size=5, shuffle=False, validation_data=(X, Y))
    same(trained(given(), shuffle=False, validation_data=Batches(23), **steps), expected)


def test_recorded_or_not_they_train_alike(same):
    runs = []
    for run_eagerly in (True, False):
        made = model(run_eagerly=run_eagerly)
        runs.append(
            [*made.fit(endless(6), steps_per_epoch=9, epochs=3, verbose=0).history.values(), *made.get_weights()]
        )
    same(*runs)


def test_an_epoch_of_some_steps_goes_on_where_the_last_one_ended():
    seen = []
    loss = lambda y_true, y_pred: (seen.append(y_true.numpy().copy()), ((y_true - y_pred) ** 2).mean())[1]  # noqa: E731
    for data in ((Batches(),), (X, Y)):
        seen.clear()
        made = model(loss=loss, metrics=[], run_eagerly=True)
        with pytest.warns(UserWarning, match="1 of the 2 batches of this epoch, which ends here"):
            made.fit(*data, batch_size=5, steps_per_epoch=2, epochs=3, shuffle=False, verbose=0)
        np.testing.assert_array_equal(np.concatenate(seen[-5:]), Y)


def test_a_dataset_is_asked_in_another_order_each_epoch_and_told_of_its_end():
    data = Batches()
    model().fit(data, epochs=2, verbose=0)
    first, second = data.told[1:6], data.told[7:12]  # told[0] was a first look
    assert sorted(first) == sorted(second) == [0, 1, 2, 3, 4]
    assert first != second
    assert data.told[6] == data.told[12] == "end"


def test_evaluate_and_predict_take_them():
    made = model()
    made.build()
    expected = made.evaluate(X, Y, verbose=0)
    for given in (batches(), Batches(), Each()):
        assert made.evaluate(given, verbose=0) == pytest.approx(expected, rel=1e-5)
    np.testing.assert_array_equal(made.predict(batches()), made.predict(X, batch_size=5))
    np.testing.assert_array_equal(made.predict(X[:3] for _ in range(2)), made.predict(X[[0, 1, 2, 0, 1, 2]], 3))
    assert made.evaluate(endless(23), steps=2, verbose=0) == pytest.approx(expected, rel=1e-5)
    assert made.predict(endless(), steps=2).shape == (10, 1)


def test_what_ends_early_ends_the_training_and_says_how_many_came():
    made = model()
    with pytest.warns(UserWarning, match=r"the generator gave 2 of the 3 batches of this epoch, which ends here"):
        assert made.fit(batches(), steps_per_epoch=3, epochs=9, verbose=0).epoch == [0, 1]
    with pytest.warns(UserWarning, match=r"the generator gave 5 batches and is at its end, after 1 of 2 epochs"):
        assert made.fit(batches(), epochs=2, verbose=0).epoch == [0]


@pytest.mark.parametrize("given", [endless, lambda: itertools.cycle([(X, Y)]), lambda: itertools.repeat((X, Y))])
def test_what_repeats_for_ever_needs_the_steps_of_an_epoch(given):
    made = model()
    made.build()
    for call in (made.fit, made.evaluate, made.predict, lambda data: made.fit(X, Y, validation_data=data)):
        with pytest.raises(ChalkgradError, match=r"repeats for ever: .*steps_per_epoch"):
            call(given())


@pytest.mark.parametrize(
    ("batch", "named"),
    [
        (X, r"batch 2 of the generator is 1 things \(ndarray\): it is \(x, y\)"),
        ((X,), r"batch 2 .*\(x, y\)"),
        ((X, Y, Y, Y), r"4 things"),
        ({"x": X}, r"\(dict\)"),
        ((X[:, :3], Y), r"\(batch, 4\)"),
        ((X, Y[:5]), "batch 2 of the generator: x has 23 samples, batch 2 of the generator: y has 5"),
        ((X, Y * np.nan), "batch 2 of the generator: y is not finite in row 0"),
        ((X[:0], Y[:0]), "batch 2 of the generator: x is empty"),
    ],
)
def test_a_batch_that_is_none_is_named(batch, named):
    with pytest.raises(ChalkgradError, match=named):
        model().fit((b for b in [(X, Y), batch]), verbose=0)


def test_what_does_not_go_with_batches_from_outside():
    for options in ({"y": Y}, {"validation_split": 0.5}, {"evaluate_training": True}, {"steps_per_epoch": 0}):
        with pytest.raises(ChalkgradError):
            model().fit(batches(), verbose=0, **options)
    with pytest.raises(ChalkgradError, match="gives no batch at all"):
        model().fit(iter([]), verbose=0)


def test_a_training_that_is_no_longer_finite_ends_and_leaves_the_model_as_it_was(same):
    made = model(optimizer="sgd")
    made.fit(X, Y, verbose=0)
    before = made.get_weights()
    with np.errstate(all="ignore"), pytest.raises(ChalkgradError, match=r"epoch 1, by step [15]\. "):
        made.fit(((x, y * 1e30) for x, y in batches()), verbose=0)
    same(made.get_weights(), before)


def test_callbacks_hear_of_each_batch_and_may_end_the_training():
    class Ends(Callback):
        def on_train_batch_end(self, batch, logs):
            self.last = batch
            self.model.stop_training = batch == 2

    ends, data = Ends(), Batches(workers=2)
    model().fit(data, epochs=3, verbose=0, callbacks=[ends])
    assert ends.last == 2
    assert data.told.count("end") == 1


# One batch at a time


def test_a_batch_at_a_time_trains_as_an_epoch_of_it_does(same):
    one, other = model(), model()
    for _ in range(4):
        loss, mae = one.train_on_batch(X, Y)
        history = other.fit(X, Y, batch_size=23, shuffle=False, verbose=0).history
        assert [loss, mae] == [history["loss"][0], history["mean_absolute_error"][0]]
    same(one.get_weights(), other.get_weights())
    assert one.optimizer.iterations == 4


def test_on_batch_methods_return_what_evaluate_and_predict_do():
    made = model()
    assert list(made.train_on_batch(X, Y, return_dict=True)) == ["loss", "mean_absolute_error"]
    assert made.test_on_batch(X, Y) == made.evaluate(X, Y, verbose=0)
    assert made.test_on_batch(X, Y, return_dict=True) == made.evaluate(X, Y, verbose=0, return_dict=True)
    np.testing.assert_array_equal(made.predict_on_batch(X), made.predict(X))
    assert isinstance(model(metrics=[]).train_on_batch(X, Y), float)
    with pytest.raises(ChalkgradError, match="compile"):
        Sequential([layers.Dense(1)]).train_on_batch(X, Y)


def test_a_callback_may_train_another_model_batch_by_batch():
    class Beside(Callback):
        def on_train_batch_end(self, batch, logs):
            other.train_on_batch(X[:3], Y[:3])

    other, made = model(), model()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made.fit(X, Y, batch_size=4, verbose=0, callbacks=[Beside()])
    assert other.optimizer.iterations == 6
