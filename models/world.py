"""The folders in which the world keeps transformers: `config.json` and `model.safetensors`, with Hugging Face's names.

A `Layout` says, in one table a model, which of their arrays is which of our weights, and how it lies there.
"""

from __future__ import annotations

import json
import os
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy
import numpy.typing

from ..engine.files import replacing, write_file
from ..errors import DataError, ShapeError

if TYPE_CHECKING:
    from .transformer import Transformer

Array = numpy.typing.NDArray[Any]
ACTIVATIONS = {
    "gelu": "gelu", "gelu_new": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh", "gelu_fast": "gelu_tanh",
    "relu": "relu", "silu": "silu", "swish": "silu",
}  # fmt: skip
"""Their names of σ, and ours."""
LABELS = "LABEL_0", "LABEL_1"
"""What transformers takes a classifier's labels to be where its settings do not say."""
DTYPES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "uint16", "I64": "int64", "U8": "uint8"}


class Row(NamedTuple):
    """ours: weights that lie in one array of theirs, side by side along its last axis. theirs: its name; in both, * is
    the number of a block. form: how a weight lies there: "same"; "in", its axes behind the first as one; "out", its
    axes before the last as one; "turned in" and "turned out", transposed besides; "image", a convolution's kernel;
    "one more", with an axis of one before.
    """

    ours: Sequence[str]
    theirs: str
    form: str = "same"


FIXED: Mapping[str, Any] = {"is_encoder_decoder": False, "pruned_heads": {}, "quantization_config": None}
"""Settings that any of their models may have, and that there is one value of here."""
IDLE = re.compile(
    "_.*|architectures|auto_map|chunk_size_feed_forward|classifier_dropout|directionality|dtype|encoder_stride|"
    "finetuning_task|gradient_checkpointing|id2label|initializer_range|label2id|model_type|n_ctx|output_.*|pooler_.*|"
    "problem_type|return_dict|summary_.*|task_specific_params|torch_dtype|transformers_version|use_cache|.*_token_id"
)
"""Settings that say nothing about what a model computes here."""


@dataclass(frozen=True)
class Layout:
    """How a model lies in such a folder.

    kind: their `model_type`. base: what stands before the names of all but the head. head: what names of the head begin
    with. arguments: our constructor's by their settings. fixed: settings that we have one value of. dropouts: further
    settings that our `dropout` stands for. unused: names of
    theirs that hold nothing we need, as parts of names. rows: the weights.
    """

    kind: str
    base: str
    head: str
    arguments: Mapping[str, str]
    fixed: Mapping[str, Any]
    dropouts: Sequence[str]
    unused: Sequence[str]
    rows: Sequence[Row]
    classes: Mapping[str, str] = field(default_factory=dict)

    def named(self, depth: int, ours: Mapping[str, Any]) -> Iterator[Row]:
        """The rows for so many blocks, of weights that there are."""
        for row in self.rows:
            for number in range(depth) if "*" in row.theirs else [0]:
                found = [name.replace("*", str(number)) for name in row.ours]
                if found[0] in ours:
                    yield Row(found, row.theirs.replace("*", str(number)), row.form)


def _norm(ours: str, theirs: str) -> list[Row]:
    return [Row([f"{ours}/gamma"], f"{theirs}.weight"), Row([f"{ours}/beta"], f"{theirs}.bias")]


def _dense(ours: str, theirs: str, form: str = "turned in") -> list[Row]:
    return [Row([f"{ours}/kernel"], f"{theirs}.weight", form), Row([f"{ours}/bias"], f"{theirs}.bias")]


def _attention(theirs: str, out: str) -> list[Row]:
    rows = []
    for name in ("query", "key", "value"):
        own = f"layer_*/attention/{name}"
        rows += [
            Row([f"{own}_kernel"], f"{theirs}.{name}.weight", "turned in"),
            Row([f"{own}_bias"], f"{theirs}.{name}.bias", "bias"),
        ]
    return [
        *rows,
        Row(["layer_*/attention/output_kernel"], f"{out}.weight", "turned out"),
        Row(["layer_*/attention/output_bias"], f"{out}.bias"),
    ]


