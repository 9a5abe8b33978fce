"""The model file: safetensors, with the architecture in its metadata. No pickle, so a file is only data.

Of a function of the user's own the file has the name. `load` finds it among what was registered, or is given.
"""

from __future__ import annotations

import contextlib
import json
import os
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import numpy

from ..engine.files import replacing
from ..engine.primitive import Primitive, registry
from ..engine.tensor import Tensor
from ..errors import DataError, DivergenceError, UsageError
from ..names import OWN, PRIMITIVE, is_ours, name_of_own, registered
from ..optim import OPTIMIZERS
from ..optim.optimizer import RAW
from ..optim.schedule import SCHEDULES
from .architecture import MODELS
from .container import check_extension, check_header, digest_of
from .criterion import Loss
from .description import UNUSABLE, made
from .fitting import make_metric
from .heads import Heads, reported
from .layers import LAYERS
from .loading import (
    DIGEST,
    FORMAT,
    KEY,
    PLAIN,
    STATE,
    TRAINING,
    difference_of,
    implied,
    load,
    named_weights,
    shapes_for,
    shapes_of,
)
from .metrics import METRICS
from .nested import everything_in
from .state import CHOICES, Standing, is_finite, to_plain
from .tally import Metric

if TYPE_CHECKING:
    from .trained import Trained


def save(model: Trained, path: str | os.PathLike[str], before: Callable[[], None] | None = None) -> None:
    """Write the model to `path`; see Sequential.save, and for `before` engine.files.replacing."""
    check_extension(path)
    _check_finite(model, path)
    with model.under_way.at_begin() if model.under_way else contextlib.nullcontext() as within:
        described = Description(model)
        described.try_out(path)
        state = dict(model.optimizer.state) if model.optimizer else {}
        if model.optimizer and not model.optimizer.averaged:
            state.pop(RAW, None)
        contents = {name: _plain(w) for name, w in named_weights(model).items()}
        contents |= {f"{STATE}{slot}": _plain(Tensor(values)) for slot, values in state.items()}
        present = model.present_standing()
        standing = _standing(replace(present, within=within or present.within), contents)
        description = {**described.plain, **({"standing": standing} if standing else {})}
        _write(path, description, contents, before)


def save_weights(model: Trained, path: str | os.PathLike[str]) -> None:
    """Write the weights alone; see Model.save_weights."""
    if not str(path).endswith(".weights.h5"):  # as Keras wants it
        check_extension(path)
    _check_finite(model, path)
    contents = {name: _plain(w) for name, w in named_weights(model).items()}
    _write(path, {"format": PLAIN, "name": model.name}, contents)


def _check_finite(model: Trained, path: str | os.PathLike[str]) -> None:
    for layer in model.parts:
        for key, w in layer.variables.items():
            if not is_finite(w._data):
                raise DivergenceError(
                    f"{path} is left as it is: the weight {key!r} of the layer {layer.name!r} has become NaN or "
                    "infinite. Load the last good model, and train on with a smaller learning rate."
                )


def _write(
    path: str | os.PathLike[str],
    description: dict[str, Any],
    contents: Mapping[str, Any],
    before: Callable[[], None] | None = None,
) -> None:
    from safetensors.numpy import save as serialize

    description[DIGEST] = digest_of(description, contents)
    data = serialize(dict(contents), metadata={KEY: json.dumps(description)})
    try:
        check_header(data)
    except ValueError as error:
        raise UsageError(f"{path} is not written: {error}. Begin a new history: model.history = History().") from None
    with replacing(path, before=before) as temporary:
        temporary.write_bytes(data)


def _standing(standing: Standing, contents: dict[str, Any]) -> dict[str, Any]:
    """Where the training stands, as plain values; arrays in it go into `contents`."""

    def keep(array: Any) -> str:
        name = f"{TRAINING}{sum(each.startswith(TRAINING) for each in contents)}"
        contents[name] = numpy.ascontiguousarray(array)
        return name

    if not (standing.callbacks or standing.stop or standing.within):
        return {}
    try:
        parts = {**vars(standing), "within": standing.within and vars(standing.within)}
        return {name: to_plain(value, keep) for name, value in parts.items() if value is not None}
    except TypeError as error:
        raise UsageError(
            f"get_state of a callback ({', '.join(standing.callbacks)}) gave {error}: a file holds numbers, texts, "
            "NumPy arrays, lists and dicts of them."
        ) from None


def restore(model: Trained, path: str | os.PathLike[str]) -> None:
    """Make a model that is built and compiled what the file says of it and of its training, whole or not at all.

    Raises DataError where the file is of another model: of other layers, another optimiser, another loss.
    """
    described = Description(model)
    parts = [*model.layers, *([model.optimizer, model.optimizer.schedule] if model.optimizer else [])]
    kinds = {type(part).__name__: type(part) for part in parts if not is_ours(type(part))}
    try:
        other = load(_kind(model), path, model.device, {**described.own, **kinds})
    except DataError as error:
        raise DataError(f"{path} is of another model, or damaged: {error}") from error
    ours, theirs = (_identity(each) for each in (described.plain, Description(other).plain))
    for name in ours:
        if ours[name] != theirs[name]:
            raise DataError(f"{path} is of another model: {name} differ. Remove it, or choose another place.")
    assert model.optimizer is not None
    assert other.optimizer is not None
    model.set_weights(other.get_weights())
    for name in ("state", "iterations", "schedule", "averaged"):
        setattr(model.optimizer, name, getattr(other.optimizer, name))
    for name in ("history", "stream", "standing", "facts"):
        setattr(model, name, getattr(other, name))


