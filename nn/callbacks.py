"""Callbacks: what ends a training, keeps its best model, sets its learning rate, and writes of it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NoReturn

from ..engine.streams import say
from ..errors import UnknownNameError, UsageError, nearest
from .hooks import Callback, History, Logs, takes
from .keeping import BackupAndRestore, ModelCheckpoint
from .loggers import CSVLogger, TensorBoard
from .monitoring import EarlyStopping, Monitoring, ReduceLROnPlateau

__all__ = [
    "BackupAndRestore",
    "CSVLogger",
    "Callback",
    "EarlyStopping",
    "History",
    "LambdaCallback",
    "LearningRateScheduler",
    "Logs",
    "ModelCheckpoint",
    "Monitoring",
    "ReduceLROnPlateau",
    "TensorBoard",
    "TerminateOnNaN",
]


def __getattr__(name: str) -> NoReturn:
    if name == "RemoteMonitor":
        raise UnknownNameError(
            "there is no RemoteMonitor here, since nothing is sent anywhere by itself: "
            "LambdaCallback(on_epoch_end=lambda epoch, logs: …) sends what you like."
        )
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}: {nearest(name, __all__)}")


class LearningRateScheduler(Callback):
    """Set the learning rate before each epoch: schedule(epoch, learning_rate) or schedule(epoch) -> learning_rate.

    verbose: 1 tells of it. The logs of each epoch get its learning_rate. Raises UsageError for a schedule that takes
    neither, or that returns no number of 0 or more.
    """

    tells_rate = True

    def __init__(self, schedule: Callable[..., float], verbose: int = 0) -> None:
        self.schedule, self.verbose = schedule, verbose
        self._takes_rate = takes(schedule, 2)
        if not (self._takes_rate or takes(schedule, 1)):
            raise UsageError(
                f"LearningRateScheduler({schedule!r}): a schedule is a function (epoch, learning_rate) or (epoch) that "
                "returns the learning rate."
            )

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        optimizer = self.model.optimizer
        assert optimizer is not None
        rate = self.schedule(epoch, optimizer.learning_rate) if self._takes_rate else self.schedule(epoch)
        try:
            optimizer.learning_rate = float(rate)
        except (TypeError, ValueError) as error:
            raise UsageError(f"the schedule of learning rates returned {rate!r} for epoch {epoch}: {error}") from None
        if self.verbose:
            say(f"epoch {epoch + 1}: the learning rate is {optimizer.learning_rate:g}")


class TerminateOnNaN(Callback):
    """End the training at once when the loss is no longer finite, without the error that `fit` raises for it.

    Waits for the device after each batch.
    """

    def on_train_batch_end(self, batch: int, logs: Logs) -> None:
        if not math.isfinite(logs["loss"]):
            say(f"Batch {batch}: the loss is {logs['loss']}, training ends here.")
            self.model.stop_training = True


class LambdaCallback(Callback):
    """A callback of functions, each under the name of its hook: `LambdaCallback(on_epoch_end=lambda epoch, logs: …)`.

    Raises UnknownNameError for what is no hook.
    """

    def __init__(
        self,
        on_epoch_begin: Callable[..., Any] | None = None,
        on_epoch_end: Callable[..., Any] | None = None,
        on_train_begin: Callable[..., Any] | None = None,
        on_train_end: Callable[..., Any] | None = None,
        on_train_batch_begin: Callable[..., Any] | None = None,
        on_train_batch_end: Callable[..., Any] | None = None,
        **others: Callable[..., Any],
    ) -> None:
        hooks = [name for name in dir(Callback) if name.startswith("on_")]
        given = {
            "on_epoch_begin": on_epoch_begin, "on_epoch_end": on_epoch_end, "on_train_begin": on_train_begin,
            "on_train_end": on_train_end, "on_train_batch_begin": on_train_batch_begin,
            "on_train_batch_end": on_train_batch_end, **others,
        }  # fmt: skip
        for name, function in given.items():
            if name not in hooks:
                raise UnknownNameError(f"LambdaCallback({name}=…): there is no such hook: {nearest(name, hooks)}")
            if function is not None:
                setattr(self, name, function)
