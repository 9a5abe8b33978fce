"""Models as ONNX files: ONNX's checker and onnxruntime judge them."""

import numpy as np
import pytest

import chalkgrad as cg
from chalkgrad import layers
from chalkgrad.errors import DataError, UsageError

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")


def made(*stack, shape):
    model = cg.Sequential(stack)
    model.build(shape)
    return model


def mlp():
    return made(layers.Dense(8, activation="gelu"), layers.Dense(3, activation="softmax"), shape=(5,))


def cnn():
    model = made(
        layers.Conv2D(4, 3, padding="same", activation="relu"), layers.BatchNormalization(), layers.MaxPooling2D(2),
        layers.Conv2D(6, 3, strides=2, activation="silu"), layers.AveragePooling2D(2, padding="same"),
        layers.Flatten(), layers.Dropout(0.5), layers.Dense(3, activation="softmax"), shape=(12, 10, 2),
    )  # fmt: skip
    generator = np.random.default_rng(0)
    for w in model.weights:
        w._data[...] = generator.random(w.shape) * 0.4 + 0.1
    return model


def residual():
    x = layers.Input((6,))
    h = layers.LayerNormalization()(layers.Dense(6, activation="tanh")(x))
    return cg.Model(x, layers.Dense(2)(layers.Concatenate()([layers.Add()([x, h]), h])))


def runs(path, x):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: x})[0]


@pytest.mark.parametrize("net", [mlp, cnn, residual])
@pytest.mark.parametrize("opset", [17, 18])
def test_onnxruntime_computes_what_we_do_for_any_batch(net, opset, tmp_path):
    model, path = net(), tmp_path / "net.onnx"
    facts = cg.export(model, path, opset=opset)
    assert facts["greatest difference"] <= 5e-6
    for count in (1, 7, 512):
        x = np.random.default_rng(count).normal(size=(count, *model.shapes[0])).astype("float32")
        assert np.abs(runs(path, x) - model.predict(x)).max() <= 5e-6


def test_the_weights_stand_in_the_file_by_their_names(tmp_path):
    model = mlp()
    cg.export(model, tmp_path / "net.onnx")
    held = {i.name: onnx.numpy_helper.to_array(i) for i in onnx.load(tmp_path / "net.onnx").graph.initializer}
    kernels = [value for name, value in held.items() if name.endswith("kernel")]
    assert [k.tolist() for k in kernels] == [w.numpy().tolist() for w in model.weights if len(w.shape) > 1]


def test_the_file_can_take_bytes(tmp_path):
    model = mlp()
    cg.export(model, tmp_path / "net.onnx", scale=1 / 255)
    x = np.arange(10, dtype="uint8").reshape(2, 5) * 25
    assert np.abs(runs(tmp_path / "net.onnx", x) - model.predict(x / np.float32(255))).max() <= 5e-6


def test_what_cannot_be_exported_is_named_and_nothing_is_written(tmp_path):
    model = mlp()
    with pytest.raises(UsageError, match="opset=9"):
        cg.export(model, tmp_path / "net.onnx", opset=9)
    model.weights[0]._data[0, 0] = np.nan
    with pytest.raises(DataError, match="1 values that are NaN"):
        cg.export(model, tmp_path / "net.onnx")
    with pytest.raises(UsageError, match="has no form in ONNX"):
        cg.export(made(layers.LSTM(3), shape=(4, 2)), tmp_path / "net.onnx")
    with pytest.raises(UsageError, match="models of ids"):
        cg.export(made(layers.Embedding(10, 4), layers.Flatten(), shape=(5,)), tmp_path / "net.onnx")
    assert not list(tmp_path.iterdir())


def test_a_primitive_of_ones_own_is_exported_by_its_equation(declare, tmp_path):
    @declare("u = x / (1 + abs(x)); y = u if x > 0 else slope * log1p(u**2) - pi")
    def bent_for_onnx(x, slope=0.5):
        """A curve."""

    model = made(layers.Dense(4), layers.Activation(bent_for_onnx), shape=(5,))
    assert cg.export(model, tmp_path / "net.onnx")["greatest difference"] <= 5e-6


def test_what_the_equation_does_not_say_is_refused(tmp_path):
    model = made(layers.Dense(4), layers.Lambda(lambda x: cg.broadcast_to(x[:, None], (x.shape[0], 2, 4))), shape=(5,))
    with pytest.raises(UsageError, match="has no form in ONNX"):
        cg.export(model, tmp_path / "net.onnx")
    with pytest.raises(UsageError, match="trainable is no option"):
        cg.export(model, tmp_path / "net.onnx", trainable=True)
