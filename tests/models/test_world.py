"""GPT, BERT and ViT beside transformers with the same files: outputs and all gradients; files that do not fit."""

import copy
import json
import os
import shutil

import numpy as np
import pytest

import chalkgrad as cg
from chalkgrad.errors import DataError, ShapeError, UsageError
from chalkgrad.models import BERT, GPT, ViT, world

pytestmark = [
    pytest.mark.cpu_only("compares with transformers on the CPU"),
    pytest.mark.filterwarnings("ignore"),  # of transformers
]
R = np.random.default_rng(0)
IDS = R.integers(1, 11, (2, 7))  # in BERT's table, PyTorch holds the gradient of id 0 at 0
MASK = np.arange(7) < np.array([[7], [4]])
IMAGES = R.normal(size=(2, 3, 8, 8))
SMALL = {"hidden_size": 12, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 16}
TEXT = {**SMALL, "vocab_size": 11, "max_position_embeddings": 9, "hidden_act": "gelu_new"}
GPT2 = {"n_layer": 2, "n_embd": 12, "n_head": 3, "vocab_size": 11, "n_positions": 9}
KINDS = {
    "gpt": (GPT, "GPT2LMHeadModel", "GPT2Config", GPT2, {}, IDS, {}),
    "bert": (BERT, "BertModel", "BertConfig", TEXT, {}, IDS, {"attention_mask": MASK}),
    "pooled": (BERT, "BertModel", "BertConfig", TEXT, {"head": "pooled"}, IDS, {}),
    "tokens": (BERT, "BertForMaskedLM", "BertConfig", TEXT, {"head": "tokens"}, IDS, {"segments": IDS % 2}),
    "vit": (
        ViT, "ViTForImageClassification", "ViTConfig",
        {**SMALL, "image_size": 8, "patch_size": 4, "num_labels": 3}, {}, IMAGES, {},
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def theirs(tmp_path_factory):
    """Of each kind a random model of transformers, and the folder that it has written."""
    os.environ["TRANSFORMERS_VERBOSITY"] = "error"
    transformers = pytest.importorskip("transformers", reason="a test beside transformers")
    torch = pytest.importorskip("torch", reason="a test beside transformers")
    made = {}

    def found(kind):
        if kind not in made:
            _, name, config, settings, *_ = KINDS[kind]
            torch.manual_seed(0)
            model = getattr(transformers, name)(getattr(transformers, config)(**settings)).eval()
            with torch.no_grad():
                for p in model.parameters():
                    p.add_(0.1 * torch.randn_like(p))
            folder = tmp_path_factory.mktemp(kind)
            model.save_pretrained(folder)
            made[kind] = model, folder
        return made[kind]

    return found


def outputs_of(kind, model, dtype):
    """What their model makes of the inputs, with the tape."""
    import torch

    *_, x, others = KINDS[kind]
    names = {"segments": "token_type_ids"}
    given = {names.get(name, name): torch.tensor(each).long() for name, each in others.items()}
    found = model.to(dtype)(torch.tensor(x).to(dtype) if x.dtype.kind == "f" else torch.tensor(x), **given)
    if kind == "pooled":
        return found.pooler_output
    return found.last_hidden_state if kind == "bert" else found.logits


def gradients_of(model, folder):
    """The gradients by the names that they have in a file: written there in place of the parameters."""
    import torch

    other = copy.deepcopy(model)
    with torch.no_grad():
        for p, own in zip(other.parameters(), model.parameters(), strict=True):
            p.copy_(torch.zeros_like(p) if own.grad is None else own.grad)
    other.save_pretrained(folder)
    return world._arrays(folder)


@pytest.mark.parametrize(("dtype", "close"), [("float32", 1e-5), ("float64", 1e-12)])
@pytest.mark.parametrize("kind", KINDS)
def test_outputs_and_every_gradient_are_theirs(theirs, tmp_path, kind, dtype, close):
    import torch

    model, folder = theirs(kind)
    cls, *_, options, x, others = KINDS[kind]
    ours = cls.load(folder, dtype=dtype, **options)
    expected = outputs_of(kind, model, getattr(torch, dtype))
    weights = np.cos(np.arange(expected.numel())).reshape(expected.shape)
    model.zero_grad()
    (expected * torch.tensor(weights)).sum().backward()
    y = ours(x.astype(dtype) if x.dtype.kind == "f" else x, **others)
    expected = expected.detach().numpy()
    np.testing.assert_allclose(y.numpy(), expected, rtol=0, atol=close * np.abs(expected).max())
    (y * weights.astype(dtype)).sum().backward()
    gradients = gradients_of(model, tmp_path)
    gradients = {name.removeprefix(cls.layout.base): array() for name, array in gradients.items()}
    largest = max(np.abs(g).max() for g in gradients.values())
    own = ours.parts[0].weights
    seen = 0
    for row in cls.layout.named(ours.depth, own):
        shapes = [own[name].shape for name in row.ours]
        for name, right in zip(row.ours, world._taken(row, gradients[row.theirs], shapes), strict=True):
            np.testing.assert_allclose(own[name].grad.numpy(), right, rtol=0, atol=close * largest, err_msg=name)
            seen += 1
    assert seen == len(own)


@pytest.mark.parametrize("kind", KINDS)
def test_a_folder_of_ours_is_read_by_them(theirs, kind, tmp_path):
    import torch
    import transformers

    model, folder = theirs(kind)
    cls, name, *_, options, _, _ = KINDS[kind]
    cls.load(folder, **options).save(tmp_path / "ours")
    again = getattr(transformers, name).from_pretrained(tmp_path / "ours").eval()
    with torch.no_grad():
        expected = outputs_of(kind, model, torch.float32)
        np.testing.assert_allclose(outputs_of(kind, again, torch.float32), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", ["gpt", "vit"])
def test_half_precision_and_parts(theirs, kind, tmp_path):
    import torch

    model, folder = theirs(kind)
    cls = KINDS[kind][0]
    whole = cls.load(folder)
    for dtype in (torch.float16, torch.bfloat16):
        copy.deepcopy(model).to(dtype).save_pretrained(tmp_path / str(dtype), max_shard_size="3KB")
        assert (tmp_path / str(dtype) / "model.safetensors.index.json").exists()
        for ours, own in zip(cls.load(tmp_path / str(dtype)).get_weights(), whole.get_weights(), strict=True):
            np.testing.assert_array_equal(ours, torch.tensor(own).to(dtype).float().numpy())


def test_our_own_file_and_configuration(theirs, tmp_path):
    ours = GPT.load(theirs("gpt")[1])
    ours.save(tmp_path / "gpt.safetensors")
    again = GPT.load(tmp_path / "gpt.safetensors")
    np.testing.assert_array_equal(again(IDS).numpy(), ours(IDS).numpy())
    assert GPT(**GPT.configurations["baby"]).width == 128
    assert cg.models.GPT is GPT


@pytest.fixture
def folder(theirs, tmp_path):
    shutil.copytree(theirs("gpt")[1], tmp_path / "gpt")
    return tmp_path / "gpt"


def changed(folder, **settings):
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **settings}))


