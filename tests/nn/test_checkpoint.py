"""The model file: what comes back from it, and what becomes of bad files and full disks."""

import builtins
import errno
import json
import os
import struct
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import chalkgrad as cg
from chalkgrad import Sequential, callbacks, optim
from chalkgrad.engine import backend
from chalkgrad.errors import ChalkgradError, DataError, UsageError
from chalkgrad.nn.container import digest_of
from chalkgrad.nn.layers import Activation, Dense, Dropout, Flatten, Layer


@pytest.fixture
def path(tmp_path):
    return tmp_path / "models" / "model.safetensors"


@pytest.fixture
def fitted(points, classifier):
    """A classifier after two epochs."""
    x, _, y = points
    model = classifier(dropout=0.2, name="a classifier", seed=3)
    model.fit(x, y, epochs=2, validation_split=0.2, verbose=0)
    return model


def header(path):
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    return json.loads(data[8 : 8 + length])


def rewrite(path, change, **tensors):
    """Change a model file, with the digest that goes with it: its description, in place or by another one that `change`
    returns, and tensors.
    """
    tensors = load_file(path) | tensors
    description = json.loads(header(path)["__metadata__"]["chalkgrad"])
    other = change(description)
    if not isinstance(other, list):
        description.pop("digest", None)
        other = {**description, "digest": digest_of(description, tensors)}
    save_file(tensors, path, {"chalkgrad": json.dumps(other)})


# Round trips


@pytest.mark.parametrize("optimizer", ["adam", "sgd", "rmsprop", "adamw", "momentum"])
def test_all_comes_back(path, points, classifier, same, optimizer):
    x, _, y = points
    model = classifier(optimizer=optimizer, dropout=0.2, seed=3, name="a classifier")
    model.fit(x, y, epochs=2, validation_split=0.2, verbose=0)
    model.save(path)
    again = Sequential.load(path)
    same(again.get_weights(), model.get_weights())
    np.testing.assert_array_equal(again.predict(x), model.predict(x))
    assert again.evaluate(x, y, verbose=0) == model.evaluate(x, y, verbose=0)
    assert (again.name, again.seed, again.dtype, again.shapes) == (model.name, 3, "float32", model.shapes)
    assert (again.history.history, again.history.epoch) == (model.history.history, [0, 1])
    assert again.optimizer.config() == model.optimizer.config()
    assert again.optimizer.iterations == model.optimizer.iterations == 4
    assert again.optimizer.state.keys() == model.optimizer.state.keys()
    same(list(again.optimizer.state.values()), list(model.optimizer.state.values()))
    assert [layer.config() for layer in again.layers] == [layer.config() for layer in model.layers]
    assert [w.name for w in again.weights] == [w.name for w in model.weights]


def contents(path):
    return header(path)["__metadata__"], {name: a.tobytes() for name, a in load_file(path).items()}


def test_saving_changes_neither_the_model_nor_what_a_second_file_holds(path, fitted, same):
    before = fitted.get_weights()
    fitted.save(path)
    first = contents(path)
    fitted.save(path)
    same(fitted.get_weights(), before)
    assert contents(path) == first
    Sequential.load(path).save(path)
    assert contents(path) == first


def test_one_model_gives_one_file_to_the_last_byte(path, fitted):
    files = set()
    for _ in range(20):
        fitted.save(path)
        files.add(path.read_bytes())
    assert len(files) == 1


def test_what_is_no_number_in_the_history_comes_back(path, fitted):
    kept = fitted.history.history["loss"]
    kept[0] = float("inf")
    fitted.history.history["val_loss"] = [float("nan")] * len(kept)  # a validation that was never due
    fitted.save(path)
    found = cg.Sequential.load(path).history.history
    np.testing.assert_array_equal(found["loss"], kept)
    assert np.isnan(found["val_loss"]).all()


def test_schedules_losses_and_metrics_come_back(path):
    model = Sequential([Dense(3, input_shape=(4,))], dtype="float64")
    schedule = optim.WarmUp(optim.CosineDecay(0.1, 100), 5)
    model.compile(optim.Momentum(schedule, 0.8, True, 1.0), cg.losses.CategoricalCrossentropy(True), ["acc", "mae"])
    model.save(path)
    again = Sequential.load(path)
    assert again.optimizer.schedule == schedule
    assert (again.optimizer.nesterov, again.optimizer.global_clipnorm) == (True, 1.0)
    assert again.loss == model.loss
    assert again.metrics == model.metrics
    assert again.dtype == "float64"


