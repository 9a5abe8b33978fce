"""The model file: safetensors, with the architecture in its metadata. No pickle, so a file is only data.

Of a function of the user's own the file has the name. `load` finds it among what was registered, or is given.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy

from ..engine import backend
from ..engine.files import replacing
from ..engine.primitive import Primitive, registry
from ..engine.tensor import Tensor
from ..errors import ChalkgradError, DataError, DivergenceError, UsageError
from ..names import OWN, is_ours, name_of_own, registered, resolved
from ..optim import OPTIMIZERS, make_optimizer
from ..optim.schedule import SCHEDULES
from .draws import Stream
from .finite import is_finite
from .hooks import History
from .layers import LAYERS, make_layer
from .losses import LOSSES, Loss, make_loss
from .metrics import METRICS, Metric, make_metric

if TYPE_CHECKING:
    from .sequential import Sequential

KEY = "chalkgrad"
FORMAT = 1
PRIMITIVE = "primitive"
"""The key under which a file names a primitive; with `names.OWN` of the user's own functions."""
UNUSABLE = (ChalkgradError, KeyError, TypeError, ValueError, AttributeError)
"""What a description may raise that says something else than it should."""


def save(model: Sequential, path: str | os.PathLike[str]) -> None:
    """Write the model to `path`; see Sequential.save."""
    from safetensors.numpy import save as serialize

    for layer in model.layers:
        for key, w in layer.weights.items():
            if not is_finite(w._data):
                raise DivergenceError(
                    f"{path} is left as it is: the weight {key!r} of the layer {layer.name!r} has become NaN or "
                    "infinite. Load the last good model, and train on with a smaller learning rate."
                )
    described = Description(model)
    described.try_out(path)
    state = model.optimizer.state if model.optimizer else {}
    contents = {name: _plain(w) for name, w in _named_weights(model).items()}
    contents |= {f"optimizer/{slot}": _plain(Tensor(values)) for slot, values in state.items()}
    data = serialize(contents, metadata={KEY: json.dumps({"format": FORMAT, **described.plain})})
    with replacing(path) as temporary:
        temporary.write_bytes(data)


class Description:
    """Everything about a model but its numbers.

    plain: as plain values; a function of the user's own, say, is `{"own": name}`. own: these things by name. notes:
    what a file cannot hold. Raises UsageError for a layer with such a thing that has no name.
    """

    def __init__(self, model: Sequential) -> None:
        self.model = model
        self.own: dict[str, Any] = {}
        self.notes: list[str] = []
        self.plain: dict[str, Any] = {
            "name": model.name,
            "seed": model.seed,
            "dtype": model.dtype,
            "input_shape": list(model.shapes[0]),
            "layers": [self._written(layer.config(), f"the layer {layer.name!r} has") for layer in model.layers],
            "stream": asdict(model.stream),
            **({} if model.trainable else {"trainable": False}),
            "history": {"epoch": model.history.epoch, "history": model.history.history},
        }
        if model.optimizer and model.loss:
            try:
                self.plain["compile"] = self._compiled(model, model.loss)
            except UsageError as error:
                self.notes.append(f"it has neither loss nor optimizer, since {error}")

    def _compiled(self, model: Sequential, loss: Loss) -> dict[str, Any]:
        assert model.optimizer is not None
        ours = loss.name in LOSSES and loss.function is LOSSES[loss.name].function
        metrics = []
        for metric in model.metrics:
            try:
                metrics.append(self._metric(metric, loss))
            except UsageError as error:
                self.notes.append(f"it is without a metric, since {error}")
        return {
            "optimizer": self._written(model.optimizer.config(), "the optimizer has"),
            "iterations": model.optimizer.iterations,
            "loss": loss.name if ours else self._written(_made_of(loss, make_loss), "compile was given"),
            "from_logits": loss.from_logits,
            "label_smoothing": loss.label_smoothing,
            "metrics": metrics,
        }

    def _metric(self, metric: Metric, loss: Loss) -> Any:
        if metric.name in (*METRICS, "accuracy") and metric == make_metric(metric.name, loss):
            return metric.name
        return self._written(_made_of(metric, lambda given: make_metric(given, loss)), "compile was given")

    def _written(self, value: Any, whose: str, where: str = "") -> Any:
        """A value as JSON has it."""
        if isinstance(value, Mapping):
            return {key: self._written(each, whose, f" as {key}") for key, each in value.items()}
        if isinstance(value, (list, tuple)):
            return [self._written(each, whose, where) for each in value]
        if isinstance(value, (numpy.generic, numpy.ndarray)):
            return value.tolist()
        if value is None or isinstance(value, (bool, int, float, str)):
            return value
        if isinstance(value, Primitive) and registry.get(value.name) is value:
            return {PRIMITIVE: value.name}
        name = name_of_own(value)
        if name is None:
            raise UsageError(
                f"{whose} a function of its own{where}, and a file holds its name, but it has none: use def, or "
                "nn.register(…, name='…'), or keep the weights with get_weights()."
            )
        if self.own.setdefault(name, value) is not value:
            raise UsageError(f"{whose} one of two things called {name!r}: nn.register(…, name='…') tells them apart.")
        return {OWN: name}

    def try_out(self, path: str | os.PathLike[str]) -> None:
        """Make a model of it, where it holds more than ours; say what reading it back takes.

        Raises UsageError where no such model comes of it.
        """
        model, optimizer = self.model, self.model.optimizer
        parts = [*model.layers, *([optimizer, optimizer.schedule] if optimizer else [])]
        kinds = {type(part).__name__: type(part) for part in parts if not is_ours(type(part))}
        if self.own or kinds:
            try:
                again = made(_kind(model), json.loads(json.dumps(self.plain)), {**self.own, **kinds}, "cpu")
            except UNUSABLE as error:
                raise UsageError(
                    f"{path} is not written, since no model can be made of it again ({error}). A class whose "
                    "constructor takes other arguments than it keeps says in config() what it is made with."
                ) from error
            weights = _shapes(_named_weights(model)), _shapes(_named_weights(again))
            if difference := _difference(*weights, "what is made of it"):
                raise UsageError(
                    f"{path} is not written, since another model would be made of it: {difference}. A layer keeps what "
                    "its constructor is given under the same names, or says it in config()."
                )
        known = [*registered.values(), *LAYERS.values(), *OPTIMIZERS.values(), *SCHEDULES.values()]
        unknown = [name for name, thing in (self.own | kinds).items() if not any(thing is each for each in known)]
        if unknown:
            given = ", ".join(f"{name!r}: {name}" for name in unknown)
            self.notes.append(
                f"to load it takes load(…, custom_objects={{{given}}}), unless @nn.register stands above what is "
                "called so"
            )
        if self.notes:
            warnings.warn(f"{path}: {'; '.join(self.notes)}.", stacklevel=4)


