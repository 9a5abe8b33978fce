"""Pictures in folders, a folder a class, in batches."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy
import numpy.typing

from ..checks import number, whole
from ..engine.random import generator
from ..errors import DataError, UsageError, unknown_name
from .picture_files import read_pixels

MODES = {"grayscale": "L", "rgb": "RGB", "rgba": "RGBA"}
ENDINGS = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp")
Batch = tuple[numpy.typing.NDArray[Any], ...]


class ImageFolder:
    """Batches of pictures from folders: `len()` of them, each read when it is asked for.

    class_names: the classes, whose places are the labels. file_paths: the pictures, in their order. Each batch is
    (x, y), or (x,) without labels: x of shape (batch, height, width, channels), float32 from 0 to 255, y as
    `label_mode` says. In `fit`, each epoch has an order of its own where they are shuffled.
    """

    def __init__(
        self,
        files: Sequence[str],
        labels: Sequence[int] | None,
        class_names: Sequence[str],
        label_mode: str | None,
        mode: str,
        batch_size: int,
        size: tuple[int, int],
        filtering: str,
        seed: int | None,
    ) -> None:
        self.file_paths, self.class_names = list(files), list(class_names)
        self._labels = None if labels is None else numpy.asarray(labels)
        self._label_mode, self._mode, self._size, self._filtering = label_mode, mode, size, filtering
        self._batch_size, self._seed, self._epoch = batch_size, seed, 0
        self._order = numpy.arange(len(files))

    def __len__(self) -> int:
        return -(-len(self.file_paths) // self._batch_size)

    def __getitem__(self, at: int) -> Batch:
        if not 0 <= at < len(self):
            raise IndexError(f"there are {len(self)} batches, none at {at}.")
        chosen = self._order[at * self._batch_size : (at + 1) * self._batch_size]
        read = [read_pixels(self.file_paths[i], self._mode, self._size, self._filtering) for i in chosen]
        x = numpy.stack(read).astype(numpy.float32)
        if self._labels is None or self._label_mode is None:
            return (x,)
        labels = self._labels[chosen]
        if self._label_mode == "categorical":
            return x, numpy.eye(len(self.class_names), dtype=numpy.float32)[labels]
        if self._label_mode == "binary":
            return x, labels.astype(numpy.float32)[:, None]
        return x, labels.astype(numpy.int32)

    def on_epoch_end(self) -> None:
        """Draw the next epoch's order."""
        if self._seed is not None:
            self._epoch += 1
            self._order = generator(self._seed, f"order {self._epoch}").permutation(len(self.file_paths))


def image_dataset_from_directory(
    directory: str | os.PathLike[str],
    labels: str | Sequence[int] | None = "inferred",
    label_mode: str | None = "int",
    class_names: Sequence[str] | None = None,
    color_mode: str = "rgb",
    batch_size: int = 32,
    image_size: tuple[int, int] = (256, 256),
    shuffle: bool = True,
    seed: int = 0,
    validation_split: float | None = None,
    subset: str | None = None,
    interpolation: str = "bilinear",
) -> Any:
    """The pictures below a folder, with a subfolder a class, as batches for `fit`, `evaluate` and `predict`.

    labels: "inferred" from the subfolders, which are the classes in the order of their names; a list, one for each
    picture in the order of the files' names; or None. label_mode: "int", "categorical" (one-hot), "binary" or None.
    class_names: the subfolders to take, in this order. color_mode: "grayscale", "rgb" or "rgba". image_size: (height,
    width). shuffle: mix them, each epoch anew, by `seed`. validation_split: the share that is set apart; subset:
    "training", "validation" or "both", of the same seed.

    Raises DataError where the folder or a class is missing or holds no pictures, and, when it is read, for a picture
    that is damaged; UsageError for arguments that do not fit.
    """
    folder = Path(directory)
    if not folder.is_dir():
        raise DataError(f"{folder} is no folder: name one that holds a folder of pictures for each class.")
    if color_mode not in MODES:
        raise unknown_name("color_mode", color_mode, MODES)
    if label_mode not in ("int", "categorical", "binary", None):
        raise unknown_name("label_mode", label_mode, ("int", "categorical", "binary"))
    found, names = _files(folder, labels, class_names)
    inferred = [n for n, (_, own) in enumerate(found) for _ in own]
    given: Any = inferred if labels == "inferred" else labels
    files = [str(file) for _, own in found for file in own]
    if given is not None and len(given) != len(files):
        raise DataError(f"labels has {len(given)} entries, and {folder} holds {len(files)} pictures: one for each.")
    if label_mode == "binary" and len(names) != 2:
        raise DataError(f"label_mode='binary' is for two classes, not {len(names)}: {', '.join(names)}.")
    order = generator(seed, "order").permutation(len(files)) if shuffle else numpy.arange(len(files))
    parts = _parts(order, validation_split, subset)
    size = whole("image_size", "height", image_size[0]), whole("image_size", "width", image_size[1])
    made = [
        ImageFolder(
            [files[i] for i in part], None if given is None else [given[i] for i in part], names, label_mode,
            MODES[color_mode], whole("image_dataset_from_directory", "batch_size", batch_size), size, interpolation,
            seed if shuffle else None,
        )
        for part in parts
    ]  # fmt: skip
    return tuple(made) if subset == "both" else made[0]


def _files(
    folder: Path, labels: Any, class_names: Sequence[str] | None
) -> tuple[list[tuple[str, list[Path]]], list[str]]:
    """The pictures of each class, and the classes."""
    if labels != "inferred":
        return [("", _pictures(folder))], sorted({str(label) for label in labels or ()})
    names = list(class_names or sorted(each.name for each in folder.iterdir() if each.is_dir()))
    found = [(name, _pictures(folder / name)) for name in names]
    if not names:
        raise DataError(f"{folder} holds no folders: there is one for each class, or give labels=None.")
    return found, names


def _pictures(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise DataError(f"{folder} is no folder.")
    found = sorted(file for file in folder.rglob("*") if file.suffix.lower() in ENDINGS and file.is_file())
    if not found:
        raise DataError(f"{folder} holds no pictures ({', '.join(ENDINGS)}).")
    return found


def _parts(order: Any, split: float | None, subset: str | None) -> list[Any]:
    if (split is None) != (subset is None):
        raise UsageError("validation_split and subset are given together: how much is set apart, and which part it is.")
    if split is None:
        return [order]
    if subset not in ("training", "validation", "both"):
        raise unknown_name("subset", subset, ("training", "validation", "both"))
    cut = len(order) - int(number("image_dataset_from_directory", "validation_split", split, "(0, 1)") * len(order))
    if not 0 < cut < len(order):
        raise DataError(f"validation_split={split} of {len(order)} pictures leaves one part empty.")
    parts = {"training": order[:cut], "validation": order[cut:]}
    return list(parts.values()) if subset == "both" else [parts[subset]]
