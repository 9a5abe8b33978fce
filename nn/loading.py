"""A model file read: what it says is checked, then a model is made of it. `checkpoint` writes them."""

from __future__ import annotations

import contextlib
import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy

from ..checks import is_whole
from ..engine import backend
from ..engine.tensor import Tensor
from ..errors import DataError, UsageError
from ..optim.hyperparameters import COUNTED
from ..optim.optimizer import RAW
from .container import Container, Shape, Values, parsed
from .description import UNUSABLE, Epochs, history_of, made, samples_in
from .hooks import History
from .layers import Layer
from .layers.written import set_weights
from .schema import check, shown
from .state import Standing, from_plain, is_finite

if TYPE_CHECKING:
    from .trained import Trained

KEY = "chalkgrad"
"""The key of a file's metadata under which the description is."""
DIGEST = "digest"
"""The key of the description under which the digests of the rest of it and of the tensors are."""
PLAIN, FORMAT = 2, 3
"""What is written: of layers one after another, and of models that are more than that. Format 1 has no digest, and
knows of no training beside history and optimiser."""
STATE, TRAINING = "optimizer/", "training/"
"""What the names of an optimiser's state begin with, and of what belongs to the training alone."""
M = TypeVar("M", bound="Trained")
Parts = tuple[Mapping[str, Shape], Mapping[str, Shape]]
"""The shapes of a layer's weights and of its state."""


def load(
    cls: type[M],
    path: str | os.PathLike[str],
    device: str,
    custom_objects: Mapping[str, Any] | None = None,
    compiled: bool = True,
) -> M:
    """Make a model of the class `cls` from the file; see Sequential.load.

    First what is said is checked, then the names, dtypes and shapes of the tensors that it implies are compared with
    those that are there; then their bytes are read to where they stay.
    """
    with Container(path) as file:
        description, digest = described(file)
        if "layers" not in description and description.keys() <= {"format", "name"}:
            raise DataError(f"{path} holds the weights alone: make the model, and call its load_weights.")
        if not compiled:
            description.pop("compile", None)
        try:
            model = made(cls, description, custom_objects or {}, device)
            shapes = model.infer_shapes(samples_in(description))
            parts = shapes_for(model, shapes)
        except UNUSABLE as error:
            raise DataError(f"{path}: its description of the model cannot be used ({_line(error)}).") from error
        _check_tensors(file, model, parts)
        with _room(file):
            check_bytes(file, digest)
            _fill(file, model, shapes, parts)
            model.standing = _standing(file, description.get("standing"), model)
    return model


def _check_tensors(file: Container, model: Trained, parts: Sequence[Parts]) -> None:
    """Raise DataError where the file has not the tensors that the model consists of, nothing of which is there yet."""
    expected = implied(model, parts)
    total = sum(math.prod(shape) for learned, _ in parts for shape in learned.values())
    slots = model.optimizer.kept if model.optimizer else ()
    state = {f"{STATE}{slot}": (1 if slot == COUNTED else total,) for slot in slots if f"{STATE}{slot}" in file.entries}
    apart = TRAINING if model.optimizer else (TRAINING, STATE)
    kept = {name: entry for name, entry in file.entries.items() if not name.startswith(apart)}
    if difference := difference_of({**expected, **state}, shapes_of(kept), "the file"):
        raise DataError(f"{file.path} holds other tensors than it describes: {difference}.")
    for name, entry in kept.items():
        if entry.dtype != model.dtype:
            raise DataError(f"{file.path}: {shown(name)} is of {entry.dtype}, and the model of {model.dtype}.")


def shapes_for(model: Trained, shapes: Sequence[Shape]) -> list[Parts]:
    """The shapes of each layer's weights and state, by name. shapes: of a sample before each layer."""
    return [layer.shapes_for(shape) for layer, shape in zip(model.parts, model.part_shapes(shapes), strict=True)]


def implied(model: Trained, parts: Sequence[Parts]) -> dict[str, Shape]:
    """The shapes of all weights, by their names in a file, of a model that need not be built."""
    own = zip(model.parts, parts, strict=True)
    return {weight_name(layer, key): s for layer, both in own for each in both for key, s in each.items()}


def _fill(file: Container, model: Trained, shapes: Sequence[Shape], parts: Sequence[Parts]) -> None:
    """Give the model the file's arrays: what is learned lies in one buffer, as `Flat` has it, from the first."""
    flat = numpy.empty(sum(math.prod(shape) for learned, _ in parts for shape in learned.values()), model.dtype)
    place, arrays = 0, []
    for layer, (learned, state) in zip(model.parts, parts, strict=True):
        weights: dict[str, Values] = {}
        for key, shape in learned.items():
            weights[key] = flat[place : place + math.prod(shape)].reshape(shape)
            place += math.prod(shape)
        own = weights, {key: numpy.empty(shape, flat.dtype) for key, shape in state.items()}
        for key, array in (*own[0].items(), *own[1].items()):
            file.read_into(weight_name(layer, key), array)
            if not is_finite(array):
                raise DataError(f"{file.path}: the weight {key!r} of the layer {layer.name!r} is NaN or infinite.")
        arrays.append(own)
    model.build_of(shapes, arrays)
    optimizer = model.optimizer
    if not optimizer:
        return
    optimizer.averaged = f"{STATE}{RAW}" in file.entries
    for name in (f"{STATE}{slot}" for slot in optimizer.kept if f"{STATE}{slot}" in file.entries):
        array = numpy.empty(file.entries[name].shape, flat.dtype)
        file.read_into(name, array)
        if not is_finite(array):
            tensors = model.flat.tensors, model.flat.split(array)
            at = next(w.name for w, part in zip(*tensors, strict=True) if not is_finite(part))
            raise DataError(
                f"{file.path}: the optimizer's {name.removeprefix(STATE)!r} of {at!r} is NaN or infinite. "
                "load(…, compile=False) takes the weights without it."
            )
        optimizer.state[name.removeprefix(STATE)] = backend.to_device(array, model.device)
    if optimizer.state:  # else it begins with the first update, an average with the weights
        optimizer.prepare(model.flat.data)


