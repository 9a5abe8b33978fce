"""The model file: safetensors, with the architecture in its metadata. No pickle, so a file is only data."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy

from ..engine import backend
from ..engine.files import replacing
from ..engine.tensor import Tensor
from ..errors import ChalkgradError, DataError, DivergenceError, UsageError
from ..optim import make_optimizer
from .callbacks import History
from .finite import is_finite
from .layers import make_layer
from .losses import LOSSES, Loss, make_loss
from .metrics import Metric, make_metric
from .streams import Stream

if TYPE_CHECKING:
    from .sequential import Sequential

KEY = "chalkgrad"
FORMAT = 1


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
    state = model.optimizer.state if model.optimizer else {}
    contents = {name: _plain(w) for name, w in _named_weights(model).items()}
    contents |= {f"optimizer/{slot}": _plain(Tensor(values)) for slot, values in state.items()}
    data = serialize(contents, metadata={KEY: json.dumps({"format": FORMAT, **describe(model)}, default=_as_python)})
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def describe(model: Sequential) -> dict[str, Any]:
    """Everything about a model but its numbers, as plain values. Raises UsageError for a function of the user's own."""
    layers = [layer.config() for layer in model.layers]
    for config in layers:
        for key, value in config.items():
            if callable(value) or (key == "activation" and value is None and _has_function(model, config["name"])):
                raise UsageError(
                    f"the layer {config['name']!r} has a function of its own as {key}, which a file cannot hold: "
                    "use one by name, or keep the weights with get_weights()."
                )
    description: dict[str, Any] = {
        "name": model.name,
        "seed": model.seed,
        "dtype": model.dtype,
        "input_shape": list(model.shapes[0]),
        "layers": layers,
        "stream": asdict(model.stream),
        **({} if model.trainable else {"trainable": False}),
        "history": {"epoch": model.history.epoch, "history": model.history.history},
    }
    loss = model.loss
    if model.optimizer and loss and loss.name in LOSSES and loss.function is LOSSES[loss.name].function:
        description["compile"] = {
            "optimizer": model.optimizer.config(),
            "iterations": model.optimizer.iterations,
            "loss": loss.name,
            "from_logits": loss.from_logits,
            "label_smoothing": loss.label_smoothing,
            "metrics": [m.name for m in model.metrics if _is_known(m, loss)],
        }
    return description


def load(cls: type[Sequential], path: str | os.PathLike[str], device: str) -> Sequential:
    """Make a model of the class `cls` from the file; see Sequential.load."""
    description, tensors = read(path)
    try:
        model = cls(
            [make_layer(config) for config in description["layers"]],
            seed=description["seed"], dtype=description["dtype"], name=description["name"], device=device,
        )  # fmt: skip
        if not description.get("trainable", True):
            own = [layer.trainable for layer in model.layers]
            model.trainable = False
            for layer, value in zip(model.layers, own, strict=True):
                layer.trainable = value
        model.build(tuple(description["input_shape"]))
        model.history = History()
        model.history.epoch = list(description["history"]["epoch"])
        model.history.history = dict(description["history"]["history"])
        done = model.history.epoch[-1] + 1 if model.history.epoch else 0
        model.stream = Stream(**description.get("stream", {"done": done}))  # files of earlier versions have none
        compiled = description.get("compile")
        if compiled:
            smoothing = compiled.get("label_smoothing", 0.0)  # files of earlier versions have none
            loss = replace(make_loss(compiled["loss"]), from_logits=compiled["from_logits"], label_smoothing=smoothing)
            model.compile(make_optimizer(compiled["optimizer"]), loss, compiled["metrics"])
            assert model.optimizer is not None
            model.optimizer.iterations = compiled["iterations"]
    except (ChalkgradError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path}: its description of the model cannot be used ({error}).") from error
    _fill(model, path, tensors)
    if model.optimizer:
        for slot in model.optimizer.slots:
            if f"optimizer/{slot}" in tensors:
                model.optimizer.state[slot] = backend.to_device(tensors[f"optimizer/{slot}"].copy(), model.device)
        if model.optimizer.state:  # else it begins with the first update, an average with the weights of then
            model.optimizer.prepare(model.flat.data)
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
    ours, theirs = ({name: tuple(x.shape) for name, x in group.items()} for group in (own, stored))
    if ours != theirs:
        differing = sorted(name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name))
        name = differing[0]
        raise DataError(
            f"{path} holds another architecture: {name!r} has shape {ours.get(name, 'none')} in the model and "
            f"{theirs.get(name, 'none')} in the file ({len(differing)} such). Load it with Sequential.load instead."
        )
    model.set_weights([stored[name] for name in own])


def _named_weights(model: Sequential) -> dict[str, Tensor]:
    return {f"layers/{layer.name}/{key}": w for layer in model.layers for key, w in layer.variables.items()}


def _plain(x: Tensor) -> Any:
    """C-contiguous, since safetensors writes an array's memory as it lies."""
    return numpy.ascontiguousarray(x.numpy())


def _has_function(model: Sequential, name: str) -> bool:
    return any(layer.name == name and getattr(layer, "function", None) for layer in model.layers)


def _is_known(metric: Metric, loss: Loss) -> bool:
    try:
        return make_metric(metric.name, loss) == metric
    except UsageError:
        return False


def _as_python(value: Any) -> Any:
    """NumPy's numbers in a layer's or schedule's options, as JSON has them."""
    return value.item()
