"""Callbacks: what happens beside the training, at its beginning, after batches, after epochs and at its end."""

from __future__ import annotations

import copy
import math
import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from ..engine.errors import UsageError

if TYPE_CHECKING:
    from .sequential import Sequential

Logs = Mapping[str, float]


class Callback:
    """Base class; override what is needed.

    model: the model in training; setting `model.stop_training = True` ends it after the batch or epoch under way.
    params: {"epochs", "steps", "samples", "verbose"} of the run. Reading a number of a batch's `logs` waits for
    the device; those of an epoch are there already. each_batch: a GPU runs many batches before the host hears of
    the last of them, unless a callback wants to be told of each.
    """

    each_batch = True
    model: Sequential
    params: Mapping[str, Any]

    def __getstate__(self) -> dict[str, Any]:
        """A copy is of the callback alone: each training hands it its model."""
        return {name: value for name, value in vars(self).items() if name not in ("model", "params")}

    def __copy__(self) -> Any:
        return copy.deepcopy(self)

    def on_train_begin(self) -> None:
        """Called once, before the first epoch."""

    def on_epoch_begin(self, epoch: int) -> None:
        """Called before each epoch; epochs count from 0."""

    def on_train_batch_end(self, batch: int, logs: Logs) -> None:
        """Called after each update; logs: the running means of this epoch so far."""

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """Called after each epoch and its validation; logs: loss, metrics, val_loss, …"""

    def on_train_end(self) -> None:
        """Called once at the end, also where training was interrupted."""


class History(Callback):
    """What `fit` returns: `history` maps each name to its values, one an epoch; `epoch` lists the epochs.

    `loss` and the metrics without prefix are running means: taken over the epoch while the weights changed.
    `val_…` are those of the weights at the epoch's end, as `evaluate` gives them.
    """

    def __init__(self) -> None:
        self.epoch: list[int] = []
        self.history: dict[str, list[float]] = {}

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        for name in logs:  # where it begins later, the epochs stay aligned
            self.history.setdefault(name, [math.nan] * len(self.epoch))
        self.epoch.append(epoch)
        for name, values in self.history.items():
            values.append(logs.get(name, math.nan))

    def before(self, epoch: int) -> History:
        """The part of it before `epoch`: what a training that goes on from there has behind it."""
        kept = History()
        kept.epoch = [e for e in self.epoch if e < epoch]
        kept.history = {name: values[: len(kept.epoch)] for name, values in self.history.items()}
        return kept

    def _repr_html_(self) -> str:
        """What a notebook shows: curves, and a table of the first, every n-th and the last epoch."""
        from .representation import history_html

        return history_html(self)

    def _repr_markdown_(self) -> str:
        """The table alone."""
        from .representation import history_markdown

        return history_markdown(self)


def _improves(mode: str, monitor: str) -> Callable[[float, float], bool]:
    if mode not in ("auto", "min", "max"):
        raise UsageError(f"mode={mode!r}: it is 'auto', 'min' or 'max'.")
    greater = mode == "max" or (mode == "auto" and ("acc" in monitor or "auc" in monitor))
    return (lambda value, best: value > best) if greater else (lambda value, best: value < best)


def _monitored(logs: Logs, monitor: str, who: str) -> float:
    if monitor not in logs:
        raise UsageError(f"{who} monitors {monitor!r}, which is not there: {', '.join(logs)} are.")
    return logs[monitor]


class EarlyStopping(Callback):
    """End the training when `monitor` has converged: no better by min_delta for `patience` epochs (D18).

    mode: "min", "max", or "auto" by the name. baseline: a value to beat. restore_best_weights: go back to the
    best epoch's weights at the end. start_from_epoch: epochs to wait first. `stopped_epoch` and `best` say how it went.
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        min_delta: float = 0.0,
        patience: int = 0,
        mode: str = "auto",
        baseline: float | None = None,
        restore_best_weights: bool = False,
        start_from_epoch: int = 0,
    ) -> None:
        self.monitor, self.min_delta, self.patience = monitor, abs(min_delta), patience
        self.baseline, self.restore_best_weights = baseline, restore_best_weights
        self.start_from_epoch = start_from_epoch
        self._improves = _improves(mode, monitor)
        self._sign = 1.0 if self._improves(1.0, 0.0) else -1.0

    def on_train_begin(self) -> None:
        self.best = -self._sign * math.inf if self.baseline is None else self.baseline
        self.best_epoch, self.stopped_epoch, self._waited = -1, -1, 0
        self._weights: list[Any] | None = None

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        value = _monitored(logs, self.monitor, "EarlyStopping")
        if epoch < self.start_from_epoch:
            return
        if self._improves(value - self._sign * self.min_delta, self.best):
            self.best, self.best_epoch, self._waited = value, epoch, 0
            if self.restore_best_weights:
                self._weights = self.model.get_weights()
            return
        self._waited += 1
        if self._waited >= max(self.patience, 1):
            self.stopped_epoch = epoch
            self.model.stop_training = True

    def on_train_end(self) -> None:
        if self._weights is not None:
            self.model.set_weights(self._weights)


class ModelCheckpoint(Callback):
    """Save the model after each epoch, or only when `monitor` is better than ever (save_best_only).

    filepath: where; `{epoch}` (from 1) and names of the logs are filled in, as in "runs/{epoch:03d}-{val_loss:.3f}".
    """

    def __init__(
        self,
        filepath: str | os.PathLike[str],
        monitor: str = "val_loss",
        save_best_only: bool = False,
        mode: str = "auto",
    ) -> None:
        self.filepath, self.monitor, self.save_best_only = os.fspath(filepath), monitor, save_best_only
        self._improves = _improves(mode, monitor)
        self.best: float | None = None

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        if self.save_best_only:
            value = _monitored(logs, self.monitor, "ModelCheckpoint")
            if math.isnan(value) or (self.best is not None and not self._improves(value, self.best)):
                return
            self.best = value
        try:
            path = self.filepath.format(epoch=epoch + 1, **logs)
        except (KeyError, IndexError, ValueError, AttributeError, TypeError) as error:
            raise UsageError(
                f"filepath={self.filepath!r} cannot be filled in: {error!r}; known: {list(logs)}."
            ) from None
        self.model.save(path)


class LearningRateScheduler(Callback):
    """Set the learning rate before each epoch: schedule(epoch, learning_rate) -> learning_rate."""

    def __init__(self, schedule: Callable[[int, float], float]) -> None:
        self.schedule = schedule

    def on_epoch_begin(self, epoch: int) -> None:
        optimizer = self.model.optimizer
        assert optimizer is not None
        optimizer.learning_rate = float(self.schedule(epoch, optimizer.learning_rate))


class TerminateOnNaN(Callback):
    """End the training at once when the loss is no longer finite. Waits for the device after each batch."""

    def on_train_batch_end(self, batch: int, logs: Logs) -> None:
        if not math.isfinite(logs["loss"]):
            print(f"Batch {batch}: the loss is {logs['loss']}, training ends here.")
            self.model.stop_training = True
