"""What a model consists of, as a file and `get_config` tell it: its layers, and the calls of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypedDict

from ..errors import UsageError
from ..names import Names, is_ours
from .constraints import Constraint
from .graph import Call, Graph, Symbol, note_spent, whole_numbers
from .layers import LAYERS, Layer
from .layers.base import checked_sample, wrappers
from .nested import Body
from .regularizers import Regularizer
from .schema import DEPTH, check, check_config, check_keys, shown

if TYPE_CHECKING:
    from .model import Model

MODELS: Names[type[Model]] = Names("model")
"""The classes of models by name, as a file names them; each registers itself."""
Length = int | None
WEIGHTS = "kernel", "bias", "beta", "gamma", "depthwise", "pointwise", "recurrent", "embeddings", "alpha", "activity"
COMMON = {"input_shape": list[Length] | None, "name": str | None, "trainable": bool} | {
    f"{weight}_{kind}": piece | None
    for weight in WEIGHTS
    for kind, piece in (("regularizer", Regularizer), ("constraint", Constraint))
}
"""What every layer's configuration may say."""


class Entry(TypedDict):
    """An input."""

    name: str
    shape: list[Length]
    dtype: str | None
    place: int


class CallOptions(TypedDict, total=False):
    """What a call may say besides."""

    others: dict[str, int | list[int]]
    options: dict[str, Any]
    count: int


class Called(CallOptions):
    """A call: which layer, by place, and which values go in, by number: the inputs come first, then what calls give."""

    layer: int
    x: int | list[int]


class GraphParts(TypedDict, total=False):
    """What is told of a model that is more than layers one after another."""

    model: Any
    inputs: list[Entry]
    calls: list[Called]
    outputs: list[int]
    output_names: list[str]
    arguments: dict[str, Any]
    trainable: bool


class Architecture(GraphParts):
    """A model as a layer's configuration has it. model: its class. arguments: what a class of the user's is given."""

    name: str
    layers: list[Any]


def architecture_of(model: Any) -> dict[str, Any]:
    """What there is to be told of a model, its layers as configurations; without the class for a plain Sequential."""
    frozen = {} if model.trainable else {"trainable": False}
    if isinstance(model.parts[0] if model.parts else None, Body):
        return {"model": type(model).__name__, "layers": [], "arguments": model.get_config(), **frozen}
    layers = [part.config() for part in model.parts]
    _check_apart(model.parts)
    if not model._is_graph:
        return {"layers": layers, **frozen}
    inputs = [
        {"name": each.name, "shape": list(each.sample), "dtype": each.dtype, "place": place}
        for each, place in zip(model._given, model._input_places, strict=True)
    ]
    named = {"output_names": model._outputs_named} if model._outputs_named else {}
    calls = [_told(call) for call in model.calls]
    return {
        "model": "Model", "layers": layers, "inputs": inputs, "calls": calls, "outputs": model.outputs_at, **named,
        **frozen,
    }  # fmt: skip


def _check_apart(parts: Sequence[Layer]) -> None:
    """Raise UsageError where a weight is in two of the layers: a file would make two of it."""
    seen: dict[int, Layer] = {}
    for part in parts:
        for key, w in part.variables.items():
            other = seen.setdefault(id(w), part)
            if other is not part:
                raise UsageError(
                    f"{key!r} of {part.name!r} is also one of {other.name!r}: of a layer that is called by itself and "
                    "within a model a file cannot tell. Call the model, or its layers one by one."
                )


def _told(call: Call) -> dict[str, Any]:
    told: dict[str, Any] = {"layer": call.part, "x": call.x}
    told |= {name: dict(value) for name, value in (("others", call.others), ("options", call.options)) if value}
    return told | ({"count": len(call.y)} if isinstance(call.y, list) else {})


def graph_from(config: Mapping[str, Any], layers: list[Layer]) -> Graph:
    """The graph that a configuration tells of; raises UsageError that names the layer where there is none.

    Each call takes values that are there before it, so there is no cycle; each layer is called.
    """
    symbols = [
        Symbol(checked_sample("shape", each["shape"]), whole_numbers(each["dtype"]), each["name"])
        for each in config["inputs"]
    ]
    count, calls, called = len(symbols), list[Call](), set[int]()
    if not symbols:
        raise UsageError("it has no inputs")
    for told in config["calls"]:
        number, many = told["layer"], told.get("count")
        if not 0 <= number < len(layers):
            raise UsageError(f"it calls layer {shown(number)}, and has {len(layers)}")
        layer = layers[number]
        y: int | list[int] = count if many is None else [*range(count, count + many)]
        if many is not None and not 0 < many < 1000:
            raise UsageError(f"a call of the layer {layer.name!r} gives {shown(many)} values")
        call = Call(layer, number, told["x"], y, told.get("others", {}), told.get("options", {}))
        for name in (*call.others, *call.options):
            if name not in (*layer._further, "training"):
                raise UsageError(f"the layer {layer.name!r} is called with {shown(name)}, which it does not take")
        for value in call.taken():
            if not isinstance(value, int) or not 0 <= value < count:
                raise UsageError(
                    f"the layer {layer.name!r} takes value {shown(value)}, which is made by it or behind it: "
                    "the layers are a cycle"
                )
        count += many or 1
        calls.append(call)
        called.add(number)
    if lost := [layer.name for number, layer in enumerate(layers) if number not in called]:
        raise UsageError(f"the layer {lost[0]!r} is not connected: no call is of it")
    outputs = config["outputs"]
    if not outputs or not all(0 <= number < count for number in outputs):
        raise UsageError(f"its outputs are {shown(outputs)}, and it has {count} values")
    note_spent(calls, outputs)
    places = [min(max(each["place"], 0), len(layers) + len(symbols)) for each in config["inputs"]]
    return Graph(layers, calls, [*range(len(symbols))], list(outputs), symbols, places)


def check_architecture(config: Any, where: str = "it", depth: int = 0) -> None:
    """Raise UsageError where a configuration of a model is none."""
    check(config, Architecture, where)
    check_layers(config["layers"], depth + 1)


def check_layers(configs: Sequence[Any], depth: int = 0) -> None:
    """Raise UsageError where one of these tells of no layer."""
    if depth > DEPTH:
        raise UsageError(f"there are more than {DEPTH} models within each other")
    for config in configs:
        if isinstance(config, dict) and config.get("layer") == "Nested":
            check_keys(config, ("layer", "network", *COMMON), ("network",), "Nested")
            check_architecture(config["network"], "a model in it", depth)
            continue
        check_config(config, "layer", LAYERS, Layer, COMMON)
        check_layers([value for value in config.values() if isinstance(value, dict) and "layer" in value], depth + 1)


def remade(kind: Any, config: Mapping[str, Any], device: str = "cpu") -> Any:
    """The model of a class that a configuration tells of; the class may have a `from_config` of its own."""
    if is_ours(kind.from_config.__func__):
        return kind.from_config(config, device=device)
    model = kind.from_config(dict(config.get("arguments", config)))
    facts = {name: config[name] for name in ("seed", "dtype", "name") if "arguments" in config and name in config}
    vars(model).update(facts, device=device)
    return model


def _nested(config: Mapping[str, Any]) -> Layer:
    network = config["network"]
    kind = network.get("model", "Sequential")
    found: Any = kind if isinstance(kind, type) else MODELS.named(kind)
    layer: Layer = remade(found, network).as_layer
    return layer


wrappers["Nested"] = _nested
