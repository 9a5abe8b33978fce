"""Reading model files: whatever is wrong with one is named, before anything is made of it."""

import copy
import json
import math
import os
import tracemalloc

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load as tensors_of
from safetensors.numpy import save as serialize

from chalkgrad import Sequential, layers, optim
from chalkgrad.errors import DataError
from chalkgrad.nn import container
from chalkgrad.nn.initializers import INITIALIZERS


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """The bytes of a good file."""
    model = Sequential([layers.Dense(3, "relu", input_shape=(4,)), layers.BatchNormalization(), layers.Dense(2)])
    model.compile(optim.Adam(optim.CosineDecay(0.1, 100)), "mse", ["mae"])
    model.fit(np.ones((4, 4)), np.zeros((4, 2)), epochs=2, verbose=0)
    path = tmp_path_factory.mktemp("good") / "m.safetensors"
    model.save(path)
    return path.read_bytes()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "m.safetensors"


def apart(data):
    length = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def joined(header, data):
    header = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(header).to_bytes(8, "little") + header + data


def rewritten(good, change=lambda d: None, **tensors):
    """The file with its description and its tensors changed, and the digest that goes with them."""
    arrays, description = tensors_of(good) | tensors, json.loads(apart(good)[0]["__metadata__"]["chalkgrad"])
    del description["digest"]
    change(description)
    description["digest"] = container.digest_of(description, arrays)
    return serialize(arrays, {"chalkgrad": json.dumps(description)})


def layer(**changes):
    return lambda d: d["layers"][0].update(changes)


def compiled(**changes):
    return lambda d: d["compile"].update(changes)


def nested(d):
    config = d["compile"]["optimizer"]["learning_rate"]
    for _ in range(40):
        config = {"schedule": "WarmUp", "after": config, "steps": 1}
    d["compile"]["optimizer"]["learning_rate"] = config


DESCRIPTIONS = {
    "an unknown key": (lambda d: d.update(nmae="m"), "'nmae': did you mean 'name'"),
    "a key too few": (lambda d: d.pop("seed"), "lacks 'seed'"),
    "a name that is a number": (lambda d: d.update(name=3), r"\['name'\] is 3, and should be a text"),
    "half a surrogate": (lambda d: d.update(name="\ud800"), "should be a text"),
    "a dtype that none trains in": (lambda d: d.update(dtype="int32"), "int32"),
    "a seed below 0": (lambda d: d.update(seed=-1), "a seed is"),
    "a shape with a fraction": (lambda d: d.update(input_shape=[4.5]), r"\['input_shape'\]"),
    "no layers": (lambda d: d.update(layers=[]), "no layers"),
    "a layer's unknown key": (layer(untis=3), "Dense has no 'untis': did you mean 'units'"),
    "a key of Keras's": (layer(lora_rank=None), "lora_rank"),
    "a truth value for a number": (layer(units=True), r"Dense\(units=…\) is True"),
    "a number for a truth value": (layer(use_bias=1), r"Dense\(use_bias=…\) is 1, and should be true or false"),
    "a huge number": (layer(units=10**4000), r"Dense\(units=…\)"),
    "more units than the file has": (layer(units=10**12), r"has shape \(1000000000000,\) in the model"),
    "an activation of two operands": (layer(activation={"primitive": "add"}), "an activation takes one tensor"),
    "something else than a layer": (layer(layer={"own": "relu"}), "'relu' is not known here"),
    "an optimiser's unknown key": (lambda d: d["compile"]["optimizer"].update(bata_1=0.9), "did you mean 'beta_1'"),
    "a schedule of texts": (
        lambda d: d["compile"]["optimizer"]["learning_rate"].update(steps="100"), r"CosineDecay\(steps=…\) is '100'",
    ),
    "schedules without end": (nested, "within each other"),
    "iterations below 0": (compiled(iterations=-1), "iterations"),
    "an unknown loss": (compiled(loss="msee"), "did you mean 'mse'"),
    "a loss that is a list": (compiled(loss=[]), "unknown loss"),
    "an infinite smoothing": (compiled(label_smoothing=math.inf), "label_smoothing"),
    "epochs that do not rise": (lambda d: d["history"].update(epoch=[1, 0]), "do not rise"),
    "an epoch without its number": (lambda d: d["history"]["history"]["loss"].pop(), "2 epochs, and 1 values"),
    "a loss that is a text": (lambda d: d["history"]["history"].update(loss=["a", "b"]), "of 'loss' is 'a'"),
    "a stream of less": (lambda d: d["stream"].pop("begin"), "a stream of random numbers"),
}  # fmt: skip


