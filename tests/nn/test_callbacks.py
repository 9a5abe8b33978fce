"""Callbacks: when they stop, what they keep, and what they refuse."""

import functools
import math
from types import SimpleNamespace

import numpy as np
import pytest

import chalkgrad as cg
from chalkgrad import Sequential
from chalkgrad.errors import UsageError
from chalkgrad.names import is_ours
from chalkgrad.nn.callbacks import EarlyStopping, LearningRateScheduler, ModelCheckpoint, TerminateOnNaN
from chalkgrad.nn.fitting import mode_of
from chalkgrad.nn.layers import Dense
from chalkgrad.nn.metrics import METRICS, MeanMetricWrapper
from chalkgrad.optim import GradientDescent
from chalkgrad.optim.schedule import StepDecay


def run(stopper, values):
    """Feed a callback one value an epoch; returns the epoch it stopped at (None: never) and the weights at the end."""
    state = SimpleNamespace(stop_training=False, weights=None)
    state.get_weights = lambda: state.weights
    state.set_weights = lambda weights: setattr(state, "weights", weights)
    stopper.model = state
    stopper.on_train_begin()
    stopped = None
    for epoch, value in enumerate(values):
        state.weights = epoch
        stopper.on_epoch_end(epoch, {stopper.monitor: value})
        if state.stop_training:
            stopped = epoch
            break
    stopper.on_train_end()
    return stopped, state.weights


@pytest.mark.parametrize(
    ("options", "values", "stopped"),
    [
        ({}, [3, 2, 1], None),
        ({}, [3, 2, 2, 1], 2),
        ({"patience": 1}, [3, 2, 2, 1], 2),
        ({"patience": 2}, [3, 2, 2, 1, 1], None),
        ({"patience": 2}, [3, 2, 2, 3, 1], 3),
        ({"patience": 2}, [3, 4, 2, 4, 4], 4),
        ({"min_delta": 0.5}, [3, 2, 1.6], 2),
        ({"min_delta": -0.5}, [3, 2, 1.4], None),
        ({"baseline": 2}, [3], 0),
        ({"baseline": 2, "patience": 3}, [3, 2.5, 1.5, 1], None),
        ({"baseline": 2, "patience": 2}, [3, 2.5, 1.5], 1),
        ({"start_from_epoch": 2}, [1, 5, 3, 2], None),
        ({"start_from_epoch": 2}, [1, 5, 3, 4], 3),
        ({"patience": 2}, [3, math.nan, math.nan, 1], 2),
        ({"monitor": "val_accuracy"}, [0.5, 0.6, 0.6], 2),
        ({"monitor": "val_accuracy", "min_delta": 0.2}, [0.5, 0.8, 0.9], 2),
        ({"monitor": "val_accuracy", "mode": "min"}, [0.5, 0.6], 1),
        ({"monitor": "score", "mode": "max"}, [1, 2, 1], 2),
        ({"monitor": "val_acc"}, [0.5, 0.6, 0.6], 2),
        ({"monitor": "train_binary_accuracy"}, [0.5, 0.6, 0.6], 2),
        ({"monitor": "val_mse"}, [3, 2, 2], 2),
        ({"monitor": "train_loss"}, [3, 2, 2], 2),
        ({"monitor": "val_accuracy", "patience": 2}, [0.5, math.inf, 0.4], 2),
    ],
    ids=str,
)
def test_early_stopping(options, values, stopped):
    stopper = EarlyStopping(**options)
    assert run(stopper, values)[0] == stopped
    assert stopper.stopped_epoch == (-1 if stopped is None else stopped)


def test_early_stopping_says_how_it_went():
    stopper = EarlyStopping(patience=2)
    run(stopper, [3, 1, 2, 2])
    assert (stopper.best, stopper.best_epoch, stopper.stopped_epoch) == (1, 1, 3)
    run(stopper, [5, 4])  # a second training begins afresh
    assert (stopper.best, stopper.best_epoch, stopper.stopped_epoch) == (4, 1, -1)


