"""The state of a training: what a step changes, copied and put back, and what one that goes on has to know besides."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy

from .. import __version__
from ..engine import backend, random
from ..errors import UsageError
from ..optim.optimizer import AVERAGE, RAW
from ..replay.arguments import leaves
from .measuring import is_masked, places

if TYPE_CHECKING:
    from .samples import Samples
    from .trained import Trained


CHOICES = ("run_eagerly", "jit_compile", "deterministic", "check_finite")
"""What `compile` is given besides optimiser, loss and metrics, by which the steps of a training are computed."""


def is_finite(array: backend.Array) -> bool:
    """Whether every element is a finite number; waits for the device."""
    return bool(backend.fetch(backend.namespace_of(array).isfinite(array).all()))


def changing(model: Trained) -> dict[str, backend.Array]:
    """What a step changes, by its name in a file: the weights in one, the optimiser's state and the layers'."""
    assert model.optimizer is not None
    slots = {f"optimizer/{slot}": array for slot, array in model.optimizer.state.items() if slot != RAW}
    states = {f"layers/{layer.name}/{key}": w._data for layer in model.parts for key, w in layer.state.items()}
    return {"weights": model.flat.data, **slots, **states}


def show_averages(model: Trained) -> None:
    """Put the averages of its weights into the model, where there are some, and the raw ones into the optimiser."""
    optimizer = model.optimizer
    if not optimizer or not optimizer.use_ema or optimizer.averaged:
        return
    flat = model.flat
    raw = optimizer.state.setdefault(RAW, flat.data.copy())
    for run in flat.runs():
        raw[run] = flat.data[run]
        flat.data[run] = optimizer.state[AVERAGE][run]
    flat.changed()
    optimizer.averaged = True


def show_raw(model: Trained) -> None:
    """Put the raw weights back, from which a training goes on.

    A tensor that is no longer its average was set since, and stays. So does one that is frozen: its raw weights wait.
    """
    optimizer = model.optimizer
    if not optimizer or not optimizer.averaged:
        return
    optimizer.averaged = False
    flat, raw, average = model.flat, optimizer.state[RAW], optimizer.state[AVERAGE]
    xp = backend.namespace_of(raw)
    for x, own, now, shown in zip(flat.tensors, *map(flat.split, (raw, flat.data, average)), strict=True):
        if x.requires_grad:
            now[...] = xp.where((now == shown).all(), own, now)  # decided on the device, without waiting for it
    flat.changed()


class Snapshot:
    """A copy of what a step changes. It takes as much memory as that, once."""

    def __init__(self, model: Trained) -> None:
        self.model, self.arrays = model, dict[str, backend.Array]()
        self.take()

    def take(self) -> None:
        """Copy anew."""
        now = changing(self.model)
        if now.keys() != self.arrays.keys():  # at first, and where the model was compiled anew
            self.arrays = {name: array.copy() for name, array in now.items()}
        for name, array in now.items():
            self.arrays[name][...] = array
        assert self.model.optimizer is not None
        self._iterations, self._schedule = self.model.optimizer.iterations, self.model.optimizer.schedule
        self._epochs = self.model.stream.done

    def put_back(self) -> None:
        """Make the model what it was."""
        model = self.model
        assert model.optimizer is not None
        for name, array in changing(model).items():
            if name in self.arrays:
                array[...] = self.arrays[name]
        for w in model.weights:
            w.changed()
        model.optimizer.iterations, model.optimizer.schedule = self._iterations, self._schedule
        model.stream.done = self._epochs


@dataclass
class Within:
    """How far the epoch had come that was under way when a file was written, of which the model stands at the begin.

    key: see `key_of`; with another model, other samples or settings the epoch begins anew. seen: samples learnt from.
    arrays, iterations, learning_rate, generator, means, callbacks: what they were then; learning_rate is None where a
    schedule gives it.
    """

    key: str
    seen: int
    arrays: dict[str, Any]
    iterations: int
    learning_rate: float | None
    generator: dict[str, Any]
    means: Any
    callbacks: dict[str, Any]

    def check(self, model: Trained) -> None:
        """Raise UsageError, or what NumPy raises for a generator's state, where it is none of this model."""
        expected = {name: (array.shape, array.dtype) for name, array in changing(model).items()}
        found = {name: (array.shape, array.dtype) for name, array in self.arrays.items()}
        kept = places(model.metrics, model.metric_shapes, is_masked(model))
        if found != expected or self.means.shape != (1 + sum(map(math.prod, kept)),) or self.means.dtype != "float64":
            raise UsageError("within its epoch it holds other tensors than the model has")
        if min(self.seen, self.iterations) < 0 or not all(map(is_finite, (*self.arrays.values(), self.means))):
            raise UsageError("within its epoch it holds what is negative, NaN or infinite")
        random.generator(0).bit_generator.state = self.generator
        check_states(self.callbacks)


