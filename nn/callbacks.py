"""Callbacks: what ends a training, keeps its best model, and sets its learning rate."""

from __future__ import annotations

import itertools
import math
import os
import time
from collections.abc import Callable, Mapping
from typing import Any

from ..checks import number
from ..engine.streams import say
from ..errors import ChalkgradError, DivergenceError, UsageError
from .container import check_extension
from .hooks import Callback, History, Logs, takes
from .loading import history_in
from .metrics import mode_of, without_prefix
from .schema import check

__all__ = [
    "Callback",
    "EarlyStopping",
    "History",
    "LearningRateScheduler",
    "Logs",
    "ModelCheckpoint",
    "Monitoring",
    "TerminateOnNaN",
]


class Monitoring(Callback):
    """What the callbacks that follow one number of an epoch's logs have in common: which values are better.

    mode: "min", "max", or "auto": as the loss, or the metric of that name, says of itself. Raises UsageError for
    "auto" where that is not known, and for a number that is not in the logs.
    """

    def __init__(self, monitor: str, mode: str) -> None:
        if mode not in ("auto", "min", "max"):
            raise UsageError(f"mode={mode!r}: it is 'auto', 'min' or 'max'.")
        self.monitor, self.mode = monitor, mode
        self.best: float | None = None

    def get_state(self) -> dict[str, Any]:
        return {"monitor": self.monitor, "best": self.best}

    def set_state(self, state: Mapping[str, Any]) -> None:
        if self._fits(state, {"best": float | None}):
            self.best = state["best"]

    def _fits(self, state: Mapping[str, Any], kinds: Mapping[str, Any]) -> bool:
        """Whether a state is one of following that number; raises UsageError where it holds something else."""
        if state.get("monitor") != self.monitor:
            return False
        for name, kind in kinds.items():
            check(state.get(name, "missing"), kind, f"{name} in the state of {type(self).__name__}")
        return True

    def on_train_begin(self, logs: Logs | None = None) -> None:
        if any(metric.name == without_prefix(self.monitor) for metric in getattr(self.model, "metrics", ())):
            self._sign()  # raises before anything is trained; other numbers are known at the first epoch's end

    def _sign(self) -> float:
        """1 where the number is to rise, -1 where it is to fall."""
        mode = self.mode
        if mode == "auto":
            mode = mode_of(self.monitor, getattr(self.model, "metrics", ())) or "unknown"
        if mode == "unknown":
            raise UsageError(
                f"{type(self).__name__} monitors {self.monitor!r}, of which it is not known whether more or less is "
                "better: give mode='max' or mode='min'."
            )
        return 1.0 if mode == "max" else -1.0

    def _value(self, logs: Logs) -> float:
        if self.monitor not in logs:
            raise UsageError(
                f"{type(self).__name__} monitors {self.monitor!r}, which is not there: {', '.join(logs)} are."
            )
        return logs[self.monitor]

    def _waits(self, logs: Logs) -> bool:
        """Whether the number is one of a validation that is not due after each epoch."""
        often = getattr(self, "params", {}).get("validation_freq", 1) == 1
        return self.monitor not in logs and self.monitor.startswith("val_") and not often

    def _better(self, value: float, best: float | None) -> bool:
        """Whether a value is better than the best; what is not finite never is."""
        return math.isfinite(value) and (best is None or self._sign() * (value - best) > 0)

    def _before(self) -> list[tuple[int, float]]:
        """The epochs before this training, where it goes on from one, with the values that they had."""
        if self.past is None:
            return []
        pairs = zip(self.past.epoch, self.past.history.get(self.monitor, ()), strict=False)
        return [(epoch, value) for epoch, value in pairs if math.isfinite(value)]


_COUNTED = {"best_epoch": int, "stopped_epoch": int, "_to_beat": float | None, "_waited": int}
"""What an EarlyStopping counts, by attribute."""


