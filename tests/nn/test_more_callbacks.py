"""Callbacks that lower the rate, write tables, take functions, keep backups: when they act, and what they refuse."""

import csv
import os
from types import SimpleNamespace

import numpy as np
import pytest

import chalkgrad as cg
from chalkgrad import Sequential, layers
from chalkgrad.errors import ChalkgradError, DataError, MissingExtraError, UsageError
from chalkgrad.nn import loggers
from chalkgrad.nn.callbacks import (
    BackupAndRestore,
    Callback,
    CSVLogger,
    EarlyStopping,
    LambdaCallback,
    LearningRateScheduler,
    ModelCheckpoint,
    ReduceLROnPlateau,
    TensorBoard,
)
from chalkgrad.optim import GradientDescent, StepDecay

X = np.random.default_rng(0).standard_normal((20, 4)).astype("float32")
Y = X.sum(axis=1)


def model(**compiled):
    made = Sequential([layers.Dropout(0.3, input_shape=(4,)), layers.Dense(3, "tanh"), layers.Dense(1)])
    made.compile(**{"optimizer": "adam", "loss": "mse", **compiled})
    return made


def fit(made, *callbacks, **options):
    return made.fit(X, Y, **{"epochs": 4, "batch_size": 5, "verbose": 0, **options}, callbacks=list(callbacks))


class Fails(Callback):
    """Raises, once, in a batch of an epoch."""

    def __init__(self, epoch, batch=0):
        self.at = epoch, batch

    def on_epoch_begin(self, epoch):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs):
        if (self.epoch, batch) == self.at:
            raise KeyboardInterrupt


# ReduceLROnPlateau

SERIES = [3, 2, 2, 2, 2, 1.99999, 1, 1, np.nan, 1, 1, 1, 1, 0.5, 0.7, 0.7]


def rates(plateau, values, monitor="loss"):
    optimizer = GradientDescent(0.1)
    plateau.set_model(SimpleNamespace(optimizer=optimizer, metrics=()))
    plateau.on_train_begin()
    found = []
    for epoch, value in enumerate(values):
        plateau.on_epoch_end(epoch, {monitor: value})
        found.append(optimizer.learning_rate)
    return found


@pytest.mark.parametrize(
    ("options", "falls", "least"),
    [
        ({"patience": 1}, [2, 3, 4, 5, 7, 8, 9, 10, 11, 12, 14, 15], 1e-13),
        ({"patience": 2, "cooldown": 2}, [3, 8, 11, 15], 1e-5),
        ({"patience": 1, "min_lr": 0.03, "factor": 0.5}, [2, 3], 0.03),
        ({"patience": 0}, [2, 3, 4, 5, 7, 8, 9, 10, 11, 12, 14, 15], 1e-13),
        ({"patience": 1, "min_delta": 0.6}, [2, 3, 4, 5, 7, 8, 9, 10, 11, 12, 13, 14, 15], 1e-14),
        ({"patience": 1, "mode": "max"}, [*range(1, 16)], 1e-16),
        ({}, [], 0.1),
    ],
)
def test_the_rate_falls_after_the_epochs_after_which_it_does_in_keras(options, falls, least):
    found = [0.1, *rates(ReduceLROnPlateau("loss", **options), SERIES)]
    assert [epoch for epoch, rate in enumerate(found[1:]) if rate != found[epoch]] == falls
    assert found[-1] == pytest.approx(least)


def test_the_history_has_the_rate_and_a_training_goes_on_with_it(tmp_path, same):
    plateau = lambda: ReduceLROnPlateau("loss", patience=1, min_delta=9.0, cooldown=1)  # noqa: E731
    whole, begun = model(), model()
    history = fit(whole, plateau(), epochs=8).history
    assert history["learning_rate"][-1] < history["learning_rate"][0] == 1e-3
    fit(begun, plateau(), epochs=3)
    begun.save(tmp_path / "m")
    again = Sequential.load(tmp_path / "m")
    fit(again, plateau(), epochs=8, initial_epoch=3)
    same(again.get_weights(), whole.get_weights())
    assert again.history.history["learning_rate"] == history["learning_rate"]


def test_a_plateau_of_a_schedule_or_of_nonsense_is_refused():
    with pytest.raises(UsageError, match="schedule"):
        fit(model(optimizer=GradientDescent(StepDecay(0.1, 10))), ReduceLROnPlateau("loss"))
    for options in ({"factor": 1.0}, {"patience": -1}, {"min_lr": -1}, {"cooldown": 0.5}, {"mode": "least"}):
        with pytest.raises(UsageError, match=next(iter(options))):
            ReduceLROnPlateau(**options)
    with pytest.raises(UsageError, match="monitors 'val_loss', which is not there"):
        fit(model(), ReduceLROnPlateau())