def _kind(model: Sequential) -> type[Sequential]:
    """Our class of the model, that of which a file's model is."""
    return next(kind for kind in type(model).__mro__ if is_ours(kind))


def _made_of(thing: Any, make: Callable[[Any], Any]) -> Any:
    """The user's function that a loss or a metric was made of; itself, where it was not."""
    try:
        return thing.function if make(thing.function) == thing else thing
    except UsageError:
        return thing


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
    try:
        model = made(cls, description, custom_objects or {}, device)
    except UNUSABLE as error:
        raise DataError(f"{path}: its description of the model cannot be used ({error}).") from error
    _fill(model, path, tensors)
    if model.optimizer:
        for slot in model.optimizer.slots:
            if f"optimizer/{slot}" in tensors:
                model.optimizer.state[slot] = backend.to_device(tensors[f"optimizer/{slot}"].copy(), model.device)
        if model.optimizer.state:  # else it begins with the first update, an average with the weights of then
            model.optimizer.prepare(model.flat.data)
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
    settings = description.get("compile")
    if settings:
        smoothing = settings.get("label_smoothing", 0.0)  # files of earlier versions have none
        loss = replace(make_loss(settings["loss"]), from_logits=settings["from_logits"], label_smoothing=smoothing)
        optimizer = settings["optimizer"]
        named = {**optimizer, "name": own.get(optimizer["name"], optimizer["name"])}
        model.compile(make_optimizer(named), loss, settings["metrics"])
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
    if description.get("format") != FORMAT:
        raise DataError(f"{path} has format {description.get('format')!r}; this version reads format {FORMAT}.")
    return description, tensors


def _fill(model: Sequential, path: str | os.PathLike[str], tensors: dict[str, Any]) -> None:
    own = _named_weights(model)
    stored = {name: array for name, array in tensors.items() if not name.startswith("optimizer/")}
    if difference := _difference(_shapes(own), _shapes(stored), "the file"):
        raise DataError(f"{path} holds another architecture: {difference}. Load it with Sequential.load instead.")
    model.set_weights([stored[name] for name in own])


def _shapes(arrays: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(x.shape) for name, x in arrays.items()}


def _difference(ours: Mapping[str, Any], theirs: Mapping[str, Any], where: str) -> str:
    """The first of two models' weights that differ, by name; "" where none does. where: the other's place."""
    differing = sorted(name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name))
    if not differing:
        return ""
    name = differing[0]
    here, there = ours.get(name, "none"), theirs.get(name, "none")
    return f"{name!r} has shape {here} in the model and {there} in {where} ({len(differing)} such)"


def _named_weights(model: Sequential) -> dict[str, Tensor]:
    return {f"layers/{layer.name}/{key}": w for layer in model.layers for key, w in layer.variables.items()}


def _plain(x: Tensor) -> Any:
    """C-contiguous, since safetensors writes an array's memory as it lies."""
    return numpy.ascontiguousarray(x.numpy())
