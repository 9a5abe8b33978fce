"""Callbacks that keep the model in files: its epochs, the best of them, and where a training stands."""

from __future__ import annotations

import math
import os
import sys
import time
from typing import TYPE_CHECKING, Any

from ..checks import number, whole
from ..engine.streams import say
from ..errors import ChalkgradError, DivergenceError, UsageError
from .checkpoint import restore
from .container import EXTENSION, check_extension
from .hooks import Callback, Logs
from .loading import history_in
from .monitoring import Monitoring, losses_finite

if TYPE_CHECKING:
    from .trained import Trained


class ModelCheckpoint(Monitoring):
    """Save the model after each epoch, or only when `monitor` is better than ever (save_best_only).

    filepath: where; `{epoch}` (from 1) and names of the logs are filled in, as in "runs/{epoch:03d}-{val_loss:.3f}".
    mode: "min", "max", or "auto" by the name. "Than ever" counts the history of a training that goes on
    (initial_epoch), or where there is none the model that is in the file already, or initial_value_threshold. A model
    that is not finite is not saved, and a line says so. verbose: 1 tells of each file. save_weights_only: the weights
    without the state of the training. save_freq: "epoch", or every how many batches; then `{batch}` is known, too.
    seconds: save within an epoch too, into the same file, when so many have gone since the last time. `fit` of a model
    that was saved within an epoch goes on in the midst of it.
    """

    writes = True
    each_batch = False

    def __init__(
        self,
        filepath: str | os.PathLike[str],
        monitor: str = "val_loss",
        verbose: int = 0,
        save_best_only: bool = False,
        save_weights_only: bool = False,
        mode: str = "auto",
        save_freq: int | str = "epoch",
        initial_value_threshold: float | None = None,
        *,
        seconds: float | None = None,
    ) -> None:
        super().__init__(monitor, mode)
        if not (save_weights_only and str(filepath).endswith(".weights.h5")):  # as Keras wants it
            check_extension(filepath)
        self.filepath, self.save_best_only, self.verbose = os.fspath(filepath), save_best_only, verbose
        self.save_weights_only, self.initial_value_threshold = save_weights_only, initial_value_threshold
        self._begins = False
        self.seconds = None if seconds is None else number("ModelCheckpoint", "seconds", seconds, "[0, ∞)")
        self.save_freq = save_freq if save_freq == "epoch" else whole("ModelCheckpoint", "save_freq", save_freq)
        within = "seconds" if seconds is not None else "save_freq" if save_freq != "epoch" else ""
        if within and save_best_only:
            raise UsageError(
                f"ModelCheckpoint({within}=…) saves where the training stands, save_best_only where it was best."
            )
        if within:
            self._last, self._since = "" if "{" in self.filepath else self.filepath, time.monotonic()
            often = self._now_and_then if within == "seconds" else self._every
            self.on_train_batch_begin = often  # type: ignore[method-assign]  # none: no time is lost

    def _every(self, batch: int, logs: Logs | None = None) -> None:
        """At the begin of a batch, since all callbacks have heard of the end of the one before."""
        if self._batches and self._batches % int(self.save_freq) == 0:
            self._save(self._path({"batch": batch}), f"epoch {self._epoch + 1}, batch {batch}")
        self._batches += 1

    def _now_and_then(self, batch: int, logs: Logs | None = None) -> None:
        """At the begin of a batch, since all callbacks have heard of the end of the one before."""
        assert self.seconds is not None
        if self._last and time.monotonic() - self._since >= self.seconds:
            self._save(self._last, "within the epoch")

    def _save(self, path: str, when: str) -> bool:
        try:
            save = self.model.save_weights if self.save_weights_only else self.model.save
            save(path)
        except DivergenceError as error:
            say(f"{when}: {error}")
            return False
        finally:
            self._last, self._since = path, time.monotonic()
        if self.verbose:
            say(f"{when}: the model is saved as {path}")
        return True

    def get_state(self) -> dict[str, Any]:
        return super().get_state() if self.save_best_only else {}

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self._batches = 0
        if not self.save_best_only:
            return
        super().on_train_begin()
        self.best = self.initial_value_threshold
        self._begins = True
        for _, value in self._before():
            if self._better(value, self.best):
                self.best = value

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        self._epoch = epoch
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

    def _path(self, known: Logs) -> str:
        known = {"epoch": self._epoch + 1, **known}
        try:
            return self.filepath.format(**known)
        except (KeyError, IndexError, ValueError, AttributeError, TypeError) as error:
            raise UsageError(f"filepath={self.filepath!r} cannot be filled in: {error!r}; known: {[*known]}.") from None

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        if self.save_freq != "epoch":
            return
        if self.save_best_only:
            if self._waits(logs):
                return
            value = self._value(logs)
            if not self._better(value, self.best) or not losses_finite(logs):
                return
        self._epoch = epoch
        path = self._path(logs)
        before, saved = self.best, False
        if self.save_best_only:
            self.best = value  # the file holds it, too
        try:
            saved = self._save(path, f"epoch {epoch + 1}")
        finally:
            if not saved:
                self.best = before


class BackupAndRestore(Callback):
    """Keep where the training stands in backup_dir, so that the same program, run again after it was killed, goes on.

    The file holds the whole state, see `model.save`: what comes of the training has the bits of one that was not
    interrupted. save_freq: "epoch", or every how many batches besides. delete_checkpoint: remove it once the training
    has come to its end. double_checkpoint is taken, and nothing to ask for: a file is replaced whole or not at all.
    Raises DataError at the begin of `fit` where the file is of another model.
    """

    writes = True

    def __init__(
        self,
        backup_dir: str | os.PathLike[str],
        save_freq: int | str = "epoch",
        double_checkpoint: bool = False,
        delete_checkpoint: bool = True,
    ) -> None:
        if not os.fspath(backup_dir):
            raise UsageError("BackupAndRestore(backup_dir='') names no folder.")
        self.backup_dir, self.double_checkpoint = os.fspath(backup_dir), double_checkpoint
        self.save_freq = save_freq if save_freq == "epoch" else whole("BackupAndRestore", "save_freq", save_freq)
        self.delete_checkpoint = delete_checkpoint
        if save_freq != "epoch":
            self.on_train_batch_begin = self._every  # type: ignore[method-assign]  # none: no time is lost

    @property
    def path(self) -> str:
        """The file."""
        return os.path.join(self.backup_dir, f"backup{EXTENSION}")

    def restored(self, model: Trained) -> int | None:
        """Make a built model what the file says; returns the epoch to go on with, None where there is no file."""
        if not os.path.exists(self.path):
            return None
        restore(model, self.path)
        return model.history.epoch[-1] + 1 if model.history.epoch else 0

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self._around, self._batches = sys.exc_info()[1], 0

    def _every(self, batch: int, logs: Logs | None = None) -> None:
        """At the begin of a batch, since all callbacks have heard of the end of the one before."""
        if self._batches and self._batches % int(self.save_freq) == 0:
            self._save(f"batch {batch}")
        self._batches += 1

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        self._save(f"epoch {epoch + 1}")

    def _save(self, when: str) -> None:
        os.makedirs(self.backup_dir, exist_ok=True)
        try:
            self.model.save(self.path)
        except DivergenceError as error:
            say(f"{when}: {error}")

    def on_train_end(self, logs: Logs | None = None) -> None:
        interrupted = sys.exc_info()[1] is not self._around
        if self.delete_checkpoint and not interrupted and os.path.exists(self.path):
            os.remove(self.path)
