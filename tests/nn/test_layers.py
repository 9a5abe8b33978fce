"""Layers: their values against NumPy, their gradients against differences, and what they refuse."""

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import chalkgrad as cg
from chalkgrad import layers
from chalkgrad.engine import random
from chalkgrad.errors import DataError, ShapeError, UsageError
from chalkgrad.nn.layers import (
    ACTIVATIONS,
    LAYERS,
    Activation,
    AveragePooling1D,
    AveragePooling2D,
    BatchNormalization,
    Conv1D,
    Conv2D,
    Conv2DTranspose,
    Dense,
    DepthwiseConv2D,
    Dropout,
    Flatten,
    GlobalAveragePooling1D,
    GlobalAveragePooling2D,
    GlobalMaxPooling1D,
    GlobalMaxPooling2D,
    Layer,
    LayerNormalization,
    MaxPooling1D,
    MaxPooling2D,
    Rescaling,
    Reshape,
    make_layer,
)

OURS = {name: kind for name, kind in LAYERS.items() if kind.__module__.startswith("chalkgrad.nn.")}
OURS = {name: kind for name, kind in OURS.items() if not kind.takes_several}  # those are in test_graphs.py

# For each layer: how to make it, and the shape of one sample.
CASES = {
    "Dense": [
        (lambda: Dense(4, "tanh"), (3,)),
        (lambda: Dense(2, "softmax", use_bias=False), (2, 3)),
        (lambda: Dense(1, bias_initializer="ones"), (5,)),
    ],
    "Activation": [(lambda: Activation("gelu"), (2, 3)), (lambda: Activation("linear"), (3,))],
    "Operation": [(lambda: layers.Operation("subtract", [2.0, None]), (2, 3))],
    "Flatten": [(lambda: Flatten(), (2, 3)), (lambda: Flatten(), (4,))],
    "Dropout": [(lambda: Dropout(0.4), (3, 2))],
    "Reshape": [(lambda: Reshape((3, 2)), (2, 3)), (lambda: Reshape((2, -1)), (4,))],
    "Rescaling": [(lambda: Rescaling(1 / 255), (2, 3)), (lambda: Rescaling(0.5, -1), (3,))],
    "BatchNormalization": [
        (lambda: BatchNormalization(), (2, 3)),
        (lambda: BatchNormalization(axis=1, epsilon=0.1), (2, 3)),
        (lambda: BatchNormalization(scale=False), (3,)),
        (lambda: BatchNormalization(center=False), (3,)),
    ],
    "LayerNormalization": [
        (lambda: LayerNormalization(), (2, 3)),
        (lambda: LayerNormalization(axis=(1, 2), epsilon=0.1), (2, 3)),
        (lambda: LayerNormalization(axis=1, scale=False), (2, 3)),
        (lambda: LayerNormalization(center=False), (3,)),
    ],
    "Conv2D": [
        (lambda: Conv2D(2, 2, activation="tanh"), (3, 4, 2)),
        (lambda: Conv2D(2, (3, 2), (2, 1), "same", groups=2, use_bias=False), (4, 3, 2)),
        (lambda: Conv2D(3, 2, data_format="channels_first", dilation_rate=(1, 2)), (2, 3, 4)),
    ],
    "Conv1D": [(lambda: Conv1D(2, 3, padding="same"), (4, 2)), (lambda: Conv1D(2, 2, padding="causal"), (3, 2))],
    "DepthwiseConv2D": [
        (lambda: DepthwiseConv2D(2, depth_multiplier=2), (3, 3, 2)),
        (lambda: DepthwiseConv2D((1, 2), 2, "same", data_format="channels_first"), (2, 3, 4)),
    ],
    "Conv2DTranspose": [
        (lambda: Conv2DTranspose(2, 3, 2, "same"), (2, 2, 3)),
        (lambda: Conv2DTranspose(2, 2, 3, output_padding=(1, 0), data_format="channels_first"), (3, 2, 2)),
    ],
    "MaxPooling2D": [
        (lambda: MaxPooling2D(), (4, 5, 2)),
        (lambda: MaxPooling2D(3, 2, "same", "channels_first"), (2, 4, 5)),
    ],
    "AveragePooling2D": [
        (lambda: AveragePooling2D(), (4, 5, 2)),
        (lambda: AveragePooling2D(3, 2, "same", "channels_first"), (2, 4, 5)),
    ],
    "MaxPooling1D": [(lambda: MaxPooling1D(), (4, 2))],
    "AveragePooling1D": [(lambda: AveragePooling1D(3, 1), (4, 2))],
    "GlobalAveragePooling2D": [(lambda: GlobalAveragePooling2D(), (2, 3, 2))],
    "GlobalMaxPooling2D": [(lambda: GlobalMaxPooling2D("channels_first", keepdims=True), (2, 2, 3))],
    "GlobalAveragePooling1D": [(lambda: GlobalAveragePooling1D(keepdims=True), (3, 2))],
    "GlobalMaxPooling1D": [(lambda: GlobalMaxPooling1D(), (3, 2))],
    "Lambda": [
        (lambda: layers.Lambda(cg.exp), (2, 3)),
        (lambda: layers.Lambda(cg.leaky_relu, arguments={"negative_slope": 0.4}), (3,)),
    ],
    "Masking": [(lambda: layers.Masking(), (2, 3))],
    "TimeDistributed": [(lambda: layers.TimeDistributed(layers.Dense(2, "tanh")), (3, 2))],
    "Bidirectional": [(lambda: layers.Bidirectional(layers.SimpleRNN(2, return_sequences=True)), (2, 2))],
    "SimpleRNN": [
        (lambda: layers.SimpleRNN(2, return_sequences=True), (3, 2)),
        (lambda: layers.SimpleRNN(2, "sigmoid", go_backwards=True, dropout=0.3), (2, 2)),
    ],
    "MultiHeadAttention": [
        (lambda: layers.MultiHeadAttention(2, 3), (2, 4)),
        (lambda: layers.MultiHeadAttention(2, 1, value_dim=2, use_bias=False), (3, 2)),
    ],
    "LSTM": [
        (lambda: layers.LSTM(2, return_sequences=True, recurrent_dropout=0.3), (2, 2)),
        (lambda: layers.LSTM(2, use_bias=False, go_backwards=True), (2, 1)),
    ],
    "GRU": [
        (lambda: layers.GRU(2, return_sequences=True), (2, 2)),
        (lambda: layers.GRU(2, reset_after=False), (2, 1)),
    ],
    "Embedding": [(lambda: layers.Embedding(6, 3), (4,)), (lambda: layers.Embedding(5, 2, "ones"), (2, 3))],
    "ReLU": [(lambda: layers.ReLU(), (2, 3)), (lambda: layers.ReLU(1.5, 0.3, 0.2), (4,))],
    "LeakyReLU": [(lambda: layers.LeakyReLU(), (2, 3))],
    "PReLU": [(lambda: layers.PReLU("ones"), (2, 3)), (lambda: layers.PReLU(shared_axes=[1]), (2, 3))],
    "ELU": [(lambda: layers.ELU(0.7), (2, 3))],
    "Softmax": [(lambda: layers.Softmax(), (3,)), (lambda: layers.Softmax(axis=1), (2, 3))],
    "Permute": [(lambda: layers.Permute((3, 1, 2)), (2, 3, 1))],
    "RepeatVector": [(lambda: layers.RepeatVector(3), (2,))],
    "UpSampling2D": [
        (lambda: layers.UpSampling2D((2, 3)), (1, 2, 2)),
        (lambda: layers.UpSampling2D(2, "channels_first", "bilinear"), (2, 2, 3)),
    ],
    "ZeroPadding2D": [(lambda: layers.ZeroPadding2D(((1, 0), (0, 2))), (1, 2, 2))],
    "ZeroPadding1D": [(lambda: layers.ZeroPadding1D((0, 2)), (2, 2))],
    "Cropping2D": [(lambda: layers.Cropping2D((0, (1, 0)), "channels_first"), (1, 2, 3))],
    "Cropping1D": [(lambda: layers.Cropping1D(1), (4, 2))],
    "GaussianNoise": [(lambda: layers.GaussianNoise(0.3), (2, 3))],
    "SpatialDropout1D": [(lambda: layers.SpatialDropout1D(0.4), (2, 4))],
    "SpatialDropout2D": [(lambda: layers.SpatialDropout2D(0.4, "channels_first"), (4, 1, 2))],
    "GroupNormalization": [
        (lambda: layers.GroupNormalization(2), (3, 4)),
        (lambda: layers.GroupNormalization(-1, axis=1, scale=False), (2, 3)),
    ],
    "Normalization": [
        (lambda: layers.Normalization(), (2, 3)),
        (lambda: layers.Normalization(None, [0.5], [2.0], invert=True), (3,)),
    ],
}


