"""`chalkgrad reproduce`: the documented program, and means that reach what it is documented to, seed by seed."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
import numpy

from .. import __version__, datasets
from ..engine.files import replacing
from ..errors import ChalkgradError, DataError, UsageError, unknown_name
from ..nn import Sequential, layers, utils
from ..optim import Adam
from ..optim.schedule import CosineDecay

CLASSES = 10
HELD_BACK = 10_000
"""The last training images, which `--validate` trains without and is judged by."""
WORST = 24
"""Mistakes that are kept of a seed."""

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


BATCH, AVERAGED = 128, 0.999


def averaged_with(steps: int) -> float:
    """μ of the weights' average: AVERAGED, but in a short run no more than forgets the first weights, to 1 / e¹⁰."""
    return min(AVERAGED, 1 - 10 / max(steps, 20))


def documented_net(shape: tuple[int, ...], seed: int) -> Sequential:
    """The documented net: 128 hidden units with ReLU, softmax over ten classes."""
    return Sequential(
        [layers.Dense(128, activation="relu", input_shape=shape), layers.Dense(CLASSES, activation="softmax")],
        seed=seed, name="documented",
    )  # fmt: skip


def small_cnn(shape: tuple[int, ...], seed: int) -> Sequential:
    """A small convolutional net: kernels of 5×5 and 3×3, strides instead of pooling, batch normalisation."""
    parts: list[layers.Layer] = []
    for filters, size, stride in ((16, 5, 2), (32, 3, 1), (64, 3, 2)):
        parts += [
            layers.Conv2D(filters, size, strides=stride, use_bias=False),
            layers.BatchNormalization(),
            layers.Activation("relu"),
        ]
    parts += [layers.Flatten(), layers.Dense(128, activation="relu"), layers.Dense(CLASSES, activation="softmax")]
    model = Sequential(parts, seed=seed, name="cnn")
    model.build(shape)
    return model


MEANS = (
    f"every batch distorted anew (turned by up to {DISTORTED.rotation:g}°, moved by {DISTORTED.shift:g} "
    f"pixels, scaled and sheared by {DISTORTED.scale:.0%}, elastically by {DISTORTED.elastic:g} pixels), Adam with a "
    f"cosine schedule from {Experiment.rate:g} to 0, weights averaged with {AVERAGED:g}"
)

EXPERIMENTS = {
    experiment.name: experiment
    for experiment in (
        Experiment(
            "documented", "784-128-10, as documented", documented_net, True, 5, 10, 2,
            "Adam with its defaults, nothing else",
        ),
        Experiment("means", "784-128-10, with means", documented_net, True, 3, 500, 3, MEANS, DISTORTED),
        Experiment("cnn", "small CNN, with means", small_cnn, False, 3, 45, 1, MEANS, DISTORTED),
    )
}  # fmt: skip


@dataclass(frozen=True)
class Request:
    """What is asked for. only: experiments by name; seeds: these instead of the first ones; validate: never look at
    the test images, but train without the last of the training images and be judged by those."""

    only: tuple[str, ...] = ()
    seeds: tuple[int, ...] = ()
    epochs: int | None = None
    quick: bool = False
    validate: bool = False

    def settings(self, experiment: Experiment, seed: int) -> dict[str, Any]:
        """What one run is, as plain values: where they are the same, it need not be done again."""
        epochs = self.epochs or (experiment.quick if self.quick else experiment.epochs)
        return {"experiment": experiment.name, "seed": seed, "epochs": epochs, "batch": BATCH,
                "judged_by": "validation" if self.validate else "test", "means": experiment.means}  # fmt: skip

    def runs(self) -> list[tuple[Experiment, int]]:
        """Each experiment with each of its seeds."""
        for name in self.only:
            if name not in EXPERIMENTS:
                raise unknown_name("experiment", name, EXPERIMENTS)
        chosen = [e for e in EXPERIMENTS.values() if not self.only or e.name in self.only]
        return [(e, seed) for e in chosen for seed in self.seeds or range(1 if self.quick else e.seeds)]


def reproduce(request: Request, out: Path, report: Path | None) -> None:
    """Do what has not been done yet, one seed after another, and write table and pictures of all that is there.

    out: the folder that keeps each seed's results as JSON. report: the Markdown file to write, by default in `out`;
    pictures go beside it. Raises UsageError for unknown names, DataError where data or folder are not to be had.
    """
    from .reproduce_report import write_report

    if request.quick:
        click.echo("--quick: a few epochs and one seed each; the figures show that it works, not what it reaches.")
    todo = [(e, seed, path_of(out, request, e, seed)) for e, seed in request.runs()]
    missing = [(e, seed, path) for e, seed, path in todo if _kept(path, request.settings(e, seed)) is None]
    if missing:
        (x, labels), (x_test, test_labels) = datasets.load("mnist")
        if request.validate:
            x, labels, x_test, test_labels = (
                x[:-HELD_BACK], labels[:-HELD_BACK], x[-HELD_BACK:], labels[-HELD_BACK:],
            )  # fmt: skip
        for experiment, seed, path in missing:
            settings = request.settings(experiment, seed)
            click.echo(f"{experiment.title}, seed {seed}, {settings['epochs']} epochs …")
            result = run(experiment, seed, settings, (x, labels), (x_test, test_labels))
            with replacing(path) as temporary:
                temporary.write_text(json.dumps(result, indent=None, separators=(",", ":")) + "\n", "utf-8")
            click.echo(
                f"  {settings['judged_by']} loss {result['loss']:.4f}, accuracy {result['accuracy']:.2%}, "
                f"{result['cpu_seconds'] / 60:.1f} CPU minutes"
            )
    write_report(request, out, report or out / "reproduction.md")


