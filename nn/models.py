"""Models, where Keras has them."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

from .architecture import remade
from .layers.core import Input
from .model import Model
from .nested import Body, Nested
from .sequential import Sequential

__all__ = ["Input", "Model", "Sequential", "clone_model", "load_model", "save_model"]


def load_model(
    path: str | os.PathLike[str],
    custom_objects: Mapping[str, Any] | None = None,
    compile: bool = True,
    *,
    device: str = "cpu",
) -> Any:
    """The model in a file that `save` wrote, of the class that it was; see `Model.load`."""
    return Model.load(path, device, custom_objects=custom_objects, compile=compile)


def save_model(model: Model, path: str | os.PathLike[str]) -> None:
    """Write a model into a file; see `Model.save`."""
    model.save(path)


def clone_model(model: Model, clone_function: Callable[[Any], Any] | None = None) -> Any:
    """A model of new layers that are made as the others are, with weights of their own, drawn from the same seed.

    clone_function: makes of each layer the one that takes its place; models among them are cloned.
    """
    config = model.get_config()
    if clone_function is not None:
        made = [clone_function(part) for part in model.parts if not isinstance(part, (Nested, Body))]
        given = {layer.name: layer.config() for layer in made}
        config["layers"] = [given.get(each["name"], each) for each in config["layers"]]
    return remade(type(model), config, model.device)