CASES |= {name: [] for name in ("RandomFlip", "RandomRotation", "RandomTranslation", "RandomZoom")}  # by DISTORTIONS


def cases(name):
    assert name in CASES, f"the layer {name} has no test case: add one to CASES"
    return CASES[name]


def ready(make, shape, rng):
    """A layer in float64 with random weights, and a batch for it."""
    layer = make()
    layer.build(shape, rng, "float64")
    for w in layer.weights.values():
        w.assign(rng.standard_normal(w.shape))
    return layer, rng.integers(0, 5, (3, *shape)) if layer.takes_integers else rng.standard_normal((3, *shape))


def differences(f, x, step=1e-5):
    """∂f/∂x by central differences, element by element; x is put back."""
    gradient = np.zeros_like(x)
    for i in np.ndindex(*x.shape):
        kept = x[i]
        x[i] = kept + step
        ahead = f()
        x[i] = kept - step
        gradient[i] = (ahead - f()) / (2 * step)
        x[i] = kept
    return gradient


@pytest.mark.parametrize("name", OURS)
@pytest.mark.parametrize("seed", [0, 1])
def test_gradients_of_whole_layers(name, seed):
    for make, shape in cases(name):
        rng = np.random.default_rng(seed)
        layer, x = ready(make, shape, rng)
        values = {key: w.numpy().copy() for key, w in layer.weights.items()} | {"input": x}
        cotangent = rng.standard_normal((3, *layer.output_shape(shape)))

        def run(record=False, layer=layer, values=values):
            tensors = {key: cg.tensor(v, requires_grad=record and v.dtype == "float64") for key, v in values.items()}
            batch = tensors["input"]
            return tensors, layer.apply(tensors, batch, training=True, generator=random.generator(5))

        tensors, y = run(record=True)
        assert y.shape == cotangent.shape
        y.backward(cotangent)
        for key, v in values.items():
            if v.dtype != "float64":
                continue
            expected = differences(lambda c=cotangent, run=run: float((run()[1].numpy() * c).sum()), v)
            np.testing.assert_allclose(tensors[key].grad, expected, rtol=1e-7, atol=1e-8, err_msg=f"{name}: {key}")


