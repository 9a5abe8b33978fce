"""What `chalkgrad train` trains on images of digits: dense layers, or convolutions before them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from .. import datasets
from ..nn import History, Sequential, layers, utils
from ..nn.callbacks import Callback
from ..nn.checkpoint import Description
from .run_folder import CURVES, MISTAKES, WATCHED, RunFolder
from .settings import CLASSES, FILTERS, Settings
from .words import said


class Images:
    """Images of digits, and the network that tells them apart."""

    figures, next, facts = "test", "next", MappingProxyType[str, Any]({})

    def __init__(self, settings: Settings, lang: str) -> None:
        self.settings, self.lang = settings, lang
        (self.x, self.labels), (self.x_test, self.test_labels) = datasets.load(settings.dataset)
        self.about = said("images", lang, name=settings.dataset, count=len(self.x), test=len(self.x_test))

    def make(self, plan: Mapping[str, Any]) -> Sequential:
        """The network."""
        return make_model(self.x.shape[1:], self.settings, plan["device"])

    def same(self, known: Sequential, made: Sequential, told: Mapping[str, Any]) -> bool:
        """Whether a model is what training has made of another."""
        return _told(known) == _told(made)

    def data(self, model: Sequential) -> tuple[Any, Any]:
        """What it is trained on, and what it is tested on."""
        return training_data(self.x, self.labels, model), training_data(self.x_test, self.test_labels, model)

    def network(self, model: Sequential, plan: Mapping[str, Any]) -> str:
        """Its sizes."""
        dense = (math.prod(next(shape for shape in model.shapes if len(shape) == 1)), *plan["hidden"], CLASSES)
        sizes = "-".join(map(str, dense))
        if plan["model"] == "cnn":
            filters = said("convolutions", self.lang, filters=said("and", self.lang).join(map(str, FILTERS)))
            sizes = f"{'×'.join(map(str, model.shapes[0][:2]))}, {filters}, {sizes}"
        return sizes

    def watcher(self, model: Sequential, plan: Mapping[str, Any], folder: RunFolder) -> Callback:
        """What writes the page of the training."""
        from ..blackboard.watch import Watch

        data, test = self.data(model)
        rate = f"{plan['optimizer']}, α = {plan['learning_rate']:g}"
        return Watch(
            folder.path / WATCHED, *data, images=self.x_test, labels=self.test_labels, inputs=test[0], lang=self.lang,
            seed=plan["seed"], heading=f"{plan['dataset']} · {self.network(model, plan)}",
            note=f"{rate} · batch size {plan['batch_size']} · seed {plan['seed']} · {plan['device']}",
        )  # fmt: skip

    def views(self, model: Sequential, history: History) -> dict[str, Callable[[], bytes]]:
        """The files that show what came of it."""
        from . import pictures

        def mistakes() -> bytes:
            return pictures.mistakes(self.x_test, self.test_labels, model.predict(_pixels(self.x_test, model)))

        return {CURVES: lambda: pictures.curves(history), MISTAKES: mistakes}


def _told(model: Sequential) -> list[Any]:
    """What a file tells of a model that training does not change."""
    plain = Description(model).plain
    return [plain["layers"], plain["input_shape"], plain["dtype"], {**plain.get("compile", {}), "iterations": 0}]


def make_model(image: tuple[int, ...], settings: Settings, device: str) -> Sequential:
    """The network, compiled: hidden layers with ReLU, then softmax over ten classes.

    image: height and width. As "cnn" two layers of 16 and 32 convolutions with 3×3 kernels come first, each with ReLU
    and pooled by 2×2 (D2); as "mlp" each image is one row (D1).
    """
    first: list[layers.Layer] = []
    if settings.model == "cnn":
        for filters in FILTERS:
            first += [layers.Conv2D(filters, 3, padding="same", activation="relu"), layers.MaxPooling2D()]
        first.append(layers.Flatten())
    hidden = [layers.Dense(units, activation="relu") for units in settings.hidden]
    output = layers.Dense(CLASSES, activation="softmax")
    model = Sequential([*first, *hidden, output], seed=settings.seed, device=device, name=settings.dataset)
    model.compile(settings.make_optimizer(), loss="categorical_crossentropy", metrics=["accuracy"])
    model.build((*image, 1) if settings.model == "cnn" else (math.prod(image),))
    return model


def training_data(images: Any, labels: Any, model: Sequential) -> tuple[Any, Any]:
    """Images and labels as the network takes them: pixels in [0, 1], one-hot rows."""
    return _pixels(images, model), _one_hot(labels)


def _pixels(images: Any, model: Sequential) -> Any:
    return images.reshape(len(images), *model.shapes[0]).astype("float32") / 255


def _one_hot(labels: Any) -> Any:
    return utils.to_categorical(labels, CLASSES)
