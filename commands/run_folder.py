"""The folder of a training run: the model, the history as CSV and JSON, the settings, the pictures."""

from __future__ import annotations

import csv
import io
import json
import os
import platform
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy

from .. import __version__
from ..engine.files import write_file
from ..engine.json_files import read_json
from ..errors import DataError
from ..nn import History, Sequential

FORMAT = "chalkgrad run 1"
MODEL, SETTINGS, CURVES, MISTAKES = "model.safetensors", "settings.json", "curves.png", "mistakes.png"
WATCHED, FEED = "watch.html", "watch.js"
"""The page of a training, and what lies beside it while the training goes on."""


class RunFolder:
    """A folder to write one run into. Made, and tried, before the training: an hour's work must find its place.

    path: as the user gave it. settings: what the run was asked to do, as plain values.
    Raises DataError where the folder cannot be written to, or holds something else than a run.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any]) -> None:
        self.path, self.settings = path, settings
        self.replaces = is_run(path)
        if os.path.lexists(path) and not os.path.isdir(path):  # os.path: False, no error, where looking is forbidden
            raise DataError(f"{path} is no folder: give --out a new or an empty one.")
        self._made = [folder for folder in (path, *path.parents) if not os.path.exists(folder)]
        try:
            if os.path.isdir(path) and not self.replaces and any(path.iterdir()):
                raise DataError(
                    f"the folder {path} is not empty and holds no run of chalkgrad, so nothing is written into it: "
                    "give --out a new or an empty folder."
                )
            path.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=path) as file:
                file.write(b"a full disk lets files be made, but not filled")
        except OSError as error:
            self.discard_if_empty()
            raise DataError(f"cannot write to {path}: {error.strerror}. Choose another folder with --out.") from error

    def discard_if_empty(self) -> None:
        """Remove what was made for this run, if nothing was written into it."""
        for folder in self._made:
            try:
                folder.rmdir()
            except OSError:  # not empty, or not made
                return

    def save(self, model: Sequential, history: History, state: str, test: Mapping[str, float]) -> None:
        """Write model, history and settings, each file whole or not at all.

        state: "training", "complete", "interrupted" or "diverged". test: loss and accuracy of these weights.
        """
        model.save(self.path / MODEL)
        if self.replaces:  # the pictures there show the run before
            self.replaces = False
            for name in (CURVES, MISTAKES, WATCHED, FEED):
                (self.path / name).unlink(missing_ok=True)
        epochs = [epoch + 1 for epoch in history.epoch]  # from 1, as the progress counts them
        columns: dict[str, list[Any]] = {"epoch": epochs, **history.history}
        table = io.StringIO()
        rows = csv.writer(table, lineterminator="\n")
        rows.writerow(columns)
        rows.writerows(zip(*columns.values(), strict=True))
        self.write("history.csv", table.getvalue().encode())
        self.write("history.json", _json(columns))
        self.save_settings(state, len(epochs), test)

    def save_settings(self, state: str, epochs_done: int, test: Mapping[str, float]) -> None:
        """Write settings.json, by which the folder is known as a run."""
        contents = {
            "format": FORMAT,
            **self.settings,
            "versions": {
                "chalkgrad": __version__,
                "numpy": numpy.__version__,
                "python": platform.python_version(),
            },
            "state": state,
            "epochs_done": epochs_done,
            "test": dict(test),
        }
        self.write(SETTINGS, _json(contents))

    def write(self, name: str, data: bytes) -> None:
        """Write one file of the run, whole or not at all; raises DataError where that fails."""
        write_file(self.path / name, data)


def default_path(dataset: str) -> Path:
    """runs/<dataset>-<date>-<time>, with a number behind it where that is taken."""
    base = Path("runs") / f"{dataset}-{time.strftime('%Y%m%d-%H%M%S')}"
    path, number = base, 1
    while os.path.lexists(path):
        number += 1
        path = base.with_name(f"{base.name}-{number}")
    return path


def is_run(path: Path) -> bool:
    """Whether the folder holds a run of chalkgrad."""
    try:
        contents = read_json(path / SETTINGS)
    except DataError:
        return False
    return isinstance(contents, dict) and contents.get("format") == FORMAT


def model_path(run: str) -> Path:
    """The model file that `run` means: a run's folder, or the file itself. Raises DataError where there is none."""
    path, is_folder = Path(run), os.path.isdir(run)
    if is_folder:
        path /= MODEL
    if not os.path.isfile(path):
        fault = f"the folder {run} holds no {MODEL}" if is_folder else f"{run} does not exist"
        raise DataError(f"{fault}: give the folder of a run, as `chalkgrad train` writes it, or a model file.")
    return path


def _json(contents: Mapping[str, Any]) -> bytes:
    return (json.dumps(contents, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()