@pytest.mark.parametrize("name", OURS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_output_shape_and_dtype_are_those_promised(name, dtype):
    for make, shape in cases(name):
        layer = make()
        promised = layer.build(shape, np.random.default_rng(0), dtype)
        y = layer(np.ones((2, *shape), dtype), training=True, generator=np.random.default_rng(0))
        assert y.shape == (2, *promised)
        assert y.dtype == dtype


@pytest.mark.parametrize("name", OURS)
def test_the_configuration_makes_the_same_layer_again(name):
    for make, shape in cases(name):
        layer = make()
        again = make_layer(layer.config())
        assert pickle.loads(pickle.dumps(layer)).config() == layer.config()
        assert type(again) is type(layer)
        assert again.config() == layer.config()
        assert again.output_shape(shape) == layer.output_shape(shape)


@pytest.mark.deep
@pytest.mark.parametrize("name", OURS)
def test_every_layer_goes_into_an_onnx_file(name, tmp_path):
    pytest.importorskip("onnxruntime")
    for make, shape in cases(name):
        model = cg.Sequential([make()])
        model.build((None, *shape))
        for w in model.weights:
            w.assign(np.random.default_rng(0).random(w.shape).astype("float32"))
        assert cg.export(model, tmp_path / "net.onnx")["greatest difference"] <= 5e-6


# Dense


def test_dense_is_sigma_of_a_w_plus_b():
    layer, a = ready(lambda: Dense(4, "relu"), (3,), np.random.default_rng(0))
    w, b = (layer.weights[key].numpy() for key in ("kernel", "bias"))
    np.testing.assert_allclose(layer(a), np.maximum(a @ w + b, 0), rtol=1e-13)


def test_dense_without_bias():
    layer, a = ready(lambda: Dense(4, use_bias=False), (3,), np.random.default_rng(1))
    assert list(layer.weights) == ["kernel"]
    np.testing.assert_allclose(layer(a), a @ layer.weights["kernel"].numpy(), rtol=1e-13)


def test_dense_works_on_the_last_axis():
    layer, a = ready(lambda: Dense(4), (5, 3), np.random.default_rng(2))
    expected = np.einsum("bti,io->bto", a, layer.weights["kernel"].numpy()) + layer.weights["bias"].numpy()
    np.testing.assert_allclose(layer(a), expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", [name for name, function in ACTIVATIONS.items() if function])
def test_every_activation_by_name(name):
    layer, a = ready(lambda: Dense(4, name), (3,), np.random.default_rng(3))
    z = a @ layer.weights["kernel"].numpy() + layer.weights["bias"].numpy()
    expected = ACTIVATIONS[name](cg.tensor(z))
    np.testing.assert_allclose(layer(a), expected, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(Activation(name)(z), expected, rtol=1e-12, atol=1e-14)


def test_an_activation_of_ones_own():
    layer, a = ready(lambda: Dense(2, lambda z: z * z), (3,), np.random.default_rng(4))
    np.testing.assert_allclose(layer(a), layer.linear(layer.weights, cg.tensor(a)).numpy() ** 2)
    np.testing.assert_array_equal(Activation(cg.exp)(np.zeros(3)), 1)


@pytest.mark.parametrize("none", [None, "linear"])
def test_no_activation(none):
    a = np.random.default_rng(5).standard_normal((2, 3))
    np.testing.assert_array_equal(Activation(none)(a), a)


@pytest.mark.parametrize("units", [0, -1, 2.0, True, "3", None])
def test_units_that_are_none(units):
    with pytest.raises(UsageError, match=r"units=.*: it is a whole number of 1 or more"):
        Dense(units)


@pytest.mark.parametrize("make", [lambda: Dense(3, "rleu"), lambda: Activation("rleu")])
def test_unknown_activations_get_a_hint(make):
    with pytest.raises(UsageError, match="unknown activation 'rleu': did you mean 'relu'"):
        make()


def test_dense_takes_no_single_numbers():
    with pytest.raises(ShapeError, match=r"dense: .*single numbers. Reshape them to \(batch, 1\)"):
        Dense(3)(np.ones(4))


def test_dense_refuses_other_inputs_than_it_was_built_for():
    layer = Dense(3)
    layer(np.ones((2, 4), "float32"))
    with pytest.raises(ShapeError, match=r"\(2, 5\)"):
        layer(np.ones((2, 5), "float32"))


def test_a_layer_takes_whole_numbers():
    layer = Dense(3)
    y = layer(np.full((2, 4), 200, "uint8"))
    assert y.dtype == layer.weights["kernel"].dtype == "float32"
    np.testing.assert_allclose(y, layer(np.full((2, 4), 200.0, "float32")))


@pytest.mark.parametrize("shape", [784, (None, 8), (0, 3), (-1,)])
def test_input_shapes_that_are_none(shape):
    with pytest.raises(UsageError, match="input_shape="):
        Dense(3, input_shape=shape)


@pytest.mark.parametrize("shape", [(2.5,), "ab"])
def test_input_shapes_that_are_no_integers(shape):
    with pytest.raises(UsageError, match="input_shape="):
        Dense(3, input_shape=shape)


def test_unknown_layers_get_a_hint():
    with pytest.raises(UsageError, match="unknown layer 'Dens': did you mean 'Dense'"):
        make_layer({"layer": "Dens"})


# Flatten


def test_flatten_keeps_the_order():
    x = np.random.default_rng(0).standard_normal((2, 3, 4))
    np.testing.assert_array_equal(Flatten()(x), x.reshape(2, 12))
    assert Flatten().output_shape((3, 4)) == (12,)


# Reshape, Rescaling


def test_reshape_keeps_the_order():
    x = np.random.default_rng(0).standard_normal((2, 12))
    np.testing.assert_array_equal(Reshape((2, 3, 2))(x), x.reshape(2, 2, 3, 2))
    assert Reshape((-1, 4)).output_shape((12,)) == (3, 4)


@pytest.mark.parametrize("shape", [28, (28.0, 28), (0, 28), (-1, -1), (-2, 4)])
def test_target_shapes_that_are_none(shape):
    with pytest.raises(UsageError, match=r"Reshape\("):
        Reshape(shape)


@pytest.mark.parametrize("shape", [(5,), (5, -1), (13,)])
def test_reshape_to_another_number_of_elements(shape):
    with pytest.raises(ShapeError, match=r"reshape: samples of shape \(12,\) have 12 elements, which do not make"):
        Reshape(shape).output_shape((12,))


def test_rescaling():
    x = np.random.default_rng(0).standard_normal((2, 3))
    np.testing.assert_allclose(Rescaling(0.5, 2)(x), 0.5 * x + 2, rtol=1e-15)
    with pytest.raises(UsageError, match=r"Rescaling\(scale='a'\): it is a number"):
        Rescaling("a")


# Dropout


def test_dropout_of_rate_zero_and_outside_of_training_is_the_identity():
    x = cg.tensor(np.random.default_rng(0).standard_normal((3, 4)))
    assert Dropout(0.0)(x, training=True) is x
    assert Dropout(0.9)(x) is x


@given(st.floats(0.05, 0.95), st.integers(0, 100))
@settings(max_examples=20, deadline=None)
def test_dropout_scales_what_it_keeps(rate, seed):
    x = np.random.default_rng(seed).uniform(1, 2, (40, 50))
    y = Dropout(rate)(x, training=True, generator=np.random.default_rng(seed)).numpy()
    kept = y != 0
    np.testing.assert_allclose(y[kept], x[kept] / (1 - rate), rtol=1e-12)
    assert abs(kept.mean() - (1 - rate)) < 5 * np.sqrt(rate * (1 - rate) / x.size)


def test_dropout_keeps_the_mean():
    y = Dropout(0.3)(np.ones((500, 400)), training=True, generator=np.random.default_rng(1)).numpy()
    assert abs(y.mean() - 1) < 0.01


def test_dropout_draws_from_the_generator_only():
    x = np.ones((20, 20))
    one, two, other = (Dropout(0.5)(x, training=True, generator=random.generator(s)).numpy() for s in (1, 1, 2))
    np.testing.assert_array_equal(one, two)
    assert not np.array_equal(one, other)


def test_dropout_in_training_needs_a_generator():
    with pytest.raises(UsageError, match="dropout in training draws random numbers: give generator="):
        Dropout(0.5)(np.ones((2, 2)), training=True)


@pytest.mark.parametrize("rate", [-0.1, 1.0, 50, float("nan")])
def test_rates_that_are_none(rate):
    with pytest.raises(UsageError, match=r"it lies in \[0, 1\)"):
        Dropout(rate)


# A layer of one's own


def test_a_layer_of_ones_own_learns():
    class Scale(Layer):
        def make_weights(self, input_shape, generator):
            return {"factor": np.ones(input_shape)}

        def apply(self, weights, x, *, training, generator):
            return x * weights["factor"]

    x = np.random.default_rng(0).standard_normal((30, 2)).astype("float32")
    model = cg.Sequential([Scale(input_shape=(2,))])
    model.compile(cg.optimizers.GradientDescent(0.5), "mse")
    model.fit(x, x * np.array([3, -2], "float32"), epochs=60, verbose=0)
    np.testing.assert_allclose(model.get_weights()[0], [3, -2], atol=1e-3)


def test_a_shape_may_be_any_sequence_of_whole_numbers():
    assert Dense(3, input_shape=np.array([2, 4])).input_shape == (2, 4)
    assert Reshape(np.array([4, -1])).target_shape == (4, -1)


@pytest.mark.parametrize("function", [cg.add, cg.einsum, lambda x, y: x])
def test_an_activation_takes_one_tensor(function):
    with pytest.raises(UsageError, match="activation"):
        Dense(2, function)


def test_an_activation_keeps_the_shape():
    with pytest.raises(ShapeError, match=r"dense: an activation keeps the shape, and this made \(\) of \(3, 2\)"):
        Dense(2, cg.sum)(np.ones((3, 4)))


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (Dense(10**15), (4,)),
        (Conv2DTranspose(1, 2, 10**9), (6, 6, 1)),
        (MaxPooling2D(10**4, padding="same"), (6, 6, 1)),
        (Conv1D(1, 2, padding="causal", dilation_rate=10**6), (6, 1)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_no_machine_holds_is_refused_before_it_is_made(layer, shape):
    with pytest.raises(ShapeError, match=r"more than any machine holds|reaches .* beyond an axis of length 6"):
        cg.Sequential([layer]).build(shape)


def test_normalization_adapts_to_data():
    data = np.random.default_rng(0).normal(3, 2, (50, 4)).astype("float32")
    layer = layers.Normalization()
    layer.adapt(data)
    np.testing.assert_allclose(layer(data), (data - data.mean(0)) / data.std(0), rtol=1e-4, atol=1e-6)
    layer.adapt(2 * data)  # once built, too
    np.testing.assert_allclose(layer.state["data_variance"], 4 * data.var(0), rtol=1e-5)


def test_embedding_learns_the_rows_that_it_was_asked_for():
    layer = layers.Embedding(6, 2)
    layer.build((3,), np.random.default_rng(0), "float64")
    table = layer.weights["embeddings"]
    ids = np.array([[0, 5, 5]])
    y = layer(ids)
    np.testing.assert_array_equal(y, table.numpy()[ids])
    y.sum().backward()
    np.testing.assert_array_equal(table.grad, np.array([1, 0, 0, 0, 0, 2])[:, None] * np.ones(2))


@pytest.mark.cpu_only("values are looked at on the CPU")
def test_ids_without_a_row_are_named_in_replays_too():
    x = np.arange(40).reshape(20, 2) % 7
    model = cg.Sequential([layers.Embedding(7, 2, input_shape=(2,)), layers.Flatten(), layers.Dense(1)])
    model.compile("sgd", "mse")
    model.fit(x, np.ones((20, 1)), epochs=2, batch_size=5, verbose=0, shuffle=False)
    step = cg.capture(lambda ids: model.layers[0](ids).sum().detach())
    for _ in range(3):
        step(cg.tensor(x))
    for wrong in (7, -1):
        x[13, 1] = wrong
        with pytest.raises(DataError, match=rf"the id {wrong} in row 13, 1, the first such, has no row in"):
            step(cg.tensor(x))
        with pytest.raises(DataError, match=rf"x has the id {wrong} in row 13, the first such: embedding\S* takes"):
            model.fit(x, np.ones((20, 1)), batch_size=5, verbose=0)
    assert "replayed" in step.explain()


DISTORTIONS = {
    "RandomFlip": {"mode": "horizontal"}, "RandomRotation": {"factor": 0.1}, "RandomZoom": {"height_factor": 0.2},
    "RandomTranslation": {"height_factor": 0.2, "width_factor": 0.1},
}  # fmt: skip


@pytest.mark.cpu_only("images are distorted on the CPU")
@pytest.mark.parametrize("name", DISTORTIONS)
def test_images_are_distorted_in_training_alone(name):
    layer, images = (
        getattr(layers, name)(**DISTORTIONS[name]),
        np.random.default_rng(0).random((30, 6, 8, 1), "float32"),
    )
    np.testing.assert_array_equal(layer(images), images)
    one, two, other = (layer(images, training=True, generator=random.generator(s)).numpy() for s in (1, 1, 2))
    np.testing.assert_array_equal(one, two)
    assert not np.array_equal(one, other)
    if name == "RandomFlip":
        turned = [np.allclose(a, b[:, ::-1], atol=1e-6) for a, b in zip(one, images, strict=True)]
        assert 5 < sum(turned) < 25
        assert all(t or np.allclose(a, b, atol=1e-6) for t, a, b in zip(turned, one, images, strict=True))
    model = cg.Sequential([layer, layers.Flatten(), layers.Dense(1)])
    model.compile(cg.optimizers.GradientDescent(0.0), "mse")
    losses = model.fit(images, np.zeros((30, 1)), epochs=3, batch_size=10, verbose=0, shuffle=False).history["loss"]
    assert len({*losses}) == 3
    assert "replayed" in model.recorded_steps[0].explain()
    with pytest.raises(UsageError, match="behind a layer that learns"):
        layer(cg.tensor(images, requires_grad=True), training=True, generator=random.generator(0))


def test_noise_is_drawn_from_the_generator_only():
    x = np.ones((100, 50))
    one, two = (layers.GaussianNoise(0.5)(x, training=True, generator=random.generator(1)).numpy() for _ in range(2))
    np.testing.assert_array_equal(one, two)
    assert abs((one - x).std() - 0.5) < 0.02
    model = cg.Sequential([layers.GaussianNoise(1.0, input_shape=(5,)), layers.Dense(1, kernel_initializer="ones")])
    model.compile(cg.optimizers.GradientDescent(0.0), "mse")
    losses = model.fit(np.zeros((400, 5)), np.zeros((400, 1)), epochs=2, batch_size=100, verbose=0).history["loss"]
    assert losses[0] != losses[1]
    np.testing.assert_allclose(losses, 5, rtol=0.3)  # of five numbers of variance 1, in replays too
    whole = layers.SpatialDropout1D(0.5)(np.ones((4, 5, 6)), training=True, generator=random.generator(1)).numpy()
    assert (whole == whole[:, :1]).all()
    assert {*whole.ravel()} == {0.0, 2.0}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: layers.PReLU(shared_axes=[0]), "shared_axes"),
        (lambda: layers.Softmax(axis=0), "axis=0"),
        (lambda: layers.Softmax(axis=3).output_shape((2,)), "axis=3"),
        (lambda: layers.Permute((1, 3)), "Permute"),
        (lambda: layers.RepeatVector(2).output_shape((2, 3)), "RepeatVector"),
        (lambda: layers.UpSampling2D(interpolation="cubic"), "interpolation"),
        (lambda: layers.ZeroPadding2D((1, 2, 3)), "padding"),
        (lambda: layers.Cropping1D(2).output_shape((4, 1)), "leaves nothing"),
        (lambda: layers.SpatialDropout2D(0.1).output_shape((4, 1)), "3 axes"),
        (lambda: layers.GroupNormalization(3).output_shape((4,)), "divides"),
        (lambda: layers.Normalization(mean=0), "both"),
        (lambda: layers.GaussianNoise(1.0)(np.ones((1, 2)), training=True), "generator="),
    ],
)  # fmt: skip
def test_what_small_layers_refuse(make, message):
    with pytest.raises((UsageError, ShapeError), match=message):
        make()