GPT = Layout(
    "gpt2",
    "transformer.",
    "lm_head.",
    {
        "vocab_size": "vocabulary", "n_positions": "positions", "n_embd": "width", "n_layer": "depth",
        "n_head": "heads", "resid_pdrop": "dropout", "activation_function": "activation",
        "layer_norm_epsilon": "epsilon",
    },
    {
        "scale_attn_weights": True, "scale_attn_by_inverse_layer_idx": False, "reorder_and_upcast_attn": False,
        "add_cross_attention": False, "tie_word_embeddings": True, "n_inner": None,
    },
    ("embd_pdrop", "attn_pdrop"),
    (".attn.bias", ".attn.masked_bias", "lm_head.weight"),
    [
        Row(["wte/embeddings"], "wte.weight"),
        Row(["wpe/embeddings"], "wpe.weight"),
        *_norm("h_*/norm_1", "h.*.ln_1"),
        Row([f"h_*/attention/{n}_kernel" for n in ("query", "key", "value")], "h.*.attn.c_attn.weight", "in"),
        Row([f"h_*/attention/{n}_bias" for n in ("query", "key", "value")], "h.*.attn.c_attn.bias", "bias"),
        Row(["h_*/attention/output_kernel"], "h.*.attn.c_proj.weight", "out"),
        Row(["h_*/attention/output_bias"], "h.*.attn.c_proj.bias"),
        *_norm("h_*/norm_2", "h.*.ln_2"),
        *_dense("h_*/inner", "h.*.mlp.c_fc", "in"),
        *_dense("h_*/outer", "h.*.mlp.c_proj", "in"),
        *_norm("norm", "ln_f"),
    ],
    {"": "GPT2LMHeadModel"},
)  # fmt: skip
BERT = Layout(
    "bert",
    "bert.",
    "cls.",
    {
        "vocab_size": "vocabulary", "max_position_embeddings": "positions", "hidden_size": "width",
        "num_hidden_layers": "depth", "num_attention_heads": "heads", "intermediate_size": "hidden",
        "type_vocab_size": "segments_there_are", "hidden_dropout_prob": "dropout", "hidden_act": "activation",
        "layer_norm_eps": "epsilon",
    },
    {
        "position_embedding_type": "absolute", "is_decoder": False, "add_cross_attention": False,
        "tie_word_embeddings": True,
    },
    ("attention_probs_dropout_prob",),
    ("position_ids", "cls.predictions.decoder.", "cls.seq_relationship.", "pooler.dense.", "cls.predictions."),
    [
        Row(["words/embeddings"], "embeddings.word_embeddings.weight"),
        Row(["places/embeddings"], "embeddings.position_embeddings.weight"),
        Row(["segments/embeddings"], "embeddings.token_type_embeddings.weight"),
        *_norm("norm", "embeddings.LayerNorm"),
        *_attention("encoder.layer.*.attention.self", "encoder.layer.*.attention.output.dense"),
        *_norm("layer_*/norm_1", "encoder.layer.*.attention.output.LayerNorm"),
        *_dense("layer_*/inner", "encoder.layer.*.intermediate.dense"),
        *_dense("layer_*/outer", "encoder.layer.*.output.dense"),
        *_norm("layer_*/norm_2", "encoder.layer.*.output.LayerNorm"),
        *_dense("pooler", "pooler.dense"),
        *_dense("transform", "cls.predictions.transform.dense"),
        *_norm("transform_norm", "cls.predictions.transform.LayerNorm"),
        Row(["shift/bias"], "cls.predictions.bias"),
    ],
    {"": "BertModel", "shift/bias": "BertForMaskedLM"},
)  # fmt: skip
VIT = Layout(
    "vit",
    "vit.",
    "classifier.",
    {
        "image_size": "image", "patch_size": "patch", "num_channels": "channels", "hidden_size": "width",
        "num_hidden_layers": "depth", "num_attention_heads": "heads", "intermediate_size": "hidden",
        "hidden_dropout_prob": "dropout", "hidden_act": "activation", "layer_norm_eps": "epsilon",
    },
    {"qkv_bias": True},
    ("attention_probs_dropout_prob",),
    ("pooler.dense.",),
    [
        Row(["token/embeddings"], "embeddings.cls_token", "one more"),
        Row(["places/embeddings"], "embeddings.position_embeddings", "one more"),
        Row(["patches/kernel"], "embeddings.patch_embeddings.projection.weight", "image"),
        Row(["patches/bias"], "embeddings.patch_embeddings.projection.bias"),
        *_norm("layer_*/norm_1", "encoder.layer.*.layernorm_before"),
        *_attention("encoder.layer.*.attention.attention", "encoder.layer.*.attention.output.dense"),
        *_norm("layer_*/norm_2", "encoder.layer.*.layernorm_after"),
        *_dense("layer_*/inner", "encoder.layer.*.intermediate.dense"),
        *_dense("layer_*/outer", "encoder.layer.*.output.dense"),
        *_norm("norm", "layernorm"),
        *_dense("head", "classifier"),
    ],
    {"": "ViTForImageClassification"},
)  # fmt: skip


