"""Callbacks that follow one number of the logs: what ends a training, and what lowers its learning rate."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import Any

from ..checks import number, whole
from ..engine.streams import say
from ..errors import UsageError
from ..optim import Constant
from .fitting import mode_of, without_prefix
from .hooks import Callback, Logs
from .schema import check


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
    went; verbose: 1 tells of it. A training that goes on (initial_epoch) has the values of its history behind it. Of
    the weights of epochs before it a callback knows the best where it was there, or where the model or its file has its
    state.
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        min_delta: float = 0.0,
        patience: int = 0,
        verbose: int = 0,
        mode: str = "auto",
        baseline: float | None = None,
        restore_best_weights: bool = False,
        start_from_epoch: int = 0,
    ) -> None:
        super().__init__(monitor, mode)
        who = "EarlyStopping"
        self.min_delta, self.verbose = abs(number(who, "min_delta", min_delta)), verbose
        self.patience = whole(who, "patience", patience, 0)
        self.baseline = None if baseline is None else number(who, "baseline", baseline)
        self.restore_best_weights = restore_best_weights
        self.start_from_epoch = whole(who, "start_from_epoch", start_from_epoch, 0)
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
            if self.verbose:
                say(f"epoch {epoch + 1}: {self.monitor} was best in epoch {self.best_epoch + 1}, the training ends")

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


class ReduceLROnPlateau(Monitoring):
    """Multiply the learning rate by `factor` when `monitor` was no better by min_delta for `patience` epochs.

    cooldown: epochs after that in which nothing is counted. min_lr: below it the rate does not go. verbose: 1 tells of
    it. The logs of each epoch get its learning_rate. Raises UsageError where a schedule gives the rate.
    """

    tells_rate = True

    def __init__(
        self,
        monitor: str = "val_loss",
        factor: float = 0.1,
        patience: int = 10,
        verbose: int = 0,
        mode: str = "auto",
        min_delta: float = 1e-4,
        cooldown: int = 0,
        min_lr: float = 0.0,
    ) -> None:
        super().__init__(monitor, mode)
        who = type(self).__name__
        self.factor, self.min_lr = number(who, "factor", factor, "[0, 1)"), number(who, "min_lr", min_lr, "[0, ∞)")
        self.patience, self.cooldown = whole(who, "patience", patience, 0), whole(who, "cooldown", cooldown, 0)
        self.min_delta, self.verbose = abs(min_delta), verbose
        self.wait = self.cooldown_counter = 0

    def get_state(self) -> dict[str, Any]:
        return {**super().get_state(), "wait": self.wait, "cooldown_counter": self.cooldown_counter}

    def set_state(self, state: Mapping[str, Any]) -> None:
        super().set_state(state)
        if self._fits(state, {"wait": int, "cooldown_counter": int}):
            self.wait, self.cooldown_counter = state["wait"], state["cooldown_counter"]

    def on_train_begin(self, logs: Logs | None = None) -> None:
        super().on_train_begin()
        self.best, self.wait, self.cooldown_counter = None, 0, 0
        optimizer = self.model.optimizer
        if not isinstance(getattr(optimizer, "schedule", None), Constant):
            raise UsageError(
                f"{type(self).__name__} sets a learning rate that a schedule gives: leave one of them out."
            )

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        optimizer = self.model.optimizer
        assert optimizer is not None
        rate = optimizer.learning_rate
        if self._waits(logs):
            return
        value = self._value(logs)
        if self.cooldown_counter:
            self.cooldown_counter -= 1
            self.wait = 0
        if self._better(value + (-self._sign() * self.min_delta if self.best is not None else 0), self.best):
            self.best, self.wait = value, 0
        elif not self.cooldown_counter:
            self.wait += 1
            if self.wait >= self.patience and rate > self.min_lr:
                optimizer.learning_rate = max(rate * self.factor, self.min_lr)
                self.cooldown_counter, self.wait = self.cooldown, 0
                if self.verbose:
                    say(f"epoch {epoch + 1}: the learning rate is {optimizer.learning_rate:g} from here on")


def losses_finite(logs: Logs) -> bool:
    """Whether the losses of an epoch are numbers; where not, its weights are nothing to keep."""
    return all(math.isfinite(logs.get(name, 0.0)) for name in ("loss", "train_loss", "val_loss"))