def test_a_model_that_was_not_compiled(path, classifier):
    classifier(compiled=False).save(path)
    assert Sequential.load(path).optimizer is None


def test_all_layers_with_all_options(path):
    model = Sequential(
        [
            Flatten(input_shape=(2, 3)),
            Dense(4, cg.relu, use_bias=False, kernel_initializer="he_normal"),
            Activation("swish", name="between"),
            Dropout(0.25),
            Dense(2, "linear", bias_initializer="ones"),
        ]
    )
    model.save(path)
    again = Sequential.load(path)
    assert [layer.config() for layer in again.layers] == [layer.config() for layer in model.layers]
    x = np.random.default_rng(0).standard_normal((3, 2, 3))
    np.testing.assert_array_equal(again.predict(x), model.predict(x))


class Transposed(Layer):
    """x W, with W laid out column by column at first."""

    def output_shape(self, input_shape):
        return (3,)

    def make_weights(self, input_shape, generator):
        return {"w": np.asfortranarray(generator.standard_normal((*input_shape, 3)))}

    def apply(self, weights, x, *, training, generator):
        return x @ weights["w"]


def test_weights_that_lie_column_by_column_come_back_as_they_were(path):
    model = Sequential([Transposed(input_shape=(4,)), Dense(4)])
    model.compile("adam", "mse")
    model.build()
    values = [np.asfortranarray(np.random.default_rng(0).standard_normal((4, 3)).astype("float32"))]
    values += [np.arange(12, dtype="float32").reshape(4, 3).T, np.zeros(4, "float32")]
    for _ in range(2):
        before = model.get_weights()
        model.save(path)
        for again in (
            Sequential.load(path).get_weights(),
            [load_file(path)[f"layers/{w.name}"] for w in model.weights],
        ):
            for a, b in zip(again, before, strict=True):
                np.testing.assert_array_equal(a, b)
        model.set_weights(values)


def test_a_single_weight_may_lie_in_any_order(path):
    model = Sequential([Dense(3, input_shape=(4,))])
    model.build()
    kernel = model.layers[0].weights["kernel"]
    before = kernel.numpy().copy()
    kernel._data = backend.library_of(kernel._data).asfortranarray(kernel._data)
    model.save(path)
    np.testing.assert_array_equal(load_file(path)["layers/dense/kernel"], before)


def test_load_weights(path, fitted, classifier, same):
    fitted.save(path)
    model = classifier(compiled=False, seed=99)
    model.load_weights(path)
    same(model.get_weights(), fitted.get_weights())


def test_the_file_is_open_to_others(path, fitted):
    fitted.save(path)
    tensors = load_file(path)
    assert {name for name in tensors if not name.startswith("optimizer/")} == {
        f"layers/{w.name}" for w in fitted.weights
    }
    assert tensors["optimizer/s"].shape == (fitted.count_params(),)
    assert json.loads(header(path)["__metadata__"]["chalkgrad"])["history"]["epoch"] == [0, 1]


def test_a_loss_and_a_metric_without_a_name_are_left_out_and_that_is_said(path, classifier, points):
    with pytest.warns(UserWarning, match="it has neither loss nor optimizer, since .* it has none"):
        classifier(lambda y_true, y_pred: cg.mean((y_pred - y_true) ** 2), metrics=[]).save(path)
    again = Sequential.load(path)
    with pytest.raises(UsageError, match="fit before compile"):
        again.fit(points[0], points[2])
    with pytest.warns(UserWarning, match="it is without a metric, since"):
        classifier(metrics=["accuracy", lambda xp, y, p: 0.0]).save(path)
    assert [metric.name for metric in Sequential.load(path).metrics] == ["accuracy"]


# What a file cannot hold


@pytest.mark.parametrize(
    "layer",
    [
        Dense(3, lambda z: z, name="odd"),
        Activation(lambda z: z, name="odd"),
        Dense(3, kernel_initializer=lambda generator, shape: np.ones(shape), name="odd"),
    ],
)
def test_functions_of_ones_own_are_refused_by_the_name_of_their_layer(path, layer):
    model = Sequential([Dense(3, input_shape=(4,)), layer])
    with pytest.raises(UsageError, match="the layer 'odd' has a function of its own"):
        model.save(path)
    assert not path.exists()


