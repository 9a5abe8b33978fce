"""Model files: one that is loaded is what was saved, or is refused; where its digest fits, it works."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy
from numpy.random import Generator
from safetensors.numpy import load
from safetensors.numpy import save as serialize

from .... import callbacks, losses, optim
from ....engine.primitive import registry
from ....nn import Model, Sequential, layers
from ....nn.container import digests, parsed
from ....nn.description import UNUSABLE, made
from ....nn.initializers import INITIALIZERS
from ....nn.layers import ACTIVATIONS, LAYERS
from ....nn.loading import DIGEST, KEY, STATE, TRAINING, implied, shapes_for
from ....nn.losses import LOSSES
from ....nn.metrics import METRICS
from ....optim import OPTIMIZERS
from ....optim.schedule import SCHEDULES
from ..disturbing import disturbed_bytes, disturbed_json, json_bytes, odd_value, one_of
from . import Target

WITHIN, GRAPH = 4, 5
"""The numbers of the model whose file is written within an epoch, and of that which is a graph."""
LARGE = 100_000
"""Numbers in a layer's output beyond which a model, as one of 100 layers or more, is loaded and not used."""
NAMES = (*LAYERS, *ACTIVATIONS, *INITIALIZERS, *OPTIMIZERS, *SCHEDULES, *LOSSES, *METRICS, *[*registry][:20])
WORDS = (
    "same", "valid", "causal", "channels_first", "channels_last", "float16", "float32", "float64", "auto", "accuracy",
)  # fmt: skip
BITS = {"F16": 16, "F32": 32, "F64": 64, "BF16": 16, "I64": 64, "U8": 8, "BOOL": 8, "F8_E4M3": 8, "f32": 32}


class _Within(callbacks.Callback):
    """Keeps the file of the model in the midst of its second epoch."""

    def __init__(self, path: Path) -> None:
        self.path, self.epoch = path, -1

    def on_epoch_begin(self, epoch: int, logs: callbacks.Logs | None = None) -> None:
        self.epoch = epoch

    def on_train_batch_begin(self, batch: int, logs: callbacks.Logs | None = None) -> None:
        if (self.epoch, batch) == (1, 1):
            self.model.save(self.path)


def _written(number: int, path: Path) -> None:
    """Write one of the models whose files are the good ones."""
    schedule = optim.WarmUp(optim.CosineDecay(0.01, 100), 5)
    stopping = callbacks.EarlyStopping("loss", restore_best_weights=True)
    if number == GRAPH:
        x, twice = layers.Input((4,)), layers.Dense(4, "tanh")
        h = layers.Add()([twice(twice(x)), Sequential([layers.Dense(4)])(x)])
        graph = Model(x, layers.Dense(3, "softmax")(layers.Concatenate()([h, 2 * x])), seed=1)
        graph.compile("adam", "categorical_crossentropy", run_eagerly=True)
        graph.fit(*_data((4,)), 3, 2, verbose=0)
        graph.save(path)
        return
    models: list[tuple[Any, tuple[int, ...], Any, dict[str, Any]]] = [
        ([layers.Dense(5, "relu"), layers.Dropout(0.2), layers.Dense(3, "softmax")], (4,), "adam", {}),
        ([
            layers.Rescaling(0.5), layers.Conv2D(3, 3, padding="same"), layers.BatchNormalization(),
            layers.Activation("relu"), layers.MaxPooling2D(), layers.DepthwiseConv2D(2), layers.Flatten(),
            layers.Dense(3, "softmax", kernel_initializer="he_normal"),
        ], (6, 6, 1), optim.Momentum(schedule, 0.9, True, 1.0), {}),
        ([layers.Dense(3), layers.LayerNormalization(), layers.Dense(3, "softmax", False)], (4,),
         optim.Adam(0.01, use_ema=True), {}),
        ([
            layers.Reshape((6, 2)), layers.Conv1D(2, 3, padding="causal", dilation_rate=2), layers.AveragePooling1D(2),
            layers.Reshape((3, 2, 1)), layers.Conv2DTranspose(2, 2, 2), layers.GlobalMaxPooling2D(), layers.Dense(3),
        ], (12,), optim.RMSprop(optim.StepDecay(0.01, 3)), {"dtype": "float64"}),
        ([layers.Dense(4, "tanh"), layers.BatchNormalization(), layers.Dense(3, "softmax")], (4,), "adam", {}),
    ]  # fmt: skip
    parts, shape, optimizer, options = models[number]
    model = Sequential(parts, seed=1, **options)
    linear = getattr(parts[-1], "activation", None) is None
    loss = losses.CategoricalCrossentropy(linear, 0.1) if linear else "categorical_crossentropy"
    model.compile(optimizer, loss, ["accuracy"], run_eagerly=True)
    within = number == WITHIN
    model.fit(*_data(shape), 3, 2, verbose=0, callbacks=[stopping, *([_Within(path)] if within else [])])
    if not within:
        model.save(path)