@pytest.mark.parametrize(("restore", "epoch"), [(True, 1), (False, 3)])
def test_early_stopping_goes_back_to_the_best_weights(restore, epoch):
    assert run(EarlyStopping(patience=2, restore_best_weights=restore), [3, 1, 2, 2, 2]) == (3, epoch)


def test_early_stopping_restores_also_where_the_epochs_ran_out():
    assert run(EarlyStopping(patience=9, restore_best_weights=True), [3, 1, 2]) == (None, 1)


def test_early_stopping_in_a_training_that_diverges(points, classifier):
    x, _, y = points
    model = classifier(optimizer=GradientDescent())
    stopper = EarlyStopping("val_loss", patience=2, restore_best_weights=True)
    rates = LearningRateScheduler(lambda epoch, rate: 0.1 if epoch < 3 else 50.0)
    history = model.fit(
        x[:40], y[:40], epochs=50, validation_data=(x[40:], y[40:]), callbacks=[rates, stopper], verbose=0
    )
    assert len(history.epoch) < 50
    assert model.evaluate(x[40:], y[40:], verbose=0)[0] == min(history.history["val_loss"]) == stopper.best


@pytest.mark.parametrize("kind", [EarlyStopping, lambda m: ModelCheckpoint("x", m, save_best_only=True)])
def test_an_unknown_monitor_is_named_with_those_there(kind, points, classifier):
    x, _, y = points
    with pytest.raises(UsageError, match="monitors 'val_los', which is not there: loss, accuracy are"):
        classifier().fit(x, y, callbacks=[kind("val_los")], verbose=0)


@pytest.mark.parametrize("make", [EarlyStopping, lambda **options: ModelCheckpoint("x", **options)])
def test_an_unknown_mode(make):
    with pytest.raises(UsageError, match="mode='least'"):
        make(mode="least")


@pytest.mark.parametrize(
    ("options", "values", "best"),
    [
        ({"baseline": 0.1, "patience": 3}, [4, 5, 6, 7], 0),
        ({"baseline": 0.1, "patience": 9}, [4, 5, 3, 7], 2),
        ({"baseline": 0.9, "monitor": "val_accuracy", "patience": 2}, [0.1, 0.3, 0.2], 1),
        ({"min_delta": 0.5, "patience": 2}, [3, 2, 1.6, 1.7], 2),
        ({"start_from_epoch": 1, "patience": 2}, [1, 5, 4, 6], 2),
        ({"patience": 2}, [math.nan, 2, math.nan, 3], 1),
        ({"patience": 9, "baseline": 0.1}, [4, 5], 0),
    ],
    ids=str,
)
def test_the_best_that_was_seen_is_restored(options, values, best):
    stopper = EarlyStopping(restore_best_weights=True, **options)
    assert run(stopper, values)[1] == best == stopper.best_epoch
    assert stopper.best == values[best]


def test_weights_that_a_loss_of_nan_stands_beside_are_not_the_best():
    stopper = EarlyStopping("val_accuracy", restore_best_weights=True)
    run(stopper, [])
    stopper.on_epoch_end(0, {"loss": math.nan, "val_accuracy": 0.5})
    assert stopper._kept is None


def f1(xp, y_true, y_pred):
    return xp.mean(y_pred)