def path_of(out: Path, request: Request, experiment: Experiment, seed: int) -> Path:
    """Where a run's result is kept."""
    kind = ("-quick" if request.quick else "") + ("-validation" if request.validate else "")
    return out / f"{experiment.name}{kind}-{seed}.json"


def results(request: Request, out: Path) -> dict[str, list[dict[str, Any]]]:
    """What is kept in the folder, of every experiment, by seed."""
    found: dict[str, list[dict[str, Any]]] = {}
    for experiment in EXPERIMENTS.values():
        seeds = request.seeds or range(experiment.seeds)
        kept = [_kept(path_of(out, request, experiment, s), request.settings(experiment, s)) for s in seeds]
        if any(kept):
            found[experiment.name] = [result for result in kept if result]
    return found


def _kept(path: Path, settings: dict[str, Any]) -> dict[str, Any] | None:
    """A result that was written before, if it is of the same settings."""
    try:
        result = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read ({error}): delete it, and that seed is run again.") from error
    same = isinstance(result, dict) and all(result.get(name) == value for name, value in settings.items())
    return result if same else None


def run(
    experiment: Experiment, seed: int, settings: dict[str, Any], training: Sequence[Any], judged: Sequence[Any]
) -> dict[str, Any]:
    """Train with one seed; returns settings, figures, curves and mistakes as plain values.

    The images that it is judged by are looked at after each epoch, for the curves; nothing is chosen by them.
    """
    (x, labels), (x_test, test_labels) = training, judged
    shape = x.shape[1:]
    inputs, test_inputs = (_pixels(images, experiment.flat) for images in (x, x_test))
    epochs = settings["epochs"]
    model = experiment.compiled(inputs.shape[1:], seed, epochs, len(x))
    distortion = experiment.distortion
    augmentation = distortion and replace(distortion, image_shape=shape if experiment.flat else None)
    wall, cpu = time.perf_counter(), time.process_time()
    history = model.fit(
        inputs, utils.to_categorical(labels, CLASSES), batch_size=BATCH, epochs=epochs, verbose=0, seed=seed,
        validation_data=(test_inputs, utils.to_categorical(test_labels, CLASSES)), augmentation=augmentation,
    ).history  # fmt: skip
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    if not numpy.isfinite(history["loss"]).all():
        raise DivergedError(f"{experiment.title}, seed {seed}: the loss became NaN or infinite; nothing was written.")
    probabilities = model.predict(test_inputs)
    answers = probabilities.argmax(axis=1)
    truth = probabilities[numpy.arange(len(answers)), test_labels]
    wrong = numpy.flatnonzero(answers != test_labels)
    worst = wrong[numpy.argsort(truth[wrong], kind="stable")][:WORST]
    return {
        **settings,
        "parameters": model.count_params(),
        "loss": history["val_loss"][-1],
        "accuracy": history["val_accuracy"][-1],
        "training_loss": history["loss"][-1],
        "training_accuracy": history["accuracy"][-1],
        "curves": {name: [round(value, 5) for value in values] for name, values in history.items()},
        "confusion": numpy.bincount(test_labels.astype(int) * CLASSES + answers, minlength=CLASSES**2).tolist(),
        "worst": [[int(i), int(test_labels[i]), int(answers[i]), round(float(truth[i]), 5)] for i in worst],
        "cpu_seconds": round(cpu, 1),
        "wall_seconds": round(wall, 1),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "versions": f"chalkgrad {__version__}, NumPy {numpy.__version__}, Python {platform.python_version()}",
    }


class DivergedError(ChalkgradError, ArithmeticError):
    """A run's loss is no longer finite."""


def _pixels(images: Any, flat: bool) -> Any:
    pixels = images.astype("float32") / 255
    return pixels.reshape(len(images), -1) if flat else pixels[..., None]


def checked_seeds(seeds: Sequence[int]) -> tuple[int, ...]:
    """The seeds, each once."""
    if len(set(seeds)) != len(seeds):
        raise UsageError(f"each seed is given once: {list(seeds)}.")
    return tuple(seeds)
