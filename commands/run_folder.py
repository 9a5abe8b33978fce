"""The folder of a training run: one file is the run, the model's; all others are views of it."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import platform
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy

from .. import __version__
from ..engine.files import is_leftover, sweep, write_file
from ..engine.json_files import read_json
from ..errors import DataError
from ..nn import History
from ..nn.checkpoint import save
from ..nn.container import Container
from ..nn.loading import described
from ..nn.model import Model
from ..nn.models import load_model

if TYPE_CHECKING:
    from filelock import BaseFileLock

FORMAT = "chalkgrad run 1"
FACT = "run"
"""What the run's settings are called among the facts that the model file tells."""
MODEL, SETTINGS, CURVES, MISTAKES = "model.safetensors", "settings.json", "curves.png", "mistakes.png"
SAMPLE = "sample.txt"
WATCHED, FEED = "watch.html", "watch.js"
"""The page of a training, and what lies beside it while the training goes on."""
HISTORY = ("history.csv", "history.json")
VIEWS = (*HISTORY, SETTINGS, CURVES, MISTAKES, SAMPLE, WATCHED, FEED)
LOCK = ".lock"
TRAINING, COMPLETE, STOPPED, DIVERGED = "training", "complete", "stopped", "diverged"
"""The states of a run. A killed one stays "training"."""