def _identity(plain: Mapping[str, Any]) -> dict[str, Any]:
    """What a description says of a model that training leaves as it is."""
    compiled = plain.get("compile", {})
    optimizer = {name: value for name, value in compiled.get("optimizer", {}).items() if name != "learning_rate"}
    return {
        "layers": plain["layers"],
        "dtypes": plain["dtype"],
        "optimizers": optimizer,
        "losses": compiled.get("loss"),
    }


class Description:
    """Everything about a model but its numbers.

    plain: as plain values; a function of the user's own, say, is `{"own": name}`. own: these things by name. notes:
    what a file cannot hold. Raises UsageError for a layer with such a thing that has no name.
    """

    def __init__(self, model: Trained) -> None:
        self.model = model
        self.own: dict[str, Any] = {}
        self.notes: list[str] = []
        told = model.architecture()
        names = [part.name for part in model.parts]
        layers = [self._written(c, f"the layer {n!r} has") for c, n in zip(told.pop("layers"), names, strict=False)]
        plain = "model" not in told and all(config["layer"] != "Nested" for config in layers)
        shapes = [list(shape) for shape in model.input_shapes]
        self.plain: dict[str, Any] = {
            "format": PLAIN if plain else FORMAT,
            "name": model.name,
            "seed": model.seed,
            "dtype": model.policy,
            "input_shape": shapes if len(shapes) > 1 else shapes[0],
            "layers": layers,
            "stream": asdict(model.stream),
            **self._written(told, f"the model {model.name!r} has"),
            "history": {"epoch": model.history.epoch, "history": model.history.history},
            "facts": model.facts,
        }
        if model.optimizer and model.loss:
            try:
                self.plain["compile"] = self._compiled(model, model.loss)
            except UsageError as error:
                self.notes.append(f"it has neither loss nor optimizer, since {error}")

    def _compiled(self, model: Trained, loss: Loss) -> dict[str, Any]:
        assert model.optimizer is not None
        several = loss if isinstance(loss, Heads) else None
        plain, weighted = (reported(model, each) for each in (False, True))
        if several:
            plain, weighted = ([*map(self._metrics, each, several.losses)] for each in (plain, weighted))
        else:
            plain, weighted = (self._metrics(each, loss) for each in (plain, weighted))
        losses: Any = loss.shortest()
        weights = {}
        if isinstance(loss, Heads):
            losses, weights = [each.shortest() for each in loss.losses], {"loss_weights": loss.loss_weights}
        return {
            "optimizer": self._written(model.optimizer.config(), "the optimizer has"),
            "iterations": model.optimizer.iterations,
            "loss": self._written(losses, "compile was given"),
            "metrics": plain,
            **({"weighted_metrics": weighted} if any(weighted) else {}),
            **weights,
            **{name: getattr(model, name) for name in CHOICES},
        }

    def _metrics(self, metrics: Iterable[Metric], loss: Loss) -> list[Any]:
        found = []
        for metric in metrics:
            try:
                found.append(self._metric(metric, loss))
            except UsageError as error:
                self.notes.append(f"it is without a metric, since {error}")
        return found

    def _metric(self, metric: Metric, loss: Loss) -> Any:
        if metric == make_metric(metric.name, loss) if metric.name in (*METRICS, *METRICS.aliases) else False:
            return metric.name
        return self._written(metric.shortest(), "compile was given")

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
        """Make a model of it; say what reading it back takes.

        Raises UsageError where no such model comes of it.
        """
        model, optimizer = self.model, self.model.optimizer
        parts = [model, *everything_in(model), *([optimizer, optimizer.schedule] if optimizer else [])]
        kinds = {type(part).__name__: type(part) for part in parts if not is_ours(type(part))}
        try:
            again = made(_kind(model), json.loads(json.dumps(self.plain)), {**self.own, **kinds}, "cpu")
        except UNUSABLE as error:
            why = (
                " A class whose constructor takes other arguments than it keeps says in config() what it is made with."
            )
            raise UsageError(
                f"{path} is not written, since no model can be made of it again ({error}).{why if kinds else ''}"
            ) from error
        theirs = implied(again, shapes_for(again, model.shapes))
        if difference := difference_of(shapes_of(named_weights(model)), theirs, "what is made of it"):
            raise UsageError(
                f"{path} is not written, since another model would be made of it: {difference}. A layer keeps what "
                "its constructor is given under the same names, or says it in config()."
            )
        known = [*registered.values(), *LAYERS.values(), *MODELS.values(), *OPTIMIZERS.values(), *SCHEDULES.values()]
        unknown = [name for name, thing in (self.own | kinds).items() if not any(thing is each for each in known)]
        if unknown:
            given = ", ".join(f"{name!r}: {name}" for name in unknown)
            self.notes.append(
                f"to load it takes load(…, custom_objects={{{given}}}), unless @nn.register stands above what is "
                "called so"
            )
        if self.notes:
            warnings.warn(f"{path}: {'; '.join(self.notes)}.", stacklevel=4)


def _kind(model: Trained) -> type[Trained]:
    """Our class of the model, that of which a file's model is."""
    return next(kind for kind in type(model).__mro__ if is_ours(kind))


def _plain(x: Tensor) -> Any:
    """C-contiguous, since safetensors writes an array's memory as it lies."""
    return numpy.ascontiguousarray(x.numpy())
