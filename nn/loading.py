"""A model file read: what it says is checked, then a model is made of it. `checkpoint` writes them."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..engine import backend
from ..engine.primitive import registry
from ..engine.tensor import Tensor
from ..errors import ChalkgradError, DataError
from ..names import OWN, registered, resolved
from ..optim import make_optimizer
from ..optim.optimizer import RAW
from .draws import Stream
from .hooks import History
from .layers import make_layer
from .losses import make_loss
from .state import Standing, from_plain

if TYPE_CHECKING:
    from .sequential import Sequential

KEY = "chalkgrad"
FORMAT, FORMATS = 2, (1, 2)
"""What is written, and what is read. 1 knew of no training beside history and optimiser."""
PRIMITIVE = "primitive"
"""The key under which a file names a primitive; with `names.OWN` of the user's own functions."""
TRAINING = "training/"
"""What the names of tensors begin with that belong to the training alone."""
CHOICES = ("run_eagerly", "jit_compile", "deterministic", "check_finite")
"""What `compile` is given besides optimiser, loss and metrics; files of earlier versions have none of it."""
UNUSABLE = (ChalkgradError, KeyError, TypeError, ValueError, AttributeError)
"""What a description may raise that says something else than it should."""


def load(
    cls: type[Sequential],
    path: str | os.PathLike[str],
    device: str,
    custom_objects: Mapping[str, Any] | None = None,
    compiled: bool = True,
) -> Sequential:
    """Make a model of the class `cls` from the file; see Sequential.load."""
    description, tensors = read(path)
    if not compiled:
        description.pop("compile", None)
    standing = description.pop("standing", {})
    try:
        model = made(cls, description, custom_objects or {}, device)
    except UNUSABLE as error:
        raise DataError(f"{path}: its description of the model cannot be used ({error}).") from error
    _fill(model, path, tensors)
    if model.optimizer:
        model.optimizer.averaged = f"optimizer/{RAW}" in tensors
        for slot in (*model.optimizer.slots, RAW):
            if f"optimizer/{slot}" in tensors:
                model.optimizer.state[slot] = backend.to_device(tensors[f"optimizer/{slot}"].copy(), model.device)
        if model.optimizer.state:  # else it begins with the first update, an average with the weights of then
            model.optimizer.prepare(model.flat.data)
    try:
        model.standing = Standing(**from_plain(standing, tensors))
    except (*UNUSABLE, IndexError) as error:
        raise DataError(f"{path}: what it says of the training cannot be used ({error}).") from error
    return model


def made(cls: type[Sequential], description: Mapping[str, Any], own: Mapping[str, Any], device: str) -> Sequential:
    """The model that a description tells of, with weights drawn anew. own: what the names of others mean."""
    description = resolved(description, {OWN: {**registered, **own}, PRIMITIVE: registry}, own)
    model = cls(
        [make_layer(config) for config in description["layers"]],
        seed=description["seed"], dtype=description["dtype"], name=description["name"], device=device,
    )  # fmt: skip
    if not description.get("trainable", True):
        kept = [layer.trainable for layer in model.layers]
        model.trainable = False
        for layer, value in zip(model.layers, kept, strict=True):
            layer.trainable = value
    model.build(tuple(description["input_shape"]))
    model.history = History()
    model.history.epoch = list(description["history"]["epoch"])
    model.history.history = dict(description["history"]["history"])
    done = model.history.epoch[-1] + 1 if model.history.epoch else 0
    model.stream = Stream(**description.get("stream", {"done": done}))  # files of earlier versions have none
    model.facts = dict(description.get("facts", {}))
    settings = description.get("compile")
    if settings:
        smoothing = settings.get("label_smoothing", 0.0)  # files of earlier versions have none
        loss = replace(make_loss(settings["loss"]), from_logits=settings["from_logits"], label_smoothing=smoothing)
        optimizer = settings["optimizer"]
        named = {**optimizer, "name": own.get(optimizer["name"], optimizer["name"])}
        choices = {name: settings[name] for name in CHOICES if name in settings}
        model.compile(make_optimizer(named), loss, settings["metrics"], **choices)
        assert model.optimizer is not None
        model.optimizer.iterations = settings["iterations"]
    return model


def load_weights(model: Sequential, path: str | os.PathLike[str]) -> None:
    """Take the weights of the file; see Sequential.load_weights."""
    _fill(model, path, read(path)[1])


def read(path: str | os.PathLike[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The description and the arrays of a model file; raises DataError where it is not one."""
    from safetensors import SafetensorError, safe_open

    if not Path(path).is_file():
        raise DataError(f"{path}: there is no such file.")
    try:
        with safe_open(path, framework="numpy") as file:
            text = (file.metadata() or {}).get(KEY)
            if text is None:
                raise DataError(f"{path} is a safetensors file, but no model of chalkgrad's: it does not say so.")
            description = json.loads(text)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no mapping)
    except (SafetensorError, OSError, TypeError, ValueError) as error:
        if isinstance(error, ChalkgradError):
            raise
        raise DataError(f"{path} is no model file, or it is damaged ({error}).") from error
    if not isinstance(description, dict):
        raise DataError(f"{path}: its description of the model cannot be used (it is a {type(description).__name__}).")
    if description.get("format") not in FORMATS:
        raise DataError(f"{path} has format {description.get('format')!r}; this version reads format {FORMAT}.")
    return description, tensors


def _fill(model: Sequential, path: str | os.PathLike[str], tensors: dict[str, Any]) -> None:
    own = named_weights(model)
    stored = {name: array for name, array in tensors.items() if not name.startswith(("optimizer/", TRAINING))}
    if difference := difference_of(shapes_of(own), shapes_of(stored), "the file"):
        raise DataError(f"{path} holds another architecture: {difference}. Load it with Sequential.load instead.")
    model.set_weights([stored[name] for name in own])


def shapes_of(arrays: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """The shapes of tensors or arrays, by name."""
    return {name: tuple(x.shape) for name, x in arrays.items()}


def difference_of(ours: Mapping[str, Any], theirs: Mapping[str, Any], where: str) -> str:
    """The first of two models' weights that differ, by name; "" where none does. where: the other's place."""
    differing = sorted(name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name))
    if not differing:
        return ""
    name = differing[0]
    here, there = ours.get(name, "none"), theirs.get(name, "none")
    return f"{name!r} has shape {here} in the model and {there} in {where} ({len(differing)} such)"


def named_weights(model: Sequential) -> dict[str, Tensor]:
    """All weights of a model, by their names in a file."""
    return {f"layers/{layer.name}/{key}": w for layer in model.layers for key, w in layer.variables.items()}
