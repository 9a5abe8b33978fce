"""What a model file says of a model: its schema, and the model that comes of it. `checkpoint` writes it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar

from ..checks import whole
from ..engine.piece import key_in
from ..engine.primitive import registry
from ..errors import ChalkgradError, UsageError
from ..names import OWN, PRIMITIVE, registered, resolved
from ..optim import OPTIMIZERS, Optimizer, make_optimizer
from .architecture import MODELS, GraphParts, check_layers, remade
from .draws import Stream
from .graph import listed
from .hooks import History
from .layers.base import checked_sample
from .losses import make_loss
from .schema import check, check_config, check_piece, shown
from .state import CHOICES, Within

if TYPE_CHECKING:
    from .trained import Trained

M = TypeVar("M", bound="Trained")
UNUSABLE = (
    ChalkgradError, KeyError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError, MemoryError
)  # fmt: skip
"""What a description may raise that says something else than it should."""


class Epochs(TypedDict):
    """A history. What is no number stands as null, or as JSON's extension NaN."""

    epoch: list[int]
    history: dict[str, list[Any]]


class Facts(TypedDict, total=False):
    """What decides the bits of a training beside what `compile` was given."""

    batch_size: int
    shuffle: bool
    versions: dict[str, str]
    run: dict[str, Any]


class Under(TypedDict, total=False):
    """What a file says of a training within an epoch."""

    within: Within


class Stands(Under):
    """Where a training stands beside weights and optimiser."""

    epochs: int
    stop: bool
    callbacks: dict[str, Any]


class Later(TypedDict, total=False):
    """What files of earlier versions do not say of how the model is trained."""

    from_logits: bool
    label_smoothing: float
    run_eagerly: bool
    jit_compile: bool | str
    deterministic: bool
    check_finite: bool
    loss_weights: list[float]
    weighted_metrics: list[Any]


class Compiled(Later):
    """What a file says of how the model is trained."""

    optimizer: dict[str, Any]
    iterations: int
    loss: Any
    metrics: list[Any]


class Optional(GraphParts, total=False):
    """What a file may say of a model."""

    stream: dict[str, Any]
    compile: Compiled
    facts: Facts
    standing: Stands


class Described(Optional):
    """What a file says of a model: the schema of `checkpoint.Description`. Layers say what their constructors take."""

    format: int
    name: str
    seed: Any
    dtype: str
    input_shape: list[int | list[int | None] | None]
    layers: list[dict[str, Any]]
    history: Epochs


def made(cls: type[M], description: Mapping[str, Any], own: Mapping[str, Any], device: str) -> M:
    """The model that a description tells of, not built yet. own: what the names of others mean.

    Raises UsageError where it says anything that it should not, before anything is made of it.
    """
    things = {OWN: {**registered, **own}, PRIMITIVE: registry}
    given = ("layers", "compile", "calls", "arguments")
    parts = {key: resolved(description[key], things, own) for key in given if key in description}
    description = {**description, **parts}
    check(description, Described, "it")
    check_layers(description["layers"])
    kind = description.get("model", "Sequential")
    found: Any = own[kind] if kind in own else MODELS.named(kind)
    if not issubclass(found, cls) and not issubclass(cls, found):
        raise UsageError(f"it is of {found.__name__}, not of {cls.__name__}: models.load_model loads it")
    chosen: Any = found if issubclass(found, cls) else cls
    model: M = remade(chosen, description, device)
    model.history = history_of(description["history"])
    done = model.history.epoch[-1] + 1 if model.history.epoch else 0
    model.facts = dict(description.get("facts", {}))
    model.stream = Stream.of(description.get("stream", {"seed": 0, "begin": 0, "done": done}))
    if hasattr(type(model), "call"):
        model.infer_shapes(samples_in(description))  # which tells how many outputs there are
    if settings := description.get("compile"):
        _compile(model, settings, own)
    return model


def samples_in(description: Mapping[str, Any]) -> list[Any]:
    """The shape of a sample of each input."""
    given = description["input_shape"]
    several = bool(given) and isinstance(given[0], list)
    return [checked_sample("input_shape", shape) for shape in (given if several else [given])]


def _compile(model: Trained, settings: Mapping[str, Any], own: Mapping[str, Any]) -> None:
    config = settings["optimizer"]
    config = {**config, "name": own.get(config.get("name"), config.get("name"))}
    check_config(config, "name", OPTIMIZERS, Optimizer, {})
    for each in listed(settings["loss"]):
        if key_in(each):
            check_piece(each, "loss")
    loss: Any = settings["loss"] if isinstance(settings["loss"], list) else make_loss(settings["loss"])
    if earlier := {name: settings[name] for name in ("from_logits", "label_smoothing") if settings.get(name)}:
        loss = type(loss)(**{**loss.get_config(), **earlier})
    choices = {name: settings[name] for name in CHOICES if name in settings}
    model.compile(
        make_optimizer(config),
        loss,
        settings["metrics"],
        loss_weights=settings.get("loss_weights"),
        weighted_metrics=settings.get("weighted_metrics"),
        **choices,
    )
    assert model.optimizer is not None
    model.optimizer.iterations = whole("it", "iterations", settings["iterations"], 0)


def history_of(epochs: Epochs) -> History:
    """The history that a file tells. Raises UsageError where epochs do not rise, or have not one number each."""
    found = History()
    found.epoch = list(epochs["epoch"])
    if any(after <= before for before, after in itertools.pairwise([-1, *found.epoch])):
        raise UsageError("the epochs of its history do not rise from 0")
    for name, values in epochs["history"].items():
        if len(values) != len(found.epoch):
            raise UsageError(f"its history has {len(found.epoch)} epochs, and {len(values)} values of {shown(name)}")
        for value in values:
            several = isinstance(value, list) and all(isinstance(each, float) for each in value)
            if value is not None and not several and not isinstance(value, float):  # a float may be anything, also NaN
                check(value, bool | float, f"its history of {shown(name)}")
        found.history[name] = [math.nan if value is None else value for value in values]
    return found
