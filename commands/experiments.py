"""What the documented result is compared by: the documented program, and means that reach what it is documented to."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy

from .. import __version__, datasets
from ..errors import DivergenceError
from ..nn import Sequential, layers, utils
from ..optim import Adam
from ..optim.schedule import CosineDecay
from .pictures import worst_mistakes

CLASSES, BATCH, AVERAGED = 10, 128, 0.999
HELD_BACK = 10_000
"""The last training images, which `--validate` trains without and is judged by."""

DISTORTED = datasets.Augmentation(rotation=9, shift=1.3, scale=0.1, shear=0.1, elastic=1.2)
"""How training images are distorted."""


@dataclass(frozen=True)
class Experiment:
    """A model and how it is trained. flat: images come as rows. quick: epochs of a short run. means: what is told.

    distortion: of training images; where there is one, a cosine schedule from `rate` and averaged weights go with it.
    """

    name: str
    title: str
    build: Callable[[tuple[int, ...], int], Sequential]
    flat: bool
    seeds: int
    epochs: int
    quick: int
    means: str
    distortion: datasets.Augmentation | None = None
    rate: float = 3e-3

    def compiled(self, shape: tuple[int, ...], seed: int, epochs: int, samples: int) -> Sequential:
        """The model, ready to be trained."""
        model = self.build(shape, seed)
        optimizer: Any = "adam"
        if self.distortion:
            steps = epochs * -(-samples // BATCH)
            optimizer = Adam(CosineDecay(self.rate, steps), use_ema=True, ema_momentum=averaged_with(steps))
        model.compile(optimizer, loss="categorical_crossentropy", metrics=["accuracy"])
        return model

    def settings(self, seed: int, epochs: int, judged_by: str) -> dict[str, Any]:
        """What one run is, as plain values: where they are the same, it need not be done again."""
        return {"experiment": self.name, "seed": seed, "epochs": epochs, "batch": BATCH, "judged_by": judged_by,
                "means": self.means}  # fmt: skip


def averaged_with(steps: int) -> float:
    """μ of the weights' average: AVERAGED, but in a short run no more than forgets the first weights, to 1 / e¹⁰."""
    return min(AVERAGED, 1 - 10 / max(steps, 20))


def documented_net(shape: tuple[int, ...], seed: int) -> Sequential:
    """The documented net: 128 hidden units with ReLU, softmax over ten classes."""
    return Sequential(
        [layers.Dense(128, activation="relu", input_shape=shape), layers.Dense(CLASSES, activation="softmax")],
        seed=seed, name="documented",
    )  # fmt: skip


def small_cnn(
    filters: Sequence[tuple[int, int, int, bool]], normalised: bool
) -> Callable[[tuple[int, ...], int], Sequential]:
    """Builds a small CNN. filters: of each layer how many, their side, stride, and whether pooling follows.

    normalised: by batches, between convolution and ReLU.
    """

    def build(shape: tuple[int, ...], seed: int) -> Sequential:
        parts: list[layers.Layer] = []
        for count, size, stride, pooled in filters:
            parts.append(layers.Conv2D(count, size, strides=stride, use_bias=not normalised))
            parts += [layers.BatchNormalization()] if normalised else []
            parts.append(layers.Activation("relu"))
            parts += [layers.MaxPooling2D()] if pooled else []
        parts += [layers.Flatten(), layers.Dense(128, activation="relu"), layers.Dense(CLASSES, activation="softmax")]
        model = Sequential(parts, seed=seed, name="cnn")
        model.build(shape)
        return model

    return build


STRIDED = ((16, 5, 2, False), (32, 3, 1, False), (64, 3, 2, False))
"""Strides instead of pooling."""
MEANS = (
    f"every batch distorted anew (turned by up to {DISTORTED.rotation:g}°, moved by {DISTORTED.shift:g} "
    f"pixels, scaled and sheared by {DISTORTED.scale:.0%}, elastically by {DISTORTED.elastic:g} pixels), Adam with a "
    f"cosine schedule from {Experiment.rate:g} to 0, weights averaged with {AVERAGED:g}"
)
_DEFAULTS = "Adam with its defaults, nothing else"

EXPERIMENTS = {
    experiment.name: experiment
    for experiment in (
        Experiment("documented", "784-128-10, as documented", documented_net, True, 5, 10, 2, _DEFAULTS),
        Experiment("means", "784-128-10, with means", documented_net, True, 3, 500, 3, MEANS, DISTORTED),
        Experiment("cnn", "small CNN, with means", small_cnn(STRIDED, True), False, 3, 45, 1, MEANS, DISTORTED),
    )
}


def mnist(validate: bool) -> tuple[Any, Any]:
    """What to train on and what to be judged by, as (images, labels); validate: both from the training images."""
    training, test = datasets.load("mnist")
    if not validate:
        return training, test
    cut = len(training[0]) - HELD_BACK
    x, labels = training
    return (x[:cut], labels[:cut]), (x[cut:], labels[cut:])


def run(
    experiment: Experiment, seed: int, settings: dict[str, Any], training: Sequence[Any], judged: Sequence[Any]
) -> dict[str, Any]:
    """Train with one seed; returns settings, figures, curves and mistakes as plain values.

    The images that it is judged by are looked at after each epoch, for the curves; nothing is chosen by them. Raises
    DivergenceError where the loss is no longer finite.
    """
    (x, labels), (x_test, test_labels) = training, judged
    inputs, test_inputs = (_pixels(images, experiment.flat) for images in (x, x_test))
    epochs = settings["epochs"]
    model = experiment.compiled(inputs.shape[1:], seed, epochs, len(x))
    distortion = experiment.distortion
    augmentation = distortion and replace(distortion, image_shape=x.shape[1:] if experiment.flat else None)
    wall, cpu = time.perf_counter(), time.process_time()
    history = model.fit(
        inputs, utils.to_categorical(labels, CLASSES), batch_size=BATCH, epochs=epochs, verbose=0, seed=seed,
        validation_data=(test_inputs, utils.to_categorical(test_labels, CLASSES)), augmentation=augmentation,
    ).history  # fmt: skip
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    if not numpy.isfinite(history["loss"]).all():
        raise DivergenceError(f"{experiment.title}, seed {seed}: the loss became NaN or infinite; nothing was written.")
    probabilities = model.predict(test_inputs)
    counts = numpy.bincount(test_labels.astype(int) * CLASSES + probabilities.argmax(axis=1), minlength=CLASSES**2)
    _, worst = worst_mistakes(test_labels, probabilities)
    return {
        **settings,
        "parameters": model.count_params(),
        "loss": history["val_loss"][-1],
        "accuracy": history["val_accuracy"][-1],
        "training_loss": history["loss"][-1],
        "training_accuracy": history["accuracy"][-1],
        "curves": {name: [round(value, 5) for value in values] for name, values in history.items()},
        "confusion": counts.tolist(),
        "worst": [[*row, round(float(probabilities[row[0], row[1]]), 5)] for row in worst],
        "cpu_seconds": round(cpu, 1),
        "wall_seconds": round(wall, 1),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "versions": f"chalkgrad {__version__}, NumPy {numpy.__version__}, Python {platform.python_version()}",
    }


def _pixels(images: Any, flat: bool) -> Any:
    pixels = images.astype("float32") / 255
    return pixels.reshape(len(images), -1) if flat else pixels[..., None]
