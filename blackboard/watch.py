"""A training, watched: a page that is written anew after each epoch and shows how it stands."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy

from ..engine.files import write_file
from ..engine.tensor import Tensor
from ..errors import DataError, ShapeError
from ..nn.callbacks import Callback, Logs
from ..nn.measuring import outputs_and_loss
from ..nn.samples import Samples
from .document import document, embedded, said_in_both
from .landscape import landscape
from .plain import numbers, short
from .texts import LANGUAGES, check_language

SAMPLES = 256
"""Samples on which gradients and the loss surface are taken."""
PICTURES = 40
"""Images that are shown with what the model makes of them."""
BINS = 41
FRAMES = 64
"""Epochs of which the page keeps all; of longer trainings every second, fourth, … is kept."""


class Watch(Callback):
    """Write a page that shows the training: curves, predictions, histograms of weights and gradients, the loss surface.

    path: the page; an open page follows the training by itself, and one that is complete needs no other file.
    x, y: samples and targets as `fit` takes them; gradients and the loss surface are those of the first SAMPLES.
    images: pictures to show, (count, height, width) in 0 … 255, with `labels`, what is on them, and `inputs`, what the
    model takes for them; the first PICTURES are shown. seed: what the directions of the surface are drawn from.
    heading, note: what the page is called, and what is said below. lang: which language it opens with.

    It looks on only: the training is the same, to the last bit, with it and without. The loss surface is drawn before
    the first epoch, after epochs 1, 2, 4, 8, … and at the end. Where already the first epoch diverges, no page is
    written. Raises UsageError for an unknown language, ShapeError where images and labels differ in number,
    DataError where the page cannot be written.
    """

    writes = True
    each_batch = False

    def __init__(
        self,
        path: str | os.PathLike[str],
        x: Any,
        y: Any,
        *,
        images: Any = (),
        labels: Any = (),
        inputs: Any = (),
        heading: str = "chalkgrad",
        note: str = "",
        lang: str = "en",
        seed: int = 0,
    ) -> None:
        check_language(lang)
        if not len(images) == len(labels) == len(inputs):
            raise ShapeError(
                f"Watch takes as many images as labels and inputs, not {len(images)}, {len(labels)} and {len(inputs)}."
            )
        self.path, self.seed, self.lang = Path(path), seed, lang
        self.heading, self.note = heading, note
        self._samples = x[:SAMPLES], y[:SAMPLES]
        self._images, self._labels = numpy.asarray(images[:PICTURES]), [int(label) for label in labels[:PICTURES]]
        self._inputs = inputs[:PICTURES]

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Look at the weights as they were drawn."""
        self._frames: list[dict[str, Any]] = []
        self._every = 1
        self._written = self._whole = False
        model = self.model
        assert model.loss is not None
        samples = Samples(*self._samples, model.dtype, model.device)
        samples.prepare_targets(model.loss, model.output_shapes(samples.x.shape[1:])[0])
        self._x, self._y = Tensor(samples.x).astype(model.dtype), Tensor(samples.y)
        self._look(len(model.history.epoch), surface=True)

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """From now on the weights are not those of a whole epoch."""
        self._whole = False

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """Look at the weights, and write how it stands."""
        self._whole = True
        if not self._written and not all(map(math.isfinite, logs.values())):
            return
        done = epoch + 1
        if done % self._every == 0:
            self._look(done, surface=(done & (done - 1)) == 0)
        if len(self._frames) > FRAMES:
            self._every *= 2
            self._frames = [f for f in self._frames if not f["epoch"] % self._every or f is self._frames[0]]
        self._write("training")

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Look once more, and write the page that stays."""
        if not self._written:
            return
        done = len(self.model.history.epoch)
        if self._whole and not (self._frames[-1]["epoch"] == done and self._frames[-1]["surface"]):
            self._frames = [frame for frame in self._frames if frame["epoch"] != done]
            self._look(done, surface=True)
        self._write("complete" if done == self.params["epochs"] else "ended")

    def _look(self, epoch: int, surface: bool) -> None:
        """Keep what is to be seen after so many epochs."""
        model = self.model
        leaves = [
            {name: Tensor(w._data, requires_grad=True) for name, w in layer.weights.items()} for layer in model.parts
        ]
        with numpy.errstate(all="ignore"):
            outputs_and_loss(model, self._x, self._y, weights=leaves)[1].backward()
            shown = model.predict(self._inputs) if len(self._inputs) else numpy.zeros((0, 0))
        weights = [w for own in leaves for w in own.values()]
        around = landscape(model, self._x, self._y, seed=self.seed) if surface else None
        self._frames.append(
            {
                "epoch": epoch,
                "predictions": [[short(p) for p in row] for row in shown.tolist()],
                "weights": [histogram(w.numpy()) for w in weights],
                "gradients": [histogram(w.grad.numpy()) if w.grad is not None else None for w in weights],
                "surface": around and [[short(v) for v in row] for row in around.losses.tolist()],
            }
        )

    def _write(self, state: str) -> None:
        data = self._data(state)
        feed = self.path.with_suffix(".js")  # where the page hears of news while the training goes on
        going_on = state == "training"
        if going_on:
            write_file(feed, f"watching({embedded(data)});\n", sync=False)
        if not (going_on and self._written):  # while it goes on the page reads the feed
            write_file(self.path, watch_page(data, self.heading, self.lang, feed.name))
        self._written = True
        if not going_on:
            try:
                feed.unlink(missing_ok=True)
            except OSError as error:
                raise DataError(f"cannot remove {feed}: {error.strerror}. The page beside it is complete.") from error

    def _data(self, state: str) -> dict[str, Any]:
        history = self.model.history
        return {
            "state": state,
            "note": self.note,
            "epochs": self.params["epochs"],
            "history": {
                "epoch": [e + 1 for e in history.epoch],
                "values": {name: numbers(values) for name, values in history.numbers.items()},
            },
            "images": [image.reshape(-1).tolist() for image in self._images.astype(int)],
            "size": list(self._images.shape[1:3]),
            "labels": self._labels,
            "names": [[w.name or "", list(w.shape)] for w in self.model.trainable_weights],
            "samples": int(self._x.shape[0]),
            "frames": self._frames,
        }


def watch_page(data: Mapping[str, Any], heading: str, lang: str, feed: str) -> str:
    """One HTML file in both languages that shows what `Watch` has seen. feed: where it asks for news, beside it."""
    page = {**said_in_both(dict.fromkeys(LANGUAGES, heading), lang), "watched": data, "feed": feed}
    return document(page, {"watched": ""}, ("tools", "plots", "watch"))


def histogram(values: numpy.typing.NDArray[Any]) -> dict[str, Any]:
    """How the values are spread: BINS counts from the least to the greatest, mean and standard deviation.

    Values that are not finite are only counted.
    """
    finite = values[numpy.isfinite(values)].astype("float64")
    strange = int(values.size - finite.size)
    if not finite.size:
        return {"low": 0, "high": 0, "counts": [], "mean": 0, "deviation": 0, "strange": strange}
    low, high = float(finite.min()), float(finite.max())
    counts, _ = numpy.histogram(finite, BINS, (low, high) if low < high else (low - 0.5, high + 0.5))
    spread: Sequence[float] = (low, high, float(finite.mean()), float(finite.std()))
    low, high, mean, deviation = map(short, spread)
    return {
        "low": low, "high": high, "counts": counts.tolist(), "mean": mean, "deviation": deviation, "strange": strange,
    }  # fmt: skip