@pytest.mark.parametrize("what", DESCRIPTIONS)
def test_a_description_says_nothing_else_than_it_may(path, good, monkeypatch, what):
    change, named = DESCRIPTIONS[what]
    path.write_bytes(rewritten(good, change))
    monkeypatch.setattr(np, "empty", None)  # before an array is made
    with pytest.raises(DataError, match=rf"m\.safetensors.*{named}"):
        Sequential.load(path)


def test_what_a_user_registered_stands_for_nothing_else(path, good):
    path.write_bytes(rewritten(good, layer(layer="made")))
    called = []
    with pytest.raises(DataError, match="is no layer"):
        Sequential.load(path, custom_objects={"made": lambda **options: called.append(options)})
    assert not called


def entries(change):
    return lambda good: joined(*changed(good, change))


def changed(good, change):
    header, data = apart(good)
    change(header)
    return header, data


def twice(good):
    header, data = apart(good)
    text = json.dumps(header).encode()
    return joined(b'{"layers/dense/bias": ' + json.dumps(header["layers/dense/bias"]).encode() + b", " + text[1:], data)


BIAS = "layers/dense/bias"
CONTAINERS = {
    "nothing": (lambda good: b"", "0 bytes"),
    "a header that is too long": (lambda good: (2**63).to_bytes(8, "little") + good[8:], "its header would have"),
    "a header too deep": (lambda good: joined(b"[" * 10**5, b""), "nests too deep"),
    "a header of lists": (lambda good: joined(b"[" + b"[]," * 10**6 + b"[]]", b""), "MB in memory"),
    "a list": (lambda good: joined([], b""), "a list"),
    "a name twice": (twice, "stands twice"),
    "more than its tensors": (lambda good: good + b"\0", "and the file at"),
    "a dtype that NumPy has not": (entries(lambda h: h[BIAS].update(dtype="BF16")), "BF16"),
    "a huge shape of nothing": (entries(lambda h: h[BIAS].update(shape=[2**62, 0])), "and lies at"),
    "a negative shape": (entries(lambda h: h[BIAS].update(shape=[-3])), "no shape and place"),
    "a shape of fractions": (entries(lambda h: h[BIAS].update(shape=[3.0])), "no shape and place"),
    "tensors one over another": (entries(lambda h: h[BIAS].update(data_offsets=[0, 12])), "where .* would be right"),
    "an entry of more": (entries(lambda h: h[BIAS].update(colour=1)), "its header says"),
}


@pytest.mark.parametrize("what", CONTAINERS)
def test_a_header_fits_its_file(path, good, what):
    change, named = CONTAINERS[what]
    path.write_bytes(change(good))
    with pytest.raises(DataError, match=rf"m\.safetensors is no model file, or it is damaged \(.*{named}"):
        Sequential.load(path)