@pytest.mark.filterwarnings("ignore:.*custom_objects")  # said of a file with a metric of one's own
@pytest.mark.parametrize(
    "kind", [EarlyStopping, lambda m, mode="auto": ModelCheckpoint("x", m, save_best_only=True, mode=mode)]
)
def test_a_number_of_unknown_direction_asks_for_a_mode(kind, points, classifier, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    x, _, y = points
    model, validation = classifier(metrics=[f1]), {"validation_data": (x, y), "verbose": 0}
    model.build()
    with pytest.raises(UsageError, match=r"monitors 'val_f1', .* give mode='max' or mode='min'"):
        model.fit(x, y, callbacks=[kind("val_f1")], **validation)
    assert model.optimizer.iterations == 0
    model.fit(x, y, callbacks=[kind("val_f1", mode="max")], **validation)
    declared = classifier(metrics=[MeanMetricWrapper(f1, name="f1", mode="max")])
    stopper = kind("val_f1")
    declared.fit(x, y, callbacks=[stopper], **validation)
    assert stopper.best == declared.history.history["val_f1"][0]


def test_a_number_in_the_logs_of_unknown_direction_asks_for_a_mode():
    with pytest.raises(UsageError, match="EarlyStopping monitors 'val_rate'"):
        run(EarlyStopping("val_rate"), [0.2, 0.4])


def test_every_metric_knows_its_direction():
    ours = {name: metric for name, metric in METRICS.items() if is_ours(metric)}
    unknown = [name for name, metric in ours.items() if metric.mode not in ("min", "max")]
    assert unknown == ["mean", "sum", "confusion_matrix"]
    modes = {name: mode_of(f"val_{name}") for name in METRICS.aliases}
    assert {name for name, mode in modes.items() if mode != "min"} == {"acc", "fbeta_score"}


# A training that goes on

VALUES = [5.0, 3.0, 4.0, 2.0, 2.5, 2.2, 1.0]


class Says(cg.callbacks.Callback):
    """Sets the validation loss of each epoch, before other callbacks see it."""

    def on_epoch_end(self, epoch, logs):
        logs["val_loss"] = self.model.history.history["val_loss"][-1] = VALUES[epoch]


@pytest.mark.parametrize("begin", range(1, 5))
@pytest.mark.parametrize("same_object", [True, False])
def test_early_stopping_goes_on_where_it_was(points, classifier, begin, same_object):
    x, _, y = points
    options = {"validation_data": (x, y), "verbose": 0}
    whole, model = EarlyStopping(patience=2), classifier()
    history = classifier().fit(x, y, epochs=7, callbacks=[Says(), whole], **options)
    stopper = EarlyStopping(patience=2)
    model.fit(x, y, epochs=begin, callbacks=[Says(), stopper], **options)
    stopper = stopper if same_object else EarlyStopping(patience=2)
    again = model.fit(x, y, epochs=7, initial_epoch=begin, callbacks=[Says(), stopper], **options)
    assert again.epoch == history.epoch == list(range(6))
    assert (stopper.best, stopper.best_epoch, stopper.stopped_epoch) == (2.0, 3, 5)
    assert (whole.best, whole.best_epoch, whole.stopped_epoch) == (2.0, 3, 5)


def test_the_best_weights_before_a_training_that_goes_on_are_restored_too(points, classifier, same):
    x, _, y = points
    model, stopper = classifier(), EarlyStopping(patience=9, restore_best_weights=True)
    options = {"validation_data": (x, y), "verbose": 0, "callbacks": [Says(), stopper]}
    model.fit(x, y, epochs=4, **options)
    best = model.get_weights()
    model.fit(x, y, epochs=6, initial_epoch=4, **options)
    same(model.get_weights(), best)


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_the_best_weights_come_back_where_a_training_is_interrupted(points, classifier, same, error):
    class Stop(cg.callbacks.Callback):
        def on_train_batch_end(self, batch, logs):
            if self.model.optimizer.iterations == 11:
                raise error

    x, _, y = points
    options = {"validation_data": (x, y), "verbose": 0}
    model, whole = classifier(), classifier()
    with pytest.raises(error):
        model.fit(
            x, y, epochs=9, callbacks=[Says(), EarlyStopping(restore_best_weights=True, patience=9), Stop()], **options
        )
    whole.fit(x, y, epochs=4, **options)
    same(model.get_weights(), whole.get_weights())


def test_a_training_that_goes_on_from_its_best_epoch_restores_that(points, classifier, same, tmp_path):
    x, _, y = points
    options = {"validation_data": (x, y), "verbose": 0}
    keeper = ModelCheckpoint(tmp_path / "best", save_best_only=True)
    classifier().fit(x, y, epochs=4, callbacks=[Says(), keeper], **options)
    model = Sequential.load(tmp_path / "best")
    best, stopper = model.get_weights(), EarlyStopping(patience=9, restore_best_weights=True)
    model.fit(x, y, epochs=6, initial_epoch=4, callbacks=[Says(), stopper], **options)
    assert (stopper.best, stopper.best_epoch) == (2.0, 3)
    same(model.get_weights(), best)


@pytest.mark.parametrize("history", ["in the model", "in the file"])
def test_a_better_file_is_not_overwritten_by_a_training_that_goes_on(points, classifier, tmp_path, history):
    x, _, y = points
    options = {"validation_data": (x, y), "verbose": 0}
    best, last = tmp_path / "best", tmp_path / "last"
    keepers = [ModelCheckpoint(best, save_best_only=True), ModelCheckpoint(last)]
    classifier().fit(x, y, epochs=4, callbacks=[Says(), *keepers], **options)
    kept = best.read_bytes()
    model = Sequential.load(last)
    if history == "in the file":
        model = classifier()
        model.load_weights(last)
    keeper = ModelCheckpoint(best, save_best_only=True)
    model.fit(x, y, epochs=6, initial_epoch=4, callbacks=[Says(), keeper], **options)
    assert best.read_bytes() == kept
    model.fit(x, y, epochs=7, initial_epoch=6, callbacks=[Says(), keeper], **options)
    assert Sequential.load(best).history.epoch[-1] == 6
    classifier().fit(x, y, callbacks=[Says(), ModelCheckpoint(best, save_best_only=True)], **options)
    assert Sequential.load(best).history.epoch == [0]  # a training that begins anew replaces it


# ModelCheckpoint


def test_a_file_for_each_epoch(tmp_path, points, classifier, same):
    x, _, y = points
    model = classifier()
    keeper = ModelCheckpoint(tmp_path / "runs" / "{epoch:03d}-{val_loss:.3f}")
    history = model.fit(x, y, epochs=3, validation_split=0.2, callbacks=[keeper], verbose=0)
    names = [f"{n + 1:03d}-{loss:.3f}" for n, loss in enumerate(history.history["val_loss"])]
    assert sorted(p.name for p in (tmp_path / "runs").iterdir()) == names
    first, last = (Sequential.load(tmp_path / "runs" / names[n]) for n in (0, 2))
    same(last.get_weights(), model.get_weights())
    assert first.history.epoch == [0]
    assert first.optimizer.iterations == last.optimizer.iterations / 3


def test_a_training_goes_on_from_its_checkpoint(tmp_path, points, classifier, same):
    x, _, y = points
    model = classifier(dropout=0.3)
    model.fit(x, y, epochs=4, callbacks=[ModelCheckpoint(tmp_path / "{epoch}")], verbose=0)
    again = Sequential.load(tmp_path / "2")
    again.fit(x, y, epochs=4, initial_epoch=2, verbose=0)
    same(again.get_weights(), model.get_weights())


def test_only_the_best_is_kept(tmp_path, monkeypatch):
    keeper, saved = ModelCheckpoint(tmp_path / "{epoch}", save_best_only=True), []
    keeper.model = SimpleNamespace(save=lambda path: saved.append(int(path.rpartition("/")[2])))
    for epoch, value in enumerate([3.0, math.nan, 4.0, 2.0, 2.0, 1.0]):
        keeper.on_epoch_end(epoch, {"val_loss": value})
    assert saved == [1, 4, 6]
    assert keeper.best == 1.0


@pytest.mark.parametrize(
    "name",
    [
        "{val_loss}",
        "{0}",
        "{epoch:q}",
        "{epoch",
        "{epoch.day}",
        "{epoch[0]}",
    ],
)
def test_a_name_that_cannot_be_filled_in(tmp_path, points, classifier, name):
    x, _, y = points
    with pytest.raises(UsageError, match="cannot be filled in"):
        classifier().fit(x, y, callbacks=[ModelCheckpoint(f"{tmp_path}/{name}")], verbose=0)
    assert list(tmp_path.iterdir()) == []


# The others


def test_the_rate_is_set_before_each_epoch(points, classifier):
    x, _, y = points
    asked = []

    def halve(epoch, rate):
        asked.append((epoch, rate))
        return rate / 2

    model = classifier(optimizer=GradientDescent(0.8))
    model.fit(x, y, epochs=4, initial_epoch=1, callbacks=[LearningRateScheduler(halve)], verbose=0)
    assert asked == [(1, 0.8), (2, 0.4), (3, 0.2)]
    assert model.optimizer.learning_rate == 0.1


@pytest.mark.parametrize(
    "schedule",
    [
        lambda epoch: 0.01 * 0.5**epoch,
        lambda epoch, rate: 0.01 * 0.5**epoch,
        lambda epoch, learning_rate=3.0: 0.01 * 0.5**epoch,
        lambda *given: 0.01 * 0.5 ** given[0],
        functools.partial(lambda factor, epoch: 0.01 * factor**epoch, 0.5),
        StepDecay(0.01, 1, 0.5),
    ],
)
def test_a_schedule_takes_the_epoch_or_the_rate_too(points, classifier, schedule):
    x, _, y = points
    model = classifier()
    model.fit(x, y, epochs=3, callbacks=[LearningRateScheduler(schedule)], verbose=0)
    assert model.optimizer.learning_rate == 0.01 * 0.5**2


@pytest.mark.parametrize("schedule", [0.1, lambda: 0.1, lambda epoch, rate, more: 0.1])
def test_what_is_no_schedule(schedule):
    with pytest.raises(UsageError, match=r"a function \(epoch, learning_rate\) or \(epoch\)"):
        LearningRateScheduler(schedule)


@pytest.mark.parametrize("rate", [None, "fast", -1.0, math.nan])
def test_a_schedule_that_returns_no_rate(points, classifier, rate):
    x, _, y = points
    with pytest.raises(UsageError, match=rf"the schedule of learning rates returned {rate!r} for epoch 0"):
        classifier().fit(x, y, callbacks=[LearningRateScheduler(lambda epoch: rate)], verbose=0)


def test_an_error_within_a_schedule_is_its_own(points, classifier):
    x, _, y = points
    with pytest.raises(TypeError, match="NoneType"):
        classifier().fit(x, y, callbacks=[LearningRateScheduler(lambda epoch: epoch * None)], verbose=0)


def test_a_rate_of_zero_changes_nothing(points, classifier, same):
    x, _, y = points
    model = classifier()
    model.build()
    before = model.get_weights()
    model.fit(x, y, callbacks=[LearningRateScheduler(lambda epoch, rate: 0)], verbose=0)
    same(model.get_weights(), before)


def test_training_ends_when_the_loss_is_not_finite(capsys):
    class Counting(cg.callbacks.Callback):
        batches = 0

        def on_train_batch_end(self, batch, logs):
            self.batches += 1

    model = Sequential([Dense(1, input_shape=(1,))])
    model.compile("adam", lambda y_true, y_pred: cg.mean(y_pred * float("nan")))
    counting = Counting()
    history = model.fit(
        np.ones((9, 1)), np.ones((9, 1)), batch_size=3, epochs=5, callbacks=[TerminateOnNaN(), counting], verbose=0
    )
    assert counting.batches == 1
    assert len(history.epoch) == 1
    assert "Batch 0: the loss is nan" in capsys.readouterr().out


def test_stop_training_ends_the_run_and_the_next_one_begins(points, classifier):
    class Once(cg.callbacks.Callback):
        def on_epoch_end(self, epoch, logs):
            self.model.stop_training = True

    x, _, y = points
    model = classifier()
    assert model.fit(x, y, epochs=5, callbacks=[Once()], verbose=0).epoch == [0]
    assert model.fit(x, y, epochs=2, verbose=0).epoch == [0, 1]