def test_a_primitive_as_activation_comes_back_or_is_refused(path):
    model = Sequential([Dense(3, cg.exp, input_shape=(4,))])
    try:
        model.save(path)
    except UsageError:
        return
    Sequential.load(path)


@pytest.mark.parametrize(("change", "named"), [
    (lambda model: setattr(model, "name", 3), r"\['name'\] is 3"),
    (lambda model: model.history.history.update(loss=[1.0]), "2 epochs, and 1 values of 'loss'"),
    (lambda model: setattr(model.optimizer, "iterations", -1), "iterations"),
])  # fmt: skip
def test_nothing_is_written_that_would_not_be_read(path, fitted, change, named):
    change(fitted)
    with pytest.raises(UsageError, match=f"is not written, since no model can be made of it again .*{named}"):
        fitted.save(path)
    assert not path.exists()


def test_a_layer_may_be_called_optimizer(path):
    Sequential([Dense(3, input_shape=(4,), name="optimizer")]).save(path)
    Sequential.load(path)


def test_the_names_of_tensors_are_free(path):
    model = Sequential([Dense(3, input_shape=(4,))])
    model.build()
    for w in model.weights:
        w.name = "w"
    model.save(path)


@pytest.mark.parametrize("where", ["seed", "schedule"])
def test_numpy_integers_can_be_saved(path, where):
    model = Sequential([Dense(3, input_shape=(4,))], seed=np.int64(3) if where == "seed" else 3)
    model.compile(optim.Adam(optim.StepDecay(0.1, np.int64(5) if where == "schedule" else 5)), "mse")
    model.save(path)


def test_a_loss_of_ones_own_is_told_by_more_than_its_name(path, classifier):
    def mean_squared_error(y_true, y_pred):
        return cg.mean((y_pred - y_true) ** 4)

    with pytest.warns(UserWarning, match="mean_squared_error"):
        classifier(mean_squared_error, metrics=[]).save(path)
    with pytest.raises(DataError, match="'mean_squared_error' is not known here"):
        Sequential.load(path)
    assert Sequential.load(path, custom_objects={"mean_squared_error": mean_squared_error}).loss.targets == "any"


@pytest.mark.parametrize("name", ["m.h5", "m.HDF5", "m.pt", "m.npz", "m.onnx", "m.pickle"])
def test_the_extension_says_the_format(tmp_path, fitted, name):
    with pytest.raises(UsageError, match=r"a model file is safetensors: call it .*/m\.safetensors"):
        fitted.save(tmp_path / name)
    with pytest.raises(UsageError, match="safetensors"):
        callbacks.ModelCheckpoint(tmp_path / name)
    fitted.save(tmp_path / "m-0.25")
    assert os.listdir(tmp_path) == ["m-0.25"]


# Files that cannot be used


def test_no_file(path):
    with pytest.raises(DataError, match=r"model\.safetensors: there is no such file"):
        Sequential.load(path)


@pytest.mark.parametrize("keep", [0, 4, 100, -1, -2000])
def test_a_truncated_file(path, fitted, keep):
    fitted.save(path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DataError, match=r"model\.safetensors is no model file, or it is damaged"):
        Sequential.load(path)


def test_something_else(path):
    path.parent.mkdir()
    path.write_bytes(b"PK\x03\x04" + bytes(range(256)))
    with pytest.raises(DataError, match="no model file"):
        Sequential.load(path)


@pytest.mark.parametrize("metadata", [None, {"format": "pt"}])
def test_a_safetensors_file_of_others(tmp_path, metadata):
    save_file({"w": np.ones(3)}, tmp_path / "other", metadata)
    with pytest.raises(DataError, match="is a safetensors file, but no model of chalkgrad's"):
        Sequential.load(tmp_path / "other")


def test_a_safetensors_file_of_others_in_bfloat16(tmp_path):
    head = json.dumps({"w": {"dtype": "BF16", "shape": [2], "data_offsets": [0, 4]}}).encode()
    (tmp_path / "other").write_bytes(struct.pack("<Q", len(head)) + head + b"\0" * 4)
    with pytest.raises(DataError, match="other"):
        Sequential.load(tmp_path / "other")