# CSVLogger


def table(path, separator=","):
    with open(path, newline="") as file:
        return [*csv.reader(file, delimiter=separator)]


def test_a_row_for_each_epoch_with_every_digit(tmp_path):
    history = fit(model(), CSVLogger(tmp_path / "log.csv"), validation_split=0.2).history
    head, *rows = table(tmp_path / "log.csv")
    assert head == ["epoch", "loss", "val_loss"]
    assert [[int(row[0]), float(row[1]), float(row[2])] for row in rows] == [
        [epoch, history["loss"][epoch], history["val_loss"][epoch]] for epoch in range(4)
    ]


def test_an_epoch_without_a_validation_has_na_and_a_table_may_be_gone_on_with(tmp_path):
    path = tmp_path / "log.tsv"
    fit(model(), CSVLogger(path, separator="\t"), validation_split=0.2, validation_freq=2)
    assert [row[2] == "NA" for row in table(path, "\t")[1:]] == [True, False, True, False]
    fit(model(), CSVLogger(path, "\t", append=True), epochs=1)
    assert [row[0] for row in table(path, "\t")] == ["epoch", "0", "1", "2", "3", "0"]
    fit(model(), CSVLogger(path), epochs=1)
    assert len(table(path)) == 2


def test_a_table_that_cannot_be_written_or_read(tmp_path):
    with pytest.raises(UsageError, match="one character"):
        CSVLogger("log", "--")
    with pytest.raises(DataError):
        fit(model(), CSVLogger(tmp_path))
    (tmp_path / "log").write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match="cannot go on with"):
        fit(model(), CSVLogger(tmp_path / "log", append=True))


# LambdaCallback


def test_functions_are_called_as_the_hooks_they_are_named_for():
    told = []
    note = LambdaCallback(
        on_epoch_end=lambda epoch, logs: told.append((epoch, sorted(logs))),
        on_train_batch_begin=lambda batch, logs: told.append(batch),
        on_train_end=lambda logs: told.append("end"),
        on_test_begin=lambda logs: told.append("test"),
    )
    fit(model(), note, epochs=1, batch_size=10, validation_split=0.5)
    assert told == [0, "test", (0, ["loss", "val_loss"]), "end"]
    with pytest.raises(TypeError, match="no such hook: did you mean 'on_epoch_end'"):
        LambdaCallback(on_epoch_ends=print)
    with pytest.raises(UsageError, match="takes other arguments"):
        fit(model(), LambdaCallback(on_epoch_end=lambda a, b, c: None))


def test_a_remote_monitor_is_refused_by_name():
    with pytest.raises(ChalkgradError, match="LambdaCallback"):
        cg.callbacks.RemoteMonitor  # noqa: B018
    with pytest.raises(AttributeError, match="did you mean 'EarlyStopping'"):
        cg.nn.callbacks.EarlyStoping  # noqa: B018


# BackupAndRestore


@pytest.mark.parametrize(("epoch", "batch", "save_freq"), [(2, 1, "epoch"), (0, 1, 1), (2, 3, 2), (1, 0, "epoch")])
def test_a_program_run_again_ends_with_the_bits_of_an_uninterrupted_one(epoch, batch, save_freq, tmp_path, same):
    def program(*more):
        made = model()
        backup = BackupAndRestore(tmp_path / "backup", save_freq)
        stopper, log = EarlyStopping("loss", patience=9), CSVLogger(tmp_path / "log.csv")
        fit(made, ReduceLROnPlateau("loss", patience=1, min_delta=9), stopper, log, backup, *more)
        return made

    whole = program()
    rows = table(tmp_path / "log.csv")
    with pytest.raises(KeyboardInterrupt):
        program(Fails(epoch, batch))
    assert os.listdir(tmp_path / "backup") == ["backup.safetensors"]
    again = program()
    same(again.get_weights(), whole.get_weights())
    same([*again.optimizer.state.values()], [*whole.optimizer.state.values()])
    assert again.history.history == whole.history.history
    assert again.optimizer.learning_rate == whole.optimizer.learning_rate
    assert table(tmp_path / "log.csv") == rows
    assert os.listdir(tmp_path / "backup") == []


