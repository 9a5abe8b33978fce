"""How training shows itself: a live bar on a terminal, one line an epoch elsewhere."""

from __future__ import annotations

import time
from typing import Any

from ..engine.cuda.launch import compiling
from ..engine.streams import console, say
from ..errors import UsageError
from .hooks import Callback, Logs


def figure(value: Any) -> str:
    """A number of an epoch; those of a metric with one for each class, one after another."""
    return "[" + " ".join(map(figure, value)) + "]" if isinstance(value, list) else f"{value:.4f}"


def format_logs(logs: Logs) -> str:
    """The numbers of an epoch on one line; running means are called so."""
    exact = {name: value for name, value in logs.items() if name.startswith(("val_", "train_"))}
    running = {name: value for name, value in logs.items() if name not in exact}
    groups = [" ".join(f"{name} {figure(value)}" for name, value in group.items()) for group in (running, exact)]
    return "running means: " + " · ".join(filter(None, groups))


class LineProgress(Callback):
    """One line an epoch; before the first, what has to be compiled for a GPU."""

    def on_train_begin(self, logs: Logs | None = None) -> None:
        if told := compiling(self.model.device):
            say(told, flush=True)

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        self.started = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        seconds = time.perf_counter() - self.started
        say(f"epoch {epoch + 1}/{self.params['epochs']} · {seconds:.2f} s · {format_logs(logs)}", flush=True)


class BarProgress(LineProgress):
    """A live bar for the epoch under way, above it a line for each epoch done. Needs a terminal."""

    each_batch = False

    def on_train_begin(self, logs: Logs | None = None) -> None:
        super().on_train_begin(logs)
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self.progress = Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
            TextColumn("{task.fields[numbers]}", markup=False), transient=True, console=console(),
        )  # fmt: skip
        self.progress.start()
        self.task: Any = None

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        super().on_epoch_begin(epoch)
        if self.task is not None:
            self.progress.remove_task(self.task)
        name = f"epoch {epoch + 1}/{self.params['epochs']}"
        self.task = self.progress.add_task(name, total=self.params["steps"], numbers="")
        self.drawn = self.started

    def on_train_batch_end(self, batch: int, logs: Logs) -> None:
        now = time.perf_counter()
        if now - self.drawn > 0.1:  # reading the numbers waits for the device, so not after each batch
            self.drawn = now
            self.progress.update(self.task, completed=batch + 1, numbers=f"loss {logs['loss']:.4f}")

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        seconds = time.perf_counter() - self.started
        self.progress.print(f"epoch {epoch + 1}/{self.params['epochs']} · {seconds:.2f} s · {format_logs(logs)}")

    def on_train_end(self, logs: Logs | None = None) -> None:
        self.progress.stop()


def progress_for(verbose: int | str) -> Callback | None:
    """The callback for `verbose`: 0 nothing, 1 or "auto" a bar (lines where there is no terminal), 2 lines."""
    if verbose not in (0, 1, 2, "auto"):
        raise UsageError(f"verbose={verbose!r}: it is 0 (silent), 1 or 'auto' (a bar on a terminal), or 2 (lines).")
    if not verbose:
        return None
    if verbose in (1, "auto"):
        return BarProgress() if console().is_terminal else LineProgress()
    return LineProgress()