def test_a_damaged_description(path, fitted):
    fitted.save(path)
    metadata = header(path)["__metadata__"]
    save_file(load_file(path), path, {"chalkgrad": metadata["chalkgrad"][:-1]})
    with pytest.raises(DataError, match="or it is damaged"):
        Sequential.load(path)


CHANGES = {
    "an unknown layer": (lambda d: d["layers"][0].update(layer="Conv9D"), "unknown layer 'Conv9D'"),
    "an unknown option": (lambda d: d["layers"][0].update(colour="red"), "colour"),
    "an unknown activation": (lambda d: d["layers"][0].update(activation="rleu"), "did you mean 'relu'"),
    "an unknown optimizer": (lambda d: d["compile"]["optimizer"].update(name="Adamant"), "unknown optimizer"),
    "no layers": (lambda d: d.__delitem__("layers"), "layers"),
    "layers that are none": (lambda d: d.update(layers=[3]), r"\['layers'\]\[0\] is 3"),
    "an unknown dtype": (lambda d: d.update(dtype="float31"), "float31"),
    "a list": (lambda d: [], "list"),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_description_that_cannot_be_used(path, fitted, what):
    change, named = CHANGES[what]
    fitted.save(path)

    rewrite(path, change)
    with pytest.raises(DataError, match=f"its description of the model cannot be used .*{named}"):
        Sequential.load(path)


@pytest.mark.parametrize("change", ["units", "missing", "foreign"])
def test_weights_of_another_architecture_name_the_tensor(path, fitted, same, change):
    fitted.save(path)
    layers = [Dense(6, "tanh", input_shape=(4,)), Dropout(0.1), Dense(3, "softmax")]
    if change == "units":
        layers[2] = Dense(5, "softmax")
    elif change == "missing":
        layers.append(Dense(3, name="head"))
    else:
        layers.pop()
    other = Sequential(layers)
    other.build()
    before = other.get_weights()
    named = "'layers/head/bias' has shape .* none" if change == "missing" else "'layers/dense_1/bias' has shape"
    with pytest.raises(DataError, match=f"holds another architecture: {named}"):
        other.load_weights(path)
    same(other.get_weights(), before)


def test_a_file_whose_tensors_are_not_those_described(path, fitted):
    fitted.save(path)
    rewrite(path, lambda d: d["layers"][2].update(units=4))
    with pytest.raises(DataError, match="dense_1/bias"):
        Sequential.load(path)


def test_optimiser_state_of_another_size(path, fitted):
    fitted.save(path)
    rewrite(path, lambda d: None, **{"optimizer/s": np.zeros(5, "float32")})
    with pytest.raises(DataError, match=r"'optimizer/s' has shape \(51,\) in the model and \(5,\) in the file"):
        Sequential.load(path)


# Full and read-only disks


def full(*args, **options):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("owner", [(Path, "write_bytes"), (os, "replace")], ids=["write", "rename"])
def test_a_full_disk_leaves_the_old_file(path, fitted, points, monkeypatch, owner):
    fitted.save(path)
    old = path.read_bytes()
    fitted.fit(points[0], points[2], verbose=0)
    with monkeypatch.context() as patch:
        patch.setattr(*owner, full)
        with pytest.raises(DataError, match=r"cannot write .*model\.safetensors: No space left.*unchanged"):
            fitted.save(path)
    assert path.read_bytes() == old
    assert os.listdir(path.parent) == [path.name]
    fitted.save(path)
    assert path.read_bytes() != old


def test_an_interruption_leaves_nothing_behind(path, fitted, monkeypatch):
    def interrupted(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "write_bytes", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fitted.save(path)
    assert os.listdir(path.parent) == []


@pytest.mark.parametrize("owner", [(builtins, "open"), (Path, "mkdir")], ids=["file", "folder"])
def test_a_read_only_folder(path, fitted, monkeypatch, owner):
    def refused(*args, **options):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(*owner, refused)
    with pytest.raises(DataError, match=r"cannot write .*model\.safetensors: Permission denied. Choose a folder"):
        fitted.save(path)


def test_a_folder_in_the_way(path, fitted):
    path.mkdir(parents=True)
    with pytest.raises(DataError, match="cannot write"):
        fitted.save(path)
    with pytest.raises(ChalkgradError, match="no such file"):
        Sequential.load(path)
    assert os.listdir(path.parent) == [path.name]