def _data(shape: tuple[int, ...]) -> tuple[Any, Any]:
    return numpy.random.default_rng(2).random((6, *shape)), numpy.eye(3)[[0, 1, 2, 2, 1, 0]]


@cache
def _seeds() -> list[dict[str, Any]]:
    """Files of models, and whether they are as they were written."""
    found: list[dict[str, Any]] = []
    with TemporaryDirectory() as folder:
        path = Path(folder, "model.safetensors")
        for number in range(GRAPH + 1):
            _written(number, path)
            found.append({"model": str(number), "file": path.read_bytes(), "sealed": "written"})
            if number < 2:  # as versions before the digest wrote it
                header, data = _apart(found[-1]["file"])
                description = json.loads(header["__metadata__"][KEY])
                old = {key: value for key, value in description.items() if key not in (DIGEST, "facts")}
                header["__metadata__"][KEY] = json.dumps({**old, "format": 1})
                found.append({"model": str(number), "file": _joined(json.dumps(header).encode(), data), "sealed": ""})
    return found


@cache
def _good(number: str) -> Model:
    """The model of a good file."""
    with TemporaryDirectory() as folder:
        path = Path(folder, "model")
        path.write_bytes(next(seed["file"] for seed in _seeds() if seed["model"] == number))
        return Model.load(path)


def _apart(file: bytes) -> tuple[dict[str, Any], bytes]:
    length = int.from_bytes(file[:8], "little")
    return json.loads(file[8 : 8 + length]), file[8 + length :]


def _joined(header: bytes, data: bytes) -> bytes:
    return len(header).to_bytes(8, "little") + header + data


class _Entry:
    """A tensor of a header, as `digests` takes it."""

    def __init__(self, dtype: str, shape: Any) -> None:
        self.dtype = {"F16": "float16", "F32": "float32", "F64": "float64"}.get(dtype, dtype)
        self.shape = tuple(shape)


def _sealed(header: dict[str, Any], data: bytes) -> bytes:
    """The file, with the digest that fits what it says."""
    metadata = header["__metadata__"]
    description = parsed(metadata[KEY], 1 << 40)
    description.pop(DIGEST, None)
    if description["format"] == 1:
        metadata[KEY] = json.dumps(description)
        return _joined(json.dumps(header).encode(), data)
    entries = {name: _Entry(e["dtype"], e["shape"]) for name, e in header.items() if name != "__metadata__"}
    places = {name: slice(*e["data_offsets"]) for name, e in header.items() if name != "__metadata__"}
    found = "".join(digests(description, entries, lambda name: [data[places[name]]]))
    metadata[KEY] = json.dumps({**description, DIGEST: found})
    return _joined(json.dumps(header).encode(), data)


def _mutated(rng: Generator, seed: dict[str, Any]) -> dict[str, Any]:
    """A file with something changed: its bytes, its header, its tensors, or its description."""
    kind = rng.random()
    if kind < 0.15:
        return {**seed, "file": disturbed_bytes(rng, seed["file"]), "sealed": seed["sealed"]}
    header, data = _apart(seed["file"])
    if kind < 0.2:
        return {**seed, "file": _joined(json_bytes(rng, disturbed_json(rng, header)), data), "sealed": ""}
    if kind < 0.3:
        data = _changed_tensors(rng, header, data)
    else:
        description = json.loads(header["__metadata__"][KEY])
        description.pop(DIGEST, None)
        for _ in range(int(one_of(rng, (1, 1, 2, 3, 6)))):
            if isinstance(description, dict):
                description = _changed(rng, description)
        if rng.random() < 0.7 and (fitting := _fitting(rng, description, seed["file"])):
            header, data = fitting
        else:
            header["__metadata__"][KEY] = json_bytes(rng, description).decode("utf-8", "replace")
    try:
        return {**seed, "file": _sealed(header, data), "sealed": "again"}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {**seed, "file": _joined(json.dumps(header).encode(), data), "sealed": ""}