class RunFolder:
    """A folder to write one run into, locked from the beginning to the end of the `with` block.

    Made, and tried, before the training: an hour's work must find its place. The model file is the run: weights,
    history and settings. It is replaced after each epoch. What was shown of another epoch is removed just before, and
    written again at the end, so no two files are of different epochs, whenever the process is killed.

    path: as the user gave it; None for a new folder in runs/. settings: what the run was asked to do, as plain values.
    overwrite: replace the run that is there, once the new one has its first model. resume: go on with it.
    Raises DataError where the folder cannot be written to, is in use, or holds something that is not to be replaced.
    """

    def __init__(
        self, path: Path | None, settings: Mapping[str, Any], *, overwrite: bool = False, resume: bool = False
    ) -> None:
        self._open(path, settings, overwrite, resume)

    def take_over(self, path: Path) -> None:
        """Write into this folder from now on: the run of another process, which has died, and wrote the same one."""
        self.close()
        self._open(path, self.settings, overwrite=False, resume=True)

    def _open(self, path: Path | None, settings: Mapping[str, Any], overwrite: bool, resume: bool) -> None:
        self.path, self.settings, self._told = path or _default(settings["dataset"]), settings, overwrite or resume
        if path is not None:  # else what is there has another name than the folder will have
            self._refuse()
        self._made: list[Path] = []
        try:
            self._make(new=path is None)
            self._lock = _locked(self.path)
        except OSError as error:
            self._remove_made()
            raise self._unwritable(error) from error
        there = os.listdir(self.path)
        self.saved, self._new = False, SETTINGS not in there and MODEL not in there
        self.replaces = overwrite and MODEL in there
        """Whether another run is in the folder, which stays until this one has a model: until `saved`."""
        try:
            self._refuse()  # again: another process may have written meanwhile
            sweep(self.path, (MODEL, *VIEWS))
            with tempfile.TemporaryFile(dir=self.path) as file:
                file.write(b"a full disk lets files be made, but not filled")
            if MODEL not in there:
                self._write_settings(TRAINING)
        except OSError as error:
            self.close()
            raise self._unwritable(error) from error
        except BaseException:
            self.close()
            raise

    def _make(self, new: bool) -> None:
        """Make the folder. new: under a name that nobody has, also where several processes look for one."""
        base, number = self.path, 1
        while True:
            self._made = [folder for folder in (self.path, *self.path.parents) if not os.path.exists(folder)]
            self.path.parent.mkdir(parents=True, exist_ok=True)
            try:
                self.path.mkdir(exist_ok=not new)
                return
            except FileExistsError:
                number += 1
                self.path = base.with_name(f"{base.name}-{number}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Let others use the folder; where nothing was saved into a new one, remove what was made for this run."""
        with contextlib.suppress(OSError):
            if self._new and not self.saved:
                (self.path / SETTINGS).unlink(missing_ok=True)
            (self.path / LOCK).unlink(missing_ok=True)  # while it is held: who has opened it sees that it is gone
        self._lock.release()
        self._remove_made()

    def save(self, model: Model) -> None:
        """Put the model in the place of that of the epoch before."""
        model.facts[FACT] = {"format": FORMAT, **self.settings}
        save(model, self.path / MODEL, before=None if self.saved else self._remove_views)
        if not self.saved:
            self.saved, self.replaces = True, False
            self._write_settings(TRAINING)

    def model(self, device: str) -> Any:
        """The model of the run that is to be gone on with, where it has one already."""
        if self.replaces or not (self.path / MODEL).exists():
            return None
        return load_model(self.path / MODEL, device=device)

    def state(self) -> str:
        """What settings.json says of the state of the run that is there."""
        try:
            return str(read_json(self.path / SETTINGS)["state"])
        except (DataError, KeyError, TypeError):
            return TRAINING

    def finish(self, history: History, state: str, test: Mapping[str, float]) -> None:
        """Write what shows the run: its history as CSV and JSON, and the settings with what came of them.

        state: COMPLETE, STOPPED or DIVERGED. test: loss and accuracy of the model that was saved last.
        """
        epochs = [epoch + 1 for epoch in history.epoch]  # from 1, as the progress counts them
        columns: dict[str, list[Any]] = {"epoch": epochs, **history.history}
        table = io.StringIO()
        rows = csv.writer(table, lineterminator="\n")
        rows.writerow(columns)
        rows.writerows(zip(*columns.values(), strict=True))
        for name, text in zip(HISTORY, (table.getvalue(), _json(columns)), strict=True):
            write_file(self.path / name, text)
        self._write_settings(state, epochs_done=len(epochs), test=dict(test))

    def write(self, name: str, data: bytes) -> None:
        """Write one file of the run, whole or not at all; raises DataError where that fails."""
        write_file(self.path / name, data)

    def _write_settings(self, state: str, **done: Any) -> None:
        versions = {"chalkgrad": __version__, "numpy": numpy.__version__, "python": platform.python_version()}
        contents = {"format": FORMAT, **self.settings, "versions": versions, "state": state, **done}
        write_file(self.path / SETTINGS, _json(contents))

    def _remove_views(self) -> None:
        for name in VIEWS:
            (self.path / name).unlink(missing_ok=True)

    def _refuse(self) -> None:
        """Raise DataError where the folder is none, or holds what is not to be replaced."""
        path = self.path
        if os.path.lexists(path) and not os.path.isdir(path):  # os.path: False, no error, where looking is forbidden
            raise DataError(f"{path} is no folder: give --out a new or an empty one.")
        try:
            names = os.listdir(path) if os.path.isdir(path) else []
        except OSError as error:
            raise self._unwritable(error) from error
        run = is_run(path)
        if MODEL in names and run and not self._told:
            raise DataError(
                f"the folder {path} holds a run already: go on with it by `chalkgrad train --resume {path}`, or "
                "replace it with --overwrite."
            )
        if not run and not all(name == LOCK or is_leftover(name, (MODEL, *VIEWS)) for name in names):
            raise DataError(
                f"the folder {path} is not empty and holds no run of chalkgrad, so nothing is written into it: "
                "give --out a new or an empty folder."
            )

    def _unwritable(self, error: OSError) -> DataError:
        return DataError(f"cannot write to {self.path}: {error.strerror}. Choose another folder with --out.")

    def _remove_made(self) -> None:
        """Remove the folders that were made for this run, if nothing is in them."""
        for folder in self._made:
            try:
                folder.rmdir()
            except OSError:  # not empty, or not made
                return


def _default(dataset: str) -> Path:
    """runs/<dataset>-<date>-<time>."""
    return Path("runs", f"{dataset}-{time.strftime('%Y%m%d-%H%M%S')}")


def _locked(path: Path) -> BaseFileLock:
    """The folder's lock, held. Raises DataError where another process holds it."""
    from filelock import FileLock, Timeout

    lock = FileLock(str(path / LOCK), timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise DataError(
            f"another training is writing into {path}: wait for its end, or choose another folder with --out."
        ) from None
    return lock


def is_run(path: Path) -> bool:
    """Whether the folder holds a run of chalkgrad, or what was there of one when it was killed."""
    try:
        return bool(settings_of(path))
    except DataError:
        return _described(path / MODEL) is not None


def settings_of(path: Path) -> dict[str, Any]:
    """What the run in the folder was asked to do: as its model file tells, or settings.json where that does not.

    Raises DataError where neither does.
    """
    facts = (_described(path / MODEL) or {}).get("facts")
    contents = facts.get(FACT) if isinstance(facts, dict) else None
    if contents is None:
        contents = read_json(path / SETTINGS)
    if not isinstance(contents, dict) or contents.get("format") != FORMAT:
        raise DataError(f"{path} holds no run of chalkgrad: its settings do not say {FORMAT!r}.")
    return contents


def _described(path: Path) -> dict[str, Any] | None:
    """What a model file says beside its tensors; None where it is none of ours."""
    try:
        with Container(path) as file:
            return described(file)[0]
    except DataError:
        return None


def model_path(run: str) -> Path:
    """The model file that `run` means: a run's folder, or the file itself. Raises DataError where there is none."""
    path, is_folder = Path(run), os.path.isdir(run)
    if is_folder:
        path /= MODEL
    if not os.path.isfile(path):
        fault = f"the folder {run} holds no {MODEL}" if is_folder else f"{run} does not exist"
        raise DataError(f"{fault}: give the folder of a run, as `chalkgrad train` writes it, or a model file.")
    return path


def _json(contents: Mapping[str, Any]) -> str:
    return json.dumps(contents, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