class EarlyStopping(Monitoring):
    """End the training when `monitor` has converged: no better by min_delta for `patience` epochs (D18).

    mode: "min", "max", or "auto" by the name. baseline: a value to beat. restore_best_weights: go back at the end,
    whatever the training ends by, to the weights of the best epoch seen, whether or not it beat the baseline or was
    better by min_delta. start_from_epoch: epochs to wait first. `stopped_epoch`, `best` and `best_epoch` say how it
    went. A training that goes on (initial_epoch) has the values of its history behind it. Of the weights of epochs
    before it a callback knows the best where it was there, or where the model or its file has its state.
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
        super().__init__(monitor, mode)
        self.min_delta, self.patience = abs(min_delta), patience
        self.baseline, self.restore_best_weights = baseline, restore_best_weights
        self.start_from_epoch = start_from_epoch
        self._kept: tuple[int, float, list[Any]] | None = None

    def get_state(self) -> dict[str, Any]:
        own = {name: getattr(self, name, None) for name in _COUNTED}
        return {**super().get_state(), **own, "kept": self._kept and [*self._kept]}

    def set_state(self, state: Mapping[str, Any]) -> None:
        super().set_state(state)
        if self._fits(state, {**_COUNTED, "kept": list[Any] | None}):
            vars(self).update({name: state[name] for name in _COUNTED})
            self._kept = state["kept"] and _of_three(state["kept"])

    def on_train_begin(self, logs: Logs | None = None) -> None:
        super().on_train_begin()
        self.best, self.best_epoch, self.stopped_epoch = None, -1, -1
        self._to_beat, self._waited = self.baseline, 0
        before = self._before()
        for epoch, value in before:
            self._count(epoch, value)
        if self._kept and self._kept[:2] not in before:
            self._kept = None
        if self.restore_best_weights and before and before[-1][0] == self.best_epoch and not self._kept:
            self._kept = *before[-1], self.model.get_weights()  # the model stands where it was best

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        if self._waits(logs):
            return
        value = self._value(logs)
        self._count(epoch, value)
        if epoch < self.start_from_epoch:
            return
        if self.restore_best_weights and self._better(value, self._kept and self._kept[1]) and losses_finite(logs):
            self._kept = epoch, value, self.model.get_weights()
        if self._waited >= max(self.patience, 1):
            self.stopped_epoch = epoch
            self.model.stop_training = True

    def _count(self, epoch: int, value: float) -> None:
        """The best so far, and how many epochs have passed since the last that was better by min_delta."""
        if epoch < self.start_from_epoch:
            return
        if self._better(value, self.best):
            self.best, self.best_epoch = value, epoch
        if self._better(value - self._sign() * self.min_delta, self._to_beat):
            self._to_beat, self._waited = value, 0
        else:
            self._waited += 1

    def on_train_end(self, logs: Logs | None = None) -> None:
        if self._kept is not None:
            self.model.set_weights(self._kept[2])


def _of_three(kept: list[Any]) -> tuple[int, float, list[Any]]:
    """The epoch, the value and the weights that an EarlyStopping keeps, of which a file tells."""
    for value, kind in itertools.zip_longest(kept, (int, float, list[Any])):
        check(value, kind, "what the state of EarlyStopping keeps")
    return kept[0], kept[1], kept[2]


class ModelCheckpoint(Monitoring):
    """Save the model after each epoch, or only when `monitor` is better than ever (save_best_only).

    filepath: where; `{epoch}` (from 1) and names of the logs are filled in, as in "runs/{epoch:03d}-{val_loss:.3f}".
    mode: "min", "max", or "auto" by the name. "Than ever" counts the history of a training that goes on
    (initial_epoch), or where there is none the model that is in the file already. A model that is not finite is not
    saved, and a line says so. seconds: save within an epoch too, into the same file, when so many have gone since the
    last time: `fit` of the model in it goes on in the midst of the epoch.
    """

    each_batch = False

    def __init__(
        self,
        filepath: str | os.PathLike[str],
        monitor: str = "val_loss",
        save_best_only: bool = False,
        mode: str = "auto",
        seconds: float | None = None,
    ) -> None:
        super().__init__(monitor, mode)
        check_extension(filepath)
        self.filepath, self.save_best_only = os.fspath(filepath), save_best_only
        self._begins = False
        self.seconds = None if seconds is None else number("ModelCheckpoint", "seconds", seconds, "[0, ∞)")
        if seconds is not None and save_best_only:
            raise UsageError("ModelCheckpoint(seconds=…) saves where the training stands, save_best_only where it was.")
        if seconds is not None:
            self._last, self._since = "" if "{" in self.filepath else self.filepath, time.monotonic()
            self.on_train_batch_begin = self._now_and_then  # type: ignore[method-assign]  # none: no time is lost

    def _now_and_then(self, batch: int, logs: Logs | None = None) -> None:
        """At the begin of a batch, since all callbacks have heard of the end of the one before."""
        assert self.seconds is not None
        if self._last and time.monotonic() - self._since >= self.seconds:
            self._save(self._last, "within the epoch")

    def _save(self, path: str, when: str) -> bool:
        try:
            self.model.save(path)
        except DivergenceError as error:
            say(f"{when}: {error}")
            return False
        finally:
            self._last, self._since = path, time.monotonic()
        return True

    def get_state(self) -> dict[str, Any]:
        return super().get_state() if self.save_best_only else {}

    def on_train_begin(self, logs: Logs | None = None) -> None:
        if not self.save_best_only:
            return
        super().on_train_begin()
        self._begins = True
        for _, value in self._before():
            if self._better(value, self.best):
                self.best = value

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        if self._begins and epoch and self.best is None:
            self.best = self._in_the_file()
        self._begins = False

    def _in_the_file(self) -> float | None:
        """The value of the model that was saved there, if there is one."""
        try:
            values = history_in(self.filepath).history.get(self.monitor, [])
        except ChalkgradError:
            return None
        return float(values[-1]) if values and math.isfinite(values[-1]) else None

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        if self.save_best_only:
            if self._waits(logs):
                return
            value = self._value(logs)
            if not self._better(value, self.best) or not losses_finite(logs):
                return
        try:
            path = self.filepath.format(epoch=epoch + 1, **logs)
        except (KeyError, IndexError, ValueError, AttributeError, TypeError) as error:
            raise UsageError(
                f"filepath={self.filepath!r} cannot be filled in: {error!r}; known: {list(logs)}."
            ) from None
        before, saved = self.best, False
        if self.save_best_only:
            self.best = value  # the file holds it, too
        try:
            saved = self._save(path, f"epoch {epoch + 1}")
        finally:
            if not saved:
                self.best = before


def losses_finite(logs: Logs) -> bool:
    """Whether the losses of an epoch are numbers; where not, its weights are nothing to keep."""
    return all(math.isfinite(logs.get(name, 0.0)) for name in ("loss", "train_loss", "val_loss"))


class LearningRateScheduler(Callback):
    """Set the learning rate before each epoch: schedule(epoch, learning_rate) or schedule(epoch) -> learning_rate.

    Raises UsageError for a schedule that takes neither, or that returns no number of 0 or more.
    """

    def __init__(self, schedule: Callable[..., float]) -> None:
        self.schedule = schedule
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


class TerminateOnNaN(Callback):
    """End the training at once when the loss is no longer finite, without the error that `fit` raises for it.

    Waits for the device after each batch.
    """

    def on_train_batch_end(self, batch: int, logs: Logs) -> None:
        if not math.isfinite(logs["loss"]):
            say(f"Batch {batch}: the loss is {logs['loss']}, training ends here.")
            self.model.stop_training = True