def test_every_flipped_bit_is_found(path, good):
    rng = np.random.default_rng(0)
    for place in [*range(16), *rng.choice(len(good), 150, replace=False)]:
        damaged = bytearray(good)
        damaged[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        with pytest.raises(DataError, match=r"damaged|has format"):
            Sequential.load(path)


@pytest.mark.parametrize("depth", [20, 300, 900, 985, 990, 1000, 10**5])
def test_no_depth_is_too_deep_for_an_error_of_ours(path, good, depth):
    header, data = apart(good)
    text = header["__metadata__"]["chalkgrad"]
    header["__metadata__"]["chalkgrad"] = f'{text[:-1]}, "more": {"[" * depth}{"]" * depth}}}'
    path.write_bytes(joined(header, data))
    with pytest.raises(DataError, match="damaged"):
        Sequential.load(path)


def test_weights_are_checked_as_models_are(path, good):
    path.write_bytes(good)
    model = Sequential.load(path)
    before = copy.deepcopy(model.get_weights())
    damaged = bytearray(good)
    damaged[-1] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(DataError, match="its tensors are not what was written"):
        model.load_weights(path)
    path.write_bytes(rewritten(good, **{BIAS: np.array([0, np.inf, 0], "float32")}))
    with pytest.raises(DataError, match=f"'{BIAS}' is NaN or infinite"):
        model.load_weights(path)
    assert all(map(np.array_equal, model.get_weights(), before))


NOT_FINITE = {
    "layers/dense/kernel": "the weight 'kernel' of the layer 'dense' is NaN",
    "layers/batch_normalization/moving_variance": "'moving_variance' of the layer 'batch_normalization' is NaN",
    "optimizer/s": r"the optimizer's 's' of 'dense/kernel' is NaN.*compile=False",
}


@pytest.mark.parametrize("name", NOT_FINITE)
def test_what_is_not_finite_is_named(path, good, name):
    array = tensors_of(good)[name]
    array.reshape(-1)[1] = np.nan
    path.write_bytes(rewritten(good, **{name: array}))
    with pytest.raises(DataError, match=NOT_FINITE[name]):
        Sequential.load(path)
    if name.startswith("optimizer/"):
        assert Sequential.load(path, compile=False).optimizer is None


@pytest.mark.parametrize(("tensors", "named"), [
    ({BIAS: np.zeros(3)}, "is of float64, and the model of float32"),
    ({"layers/dense/more": np.zeros(3, "float32")}, "'layers/dense/more' has shape none in the model"),
    ({"training/0": np.zeros(3)}, "does not say what 'training/0' is"),
    ({"optimizer/momentum": np.zeros(3, "float32")}, "'optimizer/momentum' has shape none in the model"),
])  # fmt: skip
def test_the_tensors_are_those_of_the_description(path, good, tensors, named):
    path.write_bytes(rewritten(good, **tensors))
    with pytest.raises(DataError, match=named):
        Sequential.load(path)


@pytest.mark.parametrize("number", [0, 4, "2", None, True, 2.0])
def test_another_format_is_refused_with_the_way_out(path, good, number):
    path.write_bytes(rewritten(good, lambda d: d.update(format=number)))
    with pytest.raises(DataError, match=rf"has format {number!r}; this version reads 1 to 3.*pip install --upgrade"):
        Sequential.load(path)


def test_what_is_no_number_in_a_history_may_be_null(path, good):
    path.write_bytes(rewritten(good, lambda d: d["history"]["history"].update(loss=[None, 1])))
    history = Sequential.load(path).history.history
    assert math.isnan(history["loss"][0])
    assert history["loss"][1] == 1


def test_a_pipe_and_a_device_are_no_files(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, "/dev/zero"):
        with pytest.raises(DataError, match="no such file: what is there is a folder, a device or a pipe"):
            Sequential.load(path)
    with pytest.raises(DataError, match="cannot be read"):
        Sequential.load("a\0b")


@pytest.mark.cpu_only("the stand-in's memory is counted with the machine's")
def test_loading_draws_nothing_and_takes_the_memory_of_the_file(path, monkeypatch):
    model = Sequential([layers.Dense(1000, input_shape=(1000,)), layers.Dense(1000)])
    model.build()
    model.save(path)
    for name in INITIALIZERS:
        monkeypatch.setitem(INITIALIZERS, name, lambda generator, shape: pytest.fail("it draws"))
    tracemalloc.start()
    Sequential.load(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2.1 * path.stat().st_size + 1_000_000


def test_a_huge_file_of_nothing_is_refused_at_once(path, good):
    def huge(header):
        header["more"] = {"dtype": "F64", "shape": [2**40], "data_offsets": [size, size + 8 * 2**40]}

    size = len(apart(good)[1])
    header, data = changed(good, huge)
    path.write_bytes(joined(header, data))
    os.truncate(path, path.stat().st_size + 8 * 2**40)
    with pytest.raises(DataError, match="damaged"):
        Sequential.load(path)


def test_the_library_reads_what_is_written(path, good):
    path.write_bytes(good)
    with safe_open(path, framework="numpy") as file, container.Container(path) as ours:
        assert {*file.keys()} == ours.entries.keys()
        for name in file.keys():  # noqa: SIM118 (it is no mapping)
            entry, expected = ours.entries[name], file.get_tensor(name)
            read = np.empty(entry.shape, entry.dtype)
            ours.read_into(name, read)
            np.testing.assert_array_equal(read, expected, strict=True)
