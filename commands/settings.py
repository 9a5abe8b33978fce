"""What is trained by `chalkgrad train`: its settings, by options or by a run that tells of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..checks import is_number, is_whole
from ..distributed import own_device
from ..errors import DataError, UsageError
from ..nn import layers
from ..nn.model import Model
from ..nn.schema import shown as seen
from ..optim import OPTIMIZERS, Optimizer, make_optimizer
from .run_folder import is_run, settings_of
from .train_text import TEXTS

DEFAULTS = {
    "digits": {"epochs": 30, "batch_size": 32}, "mnist": {"epochs": 10, "batch_size": 128},
    "shakespeare": {"epochs": 8, "batch_size": 12},
}  # fmt: skip
"""What each data set is trained with. On digits every seed of 0 … 9 reaches 97 % of the test split in a second."""

CLASSES = 10
FILTERS = (16, 32)
"""Of the layers of a "cnn"."""
MODELS = ("mlp", "cnn")
OF_A_TEXT: dict[str, Any] = {"model": "gpt", "optimizer": "adamw", "hidden": ()}
"""What there is no choice of where a text is trained on."""
RATE = 1e-3
"""The highest learning rate there."""


def _count(value: Any) -> bool:
    return is_whole(value) and value >= 1


@dataclass(frozen=True)
class Settings:
    """What to train; epochs, batch_size and learning_rate of None are the data set's and the optimiser's own."""

    dataset: str = "digits"
    model: str = "mlp"
    epochs: int | None = None
    batch_size: int | None = None
    learning_rate: float | None = None
    optimizer: str = "adam"
    hidden: tuple[int, ...] = (128,)
    seed: int = 0
    device: str = "cpu"

    @classmethod
    def asked(cls, values: Mapping[str, Any], given: Collection[str]) -> Settings:
        """The settings of options. given: those that were not left out; raises UsageError where one has no meaning."""
        if values["dataset"] not in TEXTS:
            return cls(**values)
        for name in (*OF_A_TEXT, "watch", "open_page"):
            if name in given:
                raise UsageError(f"--{name.removesuffix('_page')} is for images: a text is learnt by a GPT with AdamW.")
        return cls(**{**values, **OF_A_TEXT, "learning_rate": values["learning_rate"] or RATE})

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Settings:
        """The settings that a run tells of; raises DataError where one of them is none."""
        right: dict[str, Callable[[Any], bool]] = {
            "dataset": lambda v: v in DEFAULTS, "optimizer": lambda v: v in OPTIMIZERS,
            "model": lambda v: v in ([OF_A_TEXT["model"]] if values["dataset"] in TEXTS else MODELS),
            "epochs": _count, "batch_size": _count, "seed": lambda v: v == 0 or _count(v),
            "learning_rate": lambda v: is_number(v) and 0 < v < math.inf,
            "hidden": lambda v: isinstance(v, list) and all(map(_count, v)), "device": lambda v: isinstance(v, str),
        }  # fmt: skip
        for name, holds in right.items():
            try:
                good = holds(values[name])
            except TypeError:  # a list is looked up among names
                good = False
            if not good:
                raise DataError(f"its {name} is {seen(values[name])}")
        return cls(**{**values, "hidden": tuple(values["hidden"])})

    def check_fits(self, model: Model, path: Path) -> None:
        """Raise DataError where a model has other layers than these settings make; none is made to see that."""
        dense = [layer.units for layer in model.layers if isinstance(layer, layers.Dense)]
        filters = [layer.filters for layer in model.layers if isinstance(layer, layers.Conv2D)]
        if (dense, filters) != ([*self.hidden, CLASSES], [*FILTERS] * (self.model == "cnn")):
            raise DataError(f"{path} cannot be gone on with: its model is another than its settings say.")

    def complete(self) -> dict[str, Any]:
        """The same as plain values, with the defaults filled in."""
        defaults = DEFAULTS[self.dataset]
        return {
            "dataset": self.dataset,
            "model": self.model,
            "epochs": self.epochs or defaults["epochs"],
            "batch_size": self.batch_size or defaults["batch_size"],
            "optimizer": self.optimizer,
            "learning_rate": self.make_optimizer().learning_rate,
            "hidden": list(self.hidden),
            "seed": self.seed,
            "device": own_device(self.device),
        }

    def make_optimizer(self) -> Optimizer:
        """The optimiser that was asked for."""
        optimizer = make_optimizer(self.optimizer)
        if self.learning_rate is not None:
            optimizer.learning_rate = self.learning_rate
        return optimizer


def settings_in(run: Path) -> Settings:
    """The settings of the run in a folder; raises DataError where it tells of none."""
    try:
        found = settings_of(run)
        return Settings.of({name: found.get(name) for name in Settings().complete()})
    except DataError as error:
        raise DataError(
            f"{run} does not tell how the model was trained ({str(error).removesuffix('.')}): give the folder of a "
            "run, as `chalkgrad train` writes it."
        ) from error


def settings_to_resume(run: str, given: Mapping[str, Any]) -> Settings:
    """The settings of the run in that folder. given: options beside --resume, by name.

    Raises UsageError for one of them that contradicts, DataError for a folder that holds no run or none that can be
    gone on with.
    """
    path = Path(run)
    if not is_run(path):
        raise DataError(
            f"{run} holds no run of chalkgrad: --resume takes the folder of one, as `chalkgrad train` says."
        )
    settings = settings_in(path)
    for name, value in given.items():
        own = getattr(settings, name)
        option = "DATASET" if name == "dataset" else f"--{name.replace('_', '-')}"
        if name == "epochs" and value >= own:
            settings = replace(settings, epochs=value)
        elif name == "epochs":
            raise UsageError(f"--epochs {value}: the run in {run} was to have {own}. More may be asked for, not fewer.")
        elif value != own and (name != "device" or own_device(value) != own_device(own)):
            raise UsageError(
                f"{option} {_option(value)} contradicts the run in {run}, which has {_option(own)}: leave it out, or "
                "begin a run of its own."
            )
    return settings


def _option(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
