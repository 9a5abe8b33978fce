"""Callbacks that write of a training: a table of its epochs, and what TensorBoard shows."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Mapping
from importlib import import_module
from typing import Any

from ..checks import whole
from ..engine.files import write_file
from ..errors import DataError, UsageError
from ..hints import missing_extra
from .hooks import Callback, Logs
from .schema import check

WRITERS = "tensorboardX", "torch.utils.tensorboard"
"""Who writes TensorBoard's files, whichever is installed; both have a SummaryWriter of the same methods."""


class CSVLogger(Callback):
    """Write the epochs and their logs into a table, a row an epoch; the file is whole at any moment.

    append: go on with the rows of a file that is there. A number that an epoch has not (no validation was due) is NA.
    A training that goes on has its rows before it.
    """

    writes = True

    def __init__(self, filename: str | os.PathLike[str], separator: str = ",", append: bool = False) -> None:
        if not isinstance(separator, str) or len(separator) != 1:
            raise UsageError(f"CSVLogger(separator={separator!r}): it is one character.")
        self.filename, self.separator, self.append = os.fspath(filename), separator, append
        self._rows: list[list[str]] = []

    def get_state(self) -> dict[str, Any]:
        return {"filename": self.filename, "rows": self._rows}

    def set_state(self, state: Mapping[str, Any]) -> None:
        if state.get("filename") == self.filename:
            check(state.get("rows", "missing"), list[list[str]], "rows in the state of CSVLogger")
            self._rows = state["rows"]

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self._rows = []
        if self.append and os.path.exists(self.filename):
            try:
                with open(self.filename, newline="", encoding="utf-8") as file:
                    self._rows = [*csv.reader(file, delimiter=self.separator)]
            except (OSError, UnicodeDecodeError, csv.Error) as error:
                raise DataError(f"CSVLogger cannot go on with {self.filename}: {error}.") from error

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        if not self._rows:
            names = sorted(logs)
            if getattr(self, "params", {}).get("validation_freq", 1) != 1:  # that of a later epoch
                names += [f"val_{name}" for name in self.model.metric_names if f"val_{name}" not in names]
            self._rows = [["epoch", *names]]
        names = self._rows[0][1:]
        self._rows.append([str(epoch), *[str(logs.get(name, "NA")) for name in names]])
        text = io.StringIO(newline="")
        csv.writer(text, delimiter=self.separator, lineterminator="\n").writerows(self._rows)
        write_file(self.filename, text.getvalue())


class TensorBoard(Callback):
    """Write what TensorBoard shows into log_dir: the logs of epochs, named as Keras's, "train" and "validation" apart.

    histogram_freq: every how many epochs the weights' histograms; 0 is never. update_freq: "epoch", or every how many
    batches the running means besides ("batch" is 1). The other arguments of Keras are taken where they ask for nothing.
    Raises MissingExtraError where neither tensorboardX nor PyTorch's writer is installed.
    """

    writes = True

    def __init__(
        self,
        log_dir: str | os.PathLike[str] = "logs",
        histogram_freq: int = 0,
        write_graph: bool = True,
        write_images: bool = False,
        write_steps_per_second: bool = False,
        update_freq: int | str = "epoch",
        profile_batch: int = 0,
    ) -> None:
        self.log_dir, self.histogram_freq = (
            os.fspath(log_dir),
            whole("TensorBoard", "histogram_freq", histogram_freq, 0),
        )
        if profile_batch or write_images or write_steps_per_second:
            raise UsageError("TensorBoard writes scalars and histograms: neither profiles, images nor steps a second.")
        self.update_freq = update_freq
        if update_freq != "epoch":
            self._every = 1 if update_freq == "batch" else whole("TensorBoard", "update_freq", update_freq)
            self.on_train_batch_end = self._batch  # type: ignore[method-assign]  # none: no time is lost
        self._step = 0
        self._writers: dict[str, Any] = {}

    def get_state(self) -> dict[str, Any]:
        return {"step": self._step}

    def set_state(self, state: Mapping[str, Any]) -> None:
        check(state.get("step", "missing"), int, "step in the state of TensorBoard")
        self._step = state["step"]

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_writers": {}}

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self._kind = _summary_writer()
        self._step = 0

    def _to(self, part: str) -> Any:
        if part not in self._writers:
            self._writers[part] = self._kind(os.path.join(self.log_dir, part))
        return self._writers[part]

    def _scalar(self, part: str, name: str, value: Any, step: int) -> None:
        if not isinstance(value, list):
            self._to(part).add_scalar(name, value, step)
            return
        for number, each in enumerate(value):  # of a metric with one for each class
            self._to(part).add_scalar(f"{name}_{number}", each, step)

    def _batch(self, batch: int, logs: Logs) -> None:
        self._step += 1
        if self._step % self._every == 0:
            for name, value in {**logs}.items():
                self._scalar("train", f"batch_{name}", value, self._step)

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        optimizer = self.model.optimizer
        assert optimizer is not None
        for name, value in {"learning_rate": optimizer.learning_rate, **logs}.items():
            part = "validation" if name.startswith("val_") else "train"
            self._scalar(part, f"epoch_{name.removeprefix('val_')}", value, epoch)
        if self.histogram_freq and epoch % self.histogram_freq == 0:
            for layer in self.model.layers:
                for key, weight in layer.variables.items():
                    self._to("train").add_histogram(f"{layer.name}/{key}", weight.numpy(), epoch)
        for writer in self._writers.values():
            writer.flush()

    def on_train_end(self, logs: Logs | None = None) -> None:
        while self._writers:
            self._writers.popitem()[1].close()


def _summary_writer() -> Any:
    for name in WRITERS:
        try:
            return import_module(name).SummaryWriter
        except ImportError:
            continue
    raise missing_extra("TensorBoard", WRITERS[0], "tensorboard")