def _laid(form: str, w: Array) -> Array:
    """A weight of ours as it lies in theirs."""
    if form.endswith("in"):
        w = w.reshape(len(w), -1)
    elif form.endswith("out"):
        w = w.reshape(-1, w.shape[-1])
    elif form == "bias":
        w = w.reshape(-1)
    elif form == "image":
        w = w.transpose(3, 2, 0, 1)
    elif form == "one more":
        w = w[None]
    return w.T if form.startswith("turned") else w


def _taken(row: Row, array: Array, shapes: Sequence[tuple[int, ...]]) -> list[Array]:
    """An array of theirs as the weights of ours that lie in it."""
    if row.form.startswith("turned"):
        array = array.T
    elif row.form == "image":
        array = array.transpose(2, 3, 1, 0)
    parts = numpy.split(array, len(shapes), axis=-1)
    return [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]


def read(cls: type[Transformer], path: str | os.PathLike[str], device: str, **options: Any) -> Any:
    """The model in a folder. options: of the constructor, rather than what the folder says.

    Raises DataError, with all names, for another kind of model, settings that we have not, arrays that are missing,
    unknown, or of another shape or dtype.
    """
    folder, layout = Path(path), cls.layout
    config = _json(folder / "config.json")
    if config.get("model_type") != layout.kind:
        raise DataError(
            f"{folder} holds a model of the kind {config.get('model_type')!r}; {cls.__name__} reads {layout.kind!r}."
        )
    arguments = {ours: config[theirs] for theirs, ours in layout.arguments.items() if theirs in config}
    if "classes" in cls.__init__.__annotations__:
        arguments["classes"] = len(config.get("id2label", LABELS))
    for name, value in {**FIXED, **layout.fixed}.items():
        if config.get(name, value) != value and (name, config[name]) != ("n_inner", 4 * config.get("n_embd", 0)):
            raise DataError(f"{folder}: {name} is {config[name]!r}; {cls.__name__} has {value!r} alone.")
    if (sigma := arguments.get("activation", "gelu")) not in ACTIVATIONS:
        raise DataError(f"{folder}: the activation {sigma!r} is none of {', '.join(ACTIVATIONS)}.")
    arguments["activation"] = ACTIVATIONS[sigma]
    _say_what_is_left(folder, config, layout, arguments.get("dropout"))
    model = cls(**{**arguments, **options}, device=device)
    model.begin(_Blank())  # type: ignore[arg-type]
    weights = model.parts[0].weights
    rows = {row.theirs: row for row in layout.named(model.depth, weights)}
    found = {name.removeprefix(layout.base): each for name, each in _arrays(folder).items()}
    _check_names(folder, rows, found, layout)
    for name, row in rows.items():
        shapes = [weights[each].shape for each in row.ours]
        wanted = numpy.concatenate([_laid(row.form, numpy.empty(s, bool)) for s in shapes], axis=-1).shape
        array = found[name]()
        if array.shape != wanted:
            raise ShapeError(f"{folder}: {name} has shape {array.shape}; by its config.json it is {wanted}.")
        for each, part in zip(row.ours, _taken(row, array, shapes), strict=True):
            weights[each].assign(part.astype(model.dtype))
    return model


class _Blank:
    """What weights that the folder gives are drawn from before: as much of a generator as initialisers ask for."""

    def standard_normal(self, shape: tuple[int, ...]) -> Array:
        return numpy.zeros(shape, "float32")

    def uniform(self, low: float, high: float, shape: tuple[int, ...]) -> Array:
        return self.standard_normal(shape)


def _say_what_is_left(folder: Path, config: Mapping[str, Any], layout: Layout, dropout: Any) -> None:
    """Warn of settings that nothing here reads, and of dropouts that are not the one that there is."""
    read = {*layout.arguments, *layout.fixed, *FIXED, *layout.dropouts}
    told = [
        f"{name} is {config[name]}, and the model has one dropout, of {dropout}"
        for name in layout.dropouts
        if config.get(name, dropout) != dropout
    ]
    if unknown := sorted(name for name in config.keys() - read if not IDLE.fullmatch(name)):
        told.append(f"the model is computed without {', '.join(unknown)}, which is not known here")
    if told:
        warnings.warn(f"{folder / 'config.json'}: {'; '.join(told)}.", stacklevel=4)