def _gently(rng: Generator, seed: dict[str, Any]) -> dict[str, Any]:
    """A file of which a model can be made, mostly: another architecture, and tensors that are as it implies."""
    if rng.random() < 0.4:
        return _mutated(rng, seed)
    whole = json.loads(_apart(seed["file"])[0]["__metadata__"][KEY])
    whole.pop(DIGEST, None)
    for _ in range(8):
        description = whole
        for _ in range(int(rng.integers(1, 5))):
            description = _changed(rng, description) if isinstance(description, dict) else whole
        if fitting := _fitting(rng, description, seed["file"]):
            return {**seed, "file": _sealed(*fitting), "sealed": "again"}
    return _mutated(rng, seed)


def _changed(rng: Generator, description: dict[str, Any]) -> Any:
    """The description with a layer or an option of one exchanged, or any of its values."""
    found: dict[str, Any] = json.loads(json.dumps(description))
    kind = rng.random()
    configs = found.get("layers")
    if not isinstance(configs, list) or not configs or kind < 0.2:
        return disturbed_json(rng, description)
    place = int(rng.integers(len(configs)))
    config = configs[place]
    if kind < 0.25:
        configs[place : place + int(rng.integers(2))] = [dict(one_of(rng, _configs()))]
    elif kind < 0.3 and isinstance(config, dict):
        config["layer"] = one_of(rng, [*LAYERS])
    elif isinstance(config, dict) and config:
        inner = one_of(rng, [config, config, found.get("compile"), found.get("stream"), found.get("standing")])
        inner = inner if isinstance(inner, dict) and inner else config
        key = one_of(rng, [*inner])
        inner[key] = _alike(rng, inner[key]) if rng.random() < 0.8 else _unlike(rng)
    return found


@cache
def _configs() -> list[dict[str, Any]]:
    """Good configurations of layers."""
    return [layer.config() for seed in _seeds() for layer in _good(seed["model"]).parts]