def test_a_backup_of_another_model_is_refused_and_one_of_ones_own_parts_is_read(tmp_path):
    def loss(y_true, y_pred):
        return cg.mean((y_true - y_pred) ** 2)

    backup = BackupAndRestore(tmp_path, delete_checkpoint=False)
    with pytest.warns(UserWarning, match="custom_objects"):
        fit(model(loss=loss), backup, epochs=2)
    with pytest.warns(UserWarning, match="custom_objects"):
        assert fit(model(loss=loss), backup).epoch == [0, 1, 2, 3]
    for compiled in ({"optimizer": "sgd"}, {"loss": "mae"}):
        with pytest.raises(DataError, match="is of another model"):
            fit(model(**{"loss": loss, **compiled}), backup)
    (tmp_path / "backup.safetensors").write_bytes(b"nothing")
    with pytest.raises(DataError):
        fit(model(), backup)


# ModelCheckpoint


def test_a_model_is_saved_every_so_many_batches(tmp_path, capsys, same):
    whole = model()
    fit(whole, ModelCheckpoint(tmp_path / "{epoch}-{batch}", save_freq=3, verbose=1), epochs=2)
    assert sorted(os.listdir(tmp_path)) == ["1-3", "2-2"]
    assert "epoch 1, batch 3: the model is saved as" in capsys.readouterr().out
    again = Sequential.load(tmp_path / "2-2")
    fit(again, epochs=2, initial_epoch=1)
    same(again.get_weights(), whole.get_weights())
    with pytest.raises(UsageError, match="save_best_only"):
        ModelCheckpoint("m", save_freq=3, save_best_only=True)


@pytest.mark.parametrize("name", ["m.weights.h5", "m"])
def test_weights_alone_are_saved(tmp_path, name, same):
    made = model()
    fit(made, ModelCheckpoint(tmp_path / name, save_weights_only=True))
    again = model()
    again.load_weights(tmp_path / name)
    same(again.get_weights(), made.get_weights())
    with pytest.raises(UsageError, match="h5"):
        ModelCheckpoint(tmp_path / "m.weights.h5")


def test_a_threshold_is_to_be_beaten(tmp_path):
    keeper = ModelCheckpoint(tmp_path / "m", "loss", save_best_only=True, initial_value_threshold=0.0)
    fit(model(), keeper)
    assert os.listdir(tmp_path) == []


def test_callbacks_tell_what_they_do(capsys):
    fit(
        model(),
        EarlyStopping("loss", min_delta=9, patience=2, verbose=1),
        LearningRateScheduler(lambda epoch: 0.5, verbose=1),
        ReduceLROnPlateau("loss", patience=1, min_delta=9, verbose=1),
    )
    told = capsys.readouterr().out
    assert "epoch 1: the learning rate is 0.5\n" in told
    assert "epoch 2: the learning rate is 0.05 from here on" in told
    assert "epoch 3: loss was best in epoch" in told


# TensorBoard


def test_what_tensorboard_is_told(monkeypatch, tmp_path):
    told = []

    class Writer:
        def __init__(self, path):
            self.part = os.path.relpath(path, tmp_path)

        def add_scalar(self, name, value, step):
            told.append((self.part, name, step))

        def add_histogram(self, name, values, step):
            told.append((self.part, name, step, values.shape))

        def flush(self):
            pass

        close = flush

    monkeypatch.setattr(loggers, "_summary_writer", lambda: Writer)
    board = TensorBoard(tmp_path, histogram_freq=2, update_freq=3)
    fit(model(), board, epochs=2, validation_split=0.5, batch_size=5)
    assert told == [
        ("train", "epoch_learning_rate", 0), ("train", "epoch_loss", 0), ("validation", "epoch_loss", 0),
        ("train", "dense/kernel", 0, (4, 3)), ("train", "dense/bias", 0, (3,)),
        ("train", "dense_1/kernel", 0, (3, 1)), ("train", "dense_1/bias", 0, (1,)),
        ("train", "batch_loss", 3),
        ("train", "epoch_learning_rate", 1), ("train", "epoch_loss", 1), ("validation", "epoch_loss", 1),
    ]  # fmt: skip


def test_tensorboard_needs_a_writer(tmp_path, monkeypatch):
    monkeypatch.setattr(loggers, "WRITERS", ("no_such_writer",))
    with pytest.raises(MissingExtraError, match="tensorboard"):
        fit(model(), TensorBoard(tmp_path))
    with pytest.raises(UsageError, match="profiles"):
        TensorBoard(profile_batch=2)


@pytest.mark.deep
def test_tensorboards_files_are_written(tmp_path):
    pytest.importorskip("tensorboardX", reason="tensorboardX, which writes the files, is not installed")
    fit(model(), TensorBoard(tmp_path), epochs=1)
    assert any(name.startswith("events") for name in os.listdir(tmp_path / "train"))