def _standing(file: Container, plain: Mapping[str, Any] | None, model: Trained) -> Standing:
    """Where the training stands, with the arrays that belong to that."""
    arrays = {}
    for name, entry in file.entries.items():
        if name.startswith(TRAINING):
            arrays[name] = numpy.empty(entry.shape, entry.dtype)
            file.read_into(name, arrays[name])
    try:
        standing = Standing.of(from_plain(plain or {}, arrays))
        if arrays:
            raise UsageError(f"it does not say what {shown(min(arrays))} is")
        if not model.optimizer:
            standing.within = None
        if standing.within:
            standing.within.check(model)
    except UNUSABLE as error:
        raise DataError(f"{file.path}: what it says of the training cannot be used ({_line(error)}).") from error
    return standing


@contextlib.contextmanager
def _room(file: Container) -> Iterator[None]:
    try:
        yield
    except MemoryError as error:
        raise DataError(f"{file.path}: the machine has not the memory for {file.size} bytes.") from error


def described(file: Container) -> tuple[dict[str, Any], str]:
    """The description in a model file, and the digest of its tensors, "" where it has none.

    Raises DataError where the description is missing, damaged, or of a later format.
    """
    text = file.metadata.get(KEY)
    if text is None:
        raise DataError(f"{file.path} is a safetensors file, but no model of chalkgrad's: it does not say so.")
    try:
        found = parsed(text, file.size)
    except ValueError as error:
        raise file.damaged(error) from error
    if not isinstance(found, dict):
        raise DataError(f"{file.path}: its description of the model cannot be used (it is a {type(found).__name__}).")
    kind: Any = found.get("format")
    if not is_whole(kind) or not 1 <= kind <= FORMAT:
        raise DataError(
            f"{file.path} has format {shown(kind)}; this version reads 1 to {FORMAT}. Where a newer chalkgrad wrote "
            "it, that reads it: pip install --upgrade chalkgrad."
        )
    if kind == 1:
        return found, ""
    digest = str(found.pop(DIGEST, ""))
    try:
        same = json.dumps({**found, DIGEST: digest}) == text  # 1E-07 for 1e-07 is the same number, and another bit
        whole = same and next(file.digests(found)) == digest[:64]
    except RecursionError as error:
        raise file.damaged("it nests too deep") from error
    if not whole:
        raise file.damaged("what it says is not what was written")
    return found, digest[64:]


def check_bytes(file: Container, digest: str) -> None:
    """Raise DataError where the tensors are not those of which this is the digest."""
    if digest and [*file.digests({})][1] != digest:
        raise file.damaged("its tensors are not what was written")


def history_in(path: str | os.PathLike[str]) -> History:
    """The history of the model in a file; raises DataError as `Sequential.load` does."""
    with Container(path) as file:
        epochs: Any = described(file)[0].get("history")
        try:
            check(epochs, Epochs, "its history")
            return history_of(epochs)
        except UsageError as error:
            raise DataError(f"{path}: {error}.") from error


def load_weights(model: Trained, path: str | os.PathLike[str]) -> None:
    """Take the weights of the file; see Sequential.load_weights."""
    with Container(path) as file:
        _, digest = described(file)
        own = named_weights(model)
        stored = {name: entry for name, entry in file.entries.items() if not name.startswith((STATE, TRAINING))}
        if difference := difference_of(shapes_of(own), shapes_of(stored), "the file"):
            raise DataError(f"{path} holds another architecture: {difference}. Load it with Sequential.load instead.")
        with _room(file):
            check_bytes(file, digest)
            arrays = []
            for name, entry in ((name, stored[name]) for name in own):
                if not entry.dtype.startswith("float"):
                    raise DataError(
                        f"{path}: {shown(name)} is of {entry.dtype}, and weights are floating-point numbers."
                    )
                arrays.append(numpy.empty(entry.shape, entry.dtype))
                file.read_into(name, arrays[-1])
                if not is_finite(arrays[-1]):
                    raise DataError(f"{path}: {shown(name)} is NaN or infinite.")
            set_weights("the model", [*own.values()], arrays)


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


def named_weights(model: Trained) -> dict[str, Tensor]:
    """All weights of a model, by their names in a file."""
    return {weight_name(layer, key): w for layer in model.parts for key, w in layer.variables.items()}


def weight_name(layer: Layer, key: str) -> str:
    """What a file calls a layer's weight."""
    return f"layers/{layer.name}/{key}"


def _line(error: BaseException) -> str:
    """An error on one line, not too long."""
    text = f"{type(error).__name__}: {error}" if isinstance(error, KeyError) else str(error)
    text = " ".join(text.split()).removesuffix(".")
    return text if len(text) <= 600 else f"{text[:350]} … {text[-250:]}"  # the way out stands at the end