def _alike(rng: Generator, value: Any) -> Any:
    """Another value of the same kind."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return one_of(rng, (0, 1, 2, 3, 4, 6, 7, 12, value + 1, value - 1, -value, 10**4, 10**9, 2**53, 2**62))
    if isinstance(value, float):
        return one_of(rng, (0.0, 1.0, 0.5, -value, value * 10, 1e-300, 1e30, 1e300, -1.0, 0.999))
    if isinstance(value, str) or value is None:
        return one_of(rng, NAMES + WORDS)
    if isinstance(value, list) and value:
        return [_alike(rng, each) if rng.random() < 0.7 else each for each in value]
    return value


def _unlike(rng: Generator) -> Any:
    return one_of(rng, [
        {"own": one_of(rng, NAMES)}, {"primitive": one_of(rng, [*registry])}, odd_value(rng), None,
        {"schedule": one_of(rng, [*SCHEDULES]), "learning_rate": 0.1, "steps": 3}, [2, 3], 2, 0.5, True,
    ])  # fmt: skip


def _fitting(rng: Generator, description: Any, file: bytes) -> tuple[dict[str, Any], bytes] | None:
    """The header and the tensors of a file that says this, as far as a model can be made of it, and a small one."""
    try:
        model = made(Model, description, {}, "cpu")
        shapes = model.infer_shapes(tuple(description["input_shape"]))
        wanted = implied(model, shapes_for(model, shapes))
        learned = sum(math.prod(shape) for part, _ in shapes_for(model, shapes) for shape in part.values())
    except UNUSABLE:
        return None
    wanted |= {f"{STATE}{slot}": (learned,) for slot in (model.optimizer.slots if model.optimizer else ())}
    if sum(map(math.prod, wanted.values())) > LARGE:
        return None
    arrays = {name: rng.random(shape).astype(model.dtype) for name, shape in wanted.items()}
    arrays |= {name: array for name, array in load(file).items() if name.startswith(TRAINING)}
    header, data = _apart(serialize(arrays, {KEY: json.dumps(description)}))
    return header, data


def _changed_tensors(rng: Generator, header: dict[str, Any], data: bytes) -> bytes:
    """A tensor's numbers, dtype, shape, place or name changed."""
    names = [name for name in header if name != "__metadata__"]
    name = one_of(rng, names)
    entry, kind = header[name], rng.integers(6)
    begin, end = entry["data_offsets"]
    if kind == 0:
        number: float = one_of(rng, (math.nan, math.inf, -math.inf, 1e38, -1e38, 1e-45, 0.0))
        width = BITS[entry["dtype"]] // 8
        with numpy.errstate(over="ignore"):
            value = numpy.array(number, {4: "float32", 8: "float64"}[width]).tobytes()
        place = begin + width * int(rng.integers(max((end - begin) // width, 1)))
        return data[:place] + value + data[place + width :]
    if kind == 1:
        entry["dtype"] = one_of(rng, [*BITS])
    elif kind == 2:
        entry["shape"] = one_of(
            rng, ([], [0], [2**62, 0], [1, *entry["shape"]], [2**64], [-1], [1.0], entry["shape"][::-1])
        )
    elif kind == 3:
        ends = (0, begin, end, end + 1, 2**63, 2**64)
        entry["data_offsets"] = [one_of(rng, ends), one_of(rng, ends)]
    elif kind == 4:
        header[one_of(rng, (f"{name}2", "", "optimizer/none", "training/9", "layers/dense", "\0"))] = header.pop(name)
    else:
        header[f"{name}2"] = {**entry, "data_offsets": [len(data), len(data) + end - begin]}
        data += data[begin:end]
    return data


def _load(value: dict[str, Any], folder: Path) -> tuple[Model, Path]:
    path = folder / "model.safetensors"
    path.write_bytes(value["file"])
    return Model.load(path), path


def _loaded(value: dict[str, Any], folder: Path) -> Any:
    """The model, and what is loaded again from what it saves."""
    model, path = _load(value, folder)
    model.save(path)
    again = Model.load(path)
    return _told(model), _told(again)


def _told(model: Model) -> tuple[Any, ...]:
    state = model.optimizer.state if model.optimizer else {}
    return (
        [layer.config() for layer in model.parts], model.optimizer and model.optimizer.config(), model.history.epoch,
        repr(model.history.history), model.stream, [w.tobytes() for w in model.get_weights()],
        {slot: numpy.asarray(array).tobytes() for slot, array in state.items()},
    )  # fmt: skip


def _same(value: dict[str, Any], result: Any) -> str | None:
    model, again = result
    if model != again:
        return "what it saves gives another model"
    if value["sealed"] == "written" and model[:6] != _told(_good(value["model"]))[:6]:
        return "it is not what was written"
    return None


def _weighted(value: dict[str, Any], folder: Path) -> Any:
    """The weights alone, into a model of the architecture that was saved."""
    path = folder / "weights"
    path.write_bytes(value["file"])
    model = copy.deepcopy(_good(value["model"]))
    model.set_weights([w * 0 for w in model.get_weights()])
    model.load_weights(path)
    return [w.tobytes() for w in model.get_weights()]


def _same_weights(value: dict[str, Any], result: Any) -> str | None:
    same = value["sealed"] != "written" or result == _told(_good(value["model"]))[5]
    return None if same else "the weights are not those that were written"


def _usable(use: Callable[[Model], Any]) -> Callable[[dict[str, Any], Path], Any]:
    def run(value: dict[str, Any], folder: Path) -> Any:
        model, _ = _load(value, folder)
        small = len(model.parts) < 100 and max(map(math.prod, model.shapes)) <= LARGE
        return use(model) if small else None

    return run


def _predicted(model: Model) -> Any:
    x = numpy.random.default_rng(3).random((3, *model.shapes[0]))
    shape = model.predict(x).shape
    model.summary(lambda text: None)
    return shape, (len(x), *model.output_shapes()[0])


def _right_shape(value: dict[str, Any], result: Any) -> str | None:
    return None if not result or result[0] == result[1] else f"it predicts {result[0]}, and says {result[1]}"


def _fitted(model: Model) -> Any:
    """An epoch more, from where it stands."""
    if model.loss is None:
        return None
    x, y = _data(model.shapes[0])
    shape = model.output_shapes()[0]
    if model.loss.targets == "labels":
        y = numpy.zeros((len(x), *shape[:-1]), int)
    elif shape != (3,):
        y = numpy.zeros((len(x), *shape))
        y.reshape(len(x), -1)[:, 0] = 1
    done = model.history.epoch[-1] + 1 if model.history.epoch else 0
    watching = callbacks.EarlyStopping("loss", restore_best_weights=True)
    model.fit(x, y, 3, done + 1, initial_epoch=done, verbose=0, callbacks=[watching])
    return model.evaluate(x, y, verbose=0)


loading = Target("model file", _seeds, _mutated, _loaded, _same)
weighing = Target("weights file", _seeds, _mutated, _weighted, _same_weights)
predicting = Target("model file used", _seeds, _gently, _usable(_predicted), _right_shape)
fitting = Target("model file trained", _seeds, _gently, _usable(_fitted))