@dataclass
class Standing:
    """Where a training stands beside weights and optimiser: what the `fit` that goes on from there takes up.

    epochs: those of its history. stop: whether a callback had ended it. callbacks: their states, see
    `Callback.get_state`, by class and number. within: how far the epoch after them had come.
    """

    epochs: int = 0
    stop: bool = False
    callbacks: dict[str, Any] = field(default_factory=dict)
    within: Within | None = None

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> Standing:
        """What a file tells of."""
        within = plain.get("within")
        check_states(plain.get("callbacks", {}))
        return cls(**{**plain, "within": within and Within(**within)})


def key_of(model: Trained, described: Mapping[str, Any], samples: Samples, *place: Any) -> str:
    """What tells an epoch that is to be gone on with from another: by all that it begins with.

    described: the model, as a file has it. place: the epoch's number and what else decides the order. Of the samples
    it is their number, their dtypes, and a few of them.
    """
    told = {name: value for name, value in described.items() if name not in ("history", "stream", "facts")}
    told["compile"] = {name: value for name, value in told.get("compile", {}).items() if name not in CHOICES}
    key = hashlib.sha256(json.dumps([told, place], sort_keys=True).encode())
    some = max(1, len(samples) // 64)
    batch = [*leaves(samples.batch)]
    names = ["x", "y", "sample_weight", *(f"batch {number}" for number in range(3, len(batch)))]
    given = {name: array[::some] for name, array in zip(names, batch, strict=False)}
    arrays = {**changing(model), **given, "": numpy.array(len(samples))}
    for name, array in arrays.items():
        key.update(f"{name} {array.dtype} {array.shape}".encode())
        key.update(numpy.ascontiguousarray(backend.fetch(array)).tobytes())
    return key.hexdigest()


def check_states(states: Any) -> None:
    """Raise UsageError for what is not as `Hooks.states` gives it."""
    for name, known in states.items():
        if not isinstance(known, dict) or known.keys() != {"told", "state"} or not isinstance(known["state"], dict):
            raise UsageError(f"{name!r} is no state of a callback")


def versions() -> dict[str, str]:
    """What computes every training, as far as other versions of it may give other bits."""
    return {"chalkgrad": __version__, "numpy": numpy.__version__}


def told(versions: Mapping[str, str]) -> str:
    """Versions as a line has them."""
    return ", ".join(f"{name} {version}" for name, version in versions.items())


def to_plain(value: Any, keep: Callable[[Any], str]) -> Any:
    """A callback's state as JSON has it. keep: takes an array, and returns the name that stands for it.

    Raises TypeError for what is neither an array nor JSON's.
    """
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            raise TypeError("a dict whose keys are no texts")
        return {key: to_plain(each, keep) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_plain(each, keep) for each in value]
    if isinstance(value, numpy.generic):
        return value.item()
    if hasattr(value, "nbytes"):
        return {"array": keep(backend.fetch(value))}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(f"a {type(value).__name__}")


def from_plain(value: Any, arrays: Any) -> Any:
    """The state again. arrays: by the names that stand for them, out of which each is taken once."""
    if isinstance(value, dict):
        if value.keys() == {"array"}:
            return arrays.pop(value["array"])
        return {key: from_plain(each, arrays) for key, each in value.items()}
    return [from_plain(each, arrays) for each in value] if isinstance(value, list) else value