@pytest.mark.parametrize(
    ("settings", "error", "text"),
    [
        ({"model_type": "llama"}, DataError, "kind 'llama'; GPT reads 'gpt2'"),
        ({"activation_function": "mish"}, DataError, "activation 'mish' is none of gelu"),
        ({"scale_attn_by_inverse_layer_idx": True}, DataError, "scale_attn_by_inverse_layer_idx is True"),
        ({"n_inner": 13}, DataError, "n_inner is 13"),
        ({"n_layer": 3}, DataError, r"missing are h\.2\.attn\.c_attn\.bias"),
        ({"n_layer": 1}, DataError, r"unknown are h\.1\.attn\.c_attn\.bias"),
        ({"vocab_size": 12}, ShapeError, r"wte\.weight has shape \(11, 12\); by its config\.json it is \(12, 12\)"),
        ({"n_head": 5}, ShapeError, "a width of 12 does not divide into 5 heads"),
        ({"pruned_heads": {"1": [0]}}, DataError, "pruned_heads is"),
        ({"n_head": 0}, UsageError, r"GPT\(heads=0\): it is a whole number of 1 or more"),
        ({"n_layer": "2"}, UsageError, r"GPT\(depth='2'\): it is a whole number"),
    ],
)
def test_a_folder_that_does_not_fit(folder, settings, error, text):
    changed(folder, **settings)
    with pytest.raises(error, match=text):
        GPT.load(folder)


def test_settings_that_nothing_reads_are_told(folder):
    changed(folder, alibi=True, attn_pdrop=0.7, _name_or_path="x", summary_type="y")
    with pytest.warns(UserWarning, match=r"attn_pdrop is 0\.7, and .* one dropout, of .*; .* without alibi, which"):
        GPT.load(folder)


def test_files_that_are_missing_or_damaged(folder):
    with pytest.raises(DataError, match="model of the kind 'gpt2'; BERT reads 'bert'"):
        BERT.load(folder)
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:50])
    with pytest.raises(DataError, match="is damaged, or no safetensors file"):
        GPT.load(folder)
    weights.rename(folder / "pytorch_model.bin")
    with pytest.raises(DataError, match=r"has no model\.safetensors"):
        GPT.load(folder)
    (folder / "config.json").write_text("{")
    with pytest.raises(DataError, match="is no JSON"):
        GPT.load(folder)
    (folder / "config.json").unlink()
    with pytest.raises(DataError, match=r"a model's folder has a config\.json|A model's folder"):
        GPT.load(folder)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (
            lambda: GPT(**GPT.configurations["baby"])(np.zeros((1, 65), int)),
            ShapeError,
            "65 steps is longer than the 64",
        ),
        (lambda: GPT(**GPT.configurations["baby"])(np.array([[3, 65]])), DataError, "the id 65 in row 0, 1"),
        (lambda: ViT(image=10, patch=4), ShapeError, "2 are left over"),
        (lambda: BERT(head="token"), UsageError, "did you mean 'tokens'"),
    ],
)
def test_what_is_refused(call, error, text):
    with pytest.raises(error, match=text):
        call()


def test_a_classifier_whose_labels_are_not_told_has_two(tmp_path):
    """So their files are: a setting that is their default is left out."""
    model = ViT(2, image=4, patch=2, width=4, depth=1, heads=1, hidden=4)
    model.save(tmp_path)
    settings = json.loads((tmp_path / "config.json").read_text())
    del settings["id2label"]
    (tmp_path / "config.json").write_text(json.dumps(settings))
    assert ViT.load(tmp_path).classes == 2