def _check_names(folder: Path, rows: Mapping[str, Row], found: Mapping[str, Any], layout: Layout) -> None:
    missing = sorted(rows.keys() - found.keys())
    unknown = sorted(n for n in found.keys() - rows.keys() if not any(part in n for part in layout.unused))
    if missing or unknown:
        told = [
            f"{what} are {', '.join(names)}" for what, names in (("missing", missing), ("unknown", unknown)) if names
        ]
        raise DataError(f"{folder}: the arrays are not those of a {layout.kind}: {'; '.join(told)}.")


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}. A model's folder has a config.json.") from error
    except ValueError as error:
        raise DataError(f"{path} is no JSON ({error}).") from error
    if not isinstance(found, dict):
        raise DataError(f"{path} holds a {type(found).__name__}, not settings by name.")
    return found


def _arrays(folder: Path) -> dict[str, Any]:
    """The arrays of the folder's file, or of its parts, by name: each read when it is called."""
    index = folder / "model.safetensors.index.json"
    files = sorted({*_json(index).get("weight_map", {}).values()}) if index.exists() else ["model.safetensors"]
    found: dict[str, Any] = {}
    for name in files:
        path = folder / str(name)
        if not path.exists() or path.parent != folder:
            raise DataError(
                f"{folder} has no {name}: it holds the weights. Other formats than safetensors are not read."
            )
        found |= _in_file(path)
    return found


def _in_file(path: Path) -> dict[str, Any]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "numpy") as file:
            kinds = {name: file.get_slice(name).get_dtype() for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise DataError(f"{path} is damaged, or no safetensors file ({error}).") from error
    odd = sorted({kind for kind in kinds.values() if kind not in DTYPES})
    if odd:
        raise DataError(f"{path} holds numbers of the kinds {', '.join(odd)}: {', '.join(DTYPES)} are read.")

    def one(name: str) -> Array:
        if kinds[name] == "BF16":
            return _of_bfloat16(path, name)
        with safe_open(path, "numpy") as file:
            array: Array = file.get_tensor(name)
            return array

    return {name: lambda name=name: one(name) for name in kinds}


def _of_bfloat16(path: Path, name: str) -> Array:
    """An array of bfloat16, the upper halves of float32."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        told = json.loads(file.read(length))[name]
        start, end = told["data_offsets"]
        file.seek(8 + length + start)
        halves = numpy.frombuffer(file.read(end - start), "<u2").reshape(told["shape"])
    return (halves.astype(numpy.uint32) << 16).view(numpy.float32)


def write(model: Transformer, path: str | os.PathLike[str]) -> None:
    """Write the folder: each file whole or not at all. Raises DataError where it cannot be written."""
    from safetensors.numpy import save_file

    layout, weights, folder = model.layout, model.parts[0].weights, Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"cannot make the folder {folder}: {error.strerror}.") from error
    headed = any(name in weights for name in layout.classes if name) or layout.head != "cls."
    arrays = {}
    for row in layout.named(model.depth, weights):
        parts = [_laid(row.form, weights[name].numpy()) for name in row.ours]
        name = row.theirs if row.theirs.startswith(layout.head) or not headed else layout.base + row.theirs
        arrays[name] = numpy.ascontiguousarray(numpy.concatenate(parts, axis=-1))
    names = {ours: theirs for theirs, ours in ACTIVATIONS.items() if theirs not in ("gelu_fast", "swish")}
    told: dict[str, Any] = {theirs: getattr(model, ours) for theirs, ours in layout.arguments.items()}
    told |= dict.fromkeys(layout.dropouts, model.dropout)
    told |= {theirs: names[value] for theirs, value in told.items() if value in names and isinstance(value, str)}
    if hasattr(model, "classes"):
        told |= {"id2label": {str(i): f"LABEL_{i}" for i in range(model.classes)}}
        told |= {"label2id": {f"LABEL_{i}": i for i in range(model.classes)}}
    kind = next(kind for name, kind in reversed([*layout.classes.items()]) if name in weights or not name)
    own = {"model_type": layout.kind, "architectures": [kind], "dtype": model.dtype}
    with replacing(folder / "model.safetensors") as temporary:
        save_file(arrays, temporary, metadata={"format": "pt"})
    write_file(folder / "config.json", json.dumps({**own, **layout.fixed, **told}, indent=2) + "\n")
